//! The encoder of the model store: what it reads, how much it takes in, and what it says where something is missing.

use std::fs;

use coterie::{
    config::EncoderConfig,
    router::encoder::{Encoder, EncoderError, TEXTS_MAX},
};

use crate::support::encoder::encoder_config;

async fn embed(encoder: &Encoder, texts: &[&str]) -> Vec<Vec<f32>> {
    let texts = texts.iter().map(|text| (*text).to_owned()).collect();
    let readings = encoder.embed(texts).await.unwrap();
    readings.into_iter().map(|reading| reading.vector).collect()
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn refusal(change: impl FnOnce(&mut EncoderConfig)) -> EncoderError {
    let mut config = encoder_config();
    change(&mut config);
    match Encoder::open(&config, &[], None) {
        Ok(_) => panic!("the encoder opened"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn vectors_have_length_one_and_do_not_depend_on_the_company() {
    let encoder = Encoder::open(&encoder_config(), &[], None).unwrap();
    let long = "The contract ends when either party gives notice. ".repeat(30);
    let texts = [
        "Hello",
        long.as_str(),
        "What is the capital of Peru?",
        "你好，世界",
        "x",
    ];
    let together = embed(&encoder, &texts).await;
    for (text, vector) in texts.iter().zip(&together) {
        assert_eq!(vector.len(), encoder.dimensions());
        assert!((cosine(vector, vector) - 1.0).abs() < 1e-4);
        let alone = embed(&encoder, &[text]).await;
        assert!(cosine(vector, &alone[0]) > 0.9999, "{text}");
    }
    assert_eq!(encoder.dimensions(), 384);
}

#[tokio::test]
async fn like_is_nearer_than_unlike() {
    let encoder = Encoder::open(&encoder_config(), &[], None).unwrap();
    let vectors = embed(
        &encoder,
        &[
            "How do I reverse a list in Python?",
            "Python code to flip the order of a list",
            "The recipe calls for two eggs and a cup of flour.",
        ],
    )
    .await;
    let (like, unlike) = (
        cosine(&vectors[0], &vectors[1]),
        cosine(&vectors[0], &vectors[2]),
    );
    assert!(like > 0.7, "{like}");
    assert!(unlike < 0.2, "{unlike}");
}

#[tokio::test]
async fn word_pieces_are_counted_and_read_beyond_what_the_tokenizer_file_says() {
    let encoder = Encoder::open(&encoder_config(), &[], None).unwrap();
    let texts = vec!["hello world".into(), "hello".into()];
    let readings = encoder.embed(texts).await.unwrap();
    assert_eq!((readings[0].pieces, readings[1].pieces), (4, 3));
    let start = "apple ".repeat(180);
    let longer = format!("{start}{}", "parliament ".repeat(60));
    let readings = encoder.embed(vec![start, longer]).await.unwrap();
    assert_eq!((readings[0].pieces, readings[1].pieces), (182, 242));
    assert!(cosine(&readings[0].vector, &readings[1].vector) < 0.99);
    let endless = "pear ".repeat(100_000);
    assert_eq!(encoder.embed(vec![endless]).await.unwrap()[0].pieces, 256);
}

#[tokio::test]
async fn a_call_carries_from_no_text_to_its_bound() {
    let encoder = Encoder::open(&encoder_config(), &[], None).unwrap();
    assert!(encoder.embed(Vec::new()).await.unwrap().is_empty());
    let texts = |count| vec!["a text".to_owned(); count];
    let full = encoder.embed(texts(TEXTS_MAX)).await.unwrap();
    assert_eq!(full.len(), TEXTS_MAX);
    let error = encoder.embed(texts(TEXTS_MAX + 1)).await.unwrap_err();
    assert!(matches!(error, EncoderError::TooManyTexts { texts } if texts == TEXTS_MAX + 1));
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_is_used_again_afterwards() {
    let encoder = Encoder::open(&encoder_config(), &[], None).unwrap();
    let ask = || encoder.embed(vec!["some words to read".into()]);
    // Many more calls than the thread and its queue hold, all made before the first batch can have been read.
    let calls = futures_util::future::join_all((0..400).map(|_| ask()));
    let answers = calls.await;
    let busy = answers
        .iter()
        .filter(|answer| matches!(answer, Err(EncoderError::Busy)))
        .count();
    let fine = answers.iter().filter(|answer| answer.is_ok()).count();
    assert!(busy > 0 && fine > 0, "{busy} busy, {fine} answered");
    assert_eq!(busy + fine, 400);
    assert!(ask().await.is_ok());
}

#[tokio::test]
async fn texts_to_embed_never_keep_a_question_from_being_routed() {
    let encoder = Encoder::open(&encoder_config(), &[], None).unwrap();
    let text = "some words to read".to_owned();
    let calls = (0..400).map(|_| encoder.embed(vec![text.clone(); TEXTS_MAX]));
    let mut calls = futures_util::future::join_all(calls);
    assert!(
        futures_util::poll!(&mut calls).is_pending(),
        "as many calls as the encoder takes are waiting"
    );
    let question = encoder.embed_question(text.clone()).await;
    assert_eq!(question.unwrap().vector.len(), encoder.dimensions());
    assert!(
        futures_util::poll!(&mut calls).is_pending(),
        "the question went first"
    );
}

#[tokio::test]
async fn two_encoders_share_one_runtime() {
    let first = Encoder::open(&encoder_config(), &[], None).unwrap();
    let second = Encoder::open(&encoder_config(), &[], None).unwrap();
    assert_eq!(first.fingerprint(), second.fingerprint());
    let vector = embed(&first, &["one"]).await;
    drop(first);
    assert_eq!(embed(&second, &["one"]).await, vector);
}

#[test]
fn a_missing_runtime_is_an_error_that_says_what_to_do() {
    let error = refusal(|config| config.runtime = "/nowhere/libonnxruntime.so".into());
    assert!(matches!(error, EncoderError::RuntimeMissing { .. }));
    let message = error.to_string();
    assert!(message.contains("/nowhere/libonnxruntime.so"), "{message}");
    assert!(message.contains("scripts/models"), "{message}");
}

#[test]
fn a_file_that_is_no_runtime_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("libonnxruntime.so");
    fs::write(&file, "not a library").unwrap();
    let error = refusal(|config| config.runtime.clone_from(&file));
    // Where tests share a process, another one may have loaded the real library first.
    assert!(
        matches!(
            error,
            EncoderError::RuntimeUnusable { .. } | EncoderError::RuntimeAlreadyLoaded { .. }
        ),
        "{error}"
    );
    assert!(
        error.to_string().contains(&file.display().to_string()),
        "{error}"
    );
}

#[test]
fn a_missing_or_broken_model_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for file in fs::read_dir(encoder_config().model_dir).unwrap() {
        let file = file.unwrap();
        if file
            .path()
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
        }
    }
    let weights = folder.path().join("model.safetensors");
    let error = refusal(|config| config.model_dir = folder.path().to_owned());
    assert!(
        matches!(&error, EncoderError::ModelFile { path, .. } if *path == weights),
        "{error}"
    );
    fs::write(&weights, "no weights").unwrap();
    let error = refusal(|config| config.model_dir = folder.path().to_owned());
    assert!(matches!(&error, EncoderError::Weights { .. }), "{error}");
    fs::remove_file(&weights).unwrap();
    fs::write(folder.path().join("model.onnx"), "no graph").unwrap();
    let error = refusal(|config| config.model_dir = folder.path().to_owned());
    assert!(
        matches!(&error, EncoderError::Model { dir, .. } if dir == folder.path()),
        "{error}"
    );
    let tokenizer = folder.path().join("tokenizer.json");
    fs::remove_file(&tokenizer).unwrap();
    let error = refusal(|config| config.model_dir = folder.path().to_owned());
    assert!(error.to_string().contains("tokenizer.json"), "{error}");
}
