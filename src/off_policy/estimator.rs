//! The estimators: each is a sum over rows that is zero on average exactly at the true value.

use std::collections::BTreeMap;

use super::{
    CONFIDENCE_LEVEL, Estimate, Weighed,
    interval::{Reach, Term, Terms},
};

/// How sure it must be that weights are not one on average before propensities are doubted: they are seldom untrue.
const WEIGHTS_CONFIDENCE_LEVEL: f64 = 0.9999;

/// Horvitz and Thompson's: the mean of weight times reward.
pub(super) fn inverse_propensity(rows: &[Weighed]) -> Option<Estimate> {
    let term = |row: &Weighed| term(row.weight * row.outcome.reward, 1.0);
    let reach = Reach {
        low: self::term(0.0, 1.0),
        high: self::term(weight_max(rows), 1.0),
    };
    Some(estimated(&Terms::new(clustered(rows, term), reach)?))
}

/// Hájek's: the weighted mean of the rewards.
pub(super) fn self_normalised(rows: &[Weighed]) -> Option<Estimate> {
    let term = |row: &Weighed| term(row.weight * row.outcome.reward, row.weight);
    let weight_max = weight_max(rows);
    let reach = Reach {
        low: self::term(0.0, weight_max),
        high: self::term(weight_max, weight_max),
    };
    Some(estimated(&Terms::new(clustered(rows, term), reach)?))
}

/// Dudík, Langford and Li's: the model's mean, and the weighted mean of what it is wrong by.
pub(super) fn doubly_robust(rows: &[Weighed]) -> Option<Estimate> {
    let predicted = |row: &Weighed| row.outcome.predicted;
    let all: Option<Vec<_>> = rows.iter().map(predicted).collect();
    let all = all?;
    // What an expert that only the target asks for is predicted is close to what the target is, and the same if the target
    // leaves nothing to chance.
    let (low, high) = rows.iter().zip(&all).fold((0.0_f64, 0.0_f64), |ends, row| {
        let (target, weight) = (row.1.target, row.0.outcome.weight_max);
        let (low, high) = (target - weight * target, target + weight * (1.0 - target));
        (ends.0.min(low), ends.1.max(high))
    });
    let term = |row: &Weighed| term(doubly_robust_term(row).unwrap_or(0.0), 1.0);
    let reach = Reach {
        low: self::term(low, 1.0),
        high: self::term(high, 1.0),
    };
    Some(estimated(&Terms::new(clustered(rows, term), reach)?))
}

/// What one row says of the target's mean reward; none without a prediction.
pub(super) fn doubly_robust_term(row: &Weighed) -> Option<f64> {
    let predicted = row.outcome.predicted?;
    Some(predicted.target + row.weight * (row.outcome.reward - predicted.logged))
}

/// What the mean of the weights is at the least and at the most; found as a share of the largest weight there may be, since
/// intervals are of values within 0 to 1.
pub(super) fn mean_weight(rows: &[Weighed]) -> Option<MeanWeight> {
    let weight_max = weight_max(rows);
    let term = |row: &Weighed| term(row.weight / weight_max, 1.0);
    let reach = Reach {
        low: self::term(0.0, 1.0),
        high: self::term(1.0, 1.0),
    };
    let terms = Terms::new(clustered(rows, term), reach)?;
    let (low, high) = terms.interval(WEIGHTS_CONFIDENCE_LEVEL);
    Some(MeanWeight {
        low: low * weight_max,
        high: high * weight_max,
    })
}

/// What the mean of the weights is believed to be, over all rows that there might have been.
#[derive(Clone, Copy, Debug)]
pub(super) struct MeanWeight {
    pub(super) low: f64,
    pub(super) high: f64,
}

fn estimated(terms: &Terms) -> Estimate {
    let (low, high) = terms.interval(CONFIDENCE_LEVEL);
    Estimate {
        value: terms.value(),
        low,
        high,
    }
}

fn term(constant: f64, slope: f64) -> Term {
    Term { constant, slope }
}

/// At least one, so that a share of it is one.
pub(super) fn weight_max(rows: &[Weighed]) -> f64 {
    let largest = |row: &Weighed| row.weight.max(row.outcome.weight_max);
    rows.iter().map(largest).fold(1.0, f64::max)
}

/// One term for each cluster, in an order that depends on nothing but the clusters: they are what is independent.
pub(super) fn clustered(rows: &[Weighed], mut term: impl FnMut(&Weighed) -> Term) -> Vec<Term> {
    let mut sums: BTreeMap<u64, Term> = BTreeMap::new();
    for row in rows {
        let term = term(row);
        sums.entry(row.outcome.cluster)
            .and_modify(|sum| {
                sum.constant += term.constant;
                sum.slope += term.slope;
            })
            .or_insert(term);
    }
    sums.into_values().collect()
}
