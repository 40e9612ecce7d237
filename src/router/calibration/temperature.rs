//! One temperature for all logits.

use ndarray::ArrayView2;

use super::{Calibration, softmax};

/// Temperatures below and above which no fit is trusted: beyond them confidences are all but 0/1 or all but equal.
const RANGE: (f32, f32) = (0.05, 20.0);

/// Halvings of the range of inverse temperatures: 2⁻²⁴ of it is what an `f32` can tell apart.
const HALVINGS: usize = 24;

pub(super) fn fit(logits: ArrayView2<'_, f32>, labels: &[usize]) -> Calibration {
    Calibration::Temperature {
        temperature: likeliest(logits, labels),
    }
}

/// The temperature that makes labels likeliest.
///
/// The loss is convex in the inverse temperature β, and its slope there is the mean over the rows of the expected logit less
/// the label's: bisection finds where that is zero.
pub(super) fn likeliest(logits: ArrayView2<'_, f32>, labels: &[usize]) -> f32 {
    let (lowest, highest) = RANGE;
    let (mut low, mut high) = (1.0 / highest, 1.0 / lowest);
    for _ in 0..HALVINGS {
        let middle = f32::midpoint(low, high);
        if slope(logits, labels, middle) > 0.0 {
            high = middle;
        } else {
            low = middle;
        }
    }
    1.0 / f32::midpoint(low, high)
}

fn slope(logits: ArrayView2<'_, f32>, labels: &[usize], beta: f32) -> f64 {
    let rows = logits.rows().into_iter().zip(labels);
    rows.map(|(row, label)| {
        let logits = row.to_vec();
        let expected: f32 = softmax(&logits, 1.0 / beta)
            .iter()
            .zip(&logits)
            .map(|(p, logit)| p * logit)
            .sum();
        f64::from(expected - row[*label])
    })
    .sum()
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;

    /// Two classes, 8 of 10 labels agree with a logit difference of `gap`: the right confidence is 0.8.
    fn eight_of_ten(gap: f32) -> (Array2<f32>, Vec<usize>) {
        let labels = (0..10).map(|row| usize::from(row >= 8)).collect();
        let logits =
            Array2::from_shape_fn((10, 2), |(_, class)| if class == 0 { gap } else { 0.0 });
        (logits, labels)
    }

    #[test]
    fn temperature_brings_confidence_to_the_share_that_is_right() {
        for gap in [0.3, 1.4, 9.0] {
            let (logits, labels) = eight_of_ten(gap);
            let temperature = likeliest(logits.view(), &labels);
            let confidence = softmax(&logits.row(0).to_vec(), temperature)[0];
            assert!((confidence - 0.8).abs() < 1e-4, "{gap}: {confidence}");
        }
    }

    #[test]
    fn rows_that_are_all_right_or_all_wrong_stay_inside_the_range() {
        let logits = array![[2.0, 0.0], [2.0, 0.0]];
        assert!((likeliest(logits.view(), &[0, 0]) - RANGE.0).abs() < 1e-3);
        assert!((likeliest(logits.view(), &[1, 1]) - RANGE.1).abs() < 0.1);
    }
}
