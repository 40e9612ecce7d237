//! Whether the questions, or what becomes of them, are still what the router was made for. Pure.
//!
//! One test watches each of: the router's confidence, the share of questions that it refused as out of domain or unsure, how
//! strange questions are, where their vectors point, and the success of each expert in each category. A test ranks each
//! question among all those before it. As long as nothing changes, its rank is as likely to be any as any other, whatever the
//! distribution is and however few rows the reference has: conformal p-values are independent and even (Vovk, Gammerman and
//! Shafer, "Algorithmic Learning in a Random World", 2005). Bets on the ranks that a change would bring multiply into evidence
//! (Vovk, "Testing Randomness Online", Statistical Science 2021), taken from the likeliest beginning of the change: CUSUM of
//! e-values (Shin, Ramdas and Rinaldo, "E-detectors: a nonparametric framework for sequential change detection", 2022).
//!
//! The promise. Evidence from the likeliest beginning is at most the sum over all beginnings. Without a change that sum less
//! the rows that a test has seen is a martingale, and an alarm takes the alarm's level out of it. So a test of level c raises at
//! most T / c alarms in T rows on average, restarts included. The levels are such that these bounds add up to
//! T / [`DriftConfig::questions_per_false_alarm`] over all tests, however they depend on each other: a mean of a sum needs no
//! independence. Tests of success share one level, since a question is a row of one of them only. Since the sum is larger than
//! what is used, there are fewer alarms than promised.
//!
//! What it costs: a reference of few rows shows a change later, since the rows after the change soon weigh as much.
//!
//! What it rests on: rows that could have come in any other order. Questions of one conversation could not, so only the first
//! of each counts ([`Question::conversation`]). Waves that are longer than the reference, such as quiet weekends after a
//! reference of weekdays, are changes, and are reported as such.

mod alarm;
mod bets;
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
    recent::Recent,
    test::{Level, Row, Test},
};
use crate::ids::{CategoryId, ExpertId};

pub use self::{
    alarm::{Alarm, Signal},
    projection::{DIRECTIONS, project},
};

/// Pairs of category and expert whose success is watched: a bound on the memory. Further ones are passed over.
pub const CELLS_MAX: usize = 4_096;

/// Most directions of vectors that are watched.
pub const FEATURES_MAX: usize = 16;

/// Share of the false alarms that each kind of test may raise; the rest goes to the features, evenly. More for those whose
/// changes take longest to show.
const CONFIDENCE_SHARE: f64 = 0.15;
const OUT_OF_DOMAIN_SHARE: f64 = 0.3;
const SUCCESS_SHARE: f64 = 0.4;
const STRANGENESS_SHARE: f64 = 0.1;

/// What decides how soon a change is reported.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DriftConfig {
    /// Without a change, all tests together raise at most one alarm in so many questions on average.
    pub questions_per_false_alarm: f64,
    /// Questions that a test takes as its reference before it reports anything.
    pub reference_rows: usize,
    /// The same of the success of one expert in one category.
    pub success_reference_rows: usize,
    /// Numbers in [`Question::features`], at most [`FEATURES_MAX`].
    pub features: usize,
    /// Of the random numbers that break ties between equal rows.
    pub seed: u64,
}

impl Default for DriftConfig {
    fn default() -> Self {
        Self {
            questions_per_false_alarm: 20_000.0,
            reference_rows: 1_000,
            success_reference_rows: 200,
            features: 0,
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
    /// The router's confidence, 0 to 1.
    pub confidence: f32,
    /// Whether the router refused it, as out of domain or unsure.
    pub refused: bool,
    /// How strange it is, on any scale that stays the same.
    pub strangeness: Option<f32>,
    /// Where its vector points, [`DriftConfig::features`] numbers, such as those of [`project`]; none where it has none.
    pub features: &'a [f32],
}

/// What became of one question.
#[derive(Clone, Copy, Debug)]
pub struct Judged<'a> {
    /// When it came, milliseconds since 1970.
    pub at_ms: i64,
    /// What it was about.
    pub category: &'a CategoryId,
    /// Who answered.
    pub expert: &'a ExpertId,
    /// How good the answer was, 0 to 1.
    pub success: f32,
}

/// All tests, in the middle of their work: plain data that is written down and read again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    config: DriftConfig,
    recent: Recent,
    confidence: Test,
    refused: Test,
    strangeness: Test,
    features: Vec<Test>,
    success: BTreeMap<CategoryId, BTreeMap<ExpertId, Test>>,
}

impl Drift {
    /// Tests that have seen nothing. To begin with rows that were held back in training, offer them first.
    pub fn new(config: DriftConfig) -> Self {
        let features = config.features.min(FEATURES_MAX);
        Self {
            config,
            recent: Recent::default(),
            confidence: Test::new(config.seed),
            refused: Test::new(config.seed.wrapping_add(1)),
            strangeness: Test::new(config.seed.wrapping_add(2)),
            features: (3..)
                .map(|salt| Test::new(config.seed.wrapping_add(salt)))
                .take(features)
                .collect(),
            success: BTreeMap::new(),
        }
    }

    /// Takes in one question, in the order of time; the alarms that it sets off.
    ///
    /// Numbers that are not finite are passed over.
    pub fn observe(&mut self, question: &Question<'_>) -> Vec<Alarm> {
        let mut alarms = Vec::new();
        if question
            .conversation
            .is_some_and(|id| !self.recent.insert(id))
        {
            return alarms;
        }
        let row = |value: f32| Row {
            at_ms: question.at_ms,
            value,
        };
        let refused = if question.refused { 1.0 } else { 0.0 };
        let confidence = self.level(CONFIDENCE_SHARE);
        let out_of_domain = self.level(OUT_OF_DOMAIN_SHARE);
        let strangeness = self.level(STRANGENESS_SHARE);
        let feature = self.level(self.feature_share());
        let found = self
            .confidence
            .observe(row(question.confidence), confidence);
        alarms.extend(found.map(|change| change.of(Signal::Confidence)));
        let found = self.refused.observe(row(refused), out_of_domain);
        alarms.extend(found.map(|change| change.of(Signal::OutOfDomain)));
        if let Some(value) = question.strangeness {
            let found = self.strangeness.observe(row(value), strangeness);
            alarms.extend(found.map(|change| change.of(Signal::Strangeness)));
        }
        for (at, (test, value)) in self.features.iter_mut().zip(question.features).enumerate() {
            let found = test.observe(row(*value), feature);
            alarms.extend(found.map(|change| change.of(Signal::Feature(at))));
        }
        alarms
    }

    /// Takes in what became of one question, in the order of time; the alarm that it sets off.
    ///
    /// Offer one question of a conversation: what becomes of the others is no independent evidence.
    pub fn observe_success(&mut self, judged: &Judged<'_>) -> Option<Alarm> {
        let level = Level {
            reference_rows: self.config.success_reference_rows,
            ..self.level(SUCCESS_SHARE)
        };
        let test = self.success_test(judged)?;
        let row = Row {
            at_ms: judged.at_ms,
            value: judged.success,
        };
        let change = test.observe(row, level)?;
        Some(change.of(Signal::Success {
            category: judged.category.clone(),
            expert: judged.expert.clone(),
        }))
    }

    /// The test of a cell; none if it is one too many.
    fn success_test(&mut self, judged: &Judged<'_>) -> Option<&mut Test> {
        let known = self.success.get(judged.category);
        if !known.is_some_and(|experts| experts.contains_key(judged.expert)) {
            let cells: usize = self.success.values().map(BTreeMap::len).sum();
            if cells >= CELLS_MAX {
                return None;
            }
            let salt = (3 + FEATURES_MAX + cells) as u64;
            let test = Test::new(self.config.seed.wrapping_add(salt));
            let experts = self.success.entry(judged.category.clone()).or_default();
            experts.insert(judged.expert.clone(), test);
        }
        self.success
            .get_mut(judged.category)?
            .get_mut(judged.expert)
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
        let others = CONFIDENCE_SHARE + OUT_OF_DOMAIN_SHARE + SUCCESS_SHARE + STRANGENESS_SHARE;
        (1.0 - others) / self.features.len().max(1) as f64
    }
}
