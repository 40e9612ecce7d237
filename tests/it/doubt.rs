//! Rows whose label is probably wrong are not learnt, depending on how they came by it.

use std::sync::Arc;

use coterie::{
    config::RouterConfig,
    ids::CategoryId,
    train::{doubt::Given, labels::Labelled},
};
use tempfile::TempDir;

use crate::support::router::{cheap_config, train_as};

const COOKING: [&str; 8] = [
    "oven",
    "dough",
    "soup",
    "carrots",
    "herbs",
    "cheesecake",
    "pan",
    "butter",
];
const CODING: [&str; 8] = [
    "compiler", "borrow", "array", "class", "pointer", "function", "stack", "module",
];

/// How many questions are cooking's, and coding's.
const OF_EACH: usize = 40;

/// How many questions mostly about code are said to be of another category.
const WRONG: usize = 6;

fn word(words: &[&'static str; 8], at: usize) -> &'static str {
    words[at % 8]
}

fn question([one, other, third]: [&str; 3], at: usize) -> String {
    format!("What about the {one}, the {other} and the {third}, case {at}?")
}

fn of(words: &[&'static str; 8], at: usize) -> String {
    question([at, at / 2 + 3, at / 5 + 5].map(|at| word(words, at)), at)
}

fn said(origin: Option<&str>, text: String, category: &str) -> Labelled {
    Labelled {
        origin: origin.map(Arc::from),
        ..Labelled::from_text(&text, CategoryId::new(category))
    }
}

/// Questions of both kinds by a person, half of cooking's by `origin`; and some mostly about code that `origin` says are about
/// something else.
fn rows(origin: Option<&str>, wrong: &str) -> Vec<Labelled> {
    let right = (0..OF_EACH).flat_map(|at| {
        let by = if at % 2 == 0 { Some("person") } else { origin };
        [
            said(by, of(&COOKING, at), "cooking"),
            said(Some("person"), of(&CODING, at), "coding"),
        ]
    });
    let mixed = (0..WRONG).map(|at| {
        let words = [word(&CODING, at), word(&CODING, at + 3), word(&COOKING, at)];
        said(origin, question(words, OF_EACH + at), wrong)
    });
    right.chain(mixed).collect()
}

async fn left_out(config: &RouterConfig, origin: Option<&str>, wrong: &str) -> usize {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("router");
    let manifest = train_as(config, rows(origin, wrong), &out, |job| {
        job.given = vec![
            ("accepted".to_owned(), Given::Together),
            ("feedback".to_owned(), Given::Doubtfully),
        ];
    });
    manifest.await.training.doubted
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_labelled_with_others_is_left_out_where_it_resembles_another_category() {
    let folder = TempDir::new().unwrap();
    let config = cheap_config(folder.path());
    let left_out = async |origin, wrong| left_out(&config, origin, wrong).await;
    let accepted = left_out(Some("accepted"), "cooking").await;
    assert!(accepted >= WRONG - 2, "{accepted} of {WRONG}");
    // Somebody said it of each of them: it takes more to leave them out.
    let fed_back = left_out(Some("feedback"), "cooking").await;
    assert!(fed_back < accepted, "{fed_back} of {accepted}");
    // What belongs nowhere resembles something.
    assert_eq!(left_out(Some("accepted"), "out_of_domain").await, 0);
    // Nobody's word is doubted that is a person's, or stands in a route.
    assert_eq!(left_out(Some("person"), "cooking").await, 0);
    assert_eq!(left_out(None, "cooking").await, 0);
}
