//! How probabilities of rows held back compare with their labels.

use std::collections::BTreeMap;

use ndarray::{Array2, ArrayView2, Axis};

use super::{Problem, cascade::Shared};
use crate::router::{
    artefact::{Figures, FileFigures},
    calibration::{self, argmax},
};

impl Problem<'_> {
    /// The confidence in each row's likeliest category, and whether that is right; 0 for rows taken to be out of domain. Only of
    /// rows that neither this fit nor the one below has seen.
    pub(super) fn confidences(&self, probabilities: &Array2<f32>) -> Vec<(f32, bool)> {
        if self.folds.iter().all(|fold| *fold == 0) {
            return Vec::new();
        }
        let top = calibration::top(probabilities.view(), &self.told);
        let of_row = |row: &usize| match self.out_of_domain {
            Some(outside) if argmax(&probabilities.row(*row).to_vec()) == outside => (0.0, false),
            _ => top[*row],
        };
        self.unseen.iter().map(of_row).collect()
    }

    /// On the rows that the base has not seen, unless it has seen all.
    pub(super) fn figures(&self, probabilities: ArrayView2<'_, f32>) -> Figures {
        if self.unseen.is_empty() {
            return self.figures_of(probabilities, &self.told);
        }
        let labels = self.unseen.iter().map(|row| self.told[*row]);
        let labels: Vec<usize> = labels.collect();
        self.figures_of(probabilities.select(Axis(0), &self.unseen).view(), &labels)
    }

    /// On the rows of each file, unless one has them all: for each tier the probabilities that it gives.
    pub(super) fn by_file(
        &self,
        (cheap, full): (Option<&Array2<f32>>, Option<&Array2<f32>>),
        shared: &Shared,
    ) -> BTreeMap<String, FileFigures> {
        let mut files: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (row, origin) in self.dataset.origins.iter().enumerate() {
            if let Some(origin) = origin {
                files.entry(origin).or_default().push(row);
            }
        }
        if files
            .values()
            .any(|rows| rows.len() == self.dataset.labels.len())
        {
            return BTreeMap::new();
        }
        let of_file = |(name, rows): (&str, Vec<usize>)| {
            let labels: Vec<usize> = rows.iter().map(|row| self.told[*row]).collect();
            let figures = |probabilities: &Array2<f32>| {
                self.figures_of(probabilities.select(Axis(0), &rows).view(), &labels)
            };
            let figures = FileFigures {
                rows: rows.len(),
                cheap: cheap.map(figures),
                full: full.map(figures),
                cascade: figures(&shared.probabilities),
                cheap_share: match (cheap, full) {
                    (Some(cheap), Some(_)) => shared.settled(cheap, &rows),
                    (cheap, _) => f64::from(u8::from(cheap.is_some())),
                },
            };
            (name.to_owned(), figures)
        };
        files.into_iter().map(of_file).collect()
    }

    fn figures_of(&self, probabilities: ArrayView2<'_, f32>, labels: &[usize]) -> Figures {
        let top = calibration::top(probabilities, labels);
        let share = |right: usize, of: usize| right as f64 / of.max(1) as f64;
        let inside: Vec<bool> = (0..labels.len())
            .filter(|row| Some(labels[*row]) != self.out_of_domain)
            .map(|row| {
                let mut row_of = probabilities.row(row).to_vec();
                if let Some(outside) = self.out_of_domain {
                    row_of[outside] = 0.0;
                }
                argmax(&row_of) == labels[row]
            })
            .collect();
        Figures {
            accuracy: share(top.iter().filter(|(_, right)| *right).count(), top.len()),
            in_domain_accuracy: share(inside.iter().filter(|right| **right).count(), inside.len()),
            ece: calibration::ece(&top),
            nll: calibration::likelihood(probabilities, labels),
        }
    }
}
