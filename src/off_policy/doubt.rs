//! Where a log cannot tell what a policy is worth, and why.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use super::{Weighed, estimator::MeanWeight};

/// Standard errors on either side within which the share of known rewards is believed: as sure as propensities must be untrue
/// before they are doubted, about.
const RATES_DEVIATIONS: f64 = 3.0;

/// From where on a log is believed to tell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Rows of equal weight that it must be worth at the least.
    pub effective_rows_min: f64,
    /// Share of the target policy's choices that it may never show, 0 to 1.
    pub unsupported_max: f64,
    /// Share of all weight that one row may have, 0 to 1.
    pub largest_share_max: f64,
    /// Share of the rows that may lack a propensity or a reward, 0 to 1.
    pub left_out_max: f64,
    /// How often rewards are known of the answers of one expert at the least, over how often of another's, 0 to 1.
    pub reward_rates_ratio_min: f64,
    /// Answers from which on it is told how often an expert's rewards are known.
    pub rated_rows_min: usize,
}

impl Default for Bounds {
    /// Round figures, set beforehand; intervals of simulated logs that they let through cover as they promise.
    fn default() -> Self {
        Self {
            effective_rows_min: 50.0,
            unsupported_max: 0.05,
            largest_share_max: 0.1,
            left_out_max: 0.5,
            reward_rates_ratio_min: 0.8,
            rated_rows_min: 30,
        }
    }
}

/// Why a log cannot tell.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "doubt", rename_all = "snake_case")]
pub enum Doubt {
    /// There is nothing to go by.
    NoRows,
    /// Rows are too few, or too unequal in weight.
    FewEffectiveRows {
        /// Rows of equal weight that the log is worth.
        rows: f64,
        /// What it would have to be worth.
        rows_min: f64,
    },
    /// The target policy often asks experts that the log never shows.
    Unsupported {
        /// Share of its choices, 0 to 1.
        share: f64,
        /// How large that may be.
        share_max: f64,
    },
    /// One row decides.
    OneRowDominates {
        /// Share of all weight, 0 to 1.
        share: f64,
        /// How large that may be.
        share_max: f64,
    },
    /// Weights are not one on average, more clearly than chance allows: propensities are not true.
    UntruePropensities {
        /// Mean of the weights.
        mean: f64,
    },
    /// Rewards are known of some expert's answers more often than of another's: those that are known are no fair sample.
    UnequalRewards {
        /// The least share of an expert's answers whose reward is known, 0 to 1.
        least: f64,
        /// The greatest.
        greatest: f64,
    },
    /// Most of the log could not be used.
    LeftOut {
        /// Rows that could not be used.
        rows: usize,
        /// Share of all rows, 0 to 1.
        share: f64,
    },
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRows => f.write_str("no outcome has a reward and a propensity"),
            Self::FewEffectiveRows { rows, rows_min } => write!(
                f,
                "the outcomes tell as much as {rows:.0} of equal weight; at least {rows_min:.0} are needed"
            ),
            Self::Unsupported { share, share_max } => write!(
                f,
                "{:.1} % of the choices are of experts that were never asked such questions; at most {:.1} % may be",
                share * 100.0,
                share_max * 100.0
            ),
            Self::OneRowDominates { share, share_max } => write!(
                f,
                "one outcome has {:.1} % of all weight; at most {:.1} % may be one's",
                share * 100.0,
                share_max * 100.0
            ),
            Self::UntruePropensities { mean } => write!(
                f,
                "the weights are {mean:.2} on average where they should be 1; the propensities cannot be true"
            ),
            Self::UnequalRewards { least, greatest } => write!(
                f,
                "rewards are known of {:.1} % of one expert's answers and of {:.1} % of another's; what is not known may be \
                 otherwise",
                least * 100.0,
                greatest * 100.0
            ),
            Self::LeftOut { rows, share } => write!(
                f,
                "{rows} outcomes ({:.1} %) have no reward or no propensity and could not be used",
                share * 100.0
            ),
        }
    }
}

/// What is known of a log beside the weights.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    /// Rows that could not be used.
    pub(super) left_out: usize,
    /// Of all rows with a propensity.
    pub(super) mean_weight: Option<MeanWeight>,
    /// How often rewards are known, where that is clearly not the same for all experts: the least share, the greatest.
    pub(super) rates: Option<(f64, f64)>,
}

/// How often rewards are known of the answers of the expert of which it is seldomest, and of which it is most often; none
/// where chance alone may make them so different, or where they are not much.
pub(super) fn rates(chosen: &[Weighed], bounds: &Bounds) -> Option<(f64, f64)> {
    let mut counts: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    for row in chosen {
        let (known, all) = counts.entry(row.outcome.expert).or_default();
        *known += usize::from(row.outcome.has_reward());
        *all += 1;
    }
    let rates = counts.values().filter(|it| it.1 >= bounds.rated_rows_min);
    let rate = |(known, all): &(usize, usize)| *known as f64 / *all as f64;
    let least = rates.clone().min_by(|a, b| rate(a).total_cmp(&rate(b)))?;
    let greatest = rates.max_by(|a, b| rate(a).total_cmp(&rate(b)))?;
    let is_clear = wilson_end(*least, RATES_DEVIATIONS) < wilson_end(*greatest, -RATES_DEVIATIONS);
    let (least, greatest) = (rate(least), rate(greatest));
    (is_clear && least < bounds.reward_rates_ratio_min * greatest).then_some((least, greatest))
}

/// The upper end, or with negative deviations the lower one, of what a share may truly be (Wilson, "Probable inference, the law
/// of succession, and statistical inference", JASA 1927).
fn wilson_end((known, all): (usize, usize), deviations: f64) -> f64 {
    let (known, all) = (known as f64, all as f64);
    let (share, square) = (known / all, deviations * deviations);
    let spread = (share * (1.0 - share) / all + square / (4.0 * all * all)).sqrt();
    (share + square / (2.0 * all) + deviations * spread) / (1.0 + square / all)
}

/// What the weights of the used rows are like; their mean and what is unsupported, of all rows with a propensity.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weights {
    rows: usize,
    pub(super) mean: f64,
    pub(super) effective_rows: f64,
    pub(super) largest_share: f64,
    pub(super) unsupported: f64,
}

impl Weights {
    pub(super) fn of(rows: &[Weighed], chosen: &[Weighed]) -> Self {
        let weights = || rows.iter().map(|row| row.weight);
        let sum: f64 = weights().sum();
        let squares: f64 = weights().map(|weight| weight * weight).sum();
        let share_of = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        let count = chosen.len() as f64;
        let unsupported = chosen.iter().map(|row| row.outcome.unsupported).sum();
        let sum_chosen = chosen.iter().map(|row| row.weight).sum();
        Self {
            rows: rows.len(),
            mean: share_of(sum_chosen, count),
            effective_rows: share_of(sum * sum, squares),
            largest_share: share_of(weights().fold(0.0, f64::max), sum),
            unsupported: share_of(unsupported, count),
        }
    }
}

/// All that speaks against relying on a log.
pub(super) fn doubts(weights: &Weights, facts: &Facts, bounds: &Bounds) -> Vec<Doubt> {
    if weights.rows == 0 {
        return vec![Doubt::NoRows];
    }
    let left_out = facts.left_out;
    let left_out_share = left_out as f64 / (left_out + weights.rows) as f64;
    let is_off_one = |mean: MeanWeight| mean.low > 1.0 || mean.high + weights.unsupported < 1.0;
    let found = [
        (weights.effective_rows < bounds.effective_rows_min).then_some(Doubt::FewEffectiveRows {
            rows: weights.effective_rows,
            rows_min: bounds.effective_rows_min,
        }),
        (weights.unsupported > bounds.unsupported_max).then_some(Doubt::Unsupported {
            share: weights.unsupported,
            share_max: bounds.unsupported_max,
        }),
        (weights.largest_share > bounds.largest_share_max).then_some(Doubt::OneRowDominates {
            share: weights.largest_share,
            share_max: bounds.largest_share_max,
        }),
        facts
            .mean_weight
            .is_some_and(is_off_one)
            .then_some(Doubt::UntruePropensities { mean: weights.mean }),
        facts
            .rates
            .map(|(least, greatest)| Doubt::UnequalRewards { least, greatest }),
        (left_out_share > bounds.left_out_max).then_some(Doubt::LeftOut {
            rows: left_out,
            share: left_out_share,
        }),
    ];
    found.into_iter().flatten().collect()
}
