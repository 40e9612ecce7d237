//! GGUF models of the llama and qwen2 families, run in this process through candle.
