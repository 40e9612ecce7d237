//! `coterie encoder tune` and `distill`, then `coterie train` and `coterie route` with what they made, as processes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use coterie::{config::EncoderConfig, router::encoder::Encoder};
use serde_json::{Value, json};

use crate::{
    support::encoder::{TinyBert, encoder_config},
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

/// Has a transformer cut texts as BERT does, which a static encoder must.
fn cut_into_word_pieces(tiny: &TinyBert) {
    let path = tiny.path("tokenizer.json");
    let mut tokenizer: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    tokenizer["normalizer"] = json!({"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
        "strip_accents": null, "lowercase": true});
    tokenizer["pre_tokenizer"] = json!({"type": "BertPreTokenizer"});
    tokenizer["model"]["type"] = json!("WordPiece");
    tokenizer["model"]["continuing_subword_prefix"] = json!("##");
    tokenizer["model"]["max_input_chars_per_word"] = json!(100);
    fs::write(&path, tokenizer.to_string()).unwrap();
}

/// What nothing but one word tells apart.
fn pets(bench: &Bench) -> PathBuf {
    let row = |frame: &str, pet: &str| {
        let text = frame.replace("PET", pet);
        json!({"text": text, "category": format!("{pet}s")}).to_string() + "\n"
    };
    let frames = [
        "the PET",
        "a PET",
        "the PET saw",
        "a PET saw",
        "the PET saw a PET",
        "a PET saw the PET",
    ];
    let rows = frames.map(|frame| row(frame, "cat") + &row(frame, "dog"));
    bench.file("pets.jsonl", &rows.concat())
}

#[test]
fn a_transformer_is_distilled_and_a_router_reads_nothing_but_the_table() {
    let bench = Bench::reading("static");
    let tiny = TinyBert::new();
    cut_into_word_pieces(&tiny);
    let (labels, table, router) = (pets(&bench), bench.path("table"), bench.path("router"));
    let files = [("--model", tiny.folder.path()), ("--out", &*table)];
    let how = ["--dimensions", "4", "--json"];
    let report = document(&bench, "encoder distill", &files, &how);
    assert_eq!(
        (&report["pieces"], &report["dimensions"]),
        (&json!(9), &json!(4))
    );

    let files = [
        ("--labels", &*labels),
        ("--static", &*table),
        ("--out", &*router),
    ];
    let manifest = document(&bench, "train", &files, &["--json"]);
    assert_eq!(manifest["features"], json!(["static"]), "{manifest}");
    for file in ["table.safetensors", "tokenizer.json"] {
        let [made, kept] = [&table, &router].map(|folder| fs::read(folder.join(file)).unwrap());
        assert!(made == kept, "{file} is another");
    }
    for (question, category) in [
        ("The cat saw the cat.", "cats"),
        ("The dog saw the dog.", "dogs"),
    ] {
        let more = ["--json", question];
        let decision = document(&bench, "route", &[("--router", &*router)], &more);
        assert_eq!(decision["category"], category, "{decision}");
        let why = &decision["explanation"];
        assert_eq!(why["winner"], category, "{decision}");
        assert!(why["static_share"].as_f64().unwrap() > 0.0, "{decision}");
        assert_eq!(why["features_for"], json!([]), "{decision}");
    }
}
