//! What is taken for what, and the figures of each class that follow from it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Judged;
use crate::ids::CategoryId;

/// Rows by label, and under it by prediction; what did not occur is left out.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Confusion(BTreeMap<CategoryId, BTreeMap<CategoryId, usize>>);

/// How well one class is recognised: 0 to 1 each, and 0 where nothing could be counted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CategoryFigures {
    /// Share of the rows predicted as it that are of it.
    pub precision: f64,
    /// Share of its rows that are predicted as it.
    pub recall: f64,
    /// Harmonic mean of the two.
    pub f1: f64,
    /// Rows that are labelled with it.
    pub rows: usize,
}

/// Rows of one label that were taken for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Confused<'c> {
    pub(super) label: &'c CategoryId,
    pub(super) predicted: &'c CategoryId,
    pub(super) rows: usize,
}

impl Confusion {
    pub(super) fn of(rows: &[Judged]) -> Self {
        let mut counts: BTreeMap<CategoryId, BTreeMap<CategoryId, usize>> = BTreeMap::new();
        for row in rows {
            let predictions = counts.entry(row.label.clone()).or_default();
            *predictions.entry(row.predicted()).or_default() += 1;
        }
        Self(counts)
    }

    /// Rows of a label that were predicted as a class.
    pub fn rows(&self, label: &CategoryId, predicted: &CategoryId) -> usize {
        let predictions = self.0.get(label);
        predictions
            .and_then(|predictions| predictions.get(predicted))
            .copied()
            .unwrap_or(0)
    }

    /// Every class that is a label or a prediction.
    pub(super) fn per_category(&self) -> BTreeMap<CategoryId, CategoryFigures> {
        #[derive(Clone, Copy, Default)]
        struct Counts {
            labelled: usize,
            predicted: usize,
            right: usize,
        }
        let mut counts: BTreeMap<CategoryId, Counts> = BTreeMap::new();
        for (label, predicted, rows) in self.cells() {
            counts.entry(label.clone()).or_default().labelled += rows;
            counts.entry(predicted.clone()).or_default().predicted += rows;
            if label == predicted {
                counts.entry(label.clone()).or_default().right += rows;
            }
        }
        let figures = |c: Counts| CategoryFigures {
            precision: ratio(c.right, c.predicted),
            recall: ratio(c.right, c.labelled),
            f1: ratio(2 * c.right, c.predicted + c.labelled),
            rows: c.labelled,
        };
        counts
            .into_iter()
            .map(|(category, counts)| (category, figures(counts)))
            .collect()
    }

    /// What is taken for something else, most rows first.
    pub(super) fn worst(&self) -> Vec<Confused<'_>> {
        let mut confused: Vec<_> = self
            .cells()
            .filter(|(label, predicted, _)| label != predicted)
            .map(|(label, predicted, rows)| Confused {
                label,
                predicted,
                rows,
            })
            .collect();
        confused.sort_by_key(|confused| std::cmp::Reverse(confused.rows));
        confused
    }

    fn cells(&self) -> impl Iterator<Item = (&CategoryId, &CategoryId, usize)> {
        self.0.iter().flat_map(|(label, predictions)| {
            predictions
                .iter()
                .map(move |(predicted, rows)| (label, predicted, *rows))
        })
    }
}

fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}
