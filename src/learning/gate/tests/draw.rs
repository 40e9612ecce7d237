//! Rows as two routers might judge them.

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use super::super::{Row, Said};
use crate::ids::{CategoryId, OUT_OF_DOMAIN};

/// Share of each category, in thousandths, from a fifth of the rows down to 40 of 2,000.
const SHARES: [u32; 12] = [200, 150, 120, 95, 75, 65, 55, 45, 40, 30, 25, 20];

/// Thousandths of the rows that are out of domain: what the categories leave.
const STRANGE: usize = SHARES.len();

/// The category that has 150 of 2,000 rows.
pub(super) const OF_150: usize = 4;

/// The champion's accuracy.
const ACCURACY: f64 = 0.8;

/// How far the strange lie from the known, in deviations of what both routers see alike.
const STRANGENESS: f64 = 2.0;

/// Deviation of what only one of the two sees in a row.
const DISAGREEMENT: f64 = 0.4;

/// How often, in each class, only the challenger is right, and only the champion.
#[derive(Clone, Copy)]
pub(super) struct Rates([(f64, f64); SHARES.len() + 1]);

impl Rates {
    pub(super) fn even(gain: f64, loss: f64) -> Self {
        Self([(gain, loss); SHARES.len() + 1])
    }

    pub(super) fn but(mut self, category: usize, gain: f64, loss: f64) -> Self {
        self.0[category] = (gain, loss);
        self
    }

    /// By how much the challenger's accuracy is greater, over all rows.
    fn gain(&self) -> f64 {
        let strange = 1000 - SHARES.iter().sum::<u32>();
        let shares = SHARES.into_iter().chain([strange]).map(f64::from);
        let gains = shares
            .zip(self.0)
            .map(|(share, (gain, loss))| share * (gain - loss));
        gains.sum::<f64>() / 1000.0
    }
}

pub(super) struct World {
    rates: Rates,
    gain: f64,
    labels: Vec<CategoryId>,
    rows_per_conversation: u64,
    has_like_confidences: bool,
}

impl World {
    pub(super) fn new(rates: Rates) -> Self {
        let categories = (0..STRANGE).map(|class| CategoryId::new(format!("category-{class}")));
        Self {
            rates,
            gain: rates.gain(),
            labels: categories.chain([CategoryId::new(OUT_OF_DOMAIN)]).collect(),
            rows_per_conversation: 1,
            has_like_confidences: false,
        }
    }

    /// All rows of a conversation are alike: of one category, and won or lost together.
    pub(super) fn with_conversations(self, rows_per_conversation: u64) -> Self {
        Self {
            rows_per_conversation,
            ..self
        }
    }

    /// Where both are right, or both wrong, they are as sure of it: as routers are of which one learnt what the other knew.
    pub(super) fn with_like_confidences(self) -> Self {
        Self {
            has_like_confidences: true,
            ..self
        }
    }

    pub(super) fn rows(&self, rows: usize, seed: u64) -> Vec<Row> {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut drawn = Vec::with_capacity(rows);
        let mut conversation = 0;
        while drawn.len() < rows {
            let class = class(&mut random);
            let right = self.right(class, &mut random);
            for _ in 0..self.rows_per_conversation {
                drawn.push(self.row(class, right, conversation, &mut random));
            }
            conversation += 1;
        }
        drawn
    }

    /// Whether the champion is right, and whether the challenger is.
    fn right(&self, class: usize, random: &mut SmallRng) -> [bool; 2] {
        let (gain, loss) = self.rates.0[class];
        let at = random.random::<f64>();
        if at < gain {
            [false, true]
        } else if at < gain + loss {
            [true, false]
        } else {
            [at < ACCURACY + gain; 2]
        }
    }

    fn row(&self, class: usize, right: [bool; 2], conversation: u64, random: &mut SmallRng) -> Row {
        let seen = normal(random) + if class == STRANGE { STRANGENESS } else { 0.0 };
        let mut said = |is_right, accuracy| {
            let confidence = confidence(is_right, accuracy, random);
            Said {
                is_right,
                is_routed: class != STRANGE || !is_right,
                confidence,
                brier: brier(is_right, confidence),
                out_of_domain: seen + DISAGREEMENT * normal(random),
            }
        };
        let champion = said(right[0], ACCURACY);
        let challenger = said(right[1], ACCURACY + self.gain);
        let is_alike = self.has_like_confidences && right[0] == right[1];
        Row {
            label: self.labels[class].clone(),
            conversation,
            is_newest: false,
            is_taken: false,
            champion,
            challenger: Said {
                confidence: if is_alike {
                    champion.confidence
                } else {
                    challenger.confidence
                },
                brier: if is_alike {
                    champion.brier
                } else {
                    challenger.brier
                },
                ..challenger
            },
        }
    }
}

fn class(random: &mut SmallRng) -> usize {
    let mut at = random.random_range(0..1000);
    for (class, share) in SHARES.into_iter().enumerate() {
        if at < share {
            return class;
        }
        at -= share;
    }
    STRANGE
}

/// Of two classes: what is not given to the likeliest is given to one other, the right one where that is not the likeliest.
fn brier(is_right: bool, confidence: f64) -> f64 {
    let missed = if is_right {
        1.0 - confidence
    } else {
        confidence
    };
    2.0 * missed * missed
}

/// A confidence that is calibrated: among rows of confidence c a share of c is right, and `accuracy` of all are.
fn confidence(is_right: bool, accuracy: f64, random: &mut SmallRng) -> f64 {
    let power = 1.0 / accuracy - 1.0;
    loop {
        let confidence = random.random::<f64>().powf(power);
        if random.random_bool(confidence) == is_right {
            return confidence;
        }
    }
}

fn normal(random: &mut SmallRng) -> f64 {
    let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * random.random::<f64>()).cos()
}
