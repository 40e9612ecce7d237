//! When the cheap tier's word is taken.

use ndarray::Array2;

use super::{Problem, tiers::FittedTier};
use crate::{
    risk,
    router::{artefact::Cascade, calibration},
};

/// How much accuracy the cascade may give away against always asking the full tier.
pub(super) const ACCURACY_GIVEN: f64 = 0.003;

/// How much of what can be routed it may give away: a share of all rows, where [`MISROUTED`] of what is routed may be misrouted. One of
/// the hundred steps of [`threshold_for`](risk::threshold_for), and a half, since a step is of whole rows.
///
/// The accuracy alone says too little of it: a row that the cheap tier has right with 0.8 may be one of which the full tier is sure.
const COVERAGE_GIVEN: f64 = 0.015;

/// What `router.misroute_max` is unless somebody says otherwise: what is configured is not known when a router is trained.
const MISROUTED: f64 = 0.05;

/// How many confidences are tried at the most, until enough can be routed.
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
            None => {
                let settling: Vec<f32> = of_cheap.iter().map(|row| row.0).collect();
                let routing = |tier: &FittedTier| self.confidences(&tier.probabilities);
                let accurate = accurate(&of_cheap, &of_full);
                lowest_covering(&accurate, &settling, [&routing(cheap), &routing(full)])
            }
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

/// The confidences from which the cheap tier's word can be taken without giving away more accuracy than [`ACCURACY_GIVEN`], with
/// [`CONFIDENCE_LEVEL`](crate::risk::CONFIDENCE_LEVEL); the lowest first. For each tier: confidence in each row, and whether it is
/// right.
///
/// Rows where one tier is right and the other wrong each move the accuracy by one, up or down: the net loss is off by about
/// the square root of their number.
fn accurate(of_cheap: &[(f32, bool)], of_full: &[(f32, bool)]) -> Vec<f32> {
    let mut order: Vec<usize> = (0..of_cheap.len()).collect();
    order.sort_by(|a, b| of_cheap[*b].0.total_cmp(&of_cheap[*a].0));
    let given = ACCURACY_GIVEN * order.len() as f64;
    let (mut lost, mut disputed, mut accurate) = (0.0, 0.0_f64, Vec::new());
    for (at, row) in order.iter().enumerate() {
        let (cheap, full) = (of_cheap[*row].1, of_full[*row].1);
        lost += f64::from(u8::from(full)) - f64::from(u8::from(cheap));
        disputed += f64::from(u8::from(cheap != full));
        // Rows of the same confidence are settled together or not at all.
        let next = order.get(at + 1);
        let last_of_equals = next.is_none_or(|next| of_cheap[*next].0 < of_cheap[*row].0);
        if last_of_equals && lost + DEVIATIONS_95 * disputed.sqrt() <= given {
            accurate.push(of_cheap[*row].0);
        }
    }
    accurate.reverse();
    accurate
}

/// The lowest of some confidences from which the cheap tier's word can be taken without giving away more coverage than
/// [`COVERAGE_GIVEN`]; none where there is none. Of many, [`SETTLING_STEPS`] are tried.
///
/// `settling`: the cheap tier's confidence in each row. Of each tier, the confidence by which a row is routed, and whether that is right;
/// empty where nothing was held back, so that nothing is known of what can be routed.
fn lowest_covering(
    lowest_first: &[f32],
    settling: &[f32],
    [cheap, full]: [&[(f32, bool)]; 2],
) -> Option<f32> {
    let coverage = |rows: &[(f32, bool)]| {
        let threshold = risk::threshold_for(rows, MISROUTED, risk::CONFIDENCE_LEVEL);
        threshold.map_or(0.0, |threshold| threshold.coverage)
    };
    let wanted = coverage(full) - COVERAGE_GIVEN;
    let shared = |from: f32| -> Vec<(f32, bool)> {
        let of_row = |row: usize| match settling[row] >= from {
            true => cheap[row],
            false => full[row],
        };
        (0..full.len()).map(of_row).collect()
    };
    let step = lowest_first.len().div_ceil(SETTLING_STEPS).max(1);
    let mut tried = lowest_first.iter().copied().step_by(step);
    tried.find(|from| coverage(&shared(*from)) >= wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number of rows of which a hundredth is no whole number.
    const ROWS: usize = 1_003;

    /// Of how many rows of [`tiers`] the full tier is sure, and right.
    const FULL_SURE: usize = 800;

    /// Rows of which the cheap tier is less and less sure, from 1 down to 0: it is wrong in one of ten of the 500 in the middle and in half
    /// of the last quarter.
    fn tiers() -> [Vec<(f32, bool)>; 2] {
        let cheap = |row: usize| {
            let is_wrong = row >= 250 && row.is_multiple_of(if row < 750 { 10 } else { 2 });
            (1.0 - row as f32 / ROWS as f32, !is_wrong)
        };
        let full = |row: usize| match row < FULL_SURE {
            true => (0.99 - row as f32 / 1e5, true),
            false => (0.4 - row as f32 / 1e5, row.is_multiple_of(2)),
        };
        [
            (0..ROWS).map(cheap).collect(),
            (0..ROWS).map(full).collect(),
        ]
    }

    fn confidences(rows: &[(f32, bool)]) -> Vec<f32> {
        rows.iter().map(|row| row.0).collect()
    }

    /// How much can be routed where the first of the rows are settled by the cheap tier.
    fn covered(settled: usize) -> f64 {
        let [cheap, full] = tiers();
        let shared = [&cheap[..settled], &full[settled..]].concat();
        let threshold = risk::threshold_for(&shared, MISROUTED, risk::CONFIDENCE_LEVEL);
        threshold.unwrap().coverage
    }

    #[test]
    fn what_is_settled_leaves_as_much_to_route() {
        let [cheap, full] = tiers();
        let settling = confidences(&cheap);
        let candidates: Vec<f32> = settling[..700].iter().rev().copied().collect();
        let from = lowest_covering(&candidates, &settling, [&cheap, &full]).unwrap();
        let settled = settling.iter().filter(|sure| **sure >= from).count();
        assert!(covered(700) < covered(0) - 0.1, "{}", covered(700));
        assert!((250..690).contains(&settled), "{settled}");
        assert!(covered(settled) >= covered(0) - COVERAGE_GIVEN);
        // The next that was tried settles more, and leaves too little; one step of coverage may be given away all the same.
        assert!(covered(settled + 7) < covered(0) - COVERAGE_GIVEN);
        assert!(covered(settled) < covered(0), "{}", covered(settled));
    }

    #[test]
    fn nothing_is_settled_where_all_that_can_be_leaves_too_little_to_route() {
        let [cheap, full] = tiers();
        let settling = confidences(&cheap);
        let lowest = [settling[700]];
        assert_eq!(lowest_covering(&lowest, &settling, [&cheap, &full]), None);
        assert_eq!(lowest_covering(&[], &settling, [&cheap, &full]), None);
    }

    #[test]
    fn where_nothing_is_known_of_what_can_be_routed_the_accuracy_alone_decides() {
        let [cheap, full] = tiers();
        let settling = confidences(&cheap);
        let lowest = [settling[690], settling[10]];
        assert_eq!(
            lowest_covering(&lowest, &settling, [&[], &[]]),
            Some(lowest[0])
        );
        let never_right: Vec<(f32, bool)> = full.iter().map(|row| (row.0, false)).collect();
        let from = lowest_covering(&lowest, &settling, [&cheap, &never_right]);
        assert_eq!(from, Some(lowest[0]));
    }

    #[test]
    fn confidences_that_give_away_too_much_accuracy_are_not_accurate() {
        let sure = |row: usize| 1.0 - row as f32 / 1e4;
        // The cheap tier loses 20 rows early on, and wins 30 of which the full tier is wrong later.
        let cheap: Vec<_> = (0..2_000)
            .map(|row| (sure(row), !(500..520).contains(&row)))
            .collect();
        let full: Vec<_> = (0..2_000)
            .map(|row| (sure(row), !(900..930).contains(&row)))
            .collect();
        let accurate = accurate(&cheap, &full);
        assert!(accurate.is_sorted() && accurate.contains(&sure(499)));
        assert!(!accurate.contains(&sure(519)) && !accurate.contains(&sure(899)));
        assert!(accurate.contains(&sure(1_999)));
    }
}
