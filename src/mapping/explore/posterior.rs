//! What is known of how good an expert's answers are in one category.

use std::sync::LazyLock;

use statrs::function::beta::beta_reg;

/// Bins that rewards from 0 to 1 are told apart by.
const BINS: usize = 256;

/// Gauss and Legendre's two places within a bin, of equal weight.
const PLACES: [f64; 2] = [0.211_324_865_405_187_1, 0.788_675_134_594_812_9];

/// Places that are summed over, in all bins.
pub(super) const NODES: usize = BINS * PLACES.len();

/// Rewards of 1, and as many of 0, that every expert starts with: nothing is known.
const PRIOR: f64 = 1.0;

/// Rows after which more of them only move the mean: the distribution is then a few bins wide.
const ROWS_MAX: f64 = 4_000.0;

/// Probabilities below this are as good as none; products of a dozen of them are still numbers that count fast.
const LEAST: f64 = 1e-15;

/// The rewards of one expert in one category.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// Their sum, each 0 to 1.
    pub rewards: f64,
    /// Their number.
    pub rows: f64,
}

/// The distribution of an expert's true mean reward in one category: Beta, from its rewards and a weak prior.
///
/// A graded reward counts as that share of a right answer. Graded rewards vary less than right and wrong ones, so it is
/// rather too wide than too narrow. It is kept as tables, which take some hundred microseconds to make: they are made when
/// rewards have come in and not when a question does.
#[derive(Clone, Debug, PartialEq)]
pub struct Posterior {
    below: Box<[f64]>,
    arriving: Box<[f64]>,
}

impl Posterior {
    /// What rewards say.
    pub fn of(tally: &Tally) -> Self {
        let counted = (ROWS_MAX / tally.rows.max(1.0)).min(1.0);
        let right = PRIOR + counted * tally.rewards.max(0.0);
        let wrong = PRIOR + counted * (tally.rows - tally.rewards).max(0.0);
        let below_edge = |edge: usize| beta_reg(right, wrong, edge as f64 / BINS as f64);
        let edges: Vec<f64> = (0..=BINS).map(below_edge).collect();
        let nodes = || {
            edges.windows(2).flat_map(|ends| {
                let within = (ends[1] - ends[0]).max(0.0);
                PLACES.map(|place| (within, (ends[0] + within * place).max(LEAST)))
            })
        };
        Self {
            below: nodes().map(|(_, below)| below).collect(),
            arriving: nodes().map(|(within, below)| within / below).collect(),
        }
    }

    /// What is known of an expert without rewards.
    pub fn unknown() -> &'static Self {
        static UNKNOWN: LazyLock<Posterior> = LazyLock::new(|| Posterior::of(&Tally::default()));
        &UNKNOWN
    }

    /// Probability of a mean reward below each place; above 0.
    pub(super) fn below(&self) -> &[f64] {
        &self.below
    }

    /// Probability of a mean reward in the bin of each place, over that of one below the place.
    pub(super) fn arriving(&self) -> &[f64] {
        &self.arriving
    }
}
