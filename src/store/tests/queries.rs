//! Every query over the traffic finds its rows through an index, whatever the size of the log.

use std::path::Path;

use regex::Regex;

use super::*;
use crate::{
    store::records::page_query,
    transfer::{Cursor, Selection},
};

/// Queries that read a whole table or index because all of it is what they ask for, by words that they contain, and why.
const WHOLE: [(&str, &str); 7] = [
    (
        "SELECT count(*) FROM outcomes",
        "counts all; reads an index alone",
    ),
    (
        "FROM outcomes ORDER BY asked_at_ms DESC, id DESC LIMIT",
        "walks the index of times from its end, and stops",
    ),
    (
        "'feedback' AS origin",
        "reads what was said, a small part of the traffic, and finds each outcome by its id",
    ),
    (
        "question <> '' AND",
        "walks outcomes for what a person or a judge shall see, for a command that waits for them",
    ),
    (
        "judge.judged_by = ?",
        "reads what judges said, which only they do, in their command",
    ),
    (
        "count(*) FROM labels",
        "reads labels, a small part of the traffic",
    ),
    (
        "DELETE FROM labels WHERE origin",
        "reads labels, a small part of the traffic",
    ),
];

/// How the statement begins that is put together for a page, and judged by itself.
const PAGE_BEGINS: &str = "SELECT rowid, 1 FROM outcomes";

async fn plan(store: &Store, sql: &str) -> Vec<String> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")))
        .fetch_all(&store.pool)
        .await;
    let rows = rows.unwrap_or_else(|error| panic!("{error}:\n{sql}"));
    rows.iter()
        .map(|row| sqlx::Row::get(row, "detail"))
        .collect()
}

/// Steps of a plan that read all of a table of the traffic.
async fn scans(store: &Store, sql: &str) -> Vec<String> {
    // By the names and the aliases that the queries give them.
    let scan = Regex::new(r"^SCAN (outcomes|feedback|labels|o|f|l|judge|client)\b").unwrap();
    let plan = plan(store, sql).await;
    plan.into_iter()
        .filter(|step| scan.is_match(step))
        .collect()
}

/// The statements over the traffic that stand in the sources as one text: all but those that insert, which search nothing,
/// and the pages, which are put together.
fn statements() -> Vec<String> {
    let text = Regex::new(r#"(?s)"((?:[^"\\]|\\.)*)""#).unwrap();
    let verb = Regex::new(r"^\s*(SELECT|DELETE|UPDATE|WITH)\b").unwrap();
    let table = Regex::new(r"\b(outcomes|feedback|labels)\b").unwrap();
    let hole = Regex::new(r"\{\w*\}").unwrap();
    let joint = Regex::new(r#"",\s*is_labelled!\(\),\s*""#).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    let mut statements = Vec::new();
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() || path.file_stem().unwrap() == "tests" {
            continue;
        }
        let source = fs::read_to_string(path).unwrap();
        let code: Vec<_> = source
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect();
        // A macro that is used in several statements, and lines that go on.
        let code = code.join("\n").replace("\\\n", "");
        let labelled = code
            .split_once("macro_rules! is_labelled")
            .map(|(_, rest)| {
                let body = text.captures(rest).unwrap();
                body[1].to_owned()
            });
        let code = match &labelled {
            Some(labelled) => joint
                .replace_all(&code, regex::NoExpand(labelled))
                .into_owned(),
            None => code,
        };
        for found in text.captures_iter(&code) {
            let sql = hole.replace_all(&found[1], "1").into_owned();
            if verb.is_match(&sql) && table.is_match(&sql) && sql != PAGE_BEGINS {
                statements.push(sql);
            }
        }
    }
    statements
}

#[tokio::test]
async fn no_statement_reads_all_of_a_table_where_an_index_serves() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    let statements = statements();
    let known = [
        "DELETE FROM outcomes AS o",
        "SELECT o.rowid AS place, o.asked_at_ms",
        "SELECT max(rowid) FROM outcomes",
        "total(cost_usd)",
        "UPDATE feedback",
    ];
    for known in known {
        assert!(statements.iter().any(|sql| sql.contains(known)), "{known}");
    }
    let mut is_needed = [false; WHOLE.len()];
    for sql in statements {
        let scans = scans(&store, &sql).await;
        let excused = WHOLE.iter().map(|(words, _)| sql.contains(words));
        let mut is_excused = false;
        for (is_needed, excuses) in is_needed.iter_mut().zip(excused) {
            *is_needed |= excuses && !scans.is_empty();
            is_excused |= excuses;
        }
        assert!(is_excused || scans.is_empty(), "{scans:?}:\n{sql}");
    }
    for ((words, _), is_needed) in WHOLE.iter().zip(is_needed) {
        assert!(is_needed, "the exception of `{words}` is no longer needed");
    }
}

#[tokio::test]
async fn what_was_said_is_found_without_reading_mere_scores() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    let statements = statements();
    let evidence = statements
        .iter()
        .find(|sql| sql.contains(WHOLE[2].0))
        .unwrap();
    let plan = plan(&store, evidence).await;
    assert!(
        plan.iter()
            .any(|step| step.contains("feedback_by_outcome_named")),
        "{plan:#?}"
    );
    assert!(
        plan.iter()
            .any(|step| step.starts_with("SEARCH o USING INDEX")),
        "{plan:#?}"
    );
}

#[tokio::test]
async fn a_page_of_any_part_of_the_log_is_found_by_one_index_in_its_order() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    let after = Cursor {
        asked_at_ms: 5,
        place: 7,
    };
    for bits in 0..32 {
        let has = |bit: u32| bits >> bit & 1 == 1;
        let selection = Selection {
            since_ms: has(0).then_some(1),
            until_ms: has(1).then_some(9),
            category: has(2).then(|| "coding".to_owned()),
            expert: has(3).then(|| "coder".to_owned()),
        };
        let query = page_query(&selection, has(4).then_some(after), 10);
        let plan = plan(&store, query.into_string().as_str()).await;
        let index = match (has(2), has(3)) {
            (false, false) => "outcomes_by_time",
            (true, false) => "outcomes_by_category",
            (false, true) => "outcomes_by_expert",
            (true, true) => "outcomes_by_category_and_expert",
        };
        // With what follows the name, so that no other begins so.
        let expected = format!("SEARCH outcomes USING INDEX {index} (");
        assert!(
            plan.len() == 1 && plan[0].starts_with(&expected),
            "{selection:?}: {plan:#?}"
        );
    }
}

/// The documented queries, each with the words that it begins with.
fn documented() -> Vec<&'static str> {
    let queries: Vec<_> = include_str!("../../../docs/outcomes.md")
        .split("```sql\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(queries.len() > 3);
    queries
}

#[tokio::test]
async fn the_documented_queries_run_and_read_no_more_than_they_ask_for() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    for query in documented() {
        sqlx::query(sqlx::AssertSqlSafe(query))
            .fetch_all(&store.pool)
            .await
            .unwrap();
        let scans = scans(&store, query).await;
        assert!(scans.is_empty(), "{scans:?}:\n{query}");
    }
}
