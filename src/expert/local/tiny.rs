//! Complete model files of a few kilobytes, with random weights, for tests: no real model is that small.

use std::{
    fs,
    io::Cursor,
    path::{Path, PathBuf},
};

use candle_core::{
    Device, Tensor,
    quantized::{
        GgmlDType, QTensor,
        gguf_file::{self, Value},
    },
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

const WIDTH: usize = 32;
const INNER_WIDTH: usize = 64;
const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const HEAD_WIDTH: usize = WIDTH / HEADS;
const BLOCKS: usize = 2;

/// Every byte has a token, and two texts mark turns.
const VOCABULARY: usize = 258;

/// A model file before it is written.
pub(super) struct File {
    metadata: Vec<(String, Value)>,
    tensors: Vec<(String, QTensor)>,
}

/// A llama model: tied vocabulary, no biases.
pub(super) fn llama() -> File {
    let mut file = File::new("llama", "smollm");
    file.metadata
        .push(("llama.rope.dimension_count".into(), count(HEAD_WIDTH)));
    file
}

/// A qwen2 model: a head of its own, biases.
pub(super) fn qwen2() -> File {
    let mut file = File::new("qwen2", "qwen2");
    let mut random = StdRng::seed_from_u64(2);
    file.tensors.push((
        "output.weight".into(),
        tensor(&mut random, &[VOCABULARY, WIDTH]),
    ));
    for block in 0..BLOCKS {
        for (name, heads) in [
            ("attn_q", HEADS),
            ("attn_k", KV_HEADS),
            ("attn_v", KV_HEADS),
        ] {
            let bias = tensor(&mut random, &[heads * HEAD_WIDTH]);
            file.tensors
                .push((format!("blk.{block}.{name}.bias"), bias));
        }
    }
    file
}

impl File {
    fn new(family: &str, splitting: &str) -> Self {
        Self {
            metadata: metadata(family, splitting),
            tensors: tensors(),
        }
    }

    /// The same file with another value.
    pub(super) fn with(mut self, key: &str, value: Value) -> Self {
        self = self.without(key);
        self.metadata.push((key.into(), value));
        self
    }

    /// The same file without a value.
    pub(super) fn without(mut self, key: &str) -> Self {
        self.metadata.retain(|(name, _)| name != key);
        self
    }

    /// The file's bytes.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let metadata: Vec<_> = self
            .metadata
            .iter()
            .map(|(key, value)| (key.as_str(), value))
            .collect();
        let tensors: Vec<_> = self
            .tensors
            .iter()
            .map(|(name, tensor)| (name.as_str(), tensor))
            .collect();
        let mut bytes = Cursor::new(Vec::new());
        gguf_file::write(&mut bytes, &metadata, &tensors).unwrap();
        bytes.into_inner()
    }

    /// Writes the file into a folder.
    pub(super) fn write(&self, dir: &Path) -> PathBuf {
        let path = dir.join("tiny.gguf");
        fs::write(&path, self.bytes()).unwrap();
        path
    }
}

fn metadata(family: &str, splitting: &str) -> Vec<(String, Value)> {
    let text = |text: &str| Value::String(text.into());
    let mut tokens = byte_tokens();
    tokens.extend(["<|im_start|>".into(), "<|im_end|>".into()]);
    let kinds = (0..VOCABULARY).map(|token| Value::I32(if token < 256 { 1 } else { 3 }));
    let of_family = [
        ("block_count", count(BLOCKS)),
        ("context_length", count(256)),
        ("embedding_length", count(WIDTH)),
        ("feed_forward_length", count(INNER_WIDTH)),
        ("attention.head_count", count(HEADS)),
        ("attention.head_count_kv", count(KV_HEADS)),
        ("attention.layer_norm_rms_epsilon", Value::F32(1e-5)),
        ("rope.freq_base", Value::F32(10_000.0)),
    ];
    let of_family = of_family.map(|(key, value)| (format!("{family}.{key}"), value));
    let of_all = [
        ("general.architecture", text(family)),
        ("tokenizer.ggml.model", text("gpt2")),
        ("tokenizer.ggml.pre", text(splitting)),
        (
            "tokenizer.ggml.tokens",
            Value::Array(tokens.into_iter().map(Value::String).collect()),
        ),
        ("tokenizer.ggml.token_type", Value::Array(kinds.collect())),
        ("tokenizer.ggml.merges", Value::Array(Vec::new())),
        ("tokenizer.ggml.eos_token_id", count(257)),
        (
            "tokenizer.chat_template",
            text(
                "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}<|im_start|>",
            ),
        ),
    ];
    let of_all = of_all.map(|(key, value)| (key.to_owned(), value));
    of_family.into_iter().chain(of_all).collect()
}

fn count(count: usize) -> Value {
    Value::U32(count.try_into().unwrap())
}

/// The byte alphabet in the order of the bytes that it stands for.
fn byte_tokens() -> Vec<String> {
    let mut shifted = '\u{100}'..;
    let character = |byte: u8| match byte {
        0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => char::from(byte),
        _ => shifted.next().unwrap(),
    };
    (0..=u8::MAX).map(character).map(String::from).collect()
}

fn tensors() -> Vec<(String, QTensor)> {
    let mut random = StdRng::seed_from_u64(1);
    let shapes = [
        ("attn_norm.weight", vec![WIDTH]),
        ("attn_q.weight", vec![WIDTH, WIDTH]),
        ("attn_k.weight", vec![KV_HEADS * HEAD_WIDTH, WIDTH]),
        ("attn_v.weight", vec![KV_HEADS * HEAD_WIDTH, WIDTH]),
        ("attn_output.weight", vec![WIDTH, WIDTH]),
        ("ffn_norm.weight", vec![WIDTH]),
        ("ffn_gate.weight", vec![INNER_WIDTH, WIDTH]),
        ("ffn_up.weight", vec![INNER_WIDTH, WIDTH]),
        ("ffn_down.weight", vec![WIDTH, INNER_WIDTH]),
    ];
    let mut tensors = vec![
        (
            "token_embd.weight".into(),
            tensor(&mut random, &[VOCABULARY, WIDTH]),
        ),
        ("output_norm.weight".into(), tensor(&mut random, &[WIDTH])),
    ];
    for block in 0..BLOCKS {
        for (name, shape) in &shapes {
            tensors.push((format!("blk.{block}.{name}"), tensor(&mut random, shape)));
        }
    }
    tensors
}

fn tensor(random: &mut StdRng, shape: &[usize]) -> QTensor {
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|_| random.random_range(-0.5..0.5))
        .collect();
    let tensor = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
    QTensor::quantize(&tensor, GgmlDType::F32).unwrap()
}
