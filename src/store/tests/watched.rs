//! Whoever watches for drift reads every outcome once, and what was said of it in time.

use super::*;
use crate::{
    drift::{Reference, Signal},
    learning::{
        Label, Origin,
        watch::{CaughtUp, SCORES_WITHIN, Watch},
    },
};

const MINUTE_MS: i64 = 60 * 1000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// Now, on this clock.
const NOW_MS: i64 = 1_000 * HOUR_MS;

/// A question of a conversation of its own that was answered at once.
fn routed(id: &str, asked_at_ms: i64) -> Outcome {
    let mut outcome = outcome(id, asked_at_ms);
    outcome.decision.reason = Reason::Routed;
    outcome.ask.session = None;
    outcome.attempts = vec![Attempt::begun(ExpertId::new("coder"), Role::Answer)];
    outcome.answered_by = Some(ExpertId::new("coder"));
    outcome
}

async fn begin(store: &Store) -> Watch {
    Watch::begin(store, 20_000.0, NOW_MS).await.unwrap()
}

/// Reads on at a time; nothing goes wrong.
async fn read(watch: &mut Watch, store: &Store, now_ms: i64) {
    let CaughtUp { alarms, error, .. } = watch.catch_up(store, None, now_ms).await;
    assert!(alarms.is_empty() && error.is_none(), "{alarms:?} {error:?}");
}

/// Of how many answers of each expert it knows the success.
fn judged(watch: &Watch) -> Vec<(String, usize)> {
    let of = |it: Reference| match it.signal {
        Signal::Success { expert, .. } => Some((expert.to_string(), it.rows)),
        _ => None,
    };
    watch.references().into_iter().filter_map(of).collect()
}

#[tokio::test]
async fn an_answer_that_took_long_is_seen_though_later_questions_were_read() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    let mut watch = begin(&store).await;
    assert_eq!(watch.newest_ms(), None);
    // One comes from a clock that is ahead, or was brought in.
    let first = [
        routed("b", NOW_MS - MINUTE_MS),
        routed("c", NOW_MS + 90 * HOUR_MS),
    ];
    store.write(&first).await.unwrap();
    read(&mut watch, &store, NOW_MS).await;
    assert_eq!(watch.questions(), 2);
    let late = [routed("a", NOW_MS - 5 * MINUTE_MS)];
    store.write(&late).await.unwrap();
    read(&mut watch, &store, NOW_MS).await;
    assert_eq!(watch.questions(), 3);
    read(&mut watch, &store, NOW_MS + 2 * HOUR_MS).await;
    assert_eq!(judged(&watch), [("coder".to_owned(), 3)]);
    assert_eq!(begin(&store).await.newest_ms(), Some(NOW_MS - MINUTE_MS));
}

#[tokio::test]
async fn a_look_reads_no_more_than_it_may_and_the_next_one_goes_on() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    let asked: Vec<Outcome> = (0..2_500)
        .map(|at| routed(&format!("{at:04}"), NOW_MS - 3 * HOUR_MS + at))
        .collect();
    store.write(&asked).await.unwrap();
    let mut whole = begin(&store).await;
    read(&mut whole, &store, NOW_MS).await;
    let mut watch = begin(&store).await;
    let mut seen = Vec::new();
    loop {
        let caught_up = watch.read_on(&store, 1, None, NOW_MS).await;
        seen.push(watch.questions());
        if caught_up.is_at_end {
            break;
        }
    }
    assert_eq!(seen, [2_000, 2_500, 2_500]);
    assert_eq!(watch, whole);
}

#[tokio::test]
async fn what_another_router_decided_is_read_past_and_what_is_too_old_counts_for_nothing() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    let named = |at: usize| Outcome {
        decision: Decision {
            reason: Reason::ExpertNamed,
            ..routed("", 0).decision
        },
        ..routed(&format!("named-{at}"), NOW_MS - HOUR_MS)
    };
    let mut all: Vec<Outcome> = vec![routed("old", NOW_MS - 40 * 24 * HOUR_MS)];
    all.extend((0..2_500).map(named));
    all.push(routed("new", NOW_MS - MINUTE_MS));
    all.push(routed("brought-in", NOW_MS - 50 * 24 * HOUR_MS));
    store.write(&all).await.unwrap();
    let mut watch = begin(&store).await;
    read(&mut watch, &store, NOW_MS).await;
    assert_eq!(watch.questions(), 1);
    assert_eq!(watch.router(), Some(&RouterId::new("r1")));
}

#[tokio::test]
async fn after_the_store_was_emptied_what_comes_is_seen() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    let some: Vec<Outcome> = (0..5).map(|at| routed(&format!("{at}"), NOW_MS)).collect();
    store.write(&some).await.unwrap();
    let mut watch = begin(&store).await;
    read(&mut watch, &store, NOW_MS).await;
    sqlx::query("DELETE FROM outcomes")
        .execute(&store.pool)
        .await
        .unwrap();
    store.write(&[routed("next", NOW_MS)]).await.unwrap();
    read(&mut watch, &store, NOW_MS).await;
    assert_eq!(watch.questions(), 6);
}

#[tokio::test]
async fn what_was_brought_in_and_deleted_hides_nothing_that_comes() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    let some = |name: &str, asked_at_ms| -> Vec<Outcome> {
        let of = |at| routed(&format!("{name}-{at}"), asked_at_ms);
        (0..5).map(of).collect()
    };
    let score = |outcome_id: &str| Feedback {
        category: None,
        ..feedback(outcome_id)
    };
    store.write(&some("first", NOW_MS)).await.unwrap();
    store.write(&some("old", 1)).await.unwrap();
    for id in ["first-0", "old-0", "old-4"] {
        store.add_feedback(&score(id)).await.unwrap();
    }
    let mut watch = begin(&store).await;
    read(&mut watch, &store, NOW_MS).await;
    assert_eq!(watch.questions(), 5);
    let ended = store.ended_after(0).await.unwrap().rows.pop().unwrap();
    let said = store.said_after(0).await.unwrap().rows.pop().unwrap();
    let too_old = TooOld {
        before_ms: 2,
        labelled_before_ms: 2,
    };
    assert_eq!(store.prune(too_old).await.unwrap().deleted, 5);
    read(&mut watch, &store, NOW_MS).await;
    assert_eq!(watch.questions(), 5, "nothing is read again");

    store.write(&some("next", NOW_MS)).await.unwrap();
    store.add_feedback(&score("next-0")).await.unwrap();
    read(&mut watch, &store, NOW_MS).await;
    assert_eq!(
        watch.questions(),
        10,
        "and nothing is taken for what was read"
    );
    let of_canaries = store.ended_after(ended.place).await.unwrap().rows;
    assert_eq!(of_canaries.len(), 5);
    let of_canaries = store.said_after(said.place).await.unwrap().rows;
    let said: Vec<_> = of_canaries
        .iter()
        .map(|it| it.outcome_id.as_str())
        .collect();
    assert_eq!(said, ["next-0"]);
}

#[tokio::test]
async fn who_goes_on_sees_what_one_that_never_stopped_sees() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    let resumed = async |questions| Watch::resume(&store, questions).await.unwrap();
    assert_eq!(resumed(20_000.0).await, None);
    let some = |name: &str, refused: bool| -> Vec<Outcome> {
        let of = |at| {
            let mut one = routed(&format!("{name}-{at:04}"), NOW_MS - HOUR_MS + at);
            if refused {
                one.decision.reason = Reason::OutOfDomain;
            }
            one
        };
        (0..1_200).map(of).collect()
    };
    store.write(&some("quiet", false)).await.unwrap();
    let mut never_stopped = begin(&store).await;
    read(&mut never_stopped, &store, NOW_MS).await;
    never_stopped.keep(&store, NOW_MS).await.unwrap();
    let mut goes_on = resumed(20_000.0).await.unwrap();
    assert_eq!(goes_on, never_stopped);

    store.write(&some("refused", true)).await.unwrap();
    let alarms = never_stopped.catch_up(&store, None, NOW_MS).await.alarms;
    assert!(!alarms.is_empty());
    assert_eq!(goes_on.catch_up(&store, None, NOW_MS).await.alarms, alarms);
    assert_eq!(goes_on, never_stopped);
    // Whoever keeps it after an alarm does not raise it again.
    goes_on.keep(&store, NOW_MS).await.unwrap();
    let mut after = resumed(20_000.0).await.unwrap();
    read(&mut after, &store, NOW_MS).await;

    assert_eq!(resumed(10_000.0).await, None, "another promise");
    store.keep_drift_watch("{}", NOW_MS).await.unwrap();
    assert_eq!(resumed(20_000.0).await, None, "of another version");
}

#[tokio::test]
async fn success_waits_for_clients_scores_and_for_nobody_elses() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    let asked_at_ms = NOW_MS - MINUTE_MS;
    store.write(&[routed("a", asked_at_ms)]).await.unwrap();
    let within_ms = i64::try_from(SCORES_WITHIN.as_millis()).unwrap();
    let score = |given_at_ms, score, judged_by: Option<&str>| Feedback {
        given_at_ms,
        score: Some(score),
        judged_by: judged_by.map(str::to_owned),
        ..feedback("a")
    };
    let mut watch = begin(&store).await;
    read(&mut watch, &store, NOW_MS).await;
    assert_eq!((watch.questions(), judged(&watch)), (1, Vec::new()));

    // The answer took 90 ms.
    let last_ms = asked_at_ms + 90 + within_ms;
    for given in [
        score(asked_at_ms + 100, 0.0, None),
        score(last_ms, 0.25, None),
        score(last_ms, 0.75, Some("gpt answer-v1")),
        score(last_ms + 1, 1.0, None),
    ] {
        store.add_feedback(&given).await.unwrap();
    }
    let read_back = store.became_after(0).await.unwrap();
    let scores: Vec<f64> = read_back[0]
        .served
        .said
        .iter()
        .filter_map(|it| it.score)
        .collect();
    assert_eq!(scores, [0.0, 0.25], "in the order in which they were given");

    read(&mut watch, &store, last_ms).await;
    assert_eq!(judged(&watch), []);
    read(&mut watch, &store, last_ms + 2 * MINUTE_MS).await;
    assert_eq!(judged(&watch), [("coder".to_owned(), 1)]);
}

#[tokio::test]
async fn an_expert_that_is_down_is_judged_though_another_answered_or_nobody() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    let failed = || Attempt {
        error: Some("failed".into()),
        ..Attempt::begun(ExpertId::new("coder"), Role::Answer)
    };
    let mut helped = routed("helped", NOW_MS - 3 * HOUR_MS);
    helped.attempts = vec![
        failed(),
        Attempt::begun(ExpertId::new("general"), Role::Answer),
    ];
    helped.answered_by = Some(ExpertId::new("general"));
    let mut nobody = routed("nobody", NOW_MS - 3 * HOUR_MS);
    nobody.attempts = vec![failed()];
    nobody.answered_by = None;
    nobody.ending = Ending::ExpertFailed;
    // A conversation is judged by its first question.
    let mut again = helped.clone();
    helped.ask.session = Some("5e55".into());
    again.ask.session = Some("5e55".into());
    again.id = "again".into();
    store.write(&[helped, nobody, again]).await.unwrap();
    let mut watch = begin(&store).await;
    read(&mut watch, &store, NOW_MS).await;
    let expected = [("coder".to_owned(), 2), ("general".to_owned(), 1)];
    assert_eq!(judged(&watch), expected);
}

#[tokio::test]
async fn alarms_of_earlier_pages_come_with_the_error_of_a_later_one() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    let all: Vec<Outcome> = (0..2_010)
        .map(|at| {
            let refused = outcome("", 0).decision;
            let mut outcome = routed(&format!("{at:04}"), NOW_MS - HOUR_MS);
            if at >= 1_500 {
                outcome.decision = refused;
            }
            outcome
        })
        .collect();
    store.write(&all).await.unwrap();
    // No text: the second page cannot be read.
    sqlx::query("UPDATE outcomes SET reason = CAST(x'ff' AS TEXT) WHERE id = '2005'")
        .execute(&store.pool)
        .await
        .unwrap();
    let mut watch = begin(&store).await;
    let CaughtUp { alarms, error, .. } = watch.catch_up(&store, None, NOW_MS).await;
    assert!(error.is_some());
    let signals: Vec<&Signal> = alarms.iter().map(|alarm| &alarm.signal).collect();
    assert_eq!(signals, [&Signal::OutOfDomain], "{alarms:?}");
    assert_eq!(watch.questions(), 2_000);
}

#[tokio::test]
async fn what_somebody_has_said_a_category_of_is_placed() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    let all = [
        outcome("a", 5),
        outcome("b", 6),
        outcome("c", 7),
        routed("d", 6),
    ];
    store.write(&all).await.unwrap();
    let unplaced = async |span| {
        let found = store.unplaced(span, None, 10).await.unwrap().into_iter();
        found.map(|it| it.outcome_id).collect::<Vec<_>>()
    };
    assert_eq!(unplaced((5, 7)).await, ["c", "b", "a"]);
    assert_eq!(unplaced((6, 6)).await, ["b"]);
    let page = store.unplaced((5, 7), None, 2).await.unwrap();
    let next = store.unplaced((5, 7), page.last(), 2).await.unwrap();
    assert_eq!((page.len(), next.len()), (2, 1));
    assert_eq!(next[0].outcome_id, "a");
    let label = Label {
        outcome_id: "b".into(),
        given_at_ms: 9,
        category: "out_of_domain".into(),
        origin: Origin::Accepted,
        given_by: "ann".into(),
    };
    store.add_labels(&[label]).await.unwrap();
    assert_eq!(unplaced((5, 7)).await, ["c", "a"]);
    let said = [
        ("a", None, Some(0.0)),
        ("a", Some("out_of_domain"), None),
        ("c", Some("cooking"), None),
    ];
    // That an answer was bad, or that no category covers it, does not say where a question belongs.
    for (outcome_id, category, score) in said {
        let said = Feedback {
            category: category.map(str::to_owned),
            score,
            ..feedback(outcome_id)
        };
        store.add_feedback(&said).await.unwrap();
    }
    assert_eq!(unplaced((5, 7)).await, ["a"]);
}
