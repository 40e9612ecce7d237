//! Whether the questions, or what becomes of them, are still what the router was made for. Pure.
//!
//! One test watches each of: the router's confidence, the share of questions that it refused as out of domain or unsure, how
//! strange questions are, where their vectors point and how little they resemble those before, and the success of each expert
//! in each category. A test ranks each question among all those before it. As long as nothing changes, its rank is as likely
//! to be any as any other, whatever the distribution is and however few rows the reference has: conformal p-values are
//! independent and even (Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005). Bets on the ranks that a
//! change would bring multiply into evidence (Vovk, "Testing Randomness Online", Statistical Science 2021), taken from the
//! likeliest beginning of the change: CUSUM of e-values (Shin, Ramdas and Rinaldo, "E-detectors: a nonparametric framework for
//! sequential change detection", 2022).
//!
//! The promise. Evidence from the likeliest beginning is at most the sum over all beginnings. Without a change that sum less
//! the rows that a test has seen is a martingale, and an alarm takes the alarm's level out of it. So a test of level c raises at
//! most T / c alarms in T rows on average, restarts included. The levels are such that these bounds add up to
//! T / [`DriftConfig::questions_per_false_alarm`] over all tests, however they depend on each other: a mean of a sum needs no
//! independence. Each router has its own tests of what it decides, and they share one level, since a question is a row of one
//! router only. Tests of success share one level as well; a question that several experts were asked is a row of several of
//! them, and their level grows with the mean number of rows that a question has had so far. Since the sum is larger than what
//! is used, there are fewer alarms than promised.
//!
//! What it costs: a reference of few rows shows a change later, since the rows after the change soon weigh as much.
//!
//! What it rests on: rows that could have come in any other order. Questions of one conversation could not, so only the first
//! of each counts ([`Question::conversation`], [`Judged::conversation`]). Waves that are longer than the reference, such as
//! quiet weekends after a reference of weekdays, are changes, and are reported as such.

mod alarm;
mod bets;
mod novelty;
mod projection;
pub mod proposals;
mod ranks;
mod recent;
mod test;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use self::{
    novelty::Novelty,
    recent::Recent,
    test::{Level, Row, Test},
};
use crate::ids::{CategoryId, ExpertId, RouterId};

pub use self::{
    alarm::{Alarm, Reference, Signal},
    projection::{SKETCH, project},
};

/// Pairs of category and expert whose success is watched: a bound on the memory. Further ones are passed over.
pub const CELLS_MAX: usize = 4_096;

/// Directions of vectors that are watched one by one: the first of a vector's numbers.
const DIRECTIONS: usize = 4;

/// Routers whose decisions are watched at once: a bound on the memory. Of more, the one that decided nothing for longest is
/// forgotten.
pub const ROUTERS_MAX: usize = 16;

/// Share of the false alarms that each kind of test may raise; the rest goes to the directions of vectors, evenly. More for
/// those whose changes take longest to show.
const CONFIDENCE_SHARE: f64 = 0.15;
const OUT_OF_DOMAIN_SHARE: f64 = 0.3;
const SUCCESS_SHARE: f64 = 0.4;
const STRANGENESS_SHARE: f64 = 0.1;
const NOVELTY_SHARE: f64 = 0.025;

/// Seeds of tests differ by a number: first come those of decisions and of directions, then this one, then those of success.
const SALT_OF_NOVELTY: u64 = 3 + DIRECTIONS as u64;

/// What decides how soon a change is reported.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DriftConfig {
    /// Without a change, all tests together raise at most one alarm in so many questions on average.
    pub questions_per_false_alarm: f64,
    /// Questions that a test takes as its reference before it reports anything.
    pub reference_rows: usize,
    /// The same of the success of one expert in one category.
    pub success_reference_rows: usize,
    /// Whether questions have vectors.
    pub features: bool,
    /// Of the random numbers that break ties between equal rows.
    pub seed: u64,
}

impl Default for DriftConfig {
    fn default() -> Self {
        Self {
            questions_per_false_alarm: 20_000.0,
            reference_rows: 1_000,
            success_reference_rows: 200,
            features: false,
            seed: 0,
        }
    }
}

/// One question, as the router saw it.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// When it came, milliseconds since 1970; what alarms are dated by.
    pub at_ms: i64,
    /// What names its conversation, such as a digest. Of several questions of one only the first counts.
    pub conversation: Option<u64>,
    /// The router that decided: what it says is compared with what it said before, and with no other's.
    pub router: &'a RouterId,
    /// The router's confidence, 0 to 1.
    pub confidence: f32,
    /// Whether the router refused it, as out of domain or unsure.
    pub refused: bool,
    /// How strange it is, on any scale that stays the same.
    pub strangeness: Option<f32>,
    /// Where its vector points, always as many numbers, such as those of [`project`]; none where it has none.
    pub features: &'a [f32],
}

/// What became of one question.
#[derive(Clone, Copy, Debug)]
pub struct Judged<'a> {
    /// When it came, milliseconds since 1970.
    pub at_ms: i64,
    /// What names its conversation. Of several questions of one only the first counts.
    pub conversation: Option<u64>,
    /// What it was about.
    pub category: &'a CategoryId,
    /// Who was asked, each once, and how good the answer was, 0 to 1; none of whom nothing can be said.
    pub experts: &'a [(ExpertId, f32)],
}

/// What was made of something that was offered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// Whether it counts: not where another question of its conversation did.
    pub counts: bool,
    /// The alarms that it sets off.
    pub alarms: Vec<Alarm>,
}

/// All tests, in the middle of their work: plain data that is written down and read again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    config: DriftConfig,
    asked: Recent,
    judged: Recent,
    questions: u64,
    routers: BTreeMap<RouterId, Decisions>,
    features: Vec<Test>,
    novelty: Novelty,
    success: BTreeMap<CategoryId, BTreeMap<ExpertId, Test>>,
    successes: Successes,
}

/// The tests of what one router decides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Decisions {
    /// The question that it decided last, counted over all routers.
    last: u64,
    confidence: Test,
    refused: Test,
    strangeness: Test,
}

/// What the tests of success have taken in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Successes {
    questions: u64,
    rows: u64,
}

impl Successes {
    /// Rows of a question on average, at least one.
    fn rows_per_question(self) -> f64 {
        (self.rows as f64 / self.questions.max(1) as f64).max(1.0)
    }
}

impl Decisions {
    fn new(seed: u64) -> Self {
        Self {
            last: 0,
            confidence: Test::new(seed),
            refused: Test::new(seed.wrapping_add(1)),
            strangeness: Test::new(seed.wrapping_add(2)),
        }
    }
}

impl Drift {
    /// Tests that have seen nothing. To begin with rows that were held back in training, offer them first.
    pub fn new(config: DriftConfig) -> Self {
        let mut drift = Self {
            config,
            asked: Recent::default(),
            judged: Recent::default(),
            questions: 0,
            routers: BTreeMap::new(),
            features: Vec::new(),
            novelty: Novelty::new(0),
            success: BTreeMap::new(),
            successes: Successes::default(),
        };
        drift.see_anew(config.features);
        drift
    }

    /// Begins the tests of the vectors anew: those to come, if any, are not comparable with those before.
    pub fn see_anew(&mut self, features: bool) {
        self.config.features = features;
        let seed = self.config.seed;
        let directions = if features { DIRECTIONS } else { 0 };
        self.features = (3..)
            .map(|salt| Test::new(seed.wrapping_add(salt)))
            .take(directions)
            .collect();
        self.novelty = Novelty::new(seed.wrapping_add(SALT_OF_NOVELTY));
    }

    /// Takes in one question, in the order of time.
    ///
    /// Numbers that are not finite are passed over.
    pub fn observe(&mut self, question: &Question<'_>) -> Observed {
        if question
            .conversation
            .is_some_and(|id| !self.asked.insert(id))
        {
            return Observed::default();
        }
        self.questions += 1;
        let mut alarms = self.observe_decision(question);
        if self.config.features {
            alarms.extend(self.observe_features(question));
        }
        Observed {
            counts: true,
            alarms,
        }
    }

    fn observe_features(&mut self, question: &Question<'_>) -> Vec<Alarm> {
        let mut alarms = Vec::new();
        let level = self.level(self.feature_share());
        for (at, (test, value)) in self.features.iter_mut().zip(question.features).enumerate() {
            let found = test.observe(row(question, *value), level);
            alarms.extend(found.map(|change| change.of(Signal::Feature(at), None)));
        }
        let level = self.level(NOVELTY_SHARE);
        let found = self
            .novelty
            .observe(question.at_ms, question.features, level);
        alarms.extend(found.map(|change| change.of(Signal::Novelty, None)));
        alarms
    }

    fn observe_decision(&mut self, question: &Question<'_>) -> Vec<Alarm> {
        let refused = if question.refused { 1.0 } else { 0.0 };
        let [confidence, out_of_domain, strangeness] =
            [CONFIDENCE_SHARE, OUT_OF_DOMAIN_SHARE, STRANGENESS_SHARE].map(|it| self.level(it));
        let tests = self.decisions_of(question.router);
        let found = [
            (
                Signal::Confidence,
                tests
                    .confidence
                    .observe(row(question, question.confidence), confidence),
            ),
            (
                Signal::OutOfDomain,
                tests.refused.observe(row(question, refused), out_of_domain),
            ),
            (
                Signal::Strangeness,
                question
                    .strangeness
                    .and_then(|value| tests.strangeness.observe(row(question, value), strangeness)),
            ),
        ];
        let found = found.into_iter();
        found
            .filter_map(|(signal, change)| Some(change?.of(signal, Some(question.router))))
            .collect()
    }

    /// The tests of a router, which decides now.
    fn decisions_of(&mut self, router: &RouterId) -> &mut Decisions {
        if !self.routers.contains_key(router) && self.routers.len() >= ROUTERS_MAX {
            let oldest = self.routers.iter().min_by_key(|(_, tests)| tests.last);
            if let Some(id) = oldest.map(|(id, _)| id.clone()) {
                self.routers.remove(&id);
            }
        }
        let seed = self.config.seed;
        let tests = self
            .routers
            .entry(router.clone())
            .or_insert_with(|| Decisions::new(seed));
        tests.last = self.questions;
        tests
    }

    /// Takes in what became of one question, in the order of time.
    ///
    /// Several experts may be judged by one question; each is a row of its own test.
    pub fn observe_success(&mut self, judged: &Judged<'_>) -> Observed {
        if judged
            .conversation
            .is_some_and(|id| !self.judged.insert(id))
        {
            return Observed::default();
        }
        let share = SUCCESS_SHARE / self.successes.rows_per_question();
        let level = Level {
            reference_rows: self.config.success_reference_rows,
            ..self.level(share)
        };
        self.successes.questions += u64::from(!judged.experts.is_empty());
        let mut alarms = Vec::new();
        for (expert, success) in judged.experts {
            let row = Row {
                at_ms: judged.at_ms,
                value: *success,
            };
            let Some(test) = self.success_test(judged.category, expert) else {
                continue;
            };
            let change = test.observe(row, level);
            self.successes.rows += 1;
            let signal = || Signal::Success {
                category: judged.category.clone(),
                expert: expert.clone(),
            };
            alarms.extend(change.map(|change| change.of(signal(), None)));
        }
        Observed {
            counts: true,
            alarms,
        }
    }

    /// What the tests compare with, of those of one router and those that are no router's.
    pub fn references(&self, router: &RouterId) -> Vec<Reference> {
        let needs = self.config.reference_rows;
        let of = |signal, test: &Test, router: Option<&RouterId>, needs| Reference {
            signal,
            router: router.cloned(),
            rows: test.reference(needs),
            needs,
        };
        let mut references = Vec::new();
        if let Some((id, tests)) = self.routers.get_key_value(router) {
            let id = Some(id);
            references.extend([
                of(Signal::Confidence, &tests.confidence, id, needs),
                of(Signal::OutOfDomain, &tests.refused, id, needs),
                of(Signal::Strangeness, &tests.strangeness, id, needs),
            ]);
        }
        let features = self.features.iter().enumerate();
        references.extend(features.map(|(at, test)| of(Signal::Feature(at), test, None, needs)));
        if self.config.features {
            references.push(Reference {
                signal: Signal::Novelty,
                router: None,
                rows: self.novelty.reference(needs),
                needs,
            });
        }
        let needs = self.config.success_reference_rows;
        for (category, experts) in &self.success {
            references.extend(experts.iter().map(|(expert, test)| {
                let (category, expert) = (category.clone(), expert.clone());
                of(Signal::Success { category, expert }, test, None, needs)
            }));
        }
        references
    }

    /// The test of a cell; none if it is one too many.
    fn success_test(&mut self, category: &CategoryId, expert: &ExpertId) -> Option<&mut Test> {
        let known = self.success.get(category);
        if !known.is_some_and(|experts| experts.contains_key(expert)) {
            let cells: usize = self.success.values().map(BTreeMap::len).sum();
            if cells >= CELLS_MAX {
                return None;
            }
            let salt = SALT_OF_NOVELTY + 1 + cells as u64;
            let test = Test::new(self.config.seed.wrapping_add(salt));
            let experts = self.success.entry(category.clone()).or_default();
            experts.insert(expert.clone(), test);
        }
        self.success.get_mut(category)?.get_mut(expert)
    }

    /// What the tests were made with.
    pub fn config(&self) -> &DriftConfig {
        &self.config
    }

    /// The level of a test that may raise a share of the false alarms.
    fn level(&self, share: f64) -> Level {
        Level {
            alarm: self.config.questions_per_false_alarm / share,
            reference_rows: self.config.reference_rows,
        }
    }

    fn feature_share(&self) -> f64 {
        let others = [
            CONFIDENCE_SHARE,
            OUT_OF_DOMAIN_SHARE,
            SUCCESS_SHARE,
            STRANGENESS_SHARE,
            NOVELTY_SHARE,
        ];
        (1.0 - others.iter().sum::<f64>()) / self.features.len().max(1) as f64
    }
}

fn row(question: &Question<'_>, value: f32) -> Row {
    Row {
        at_ms: question.at_ms,
        value,
    }
}
