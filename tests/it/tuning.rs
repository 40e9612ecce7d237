//! `coterie encoder tune`, then `coterie train --tuned` with what it made, as processes and with the real transformer.

use std::{
    fs,
    path::{Path, PathBuf},
};

use coterie::{config::EncoderConfig, router::encoder::Encoder};
use serde_json::{Value, json};

use crate::{
    support::encoder::encoder_config,
    training::{Bench, words},
};

const DISHES: [&str; 8] = [
    "bread", "soup", "rice", "eggs", "beans", "fish", "pasta", "cake",
];

const LANGUAGES: [&str; 8] = [
    "Rust", "Python", "Java", "Go", "Ruby", "Kotlin", "Haskell", "C",
];

/// Questions about two topics.
fn labels(bench: &Bench) -> PathBuf {
    let of_kitchen = DISHES.map(|dish| (format!("How long do I cook {dish}?"), "cooking"));
    let of_code =
        LANGUAGES.map(|language| (format!("How do I sort a list in {language}?"), "coding"));
    let rows = of_kitchen.iter().chain(&of_code);
    let lines =
        rows.map(|(text, category)| json!({"text": text, "category": category}).to_string() + "\n");
    bench.file("labels.jsonl", &lines.collect::<String>())
}

/// The one document that a call prints which must succeed.
fn document(bench: &Bench, command: &str, files: &[(&str, &Path)], more: &[&str]) -> Value {
    let output = bench.run(command, files, more);
    assert!(output.status.success(), "{}", words(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What the encoder in a folder makes of a text.
async fn vector(model_dir: &Path) -> Vec<f32> {
    let config = EncoderConfig {
        model_dir: model_dir.to_owned(),
        ..encoder_config()
    };
    let encoder = Encoder::open(&config, &[], None).unwrap();
    let readings = encoder.embed(vec!["How is bread made?".to_owned()]).await;
    readings.unwrap()[0].vector.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transformer_is_tuned_and_a_router_reads_it() {
    let bench = Bench::reading("sparse, transformer");
    let (labels, tuned, router) = (labels(&bench), bench.path("tuned"), bench.path("router"));
    let files = [("--labels", &*labels), ("--out", &*tuned)];
    let how = "--model models/all-MiniLM-L6-v2 --folds 2 --epochs 2 --rank 2 --twice --json";
    let how: Vec<&str> = how.split(' ').collect();
    let report = document(&bench, "encoder tune", &files, &how);
    assert_eq!(report["rows"], 16, "{report}");
    assert_eq!(report["options"]["twice"], true, "{report}");

    // The graph that was written beside the weights is the same encoder, and not the one that was tuned.
    let (of_weights, published) = (
        vector(&tuned).await,
        vector(&encoder_config().model_dir).await,
    );
    fs::rename(
        tuned.join("model.safetensors"),
        bench.path("model.safetensors"),
    )
    .unwrap();
    let of_graph = vector(&tuned).await;
    let cosine = |other: &[f32]| -> f32 { of_weights.iter().zip(other).map(|(a, b)| a * b).sum() };
    assert!(cosine(&of_graph) > 0.999_9, "{}", cosine(&of_graph));
    assert!(cosine(&published) < 0.999_9, "{}", cosine(&published));

    let files = [
        ("--labels", &*labels),
        ("--tuned", &*tuned),
        ("--out", &*router),
    ];
    let manifest = document(&bench, "train", &files, &["--json"]);
    assert!(
        manifest["files"]["adapter.safetensors"].is_string(),
        "{manifest}"
    );
    assert!(manifest["full"]["figures"].is_object(), "{manifest}");
    let question = ["--json", "How do I sort a list in Swift?"];
    let decision = document(&bench, "route", &[("--router", &*router)], &question);
    assert_eq!(decision["tier"], "full", "{decision}");
    assert_eq!(decision["scores"][0]["category"], "coding", "{decision}");

    // What was not held back from the rows would tell a head too much.
    fs::remove_file(tuned.join("held_back.safetensors")).unwrap();
    let output = bench.run("train", &files, &[]);
    let told = words(&output.stderr);
    assert!(!output.status.success(), "{told}");
    assert!(told.contains("with --folds"), "{told}");
}
