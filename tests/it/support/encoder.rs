//! Encoders: the real one of the model store, and one so small that a test can write it.

use std::{collections::BTreeMap, fs, path::PathBuf};

use coterie::config::EncoderConfig;
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use safetensors::{Dtype, tensor::TensorView};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The model store: `COTERIE_MODELS_DIR`, else the default one.
#[expect(
    clippy::disallowed_methods,
    reason = "tests find the models as the configuration would"
)]
fn models_dir() -> PathBuf {
    let dir = std::env::var_os("COTERIE_MODELS_DIR").map_or_else(
        || {
            let dirs = directories::ProjectDirs::from("", "", "coterie").unwrap();
            dirs.cache_dir().join("models")
        },
        PathBuf::from,
    );
    let model = dir.join("all-MiniLM-L6-v2/model.safetensors");
    assert!(
        model.exists(),
        "{} does not exist: run scripts/models",
        model.display()
    );
    dir
}

/// The shipped encoder.
pub(crate) fn encoder_config() -> EncoderConfig {
    let models = models_dir();
    EncoderConfig {
        name: "all-MiniLM-L6-v2".into(),
        model_dir: models.join("all-MiniLM-L6-v2"),
        runtime: models.join("onnxruntime/libonnxruntime.so"),
    }
}

/// Layers of a [`TinyBert`].
pub(crate) const TINY_LAYERS: usize = 3;

/// Tokens of a text that a [`TinyBert`] has positions for.
pub(crate) const TINY_POSITIONS: usize = 10;

const WORDS: [&str; 9] = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "saw", "a", "dog",
];
const HIDDEN: usize = 8;
const INNER: usize = 12;
const HEADS: usize = 2;

/// A random BERT of a few hundred numbers, in a folder as it would be published.
pub(crate) struct TinyBert {
    pub(crate) folder: TempDir,
    /// Shape and numbers by name, as they are in `model.safetensors`.
    pub(crate) tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    /// What is in `config.json`.
    pub(crate) config: Value,
}

impl TinyBert {
    pub(crate) fn new() -> Self {
        let mut random = SmallRng::seed_from_u64(7);
        let mut values = |shape: &[usize], centre: f32| -> Vec<f32> {
            let count = shape.iter().product();
            (0..count)
                .map(|_| centre + random.random_range(-0.5..0.5))
                .collect()
        };
        let mut tensors = BTreeMap::new();
        for (name, shape) in shapes() {
            let is_scale = name.ends_with("LayerNorm.weight");
            let values = values(&shape, if is_scale { 1.0 } else { 0.0 });
            tensors.insert(name, (shape, values));
        }
        let tiny = Self {
            folder: TempDir::new().unwrap(),
            tensors,
            config: config(),
        };
        tiny.write_tokenizer();
        tiny.write();
        tiny
    }

    /// The folder's `config.json` and `model.safetensors` anew.
    pub(crate) fn write(&self) {
        let bytes: Vec<(&String, &Vec<usize>, Vec<u8>)> = self
            .tensors
            .iter()
            .map(|(name, (shape, values))| {
                let bytes = values.iter().flat_map(|value| value.to_le_bytes());
                (name, shape, bytes.collect())
            })
            .collect();
        let views = bytes.iter().map(|(name, shape, bytes)| {
            let view = TensorView::new(Dtype::F32, (*shape).clone(), bytes);
            (name.as_str(), view.unwrap())
        });
        let file = safetensors::serialize(views, None).unwrap();
        fs::write(self.path("model.safetensors"), file).unwrap();
        fs::write(self.path("config.json"), self.config.to_string()).unwrap();
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    pub(crate) fn encoder_config(&self) -> EncoderConfig {
        EncoderConfig {
            name: "tiny".into(),
            model_dir: self.folder.path().to_owned(),
            ..encoder_config()
        }
    }

    /// A tokenizer of whole words.
    fn write_tokenizer(&self) {
        let ids: BTreeMap<_, _> = WORDS.iter().zip(0..).collect();
        let added: Vec<Value> = WORDS[..4]
            .iter()
            .map(|word| {
                json!({"id": ids[word], "content": word, "special": true, "single_word": false,
                    "lstrip": false, "rstrip": false, "normalized": false})
            })
            .collect();
        let tokenizer = json!({
            "version": "1.0",
            "added_tokens": added,
            "pre_tokenizer": {"type": "Whitespace"},
            "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
            "model": {"type": "WordLevel", "vocab": ids, "unk_token": "[UNK]"},
        });
        let settings = json!({"model_max_length": 512, "pad_token": "[PAD]"});
        for (file, content) in [
            ("tokenizer.json", tokenizer),
            ("tokenizer_config.json", settings),
            ("special_tokens_map.json", json!({})),
        ] {
            fs::write(self.path(file), content.to_string()).unwrap();
        }
    }
}

fn config() -> Value {
    json!({
        "model_type": "bert",
        "num_hidden_layers": TINY_LAYERS,
        "num_attention_heads": HEADS,
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "vocab_size": WORDS.len(),
        "max_position_embeddings": TINY_POSITIONS,
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-12,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "initializer_range": 0.02,
        "pad_token_id": 0,
    })
}

fn shapes() -> Vec<(String, Vec<usize>)> {
    let mut shapes = Vec::new();
    let mut add = |name: String, shape: &[usize]| shapes.push((name, shape.to_vec()));
    for (table, rows) in [
        ("word", WORDS.len()),
        ("position", TINY_POSITIONS),
        ("token_type", 2),
    ] {
        add(
            format!("embeddings.{table}_embeddings.weight"),
            &[rows, HIDDEN],
        );
    }
    let mut norms = vec!["embeddings.LayerNorm".to_owned()];
    for layer in 0..TINY_LAYERS {
        let layer = format!("encoder.layer.{layer}");
        for (part, outputs, inputs) in [
            ("attention.self.query", HIDDEN, HIDDEN),
            ("attention.self.key", HIDDEN, HIDDEN),
            ("attention.self.value", HIDDEN, HIDDEN),
            ("attention.output.dense", HIDDEN, HIDDEN),
            ("intermediate.dense", INNER, HIDDEN),
            ("output.dense", HIDDEN, INNER),
        ] {
            add(format!("{layer}.{part}.weight"), &[outputs, inputs]);
            add(format!("{layer}.{part}.bias"), &[outputs]);
        }
        norms.push(format!("{layer}.attention.output.LayerNorm"));
        norms.push(format!("{layer}.output.LayerNorm"));
    }
    for norm in norms {
        add(format!("{norm}.weight"), &[HIDDEN]);
        add(format!("{norm}.bias"), &[HIDDEN]);
    }
    shapes
}
