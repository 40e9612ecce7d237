//! The sparse features of some rows, bucket by bucket.

use ndarray::Array2;
use rayon::prelude::*;

use super::{Rows, objective::add_scaled};

/// Buckets that one core works on at a time.
const CHUNK: usize = 1 << 10;

/// A sparse matrix, compressed by column: which rows have a bucket, and how much of it. What each bucket's weights owe to
/// the rows can then be summed bucket by bucket, on all cores, always in the same order.
pub(super) struct Columns {
    /// Where each bucket begins in `rows` and `values`, and where the last one ends.
    starts: Vec<usize>,
    rows: Vec<u32>,
    values: Vec<f32>,
}

impl Columns {
    /// Of the rows `at` some places; a row is named by its place in `at`.
    pub(super) fn of(rows: &Rows, at: &[usize]) -> Self {
        let mut starts = vec![0; rows.used().len() + 1];
        for row in at {
            for (bucket, _) in rows.sparse(*row) {
                starts[bucket + 1] += 1;
            }
        }
        for bucket in 1..starts.len() {
            starts[bucket] += starts[bucket - 1];
        }
        let count = starts.last().copied().unwrap_or(0);
        let mut columns = Self {
            rows: vec![0; count],
            values: vec![0.0; count],
            starts,
        };
        let mut next = columns.starts.clone();
        for (place, row) in (0..).zip(at) {
            for (bucket, value) in rows.sparse(*row) {
                columns.rows[next[bucket]] = place;
                columns.values[next[bucket]] = value;
                next[bucket] += 1;
            }
        }
        columns
    }

    /// Adds the transposed matrix times `factors` (rows × classes) to `products` (buckets × classes).
    pub(super) fn add_products(&self, factors: &Array2<f32>, products: &mut [f32]) {
        let classes = factors.ncols();
        let Some(factors) = factors.as_slice() else {
            return;
        };
        let chunks = products.par_chunks_mut(CHUNK * classes).enumerate();
        chunks.for_each(|(chunk, products)| {
            for (bucket, sum) in (chunk * CHUNK..).zip(products.chunks_exact_mut(classes)) {
                for at in self.starts[bucket]..self.starts[bucket + 1] {
                    let row = self.rows[at] as usize;
                    add_scaled(sum, self.values[at], &factors[row * classes..][..classes]);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn products_are_those_of_the_rows_that_count() {
        let sparse = [vec![(0, 9.0)], vec![(0, 2.0), (2, 1.0)], vec![(2, 3.0)]];
        let rows = Rows::new(&sparse, 3, Array2::zeros((3, 0)));
        let mut products = vec![0.5; 4];
        Columns::of(&rows, &[1, 2]).add_products(&array![[1.0, 10.0], [2.0, 20.0]], &mut products);
        assert_eq!(products, [2.5, 20.5, 7.5, 70.5]);
    }
}
