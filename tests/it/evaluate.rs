//! `coterie evaluate` as a process, with the real encoder and the shipped routes.

use std::{
    collections::BTreeMap,
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
        let mut call = self.call(command);
        call.arg(flag).args(files).args(more).output().unwrap()
    }

    /// What `coterie route` says of one question.
    fn ask(&self, question: &str, more: &[&str]) -> String {
        let output = self.call("route").args(more).arg(question).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", words(&output.stderr));
        words(&output.stdout)
    }

    fn call(&self, command: &str) -> Command {
        let mut call = Command::new(env!("CARGO_BIN_EXE_coterie"));
        call.stdin(Stdio::null())
            .args([command, "--config"])
            .arg(&self.config);
        call
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

/// Where questions of a kind went, in numbers of them.
#[derive(Debug, Default)]
struct Went {
    /// Routed to a category with a topic.
    to_topics: usize,
    /// Routed to `multilingual`.
    to_languages: usize,
    /// Not routed: the default expert answers.
    nowhere: usize,
}

/// Gibberish, asks without a topic, orders to a device and other languages, written for this test: they must not be routed
/// to a category with a topic. Nothing was chosen by them.
#[test]
fn what_belongs_nowhere_is_not_routed_to_a_topic() {
    let bench = Bench::new();
    let strangers = include_str!("strangers.jsonl");
    let file = bench.file("strangers.jsonl", strangers);
    let output = bench.route(&file, &["--json"]);
    assert!(output.status.success(), "{}", words(&output.stderr));
    let parse = |line: &str| -> Value { serde_json::from_str(line).unwrap() };
    let decisions: Vec<Value> = words(&output.stdout).lines().map(parse).collect();
    assert_eq!(decisions.len(), 80);
    let mut by_kind: BTreeMap<String, Went> = BTreeMap::new();
    for (row, decision) in strangers.lines().map(parse).zip(&decisions) {
        let kind = row["kind"].as_str().unwrap().to_owned();
        let went = by_kind.entry(kind).or_default();
        match (&decision["reason"]["kind"], &decision["category"]) {
            (reason, _) if reason != "routed" => went.nowhere += 1,
            (_, category) if category == "multilingual" => went.to_languages += 1,
            _ => went.to_topics += 1,
        }
    }
    // Of 20 each; what is no word of English may be taken for one of another language.
    for (kind, nowhere_min, languages_min) in [
        ("gibberish", 12, 0),
        ("empty ask", 18, 0),
        ("device", 18, 0),
        ("language", 0, 18),
    ] {
        let went = &by_kind[kind];
        assert!(went.to_topics <= 1, "{kind}: {went:?}");
        assert!(went.nowhere >= nowhere_min, "{kind}: {went:?}");
        assert!(went.to_languages >= languages_min, "{kind}: {went:?}");
    }
    let to_topics: usize = by_kind.values().map(|went| went.to_topics).sum();
    assert!(to_topics <= 2, "{by_kind:?}");
}

#[test]
fn a_decision_is_told_to_people_with_what_it_was_made_from() {
    let bench = Bench::new();
    let question = "Write a Python function that adds two numbers.";
    let told = bench.ask(question, &[]);
    let decision: Value = serde_json::from_str(&bench.ask(question, &["--json"])).unwrap();
    let line = |name: &str| {
        let name = format!("{name:<12}");
        let mut found = told.lines().filter_map(|line| line.strip_prefix(&name));
        found.next().unwrap_or_else(|| panic!("{name}: {told}"))
    };
    let number = |of: &Value| of.as_f64().unwrap();
    assert_eq!(line("category"), "coding");
    assert_eq!(line("reason"), "the router is confident");
    let confidence = format!("{:.3}", number(&decision["confidence"]));
    assert_eq!(line("confidence"), confidence);
    let scores = decision["scores"].as_array().unwrap().iter().take(4);
    let scores = scores.map(|score| {
        let category = score["category"].as_str().unwrap();
        format!("{category} {:.3}", number(&score["probability"]))
    });
    assert_eq!(line("scores"), scores.collect::<Vec<_>>().join(", "));

    let why = &decision["explanation"];
    let (tier, settles) = (why["tier"].as_str().unwrap(), number(&why["settled_from"]));
    let settles = format!("{tier}; the cheap one settles from {settles:.3}");
    assert_eq!(line("tier"), settles);
    let (margin, from) = (number(&why["margin"]), number(&why["confidence_min"]));
    let margin = format!("{margin:.3} by the router, which routes from {from:.3}");
    assert_eq!(line("margin"), margin);
    // The winner's features first, then the runner-up's.
    let spoke_for = told.lines().filter(|line| line.starts_with("spoke for   "));
    let expected = [
        ("winner", "features_for"),
        ("runner_up", "features_against"),
    ];
    let expected = expected.map(|(class, features)| {
        let shares = why[features].as_array().unwrap().iter().map(|share| {
            let feature = share["feature"].as_str().unwrap();
            format!("{feature} {:.2}", number(&share["share"]).abs())
        });
        let shares = shares.collect::<Vec<_>>().join(", ");
        format!("spoke for   {}: {shares}", why[class].as_str().unwrap())
    });
    let question = question.to_lowercase();
    let mut named = expected[0].split('`').skip(1).step_by(2);
    assert!(named.any(|named| question.contains(named)), "{told}");
    assert_eq!(spoke_for.collect::<Vec<_>>(), expected);
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
