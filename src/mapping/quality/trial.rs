//! Predictions of rows by models that have not seen them: nested cross-validation. Pure.
//!
//! Rows are held back fold by fold. What is learnt on the rest (how strongly experts are held together, the calibration,
//! λ) is learnt from rows that were held back within the rest. A model that has seen neither of two folds serves both
//! ways, so that five folds take sixteen fits instead of thirty-one.

use ndarray::{Array2, ArrayView1, ArrayView2, Axis};

use super::{
    calibration::Calibration,
    fit::{QualityError, Sample, Strength},
    model::QualityModel,
    prefer::{Costs, Preferences},
};
use crate::mapping::fit::folds::OUTER;

/// Parts in which rows are held back in turn: those of the plain mapping, so that both are judged on the same splits.
pub const FOLDS: usize = OUTER;

/// What is tried, the most cautious first.
///
/// What is shared says how hard a question is and has all experts' scores to learn
/// from; what is an expert's own has its own alone, and most of the differences between experts are noise.
pub const STRENGTHS: [Strength; 4] = [
    Strength {
        shared: 1.0,
        own: 1000.0,
    },
    Strength {
        shared: 1.0,
        own: 100.0,
    },
    Strength {
        shared: 1.0,
        own: 10.0,
    },
    Strength {
        shared: 3.0,
        own: 3.0,
    },
];

/// How the rows are to be split and counted.
pub struct Split<'t> {
    /// The fold of each row, below [`FOLDS`]; rows with the same text must share one.
    pub fold_of: Vec<usize>,
    /// What each row counts for.
    pub weights: Vec<f64>,
    /// The scores that are to be expected of experts in categories, experts by categories, by rows outside of some folds, each named once.
    pub expected: &'t dyn Fn(&[usize]) -> Array2<f64>,
    /// Decides in which order rows take turns, and what the waves over their form are.
    pub seed: u64,
}

/// Predictions of every row by models that have not seen it.
pub struct Trial<'t, 'o> {
    sample: &'t Sample<'o>,
    split: Split<'t>,
    strengths: &'t [Strength],
    /// For each strength, the logits of each row by a model that has not seen the row's fold.
    once: Vec<Array2<f32>>,
    /// For each strength and fold, the logits of each row by a model that has seen neither the row's fold nor that one.
    twice: Vec<Vec<Array2<f32>>>,
}

/// One fold's rows with what can be said of them without having seen them.
pub struct Fold {
    /// The rows that were learnt from.
    pub seen: Vec<usize>,
    /// Predictions for them, each by models that have not seen it.
    pub predicted_seen: Array2<f32>,
    /// The rows that were held back.
    pub held: Vec<usize>,
    /// Predictions for them.
    pub predicted_held: Array2<f32>,
}

impl<'t, 'o> Trial<'t, 'o> {
    /// Fits every model that is needed, under every strength of at least one. `step` is called after each of [`Self::STEPS`] fits.
    ///
    /// # Errors
    /// A fit fails.
    pub fn run(
        sample: &'t Sample<'o>,
        split: Split<'t>,
        strengths: &'t [Strength],
        step: &dyn Fn(),
    ) -> Result<Self, QualityError> {
        let blank = Array2::zeros(sample.scores().raw_dim());
        let mut once = vec![blank.clone(); strengths.len()];
        let mut twice = vec![vec![blank; FOLDS]; strengths.len()];
        let rows_of = |wanted: &dyn Fn(usize) -> bool| -> Vec<usize> {
            let rows = 0..sample.rows();
            rows.filter(|row| wanted(split.fold_of[*row])).collect()
        };
        for (a, b) in (0..FOLDS).flat_map(|a| (a..FOLDS).map(move |b| (a, b))) {
            let seen = rows_of(&|fold| fold != a && fold != b);
            let left_out: &[usize] = if a == b { &[a] } else { &[a, b] };
            let expected = (split.expected)(left_out);
            let models = sample.fit(&seen, &expected, strengths, split.seed)?;
            for (strength, model) in models.iter().enumerate() {
                for (held, other) in [(a, b), (b, a)] {
                    let rows = rows_of(&|fold| fold == held);
                    let to = if a == b {
                        &mut once[strength]
                    } else {
                        &mut twice[strength][other]
                    };
                    scatter(to, &rows, &sample.logits(model, &rows));
                }
            }
            step();
        }
        Ok(Self {
            sample,
            split,
            strengths,
            once,
            twice,
        })
    }

    /// How often [`Self::run`] calls `step`.
    pub const STEPS: usize = FOLDS * (FOLDS + 1) / 2;

    /// The folds, each predicted by what was learnt on the others.
    pub fn folds(&self) -> Vec<Fold> {
        (0..FOLDS).map(|fold| self.fold(fold)).collect()
    }

    fn fold(&self, fold: usize) -> Fold {
        let (held, seen): (Vec<usize>, Vec<usize>) =
            (0..self.sample.rows()).partition(|row| self.split.fold_of[*row] == fold);
        let of_seen = |of_strength: &Vec<Array2<f32>>| of_strength[fold].select(Axis(0), &seen);
        let inner: Vec<Array2<f32>> = self.twice.iter().map(of_seen).collect();
        let (best, calibration) = self.learn(&inner, &seen);
        Fold {
            predicted_seen: calibration.predictions(inner[best].clone()),
            predicted_held: calibration.predictions(self.once[best].select(Axis(0), &held)),
            seen,
            held,
        }
    }

    /// The strength whose predictions tell the experts apart best, with its calibration; of equals the most cautious.
    fn learn(&self, logits: &[Array2<f32>], at: &[usize]) -> (usize, Calibration) {
        let scores = self.sample.scores().select(Axis(0), at);
        let weights: Vec<f64> = at.iter().map(|row| self.split.weights[*row]).collect();
        let tried = |strength: usize| {
            let calibration = Calibration::fit(logits[strength].view(), scores.view());
            let predicted = calibration.predictions(logits[strength].clone());
            let loss = contrast_loss(predicted.view(), scores.view(), &weights);
            (loss, strength, calibration)
        };
        let mut best = tried(0);
        for strength in 1..logits.len() {
            let next = tried(strength);
            if next.0 < best.0 {
                best = next;
            }
        }
        (best.1, best.2)
    }

    /// Predictions for every row, each by models that have not seen it, as the model of all rows is calibrated.
    pub fn predicted(&self) -> Array2<f32> {
        let (best, calibration) = self.learn_all();
        calibration.predictions(self.once[best].clone())
    }

    fn learn_all(&self) -> (usize, Calibration) {
        let all: Vec<usize> = (0..self.sample.rows()).collect();
        self.learn(&self.once, &all)
    }

    /// The model of all rows. `priced`: what experts cost, and what the words for λ mean. `allowed`: which expert may
    /// answer which category, experts by categories.
    ///
    /// # Errors
    /// The fit fails.
    pub fn model(
        &self,
        priced: (Option<Costs>, Preferences),
        allowed: &Array2<bool>,
    ) -> Result<QualityModel, QualityError> {
        let rows: Vec<usize> = (0..self.sample.rows()).collect();
        let (best, calibration) = self.learn_all();
        let strength = &self.strengths[best..=best];
        let expected = (self.split.expected)(&[]);
        let models = self
            .sample
            .fit(&rows, &expected, strength, self.split.seed)?;
        let model = models.into_iter().next();
        let model = model.ok_or(QualityError::NotFinite { rows: rows.len() })?;
        Ok(model.completed(&calibration, priced, allowed))
    }
}

/// How far predicted differences between experts are from those that came out: the weighted sum of their squares, each
/// row's less its mean over the experts that were tried. What experts have in common chooses none of them.
fn contrast_loss(
    predicted: ArrayView2<'_, f32>,
    scores: ArrayView2<'_, f32>,
    weights: &[f64],
) -> f64 {
    let rows = predicted.rows().into_iter().zip(scores.rows());
    rows.zip(weights)
        .map(|((predicted, scores), weight)| weight * contrast(predicted, scores))
        .sum()
}

fn contrast(predicted: ArrayView1<'_, f32>, scores: ArrayView1<'_, f32>) -> f64 {
    let pairs = predicted.into_iter().zip(scores);
    let off: Vec<f64> = pairs
        .filter(|(_, score)| !score.is_nan())
        .map(|(predicted, score)| f64::from(predicted - score))
        .collect();
    let mean = off.iter().sum::<f64>() / off.len().max(1) as f64;
    off.iter().map(|off| (off - mean).powi(2)).sum()
}

fn scatter(to: &mut Array2<f32>, rows: &[usize], from: &Array2<f32>) {
    for (row, values) in rows.iter().zip(from.rows()) {
        to.row_mut(*row).assign(&values);
    }
}
