//! When the cheap tier's word is taken.

use ndarray::Array2;

use super::{Problem, tiers::FittedTier};
use crate::router::{artefact::Cascade, calibration};

/// How much accuracy the cascade may give away against always asking the full tier.
pub(super) const ACCURACY_GIVEN: f64 = 0.003;

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
            None => lowest_settling(&of_cheap, &of_full),
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
