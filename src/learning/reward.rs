//! How good an expert's answer was, from what became of it. Pure.
//!
//! What somebody says of an answer counts; where nobody does, what happened speaks, as far as it says something clear. An
//! answer that came whole and of which nothing is known is worth nothing in particular: most good answers are like that,
//! and so are most bad ones.

use std::collections::{BTreeMap, HashMap};

use super::served::Served;
use crate::{
    ids::{CategoryId, ExpertId},
    mapping::explore::Tally,
};

/// What an expert's answer is worth that failed, ran out of time, or was not taken.
pub const FAILED: f64 = 0.0;

/// What an answer is worth that the client did not read to its end: it may have had enough of a good one.
pub const CLIENT_LEFT: f64 = 0.3;

/// What an answer is worth after which the client asked nearly the same again at once.
pub const ASKED_AGAIN: f64 = 0.2;

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
/// What was said is said of the answer that the client got: of each who gave scores the last, and their mean. Of an expert
/// whose answer the client did not get it only matters whether it failed.
pub fn reward(served: &Served, expert: &ExpertId, implicit: Implicit) -> Option<f64> {
    let is_its_answer = served.answered_by.as_ref() == Some(expert);
    if is_its_answer && let Some(said) = said(served) {
        return Some(said);
    }
    match implicit {
        Implicit::LeftOut => None,
        Implicit::Counts if is_its_answer => of_the_answer(served),
        Implicit::Counts => has_failed(served, expert).then_some(FAILED),
    }
}

/// The rewards of every category and expert, an expert named by the client and a cascade's first included.
pub fn tallies(served: &[Served], implicit: Implicit) -> HashMap<(CategoryId, ExpertId), Tally> {
    let mut tallies: HashMap<_, Tally> = HashMap::new();
    for outcome in served {
        let Some(category) = &outcome.category else {
            continue;
        };
        let mut experts: Vec<&ExpertId> = outcome.tries.iter().map(|it| &it.expert).collect();
        experts.sort_unstable();
        experts.dedup();
        for expert in experts {
            if let Some(reward) = reward(outcome, expert, implicit) {
                let tally = tallies.entry((category.clone(), expert.clone()));
                let tally = tally.or_default();
                tally.rewards += reward;
                tally.rows += 1.0;
            }
        }
    }
    tallies
}

/// The mean over those who gave scores of the last that each gave.
fn said(served: &Served) -> Option<f64> {
    let last: BTreeMap<_, f64> = served
        .scores
        .iter()
        .map(|score| (&score.given_by, score.score))
        .collect();
    (!last.is_empty()).then(|| last.values().sum::<f64>() / last.len() as f64)
}

fn of_the_answer(served: &Served) -> Option<f64> {
    let has_begun = served.first_token.is_some();
    happened(&served.ending, has_begun, served.asked_again)
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
    let tries = served
        .tries
        .iter()
        .filter(|it| it.expert == *expert && !matches!(it.role.as_str(), "judge" | "cache"));
    let mut failures = tries.map(|it| {
        let is_blamed = |error: &String| !BLAMELESS.contains(&error.as_str());
        it.was_rejected || it.error.as_ref().is_some_and(is_blamed)
    });
    failures.any(|has_failed| has_failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learning::served::{Score, Try};

    fn id(expert: &str) -> ExpertId {
        ExpertId::new(expert)
    }

    fn score(given_by: Option<&str>, score: f64) -> Score {
        Score {
            given_by: given_by.map(str::to_owned),
            score,
        }
    }

    fn tried(expert: &str, role: &str, error: Option<&str>, was_rejected: bool) -> Try {
        Try {
            expert: id(expert),
            role: role.into(),
            error: error.map(str::to_owned),
            was_rejected,
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
            scores: vec![score(None, 0.1), score(None, 0.7)],
            ..Served::example("a")
        };
        assert_reward(&served, "a", Some(0.7));
        served.scores = vec![
            score(Some("x"), 0.0),
            score(Some("y"), 0.5),
            score(Some("x"), 1.0),
        ];
        assert_reward(&served, "a", Some(0.75));
        assert_eq!(
            reward(&served, &id("a"), Implicit::LeftOut),
            Some(0.75),
            "that is no guess"
        );
    }

    #[test]
    fn where_nothing_is_said_what_happened_speaks() {
        let whole = Served::example("a");
        assert_reward(&whole, "a", None);
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
    }

    #[test]
    fn an_answer_of_another_speaks_for_that_one_alone() {
        let mut served = Served {
            answered_by: Some(id("b")),
            scores: vec![score(None, 1.0)],
            tries: vec![
                tried("a", "answer", Some("failed"), false),
                tried("b", "answer", None, false),
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
            tries: vec![tried("a", "answer", Some("timed_out"), false)],
            ..Served::example("a")
        };
        assert_reward(&served, "a", Some(FAILED));
    }

    #[test]
    fn a_rejected_first_answer_is_worth_nothing_and_an_accepted_one_is_unknown() {
        let rejected = Served {
            has_cascade: true,
            tries: vec![
                tried("cheap", "first", None, true),
                tried("judge", "judge", Some("failed"), false),
                tried("a", "answer", None, false),
            ],
            ..Served::example("a")
        };
        assert_reward(&rejected, "cheap", Some(FAILED));
        assert_reward(&rejected, "judge", None);
        assert_reward(&rejected, "a", None);
        let accepted = Served {
            answered_by: Some(id("cheap")),
            tries: vec![tried("cheap", "first", None, false)],
            ..rejected
        };
        assert_reward(&accepted, "cheap", None);
    }

    #[test]
    fn rewards_are_added_up_by_category_and_expert() {
        let said = |value| Served {
            scores: vec![score(None, value)],
            ..Served::example("a")
        };
        let named = Served {
            category: None,
            ..said(1.0)
        };
        let failed = Served {
            answered_by: Some(id("b")),
            tries: vec![
                tried("a", "answer", Some("failed"), false),
                tried("a", "answer", Some("failed"), false),
                tried("b", "answer", None, false),
            ],
            ..said(0.5)
        };
        let all = [said(0.75), said(0.25), named, Served::example("a"), failed];
        let tallies = tallies(&all, Implicit::Counts);
        let of = |expert: &str| tallies[&(CategoryId::new("coding"), id(expert))];
        assert_eq!((of("a").rewards, of("a").rows), (1.0, 3.0));
        assert_eq!((of("b").rewards, of("b").rows), (0.5, 1.0));
        assert_eq!(tallies.len(), 2);
    }
}
