//! How good an expert's answer was, from what became of it. Pure.
//!
//! What clients say of an answer counts; where none does, what judges say; where nobody does, what happened speaks. An answer
//! that came whole, and of which nothing else is known, counts as well: without it only what went wrong would be counted,
//! and an expert of whose answers one in a thousand is left would look like one of whose answers each second is.

use std::collections::BTreeMap;

use super::served::{Said, Served};
use crate::ids::ExpertId;

/// What an expert's answer is worth that failed, ran out of time, or was not taken.
pub const FAILED: f64 = 0.0;

/// What an answer is worth that the client did not read to its end: it may have had enough of a good one.
pub const CLIENT_LEFT: f64 = 0.3;

/// What an answer is worth after which the client asked nearly the same again at once.
pub const ASKED_AGAIN: f64 = 0.2;

/// What an answer is worth that came whole and that the client did not ask for again.
///
/// It is above the middle, since nothing went wrong, and below what a client says who is content, since most bad answers are
/// passed over in silence, too.
pub const TAKEN: f64 = 0.7;

/// What an answer is worth of which a client says that another expert should have given it.
pub const ANOTHER_NAMED: f64 = 0.2;

/// What an answer is worth that was preferred to another, or whose expert a client says was the right one.
pub const PREFERRED: f64 = 1.0;

/// What an answer is worth to which a judge preferred another.
pub const NOT_PREFERRED: f64 = 0.0;

/// Failures that say nothing of the expert's answers: nobody was asked, or whoever was would have failed.
const BLAMELESS: [&str; 7] = [
    "busy",
    "circuit_open",
    "diverged",
    "out_of_time",
    "outrun",
    "refused",
    "shutting_down",
];

/// Why a cascade does not take an answer for the answer's own sake. The others are troubles of the house: there was no time
/// left, a judge failed, no likelihood was told.
const AT_FAULT: [&str; 5] = ["code", "judged_wrong", "no_text", "too_long", "unlikely"];

/// Whether what happened counts where nobody said anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Implicit {
    /// It does.
    #[default]
    Counts,
    /// What was said counts alone.
    LeftOut,
}

/// What an outcome says of one expert's answer, 0 to 1; none: nothing.
///
/// What was said is said of the answer that the client got: of each voice its last score, without one the expert that it
/// named last, and the mean of the clients' voices, without one of the judges'. Of an expert whose answer the client did
/// not get it only matters whether it failed.
pub fn reward(served: &Served, expert: &ExpertId, implicit: Implicit) -> Option<f64> {
    let is_its_answer = served.answered_by.as_ref() == Some(expert);
    if is_its_answer && let Some(said) = said(served, expert) {
        return Some(said);
    }
    match implicit {
        Implicit::LeftOut => None,
        Implicit::Counts if is_its_answer => of_the_answer(served),
        Implicit::Counts => has_failed(served, expert).then_some(FAILED),
    }
}

/// What clients say of the answer of an expert; where none says anything, what judges do.
fn said(served: &Served, expert: &ExpertId) -> Option<f64> {
    let (clients, judges): (Vec<&Said>, Vec<&Said>) =
        served.said.iter().partition(|said| said.by.judge.is_none());
    mean_of_voices(&clients, expert).or_else(|| mean_of_voices(&judges, expert))
}

/// The mean over all voices of the last word of each. A score says more than the name of an expert, whichever came last.
fn mean_of_voices(said: &[&Said], expert: &ExpertId) -> Option<f64> {
    let named = said.iter().filter_map(|said| {
        let named = said.expert.as_ref()?;
        Some((&said.by, of_a_name(said, named == expert)))
    });
    let scores = said.iter().filter_map(|said| Some((&said.by, said.score?)));
    // Of one voice the later entry stays.
    let last: BTreeMap<_, f64> = named.chain(scores).collect();
    (!last.is_empty()).then(|| last.values().sum::<f64>() / last.len() as f64)
}

/// What it says of an answer that its expert, or another, is named. A judge names the better of two answers that it saw; a
/// client who names another expert has not seen that one's answer.
fn of_a_name(said: &Said, is_its_own: bool) -> f64 {
    match (is_its_own, &said.by.judge) {
        (true, _) => PREFERRED,
        (false, Some(_)) => NOT_PREFERRED,
        (false, None) => ANOTHER_NAMED,
    }
}

/// What happened to the answer that the client got; one that came whole and of which nothing is known was taken.
fn of_the_answer(served: &Served) -> Option<f64> {
    let has_begun = served.first_token.is_some();
    let taken = (served.ending == "completed").then_some(TAKEN);
    happened(&served.ending, has_begun, served.asked_again).or(taken)
}

/// What the answer that a client got is worth by what happened to it, 0 to 1; none: nothing happened that says anything.
/// `has_begun`: its first token came.
pub fn happened(ending: &str, has_begun: bool, asked_again: bool) -> Option<f64> {
    let signals = [
        matches!(ending, "expert_failed" | "timed_out").then_some(FAILED),
        (ending == "client_left" && has_begun).then_some(CLIENT_LEFT),
        asked_again.then_some(ASKED_AGAIN),
    ];
    signals.into_iter().flatten().reduce(f64::min)
}

/// Whether an expert whose answer the client did not get had its chance.
fn has_failed(served: &Served, expert: &ExpertId) -> bool {
    let tries = served.tries.iter().filter(|it| {
        it.expert == *expert && !matches!(it.role.as_str(), "judge" | "cache" | "route")
    });
    let mut failures = tries.map(|it| {
        let is_blamed = |error: &String| !BLAMELESS.contains(&error.as_str());
        let is_at_fault = |why: &String| AT_FAULT.contains(&why.as_str());
        it.rejected_as.as_ref().is_some_and(is_at_fault) || it.error.as_ref().is_some_and(is_blamed)
    });
    failures.any(|has_failed| has_failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learning::served::{Try, Voice};

    fn id(expert: &str) -> ExpertId {
        ExpertId::new(expert)
    }

    fn client(key: Option<&str>) -> Voice {
        Voice {
            key: key.map(str::to_owned),
            judge: None,
        }
    }

    fn judge(name: &str) -> Voice {
        Voice {
            key: None,
            judge: Some(name.to_owned()),
        }
    }

    fn score(by: Voice, score: f64) -> Said {
        Said {
            by,
            score: Some(score),
            expert: None,
        }
    }

    fn named(by: Voice, expert: &str) -> Said {
        Said {
            by,
            score: None,
            expert: Some(id(expert)),
        }
    }

    fn tried(expert: &str, role: &str, error: Option<&str>, rejected_as: Option<&str>) -> Try {
        Try {
            expert: id(expert),
            role: role.into(),
            error: error.map(str::to_owned),
            rejected_as: rejected_as.map(str::to_owned),
        }
    }

    #[track_caller]
    fn assert_reward(served: &Served, expert: &str, expected: Option<f64>) {
        let found = reward(served, &id(expert), Implicit::Counts);
        match (found, expected) {
            (Some(found), Some(expected)) => assert!((found - expected).abs() < 1e-12, "{found}"),
            (found, expected) => assert_eq!(found, expected),
        }
    }

    #[test]
    fn what_is_said_counts_the_last_of_each_and_the_mean_of_all() {
        let mut served = Served {
            ending: "client_left".into(),
            asked_again: true,
            said: vec![score(client(None), 0.1), score(client(None), 0.7)],
            ..Served::example("a")
        };
        assert_reward(&served, "a", Some(0.7));
        served.said = vec![
            score(client(Some("x")), 0.0),
            score(client(Some("y")), 0.5),
            score(client(Some("x")), 1.0),
        ];
        assert_reward(&served, "a", Some(0.75));
        assert_eq!(
            reward(&served, &id("a"), Implicit::LeftOut),
            Some(0.75),
            "that is no guess"
        );
    }

    #[test]
    fn what_clients_say_wins_over_what_judges_say_and_no_judge_speaks_for_a_client() {
        let mut served = Served {
            said: vec![
                score(client(None), 1.0),
                score(judge("gpt answer-v1"), 0.0),
                score(judge("big answer-v1"), 0.5),
            ],
            ..Served::example("a")
        };
        assert_reward(&served, "a", Some(1.0));
        served.said.remove(0);
        assert_reward(&served, "a", Some(0.25));
        served.said.push(named(client(Some("x")), "b"));
        assert_reward(&served, "a", Some(ANOTHER_NAMED));
    }

    #[test]
    fn who_should_have_answered_counts_unless_a_score_says_more() {
        let mut served = Served {
            said: vec![named(client(None), "b")],
            ..Served::example("a")
        };
        assert_reward(&served, "a", Some(ANOTHER_NAMED));
        served.said = vec![named(client(None), "a")];
        assert_reward(&served, "a", Some(PREFERRED));
        served.said = vec![score(client(None), 0.9), named(client(None), "b")];
        assert_reward(&served, "a", Some(0.9));
        served.said = vec![named(judge("gpt pair-v1"), "b")];
        assert_reward(&served, "a", Some(NOT_PREFERRED));
        served.said = vec![named(judge("gpt pair-v1"), "a")];
        assert_reward(&served, "a", Some(PREFERRED));
    }

    #[test]
    fn where_nothing_is_said_what_happened_speaks() {
        let whole = Served::example("a");
        assert_reward(&whole, "a", Some(TAKEN));
        for (ending, begins, asked_again, reward) in [
            ("completed", true, true, Some(ASKED_AGAIN)),
            ("client_left", true, false, Some(CLIENT_LEFT)),
            ("client_left", true, true, Some(ASKED_AGAIN)),
            ("client_left", false, false, None),
            ("expert_failed", true, false, Some(FAILED)),
            ("timed_out", true, true, Some(FAILED)),
            ("shutdown", true, false, None),
        ] {
            let served = Served {
                ending: ending.into(),
                first_token: whole.first_token.filter(|_| begins),
                asked_again,
                ..whole.clone()
            };
            assert_reward(&served, "a", reward);
            assert_eq!(super::reward(&served, &id("a"), Implicit::LeftOut), None);
        }
        assert_eq!(reward(&whole, &id("a"), Implicit::LeftOut), None);
    }

    #[test]
    fn an_answer_of_another_speaks_for_that_one_alone() {
        let mut served = Served {
            answered_by: Some(id("b")),
            said: vec![score(client(None), 1.0)],
            tries: vec![
                tried("a", "answer", Some("failed"), None),
                tried("b", "answer", None, None),
            ],
            ..Served::example("a")
        };
        assert_reward(&served, "a", Some(FAILED));
        assert_reward(&served, "b", Some(1.0));
        assert_reward(&served, "c", None);
        assert_eq!(reward(&served, &id("a"), Implicit::LeftOut), None);
        for error in BLAMELESS {
            served.tries[0].error = Some(error.into());
            assert_reward(&served, "a", None);
        }
    }

    #[test]
    fn nobody_at_all_is_a_failure_of_whoever_was_asked() {
        let served = Served {
            answered_by: None,
            first_token: None,
            ending: "timed_out".into(),
            tries: vec![tried("a", "answer", Some("timed_out"), None)],
            ..Served::example("a")
        };
        assert_reward(&served, "a", Some(FAILED));
    }

    #[test]
    fn a_first_answer_is_worth_nothing_where_it_is_at_fault_and_as_much_as_any_where_it_is_taken() {
        let cascade = |why: Option<&str>| Served {
            has_cascade: true,
            tries: vec![
                tried("cheap", "first", None, why),
                tried("judge", "judge", Some("failed"), None),
                tried("a", "answer", None, None),
            ],
            ..Served::example("a")
        };
        for why in AT_FAULT {
            let rejected = cascade(Some(why));
            assert_reward(&rejected, "cheap", Some(FAILED));
            assert_reward(&rejected, "judge", None);
            assert_reward(&rejected, "a", Some(TAKEN));
        }
        for why in ["too_slow", "judge_failed", "no_likelihood"] {
            assert_reward(&cascade(Some(why)), "cheap", None);
        }
        let accepted = Served {
            answered_by: Some(id("cheap")),
            tries: vec![tried("cheap", "first", None, None)],
            ..cascade(None)
        };
        assert_reward(&accepted, "cheap", Some(TAKEN));
    }
}
