//! `coterie train`, then `coterie evaluate` and `coterie route` with what it made, as processes.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use coterie::{config, train::labels::Labelled};
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
        self.call(command, files).args(more).output().unwrap()
    }

    /// A call that is not made yet.
    fn call(&self, command: &str, files: &[(&str, &Path)]) -> Command {
        let mut call = Command::new(env!("CARGO_BIN_EXE_coterie"));
        call.stdin(Stdio::null())
            .args(command.split(' '))
            .arg("--config")
            .arg(&self.config);
        for (option, file) in files {
            call.arg(option).arg(file);
        }
        call
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

/// Two rows of each shipped route: few, and with so many weights that a sum over them is made of three parts.
fn rows_of_many_weights() -> Vec<Labelled> {
    let routes = config::embedded_routes().routes.into_iter();
    let rows = routes.flat_map(|route| {
        let texts = route.examples.chunks(2).map(|two| two.join(" "));
        let rows = texts.map(|text| Labelled::from_text(&text, route.category.clone()));
        rows.take(2).collect::<Vec<_>>()
    });
    rows.collect()
}

/// The files of a folder, without what a manifest says of when it was written: the time, and the checksum over it.
fn without_time(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let is_of_time = |line: &&str| {
        let field = line.trim_start();
        field.starts_with("\"created_at_ms\":") || field.starts_with("\"sha256\":")
    };
    let files = fs::read_dir(folder).unwrap().map(|file| {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        let bytes = fs::read(file.path()).unwrap();
        if name != "manifest.json" {
            return (name, bytes);
        }
        let text = words(&bytes);
        let (of_time, rest): (Vec<&str>, Vec<&str>) = text.lines().partition(is_of_time);
        assert_eq!(of_time.len(), 2, "{text}");
        (name, rest.join("\n").into_bytes())
    });
    files.collect()
}

#[test]
fn with_all_features_the_same_rows_make_the_same_bytes_by_one_thread_and_by_four() {
    let rows = lines(&rows_of_many_weights());
    let [one, other] = ["1", "4"].map(|cores| {
        let bench = Bench::reading("sparse, static, transformer");
        let (labels, out) = (bench.file("labels.jsonl", &rows), bench.path("router"));
        let mut call = bench.call("train", &[("--labels", &labels), ("--out", &out)]);
        let output = call.env("RAYON_NUM_THREADS", cores).output().unwrap();
        assert!(output.status.success(), "{}", words(&output.stderr));
        // Neither knows what the other's transformer said.
        let readings = without_time(&bench.path("routers/.readings"));
        (without_time(&out), readings)
    });
    let names = [
        "manifest.json",
        "router.safetensors",
        "table.safetensors",
        "tokenizer.json",
    ];
    assert!(one.0.keys().eq(names), "{:?}", one.0.keys());
    assert_eq!(one.1.len(), 1, "{:?}", one.1.keys());
    for (one, other) in [(&one.0, &other.0), (&one.1, &other.1)] {
        assert!(one.keys().eq(other.keys()), "{:?}", other.keys());
        for (name, bytes) in one {
            assert!(bytes == &other[name], "{name} differs");
        }
    }
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
