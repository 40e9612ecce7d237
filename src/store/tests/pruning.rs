//! What retention takes, what it leaves, and who writes meanwhile.

use tokio::sync::oneshot;

use super::*;
use crate::learning::{Label, Origin};

/// All that was asked before a moment is too old.
fn before(before_ms: i64) -> TooOld {
    TooOld {
        before_ms,
        labelled_before_ms: before_ms,
    }
}

fn label(outcome_id: &str) -> Label {
    Label {
        outcome_id: outcome_id.into(),
        given_at_ms: 6,
        category: "sql".into(),
        origin: Origin::Person,
        given_by: "ada".into(),
    }
}

#[tokio::test]
async fn a_prune_takes_old_outcomes_with_their_feedback_and_gives_the_space_back() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    let long = "word ".repeat(1000);
    let old: Vec<_> = (0..2500)
        .map(|number| {
            let mut outcome = outcome(&format!("old-{number}"), number);
            outcome.answer = Some(long.clone());
            outcome
        })
        .collect();
    store.write(&old).await.unwrap();
    store.write(&[outcome("new", 2500)]).await.unwrap();
    let score = Feedback {
        category: None,
        ..feedback("old-0")
    };
    store.add_feedback(&score).await.unwrap();
    store.add_feedback(&feedback("new")).await.unwrap();

    let pruned = store.prune(before(2500)).await.unwrap();
    assert_eq!((pruned.deleted, pruned.reduced), (2500, 0));

    assert_eq!(store.count().await.unwrap(), 1);
    assert_eq!(store.feedback("old-0").await.unwrap(), []);
    assert_eq!(store.feedback("new").await.unwrap().len(), 1);
    store.close().await.unwrap();
    let bytes = fs::metadata(store.path()).unwrap().len();
    assert!(bytes < 1_000_000, "12 MB of answers left {bytes} bytes");
    assert!(!store.path().with_extension("db-wal").exists());
}

/// Outcomes asked at 1, 2 and so on, by the names of `ids`.
async fn asked(folder: &TempDir, ids: &[&str]) -> Store {
    let store = open(folder).await;
    let outcomes: Vec<_> = ids
        .iter()
        .zip(1..)
        .map(|(id, at)| outcome(id, at))
        .collect();
    store.write(&outcomes).await.unwrap();
    store
}

#[tokio::test]
async fn a_labelled_outcome_keeps_what_learning_needs_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    let store = asked(
        &folder,
        &["labelled", "corrected", "scored", "silent", "new"],
    )
    .await;
    store
        .add_labels(&[label("labelled"), label("new")])
        .await
        .unwrap();
    store.add_feedback(&feedback("corrected")).await.unwrap();
    let score = |id: &str| Feedback {
        category: None,
        ..feedback(id)
    };
    store.add_feedback(&score("corrected")).await.unwrap();
    store.add_feedback(&score("scored")).await.unwrap();
    let evidence = store.evidence(100).await.unwrap();
    let before = store.outcome("labelled").await.unwrap().unwrap();
    let too_old = TooOld {
        before_ms: 5,
        labelled_before_ms: i64::MIN,
    };

    let pruned = store.prune(too_old).await.unwrap();

    assert_eq!((pruned.deleted, pruned.reduced), (2, 2));
    let reduced = store.outcome("labelled").await.unwrap().unwrap();
    let expected = StoredOutcome {
        answer: None,
        key_name: None,
        attempts: "[]".into(),
        ..before
    };
    assert_eq!(reduced, expected);
    // It tells of no answer any more.
    let served = store.served_since(0, 100).await.unwrap().served;
    let served: Vec<&str> = served.iter().map(|it| it.outcome_id.as_str()).collect();
    assert_eq!(served, ["new"]);
    let became = store.became_after(0).await.unwrap();
    let became: Vec<&str> = became
        .iter()
        .map(|it| it.served.outcome_id.as_str())
        .collect();
    assert_eq!(became, ["new"]);
    assert_eq!(store.labels("labelled").await.unwrap(), [label("labelled")]);
    let silent = Feedback {
        comment: None,
        ..feedback("corrected")
    };
    assert_eq!(store.feedback("corrected").await.unwrap(), [silent]);
    let new = store.outcome("new").await.unwrap().unwrap();
    assert_eq!(new.answer.as_deref(), Some("With sort()."));
    // Nothing is missing that learning goes by: the conversation neither, which says what is judged by whom.
    assert_eq!(store.evidence(100).await.unwrap(), evidence);
    assert_eq!(evidence.evidence[0].conversation.as_deref(), Some("5e55"));
    // A second prune finds nothing to do.
    assert_eq!(store.prune(too_old).await.unwrap(), Pruned::default());
}

#[tokio::test]
async fn what_is_said_of_a_reduced_outcome_later_is_reduced_as_well() {
    let folder = TempDir::new().unwrap();
    let store = asked(&folder, &["a"]).await;
    store.add_labels(&[label("a")]).await.unwrap();
    let too_old = TooOld {
        before_ms: 9,
        labelled_before_ms: 0,
    };
    store.prune(too_old).await.unwrap();
    store.add_feedback(&feedback("a")).await.unwrap();
    assert_eq!(store.prune(too_old).await.unwrap().reduced, 1);
    assert_eq!(store.feedback("a").await.unwrap()[0].comment, None);
}

#[tokio::test]
async fn a_labelled_outcome_goes_when_its_own_time_is_over_or_nothing_can_be_learnt_from_it() {
    let folder = TempDir::new().unwrap();
    let store = asked(&folder, &["old", "young"]).await;
    let mut without_question = outcome("without question", 3);
    without_question.ask.question = None;
    store.write(&[without_question]).await.unwrap();
    let labels = ["old", "young", "without question"].map(label);
    store.add_labels(&labels).await.unwrap();
    let too_old = TooOld {
        before_ms: 9,
        labelled_before_ms: 2,
    };
    let pruned = store.prune(too_old).await.unwrap();
    assert_eq!((pruned.deleted, pruned.reduced), (2, 1));
    assert!(store.outcome("young").await.unwrap().is_some());
    assert_eq!(store.labels("old").await.unwrap(), []);
    assert_eq!(store.prune(before(9)).await.unwrap().deleted, 1);
}

#[tokio::test]
async fn many_labelled_outcomes_of_one_millisecond_hold_no_prune_up() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    let ids: Vec<_> = (0..1200).map(|at| at.to_string()).collect();
    let outcomes: Vec<_> = ids.iter().map(|id| outcome(id, 1)).collect();
    store.write(&outcomes).await.unwrap();
    let labels: Vec<_> = ids.iter().skip(1).map(|id| label(id)).collect();
    store.add_labels(&labels).await.unwrap();
    let too_old = TooOld {
        before_ms: 2,
        labelled_before_ms: 0,
    };
    let pruned = store.prune(too_old).await.unwrap();
    assert_eq!((pruned.deleted, pruned.reduced), (1, 1199));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outcomes_are_written_while_many_are_pruned_and_the_file_gets_smaller() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    let long = "word ".repeat(1500);
    let old = |number: i64| {
        let mut outcome = outcome(&format!("old-{number}"), number);
        outcome.answer = Some(long.clone());
        outcome
    };
    let rows: Vec<_> = (0..2500).map(old).collect();
    store.write(&rows).await.unwrap();
    let (say_done, mut done) = oneshot::channel();
    let pruning = async {
        let pruned = store.prune(before(2500)).await.unwrap();
        say_done.send(()).unwrap();
        pruned
    };
    let writing = async {
        let mut written = 0;
        while done.try_recv().is_err() {
            let outcome = outcome(&format!("new-{written}"), 2500 + written);
            store.write(&[outcome]).await.unwrap();
            written += 1;
        }
        written
    };
    let (pruned, written) = tokio::join!(pruning, writing);
    assert_eq!(pruned.deleted, 2500);
    // Between its five steps, and those of the vacuum, the file is left to others.
    assert!(written >= 3, "{written} outcomes were written meanwhile");
    assert_eq!(store.count().await.unwrap(), written.unsigned_abs());
    let free: i64 = sqlx::query_scalar("PRAGMA freelist_count")
        .fetch_one(&store.pool)
        .await
        .unwrap();
    assert_eq!(free, 0);
    store.close().await.unwrap();
    assert!(fs::metadata(store.path()).unwrap().len() < 4_000_000);
}
