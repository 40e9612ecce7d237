//! From a head's logits to a confidence that means something. Pure.
//!
//! Three ways are fitted on logits of rows that the head has not seen, and cross-validation on those rows chooses: the
//! one under which the labels are likeliest.

mod isotonic;
mod temperature;
mod vector;

use ndarray::{Array2, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

pub use self::{isotonic::Curve, vector::Vector};
use crate::simd;

/// Bins of the expected calibration error, each with the same number of rows.
pub const ECE_BINS: usize = 15;

/// A probability is taken to be no smaller: one row must not make a way of calibration infinitely bad.
const PROBABILITY_MIN: f32 = 1e-6;

/// How logits become probabilities.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Calibration {
    /// All logits are divided by one number (Guo et al. 2017, "On Calibration of Modern Neural Networks").
    Temperature {
        /// The number.
        temperature: f32,
    },
    /// Every class's logit is scaled and shifted for itself (Guo et al. 2017).
    Vector(Vector),
    /// Every class's probability at a temperature is sent through a rising curve, and all are divided by their sum
    /// (Zadrozny & Elkan 2002, "Transforming Classifier Scores into Accurate Multiclass Probability Estimates").
    Isotonic {
        /// The temperature before.
        temperature: f32,
        /// One for each class.
        curves: Vec<Curve>,
    },
}

/// How one way of calibration did on rows held back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Which way.
    pub kind: String,
    /// Mean negative log-likelihood of the labels, in nats.
    pub nll: f64,
    /// Expected calibration error of the likeliest class over [`ECE_BINS`] bins of equal mass.
    pub ece: f64,
}

/// A way to fit one kind of calibration.
type Way = fn(ArrayView2<'_, f32>, &[usize]) -> Calibration;

/// The simplest first: it is taken where the others are no better.
const WAYS: [(&str, Way); 3] = [
    ("temperature", temperature::fit),
    ("vector", vector::fit),
    ("isotonic", isotonic::fit),
];

/// The best way for these logits (rows × classes) of rows that the head has not seen, fitted on all of them, with what
/// each way reached on the `folds` held back in turn.
pub fn choose(
    logits: ArrayView2<'_, f32>,
    labels: &[usize],
    folds: &[usize],
) -> (Calibration, Vec<Trial>) {
    let trials: Vec<Trial> = WAYS
        .iter()
        .map(|(kind, way)| {
            let probabilities = cross_fitted(*way, logits, labels, folds);
            Trial {
                kind: (*kind).to_owned(),
                nll: likelihood(probabilities.view(), labels),
                ece: ece(&top(probabilities.view(), labels)),
            }
        })
        .collect();
    let best = (0..WAYS.len()).min_by(|a, b| trials[*a].nll.total_cmp(&trials[*b].nll));
    let (_, way) = WAYS[best.unwrap_or(0)];
    (way(logits, labels), trials)
}

/// Probabilities of all rows, each by the chosen `calibration`'s kind fitted on the other folds: what a fair figure or
/// threshold is taken from.
pub fn held_back(
    calibration: &Calibration,
    logits: ArrayView2<'_, f32>,
    labels: &[usize],
    folds: &[usize],
) -> Array2<f32> {
    let way = match calibration {
        Calibration::Temperature { .. } => temperature::fit,
        Calibration::Vector(_) => vector::fit,
        Calibration::Isotonic { .. } => isotonic::fit as Way,
    };
    cross_fitted(way, logits, labels, folds)
}

fn cross_fitted(
    way: Way,
    logits: ArrayView2<'_, f32>,
    labels: &[usize],
    folds: &[usize],
) -> Array2<f32> {
    let mut probabilities = Array2::zeros(logits.raw_dim());
    let count = folds.iter().max().map_or(1, |last| last + 1);
    for fold in 0..count {
        let seen: Vec<usize> = (0..labels.len())
            .filter(|row| count == 1 || folds[*row] != fold)
            .collect();
        let of_seen: Vec<usize> = seen.iter().map(|row| labels[*row]).collect();
        let calibration = way(logits.select(Axis(0), &seen).view(), &of_seen);
        for row in (0..labels.len()).filter(|row| folds[*row] == fold) {
            let of_row = calibration.probabilities(&logits.row(row).to_vec());
            probabilities
                .row_mut(row)
                .assign(&ndarray::ArrayView1::from(&of_row));
        }
    }
    probabilities
}

impl Calibration {
    /// Probabilities of one row of logits; they add up to 1.
    pub fn probabilities(&self, logits: &[f32]) -> Vec<f32> {
        match self {
            Self::Temperature { temperature } => softmax(logits, *temperature),
            Self::Vector(vector) => softmax(&vector.apply(logits), 1.0),
            Self::Isotonic {
                temperature,
                curves,
            } => {
                let mut probabilities = softmax(logits, *temperature);
                for (probability, curve) in probabilities.iter_mut().zip(curves) {
                    *probability = curve.at(*probability).max(PROBABILITY_MIN);
                }
                bring_to_one(&mut probabilities);
                probabilities
            }
        }
    }

    /// Whether it fits a head of so many classes and every number is usable.
    pub fn is_sound(&self, classes: usize) -> bool {
        match self {
            Self::Temperature { temperature } => *temperature > 0.0 && temperature.is_finite(),
            Self::Vector(vector) => vector.is_sound(classes),
            Self::Isotonic {
                temperature,
                curves,
            } => {
                *temperature > 0.0
                    && temperature.is_finite()
                    && curves.len() == classes
                    && curves.iter().all(Curve::is_sound)
            }
        }
    }
}

/// Probabilities of one row of logits at a temperature; they add up to 1.
pub fn softmax(logits: &[f32], temperature: f32) -> Vec<f32> {
    let greatest = simd::greatest(logits);
    let share = |logit: &f32| simd::exp((logit - greatest) / temperature);
    let mut probabilities: Vec<f32> = logits.iter().map(share).collect();
    bring_to_one(&mut probabilities);
    probabilities
}

fn bring_to_one(probabilities: &mut [f32]) {
    let sum = simd::sum(probabilities);
    probabilities
        .iter_mut()
        .for_each(|probability| *probability /= sum);
}

/// The temperature that makes the labels likeliest.
pub fn likeliest_temperature(logits: ArrayView2<'_, f32>, labels: &[usize]) -> f32 {
    temperature::likeliest(logits, labels)
}

/// Mean negative log-likelihood of the labels, in nats, with the logits at the temperature that makes it least.
pub fn likeliest_nll(logits: ArrayView2<'_, f32>, labels: &[usize]) -> f64 {
    let temperature = temperature::likeliest(logits, labels);
    nll((&logits / temperature).view(), labels)
}

/// Mean negative log-likelihood of the labels, in nats, with the logits as they are.
pub fn nll(logits: ArrayView2<'_, f32>, labels: &[usize]) -> f64 {
    let of_row = |(row, label): (ndarray::ArrayView1<'_, f32>, &usize)| {
        f64::from(simd::log_sum_exp(&row.to_vec()) - row[*label])
    };
    logits
        .rows()
        .into_iter()
        .zip(labels)
        .map(of_row)
        .sum::<f64>()
        / labels.len() as f64
}

/// Mean negative log-likelihood of the labels, in nats, under these probabilities (rows × classes).
pub fn likelihood(probabilities: ArrayView2<'_, f32>, labels: &[usize]) -> f64 {
    let rows = probabilities.rows().into_iter().zip(labels);
    let losses = rows.map(|(row, label)| -f64::from(row[*label].max(PROBABILITY_MIN)).ln());
    losses.sum::<f64>() / labels.len() as f64
}

/// The likeliest class's probability of each row, and whether it is the right one.
pub fn top(probabilities: ArrayView2<'_, f32>, labels: &[usize]) -> Vec<(f32, bool)> {
    let rows = probabilities.rows().into_iter().zip(labels);
    rows.map(|(row, label)| {
        let best = argmax(row.as_slice().unwrap_or_default());
        (row[best], best == *label)
    })
    .collect()
}

/// The place of the greatest value, the first of equals.
pub fn argmax(values: &[f32]) -> usize {
    let greater = |best: usize, at: usize| if values[at] > values[best] { at } else { best };
    (1..values.len()).fold(0, greater)
}

/// Mean distance between confidence and the share that is right, over [`ECE_BINS`] bins of equal mass.
pub fn ece(rows: &[(f32, bool)]) -> f64 {
    let mut rows = rows.to_vec();
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    let gaps = (0..ECE_BINS).map(|bin| {
        let of_bin = &rows[rows.len() * bin / ECE_BINS..rows.len() * (bin + 1) / ECE_BINS];
        let gap = |(confidence, right): &(f32, bool)| {
            f64::from(*confidence) - f64::from(u8::from(*right))
        };
        of_bin.iter().map(gap).sum::<f64>().abs()
    });
    gaps.sum::<f64>() / rows.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    /// Three classes; a row's true class has the greatest logit with the chance that the logits themselves say, once
    /// divided by `sharpness`.
    fn rows(count: usize, sharpness: f32) -> (Array2<f32>, Vec<usize>) {
        let noise = |seed: usize| ((seed as f32 * 12.9898).sin() * 43_758.547).fract().abs();
        let mut labels = Vec::new();
        let logits =
            Array2::from_shape_fn((count, 3), |(row, class)| noise(row * 3 + class + 1) * 4.0);
        for row in 0..count {
            let chances = softmax(&logits.row(row).to_vec(), 1.0);
            let draw = noise(row * 7 + 100_003);
            labels
                .push(usize::from(draw > chances[0]) + usize::from(draw > chances[0] + chances[1]));
        }
        (logits * sharpness, labels)
    }

    fn in_turn(count: usize) -> Vec<usize> {
        (0..count).map(|row| row % 5).collect()
    }

    #[test]
    fn huge_logits_of_either_sign_neither_overflow_nor_vanish() {
        for logits in [[1000.0, 999.0], [-1000.0, -1001.0]] {
            let probabilities = softmax(&logits, 1.0);
            assert!((probabilities[0] - 0.731_058_6).abs() < 1e-6);
        }
        let loss = nll(array![[-1000.0_f32, -1000.0]].view(), &[0]);
        // Numbers of that size are 6e-5 apart.
        assert!((loss - std::f64::consts::LN_2).abs() < 1e-4);
    }

    #[test]
    fn the_loss_at_the_likeliest_temperature_is_no_matter_of_scale() {
        let (logits, labels) = rows(3000, 1.0);
        let least = likeliest_nll(logits.view(), &labels);
        for scale in [0.2, 1.0, 3.0] {
            let scaled = &logits * scale;
            assert!((likeliest_nll(scaled.view(), &labels) - least).abs() < 1e-4);
            assert!(least <= nll(scaled.view(), &labels) + 1e-4);
        }
    }

    #[test]
    fn every_way_mends_logits_that_are_too_sharp() {
        let (logits, labels) = rows(3000, 3.0);
        let plain: Vec<f32> = logits
            .rows()
            .into_iter()
            .flat_map(|row| softmax(&row.to_vec(), 1.0))
            .collect();
        let plain = Array2::from_shape_vec(logits.raw_dim(), plain).unwrap();
        let before = ece(&top(plain.view(), &labels));
        let (calibration, trials) = choose(logits.view(), &labels, &in_turn(3000));
        assert!(before > 0.1, "{before}");
        for trial in &trials {
            assert!(trial.ece < 0.04, "{trial:?}");
        }
        assert!(calibration.is_sound(3));
        let fair = held_back(&calibration, logits.view(), &labels, &in_turn(3000));
        assert!(ece(&top(fair.view(), &labels)) < 0.04);
    }

    #[test]
    fn probabilities_add_up_to_one_whatever_the_way() {
        let (logits, labels) = rows(400, 1.5);
        for (kind, way) in WAYS {
            let calibration = way(logits.view(), &labels);
            for logits in [[0.0, 0.0, 0.0], [90.0, -90.0, 3.0], [-1.0, -2.0, -3.0]] {
                let probabilities = calibration.probabilities(&logits);
                let sum: f32 = probabilities.iter().sum();
                assert!(
                    (sum - 1.0).abs() < 1e-5 && probabilities.iter().all(|p| *p >= 0.0),
                    "{kind}: {probabilities:?}"
                );
            }
        }
    }

    #[test]
    fn a_class_that_is_shifted_is_found_by_the_ways_that_look_at_classes() {
        let (mut logits, labels) = rows(3000, 1.0);
        logits.column_mut(1).mapv_inplace(|logit| logit + 2.0);
        let (_, trials) = choose(logits.view(), &labels, &in_turn(3000));
        assert!(trials[1].nll < trials[0].nll - 0.05, "{trials:?}");
    }

    #[test]
    fn the_calibration_error_is_the_mean_gap_of_the_bins() {
        let sure_and_wrong: Vec<(f32, bool)> = vec![(1.0, false); 30];
        assert!((ece(&sure_and_wrong) - 1.0).abs() < 1e-9);
        let fair: Vec<(f32, bool)> = (0..300).map(|row| (0.5, row % 2 == 0)).collect();
        assert!(ece(&fair) < 1e-9);
        assert!(ece(&[]).abs() < 1e-9);
    }
}
