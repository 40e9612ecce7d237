//! An OpenAI-compatible endpoint elsewhere.
