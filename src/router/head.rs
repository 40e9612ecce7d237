//! The linear head: multinomial logistic regression over sparse and dense features at once.
//!
//! Pure: no I/O, no clock, no randomness. The same rows give the same bytes.

mod columns;
mod fit;
mod flat;
mod objective;
mod parameters;
mod quantised;
mod rows;

pub use self::{
    fit::{FOLDS_MAX, FitError, Fitted, HeldBack, Penalty, Regularisation, fit, folds, held_back},
    parameters::Parameters,
    quantised::Quantised,
    rows::{Rows, Targets},
};

use pulp::Arch;

use super::lexical;

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

impl Head {
    /// Puts a head together from its parts; none if their shapes do not fit or a number is not finite.
    pub fn from_parts(sparse: Quantised, dense: Vec<f32>, bias: Vec<f32>) -> Option<Self> {
        let classes = bias.len();
        let shaped = classes >= 2 && dense.len().is_multiple_of(classes) && sparse.fits(classes);
        let mut numbers = dense.iter().chain(&bias);
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
            dense: parameters.dense().to_vec(),
            bias: parameters.bias().to_vec(),
        }
    }

    /// A logit for each class. Features that the head has no weights for count for nothing.
    pub fn logits(&self, sparse: &[(u32, f32)], dense: &[f32]) -> Vec<f32> {
        let classes = self.classes();
        let mut logits = vec![0.0; classes];
        for (bucket, value) in sparse {
            self.sparse.add_row(*bucket as usize, *value, &mut logits);
        }
        if self.sparse.is_pruned() {
            quantised::centre(&mut logits);
        }
        for (logit, bias) in logits.iter_mut().zip(&self.bias) {
            *logit += bias;
        }
        add_product(&mut logits, &self.dense, dense);
        logits
    }

    /// What one sparse feature adds to the logit of a class.
    pub fn sparse_weight(&self, bucket: u32, class: usize) -> f32 {
        self.sparse.row(bucket as usize, self.classes())[class]
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

/// Adds the product of a vector and a matrix of dimensions × classes, by AVX2 where the processor has it: of a thousand classes
/// nothing else in a decision takes as long.
fn add_product(logits: &mut [f32], matrix: &[f32], vector: &[f32]) {
    Arch::new().dispatch(
        #[inline(always)]
        || add_product_inline(logits, matrix, vector),
    );
}

#[inline(always)]
fn add_product_inline(logits: &mut [f32], matrix: &[f32], vector: &[f32]) {
    let classes = logits.len();
    let dimensions = vector.len().min(matrix.len() / classes);
    // Four dimensions at a time: of a thousand classes the logits are read and written a quarter as often.
    let (fours, rest) = vector[..dimensions].as_chunks::<4>();
    let (of_fours, of_rest) = matrix.split_at(fours.len() * 4 * classes);
    for (weights, [a, b, c, d]) in of_fours.chunks_exact(4 * classes).zip(fours) {
        let (of_ab, of_cd) = weights.split_at(2 * classes);
        let ((of_a, of_b), (of_c, of_d)) = (of_ab.split_at(classes), of_cd.split_at(classes));
        let weights = of_a.iter().zip(of_b).zip(of_c.iter().zip(of_d));
        for (logit, ((wa, wb), (wc, wd))) in logits.iter_mut().zip(weights) {
            *logit += (a * wa + b * wb) + (c * wc + d * wd);
        }
    }
    for (weights, value) in of_rest.chunks_exact(classes).zip(rest) {
        for (logit, weight) in logits.iter_mut().zip(weights) {
            *logit += value * weight;
        }
    }
}

/// Logarithm of the number of buckets for so many classes: the weights of the sparse features stay below 2 MB, whatever
/// the number of classes.
pub fn bucket_bits(classes: usize) -> u32 {
    /// Weights of the sparse features, at most.
    const WEIGHTS_MAX: usize = 1 << 21;
    let buckets = (WEIGHTS_MAX / classes.max(1)).max(2);
    buckets.ilog2().clamp(lexical::BITS_MIN, lexical::BITS_MAX)
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
                columns: Vec::new(),
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
    fn every_dimension_counts_whatever_their_number() {
        for dimensions in 0..10 {
            let weights: Vec<f32> = (0..dimensions * 3).map(|at| at as f32).collect();
            let vector: Vec<f32> = (0..dimensions).map(|at| 1.0 + at as f32).collect();
            let head = Head::from_parts(Quantised::default(), weights, vec![0.0; 3]).unwrap();
            for (class, logit) in head.logits(&[], &vector).into_iter().enumerate() {
                let share = head.dense_share(&vector, class);
                assert!(
                    (logit - share).abs() < 1e-3,
                    "{dimensions}: {logit} {share}"
                );
            }
            let longer = [&vector[..], &[7.0; 5]].concat();
            assert_eq!(head.logits(&[], &longer), head.logits(&[], &vector));
        }
    }

    #[test]
    fn many_classes_get_fewer_buckets() {
        assert_eq!(bucket_bits(13), 17);
        assert!(bucket_bits(150) < 15);
        assert!(bucket_bits(100_000) >= lexical::BITS_MIN);
    }
}
