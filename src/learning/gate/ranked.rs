//! Figures of rows in an order, each row counted as often as a resample drew its conversation.

/// Bins of the calibration error, as in the evaluation of a router: fifteen (Guo et al., "On calibration of modern neural
/// networks", 2017), of equally many rows each (Nguyen and O'Connor, "Posterior calibration and exploratory analysis for
/// natural language processing models", 2015).
const BINS: u64 = 15;

/// Rows from the least value to the greatest.
pub(super) struct Ranked {
    entries: Vec<Entry>,
    /// For each, whether the next one's value is greater: no figure may part rows of equal value.
    ends_tie: Vec<bool>,
}

/// A row's place in the order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// What rows are ordered by.
    pub(super) value: f64,
    /// What is asked of the rows: whether it is right, or out of domain.
    pub(super) holds: bool,
    /// Its conversation, counted from zero.
    pub(super) conversation: usize,
}

impl Ranked {
    pub(super) fn new(entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut entries: Vec<Entry> = entries.into_iter().collect();
        entries.sort_by(|a, b| a.value.total_cmp(&b.value));
        let next = entries.iter().skip(1).map(|entry| Some(entry.value));
        let ends_tie = entries
            .iter()
            .zip(next.chain([None]))
            .map(|(entry, next)| next != Some(entry.value))
            .collect();
        Self { entries, ends_tie }
    }

    /// Expected calibration error, where values are confidences and a row holds if it is right: the mean distance between
    /// confidence and accuracy over bins of equally many rows, 0 to 1. NaN if nothing was drawn.
    pub(super) fn calibration_error(&self, drawn: &[u32]) -> f64 {
        let total: u64 = self.entries.iter().map(|entry| entry.times(drawn)).sum();
        let (mut bin, mut seen) = (1, 0);
        let (mut gap, mut error) = (0.0, 0.0);
        for (entry, ends_tie) in self.entries.iter().zip(&self.ends_tie) {
            let times = entry.times(drawn);
            seen += times;
            gap += times as f64 * (f64::from(u8::from(entry.holds)) - entry.value);
            if *ends_tie && seen >= bin_end(total, bin) {
                error += gap.abs();
                gap = 0.0;
                while bin <= BINS && seen >= bin_end(total, bin) {
                    bin += 1;
                }
            }
        }
        error / total as f64
    }

    /// The probability that a row that holds is ranked above one that does not, ties counting half: the area under the ROC
    /// curve. NaN unless rows of both kinds were drawn.
    pub(super) fn area(&self, drawn: &[u32]) -> f64 {
        let (mut holding, mut others, mut won) = (0, 0, 0.0);
        let (mut tied_holding, mut below) = (0, 0);
        for (entry, ends_tie) in self.entries.iter().zip(&self.ends_tie) {
            if entry.holds {
                tied_holding += entry.times(drawn);
            } else {
                others += entry.times(drawn);
            }
            if *ends_tie {
                won += tied_holding as f64 * f64::midpoint(below as f64, others as f64);
                holding += tied_holding;
                (tied_holding, below) = (0, others);
            }
        }
        won / (holding as f64 * others as f64)
    }
}

impl Entry {
    fn times(&self, drawn: &[u32]) -> u64 {
        u64::from(drawn[self.conversation])
    }
}

fn bin_end(rows: u64, bin: u64) -> u64 {
    (rows * bin).div_ceil(BINS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranked(rows: &[(f64, bool)]) -> Ranked {
        Ranked::new(
            rows.iter()
                .enumerate()
                .map(|(conversation, (value, holds))| Entry {
                    value: *value,
                    holds: *holds,
                    conversation,
                }),
        )
    }

    /// The calibration error as the evaluation counts it: bins are cut first, then summed up.
    fn error_by_bins(mut rows: Vec<(f64, bool)>) -> f64 {
        rows.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (mut start, mut error) = (0, 0.0);
        for bin in 1..=15 {
            let mut end = (rows.len() * bin).div_ceil(15);
            while (1..rows.len()).contains(&end) && rows[end].0 == rows[end - 1].0 {
                end += 1;
            }
            if start < end {
                let right = rows[start..end].iter().filter(|row| row.1).count() as f64;
                let confidence: f64 = rows[start..end].iter().map(|row| row.0).sum();
                error += (right - confidence).abs();
                start = end;
            }
        }
        error / rows.len() as f64
    }

    fn area_by_pairs(rows: &[(f64, bool)]) -> f64 {
        let (mut won, mut pairs) = (0.0, 0.0);
        for holding in rows.iter().filter(|row| row.1) {
            for other in rows.iter().filter(|row| !row.1) {
                pairs += 1.0;
                won += f64::from(u8::from(holding.0 > other.0));
                won += 0.5 * f64::from(u8::from(holding.0 == other.0));
            }
        }
        won / pairs
    }

    #[test]
    fn where_nothing_was_drawn_there_is_no_figure() {
        assert!(ranked(&[(0.5, true)]).calibration_error(&[0]).is_nan());
        assert!(ranked(&[(0.5, true), (0.6, false)]).area(&[1, 0]).is_nan());
    }

    proptest! {
        #[test]
        fn figures_are_those_of_the_rows_written_out_as_often_as_drawn(
            rows in prop::collection::vec(((0_u8..40).prop_map(|v| f64::from(v) / 40.0), any::<bool>(), 0_u32..4), 1..90),
        ) {
            let drawn: Vec<u32> = rows.iter().map(|row| row.2).collect();
            let ranked = ranked(&rows.iter().map(|row| (row.0, row.1)).collect::<Vec<_>>());
            let written: Vec<(f64, bool)> = rows
                .iter()
                .flat_map(|row| std::iter::repeat_n((row.0, row.1), row.2 as usize))
                .collect();
            let area = area_by_pairs(&written);
            let got = ranked.area(&drawn);
            prop_assert!(got.is_nan() && area.is_nan() || (got - area).abs() < 1e-9);
            if !written.is_empty() {
                prop_assert!((ranked.calibration_error(&drawn) - error_by_bins(written)).abs() < 1e-9);
            }
        }
    }
}
