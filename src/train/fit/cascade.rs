//! When the cheap tier's word is taken.

use ndarray::Array2;

use super::{Problem, tiers::FittedTier};
use crate::{
    risk,
    router::{artefact::Cascade, calibration},
};

/// How much accuracy the cascade may give away against always asking the full tier.
pub(super) const ACCURACY_GIVEN: f64 = 0.003;

/// How much of what can be routed it may give away: a share of all rows, where [`MISROUTED`] of what is routed may be misrouted.
///
/// The accuracy alone says too little of it: a row that the cheap tier has right with 0.8 may be one of which the full tier is sure.
const COVERAGE_GIVEN: f64 = 0.01;

/// What `router.misroute_max` is unless somebody says otherwise: what is configured is not known when a router is trained.
const MISROUTED: f64 = 0.05;

/// Parts of the rows by which less is settled at a time, until enough can be routed.
const SETTLING_STEPS: usize = 100;

/// Standard deviations above the mean below which a normal variable stays with 95 % probability.
const DEVIATIONS_95: f64 = 1.645;

/// Both tiers together.
pub(super) struct Shared {
    pub(super) cascade: Cascade,
    /// Of the cascade, held back: rows × classes.
    pub(super) probabilities: Array2<f32>,
}

impl Shared {
    /// The share of some rows that the cheap tier settles, which gives these probabilities.
    pub(super) fn settled(&self, cheap: &Array2<f32>, rows: &[usize]) -> f64 {
        let Some(from) = self.cascade.settled_from else {
            return 0.0;
        };
        let is_settled = |row: &&usize| cheap.row(**row).iter().any(|p| *p >= from);
        rows.iter().filter(is_settled).count() as f64 / rows.len().max(1) as f64
    }
}

impl Problem<'_> {
    /// What both tiers do together.
    pub(super) fn cascade(&self, cheap: Option<&FittedTier>, full: Option<&FittedTier>) -> Shared {
        let alone = |tier: &FittedTier, cheap_share: f64| Shared {
            cascade: Cascade {
                settled_from: None,
                cheap_share,
                full_share: 1.0 - cheap_share,
                figures: tier.report.figures,
            },
            probabilities: tier.probabilities.clone(),
        };
        match (cheap, full) {
            (Some(cheap), Some(full)) => self.shared(cheap, full),
            (Some(tier), None) => alone(tier, 1.0),
            (None, Some(tier)) => alone(tier, 0.0),
            // There is always one feature at least: a job without any is refused.
            (None, None) => Shared {
                cascade: Cascade::default(),
                probabilities: Array2::zeros((0, 0)),
            },
        }
    }

    fn shared(&self, cheap: &FittedTier, full: &FittedTier) -> Shared {
        let top = |tier: &FittedTier| calibration::top(tier.probabilities.view(), &self.told);
        let (of_cheap, of_full) = (top(cheap), top(full));
        let settled_from = match &self.base {
            Some(base) => Some(base.model.settled_from).filter(|from| from.is_finite()),
            // Without strange rows to learn from only the full tier's detector knows what is strange: it must see everything.
            None if self.out_of_domain.is_none() => None,
            None => lowest_settling(&of_cheap, &of_full).and_then(|lowest| {
                let settling: Vec<f32> = of_cheap.iter().map(|row| row.0).collect();
                let routing = |tier: &FittedTier| self.confidences(&tier.probabilities);
                lowest_covering(lowest, &settling, &routing(cheap), &routing(full))
            }),
        };
        let mut probabilities = full.probabilities.clone();
        let settled = |row: &usize| settled_from.is_some_and(|from| of_cheap[*row].0 >= from);
        for row in (0..of_cheap.len()).filter(settled) {
            probabilities
                .row_mut(row)
                .assign(&cheap.probabilities.row(row));
        }
        let cheap_share =
            (0..of_cheap.len()).filter(settled).count() as f64 / of_cheap.len().max(1) as f64;
        Shared {
            cascade: Cascade {
                settled_from,
                cheap_share,
                full_share: 1.0 - cheap_share,
                figures: self.figures(probabilities.view()),
            },
            probabilities,
        }
    }
}

/// The lowest confidence from which the cheap tier's word can be taken without giving away more accuracy than
/// [`ACCURACY_GIVEN`], with [`CONFIDENCE_LEVEL`](crate::risk::CONFIDENCE_LEVEL); none where it can never be. For each
/// tier: confidence in each row, and whether it is right.
///
/// Rows where one tier is right and the other wrong each move the accuracy by one, up or down: the net loss is off by about
/// the square root of their number.
fn lowest_settling(of_cheap: &[(f32, bool)], of_full: &[(f32, bool)]) -> Option<f32> {
    let mut order: Vec<usize> = (0..of_cheap.len()).collect();
    order.sort_by(|a, b| of_cheap[*b].0.total_cmp(&of_cheap[*a].0));
    let given = ACCURACY_GIVEN * order.len() as f64;
    let (mut lost, mut disputed, mut settled_from) = (0.0, 0.0_f64, None);
    for (at, row) in order.iter().enumerate() {
        let (cheap, full) = (of_cheap[*row].1, of_full[*row].1);
        lost += f64::from(u8::from(full)) - f64::from(u8::from(cheap));
        disputed += f64::from(u8::from(cheap != full));
        // Rows of the same confidence are settled together or not at all.
        let next = order.get(at + 1);
        let last_of_equals = next.is_none_or(|next| of_cheap[*next].0 < of_cheap[*row].0);
        if last_of_equals && lost + DEVIATIONS_95 * disputed.sqrt() <= given {
            settled_from = Some(of_cheap[*row].0);
        }
    }
    settled_from
}

/// The lowest confidence from `lowest` on from which the cheap tier's word can be taken without giving away more coverage than
/// [`COVERAGE_GIVEN`]; none where it can never be.
///
/// `settling`: the cheap tier's confidence in each row. Of each tier, the confidence by which a row is routed, and whether that is right;
/// empty where nothing was held back, so that nothing is known of what can be routed.
fn lowest_covering(
    lowest: f32,
    settling: &[f32],
    cheap: &[(f32, bool)],
    full: &[(f32, bool)],
) -> Option<f32> {
    let coverage = |rows: &[(f32, bool)]| {
        let threshold = risk::threshold_for(rows, MISROUTED, risk::CONFIDENCE_LEVEL);
        threshold.map_or(0.0, |threshold| threshold.coverage)
    };
    let wanted = coverage(full) - COVERAGE_GIVEN;
    let shared = |from: &f32| -> Vec<(f32, bool)> {
        let of_row = |row: usize| match settling[row] >= *from {
            true => cheap[row],
            false => full[row],
        };
        (0..full.len()).map(of_row).collect()
    };
    let mut confidences: Vec<f32> = settling
        .iter()
        .copied()
        .filter(|sure| *sure >= lowest)
        .collect();
    confidences.sort_by(f32::total_cmp);
    let step = settling.len().div_ceil(SETTLING_STEPS).max(1);
    let mut from = confidences.into_iter().step_by(step);
    from.find(|from| coverage(&shared(from)) >= wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of how many of the thousand rows of [`tiers`] the full tier is sure, and right.
    const FULL_SURE: usize = 800;

    /// A thousand rows, the cheap tier less and less sure from 1 down to 0: it is wrong in one of ten of the 500 in the middle and in
    /// half of the last 250.
    fn tiers() -> [Vec<(f32, bool)>; 2] {
        let cheap = |row: usize| {
            let is_wrong = row >= 250 && row.is_multiple_of(if row < 750 { 10 } else { 2 });
            (1.0 - row as f32 / 1000.0, !is_wrong)
        };
        let full = |row: usize| match row < FULL_SURE {
            true => (0.99 - row as f32 / 1e5, true),
            false => (0.4 - row as f32 / 1e5, row.is_multiple_of(2)),
        };
        [
            (0..1000).map(cheap).collect(),
            (0..1000).map(full).collect(),
        ]
    }

    #[test]
    fn what_is_settled_leaves_as_much_to_route() {
        let [cheap, full] = tiers();
        let settling: Vec<f32> = cheap.iter().map(|row| row.0).collect();
        let covered = |from: f32| {
            let settled = settling.iter().filter(|sure| **sure >= from).count();
            let shared = [&cheap[..settled], &full[settled..]].concat();
            let threshold = risk::threshold_for(&shared, MISROUTED, risk::CONFIDENCE_LEVEL);
            threshold.unwrap().coverage
        };
        let lowest = 0.3;
        assert!(covered(lowest) < covered(2.0) - 0.1, "{}", covered(lowest));
        let from = lowest_covering(lowest, &settling, &cheap, &full).unwrap();
        assert!(from > lowest && from < 0.8, "{from}");
        assert!(covered(from) >= covered(2.0) - COVERAGE_GIVEN);
        assert!(covered(from - 0.02) < covered(2.0) - COVERAGE_GIVEN);
    }

    #[test]
    fn where_nothing_is_known_of_what_can_be_routed_the_accuracy_alone_decides() {
        let [cheap, full] = tiers();
        let settling: Vec<f32> = cheap.iter().map(|row| row.0).collect();
        assert_eq!(
            lowest_covering(0.31, &settling, &[], &[]),
            settling.get(690).copied()
        );
        let never_right: Vec<(f32, bool)> = full.iter().map(|row| (row.0, false)).collect();
        let from = lowest_covering(0.31, &settling, &cheap, &never_right);
        assert_eq!(from, settling.get(690).copied());
    }
}
