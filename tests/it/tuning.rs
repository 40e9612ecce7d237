//! `coterie encoder tune`, then `coterie train --tuned` with what it made, as processes and with the real transformer.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::training::{Bench, words};

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

#[test]
fn a_transformer_is_tuned_and_a_router_reads_it() {
    let bench = Bench::reading("sparse, transformer");
    let (labels, tuned, router) = (labels(&bench), bench.path("tuned"), bench.path("router"));
    let files = [("--labels", &*labels), ("--out", &*tuned)];
    let how = "--model models/all-MiniLM-L6-v2 --folds 2 --epochs 2 --rank 2 --twice --json";
    let how: Vec<&str> = how.split(' ').collect();
    let report = document(&bench, "encoder tune", &files, &how);
    assert_eq!(report["rows"], 16, "{report}");
    assert_eq!(report["options"]["twice"], true, "{report}");

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
