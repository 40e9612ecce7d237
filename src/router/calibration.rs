//! From a head's logits to a confidence that means something. Pure.

use ndarray::{ArrayView1, ArrayView2};

/// Temperatures below and above which no fit is trusted: beyond them confidences are all but 0/1 or all but equal.
const TEMPERATURE_RANGE: (f64, f64) = (0.05, 20.0);

/// Halvings of the range of inverse temperatures: 2⁻⁴⁰ of it is far below what an `f32` can tell apart.
const HALVINGS: usize = 40;

/// Probabilities of one row of logits at a temperature; they add up to 1.
pub(super) fn softmax(logits: ArrayView1<'_, f64>, temperature: f64) -> Vec<f64> {
    let greatest = greatest(logits);
    let exponentials: Vec<f64> = logits
        .iter()
        .map(|logit| ((logit - greatest) / temperature).exp())
        .collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.into_iter().map(|e| e / sum).collect()
}

/// ln Σ exp(logit), without overflow: shifted by the greatest logit.
pub(super) fn log_sum_exp(logits: ArrayView1<'_, f64>) -> f64 {
    let greatest = greatest(logits);
    greatest
        + logits
            .iter()
            .map(|z| (z - greatest).exp())
            .sum::<f64>()
            .ln()
}

fn greatest(logits: ArrayView1<'_, f64>) -> f64 {
    logits.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

/// Mean negative log-likelihood of the labels, in nats.
pub(super) fn nll(logits: ArrayView2<'_, f64>, labels: &[usize], temperature: f64) -> f64 {
    let total: f64 = logits
        .rows()
        .into_iter()
        .zip(labels)
        .map(|(row, label)| {
            let row = row.mapv(|logit| logit / temperature);
            log_sum_exp(row.view()) - row[*label]
        })
        .sum();
    total / labels.len() as f64
}

/// The temperature that makes labels likeliest, given logits of rows that the head has not seen (Guo et al. 2017, "On
/// Calibration of Modern Neural Networks").
///
/// The loss is convex in the inverse temperature β, and its slope there is the mean over the rows of the expected logit less
/// the label's: bisection finds where that is zero.
pub(super) fn temperature(logits: ArrayView2<'_, f64>, labels: &[usize]) -> f64 {
    let (lowest, highest) = TEMPERATURE_RANGE;
    let (mut low, mut high) = (1.0 / highest, 1.0 / lowest);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if slope(logits, labels, middle) > 0.0 {
            high = middle;
        } else {
            low = middle;
        }
    }
    1.0 / f64::midpoint(low, high)
}

fn slope(logits: ArrayView2<'_, f64>, labels: &[usize], beta: f64) -> f64 {
    let rows = logits.rows().into_iter().zip(labels);
    rows.map(|(row, label)| {
        let expected: f64 = softmax(row, 1.0 / beta)
            .iter()
            .zip(row)
            .map(|(probability, logit)| probability * logit)
            .sum();
        expected - row[*label]
    })
    .sum()
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;

    #[test]
    fn huge_logits_of_either_sign_neither_overflow_nor_vanish() {
        for logits in [array![1000.0, 999.0], array![-1000.0, -1001.0]] {
            let probabilities = softmax(logits.view(), 1.0);
            assert!((probabilities[0] - 0.731_058_578_630_004_9).abs() < 1e-12);
            assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
        assert!((log_sum_exp(array![-1000.0, -1000.0].view()) + 999.306_852_819_44).abs() < 1e-9);
    }

    /// Two classes, 8 of 10 labels agree with a logit difference of `gap`: the right confidence is 0.8.
    fn eight_of_ten(gap: f64) -> (Array2<f64>, Vec<usize>) {
        let labels = (0..10).map(|row| usize::from(row >= 8)).collect();
        (
            Array2::from_shape_fn((10, 2), |(_, class)| if class == 0 { gap } else { 0.0 }),
            labels,
        )
    }

    #[test]
    fn temperature_brings_confidence_to_the_share_that_is_right() {
        for gap in [0.3, 1.4, 9.0] {
            let (logits, labels) = eight_of_ten(gap);
            let temperature = temperature(logits.view(), &labels);
            let confidence = softmax(logits.row(0), temperature)[0];
            assert!((confidence - 0.8).abs() < 1e-6, "{gap}: {confidence}");
        }
    }

    #[test]
    fn no_other_temperature_is_likelier() {
        let (logits, labels) = eight_of_ten(3.0);
        let best = temperature(logits.view(), &labels);
        let least = nll(logits.view(), &labels, best);
        for other in [best * 0.9, best * 1.1] {
            assert!(nll(logits.view(), &labels, other) > least);
        }
    }

    #[test]
    fn rows_that_are_all_right_or_all_wrong_stay_inside_the_range() {
        let logits = array![[2.0, 0.0], [2.0, 0.0]];
        assert!((temperature(logits.view(), &[0, 0]) - TEMPERATURE_RANGE.0).abs() < 1e-6);
        assert!((temperature(logits.view(), &[1, 1]) - TEMPERATURE_RANGE.1).abs() < 1e-3);
    }
}
