//! Whether a confidence of 0.8 is right eight times of ten.

use serde::Serialize;

use super::Judged;

/// How rows are put in bins for the calibration error: fifteen bins, as is usual since Guo et al. 2017, and of equally many
/// rows each (Nguyen & O'Connor 2015), so that no bin is too small to say anything.
pub(super) const BINNING: Binning = Binning {
    count: 15,
    kind: "equal_mass",
};

/// Bins of the histogram of confidences, each 0.05 wide.
const HISTOGRAM_BINS: usize = 20;

/// How rows are put in bins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Binning {
    /// Bins asked for; rows of equal confidence stay together, so that there may be fewer.
    pub count: usize,
    /// `equal_mass`: equally many rows in each.
    pub kind: &'static str,
}

/// Rows of about the same confidence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ConfidenceBin {
    /// The least confidence in it.
    pub confidence_min: f32,
    /// The greatest confidence in it.
    pub confidence_max: f32,
    /// Its mean confidence.
    pub confidence: f64,
    /// Share of its rows that are right.
    pub accuracy: f64,
    /// Rows in it; at least one.
    pub rows: usize,
}

/// Bins of equally many rows, as far as rows of equal confidence allow: they are never parted, since which of them came
/// first would then decide on the error.
pub(super) fn equal_mass_bins(rows: &[Judged]) -> Vec<ConfidenceBin> {
    let mut sorted: Vec<(f32, bool)> = rows
        .iter()
        .map(|row| (row.confidence(), row.is_right()))
        .collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut bins = Vec::with_capacity(BINNING.count);
    let mut start = 0;
    for bin in 1..=BINNING.count {
        let mut end = (sorted.len() * bin).div_ceil(BINNING.count);
        while (1..sorted.len()).contains(&end) && sorted[end].0 == sorted[end - 1].0 {
            end += 1;
        }
        if start < end {
            bins.push(ConfidenceBin::of(&sorted[start..end]));
            start = end;
        }
    }
    bins
}

impl ConfidenceBin {
    /// Sums up rows, least confident first.
    fn of(rows: &[(f32, bool)]) -> Self {
        let count = rows.len() as f64;
        let confidence: f64 = rows.iter().map(|row| f64::from(row.0)).sum();
        Self {
            confidence_min: rows[0].0,
            confidence_max: rows[rows.len() - 1].0,
            confidence: confidence / count,
            accuracy: rows.iter().filter(|row| row.1).count() as f64 / count,
            rows: rows.len(),
        }
    }
}

/// Expected calibration error: the mean distance between confidence and accuracy, each bin weighted by its rows.
pub(super) fn ece(bins: &[ConfidenceBin], rows: usize) -> f64 {
    bins.iter()
        .map(|bin| bin.rows as f64 / rows as f64 * (bin.accuracy - bin.confidence).abs())
        .sum()
}

/// Rows by confidence, in bins of equal width.
pub(super) fn histogram(rows: &[Judged]) -> Vec<usize> {
    let mut counts = vec![0; HISTOGRAM_BINS];
    for row in rows {
        counts[bin_of(row.confidence())] += 1;
    }
    counts
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast of a float saturates, and the last bin ends the range"
)]
fn bin_of(confidence: f32) -> usize {
    ((confidence * HISTOGRAM_BINS as f32) as usize).min(HISTOGRAM_BINS - 1)
}
