//! How probabilities of rows held back compare with their labels.

use ndarray::{Array2, ArrayView2};

use super::Problem;
use crate::router::{
    artefact::Figures,
    calibration::{self, argmax},
};

impl Problem<'_> {
    /// The confidence in each row's likeliest category, and whether that is right; 0 for rows taken to be out of domain.
    pub(super) fn confidences(&self, probabilities: &Array2<f32>) -> Vec<(f32, bool)> {
        let rows = calibration::top(probabilities.view(), &self.dataset.labels).into_iter();
        rows.zip(probabilities.rows())
            .map(|(top, row)| match self.out_of_domain {
                Some(outside) if argmax(&row.to_vec()) == outside => (0.0, false),
                _ => top,
            })
            .collect()
    }

    pub(super) fn figures(&self, probabilities: ArrayView2<'_, f32>) -> Figures {
        let labels = &self.dataset.labels;
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
