//! `coterie encoder tune`, then `coterie train --tuned` with what it made, as processes and with the real transformer.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::coterie::write_config;

const EXPERTS: &str = "experts: { only: { kind: remote, base_url: 'http://127.0.0.1:9/v1', model: far } }\n\
                       mapping: { default: only }\n";

const DISHES: [&str; 8] = [
    "bread", "soup", "rice", "eggs", "beans", "fish", "pasta", "cake",
];

const LANGUAGES: [&str; 8] = [
    "Rust", "Python", "Java", "Go", "Ruby", "Kotlin", "Haskell", "C",
];

struct Bench {
    folder: TempDir,
    config: PathBuf,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "{EXPERTS}router: {{ features: [sparse, transformer], artefacts: '{}' }}\n",
            folder.path().join("routers").display()
        );
        let config = write_config(folder.path(), &config);
        Self { folder, config }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, command: &[&str], folders: &[(&str, &Path)], more: &[&str]) -> Output {
        let mut call = Command::new(env!("CARGO_BIN_EXE_coterie"));
        call.stdin(Stdio::null())
            .args(command)
            .arg("--config")
            .arg(&self.config);
        for (option, folder) in folders {
            call.arg(option).arg(folder);
        }
        call.args(more).output().unwrap()
    }

    /// The one document that a call prints which must succeed.
    fn document(&self, command: &[&str], folders: &[(&str, &Path)], more: &[&str]) -> Value {
        let output = self.run(command, folders, more);
        assert!(output.status.success(), "{}", words(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Questions about two topics.
    fn labels(&self) -> PathBuf {
        let of_kitchen = DISHES.map(|dish| (format!("How long do I cook {dish}?"), "cooking"));
        let of_code =
            LANGUAGES.map(|language| (format!("How do I sort a list in {language}?"), "coding"));
        let rows = of_kitchen.iter().chain(&of_code);
        let lines = rows
            .map(|(text, category)| json!({"text": text, "category": category}).to_string() + "\n");
        fs::write(self.path("labels.jsonl"), lines.collect::<String>()).unwrap();
        self.path("labels.jsonl")
    }
}

fn words(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_transformer_is_tuned_and_a_router_reads_it() {
    let bench = Bench::new();
    let (labels, tuned, router) = (bench.labels(), bench.path("tuned"), bench.path("router"));
    let files = [("--labels", &*labels), ("--out", &*tuned)];
    let how = "--model models/all-MiniLM-L6-v2 --folds 2 --epochs 2 --rank 2 --twice --json";
    let how: Vec<&str> = how.split(' ').collect();
    let report = bench.document(&["encoder", "tune"], &files, &how);
    assert_eq!(report["rows"], 16, "{report}");
    assert_eq!(report["options"]["twice"], true, "{report}");

    let files = [
        ("--labels", &*labels),
        ("--tuned", &*tuned),
        ("--out", &*router),
    ];
    let manifest = bench.document(&["train"], &files, &["--json"]);
    assert!(
        manifest["files"]["adapter.safetensors"].is_string(),
        "{manifest}"
    );
    assert!(manifest["full"]["figures"].is_object(), "{manifest}");
    let question = ["--json", "How do I sort a list in Swift?"];
    let decision = bench.document(&["route"], &[("--router", &*router)], &question);
    assert_eq!(decision["tier"], "full", "{decision}");
    assert_eq!(decision["scores"][0]["category"], "coding", "{decision}");

    // What was not held back from the rows would tell a head too much.
    fs::remove_file(tuned.join("held_back.safetensors")).unwrap();
    let output = bench.run(&["train"], &files, &[]);
    let told = words(&output.stderr);
    assert!(!output.status.success(), "{told}");
    assert!(told.contains("with --folds"), "{told}");
}
