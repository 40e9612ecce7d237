//! Whoever says much, and again and again, takes nobody's place in what is read.

use super::*;
use crate::learning::{Label, Origin, Statement};

/// A key's word of what an outcome was about.
fn word(key: Option<&str>, outcome_id: &str, category: &str, given_at_ms: i64) -> Feedback {
    Feedback {
        given_at_ms,
        category: Some(category.into()),
        key_name: key.map(str::to_owned),
        ..feedback(outcome_id)
    }
}

/// Thirty outcomes, `00` the oldest.
async fn asked(folder: &TempDir) -> Store {
    let store = open(folder).await;
    let outcomes: Vec<_> = (0..30).map(|at| outcome(&format!("{at:02}"), at)).collect();
    store.write(&outcomes).await.unwrap();
    store
}

#[tokio::test]
async fn one_key_pushes_nobody_elses_word_out() {
    let folder = TempDir::new().unwrap();
    let store = asked(&folder).await;
    for key in ["ann", "bob"] {
        for at in 1..6 {
            let said = word(Some(key), &format!("{at:02}"), "sql", 40);
            store.add_feedback(&said).await.unwrap();
        }
    }
    let label = Label {
        outcome_id: "00".into(),
        given_at_ms: 40,
        category: "sql".into(),
        origin: Origin::Person,
        given_by: "eve".into(),
    };
    store.add_labels(&[label]).await.unwrap();
    // The liar has many outcomes of its own, all newer, and says much of each.
    for at in 10..30 {
        for again in 0..5 {
            let category = format!("lie-{again}");
            let said = word(Some("liar"), &format!("{at:02}"), &category, 50 + again);
            store.add_feedback(&said).await.unwrap();
        }
    }

    let gathered = store.evidence(13).await.unwrap();

    let all = gathered.evidence.iter().flat_map(|it| &it.statements);
    let of = |wanted: &str| -> Vec<&Statement> {
        let said = all.clone();
        said.filter(|it| it.given_by.as_deref() == Some(wanted))
            .collect()
    };
    assert_eq!(of("eve").len(), 1, "people come first");
    assert_eq!(of("liar").len(), 4, "then each in its turn");
    assert_eq!(of("ann").len() + of("bob").len(), 8);
    assert!(
        of("liar").iter().all(|said| said.category == "lie-4"),
        "its last word"
    );
    assert_eq!(gathered.unread, 20 + 10 + 1 - 13);
    assert_eq!(store.evidence(100).await.unwrap().unread, 0);
}

#[tokio::test]
async fn whoever_has_no_name_may_be_several() {
    let folder = TempDir::new().unwrap();
    let store = asked(&folder).await;
    for at in 0..20 {
        let said = word(None, "07", &format!("category-{at}"), at);
        store.add_feedback(&said).await.unwrap();
    }
    let gathered = store.evidence(100).await.unwrap();
    let said = &gathered.evidence[0].statements;
    assert_eq!(said.len(), 16);
    assert_eq!(said[0].category, "category-4", "the newest, in their order");
}

#[tokio::test]
async fn one_key_pushes_nobody_elses_score_out() {
    let folder = TempDir::new().unwrap();
    let store = asked(&folder).await;
    let score = |key: &str, outcome_id: &str, score: Option<f64>| Feedback {
        score,
        category: None,
        expert: Some("coder".into()),
        key_name: Some(key.into()),
        ..feedback(outcome_id)
    };
    store
        .add_feedback(&score("ann", "03", Some(1.0)))
        .await
        .unwrap();
    for at in 0..200 {
        let said = score("liar", "29", Some(f64::from(at % 2)));
        store.add_feedback(&said).await.unwrap();
    }
    store
        .add_feedback(&score("liar", "29", None))
        .await
        .unwrap();

    let newest = store.served_since(0, 30).await.unwrap();

    assert!(!newest.is_cut);
    assert_eq!(newest.served.len(), 30);
    assert_eq!(
        newest.served[3].said.len(),
        1,
        "what was said first is read"
    );
    let said: Vec<_> = newest.served[29].said.iter().map(|it| it.score).collect();
    assert_eq!(
        said,
        [Some(1.0), None],
        "its last score, and its last word without one"
    );
    assert_eq!(newest.served[29].client.as_deref(), Some("team-a"));
    let fewer = store.served_since(0, 29).await.unwrap();
    assert!(fewer.is_cut && fewer.served.len() == 29);
    assert_eq!(fewer.served[0].outcome_id, "01");
}
