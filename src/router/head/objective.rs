//! What a fit minimises: weighted mean cross-entropy plus (l2 / 2)·‖W‖², with a penalty for each kind of feature.

use std::{cell::RefCell, ops::Range};

use argmin::{
    core::{CostFunction, Error, Executor, Gradient},
    solver::{linesearch::MoreThuenteLineSearch, quasinewton::LBFGS},
};
use ndarray::{Array2, ArrayView1, ArrayView2, Axis, s};
use rayon::prelude::*;

use super::{Head, Penalty, Rows, Targets};
use crate::router::narrow;

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

    /// What a head says, for the classes that `old_of` names among the head's: zeros for the others.
    ///
    /// The head's first `own` dense features are one for each of its classes, and become one for each of the new ones;
    /// a new class hears its own as the old ones hear theirs.
    pub fn of_head(head: &Head, old_of: &[Option<usize>], own: usize) -> Self {
        let classes = old_of.len();
        let row = |old: &[f32]| -> Vec<f64> {
            let of_class = |class: &Option<usize>| class.map_or(0.0, |class| f64::from(old[class]));
            old_of.iter().map(of_class).collect()
        };
        let sparse = head.sparse();
        let buckets = sparse
            .scales
            .iter()
            .zip(sparse.values.chunks_exact(head.classes()));
        let mut flat: Vec<f64> = buckets
            .flat_map(|(scale, values)| {
                let values: Vec<f32> = values
                    .iter()
                    .map(|value| f32::from(*value) * scale)
                    .collect();
                row(&values)
            })
            .collect();
        let dense: Vec<&[f32]> = head.dense().chunks_exact(head.classes()).collect();
        let (of_classes, rest) = dense.split_at(own.min(dense.len()));
        if own > 0 {
            let to_themselves = of_classes
                .iter()
                .enumerate()
                .map(|(class, weights)| f64::from(weights[class]));
            let mean = to_themselves.sum::<f64>() / of_classes.len().max(1) as f64;
            for (new, old) in old_of.iter().enumerate() {
                let own = |at: usize| if at == new { mean } else { 0.0 };
                let of_new = || (0..classes).map(own).collect();
                flat.extend(old.map_or_else(of_new, |old| row(of_classes[old])));
            }
        }
        flat.extend(rest.iter().flat_map(|weights| row(weights)));
        flat.extend(row(head.bias()));
        Self {
            classes,
            buckets: sparse.scales.len(),
            flat,
        }
    }

    /// The same for dense features that are not multiplied by `factors` before: one for each of the first of them.
    #[must_use]
    pub fn of_unscaled(mut self, factors: &[f32]) -> Self {
        let dense = self.flat[self.buckets * self.classes..].chunks_exact_mut(self.classes);
        for (weights, factor) in dense.zip(factors) {
            weights
                .iter_mut()
                .for_each(|weight| *weight *= f64::from(*factor));
        }
        self
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
        logits.into_iter().map(narrow).collect()
    }
}

/// The loss of multinomial logistic regression on some of the rows.
pub(super) struct Loss<'r> {
    rows: &'r Rows,
    targets: &'r Targets,
    /// The rows that count.
    at: &'r [usize],
    /// Their dense features.
    dense: Array2<f32>,
    penalty: Penalty,
    /// Where the penalty pulls to; none: to 0.
    prior: Option<&'r Parameters>,
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

impl<'r> Loss<'r> {
    /// Of the rows `at` some places; the penalty pulls to the `prior`, or to 0.
    pub(super) fn new(
        (rows, targets, at): (&'r Rows, &'r Targets, &'r [usize]),
        (penalty, prior): (Penalty, Option<&'r Parameters>),
    ) -> Self {
        Self {
            dense: rows.dense_of(at),
            rows,
            targets,
            at,
            penalty,
            prior,
        }
    }

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
        let weights: Vec<f32> = parameters.iter().copied().map(narrow).collect();
        let border = |part: usize| self.at.len() * part / PARTS;
        let parts: Vec<(f64, Vec<f32>)> = (0..PARTS)
            .into_par_iter()
            .map(|part| self.part(&weights, border(part)..border(part + 1)))
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
            for at in range {
                let off = parameters[at] - self.prior.map_or(0.0, |prior| prior.flat[at]);
                gradient[at] += l2 * off;
                cost += l2 / 2.0 * off * off;
            }
        }
        Point {
            parameters: parameters.to_vec(),
            cost,
            gradient,
        }
    }

    /// Sum of the loss over some of the rows, and of its gradient. Dense features go through matrix products, which is
    /// several times faster than row by row.
    fn part(&self, weights: &[f32], rows: Range<usize>) -> (f64, Vec<f32>) {
        let classes = self.targets.classes();
        let dense_from = self.rows.bucket_count() * classes;
        let bias_from = weights.len() - classes;
        let dense = self.dense.slice(s![rows.clone(), ..]);
        let shape = (dense.ncols(), classes);
        let of_dense = ArrayView2::from_shape(shape, &weights[dense_from..bias_from]);
        let mut residuals = match of_dense {
            Ok(of_dense) => dense.dot(&of_dense),
            Err(_) => Array2::zeros((rows.len(), classes)),
        };
        residuals += &ArrayView1::from(&weights[bias_from..]);
        let mut cost = 0.0;
        let mut gradient = vec![0.0; weights.len()];
        for (row, mut residual) in self.at[rows].iter().zip(residuals.rows_mut()) {
            let Some(residual) = residual.as_slice_mut() else {
                continue;
            };
            for (bucket, value) in self.rows.sparse(*row) {
                add_scaled(residual, value, &weights[bucket * classes..][..classes]);
            }
            cost += self.loss_to_residual(*row, residual);
            for (bucket, value) in self.rows.sparse(*row) {
                add_scaled(
                    &mut gradient[bucket * classes..][..classes],
                    value,
                    residual,
                );
            }
        }
        let of_dense = dense.t().dot(&residuals);
        let biases = residuals.sum_axis(Axis(0));
        let tail = of_dense.iter().chain(&biases);
        for (gradient, value) in gradient[dense_from..].iter_mut().zip(tail) {
            *gradient = *value;
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
        let penalty = Penalty {
            sparse: 0.3,
            dense: 0.1,
        };
        let loss = Loss::new((&rows, &targets, &[0, 1, 2]), (penalty, None));
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
