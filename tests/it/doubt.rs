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

/// How many questions about code are said to be of another category.
const WRONG: usize = 6;

fn question(words: &[&str; 8], at: usize) -> String {
    let [one, other, third] = [at, at / 2 + 3, at / 5 + 5].map(|at| words[at % 8]);
    format!("What about the {one}, the {other} and the {third}, case {at}?")
}

fn said(origin: Option<&str>, text: String, category: &str) -> Labelled {
    Labelled {
        origin: origin.map(Arc::from),
        ..Labelled::from_text(&text, CategoryId::new(category))
    }
}

/// Questions of both kinds by a person, half of cooking's by `origin`; and some about code of which `origin` says something else.
fn rows(origin: Option<&str>, wrong: &str) -> Vec<Labelled> {
    let right = (0..OF_EACH).flat_map(|at| {
        let by = if at % 2 == 0 { Some("person") } else { origin };
        [
            said(by, question(&COOKING, at), "cooking"),
            said(Some("person"), question(&CODING, at), "coding"),
        ]
    });
    let wrong = (OF_EACH..OF_EACH + WRONG).map(|at| said(origin, question(&CODING, at), wrong));
    right.chain(wrong).collect()
}

async fn left_out(config: &RouterConfig, origin: Option<&str>, wrong: &str) -> usize {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("router");
    let manifest = train_as(config, rows(origin, wrong), &out, |job| {
        job.given = vec![("accepted".to_owned(), Given::Together)];
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
    // What belongs nowhere resembles something.
    assert_eq!(left_out(Some("accepted"), "out_of_domain").await, 0);
    // Nobody's word is doubted that is a person's, or stands in a route.
    assert_eq!(left_out(Some("person"), "cooking").await, 0);
    assert_eq!(left_out(None, "cooking").await, 0);
}
