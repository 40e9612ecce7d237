//! Questions from a world that changes when it is told to.

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::super::{Alarm, Drift, DriftConfig, Judged, Question};
use crate::{
    ids::{CategoryId, ExpertId, RouterId},
    router::narrow,
};

const CATEGORIES: usize = 12;

/// What questions are like.
#[derive(Clone, Copy)]
pub(super) struct World {
    /// Of the log-odds of the confidence, whose deviation is 1.
    pub confidence_logit: f64,
    /// Share of questions that are refused.
    pub refused: f64,
    /// How far strangeness has moved, in deviations.
    pub stranger: f64,
    /// Questions of the same category in a row; their confidences are alike, and so is what becomes of them.
    pub burst: usize,
    /// Share of questions that an expert fails on, so that another is asked as well.
    pub failing: f64,
}

/// The log-odds at which the mean confidence is 0.85.
pub(super) const LOGIT_085: f64 = 2.03;
/// The log-odds at which the mean confidence is 0.78.
pub(super) const LOGIT_078: f64 = 1.486;

impl Default for World {
    fn default() -> Self {
        Self {
            confidence_logit: LOGIT_085,
            refused: 0.04,
            stranger: 0.0,
            burst: 1,
            failing: 0.0,
        }
    }
}

/// A world's questions, one after another, and the tests that watch them.
pub(super) struct House {
    random: StdRng,
    pub drift: Drift,
    now: i64,
    category: usize,
    left: usize,
    conversation: u64,
    mood: f64,
    router: RouterId,
    cells: Vec<(CategoryId, ExpertId)>,
    /// Whether questions name their conversation.
    pub named: bool,
}

impl House {
    pub(super) fn new(seed: u64) -> Self {
        Self::of_level(seed, DriftConfig::default().questions_per_false_alarm)
    }

    pub(super) fn of_level(seed: u64, questions_per_false_alarm: f64) -> Self {
        Self::with(
            seed,
            DriftConfig {
                features: true,
                seed,
                questions_per_false_alarm,
                ..DriftConfig::default()
            },
        )
    }

    fn with(seed: u64, config: DriftConfig) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            drift: Drift::new(config),
            now: 0,
            category: 0,
            left: 0,
            conversation: 0,
            mood: 0.0,
            router: RouterId::new("router"),
            cells: (0..CATEGORIES).map(names).collect(),
            named: true,
        }
    }

    /// Asks `count` questions; the alarms.
    pub(super) fn ask(&mut self, world: &World, count: usize) -> Vec<Alarm> {
        (0..count).flat_map(|_| self.ask_one(world)).collect()
    }

    pub(super) fn ask_one(&mut self, world: &World) -> Vec<Alarm> {
        self.now += 1;
        if self.left == 0 {
            self.category = self.random.random_range(0..CATEGORIES);
            self.left = if world.burst > 1 {
                self.random.random_range(3..=world.burst)
            } else {
                1
            };
            self.conversation += 1;
            self.mood = normal(&mut self.random);
        }
        self.left -= 1;
        let alike = if world.burst > 1 { 0.7 } else { 0.0 };
        let noise = normal(&mut self.random);
        let mood = alike * self.mood + f64::sqrt(1.0 - alike * alike) * noise;
        let own = self.category as f64 / CATEGORIES as f64 - 0.46;
        let strangeness = world.stranger - 0.5 * mood + normal(&mut self.random);
        let features: [f32; 4] = std::array::from_fn(|at| {
            let leaning = own * [1.0, -1.0, 2.0, 0.0][at];
            narrow(leaning + normal(&mut self.random))
        });
        // Those of low confidence are refused more often.
        let refused_share = (world.refused * 2.0 * logistic(-mood)).min(1.0);
        let question = Question {
            at_ms: self.now,
            conversation: self.named.then_some(self.conversation),
            router: &self.router,
            confidence: narrow(logistic(world.confidence_logit + mood)),
            refused: self.random.random_bool(refused_share),
            strangeness: Some(narrow(strangeness)),
            features: &features,
        };
        let mut alarms = self.drift.observe(&question).alarms;
        // As with what is read from the store, every question of a conversation is offered.
        let alike = if world.burst > 1 { 0.8 } else { 0.0 };
        let usual = 0.55 + 0.03 * self.category as f64;
        let success = usual + alike * (logistic(2.0 * self.mood) - 0.5);
        let failed = world.failing > 0.0 && self.random.random_bool(world.failing);
        let conversation = self.named.then_some(self.conversation);
        alarms.extend(self.judge(success.clamp(0.0, 1.0), failed, conversation));
        alarms
    }

    /// Judges one answer in the category in hand, right with the given probability.
    pub(super) fn judge_at(&mut self, success: f64) -> Vec<Alarm> {
        self.judge(success, false, None)
    }

    fn judge(&mut self, success: f64, failed: bool, conversation: Option<u64>) -> Vec<Alarm> {
        let right = self.random.random_bool(success);
        let (category, expert) = &self.cells[self.category];
        let answered = (expert.clone(), if right { 1.0 } else { 0.0 });
        let mut experts = vec![answered];
        if failed {
            let other = ExpertId::new("fallback");
            experts = vec![(expert.clone(), 0.0), (other, experts[0].1)];
        }
        let judged = Judged {
            at_ms: self.now,
            conversation,
            category,
            experts: &experts,
        };
        self.drift.observe_success(&judged).alarms
    }
}

fn names(category: usize) -> (CategoryId, ExpertId) {
    (
        CategoryId::new(format!("category_{category}")),
        ExpertId::new("expert"),
    )
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

pub(super) fn normal(random: &mut StdRng) -> f64 {
    let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * random.random::<f64>()).cos()
}

/// The middle of what was measured; the more of two.
pub(super) fn median(mut numbers: Vec<usize>) -> usize {
    numbers.sort_unstable();
    numbers[numbers.len() / 2]
}
