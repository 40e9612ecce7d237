//! Principal components (Pearson 1901): the directions in which vectors differ most.

use ndarray::{Array1, Array2, ArrayView1, Axis};

/// Most passes over all pairs of rows. Convergence is quadratic: ten are mostly enough.
const SWEEPS_MAX: usize = 40;

/// Cosine under which two rows count as orthogonal.
const ORTHOGONAL: f64 = 1e-12;

/// The components of some vectors.
pub(super) struct Components {
    /// Of the vectors; taken off before they are projected.
    mean: Array1<f64>,
    /// components × dimensions, of length 1, that of the largest variance first.
    directions: Array2<f64>,
    /// Along each direction.
    variances: Vec<f64>,
}

impl Components {
    /// The components of `vectors`, all of one length.
    #[expect(clippy::cast_precision_loss, reason = "some ten thousand vectors")]
    pub(super) fn of<'v>(vectors: impl Iterator<Item = &'v [f32]>) -> Self {
        let mut rows = Vec::new();
        let mut count = 0;
        for vector in vectors {
            rows.extend(vector.iter().copied().map(f64::from));
            count += 1;
        }
        let dimensions = rows.len() / count.max(1);
        let mut rows = Array2::from_shape_vec((count, dimensions), rows).unwrap_or_default();
        let mean = rows
            .mean_axis(Axis(0))
            .unwrap_or_else(|| Array1::zeros(dimensions));
        rows -= &mean;
        let covariance = rows.t().dot(&rows) / count.max(1) as f64;
        let (directions, variances) = eigen(covariance);
        Self {
            mean,
            directions,
            variances,
        }
    }

    /// Writes where `vector` lies along the first directions into `out`, as many as it has places.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "kept with the 24 bits that the vectors had"
    )]
    pub(super) fn project(&self, vector: &[f32], out: &mut [f32]) {
        let centred = vector
            .iter()
            .zip(&self.mean)
            .map(|(x, mean)| f64::from(*x) - mean);
        let centred: Array1<f64> = centred.collect();
        for (out, direction) in out.iter_mut().zip(self.directions.rows()) {
            *out = direction.dot(&centred) as f32;
        }
    }

    /// The share of the variance that the first `count` directions hold.
    pub(super) fn share(&self, count: usize) -> f64 {
        let sum: f64 = self.variances.iter().sum();
        let kept: f64 = self.variances.iter().take(count).sum();
        if sum > 0.0 { kept / sum } else { 1.0 }
    }
}

/// Eigenvectors, one a row, and eigenvalues of a symmetric matrix without negative ones, largest first.
///
/// By one-sided Jacobi rotations (Hestenes 1958): rows are turned in pairs until all are orthogonal to one another. They
/// are then the eigenvectors, each as long as its eigenvalue.
fn eigen(mut rows: Array2<f64>) -> (Array2<f64>, Vec<f64>) {
    let count = rows.nrows();
    for _ in 0..SWEEPS_MAX {
        let mut turned = false;
        for one in 0..count {
            for other in one + 1..count {
                turned |= turn(&mut rows, one, other);
            }
        }
        if !turned {
            break;
        }
    }
    let length = |row: ArrayView1<'_, f64>| row.dot(&row).sqrt();
    let lengths: Vec<f64> = rows.rows().into_iter().map(length).collect();
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|one, other| lengths[*other].total_cmp(&lengths[*one]));
    let mut vectors = rows.select(Axis(0), &order);
    let lengths: Vec<f64> = order.into_iter().map(|at| lengths[at]).collect();
    for (mut vector, length) in vectors.rows_mut().into_iter().zip(&lengths) {
        // Either sign would do: the one that makes the largest number positive is always the same.
        let largest = vector
            .iter()
            .copied()
            .max_by(|a, b| a.abs().total_cmp(&b.abs()));
        let sign = largest.unwrap_or(1.0).signum();
        if *length > 0.0 {
            vector /= sign * length;
        }
    }
    (vectors, lengths)
}

/// Turns two rows in their plane so that they are orthogonal; says whether they were not.
fn turn(rows: &mut Array2<f64>, one: usize, other: usize) -> bool {
    let (mut first, mut second) =
        rows.multi_slice_mut((ndarray::s![one, ..], ndarray::s![other, ..]));
    let (along, across) = (first.dot(&first), second.dot(&second));
    let both = first.dot(&second);
    if both.abs() <= ORTHOGONAL * (along * across).sqrt() {
        return false;
    }
    let slope = (across - along) / (2.0 * both);
    let tangent = slope.signum() / (slope.abs() + slope.hypot(1.0));
    let cosine = 1.0 / tangent.hypot(1.0);
    let sine = cosine * tangent;
    for (x, y) in first.iter_mut().zip(second.iter_mut()) {
        (*x, *y) = (cosine * *x - sine * *y, sine * *x + cosine * *y);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::seed::{Seed, normals};

    /// Vectors around (5, 5, 5) that differ most along (1, 1, 0), then along (0, 0, 1).
    fn vectors() -> Vec<f32> {
        let noise = normals(Seed::new(2), 3000, 1.0);
        let noise = noise.as_chunks::<3>().0.iter();
        noise
            .flat_map(|[a, b, c]| [5.0 + 3.0 * a + 0.1 * c, 5.0 + 3.0 * a - 0.1 * c, 5.0 + b])
            .collect()
    }

    #[test]
    fn the_directions_of_most_variance_are_found_in_order() {
        let vectors = vectors();
        let components = Components::of(vectors.chunks(3));
        let half = std::f64::consts::FRAC_1_SQRT_2;
        for (direction, expected) in components
            .directions
            .rows()
            .into_iter()
            .zip([[half, half, 0.0], [0.0, 0.0, 1.0]])
        {
            let cosine: f64 = direction.iter().zip(expected).map(|(a, b)| a * b).sum();
            assert!(cosine > 0.999, "{direction}");
        }
        assert!((components.share(1) - 18.0 / 19.0).abs() < 0.01);
        assert!((components.share(3) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn projections_have_no_mean_and_keep_distances() {
        let vectors = vectors();
        let components = Components::of(vectors.chunks(3));
        let mut projected = vec![0.0; vectors.len()];
        for (vector, out) in vectors.chunks(3).zip(projected.chunks_mut(3)) {
            components.project(vector, out);
        }
        let mean = projected.iter().step_by(3).sum::<f32>() / 1000.0;
        assert!(mean.abs() < 1e-4, "{mean}");
        let distance = |rows: &[f32]| -> f32 {
            let pairs = rows[..3].iter().zip(&rows[30..33]);
            pairs.map(|(a, b)| (a - b) * (a - b)).sum()
        };
        assert!((distance(&vectors) - distance(&projected)).abs() < 1e-3);
    }

    #[test]
    fn vectors_that_do_not_differ_have_no_variance() {
        let components = Components::of([[1.0_f32, 2.0], [1.0, 2.0]].iter().map(|x| &x[..]));
        let mut out = [9.0; 2];
        components.project(&[1.0, 2.0], &mut out);
        assert!(out.iter().all(|x| x.abs() < 1e-6));
        assert!((components.share(1) - 1.0).abs() < 1e-9);
    }
}
