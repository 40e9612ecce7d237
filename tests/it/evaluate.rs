//! `coterie evaluate` as a process, with the real encoder and the shipped routes.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::coterie::write_config;

const EXPERTS: &str = "experts: { only: { kind: remote, base_url: 'http://127.0.0.1:9/v1', model: far } }\n\
                       mapping: { default: only }\n";

/// Plain questions of three categories, one from elsewhere, one in a conversation, one with nothing to classify, and one
/// whose label nobody knows.
const ROWS: &str = r#"{"id": "r1", "text": "Write a Python function that parses a CSV file into a list of dictionaries.", "category": "coding", "source": "by hand"}
{"id": 2, "text": "Why does my Rust program say that it cannot borrow as mutable?", "category": "coding"}

{"text": "What is the derivative of x squared times the sine of x?", "category": "math"}
{"messages": [{"role": "user", "content": "Can my landlord keep the deposit after I moved out?"}], "category": "legal"}
{"text": "asdf qwer zxcv", "category": "out_of_domain"}
{"text": "   ", "category": "out_of_domain"}
{"text": "Which wax goes on a surfboard?", "category": "surfing"}
"#;

struct Bench {
    folder: TempDir,
    config: PathBuf,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = write_config(folder.path(), EXPERTS);
        Self { folder, config }
    }

    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn route(&self, file: &Path, more: &[&str]) -> Output {
        self.run("route", ("--file", &[file]), more)
    }

    fn evaluate(&self, labels: &[&Path], more: &[&str]) -> Output {
        self.run("evaluate", ("--labels", labels), more)
    }

    fn run(&self, command: &str, (flag, files): (&str, &[&Path]), more: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_coterie"))
            .stdin(Stdio::null())
            .args([command, "--config"])
            .arg(&self.config)
            .arg(flag)
            .args(files)
            .args(more)
            .output()
            .unwrap()
    }
}

fn words(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_router_is_judged_from_a_file_of_labels() {
    let bench = Bench::new();
    let labels = bench.file("labels.jsonl", ROWS);
    let plots = bench.folder.path().join("made/plots");
    let output = bench.evaluate(&[&labels], &["--json", "--plots", plots.to_str().unwrap()]);
    let told = words(&output.stderr);
    assert!(output.status.success(), "{told}");
    let e: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(e["rows"], 7);
    assert_eq!(e["confusion"]["coding"]["coding"], 2);
    assert_eq!(e["per_category"]["surfing"]["recall"], 0.0);
    assert_eq!(e["confusion"]["out_of_domain"]["out_of_domain"], 2);
    assert!(e["ood_auroc"].as_f64().unwrap() > 0.5, "{e}");
    assert!(e["latency_us"]["p50"].as_u64() <= e["latency_us"]["p99"].as_u64());
    assert!(!e["router"]["id"].as_str().unwrap().is_empty());
    let mistakes = e["mistakes"].as_array().unwrap();
    assert!(mistakes.iter().any(|mistake| mistake["label"] == "surfing"));
    assert!(told.contains("1 of 7 rows have labels"), "{told}");
    assert!(told.contains("\"surfing\" (1 rows)"), "{told}");
    for name in ["reliability.svg", "risk-coverage.svg"] {
        let picture = fs::read_to_string(plots.join(name)).unwrap();
        assert!(picture.starts_with("<svg"), "{picture}");
    }
}

/// Conversations that were written for this test, with categories of the shipped routes: five follow-ups about each topic
/// and 24 turns to another one. How much an ask leans that belongs nowhere by itself was chosen on them, and nothing else.
#[test]
fn follow_ups_keep_their_topic_and_new_topics_are_seen() {
    let bench = Bench::new();
    let labels = bench.file("labels.jsonl", include_str!("conversations.jsonl"));
    let output = bench.evaluate(&[&labels], &["--json"]);
    assert!(output.status.success(), "{}", words(&output.stderr));
    let evaluation: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(evaluation["rows"], 84);
    assert!(
        evaluation["accuracy"].as_f64().unwrap() > 0.9,
        "{evaluation}"
    );
    assert!(
        evaluation["misrouted"].as_f64().unwrap() < 0.05,
        "{evaluation}"
    );
}

/// Short plain questions and conversations that somebody wrote who had not seen the router: nothing was chosen by them.
#[test]
fn what_people_type_is_understood() {
    let bench = Bench::new();
    for (name, rows, text, (right_min, misrouted_max)) in [
        (
            "everyday",
            232,
            include_str!("everyday.jsonl"),
            (0.95, 0.03),
        ),
        ("talks", 120, include_str!("talks.jsonl"), (0.75, 0.06)),
    ] {
        let labels = bench.file("labels.jsonl", text);
        let output = bench.evaluate(&[&labels], &["--json"]);
        assert!(output.status.success(), "{}", words(&output.stderr));
        let evaluation: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(evaluation["rows"], rows);
        let of = |figure: &str| evaluation[figure].as_f64().unwrap();
        assert!(of("accuracy") >= right_min, "{name}: {evaluation}");
        assert!(of("misrouted") <= misrouted_max, "{name}: {evaluation}");
    }
}

/// Gibberish, asks without a topic, orders to a device and other languages, written for this test: they must not be routed
/// to a category with a topic. Nothing was chosen by them.
#[test]
fn what_belongs_nowhere_is_not_routed_to_a_topic() {
    let bench = Bench::new();
    let file = bench.file("strangers.jsonl", include_str!("strangers.jsonl"));
    let output = bench.route(&file, &["--json"]);
    assert!(output.status.success(), "{}", words(&output.stderr));
    let decisions = words(&output.stdout);
    let routed: Vec<Value> = decisions
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|decision: &Value| decision["reason"]["kind"] == "routed")
        .collect();
    assert_eq!(decisions.lines().count(), 80);
    let elsewhere = routed.iter().filter(|it| it["category"] != "multilingual");
    let elsewhere: Vec<&Value> = elsewhere.map(|it| &it["features"]["question"]).collect();
    assert!(elsewhere.len() <= 2, "{elsewhere:?}");
    assert!(routed.len() > elsewhere.len() + 10, "{decisions}");
}

#[test]
fn a_file_of_questions_becomes_a_table() {
    let bench = Bench::new();
    let file = bench.file("labels.jsonl", ROWS);
    let output = bench.route(&file, &[]);
    assert!(output.status.success(), "{}", words(&output.stderr));
    let table = words(&output.stdout);
    let lines: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split('\t').collect())
        .collect();
    let head = ["id", "category", "confidence", "tier", "expert", "reason"];
    assert_eq!(lines[0], head);
    assert_eq!(lines.len(), 8, "{table}");
    assert!(lines.iter().all(|line| line.len() == head.len()), "{table}");
    assert_eq!(
        (lines[1][0], lines[1][1], lines[1][5]),
        ("r1", "coding", "routed")
    );
    // Where a row gives itself no id it is counted.
    assert_eq!((lines[2][0], lines[3][0]), ("2", "3"));
    assert_eq!((lines[6][3], lines[6][5]), ("-", "empty"));
}

#[test]
fn the_table_is_for_people_and_several_files_are_one_set() {
    let bench = Bench::new();
    let labels = bench.file("labels.jsonl", ROWS);
    let more = bench.file(
        "more.jsonl",
        r#"{"text": "Refactor this class so that it can be tested.", "category": "coding"}"#,
    );
    let output = bench.evaluate(&[&labels, &more], &[]);
    let table = words(&output.stdout);
    assert!(output.status.success(), "{}", words(&output.stderr));
    for part in [
        "rows                  8",
        "label, taken for",
        "misrouted",
        "the most confident mistakes",
    ] {
        assert!(table.contains(part), "{part}: {table}");
    }
}

#[test]
fn a_wrong_file_is_refused_with_the_place_and_what_to_write() {
    let bench = Bench::new();
    let good = r#"{"text": "How do I sort a list?", "category": "coding"}"#;
    let bad: &[(&[u8], &str)] = &[
        (b"", "holds no rows; write a JSON object a line"),
        (b"\n  \n", "holds no rows"),
        (b"{\"text\": \"x\"", ":2: column 12 is not JSON"),
        (b"7", ":2: the body must be a JSON object"),
        (
            b"{\"text\": 7, \"category\": \"coding\"}",
            ":2: `text` must be a text",
        ),
        (
            b"{\"category\": \"coding\"}",
            ":2: the question is missing; send `text` or `messages`",
        ),
        (
            b"{\"text\": \"x\"}",
            ":2: `category` is missing; write the category's name",
        ),
        (
            b"{\"text\": \"x\", \"category\": null}",
            ":2: `category` is missing",
        ),
        (
            b"{\"text\": \"x\", \"category\": [\"a\"]}",
            ":2: `category` is [\"a\"]; it must be",
        ),
        (b"\xff\xfe", ":2: the line cannot be read"),
    ];
    for (line, expected) in bad {
        let mut text = Vec::new();
        if expected.starts_with(':') {
            text.extend(format!("{good}\n").into_bytes());
        }
        text.extend(*line);
        let labels = bench.file("bad.jsonl", text);
        let output = bench.evaluate(&[&labels], &["--json"]);
        let told = words(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(
            told.contains(&format!("bad.jsonl{expected}"))
                || told.contains(&format!("bad.jsonl {expected}")),
            "{told}"
        );
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_call_without_what_it_needs_says_so() {
    let bench = Bench::new();
    let missing = bench.folder.path().join("missing.jsonl");
    let output = bench.evaluate(&[&missing], &[]);
    assert_eq!(output.status.code(), Some(2));
    let told = words(&output.stderr);
    assert!(
        told.contains("missing.jsonl cannot be read: No such file"),
        "{told}"
    );

    let labels = bench.file("labels.jsonl", ROWS);
    let output = bench.evaluate(&[&labels], &["--router", "nowhere"]);
    assert_eq!(output.status.code(), Some(1), "{}", words(&output.stderr));

    let blocked = bench.file("a-file", "");
    let blocked = blocked.to_str().unwrap();
    let output = bench.evaluate(&[&labels], &["--plots", blocked]);
    assert_eq!(output.status.code(), Some(1));
    let told = words(&output.stderr);
    assert!(told.contains("a-file cannot be written"), "{told}");
}
