//! A scale and a shift for the logits of each class.

use argmin::{
    core::{CostFunction, Error, Executor, Gradient},
    solver::{linesearch::MoreThuenteLineSearch, quasinewton::LBFGS},
};
use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use super::{Calibration, softmax, temperature};
use crate::router::narrow;

/// Pull of every class's scale towards the temperature's and of its shift towards 0: a class with few rows keeps close
/// to what holds for all.
const PULL: f64 = 1e-3;

const ITERATIONS_MAX: u64 = 60;

/// Pairs of steps and gradient changes that stand in for the Hessian.
const MEMORY: usize = 7;

/// Scales and shifts, one for each class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vector {
    scales: Vec<f32>,
    shifts: Vec<f32>,
}

impl Vector {
    pub(super) fn apply(&self, logits: &[f32]) -> Vec<f32> {
        let parts = self.scales.iter().zip(&self.shifts);
        logits
            .iter()
            .zip(parts)
            .map(|(logit, (scale, shift))| logit * scale + shift)
            .collect()
    }

    pub(super) fn is_sound(&self, classes: usize) -> bool {
        let finite = self
            .scales
            .iter()
            .chain(&self.shifts)
            .all(|number| number.is_finite());
        self.scales.len() == classes && self.shifts.len() == classes && finite
    }
}

pub(super) fn fit(logits: ArrayView2<'_, f32>, labels: &[usize]) -> Calibration {
    let classes = logits.ncols();
    let beta = 1.0 / f64::from(temperature::likeliest(logits, labels));
    let start = [vec![beta; classes], vec![0.0; classes]].concat();
    let problem = Problem {
        logits,
        labels,
        beta,
    };
    // Where the optimiser finds no way down, the temperature stands.
    let flat = minimise(problem, start.clone()).unwrap_or(start);
    let (scales, shifts) = flat.split_at(classes);
    Calibration::Vector(Vector {
        scales: scales.iter().copied().map(narrow).collect(),
        shifts: shifts.iter().copied().map(narrow).collect(),
    })
}

struct Problem<'r> {
    logits: ArrayView2<'r, f32>,
    labels: &'r [usize],
    beta: f64,
}

fn minimise(problem: Problem<'_>, start: Vec<f64>) -> Result<Vec<f64>, Error> {
    let solver = LBFGS::new(MoreThuenteLineSearch::new(), MEMORY).with_tolerance_grad(1e-5)?;
    let mut done = Executor::new(problem, solver)
        .configure(|state| state.param(start).max_iters(ITERATIONS_MAX))
        .timer(false)
        .run()?;
    done.state
        .take_best_param()
        .ok_or_else(|| Error::msg("the optimiser kept no parameters"))
}

impl Problem<'_> {
    fn evaluate(&self, flat: &[f64]) -> (f64, Vec<f64>) {
        let classes = self.logits.ncols();
        let (scales, shifts) = flat.split_at(classes);
        let vector = Vector {
            scales: scales.iter().copied().map(narrow).collect(),
            shifts: shifts.iter().copied().map(narrow).collect(),
        };
        let share = 1.0 / self.labels.len() as f64;
        let mut cost = 0.0;
        let mut gradient = vec![0.0; flat.len()];
        for (row, label) in self.logits.rows().into_iter().zip(self.labels) {
            let logits = row.to_vec();
            let probabilities = softmax(&vector.apply(&logits), 1.0);
            cost -= f64::from(probabilities[*label].max(f32::MIN_POSITIVE)).ln() * share;
            for (class, (probability, logit)) in probabilities.iter().zip(&logits).enumerate() {
                let residual = f64::from(*probability) - f64::from(u8::from(class == *label));
                gradient[class] += residual * f64::from(*logit) * share;
                gradient[classes + class] += residual * share;
            }
        }
        for (at, parameter) in flat.iter().enumerate() {
            let off = parameter - if at < classes { self.beta } else { 0.0 };
            cost += PULL / 2.0 * off * off;
            gradient[at] += PULL * off;
        }
        (cost, gradient)
    }
}

impl CostFunction for Problem<'_> {
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, flat: &Vec<f64>) -> Result<f64, Error> {
        Ok(self.evaluate(flat).0)
    }
}

impl Gradient for Problem<'_> {
    type Param = Vec<f64>;
    type Gradient = Vec<f64>;

    fn gradient(&self, flat: &Vec<f64>) -> Result<Vec<f64>, Error> {
        Ok(self.evaluate(flat).1)
    }
}
