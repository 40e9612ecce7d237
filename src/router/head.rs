//! The linear head: multinomial logistic regression over an encoder's output.
//!
//! Pure: no I/O, no clock, no randomness. The same rows give the same bytes.

mod fit;
mod objective;

pub use fit::{Fit, FitError, FitOptions, FitReport};
use ndarray::ArrayView1;

use super::calibration;

/// A fitted classifier.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// classes × dimensions, row by row.
    weights: Vec<f32>,
    /// One for each class.
    bias: Vec<f32>,
    /// What logits are divided by before the softmax.
    temperature: f32,
}

impl Head {
    /// Puts a head together again from its parts; none if their shapes do not fit or a number is not finite.
    pub fn from_parts(weights: Vec<f32>, bias: Vec<f32>, temperature: f32) -> Option<Self> {
        let shaped =
            bias.len() >= 2 && !weights.is_empty() && weights.len().is_multiple_of(bias.len());
        let finite = weights.iter().chain(&bias).all(|number| number.is_finite());
        let fine = shaped && finite && temperature.is_finite() && temperature > 0.0;
        fine.then_some(Self {
            weights,
            bias,
            temperature,
        })
    }

    /// Probability of each class, in the order of the labels; they add up to 1.
    ///
    /// `features` must be as long as the rows that the head was fitted on.
    pub fn probabilities(&self, features: &[f32]) -> Vec<f32> {
        debug_assert_eq!(features.len(), self.dimensions());
        let logits: Vec<f64> = self
            .weights
            .chunks_exact(self.dimensions())
            .zip(&self.bias)
            .map(|(weights, bias)| f64::from(*bias) + dot(weights, features))
            .collect();
        calibration::softmax(ArrayView1::from(&logits), f64::from(self.temperature))
            .into_iter()
            .map(narrow)
            .collect()
    }

    /// How many classes it tells apart.
    pub fn classes(&self) -> usize {
        self.bias.len()
    }

    /// How long its features are.
    pub fn dimensions(&self) -> usize {
        self.weights.len() / self.bias.len()
    }

    /// classes × dimensions, row by row.
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// One for each class.
    pub fn bias(&self) -> &[f32] {
        &self.bias
    }

    /// What logits are divided by.
    pub fn temperature(&self) -> f32 {
        self.temperature
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| f64::from(*a) * f64::from(*b))
        .sum()
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "fitting needs the precision of f64, the result does not"
)]
fn narrow(number: f64) -> f32 {
    number as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_do_not_fit_together_are_refused() {
        let parts = |weights: usize, bias: usize, temperature| {
            Head::from_parts(vec![0.5; weights], vec![0.1; bias], temperature)
        };
        assert!(parts(6, 3, 1.0).is_some());
        assert!(parts(7, 3, 1.0).is_none());
        assert!(parts(0, 3, 1.0).is_none());
        assert!(parts(1, 1, 1.0).is_none());
        assert!(parts(6, 3, 0.0).is_none());
        assert!(parts(6, 3, f32::NAN).is_none());
        assert!(Head::from_parts(vec![f32::INFINITY; 4], vec![0.0; 2], 1.0).is_none());
    }
}
