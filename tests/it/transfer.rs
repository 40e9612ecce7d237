//! `coterie export` and `coterie import`, as they are called.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A configuration with a store of its own, `NAME.db`.
fn config(folder: &TempDir, name: &str) -> String {
    let path = folder.path().join(format!("{name}.yaml"));
    let routes = Path::new(env!("CARGO_MANIFEST_DIR")).join("routes");
    let yaml = format!(
        "experts: {{ only: {{ kind: remote, base_url: 'http://localhost:1/v1', model: far }} }}\n\
         mapping: {{ default: only }}\n\
         router: {{ routes: '{}' }}\n\
         store: {{ url: 'sqlite://{}' }}\n",
        routes.display(),
        folder.path().join(format!("{name}.db")).display()
    );
    fs::write(&path, yaml).unwrap();
    path.to_str().unwrap().to_owned()
}

fn coterie(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_coterie"))
        .args(args)
        .output()
        .unwrap()
}

#[track_caller]
fn works(args: &[&str]) -> String {
    let output = coterie(args);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{told}");
    String::from_utf8(output.stdout).unwrap()
}

fn line(id: &str, asked_at_ms: i64, category: &str) -> Value {
    json!({
        "id": id, "asked_at_ms": asked_at_ms, "key_name": null, "model": "coterie", "streamed": false,
        "question": "How?", "session": null, "category": category, "confidence": 0.5, "scores": [], "router": "r1",
        "reason": "routed", "reason_detail": {}, "expert": "only", "fallbacks": [], "propensity": 1.0,
        "strangeness": null, "decision_us": 1, "attempts": [], "answered_by": "only", "first_token_us": 1,
        "total_us": 2, "prompt_tokens": null, "completion_tokens": null, "cost_usd": null, "ending": "completed",
        "error": null, "answer": "So.", "feedback": [],
        "labels": [{"given_at_ms": 1, "category": "sql", "origin": "person", "given_by": "ada"}],
    })
}

#[test]
fn the_log_goes_out_in_both_formats_and_comes_back() {
    let folder = TempDir::new().unwrap();
    let (first, second) = (config(&folder, "first"), config(&folder, "second"));
    let day_ms = 86_400_000;
    let lines = [
        line("a", day_ms, "coding").to_string(),
        line("b", 2 * day_ms, "sql").to_string(),
        line("c", 3 * day_ms, "coding").to_string(),
    ];
    let file = folder.path().join("lines.jsonl");
    fs::write(&file, lines.join("\n")).unwrap();
    let file = file.to_str().unwrap();
    let told = works(&["import", file, "--config", &first]);
    assert_eq!(
        told,
        "3 outcomes, 0 feedback and 3 labels imported; 0 outcomes were there\n"
    );

    let parquet = folder.path().join("log.parquet");
    let out = parquet.to_str().unwrap();
    works(&["export", "--out", out, "--config", &first]);
    assert!(fs::read(&parquet).unwrap().starts_with(b"PAR1"));
    works(&["import", out, "--config", &second]);
    let again = works(&["import", out, file, "--config", &second]);
    assert!(again.contains("6 outcomes were there"), "{again}");

    let exported = works(&["export", "--config", &second]);
    assert_eq!(exported.lines().collect::<Vec<_>>(), lines);
    let some = [
        "export",
        "--since",
        "1970-01-03",
        "--category",
        "coding",
        "--expert",
        "only",
    ];
    let some = works(&[&some[..], &["--config", &second]].concat());
    assert_eq!(some.trim_end(), lines[2]);
}

#[test]
fn wrong_calls_and_wrong_rows_have_their_exit_codes() {
    let folder = TempDir::new().unwrap();
    let config = config(&folder, "one");
    let nothing = coterie(&["export", "--config", &config]);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(
        !folder.path().join("one.db").exists(),
        "an export makes no store"
    );
    let pipe = coterie(&["export", "--format", "parquet", "--config", &config]);
    assert_eq!(pipe.status.code(), Some(2));
    let time = coterie(&["export", "--since", "yesterday", "--config", &config]);
    assert_eq!(time.status.code(), Some(2));

    let file = folder.path().join("labels.jsonl");
    fs::write(&file, "{\"text\": \"Sort it\", \"category\": \"coding\"}\n").unwrap();
    let labels = coterie(&["import", file.to_str().unwrap(), "--config", &config]);
    assert_eq!(labels.status.code(), Some(1));
    let told = String::from_utf8(labels.stderr).unwrap();
    assert!(
        told.contains("labels.jsonl:1: this is a labelled question"),
        "{told}"
    );
}
