//! What a fit minimises: weighted mean cross-entropy plus (l2 / 2)·‖W‖², with a penalty for each kind of feature.

use std::cell::RefCell;

use argmin::{
    core::{CostFunction, Error, Executor, Gradient},
    solver::{linesearch::MoreThuenteLineSearch, quasinewton::LBFGS},
};
use rayon::prelude::*;

use super::{Penalty, Rows, Targets};

/// Pairs of steps and gradient changes that stand in for the Hessian (Nocedal & Wright advise 3 to 20).
const MEMORY: usize = 7;

/// A gradient this short ends the fit: on real rows neither accuracy nor the third decimal of the likelihood moves
/// beyond it.
const GRADIENT_NORM_MIN: f64 = 1e-4;

/// Parts into which the rows are cut to be worked on at once. A constant: sums of floating-point numbers depend on how
/// they are grouped, and the result must not depend on the machine's number of cores.
const PARTS: usize = 4;

/// Weights and biases as one flat vector: buckets × classes, dimensions × classes, classes.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameters {
    pub(super) classes: usize,
    pub(super) buckets: usize,
    pub(super) flat: Vec<f64>,
}

impl Parameters {
    pub(super) fn zeros(rows: &Rows, classes: usize) -> Self {
        let count = (rows.bucket_count() + rows.dimensions() + 1) * classes;
        Self {
            classes,
            buckets: rows.bucket_count(),
            flat: vec![0.0; count],
        }
    }

    pub(super) fn sparse(&self) -> &[f64] {
        &self.flat[..self.buckets * self.classes]
    }

    pub(super) fn dense(&self) -> &[f64] {
        &self.flat[self.buckets * self.classes..self.flat.len() - self.classes]
    }

    pub(super) fn bias(&self) -> &[f64] {
        &self.flat[self.flat.len() - self.classes..]
    }

    /// The logits of one row.
    pub(super) fn logits(&self, rows: &Rows, row: usize) -> Vec<f32> {
        let mut logits = self.bias().to_vec();
        let mut add = |weights: &[f64], value: f32| {
            for (logit, weight) in logits.iter_mut().zip(weights) {
                *logit += f64::from(value) * weight;
            }
        };
        for (bucket, value) in rows.sparse(row) {
            add(
                &self.sparse()[bucket * self.classes..][..self.classes],
                value,
            );
        }
        for (weights, value) in self.dense().chunks_exact(self.classes).zip(rows.dense(row)) {
            add(weights, *value);
        }
        logits.into_iter().map(super::narrow).collect()
    }
}

/// The loss of multinomial logistic regression on some of the rows.
#[derive(Clone, Copy)]
pub(super) struct Loss<'r> {
    pub(super) rows: &'r Rows,
    pub(super) targets: &'r Targets,
    /// The rows that count.
    pub(super) at: &'r [usize],
    pub(super) penalty: Penalty,
}

/// A loss with what it was last asked about: a line search asks for the cost and for the gradient at the same place.
struct Objective<'r> {
    loss: Loss<'r>,
    last: RefCell<Option<Point>>,
}

#[derive(Clone)]
struct Point {
    parameters: Vec<f64>,
    cost: f64,
    gradient: Vec<f64>,
}

impl Loss<'_> {
    /// Minimises by L-BFGS with a Moré–Thuente line search, from `start`.
    pub(super) fn minimise(
        self,
        start: Parameters,
        iterations_max: u64,
    ) -> Result<Parameters, Error> {
        let line_search = MoreThuenteLineSearch::new();
        let solver = LBFGS::new(line_search, MEMORY).with_tolerance_grad(GRADIENT_NORM_MIN)?;
        let Parameters {
            classes,
            buckets,
            flat,
        } = start;
        let objective = Objective {
            loss: self,
            last: RefCell::default(),
        };
        let mut done = Executor::new(objective, solver)
            .configure(|state| state.param(flat).max_iters(iterations_max))
            .timer(false)
            .run()?;
        let best = done.state.take_best_param();
        let flat = best.ok_or_else(|| Error::msg("the optimiser kept no parameters"))?;
        Ok(Parameters {
            classes,
            buckets,
            flat,
        })
    }

    fn evaluate(&self, parameters: &[f64]) -> Point {
        let weights: Vec<f32> = parameters.iter().copied().map(super::narrow).collect();
        let part = self.at.len().div_ceil(PARTS).max(1);
        let parts: Vec<(f64, Vec<f32>)> = self
            .at
            .par_chunks(part)
            .map(|at| self.part(&weights, at))
            .collect();
        let share = 1.0 / self.at.len() as f64;
        let mut cost = parts.iter().map(|(cost, _)| cost * share).sum::<f64>();
        let mut gradient = vec![0.0; parameters.len()];
        for (_, of_part) in &parts {
            for (sum, part) in gradient.iter_mut().zip(of_part) {
                *sum += f64::from(*part) * share;
            }
        }
        let classes = self.targets.classes();
        let sparse = self.rows.bucket_count() * classes;
        let penalised = parameters.len() - classes;
        for (range, l2) in [
            (0..sparse, self.penalty.sparse),
            (sparse..penalised, self.penalty.dense),
        ] {
            for (gradient, weight) in gradient[range.clone()].iter_mut().zip(&parameters[range]) {
                *gradient += l2 * weight;
                cost += l2 / 2.0 * weight * weight;
            }
        }
        Point {
            parameters: parameters.to_vec(),
            cost,
            gradient,
        }
    }

    /// Sum of the loss over some rows, and of its gradient.
    fn part(&self, weights: &[f32], at: &[usize]) -> (f64, Vec<f32>) {
        let classes = self.targets.classes();
        let dense_from = self.rows.bucket_count() * classes;
        let bias_from = weights.len() - classes;
        let mut cost = 0.0;
        let mut gradient = vec![0.0; weights.len()];
        let mut residual = vec![0.0; classes];
        for row in at {
            residual.copy_from_slice(&weights[bias_from..]);
            for (bucket, value) in self.rows.sparse(*row) {
                add_scaled(
                    &mut residual,
                    value,
                    &weights[bucket * classes..][..classes],
                );
            }
            let dense = self.rows.dense(*row);
            let of_dense = weights[dense_from..bias_from].chunks_exact(classes);
            for (weights, value) in of_dense.zip(dense) {
                add_scaled(&mut residual, *value, weights);
            }
            cost += self.loss_to_residual(*row, &mut residual);
            for (bucket, value) in self.rows.sparse(*row) {
                add_scaled(
                    &mut gradient[bucket * classes..][..classes],
                    value,
                    &residual,
                );
            }
            let of_dense = gradient[dense_from..bias_from].chunks_exact_mut(classes);
            for (gradient, value) in of_dense.zip(dense) {
                add_scaled(gradient, *value, &residual);
            }
            add_scaled(&mut gradient[bias_from..], 1.0, &residual);
        }
        (cost, gradient)
    }

    /// The weighted loss of a row with these logits, which become the loss's gradient.
    fn loss_to_residual(&self, row: usize, logits: &mut [f32]) -> f64 {
        let weight = self.targets.weights[row];
        let greatest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f32 = logits.iter().map(|logit| (logit - greatest).exp()).sum();
        let log_sum = greatest + sum.ln();
        let mut loss = 0.0;
        for (logit, wanted) in logits.iter_mut().zip(self.targets.probabilities.row(row)) {
            loss += wanted * (log_sum - *logit);
            *logit = weight * ((*logit - log_sum).exp() - wanted);
        }
        f64::from(loss * weight)
    }
}

fn add_scaled(sum: &mut [f32], factor: f32, row: &[f32]) {
    for (sum, value) in sum.iter_mut().zip(row) {
        *sum += factor * value;
    }
}

impl Objective<'_> {
    fn point(&self, parameters: &[f64]) -> Point {
        if let Some(last) = &*self.last.borrow()
            && last.parameters == parameters
        {
            return last.clone();
        }
        let point = self.loss.evaluate(parameters);
        *self.last.borrow_mut() = Some(point.clone());
        point
    }
}

impl CostFunction for Objective<'_> {
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, parameters: &Vec<f64>) -> Result<f64, Error> {
        Ok(self.point(parameters).cost)
    }
}

impl Gradient for Objective<'_> {
    type Param = Vec<f64>;
    type Gradient = Vec<f64>;

    fn gradient(&self, parameters: &Vec<f64>) -> Result<Vec<f64>, Error> {
        Ok(self.point(parameters).gradient)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn the_gradient_is_the_slope_of_the_cost() {
        let sparse = [vec![(0, 0.6), (2, -0.8)], vec![(1, 1.0)], vec![]];
        let rows = Rows::new(&sparse, 3, array![[0.5, -1.0], [0.2, 0.3], [1.5, 0.0]]);
        let targets = Targets::balanced(vec![0, 2, 2], 3, 0.1);
        let loss = Loss {
            rows: &rows,
            targets: &targets,
            at: &[0, 1, 2],
            penalty: Penalty {
                sparse: 0.3,
                dense: 0.1,
            },
        };
        let mut parameters = Parameters::zeros(&rows, 3).flat;
        for (at, parameter) in parameters.iter_mut().enumerate() {
            *parameter = (at as f64 * 0.7).sin();
        }
        let gradient = loss.evaluate(&parameters).gradient;
        for at in 0..parameters.len() {
            let step = 1e-2;
            let mut cost = |off: f64| {
                let kept = parameters[at];
                parameters[at] += off;
                let cost = loss.evaluate(&parameters).cost;
                parameters[at] = kept;
                cost
            };
            let slope = (cost(step) - cost(-step)) / (2.0 * step);
            assert!(
                (slope - gradient[at]).abs() < 2e-3,
                "{at}: {slope} {}",
                gradient[at]
            );
        }
    }
}
