//! Whitening: the triangle that turns a covariance into the identity.

use ndarray::{Array1, Array2, ArrayView1};

use crate::router::narrow;

/// A lower triangular matrix M with `MᵀM` = covariance⁻¹: the squared length of M·x is x's Mahalanobis distance.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Whitening {
    dimensions: usize,
    /// Row by row, each up to the diagonal.
    packed: Vec<f32>,
}

impl Whitening {
    /// Of the covariance of centred rows, to whose diagonal a share of the mean variance is added; none where a row is
    /// not finite or all are zero.
    pub(super) fn of(centred: &Array2<f64>, shrinkage: f64) -> Option<Self> {
        let mut covariance = centred.t().dot(centred) / centred.nrows().max(1) as f64;
        let dimensions = covariance.nrows();
        let added = covariance.diag().sum() / dimensions.max(1) as f64 * shrinkage;
        for variance in covariance.diag_mut() {
            *variance += added;
        }
        let inverse = inverted(&factor(covariance)?);
        let triangle = (0..dimensions).flat_map(|row| (0..=row).map(move |column| (row, column)));
        Some(Self {
            dimensions,
            packed: triangle.map(|at| narrow(inverse[at])).collect(),
        })
    }

    pub(super) fn from_packed(packed: Vec<f32>, dimensions: usize) -> Option<Self> {
        let fits = packed.len() == dimensions * (dimensions + 1) / 2;
        fits.then_some(Self { dimensions, packed })
    }

    pub(super) fn packed(&self) -> &[f32] {
        &self.packed
    }

    /// The whitened vector.
    pub(super) fn apply(&self, vector: ArrayView1<'_, f32>) -> Array1<f32> {
        let vector = vector.to_vec();
        let mut rest = self.packed.as_slice();
        let mut row_of = |row: usize| {
            let (weights, after) = rest.split_at(row + 1);
            rest = after;
            weights
                .iter()
                .zip(&vector)
                .map(|(weight, value)| weight * value)
                .sum()
        };
        (0..self.dimensions).map(&mut row_of).collect()
    }
}

/// The lower triangle L with L·Lᵀ = `matrix` (Cholesky); none unless the matrix is positive definite.
fn factor(mut matrix: Array2<f64>) -> Option<Array2<f64>> {
    for column in 0..matrix.nrows() {
        for row in column..matrix.nrows() {
            let known: f64 = {
                let (a, b) = (matrix.row(row), matrix.row(column));
                (0..column).map(|at| a[at] * b[at]).sum()
            };
            let rest = matrix[(row, column)] - known;
            matrix[(row, column)] = if row > column {
                rest / matrix[(column, column)]
            } else if rest > 0.0 {
                rest.sqrt()
            } else {
                return None;
            };
        }
    }
    Some(matrix)
}

/// The inverse of a lower triangle, itself a lower triangle; what is above the diagonal is not looked at.
fn inverted(lower: &Array2<f64>) -> Array2<f64> {
    let mut inverse = Array2::zeros(lower.raw_dim());
    for row in 0..lower.nrows() {
        let pivot = lower[(row, row)];
        inverse[(row, row)] = 1.0 / pivot;
        for column in 0..row {
            let known: f64 = (column..row)
                .map(|at| lower[(row, at)] * inverse[(at, column)])
                .sum();
            inverse[(row, column)] = -known / pivot;
        }
    }
    inverse
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn whitened_rows_have_no_covariance() {
        let rows = array![[1.0, 0.5], [-1.0, 0.5], [2.0, -1.5], [-2.0, 0.5]];
        let whitening = Whitening::of(&rows, 0.0).unwrap();
        let mut whitened = Array2::<f64>::zeros((4, 2));
        for (mut to, from) in whitened.rows_mut().into_iter().zip(rows.rows()) {
            let narrowed = from.mapv(narrow);
            to.assign(&whitening.apply(narrowed.view()).mapv(f64::from));
        }
        let covariance = whitened.t().dot(&whitened) / 4.0;
        for (at, value) in covariance.indexed_iter() {
            let expected = f64::from(u8::from(at.0 == at.1));
            assert!((value - expected).abs() < 1e-5, "{covariance}");
        }
    }

    #[test]
    fn rows_without_any_spread_cannot_be_whitened() {
        assert!(Whitening::of(&Array2::zeros((3, 2)), 0.1).is_none());
    }
}
