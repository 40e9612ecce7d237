//! What is looked for to be labelled and judged, and what was said of answers.

use std::collections::HashSet;

use super::*;
use crate::catalogue::Catalogue;
use crate::learning::{
    Label, Origin,
    earlier::{Asked, Earlier},
    learnt::Learnt,
    resolve::{self, Rules},
    reward::{Implicit, reward},
};

fn asked(id: &str, question: &str, asked_at_ms: i64) -> Outcome {
    let mut outcome = outcome(id, asked_at_ms);
    outcome.ask.question = Some(question.to_owned());
    outcome
}

fn label(outcome_id: &str, origin: Origin, given_by: &str) -> Label {
    Label {
        outcome_id: outcome_id.into(),
        given_at_ms: 6,
        category: "sql".into(),
        origin,
        given_by: given_by.into(),
    }
}

fn said(outcome_id: &str, score: Option<f64>, judged_by: Option<&str>) -> Feedback {
    Feedback {
        outcome_id: outcome_id.into(),
        given_at_ms: 5,
        score,
        judged_by: judged_by.map(str::to_owned),
        ..Feedback::default()
    }
}

fn ids(candidates: &[crate::learning::Candidate]) -> Vec<&str> {
    candidates.iter().map(|it| it.outcome_id.as_str()).collect()
}

#[tokio::test]
async fn a_text_that_repeats_hides_nothing_and_one_that_is_known_does_not_come() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    let mut outcomes = vec![asked("a", "Why?", 1), asked("b", "How?", 2)];
    // More than a page, many of them at the same moment.
    outcomes.extend((0..6000_i64).map(|at| asked(&format!("ping-{at:04}"), "ping", 3 + at / 50)));
    store.write(&outcomes).await.unwrap();
    let mut seen = HashSet::from(["How?".to_owned()]);
    let waiting = store
        .unlabelled(10, |it| seen.insert(it.question.clone()))
        .await
        .unwrap();
    assert_eq!(ids(&waiting.candidates), ["ping-5999", "a"]);
    let one = store.unlabelled(1, |_| true).await.unwrap();
    assert_eq!(ids(&one.candidates), ["ping-5999"]);
    let mut all = 0;
    store
        .unlabelled(10, |_| {
            all += 1;
            false
        })
        .await
        .unwrap();
    assert_eq!(all, 6002, "each is looked at once");
}

#[tokio::test]
async fn a_label_of_an_outcome_that_is_gone_is_left_out_and_the_others_are_kept() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    store.write(&[outcome("a", 1)]).await.unwrap();
    let labels = ["gone", "a"].map(|id| label(id, Origin::Judge, "gpt category-v1"));
    let numbers = store.add_labels(&labels).await.unwrap();
    assert!(numbers[0].is_none() && numbers[1].is_some(), "{numbers:?}");
    assert_eq!(store.labels("a").await.unwrap(), labels[1..]);
    let waiting = store.unlabelled(10, |_| true).await.unwrap();
    let replaced = store
        .replace_labels(&Origin::Judge, &waiting.since, &labels)
        .await
        .unwrap();
    let expected = Replaced {
        taken_back: 1,
        given: 1,
    };
    assert_eq!(replaced, expected);
    store
        .leave_unsettled("gone", "gpt category-v1", 1)
        .await
        .unwrap();
}

#[tokio::test]
async fn only_labels_of_what_was_looked_at_are_taken_back() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    let outcomes = [outcome("a", 1), outcome("b", 2), outcome("c", 3)];
    store.write(&outcomes).await.unwrap();
    let labels = ["a", "b", "c"].map(|id| label(id, Origin::Neighbours, "neighbours-v1"));
    store.add_labels(&labels).await.unwrap();
    let people = label("b", Origin::Person, "ada");
    store.add_labels(&[people]).await.unwrap();
    let waiting = store.unlabelled(1, |_| true).await.unwrap();
    assert_eq!(ids(&waiting.candidates), ["c"]);
    let replace = async |since: &Place| {
        let replaced = store.replace_labels(&Origin::Neighbours, since, &[]).await;
        replaced.unwrap().taken_back
    };
    assert_eq!(replace(&waiting.since).await, 1);
    assert_eq!(store.labels("a").await.unwrap(), labels[..1]);
    let all = store.unlabelled(10, |_| true).await.unwrap();
    assert_eq!(replace(&all.since).await, 2, "to the beginning");
    let left = store.labels("b").await.unwrap();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[tokio::test]
async fn what_a_judge_does_not_settle_waits_behind_what_it_was_not_asked() {
    const JUDGE: &str = "gpt category-v1";
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    let outcomes = [outcome("a", 1), outcome("b", 2), outcome("c", 3)];
    store.write(&outcomes).await.unwrap();
    store.leave_unsettled("c", JUDGE, 10).await.unwrap();
    store.leave_unsettled("b", JUDGE, 20).await.unwrap();
    let fresh = store.unjudged(JUDGE, People::Silent, 10, |_| true).await;
    assert_eq!(ids(&fresh.unwrap()), ["a"]);
    let unsettled = store.unsettled(JUDGE, 10).await.unwrap();
    assert_eq!(ids(&unsettled), ["c", "b"]);
    store.leave_unsettled("c", JUDGE, 30).await.unwrap();
    let unsettled = store.unsettled(JUDGE, 1).await.unwrap();
    assert_eq!(ids(&unsettled), ["b"], "what was asked longest ago");
    let other = store.unjudged("big", People::Silent, 10, |_| true).await;
    assert_eq!(other.unwrap().len(), 3, "another judge was not asked");
    let settled = label("b", Origin::Judge, JUDGE);
    store.add_labels(&[settled]).await.unwrap();
    let unsettled = store.unsettled(JUDGE, 10).await.unwrap();
    assert_eq!(ids(&unsettled), ["c"]);
}

#[tokio::test]
async fn answers_that_clients_scored_can_be_graded_first_and_unsettled_ones_last() {
    const JUDGE: &str = "gpt answer-v1";
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    let outcomes = ["a", "b", "c", "d"].map(|id| outcome(id, 1));
    store.write(&outcomes).await.unwrap();
    store
        .add_feedback(&said("b", Some(0.5), None))
        .await
        .unwrap();
    store
        .add_feedback(&said("c", Some(0.5), Some("big answer-v1")))
        .await
        .unwrap();
    store.leave_unsettled("d", JUDGE, 1).await.unwrap();
    let of = async |which| -> Vec<String> {
        let answers = store.ungraded(JUDGE, which, 10).await.unwrap();
        answers.into_iter().map(|it| it.outcome_id).collect()
    };
    assert_eq!(of(Ungraded::Scored).await, ["b"], "a judge is no client");
    assert_eq!(of(Ungraded::Fresh).await, ["c", "b", "a"]);
    assert_eq!(of(Ungraded::Unsettled).await, ["d"]);
}

#[tokio::test]
async fn of_each_outcome_the_last_words_are_compared() {
    const JUDGE: &str = "gpt answer-v1";
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    store
        .write(&[outcome("a", 1), outcome("b", 2)])
        .await
        .unwrap();
    for (score, by) in [
        (0.0, None),
        (0.25, Some(JUDGE)),
        (1.0, None),
        (0.75, Some(JUDGE)),
        (0.5, Some("big answer-v1")),
    ] {
        store
            .add_feedback(&said("a", Some(score), by))
            .await
            .unwrap();
    }
    store
        .add_feedback(&said("b", Some(1.0), Some(JUDGE)))
        .await
        .unwrap();
    let beside = store.scores_beside(JUDGE, 10).await.unwrap();
    assert_eq!(beside, [(1.0, 0.75)]);
    let named = |expert: &str, by: Option<&str>| Feedback {
        expert: Some(expert.into()),
        ..said("a", None, by)
    };
    for feedback in [
        named("coder", None),
        named("general", None),
        named("coder", Some("gpt pair-v1")),
    ] {
        store.add_feedback(&feedback).await.unwrap();
    }
    let beside = store.experts_beside("gpt pair-v1", 10).await.unwrap();
    assert_eq!(beside, [("general".to_owned(), "coder".to_owned())]);
}

#[tokio::test]
async fn no_judge_takes_the_place_of_a_client_without_a_key() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    store.write(&[outcome("a", 1)]).await.unwrap();
    for feedback in [
        said("a", Some(1.0), None),
        said("a", Some(0.0), Some("gpt answer-v1")),
    ] {
        store.add_feedback(&feedback).await.unwrap();
    }
    let served = store.served_since(0, 10).await.unwrap().served;
    assert_eq!(served[0].said.len(), 2);
    let general = ExpertId::new("general");
    assert_eq!(reward(&served[0], &general, Implicit::Counts), Some(1.0));
    let coder = &served[0].tries[0];
    assert_eq!(coder.rejected_as.as_deref(), Some("no_text"));
}

/// What may be of an accepted category, by what is in the store, without what these origins say.
async fn earlier(store: &Store, without: &[Origin]) -> Earlier {
    let evidence = store.evidence(100).await.unwrap().evidence;
    let categories = ["sql", "stars"].map(CategoryId::new);
    let rules = Rules {
        without,
        categories: &categories,
        client_share_max: resolve::CLIENT_SHARE_MAX,
    };
    let (rows, _) = resolve::resolve(&evidence, &rules);
    Earlier::read(store, &rows, &evidence).await.unwrap()
}

#[tokio::test]
async fn what_may_be_of_a_category_is_what_nobody_labelled_before_it_was_accepted() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    let alone = |id: &str, question: &str, asked_at_ms: i64| {
        let mut outcome = asked(id, question, asked_at_ms);
        outcome.ask.session = None;
        outcome
    };
    let outcomes = [
        alone("accepted", "Why is a star red?", 1),
        alone("earlier", "Is a comet ice?", 2),
        alone("again", " Is a comet ice?", 3),
        alone("judged", "Fry an egg", 4),
        alone("said elsewhere", "Fry an egg", 5),
        alone("blank", " ", 5),
        alone("later", "Is a nebula gas?", 10),
    ];
    store.write(&outcomes).await.unwrap();
    let accepted = |category: &str| Label {
        category: category.into(),
        given_at_ms: 10,
        ..label("accepted", Origin::Accepted, "ann")
    };
    let judged = label("judged", Origin::Judge, "gpt category-v1");
    store
        .add_labels(&[accepted("stars"), judged])
        .await
        .unwrap();
    let found = earlier(&store, &[]).await;
    let again = Asked {
        text: "Is a comet ice?".into(),
        conversation: "again".into(),
        asked_at_ms: 3,
    };
    assert_eq!(found.questions, [again]);
    assert_eq!(found.unlabelled().texts, ["Is a comet ice?"]);
    assert_eq!(found.unlabelled().may_be, [CategoryId::new("stars")]);
    let none = found.only(|asked| asked.conversation != "again");
    assert!(none.questions.is_empty());
    // Who learnt from it is given it again, whatever was said of it since and whatever was accepted later.
    let learnt = Learnt::of(&[], &Catalogue::default()).with_earlier(&found);
    let corrected = label("again", Origin::Person, "bob");
    store.add_labels(&[corrected]).await.unwrap();
    assert!(earlier(&store, &[]).await.questions.is_empty());
    let evidence = store.evidence(100).await.unwrap().evidence;
    let again = Earlier::again(&store, learnt.earlier().unwrap(), &evidence);
    assert_eq!(again.await.unwrap(), found);
    let without = earlier(&store, &[Origin::Accepted]).await;
    assert_eq!(without, Earlier::default());
    // Who says that something belongs nowhere accepts no category.
    let dismissed = accepted("out_of_domain");
    store.add_labels(&[dismissed]).await.unwrap();
    assert_eq!(earlier(&store, &[]).await, Earlier::default());
}
