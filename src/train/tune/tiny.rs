//! A transformer small enough to be tuned in a test: random weights, a vocabulary of some words.

use std::{collections::BTreeMap, fs, path::Path};

use candle_core::{Device, Tensor};
use serde_json::{Value, json};

use crate::train::seed::{Seed, normals};

pub(crate) const HIDDEN: usize = 16;
pub(crate) const LAYERS: usize = 2;
const WIDE: usize = 24;
const POSITIONS: usize = 32;

/// Words of two topics, and some of none.
pub(crate) const WORDS: [&str; 16] = [
    "rust", "code", "loop", "stack", "bug", "type", "soup", "bread", "salt", "oven", "cake",
    "dish", "the", "a", "how", "##s",
];

/// Writes the model's folder.
pub(crate) fn write(dir: &Path) {
    fs::create_dir_all(dir).unwrap();
    fs::write(dir.join("config.json"), config().to_string()).unwrap();
    fs::write(dir.join("tokenizer.json"), tokenizer().to_string()).unwrap();
    fs::write(dir.join("special_tokens_map.json"), "{}").unwrap();
    fs::write(dir.join("tokenizer_config.json"), "{}").unwrap();
    let path = dir.join("model.safetensors");
    let tensors: Vec<_> = weights().into_iter().collect();
    fs::write(path, safetensors::serialize(tensors, None).unwrap()).unwrap();
}

fn config() -> Value {
    json!({
        "model_type": "bert", "hidden_act": "gelu", "hidden_size": HIDDEN, "num_hidden_layers": LAYERS,
        "num_attention_heads": 4, "intermediate_size": WIDE, "max_position_embeddings": POSITIONS,
        "layer_norm_eps": 1e-12, "type_vocab_size": 2, "vocab_size": WORDS.len() + 4, "hidden_dropout_prob": 0.1,
        "initializer_range": 0.02, "pad_token_id": 0,
    })
}

fn tokenizer() -> Value {
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"];
    let words = special.iter().chain(&WORDS).enumerate();
    let vocabulary: BTreeMap<&str, usize> = words.map(|(at, word)| (*word, at)).collect();
    let added = special.iter().enumerate().map(|(id, content)| {
        json!({"id": id, "content": content, "special": true, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false})
    });
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added.collect::<Vec<_>>(),
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
                "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]}}},
        "decoder": null,
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocabulary},
    })
}

fn weights() -> BTreeMap<String, Tensor> {
    let mut weights = BTreeMap::new();
    let mut add = |name: String, dims: &[usize], centre: f64| {
        let seed = Seed::new(17).stream("weight", weights.len() as u64);
        let numbers = normals(seed, dims.iter().product(), 0.3);
        let tensor = Tensor::from_vec(numbers, dims, &Device::Cpu).unwrap();
        weights.insert(name, (tensor + centre).unwrap());
    };
    let mut norm = |name: String| {
        add(format!("{name}.weight"), &[HIDDEN], 1.0);
        add(format!("{name}.bias"), &[HIDDEN], 0.0);
    };
    norm("embeddings.LayerNorm".into());
    for layer in 0..LAYERS {
        norm(format!("encoder.layer.{layer}.attention.output.LayerNorm"));
        norm(format!("encoder.layer.{layer}.output.LayerNorm"));
    }
    for (name, rows) in [
        ("word", WORDS.len() + 4),
        ("position", POSITIONS),
        ("token_type", 2),
    ] {
        add(
            format!("embeddings.{name}_embeddings.weight"),
            &[rows, HIDDEN],
            0.0,
        );
    }
    for layer in 0..LAYERS {
        for (part, outputs, inputs) in [
            ("attention.self.query", HIDDEN, HIDDEN),
            ("attention.self.key", HIDDEN, HIDDEN),
            ("attention.self.value", HIDDEN, HIDDEN),
            ("attention.output.dense", HIDDEN, HIDDEN),
            ("intermediate.dense", WIDE, HIDDEN),
            ("output.dense", HIDDEN, WIDE),
        ] {
            let name = format!("encoder.layer.{layer}.{part}");
            add(format!("{name}.weight"), &[outputs, inputs], 0.0);
            add(format!("{name}.bias"), &[outputs], 0.0);
        }
    }
    // As in a model that was trained, what belongs together is not far apart.
    let words = &weights["embeddings.word_embeddings.weight"];
    let topics = (words + topics()).unwrap();
    weights.insert("embeddings.word_embeddings.weight".into(), topics);
    weights
}

/// What the words of a topic have in common: words × hidden.
fn topics() -> Tensor {
    let word_topics = (0..WORDS.len() + 4).flat_map(|id| {
        let common = match id {
            4..10 => 0.5,
            10..16 => -0.5,
            _ => 0.0_f32,
        };
        (0..HIDDEN).map(move |at| if at < 4 { common } else { 0.0 })
    });
    Tensor::from_iter(word_topics, &Device::Cpu)
        .unwrap()
        .reshape((WORDS.len() + 4, HIDDEN))
        .unwrap()
}
