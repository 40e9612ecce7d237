mod kept;

use std::{fs, path::PathBuf};

use serde_json::{Value, json};
use sqlx::Connection as _;
use tempfile::TempDir;

use super::{export, import::Imported, *};
use crate::{
    learning::{Label, Origin},
    outcome::Feedback,
    store::Store,
};

async fn open(folder: &TempDir, name: &str) -> Store {
    Store::open(&folder.path().join(name)).await.unwrap()
}

/// An outcome as an exported line: everything is there that may be absent, but for what `absent` names.
fn line(id: &str, asked_at_ms: i64, absent: &[&str]) -> Value {
    let mut line = json!({
        "id": id, "asked_at_ms": asked_at_ms, "key_name": "team-a", "model": "coterie", "streamed": true,
        "question": "How do I sort a list?\n\"Quickly\", naïvely 🦀", "session": "5e55", "category": "coding",
        "confidence": 0.1 + 0.2, "scores": [{"category": "coding", "probability": 0.75}], "router": "r1",
        "reason": "routed", "reason_detail": {"kind": "routed", "z": 1, "a": {"deep": [null, 1.5]}},
        "expert": "coder", "fallbacks": ["general"], "propensity": 1.0, "strangeness": -0.25,
        "decision_us": 1500, "attempts": [{"expert": "coder", "error": null}], "answered_by": "coder",
        "first_token_us": 30_000, "total_us": i64::MAX, "prompt_tokens": 7, "completion_tokens": 11,
        "cost_usd": 1e-7, "ending": "completed", "error": "none", "answer": "With sort().",
        "feedback": [], "labels": [],
    });
    for name in absent {
        line[*name] = Value::Null;
    }
    line
}

fn write(folder: &TempDir, name: &str, lines: &[Value]) -> PathBuf {
    let path = folder.path().join(name);
    let lines: Vec<_> = lines.iter().map(Value::to_string).collect();
    fs::write(&path, lines.join("\n")).unwrap();
    path
}

async fn bring_in(store: &Store, path: &PathBuf) -> (Imported, Vec<String>) {
    let mut complaints = Vec::new();
    let mut complain = |what| complaints.push(what);
    let imported = import::files(store, std::slice::from_ref(path), &Some, &mut complain).await;
    (imported.unwrap(), complaints)
}

async fn all(store: &Store) -> Vec<Record> {
    let page = store.page(&Selection::default(), None, 1000).await.unwrap();
    assert_eq!(page.next, None);
    page.records
}

/// A store with outcomes of every kind: with nothing that may be absent, with everything, with much that was said.
async fn filled(folder: &TempDir) -> Store {
    let store = open(folder, "one.db").await;
    let optional: Vec<_> = OUTCOMES
        .iter()
        .filter(|column| !column.required)
        .map(|column| column.name)
        .collect();
    let mut lines: Vec<_> = (0..600)
        .map(|at| line(&format!("many-{at}"), at / 7, &[]))
        .collect();
    lines.push(line("nothing", 1000, &optional));
    lines.push(line("everything", 1000, &[]));
    let (imported, complaints) = bring_in(&store, &write(folder, "lines.jsonl", &lines)).await;
    assert_eq!((imported.outcomes, complaints), (602, vec![]));
    for (score, comment) in [
        (Some(0.5), "nearly"),
        (None, "nearly"),
        (Some(0.5), "nearly"),
    ] {
        let feedback = Feedback {
            outcome_id: "everything".into(),
            given_at_ms: 5,
            score,
            category: score.map(|_| "sql".into()),
            expert: None,
            comment: Some(comment.into()),
            key_name: None,
            judged_by: None,
        };
        store.add_feedback(&feedback).await.unwrap();
    }
    let label = |id: &str, category: &str| Label {
        outcome_id: id.into(),
        given_at_ms: 7,
        category: category.into(),
        origin: Origin::Judge,
        given_by: "an expert, v1".into(),
    };
    let labels = [
        label("many-3", "sql"),
        label("nothing", "a"),
        label("nothing", "b"),
    ];
    store.add_labels(&labels).await.unwrap();
    store
}

async fn round_trip(format: Format) {
    let folder = TempDir::new().unwrap();
    let one = filled(&folder).await;
    let path = folder.path().join("export");
    let mut told = 0;
    let selection = Selection::default();
    let rows = export::to_file(&one, &selection, format, &path, |rows| told += rows).await;
    assert_eq!(rows.unwrap(), 602);
    assert_eq!(told, 602);
    let records = all(&one).await;
    assert_eq!(records.len(), 602);
    assert_eq!(records.iter().map(|it| it.feedback.len()).sum::<usize>(), 3);
    assert_eq!(records.iter().map(|it| it.labels.len()).sum::<usize>(), 3);

    let other = open(&folder, "other.db").await;
    let (imported, complaints) = bring_in(&other, &path).await;
    let expected = Imported {
        outcomes: 602,
        feedback: 3,
        labels: 3,
        ..Imported::default()
    };
    assert_eq!((imported, complaints), (expected, vec![]));
    assert_eq!(all(&other).await, records);

    let (again, _) = bring_in(&other, &path).await;
    let expected = Imported {
        there: 602,
        ..Imported::default()
    };
    assert_eq!(again, expected);
    assert_eq!(all(&other).await, records);
}

#[tokio::test]
async fn what_is_exported_as_json_comes_back_as_it_was_and_once() {
    round_trip(Format::Jsonl).await;
}

#[tokio::test]
async fn what_is_exported_as_parquet_comes_back_as_it_was_and_once() {
    round_trip(Format::Parquet).await;
}

#[tokio::test]
async fn an_exported_line_has_json_as_objects_and_what_was_said_beside_it() {
    let folder = TempDir::new().unwrap();
    let store = filled(&folder).await;
    let selection = Selection {
        since_ms: Some(1000),
        ..Selection::default()
    };
    let mut out = Vec::new();
    let rows = export::to_writer(&store, &selection, Format::Jsonl, &mut out, |_| {}).await;
    assert_eq!(rows.unwrap(), 2);
    let text = String::from_utf8(out).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect();
    let mut expected = line("everything", 1000, &[]);
    let feedback = |score: Value, category: Value| {
        json!({
            "given_at_ms": 5, "score": score, "category": category, "expert": null, "comment": "nearly", "key_name": null, "judged_by": null,
        })
    };
    expected["feedback"] = json!([
        feedback(json!(0.5), json!("sql")),
        feedback(json!(null), json!(null)),
        feedback(json!(0.5), json!("sql")),
    ]);
    assert_eq!(lines[1], expected);
    assert_eq!(lines[0]["answer"], Value::Null);
    assert_eq!(lines[0]["labels"][1]["category"], "b");
}

#[tokio::test]
async fn pages_follow_each_other_without_gaps_in_every_part_of_the_log() {
    let folder = TempDir::new().unwrap();
    let store = filled(&folder).await;
    let category = Some("coding".to_owned());
    let expert = Some("coder".to_owned());
    for (selection, count) in [
        (Selection::default(), 602),
        (
            Selection {
                category: category.clone(),
                ..Selection::default()
            },
            601,
        ),
        (
            Selection {
                expert: expert.clone(),
                ..Selection::default()
            },
            601,
        ),
        (
            Selection {
                expert,
                category,
                ..Selection::default()
            },
            601,
        ),
        (
            Selection {
                since_ms: Some(10),
                until_ms: Some(20),
                ..Selection::default()
            },
            70,
        ),
        (
            Selection {
                category: Some("no".into()),
                ..Selection::default()
            },
            0,
        ),
    ] {
        let mut ids = Vec::new();
        let mut after = None;
        loop {
            let page = store.page(&selection, after, 25).await.unwrap();
            ids.extend(page.records.iter().map(|it| it.id().to_owned()));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(ids.len(), count, "{selection:?}");
        assert_eq!(store.count_of(&selection).await.unwrap(), count as u64);
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count, "{selection:?}");
    }
}

#[tokio::test]
async fn labels_that_are_new_are_added_to_outcomes_that_are_there() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder, "one.db").await;
    let mut with = line("a", 1, &[]);
    let label = |category: &str| json!({"given_at_ms": 1, "category": category, "origin": "imported", "given_by": "ada"});
    with["labels"] = json!([label("sql")]);
    bring_in(&store, &write(&folder, "1.jsonl", &[with.clone()])).await;
    with["labels"] = json!([label("sql"), label("sql"), label("coding")]);
    with["answer"] = json!("another one");
    let both = write(&folder, "2.jsonl", &[with.clone(), with]);
    let (imported, _) = bring_in(&store, &both).await;
    assert_eq!((imported.there, imported.labels), (2, 2));
    let records = all(&store).await;
    assert_eq!(records[0].labels.len(), 3);
    let stored = store.outcome("a").await.unwrap().unwrap();
    assert_eq!(stored.answer.as_deref(), Some("With sort()."));
}

#[tokio::test]
async fn wrong_lines_are_told_with_their_places_and_their_batch_is_left_out() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder, "one.db").await;
    let mut lines: Vec<_> = (0..300).map(|at| line(&format!("{at}"), at, &[])).collect();
    lines[1]["confidence"] = json!("high");
    lines[2]["hat"] = json!(1);
    lines[3] = json!({"text": "Sort it", "category": "coding"});
    lines[4] = json!([1]);
    lines[5]["labels"] = json!([{"given_at_ms": 1, "category": "sql", "origin": "judge"}]);
    lines[6]["id"] = json!(null);
    let path = write(&folder, "lines.jsonl", &lines);
    let (imported, complaints) = bring_in(&store, &path).await;
    let place = path.display();
    let expected = [
        format!("{place}:2: `confidence` is \"high\"; it must be a number"),
        format!(
            "{place}:3: `hat` is no column that this version of Coterie knows; a later version may have written it"
        ),
        format!(
            "{place}:4: this is a labelled question, as `coterie train --labels` reads them, and no exported outcome; give the \
             file to `coterie train`"
        ),
        format!("{place}:5: this is not a JSON object: invalid type: sequence, expected a map"),
        format!("{place}:6: `labels[0]`: `given_by` is missing; it must be a text"),
        format!("{place}:7: `id` is missing; it must be a text"),
    ];
    assert_eq!(complaints, expected);
    let expected = Imported {
        outcomes: 44,
        wrong: 6,
        left_out: 250,
        ..Imported::default()
    };
    assert_eq!(imported, expected, "the first 256 lines are one batch");
    assert_eq!(store.count().await.unwrap(), 44);
}

#[tokio::test]
async fn rows_that_break_a_rule_of_the_schema_are_told_with_their_places() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder, "one.db").await;
    let mut lines: Vec<_> = (0..100).map(|at| line(&format!("{at}"), at, &[])).collect();
    lines[1]["confidence"] = json!(1.5);
    lines[70]["scores"] = json!({});
    lines[99]["feedback"] = json!([{"given_at_ms": 1, "score": 2}]);
    let path = write(&folder, "lines.jsonl", &lines);
    let (imported, complaints) = bring_in(&store, &path).await;
    let place = path.display();
    let expected = [
        format!(
            "{place}:2: the store refuses it: CHECK constraint failed: confidence BETWEEN 0 AND 1"
        ),
        format!(
            "{place}:71: the store refuses it: CHECK constraint failed: json_type(scores) = 'array'"
        ),
        format!(
            "{place}:100: the store refuses it: CHECK constraint failed: score BETWEEN 0 AND 1"
        ),
    ];
    assert_eq!(complaints.len(), 3, "{complaints:#?}");
    for (complaint, expected) in complaints.iter().zip(expected) {
        assert!(complaint.starts_with(&expected), "{complaint}");
    }
    assert_eq!(
        (imported.outcomes, imported.wrong, imported.left_out),
        (0, 3, 97)
    );
    assert_eq!(store.count().await.unwrap(), 0);
}

#[tokio::test]
async fn an_export_that_fails_leaves_what_was_there() {
    let folder = TempDir::new().unwrap();
    let store = filled(&folder).await;
    let path = folder.path().join("export.jsonl");
    fs::write(&path, "before").unwrap();
    let mut other = sqlx::SqliteConnection::connect(store.path().to_str().unwrap())
        .await
        .unwrap();
    let break_json = "PRAGMA ignore_check_constraints = ON; UPDATE outcomes SET attempts = 'no' WHERE id = 'everything'";
    sqlx::raw_sql(break_json).execute(&mut other).await.unwrap();
    let exported =
        export::to_file(&store, &Selection::default(), Format::Jsonl, &path, |_| {}).await;
    let error = exported.unwrap_err();
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(
        source.to_string(),
        "`attempts` of outcome `everything` is not JSON"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), "before");
    let left = fs::read_dir(folder.path())
        .unwrap()
        .map(|it| it.unwrap().file_name());
    assert!(
        left.into_iter()
            .all(|name| !name.to_str().unwrap().ends_with(".part"))
    );
}

#[tokio::test]
async fn a_damaged_parquet_file_is_told_from_wrong_rows() {
    let folder = TempDir::new().unwrap();
    let store = filled(&folder).await;
    let path = folder.path().join("export.parquet");
    export::to_file(
        &store,
        &Selection::default(),
        Format::Parquet,
        &path,
        |_| {},
    )
    .await
    .unwrap();
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let imported = import::files(&store, std::slice::from_ref(&path), &Some, &mut |_| {}).await;
    assert!(matches!(imported, Err(import::ImportError::Parquet { .. })));
}

#[tokio::test]
async fn the_columns_are_those_of_the_schema() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder, "one.db").await;
    let mut connection = sqlx::SqliteConnection::connect(store.path().to_str().unwrap())
        .await
        .unwrap();
    for (table, columns, own) in [
        ("outcomes", OUTCOMES, &[][..]),
        ("feedback", FEEDBACK, &["id", "outcome_id"]),
        ("labels", LABELS, &["id", "outcome_id"]),
    ] {
        let schema: Vec<(String, String, bool)> =
            sqlx::query_as("SELECT name, type, \"notnull\" FROM pragma_table_info(?)")
                .bind(table)
                .fetch_all(&mut connection)
                .await
                .unwrap();
        let mut schema: Vec<_> = schema
            .into_iter()
            .filter(|(name, ..)| !own.contains(&name.as_str()))
            .collect();
        let mut known: Vec<_> = columns
            .iter()
            .map(|column| {
                let kind = match column.kind {
                    Kind::Whole | Kind::Truth => "INTEGER",
                    Kind::Number => "REAL",
                    Kind::Text | Kind::Json => "TEXT",
                };
                (column.name.to_owned(), kind.to_owned(), column.required)
            })
            .collect();
        schema.sort_unstable();
        known.sort_unstable();
        assert_eq!(
            known, schema,
            "a new column of `{table}` belongs into `transfer::record`"
        );
    }
}

#[tokio::test]
async fn a_mark_before_the_first_line_is_skipped() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder, "one.db").await;
    let path = write(&folder, "lines.jsonl", &[line("a", 1, &[])]);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("\u{feff}{text}")).unwrap();
    let (imported, complaints) = bring_in(&store, &path).await;
    assert_eq!((imported.outcomes, complaints), (1, Vec::new()));
}
