//! Whether a canary is worse than the champion, asked after every outcome. Pure.
//!
//! Whoever looks at a test of fixed size again and again will at some time find any canary worse. What is said here holds at
//! every moment at once: over a run without end, the share of canaries as good as the champion that are ever called worse
//! is at most the level asked for.
//!
//! Outcomes are gathered into blocks. A block ends with the first outcome that leaves it with outcomes of both arms, so that
//! where it ends depends on the arms alone; what counts is its canary mean less its champion mean, between −1 and 1. A
//! comparison within a block is a comparison at one time of the day, whatever share of the traffic the canary has and
//! however seldom an outcome becomes known (blocks: Turner, Ly and Grünwald, "Generic E-variables for exact sequential
//! k-sample tests that allow for optional stopping", Journal of Statistical Planning and Inference 2024). It is assumed
//! that the arm of a question is drawn by chance, and that outcomes of different questions do not hang together.
//!
//! - **Worse** is found by betting: capital of 1 is put on every block's difference being negative, in several shares at
//!   once, and grows on average only if it is. By Ville's inequality it ever reaches 1 / α with a probability of at most α
//!   (Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", Journal of the Royal Statistical
//!   Society B 2023; for two samples, Shekhar and Ramdas, "Nonparametric two-sample testing by betting", IEEE Transactions
//!   on Information Theory 2023).
//! - **The difference** is given with the predictable plug-in empirical-Bernstein confidence sequence of the former (its
//!   theorem 2), which holds the truth at all times at once with probability 1 − α.

use serde::{Deserialize, Serialize};

/// Shares of the capital that are bet. A difference of δ is found fastest by about δ / variance; these serve from the
/// smallest difference that is worth finding to the greatest, each within a factor of 1.3 of the best.
const STAKES: [f64; 10] = [0.02, 0.03, 0.05, 0.08, 0.13, 0.2, 0.3, 0.45, 0.65, 0.9];

/// The greatest weight of a block in the confidence sequence; below 1, and one half as its authors advise.
const WEIGHT_MAX: f64 = 0.5;

/// Who answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arm {
    /// What is in force.
    Champion,
    /// What is being tried on a share of the traffic.
    Canary,
}

/// What the outcomes so far say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Nothing is certain: go on.
    Open,
    /// The canary is worse. This is final.
    Worse {
        /// After how many outcomes of both arms that was certain.
        outcomes: u64,
    },
}

/// The canary's mean outcome less the champion's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The mean over all blocks, −1 to 1.
    pub mean: f64,
    /// It is at least this, −1 to 1; at all times at once with the confidence asked for.
    pub low: f64,
    /// It is at most this, likewise.
    pub high: f64,
}

/// Why a test cannot begin, or an outcome cannot be counted.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum Unusable {
    /// The level is not between 0 and 1.
    #[error("the level is {alpha}; must lie between 0 and 1")]
    Alpha {
        /// The level.
        alpha: f64,
    },
    /// The outcome is not between 0 and 1.
    #[error("the outcome is {outcome}; must be between 0 and 1")]
    Outcome {
        /// The outcome.
        outcome: f64,
    },
}

/// A test that is under way: plain data of constant size, to be stored and gone on with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SequentialTest {
    alpha: f64,
    outcomes: u64,
    standing: Standing,
    /// The block in the making.
    champion: Sum,
    canary: Sum,
    /// Logarithm of the capital that every stake has become.
    log_capitals: [f64; STAKES.len()],
    sequence: Sequence,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Sum {
    total: f64,
    count: u64,
}

/// The sums of the empirical-Bernstein confidence sequence, over differences moved and scaled to lie between 0 and 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Sequence {
    blocks: u64,
    total: f64,
    squares: f64,
    weights: f64,
    weighted: f64,
    doubt: f64,
}

impl SequentialTest {
    /// A test that has seen nothing. `alpha`: how often a canary as good as the champion may be called worse, over a run
    /// without end; 0.05 is usual.
    ///
    /// # Errors
    /// The level does not lie between 0 and 1.
    pub fn new(alpha: f64) -> Result<Self, Unusable> {
        if !(alpha > 0.0 && alpha < 1.0) {
            return Err(Unusable::Alpha { alpha });
        }
        Ok(Self {
            alpha,
            outcomes: 0,
            standing: Standing::Open,
            champion: Sum::default(),
            canary: Sum::default(),
            log_capitals: [0.0; STAKES.len()],
            sequence: Sequence::default(),
        })
    }

    /// Counts an outcome, 0 (the worst) to 1, and says how things stand. Takes the same short time however many came before.
    ///
    /// # Errors
    /// The outcome is not between 0 and 1; it is not counted then.
    pub fn observe(&mut self, arm: Arm, outcome: f64) -> Result<Standing, Unusable> {
        if !(0.0..=1.0).contains(&outcome) {
            return Err(Unusable::Outcome { outcome });
        }
        self.outcomes += 1;
        match arm {
            Arm::Champion => self.champion.add(outcome),
            Arm::Canary => self.canary.add(outcome),
        }
        if let (Some(champion), Some(canary)) = (self.champion.mean(), self.canary.mean()) {
            self.end_block(canary - champion);
        }
        Ok(self.standing)
    }

    /// How things stand.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// Outcomes counted, of both arms.
    pub fn outcomes(&self) -> u64 {
        self.outcomes
    }

    /// How much worse or better the canary is; None before both arms had an outcome.
    pub fn difference(&self) -> Option<Difference> {
        self.sequence.difference(self.alpha)
    }

    fn end_block(&mut self, difference: f64) {
        self.champion = Sum::default();
        self.canary = Sum::default();
        self.sequence.add(difference, self.alpha);
        for (log_capital, stake) in self.log_capitals.iter_mut().zip(STAKES) {
            *log_capital += (-stake * difference).ln_1p();
        }
        if self.standing == Standing::Open && self.log_capital() >= -self.alpha.ln() {
            self.standing = Standing::Worse {
                outcomes: self.outcomes,
            };
        }
    }

    /// Logarithm of what an even split of the capital among the stakes has become.
    fn log_capital(&self) -> f64 {
        let greatest = self.log_capitals.into_iter().fold(f64::MIN, f64::max);
        let shares = self.log_capitals.map(|log| (log - greatest).exp());
        greatest + (shares.iter().sum::<f64>() / STAKES.len() as f64).ln()
    }
}

impl Sum {
    fn add(&mut self, outcome: f64) {
        self.total += outcome;
        self.count += 1;
    }

    fn mean(self) -> Option<f64> {
        (self.count > 0).then(|| self.total / self.count as f64)
    }
}

impl Sequence {
    /// Mean and variance that weigh a block are those of the blocks before it, begun with one half and one quarter.
    fn add(&mut self, difference: f64, alpha: f64) {
        let value = f64::midpoint(difference, 1.0);
        let count = self.blocks as f64;
        let mean_before = (0.5 + self.total) / (count + 1.0);
        let variance_before = (0.25 + self.squares) / (count + 1.0);
        let block = count + 1.0;
        let weight = (2.0 * (2.0 / alpha).ln() / (variance_before * block * block.ln_1p()))
            .sqrt()
            .min(WEIGHT_MAX);
        let surprise = (value - mean_before).powi(2);
        self.blocks += 1;
        self.total += value;
        let mean = (0.5 + self.total) / (block + 1.0);
        self.squares += (value - mean).powi(2);
        self.weights += weight;
        self.weighted += weight * value;
        // Four times the surprise, times a quarter of −ln(1 − weight) − weight.
        self.doubt += surprise * (-(-weight).ln_1p() - weight);
    }

    fn difference(&self, alpha: f64) -> Option<Difference> {
        if self.blocks == 0 {
            return None;
        }
        let middle = self.weighted / self.weights;
        let half = ((2.0 / alpha).ln() + self.doubt) / self.weights;
        let back = |value: f64| (2.0 * value - 1.0).clamp(-1.0, 1.0);
        Some(Difference {
            mean: back(self.total / self.blocks as f64),
            low: back(middle - half),
            high: back(middle + half),
        })
    }
}

#[cfg(test)]
mod tests;
