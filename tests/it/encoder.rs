//! The encoder's readings against those of another implementation of BERT, and what a model's folder may hold.

use std::{fs, path::Path};

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};
use coterie::{
    config::EncoderConfig,
    onnx::{self, Output, Weights},
    router::encoder::{Encoder, EncoderError, Reading},
};
use tokenizers::Tokenizer;

use crate::support::encoder::{TINY_LAYERS, TINY_POSITIONS, TinyBert, encoder_config};

/// How far two implementations of the same float32 arithmetic may be apart.
const TOLERANCE: f32 = 1e-5;

async fn read(config: &EncoderConfig, layers: &[usize], texts: &[&str]) -> Vec<Reading> {
    let encoder = Encoder::open(config, layers, None).unwrap();
    let texts = texts.iter().map(|text| (*text).to_owned()).collect();
    encoder.embed(texts).await.unwrap()
}

fn refusal(config: &EncoderConfig, layers: &[usize]) -> EncoderError {
    match Encoder::open(config, layers, None) {
        Ok(_) => panic!("the encoder opened"),
        Err(error) => error,
    }
}

/// candle's BERT of the same files, of which only the first `layers` layers are used.
struct Reference {
    model: BertModel,
    tokenizer: Tokenizer,
}

impl Reference {
    fn open(dir: &Path, layers: usize) -> Self {
        let config = fs::read(dir.join("config.json")).unwrap();
        let mut config: Config = serde_json::from_slice(&config).unwrap();
        config.num_hidden_layers = layers;
        let weights = fs::read(dir.join("model.safetensors")).unwrap();
        let weights = VarBuilder::from_buffered_safetensors(weights, DType::F32, &Device::Cpu);
        let mut tokenizer = Tokenizer::from_file(dir.join("tokenizer.json")).unwrap();
        tokenizer.with_padding(None).with_truncation(None).unwrap();
        Self {
            model: BertModel::load(weights.unwrap(), &config).unwrap(),
            tokenizer,
        }
    }

    /// The mean of the hidden states.
    fn read(&self, text: &str) -> Vec<f32> {
        let encoding = self.tokenizer.encode(text, true).unwrap();
        let ids = Tensor::new(encoding.get_ids(), &Device::Cpu).unwrap();
        let ids = ids.unsqueeze(0).unwrap();
        let types = ids.zeros_like().unwrap();
        let hidden = self.model.forward(&ids, &types, None).unwrap();
        let mean = hidden.mean(1).unwrap().squeeze(0).unwrap();
        mean.to_vec1().unwrap()
    }
}

#[track_caller]
fn assert_near(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let apart = (found - expected).abs();
        assert!(apart <= TOLERANCE, "{found} for {expected} at {at}");
    }
}

/// Reads texts of several lengths together, so that all but one are padded, and compares each with the reference.
async fn assert_reads_like_the_reference(config: &EncoderConfig, layers: &[usize], texts: &[&str]) {
    let last = Weights::read(&config.model_dir).unwrap().layers();
    let readings = read(config, layers, texts).await;
    let reference = Reference::open(&config.model_dir, last);
    for (reading, text) in readings.iter().zip(texts) {
        let mean = reference.read(text);
        let length = mean.iter().map(|x| x * x).sum::<f32>().sqrt();
        let vector: Vec<f32> = mean.iter().map(|x| x / length).collect();
        assert_near(&reading.vector, &vector);
        assert_eq!(reading.layers.len(), layers.len());
    }
    for (at, layer) in layers.iter().enumerate() {
        let reference = Reference::open(&config.model_dir, *layer);
        for (reading, text) in readings.iter().zip(texts) {
            assert_near(&reading.layers[at], &reference.read(text));
        }
    }
}

#[tokio::test]
async fn the_shipped_encoder_reads_as_another_implementation_does() {
    let texts = [
        "What is the capital of Peru?",
        "Write a Python function that parses a CSV file and returns the rows as dictionaries.",
        "x",
        "你好，世界",
    ];
    assert_reads_like_the_reference(&encoder_config(), &[5, 2], &texts).await;
}

#[tokio::test]
async fn a_random_encoder_reads_as_another_implementation_does() {
    let tiny = TinyBert::new();
    let layers: Vec<usize> = (0..=TINY_LAYERS).collect();
    let texts = ["the cat saw a dog", "dog", "a bird saw the cat"];
    assert_reads_like_the_reference(&tiny.encoder_config(), &layers, &texts).await;
}

#[tokio::test]
async fn a_layer_may_be_asked_for_twice() {
    let tiny = TinyBert::new();
    let readings = read(&tiny.encoder_config(), &[1, 1], &["a cat"]).await;
    let layers = &readings[0].layers;
    assert!(layers.len() == 2 && layers[0] == layers[1]);
}

#[tokio::test]
async fn a_text_is_cut_where_the_models_positions_end() {
    let tiny = TinyBert::new();
    let long = "the cat saw a dog ".repeat(20);
    let readings = read(&tiny.encoder_config(), &[], &[&long]).await;
    assert_eq!(readings[0].pieces, TINY_POSITIONS);
}

#[tokio::test]
async fn a_folder_with_a_graph_alone_gives_the_last_layer_alone() {
    let tiny = TinyBert::new();
    let config = tiny.encoder_config();
    let from_weights = read(&config, &[], &["a cat"]).await;
    let weights = Weights::read(tiny.folder.path()).unwrap();
    let graph = onnx::bert(&weights, &[Output::LastHiddenState]).unwrap();
    let file = tiny.path("model.onnx");
    fs::write(&file, graph).unwrap();
    fs::remove_file(tiny.path("model.safetensors")).unwrap();
    assert_eq!(read(&config, &[], &["a cat"]).await, from_weights);
    let error = refusal(&config, &[1, 2]);
    assert!(
        matches!(&error, EncoderError::OnlyLastLayer { path, layers } if *path == file && *layers == [1, 2]),
        "{error}"
    );
}

#[test]
fn a_layer_that_the_model_does_not_have_is_refused() {
    let error = refusal(&TinyBert::new().encoder_config(), &[1, TINY_LAYERS + 1]);
    assert!(
        matches!(&error, EncoderError::NoSuchLayer { source, .. } if source.layer == TINY_LAYERS + 1),
        "{error}"
    );
}

#[test]
fn the_fingerprint_covers_the_weights_the_tokenizer_and_the_layers() {
    let mut tiny = TinyBert::new();
    let fingerprint = |tiny: &TinyBert, layers: &[usize]| {
        let encoder = Encoder::open(&tiny.encoder_config(), layers, None).unwrap();
        encoder.fingerprint().to_owned()
    };
    let first = fingerprint(&tiny, &[1]);
    assert_eq!(fingerprint(&tiny, &[1]), first);
    assert_ne!(fingerprint(&tiny, &[2]), first);
    assert_ne!(fingerprint(&tiny, &[]), first);

    let tokenizer = fs::read_to_string(tiny.path("tokenizer.json")).unwrap();
    fs::write(tiny.path("tokenizer.json"), format!("{tokenizer} ")).unwrap();
    let second = fingerprint(&tiny, &[1]);
    assert_ne!(second, first);

    let word = "embeddings.word_embeddings.weight";
    tiny.tensors.get_mut(word).unwrap().1[0] += 0.5;
    tiny.write();
    assert_ne!(fingerprint(&tiny, &[1]), second);
}
