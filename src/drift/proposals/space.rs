//! Vectors, seen from the middle of the existing categories.

use ndarray::{Array1, Array2, ArrayView1, Axis};

use super::{Existing, Refused};

/// Categories whose middle says what all texts share; of fewer, that of the rows themselves does.
const CATEGORIES_MIN: usize = 3;

/// Cosine from which on a row counts as one more of the same.
const SAME: f32 = 0.3;

/// Rows and centroids, centred and of length 1.
pub(super) struct Space {
    /// Rows × dimensions; zeros where a vector cannot be used.
    pub rows: Array2<f32>,
    /// Categories × dimensions.
    pub centroids: Array2<f32>,
    /// Which category each centroid is of.
    pub known: Vec<usize>,
}

impl Space {
    /// None where no row has a vector.
    pub(super) fn of(
        refused: &[Refused<'_>],
        kept: &[usize],
        existing: &[Existing<'_>],
    ) -> Option<Self> {
        let dimensions = refused[*kept.first()?].vector.len();
        let fits = |vector: &[f32]| {
            vector.len() == dimensions && vector.iter().all(|number| number.is_finite())
        };
        let known: Vec<usize> = (0..existing.len())
            .filter(|at| dimensions > 0 && fits(existing[*at].centroid))
            .collect();
        let fill = |vectors: &mut dyn Iterator<Item = &[f32]>, count: usize| {
            let mut matrix = Array2::zeros((count, dimensions));
            for (mut row, vector) in matrix.rows_mut().into_iter().zip(vectors) {
                if fits(vector) {
                    row.assign(&ArrayView1::from(vector));
                }
            }
            matrix
        };
        let mut rows = fill(&mut kept.iter().map(|row| refused[*row].vector), kept.len());
        let mut centroids = fill(
            &mut known.iter().map(|at| existing[*at].centroid),
            known.len(),
        );
        let of = if known.len() < CATEGORIES_MIN {
            &rows
        } else {
            &centroids
        };
        let middle = of.mean_axis(Axis(0))?;
        centre(&mut rows, &middle);
        centre(&mut centroids, &middle);
        let middle = middle_of_kinds(&rows);
        centre(&mut rows, &middle);
        centre(&mut centroids, &middle);
        Some(Self {
            rows,
            centroids,
            known,
        })
    }

    /// The cosines of all pairs: rows × rows.
    pub(super) fn similarities(&self) -> Array2<f32> {
        self.rows.dot(&self.rows.t())
    }
}

/// The mean of the rows, each with the weight of one over the rows that are like it.
///
/// It is what refused texts share by their style alone: the plain mean of a few hundred that are half about one thing would
/// be that thing, and taking it away would hide the very category that is looked for.
fn middle_of_kinds(rows: &Array2<f32>) -> Array1<f32> {
    let mut sum = Array1::zeros(rows.ncols());
    let mut total = 0.0;
    for (row, cosines) in rows.rows().into_iter().zip(rows.dot(&rows.t()).rows()) {
        let same = cosines.iter().filter(|cosine| **cosine >= SAME).count();
        let weight = 1.0 / same.max(1) as f32;
        sum.scaled_add(weight, &row);
        total += weight;
    }
    sum / f32::max(total, 1.0)
}

/// Takes the middle away from every row but those of zeros, and brings them to length 1.
fn centre(matrix: &mut Array2<f32>, middle: &Array1<f32>) {
    for mut row in matrix.rows_mut() {
        if row.iter().all(|number| *number == 0.0) {
            continue;
        }
        row -= middle;
        let length = row.dot(&row).sqrt();
        if length > 0.0 {
            row /= length;
        }
    }
}
