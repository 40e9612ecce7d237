//! The weights of many sparse features, a row each, in bytes.

use half::f16;

use crate::simd;

/// The greatest magnitude of a quantised weight.
const QUANTUM_MAX: f32 = 127.0;

/// Weights that a row keeps where there are many columns: a word speaks for a few of a thousand classes, and of the
/// others it says the same.
pub(super) const KEPT: usize = 32;

/// Up to so many columns a row keeps all: going through them one after the other is quicker than looking them up.
const COLUMNS_WHOLE_MAX: usize = 8 * KEPT;

/// A matrix whose rows each have a scale of their own, so that a weight is off by half a percent of its row's largest at
/// most.
///
/// Where there are many columns a row keeps the weights that are furthest from its median, less the median: adding the
/// same to every class changes no probability.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Quantised {
    /// One for each row.
    pub scales: Vec<f32>,
    /// rows × weights kept.
    pub values: Vec<i8>,
    /// The column of each value; empty where every row keeps all of them.
    pub columns: Vec<u16>,
}

impl Quantised {
    /// Rounds a matrix of rows × `columns`.
    pub fn new(matrix: &[f32], columns: usize) -> Self {
        let mut quantised = Self::default();
        let whole = columns <= COLUMNS_WHOLE_MAX || u16::try_from(columns).is_err();
        for row in matrix.chunks_exact(columns) {
            if whole {
                quantised.push(row);
            } else {
                let (kept, weights): (Vec<u16>, Vec<f32>) = outstanding(row).into_iter().unzip();
                quantised.columns.extend(kept);
                quantised.push(&weights);
            }
        }
        quantised
    }

    fn push(&mut self, weights: &[f32]) {
        let magnitudes = weights.iter().map(|weight| weight.abs());
        // Rounded to what is stored, so that a head that was read again is the one that was fitted.
        let scale = f16::from_f32(magnitudes.fold(0.0, f32::max) / QUANTUM_MAX).to_f32();
        self.scales.push(scale);
        let values = weights.iter().map(|weight| match scale {
            0.0 => 0,
            scale => to_byte(weight / scale),
        });
        self.values.extend(values);
    }

    /// Whether it can be a matrix of so many columns.
    pub(super) fn fits(&self, columns: usize) -> bool {
        let width = self.width(columns);
        self.values.len() == self.scales.len() * width
            && (self.columns.is_empty() || self.columns.len() == self.values.len())
            && self
                .columns
                .iter()
                .all(|column| usize::from(*column) < columns)
            && self.scales.iter().all(|scale| scale.is_finite())
    }

    /// Whether rows keep only some of their weights.
    pub(super) fn is_pruned(&self) -> bool {
        !self.columns.is_empty()
    }

    fn width(&self, columns: usize) -> usize {
        if self.is_pruned() { KEPT } else { columns }
    }

    /// Adds `factor` times a row to `sum`; a row that is not there is a row of zeros.
    pub(super) fn add_row(&self, row: usize, factor: f32, sum: &mut [f32]) {
        let width = self.width(sum.len());
        let range = row * width..(row + 1) * width;
        let Some(values) = self.values.get(range.clone()) else {
            return;
        };
        let factor = factor * self.scales[row];
        if self.is_pruned() {
            for (column, value) in self.columns[range].iter().zip(values) {
                sum[usize::from(*column)] += factor * f32::from(*value);
            }
        } else {
            add(factor, values, sum);
        }
    }

    /// A row of so many columns, whose mean is 0 where it was pruned, as fits leave it.
    pub(super) fn row(&self, row: usize, columns: usize) -> Vec<f32> {
        let mut weights = vec![0.0; columns];
        self.add_row(row, 1.0, &mut weights);
        if self.is_pruned() {
            centre(&mut weights);
        }
        weights
    }
}

/// Adds `factor` times `values` to `sum`, four at once: a dozen classes are too few for what a compiler makes of any number.
fn add(factor: f32, values: &[i8], sum: &mut [f32]) {
    let (fours, rest) = sum.as_chunks_mut::<4>();
    let (values_fours, values_rest) = values.as_chunks::<4>();
    for (four, values) in fours.iter_mut().zip(values_fours) {
        for (sum, value) in four.iter_mut().zip(values) {
            *sum += factor * f32::from(*value);
        }
    }
    for (sum, value) in rest.iter_mut().zip(values_rest) {
        *sum += factor * f32::from(*value);
    }
}

/// Takes the mean from every number.
pub(super) fn centre(numbers: &mut [f32]) {
    #[expect(clippy::cast_precision_loss, reason = "a count of classes")]
    let mean = simd::sum(numbers) / numbers.len().max(1) as f32;
    numbers.iter_mut().for_each(|number| *number -= mean);
}

/// The weights that are furthest from the row's median, less the median, in the order of their columns.
fn outstanding(row: &[f32]) -> Vec<(u16, f32)> {
    let mut sorted = row.to_vec();
    let (_, median, _) = sorted.select_nth_unstable_by(row.len() / 2, f32::total_cmp);
    let mut weights: Vec<(u16, f32)> = (0..).zip(row.iter().map(|w| w - *median)).collect();
    weights.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()).then(a.0.cmp(&b.0)));
    weights.truncate(KEPT);
    weights.sort_by_key(|(column, _)| *column);
    weights
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
    fn a_quantised_row_is_off_by_half_a_step_at_most() {
        let row = [0.9, -0.31, 0.004, 0.0];
        let quantised = Quantised::new(&row, 4);
        for (value, weight) in quantised.values.iter().zip(row) {
            let off = f32::from(*value) * quantised.scales[0] - weight;
            assert!(off.abs() <= 0.9 / 127.0 / 2.0 + 1e-6, "{off}");
        }
    }

    #[test]
    fn a_wide_row_keeps_what_sets_classes_apart() {
        let columns = 300;
        let mut matrix = vec![-0.2_f32; 2 * columns];
        (matrix[3], matrix[99], matrix[columns + 50]) = (5.0, -4.0, 1.0);
        let quantised = Quantised::new(&matrix, columns);
        assert!(quantised.fits(columns) && quantised.values.len() == 2 * KEPT);
        for (at, row) in matrix.chunks_exact_mut(columns).enumerate() {
            centre(row);
            for (found, weight) in quantised.row(at, columns).iter().zip(row) {
                assert!((found - *weight).abs() < 0.03, "{found} {weight}");
            }
        }
    }

    #[test]
    fn parts_that_do_not_fit_together_are_told() {
        let wide = Quantised::new(&vec![1.0; 900], 300);
        assert!(wide.fits(300) && wide.fits(301) && !wide.fits(20));
        assert!(Quantised::new(&[1.0; 12], 4).fits(4));
        assert!(!Quantised::new(&[1.0; 12], 4).fits(3));
        assert!(
            !Quantised {
                columns: vec![0],
                ..wide
            }
            .fits(300)
        );
    }
}
