//! How much the cheap tier's word weighs in the full one's. Pure.

use ndarray::Array2;
use rayon::prelude::*;

use crate::router::calibration::{likeliest_nll, likeliest_temperature};

/// Shares that the cheap tier may have in the pool, in tenths: between two of them the loss hardly changes.
const TENTHS: [u8; 10] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

/// What the cheap tier's logits are to be multiplied by before they are added to those of the full tier's head: of both, at the
/// temperature that suits each, the mean is taken under which the labels are likeliest.
///
/// `cheap`, `full`: rows × classes, by heads that have not seen the row. One number, since a matrix of classes × classes, fitted
/// together with the head, made the full tier worse than the transformer alone where there were few rows.
pub(super) fn cheap_weight(cheap: &Array2<f32>, full: &Array2<f32>, labels: &[usize]) -> f32 {
    let temperature = |logits: &Array2<f32>| likeliest_temperature(logits.view(), labels);
    let to_full = temperature(full) / temperature(cheap);
    let weight = |tenths: u8| to_full * f32::from(tenths) / f32::from(10 - tenths);
    let nll = |tenths: u8| {
        let pooled = full + &(cheap * weight(tenths));
        likeliest_nll(pooled.view(), labels)
    };
    let losses: Vec<f64> = TENTHS.par_iter().map(|tenths| nll(*tenths)).collect();
    let best = TENTHS
        .into_iter()
        .zip(losses)
        .min_by(|a, b| a.1.total_cmp(&b.1));
    best.map_or(0.0, |(tenths, _)| weight(tenths))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Logits of two classes that lean to the label by `lead`, and away from it in each row that `wrong` names; the labels take turns.
    fn leaning(lead: f32, wrong: impl Fn(usize) -> bool) -> Array2<f32> {
        Array2::from_shape_fn((100, 2), |(row, class)| {
            let is_leant_to = (class == row % 2) != wrong(row);
            if is_leant_to { lead } else { 0.0 }
        })
    }

    fn labels() -> Vec<usize> {
        (0..100).map(|row| row % 2).collect()
    }

    #[test]
    fn who_knows_something_of_its_own_is_heard_whatever_the_scale_of_its_logits() {
        let full = leaning(2.0, |row| row % 10 == 0);
        let cheap = leaning(2.0, |row| row % 10 == 1);
        let weight = cheap_weight(&cheap, &full, &labels());
        assert!((0.6..=1.5).contains(&weight), "{weight}");
        let louder = cheap_weight(&(&cheap * 8.0), &full, &labels());
        assert!((louder * 8.0 - weight).abs() < 1e-3, "{louder} {weight}");
    }

    #[test]
    fn who_is_wrong_more_often_is_heard_less() {
        let full = leaning(2.0, |row| row % 10 == 0);
        let cheap = leaning(2.0, |row| row % 10 == 1);
        let weight = cheap_weight(&cheap, &full, &labels());
        let worse = leaning(2.0, |row| (1..4).contains(&(row % 10)));
        let less = cheap_weight(&worse, &full, &labels());
        assert!(less < weight && less > 0.0, "{less} {weight}");
    }

    #[test]
    fn who_knows_nothing_is_not_heard() {
        let full = leaning(2.0, |row| row % 10 == 0);
        // Right in half of the rows, whether the other is right there or not.
        let guessing = leaning(2.0, |row| row / 10 % 2 == 0);
        assert!(cheap_weight(&guessing, &full, &labels()).abs() < 1e-6);
    }
}
