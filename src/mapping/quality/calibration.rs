//! Logits → probabilities that keep what they promise.

use ndarray::{Array2, ArrayView2};

use super::model::sigmoid;
use crate::router::narrow;

/// Pull of a calibration towards leaving the logits as they are, as if so many rows had shown them to be right.
const PULL: f64 = 5.0;

/// Steps of Newton's method; two numbers settle in fewer.
const STEPS: usize = 12;

/// A scale and a shift for the logits of each expert (Platt, "Probabilistic outputs for support vector machines", 1999).
#[derive(Clone, Debug)]
pub(super) struct Calibration(Vec<Platt>);

#[derive(Clone, Copy, Debug)]
pub(super) struct Platt {
    pub(super) scale: f32,
    pub(super) shift: f32,
}

impl Calibration {
    /// Learnt from logits and scores of the same rows × experts, by models that have not seen the rows. Scores are NaN
    /// where an expert was not tried.
    pub(super) fn fit(logits: ArrayView2<'_, f32>, scores: ArrayView2<'_, f32>) -> Self {
        let experts = logits.columns().into_iter().zip(scores.columns());
        let platt = experts.map(|(logits, scores)| {
            let pairs = logits.into_iter().zip(scores);
            let known = pairs.filter(|(_, score)| !score.is_nan());
            let rows: Vec<(f64, f64)> = known
                .map(|(logit, score)| (f64::from(*logit), f64::from(*score)))
                .collect();
            Platt::fit(&rows)
        });
        Self(platt.collect())
    }

    /// The predicted scores of logits, rows × experts.
    pub(super) fn predictions(&self, mut logits: Array2<f32>) -> Array2<f32> {
        for mut row in logits.rows_mut() {
            for (logit, platt) in row.iter_mut().zip(&self.0) {
                *logit = sigmoid(platt.apply(*logit));
            }
        }
        logits
    }

    /// One an expert.
    pub(super) fn experts(&self) -> &[Platt] {
        &self.0
    }
}

impl Platt {
    pub(super) fn apply(self, logit: f32) -> f32 {
        self.scale * logit + self.shift
    }

    /// Maximum likelihood by Newton's method, with a pull towards scale 1 and shift 0.
    fn fit(rows: &[(f64, f64)]) -> Self {
        let (mut scale, mut shift) = (1.0_f64, 0.0_f64);
        for _ in 0..STEPS {
            let mut slope = [PULL * (scale - 1.0), shift];
            let mut bend = [PULL, 0.0, 1.0];
            for (logit, score) in rows {
                let p = 1.0 / (1.0 + (-(scale * logit + shift)).exp());
                let (off, curvature) = (p - score, p * (1.0 - p));
                slope[0] += off * logit;
                slope[1] += off;
                bend[0] += curvature * logit * logit;
                bend[1] += curvature * logit;
                bend[2] += curvature;
            }
            // Positive: the pull makes the problem strictly convex.
            let determinant = bend[0] * bend[2] - bend[1] * bend[1];
            scale -= (bend[2] * slope[0] - bend[1] * slope[1]) / determinant;
            shift -= (bend[0] * slope[1] - bend[1] * slope[0]) / determinant;
        }
        // A scale below 0 would turn the predictions round: the rows then say nothing of their order.
        if scale.is_finite() && shift.is_finite() && scale > 0.0 {
            Self {
                scale: narrow(scale),
                shift: narrow(shift),
            }
        } else {
            Self {
                scale: 1.0,
                shift: 0.0,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;

    #[test]
    fn logits_that_promise_too_much_are_brought_down() {
        // They say 0.95 and 0.05 where 0.8 and 0.2 come out.
        let logits =
            Array2::from_shape_fn((200, 1), |(row, _)| if row % 2 == 0 { 3.0 } else { -3.0 });
        let scores = Array2::from_shape_fn((200, 1), |(row, _)| {
            let wrong = row % 10 < 2;
            f32::from(u8::from((row % 2 == 0) != wrong))
        });
        let calibration = Calibration::fit(logits.view(), scores.view());
        let predicted = calibration.predictions(array![[3.0], [-3.0]]);
        assert!((predicted[[0, 0]] - 0.8).abs() < 0.03, "{predicted}");
        assert!((predicted[[1, 0]] - 0.2).abs() < 0.03, "{predicted}");
    }

    #[test]
    fn without_rows_logits_are_left_as_they_are() {
        let missing = array![[f32::NAN], [f32::NAN]];
        let calibration = Calibration::fit(array![[1.0], [2.0]].view(), missing.view());
        let predicted = calibration.predictions(array![[0.0]]);
        assert!((predicted[[0, 0]] - 0.5).abs() < 1e-6);
    }
}
