//! The linear head: multinomial logistic regression over sparse and dense features at once.
//!
//! Pure: no I/O, no clock, no randomness. The same rows give the same bytes.

mod fit;
mod objective;
mod rows;

pub use self::{
    fit::{FOLDS_MAX, FitError, Fitted, HeldBack, Penalty, Regularisation, fit, folds, held_back},
    objective::Parameters,
    rows::{Rows, Targets},
};

use half::f16;

use super::{lexical, narrow};

/// The greatest magnitude of a quantised weight.
const QUANTUM_MAX: f32 = 127.0;

/// A fitted classifier: features → a logit for each class.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// For the sparse features; buckets × classes.
    sparse: Quantised,
    /// For the dense features; dimensions × classes, so that a dimension's weights lie together.
    dense: Vec<f32>,
    /// One for each class.
    bias: Vec<f32>,
}

/// A matrix in bytes: each row has a scale of its own, so that a row is off by half a percent of its largest weight at
/// most.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Quantised {
    /// One for each row.
    pub scales: Vec<f32>,
    /// rows × columns.
    pub values: Vec<i8>,
}

impl Head {
    /// Puts a head together from its parts; none if their shapes do not fit or a number is not finite.
    pub fn from_parts(sparse: Quantised, dense: Vec<f32>, bias: Vec<f32>) -> Option<Self> {
        let classes = bias.len();
        let shaped = classes >= 2
            && dense.len().is_multiple_of(classes)
            && sparse.values.len() == sparse.scales.len() * classes;
        let mut numbers = sparse.scales.iter().chain(&dense).chain(&bias);
        let fine = shaped && numbers.all(|number| number.is_finite());
        fine.then_some(Self {
            sparse,
            dense,
            bias,
        })
    }

    /// From what a fit found.
    pub fn new(parameters: &Parameters) -> Self {
        let classes = parameters.classes;
        Self {
            sparse: Quantised::new(parameters.sparse(), classes),
            dense: parameters.dense().iter().copied().map(narrow).collect(),
            bias: parameters.bias().iter().copied().map(narrow).collect(),
        }
    }

    /// A logit for each class. Features that the head has no weights for count for nothing.
    pub fn logits(&self, sparse: &[(u32, f32)], dense: &[f32]) -> Vec<f32> {
        let mut logits = self.bias.clone();
        let classes = self.classes();
        for (bucket, value) in sparse {
            self.sparse.add_row(*bucket as usize, *value, &mut logits);
        }
        for (weights, value) in self.dense.chunks_exact(classes).zip(dense) {
            for (logit, weight) in logits.iter_mut().zip(weights) {
                *logit += value * weight;
            }
        }
        logits
    }

    /// What one sparse feature adds to the logit of a class.
    pub fn sparse_weight(&self, bucket: u32, class: usize) -> f32 {
        let bucket = bucket as usize;
        let value = self.sparse.values.get(bucket * self.classes() + class);
        value.map_or(0.0, |value| f32::from(*value) * self.sparse.scales[bucket])
    }

    /// What the dense features add to the logit of a class.
    pub fn dense_share(&self, dense: &[f32], class: usize) -> f32 {
        let weights = self.dense.iter().skip(class).step_by(self.classes());
        weights
            .zip(dense)
            .map(|(weight, value)| weight * value)
            .sum()
    }

    /// How many classes it tells apart.
    pub fn classes(&self) -> usize {
        self.bias.len()
    }

    /// How many dense features it reads.
    pub fn dimensions(&self) -> usize {
        self.dense.len() / self.bias.len()
    }

    /// The weights of the sparse features.
    pub fn sparse(&self) -> &Quantised {
        &self.sparse
    }

    /// The weights of the dense features, dimensions × classes.
    pub fn dense(&self) -> &[f32] {
        &self.dense
    }

    /// One for each class.
    pub fn bias(&self) -> &[f32] {
        &self.bias
    }
}

impl Quantised {
    /// Rounds a matrix of rows × `columns`.
    pub fn new(matrix: &[f64], columns: usize) -> Self {
        let mut quantised = Self::default();
        for row in matrix.chunks_exact(columns) {
            let greatest = row
                .iter()
                .fold(0.0, |greatest: f64, w| greatest.max(w.abs()));
            // Rounded to what is stored, so that a head that was read again is the one that was fitted.
            let scale = f16::from_f32(narrow(greatest) / QUANTUM_MAX).to_f32();
            quantised.scales.push(scale);
            let values = row.iter().map(|weight| match scale {
                0.0 => 0,
                scale => to_byte(narrow(*weight) / scale),
            });
            quantised.values.extend(values);
        }
        quantised
    }

    /// Adds `factor` times a row to `sum`; a row that is not there is a row of zeros.
    fn add_row(&self, row: usize, factor: f32, sum: &mut [f32]) {
        let columns = sum.len();
        let Some(values) = self.values.get(row * columns..(row + 1) * columns) else {
            return;
        };
        let factor = factor * self.scales[row];
        for (sum, value) in sum.iter_mut().zip(values) {
            *sum += factor * f32::from(*value);
        }
    }
}

/// Logarithm of the number of buckets for so many classes: the weights of the sparse features stay below 1 MB, whatever
/// the number of classes.
pub fn bucket_bits(classes: usize) -> u32 {
    /// Weights of the sparse features, at most.
    const WEIGHTS_MAX: usize = 1 << 20;
    let buckets = (WEIGHTS_MAX / classes.max(1)).max(2);
    buckets.ilog2().clamp(lexical::BITS_MIN, lexical::BITS_MAX)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the scale keeps it within the range of a byte"
)]
fn to_byte(value: f32) -> i8 {
    value.round().clamp(-QUANTUM_MAX, QUANTUM_MAX) as i8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_do_not_fit_together_are_refused() {
        let parts = |rows: usize, values: usize, dense: usize, bias: usize| {
            let sparse = Quantised {
                scales: vec![0.1; rows],
                values: vec![1; values],
            };
            Head::from_parts(sparse, vec![0.5; dense], vec![0.1; bias])
        };
        assert!(parts(4, 12, 6, 3).is_some());
        assert!(parts(0, 0, 6, 3).is_some());
        assert!(parts(4, 11, 6, 3).is_none());
        assert!(parts(4, 12, 7, 3).is_none());
        assert!(parts(0, 0, 1, 1).is_none());
        let infinite = vec![f32::INFINITY; 4];
        assert!(Head::from_parts(Quantised::default(), infinite, vec![0.0; 2]).is_none());
    }

    #[test]
    fn a_logit_is_the_weighted_sum_of_both_kinds_of_features() {
        let sparse = Quantised::new(&[0.0, 0.0, 1.0, -0.5], 2);
        let head = Head::from_parts(sparse, vec![2.0, 0.0], vec![0.25, 0.0]).unwrap();
        let logits = head.logits(&[(1, 2.0), (99, 5.0)], &[3.0]);
        // Scales have half precision.
        assert!((logits[0] - 8.25).abs() < 1e-3, "{logits:?}");
        assert!((logits[1] + 1.0).abs() < 0.01, "{logits:?}");
        assert!((head.sparse_weight(1, 0) - 1.0).abs() < 1e-3);
        assert!((head.sparse_weight(7, 0)).abs() < 1e-6);
        assert!((head.dense_share(&[3.0], 0) - 6.0).abs() < 1e-6);
    }

    #[test]
    fn a_quantised_row_is_off_by_half_a_step_at_most() {
        let row = [0.9, -0.31, 0.004, 0.0];
        let quantised = Quantised::new(&row, 4);
        for (value, weight) in quantised.values.iter().zip(row) {
            let off = f64::from(f32::from(*value) * quantised.scales[0]) - weight;
            assert!(off.abs() <= 0.9 / 127.0 / 2.0 + 1e-6, "{off}");
        }
    }

    #[test]
    fn many_classes_get_fewer_buckets() {
        assert_eq!(bucket_bits(13), 16);
        assert!(bucket_bits(150) < 15);
        assert!(bucket_bits(100_000) >= lexical::BITS_MIN);
    }
}
