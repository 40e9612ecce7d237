//! Logs of a house whose true values are known: experts differ, more so in some categories, and traffic is uneven.

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use crate::off_policy::Logged;

pub(crate) const EXPERTS: usize = 11;
pub(crate) const CATEGORIES: usize = 12;

/// How answers are graded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Grades {
    /// Right or wrong.
    Binary,
    /// In quarters, as a judge does.
    Quarters,
}

/// What is true.
pub(crate) struct House {
    traffic: Vec<f64>,
    /// Mean rewards, experts within categories.
    means: Vec<f64>,
    pub(crate) logging: Vec<usize>,
    pub(crate) target: Vec<usize>,
}

impl House {
    /// A target that differs from the logging mapping in so many categories.
    pub(crate) fn new(seed: u64, differing: usize) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let sizes: Vec<f64> = (0..CATEGORIES).map(|at| 1.0 / (at as f64 + 3.0)).collect();
        let all: f64 = sizes.iter().sum();
        let levels: Vec<f64> = (0..EXPERTS)
            .map(|_| random.random_range(0.35..0.75))
            .collect();
        let means: Vec<f64> = (0..CATEGORIES * EXPERTS)
            .map(|at| levels[at % EXPERTS] + random.random_range(-0.2..0.2))
            .collect();
        let pick = |random: &mut SmallRng, category: usize| {
            let mean = |expert: usize| means[category * EXPERTS + expert];
            let two = [0, 1, 2].map(|_| random.random_range(0..EXPERTS));
            let best = two.into_iter().max_by(|a, b| mean(*a).total_cmp(&mean(*b)));
            best.unwrap_or_default()
        };
        let logging: Vec<usize> = (0..CATEGORIES).map(|c| pick(&mut random, c)).collect();
        let mut target = logging.clone();
        // Every third category and so on, so that large and small ones change.
        for at in 0..differing {
            let category = (at * 3 + at / 4) % CATEGORIES;
            while target[category] == logging[category] {
                target[category] = pick(&mut random, category);
            }
        }
        Self {
            traffic: sizes.iter().map(|size| size / all).collect(),
            means,
            logging,
            target,
        }
    }

    pub(crate) fn mean(&self, category: usize, expert: usize) -> f64 {
        self.means[category * EXPERTS + expert]
    }

    /// What the target mapping is worth.
    pub(crate) fn value(&self) -> f64 {
        let categories = self.traffic.iter().zip(&self.target).enumerate();
        categories
            .map(|(category, (share, expert))| share * self.mean(category, *expert))
            .sum()
    }

    /// What the logging mapping wrote down, with so much of the traffic sent to another expert; two rows a conversation.
    pub(crate) fn log(&self, rows: usize, explore: f64, grades: Grades, seed: u64) -> Vec<Logged> {
        let mut random = SmallRng::seed_from_u64(seed);
        let row = |at: usize| {
            let category = self.category(random.random());
            let favourite = self.logging[category];
            let (expert, propensity) = if random.random::<f64>() < explore {
                let other = random.random_range(1..EXPERTS);
                let propensity = explore / (EXPERTS - 1) as f64;
                ((favourite + other) % EXPERTS, propensity)
            } else {
                (favourite, 1.0 - explore)
            };
            Logged {
                category,
                expert,
                reward: grade(grades, self.mean(category, expert), &mut random),
                propensity: Some(propensity),
                cluster: at as u64 / 2,
            }
        };
        (0..rows).map(row).collect()
    }

    fn category(&self, uniform: f64) -> usize {
        let mut below = 0.0;
        let is_here = |share: &f64| {
            below += share;
            uniform < below
        };
        self.traffic
            .iter()
            .position(is_here)
            .unwrap_or(CATEGORIES - 1)
    }
}

fn grade(grades: Grades, mean: f64, random: &mut SmallRng) -> f64 {
    let mut right = |_| f64::from(u8::from(random.random::<f64>() < mean));
    match grades {
        Grades::Binary => right(0),
        Grades::Quarters => (0..4).map(right).sum::<f64>() / 4.0,
    }
}

/// A draw that depends on the seed alone.
pub(crate) fn uniform(seed: u64) -> f64 {
    SmallRng::seed_from_u64(seed).random()
}
