//! `coterie train`, then `coterie evaluate` and `coterie route` with what it made, as processes.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use coterie::train::labels::Labelled;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{coterie::write_config, router::rows};

const EXPERTS: &str = "experts: { only: { kind: remote, base_url: 'http://127.0.0.1:9/v1', model: far } }\n\
                       mapping: { default: only }\n";

/// A folder to train in.
pub(crate) struct Bench {
    folder: TempDir,
    config: PathBuf,
}

impl Bench {
    /// Its routers read words alone.
    fn new() -> Self {
        Self::reading("sparse")
    }

    /// Its routers read these features.
    pub(crate) fn reading(features: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let routes = Path::new(env!("CARGO_MANIFEST_DIR")).join("routes");
        let config = format!(
            "{EXPERTS}router: {{ features: [{features}], artefacts: '{}', routes: '{}' }}\n",
            folder.path().join("routers").display(),
            routes.display()
        );
        let config = write_config(folder.path(), &config);
        Self { folder, config }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    pub(crate) fn run(&self, command: &str, files: &[(&str, &Path)], more: &[&str]) -> Output {
        let mut call = Command::new(env!("CARGO_BIN_EXE_coterie"));
        call.stdin(Stdio::null())
            .args(command.split(' '))
            .arg("--config")
            .arg(&self.config);
        for (option, file) in files {
            call.arg(option).arg(file);
        }
        call.args(more).output().unwrap()
    }

    /// Trains a router that must come about, and returns its folder.
    fn trained(&self, name: &str, labels: &[Labelled]) -> PathBuf {
        let labels = self.file(&format!("{name}.jsonl"), &lines(labels));
        let out = self.path(name);
        let files = [("--labels", labels.as_path()), ("--out", out.as_path())];
        let output = self.run("train", &files, &[]);
        assert!(output.status.success(), "{}", words(&output.stderr));
        out
    }
}

/// Rows as they stand in a file.
fn lines(rows: &[Labelled]) -> String {
    rows.iter()
        .map(|row| json!({"text": row.query.text, "category": row.category}).to_string() + "\n")
        .collect()
}

pub(crate) fn words(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_router_is_trained_judged_and_asked() {
    let bench = Bench::new();
    let router = bench.trained("router", &rows());
    let labels = bench.file(
        "unseen.jsonl",
        "{\"id\": \"u1\", \"text\": \"How do I bake an egg?\", \"category\": \"cooking\"}\n\
         {\"text\": \"Sort a JavaScript array of objects\", \"category\": \"coding\"}\n",
    );
    let with_router = [
        ("--labels", labels.as_path()),
        ("--router", router.as_path()),
    ];
    let output = bench.run("evaluate", &with_router, &["--json"]);
    assert!(output.status.success(), "{}", words(&output.stderr));
    let evaluation: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(evaluation["rows"], 2);
    assert_eq!(evaluation["accuracy"], 1.0, "{evaluation}");
    assert_eq!(evaluation["tiers"]["cheap"]["share"], 1.0, "{evaluation}");

    let with_router = [("--file", labels.as_path()), ("--router", router.as_path())];
    let output = bench.run("route", &with_router, &["--json"]);
    assert!(output.status.success(), "{}", words(&output.stderr));
    let told = words(&output.stdout);
    let decisions: Vec<Value> = told
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(decisions.len(), 2);
    assert_eq!(decisions[0]["id"], "u1");
    assert_eq!(decisions[0]["scores"][0]["category"], "cooking", "{told}");
    assert_eq!(decisions[0]["router"], evaluation["router"]["id"]);
    assert_eq!(decisions[0]["explanation"]["winner"], "cooking", "{told}");
    assert_eq!(decisions[0]["tier"], "cheap", "{told}");
}

#[test]
fn the_manifest_is_printed_and_two_runs_make_the_same_router() {
    let bench = Bench::new();
    let labels = bench.file("labels.jsonl", &lines(&rows()));
    let manifest = |name: &str| -> Value {
        let out = bench.path(name);
        let files = [("--labels", labels.as_path()), ("--out", out.as_path())];
        let more = ["--json", "--source", "toy=CC0-1.0"];
        let output = bench.run("train", &files, &more);
        assert!(output.status.success(), "{}", words(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let (one, other) = (manifest("one"), manifest("other"));
    assert_eq!(one["training"]["rows"], rows().len());
    assert_eq!(one["training"]["sources"][0]["licence"], "CC0-1.0");
    assert_eq!(one["categories"], json!(["coding", "cooking", "travel"]));
    assert_eq!((&one["id"], &one["files"]), (&other["id"], &other["files"]));
    let read = |name: &str| fs::read(bench.path(name).join("router.safetensors")).unwrap();
    assert_eq!(read("one"), read("other"));
}

#[test]
fn few_rows_and_disputed_ones_are_warned_of() {
    let bench = Bench::new();
    let mut rows = rows();
    let mut disputed = rows[0].clone();
    disputed.category.clone_from(&rows[17].category);
    rows.push(disputed);
    let labels = bench.file("labels.jsonl", &lines(&rows));
    let out = bench.path("router");
    let files = [("--labels", labels.as_path()), ("--out", out.as_path())];
    let output = bench.run("train", &files, &[]);
    let told = words(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(
        told.contains("few rows in coding (5), cooking (6)"),
        "{told}"
    );
    assert!(told.contains("1 texts have several categories"), "{told}");
}

#[test]
fn rows_that_cannot_be_learnt_from_are_refused_with_the_reason() {
    let bench = Bench::new();
    let good = lines(&rows());
    let one_class: Vec<Labelled> = rows().into_iter().take(6).collect();
    let cases = [
        (
            format!("{good}{{\"text\""),
            2,
            "labels.jsonl:19: column 7 is not JSON",
        ),
        ("\n".to_owned(), 2, "labels.jsonl holds no rows"),
        (lines(&one_class), 1, "6 rows of 1 categories"),
    ];
    for (text, code, complaint) in cases {
        let labels = bench.file("labels.jsonl", &text);
        let out = bench.path("router");
        let files = [("--labels", labels.as_path()), ("--out", out.as_path())];
        let output = bench.run("train", &files, &[]);
        let told = words(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{told}");
        assert!(told.contains(complaint), "{told}");
        assert!(output.stdout.is_empty() && !out.exists());
    }
}

#[test]
fn a_call_without_what_it_needs_says_so() {
    let bench = Bench::new();
    let (missing, out) = (bench.path("missing.jsonl"), bench.path("router"));
    let cases: [(&[(&str, &Path)], &str); 3] = [
        (&[("--out", &out)], "give --labels, --routes or both"),
        (
            &[("--labels", &missing), ("--out", &out)],
            "missing.jsonl cannot be read",
        ),
        (&[("--routes", &missing), ("--out", &out)], "missing.jsonl"),
    ];
    for (files, complaint) in cases {
        let output = bench.run("train", files, &[]);
        let told = words(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(complaint), "{told}");
    }
    let question = bench.file("question.jsonl", "{\"text\": \"Hi\"}\n{\"text\": 7}\n");
    let router = bench.trained("trained", &rows());
    let files = [
        ("--file", question.as_path()),
        ("--router", router.as_path()),
    ];
    let output = bench.run("route", &files, &[]);
    let told = words(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("question.jsonl:2: "), "{told}");
}

#[test]
fn a_folder_that_holds_something_else_is_never_replaced() {
    let bench = Bench::new();
    let labels = bench.file("labels.jsonl", &lines(&rows()));
    let out = bench.path("thesis");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("chapter.txt"), "mine").unwrap();
    let files = [("--labels", labels.as_path()), ("--out", out.as_path())];
    let output = bench.run("train", &files, &[]);
    let told = words(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("name another folder"), "{told}");
    assert_eq!(fs::read_to_string(out.join("chapter.txt")).unwrap(), "mine");
    fs::remove_file(out.join("chapter.txt")).unwrap();
    for _empty_then_a_router in 0..2 {
        let output = bench.run("train", &files, &[]);
        assert!(output.status.success(), "{}", words(&output.stderr));
    }
}
