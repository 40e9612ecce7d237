//! What a canary's outcomes say beside those of the router in force: two tests that may be looked at after every outcome.
//! Pure.
//!
//! *What happened* is known of every answer: that it failed, that its client left or asked again, or that nothing of the
//! kind did. *What was said* is known where a client gives feedback. Each is tested at half of the level, so that both
//! together call a canary worse that is as good in at most [`FALSE_ALARMS`] of the trials, however long they are and however
//! often anybody looks ([`crate::sequential`]).
//!
//! Sessions are what the canary draws, so a session is one witness: it counts in each test with the first of its outcomes
//! of which something is known.

use std::{
    collections::HashSet,
    fmt,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use serde::Serialize;

use super::{EndedRow, SaidRow};
use crate::{
    composition::{MODEL_ALIAS, MODEL_NAME},
    ids::RouterId,
    learning::reward,
    sequential::{Arm, Difference, SequentialTest, Standing},
};

/// The share of canaries as good as the router in force that are ended all the same.
pub const FALSE_ALARMS: f64 = 0.05;

/// What a test is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// What happened to answers.
    Happened,
    /// What clients said of them.
    Said,
}

impl Subject {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Happened, Self::Said];

    /// In one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Happened => "happened",
            Self::Said => "said",
        }
    }
}

/// Both tests, and the sessions that they have heard.
#[derive(Clone, Debug)]
pub struct Comparison {
    canary: RouterId,
    started_at_ms: i64,
    happened: Tested,
    said: Tested,
}

#[derive(Clone, Debug)]
struct Tested {
    test: SequentialTest,
    sessions: HashSet<u64>,
}

/// How a test stands.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Outcomes that were compared.
    pub outcomes: u64,
    /// The mean of the canary's outcomes less that of the others'; none before both had one.
    pub difference: Option<Difference>,
}

/// The canary is worse.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Worse {
    /// The test that says so.
    pub subject: Subject,
    /// After how many outcomes.
    pub outcomes: u64,
    /// By how much.
    pub difference: Option<Difference>,
}

impl Comparison {
    /// Nothing is known yet of a canary. `started_at_ms`: outcomes that were asked earlier do not count.
    pub fn new(canary: RouterId, started_at_ms: i64) -> Self {
        Self {
            canary,
            started_at_ms,
            happened: Tested::new(),
            said: Tested::new(),
        }
    }

    /// Takes in what happened to an answer.
    pub fn happened(&mut self, row: &EndedRow, asked_again: bool) {
        let Some(arm) = self.arm(&row.router, &row.model, row.asked_at_ms) else {
            return;
        };
        let value = match reward::happened(&row.ending, row.has_begun, asked_again) {
            Some(bad) => bad,
            None if row.ending == "completed" => 1.0,
            // Cut off by a shutdown, or left before there was anything to see.
            None => return,
        };
        self.happened
            .observe(arm, witness(row.session.as_ref(), &row.outcome_id), value);
    }

    /// Takes in what a client said. A score counts; else whether the category is the one that was acted on.
    pub fn said(&mut self, row: &SaidRow) {
        let Some(arm) = self.arm(&row.router, &row.model, row.asked_at_ms) else {
            return;
        };
        let is_right = || Some(f64::from(row.category.as_ref()? == row.said.as_ref()?));
        if let Some(value) = row.score.or_else(is_right) {
            self.said
                .observe(arm, witness(row.session.as_ref(), &row.outcome_id), value);
        }
    }

    /// Whether the canary is worse; that is final.
    pub fn worse(&self) -> Option<Worse> {
        [Subject::Said, Subject::Happened]
            .into_iter()
            .find_map(|subject| {
                let tested = self.tested(subject);
                match tested.test.standing() {
                    Standing::Open => None,
                    Standing::Worse { outcomes } => Some(Worse {
                        subject,
                        outcomes,
                        difference: tested.test.difference(),
                    }),
                }
            })
    }

    /// How a test stands.
    pub fn figures(&self, subject: Subject) -> Figures {
        let test = &self.tested(subject).test;
        Figures {
            outcomes: test.outcomes(),
            difference: test.difference(),
        }
    }

    fn tested(&self, subject: Subject) -> &Tested {
        match subject {
            Subject::Happened => &self.happened,
            Subject::Said => &self.said,
        }
    }

    /// Whose outcome it is; none: not one of the trial. A trial ends when another router is put in force, so whichever
    /// router but the canary decided was in force.
    fn arm(&self, router: &RouterId, model: &str, asked_at_ms: i64) -> Option<Arm> {
        let is_of_composition = model == MODEL_NAME || model == MODEL_ALIAS;
        if !is_of_composition || asked_at_ms < self.started_at_ms {
            return None;
        }
        Some(if *router == self.canary {
            Arm::Canary
        } else {
            Arm::Champion
        })
    }
}

impl Tested {
    fn new() -> Self {
        let level = FALSE_ALARMS / 2.0;
        Self {
            test: SequentialTest::new(level).expect("the level is a constant between 0 and 1"),
            sessions: HashSet::new(),
        }
    }

    fn observe(&mut self, arm: Arm, session: u64, value: f64) {
        if self.sessions.contains(&session) {
            return;
        }
        // A score that is no number from 0 to 1 is nothing to go by.
        if self.test.observe(arm, value).is_ok() {
            self.sessions.insert(session);
        }
    }
}

/// A number for a session, or for an outcome that is in none.
fn witness(session: Option<&String>, outcome_id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    session.map_or(outcome_id, String::as_str).hash(&mut hasher);
    hasher.finish()
}

impl fmt::Display for Figures {
    /// Such as `of 120 outcomes, the canary's are -0.12 (-0.25 to +0.01)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} outcomes compared", self.outcomes)?;
        match self.difference {
            Some(Difference { mean, low, high }) => {
                write!(f, ", difference {mean:+.3} ({low:+.3} to {high:+.3})")
            }
            None => Ok(()),
        }
    }
}

impl fmt::Display for Worse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.subject {
            Subject::Happened => "what happened to its answers",
            Subject::Said => "what clients said of its answers",
        };
        let figures = Figures {
            outcomes: self.outcomes,
            difference: self.difference,
        };
        write!(
            f,
            "{what} was worse than for the router in force: {figures}"
        )
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

    use super::*;

    fn comparison() -> Comparison {
        Comparison::new(RouterId::new("new"), 100)
    }

    fn row(number: u64, router: &str) -> SaidRow {
        SaidRow {
            place: 1,
            outcome_id: number.to_string(),
            asked_at_ms: 100,
            session: None,
            model: "coterie".into(),
            router: RouterId::new(router),
            category: Some("coding".into()),
            score: None,
            said: Some("coding".into()),
        }
    }

    fn ended(number: u64, router: &str, ending: &str) -> EndedRow {
        EndedRow {
            place: 1,
            outcome_id: number.to_string(),
            asked_at_ms: 100,
            ended_at_ms: 200,
            session: None,
            question: None,
            model: "auto".into(),
            router: RouterId::new(router),
            ending: ending.into(),
            has_begun: true,
        }
    }

    #[test]
    fn a_canary_whose_categories_are_wrong_is_worse() {
        let mut comparison = comparison();
        for number in 0..100 {
            comparison.said(&row(number, "old"));
            let wrong = SaidRow {
                said: Some("legal".into()),
                ..row(1000 + number, "new")
            };
            comparison.said(&wrong);
        }
        let worse = comparison.worse().unwrap();
        assert_eq!(worse.subject, Subject::Said);
        assert!(worse.outcomes < 60, "{worse:?}");
        let words = worse.to_string();
        assert!(
            words.contains("clients said") && words.contains("-1.000"),
            "{words}"
        );
        assert_eq!(comparison.figures(Subject::Happened).outcomes, 0);
    }

    #[test]
    fn a_canary_whose_answers_fail_is_worse_though_nobody_says_so() {
        let mut comparison = comparison();
        for number in 0..100 {
            comparison.happened(&ended(number, "old", "completed"), false);
            comparison.happened(&ended(1000 + number, "new", "expert_failed"), false);
        }
        assert_eq!(comparison.worse().unwrap().subject, Subject::Happened);
    }

    #[test]
    fn a_score_counts_before_a_category() {
        let mut comparison = comparison();
        comparison.said(&row(1, "old"));
        let scored = SaidRow {
            score: Some(0.25),
            ..row(2, "new")
        };
        comparison.said(&scored);
        let difference = comparison.figures(Subject::Said).difference.unwrap();
        assert!((difference.mean + 0.75).abs() < 1e-12);
    }

    #[test]
    fn what_is_not_of_the_trial_does_not_count() {
        let mut comparison = comparison();
        let early = SaidRow {
            asked_at_ms: 99,
            ..row(1, "new")
        };
        comparison.said(&early);
        let named = SaidRow {
            model: "coterie/coding".into(),
            ..row(2, "new")
        };
        comparison.said(&named);
        let silent = SaidRow {
            said: None,
            ..row(3, "new")
        };
        comparison.said(&silent);
        comparison.happened(&ended(4, "new", "shutdown"), false);
        let mut unseen = ended(5, "new", "client_left");
        unseen.has_begun = false;
        comparison.happened(&unseen, false);
        for subject in [Subject::Happened, Subject::Said] {
            assert_eq!(comparison.figures(subject).outcomes, 0);
        }
    }

    #[test]
    fn a_session_is_one_witness() {
        let mut comparison = comparison();
        for number in 0..50 {
            let of_session = SaidRow {
                session: Some("s".into()),
                ..row(number, "old")
            };
            comparison.said(&of_session);
            comparison.said(&row(7, "new"));
        }
        assert_eq!(comparison.figures(Subject::Said).outcomes, 2);
    }

    #[test]
    fn a_canary_that_is_as_good_mostly_stays_however_long_it_is_tried() {
        let mut random = SmallRng::seed_from_u64(7);
        let mut alarms = 0;
        for _ in 0..200 {
            let mut comparison = comparison();
            for number in 0..2000 {
                let router = if random.random_bool(0.1) {
                    "new"
                } else {
                    "old"
                };
                let category = if random.random_bool(0.8) {
                    "coding"
                } else {
                    "legal"
                };
                let said = SaidRow {
                    said: Some(category.into()),
                    ..row(number, router)
                };
                comparison.said(&said);
            }
            alarms += u32::from(comparison.worse().is_some());
        }
        // At most 5 are expected; 12 and more would come once in two hundred times.
        assert!(alarms < 12, "{alarms} of 200");
    }
}
