//! What a fit minimises: weighted mean cross-entropy plus (l2 / 2)·‖W‖², with a penalty for each kind of feature.

use std::{
    cell::{Cell, RefCell},
    ops::Range,
};

use argmin::{
    core::{CostFunction, Error, Executor, Gradient},
    solver::{linesearch::MoreThuenteLineSearch, quasinewton::LBFGS},
};
use ndarray::{Array2, ArrayView1, ArrayView2, Axis, s};
use rayon::prelude::*;

use super::{
    Parameters, Penalty, Rows, Targets,
    columns::Columns,
    flat::{self, Flat},
};
use crate::{router::narrow, simd};

/// Pairs of steps and gradient changes that stand in for the Hessian (Nocedal & Wright advise 3 to 20).
const MEMORY: usize = 7;

/// A gradient this short ends the fit: on real rows neither accuracy nor the third decimal of the likelihood moves
/// beyond it.
const GRADIENT_NORM_MIN: f64 = 1e-4;

/// Evaluations for each iteration, at most. The line search has no bound of its own: where a step is too short to change a number
/// of 32 bits it would lengthen it for ever.
const EVALUATIONS_PER_ITERATION: u64 = 8;

/// Rows that one core works on at a time. A constant: sums of floating-point numbers depend on how they are
/// grouped, and the result must not depend on the machine's number of cores.
const CHUNK: usize = 1 << 10;

/// The loss of multinomial logistic regression on some of the rows.
pub(super) struct Loss<'r> {
    rows: &'r Rows,
    targets: &'r Targets,
    /// The rows that count.
    at: &'r [usize],
    /// Their sparse features, bucket by bucket.
    columns: Columns,
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
    /// How often it may still be evaluated.
    left: Cell<u64>,
}

#[derive(Clone)]
struct Point {
    parameters: Flat,
    cost: f64,
    gradient: Flat,
}

impl<'r> Loss<'r> {
    /// Of the rows `at` some places; the penalty pulls to the `prior`, or to 0.
    pub(super) fn new(
        (rows, targets, at): (&'r Rows, &'r Targets, &'r [usize]),
        (penalty, prior): (Penalty, Option<&'r Parameters>),
    ) -> Self {
        Self {
            columns: Columns::of(rows, at),
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
            left: Cell::new(EVALUATIONS_PER_ITERATION * iterations_max),
        };
        let mut done = Executor::new(objective, solver)
            .configure(|state| state.param(Flat::new(flat)).max_iters(iterations_max))
            .timer(false)
            .run()?;
        let best = done.state.take_best_param();
        let flat = best.ok_or_else(|| Error::msg("the optimiser kept no parameters"))?;
        Ok(Parameters {
            classes,
            buckets,
            flat: flat.into_numbers(),
        })
    }

    fn evaluate(&self, parameters: &Flat) -> Point {
        let weights = parameters.numbers();
        let (loss, residuals) = self.residuals(&weights);
        let mut gradient = vec![0.0; weights.len()];
        let classes = self.targets.classes();
        let (sparse, rest) = gradient.split_at_mut(self.rows.used().len() * classes);
        self.columns.add_products(&residuals, sparse);
        self.add_dense_products(&residuals, rest);
        Point {
            cost: loss + self.add_penalty(&weights, &mut gradient),
            parameters: parameters.clone(),
            gradient: Flat::new(gradient),
        }
    }

    /// The mean loss, and its gradient in the logits: rows × classes.
    fn residuals(&self, weights: &[f32]) -> (f64, Array2<f32>) {
        let classes = self.targets.classes();
        let mut residuals = Array2::zeros((self.at.len(), classes));
        let chunks = residuals
            .axis_chunks_iter_mut(Axis(0), CHUNK)
            .into_par_iter();
        let losses: Vec<f64> = chunks
            .enumerate()
            .map(|(chunk, mut residuals)| {
                let from = chunk * CHUNK;
                let logits = self.dense_logits(weights, from..from + residuals.nrows());
                residuals.assign(&logits);
                let rows = self.at[from..].iter().zip(residuals.rows_mut());
                rows.map(|(row, logits)| self.loss_to_residual(*row, weights, logits.into_slice()))
                    .sum()
            })
            .collect();
        (losses.into_iter().sum(), residuals)
    }

    /// What biases and dense features say. A matrix product is several times faster than going row by row.
    fn dense_logits(&self, weights: &[f32], rows: Range<usize>) -> Array2<f32> {
        let classes = self.targets.classes();
        let dense_from = self.rows.used().len() * classes;
        let bias_from = weights.len() - classes;
        let dense = self.dense.slice(s![rows, ..]);
        let shape = (dense.ncols(), classes);
        let of_dense = ArrayView2::from_shape(shape, &weights[dense_from..bias_from]);
        let mut logits = match of_dense {
            Ok(of_dense) => dense.dot(&of_dense),
            Err(_) => Array2::zeros((dense.nrows(), classes)),
        };
        logits += &ArrayView1::from(&weights[bias_from..]);
        logits
    }

    /// The weighted loss of a row whose dense features give these logits, which become the loss's gradient. Both are
    /// shares of the mean.
    fn loss_to_residual(&self, row: usize, weights: &[f32], logits: Option<&mut [f32]>) -> f64 {
        let Some(logits) = logits else { return 0.0 };
        let classes = logits.len();
        for (bucket, value) in self.rows.sparse(row) {
            add_scaled(logits, value, &weights[bucket * classes..][..classes]);
        }
        #[expect(clippy::cast_precision_loss, reason = "a count of rows")]
        let weight = self.targets.weights[row] / self.at.len() as f32;
        let log_sum = simd::log_sum_exp(logits);
        let wanted = self.targets.probabilities.row(row);
        let surprise = |(logit, wanted): (&f32, &f32)| wanted * (log_sum - logit);
        let loss: f32 = logits.iter().zip(&wanted).map(surprise).sum();
        for (logit, wanted) in logits.iter_mut().zip(&wanted) {
            *logit = weight * (simd::exp(*logit - log_sum) - wanted);
        }
        f64::from(loss * weight)
    }

    /// Adds the gradient in the weights of dense features and in the biases, which come behind them.
    fn add_dense_products(&self, residuals: &Array2<f32>, gradient: &mut [f32]) {
        let chunks = residuals.axis_chunks_iter(Axis(0), CHUNK).into_par_iter();
        let parts: Vec<(Array2<f32>, _)> = chunks
            .zip(self.dense.axis_chunks_iter(Axis(0), CHUNK).into_par_iter())
            .map(|(residuals, dense)| (dense.t().dot(&residuals), residuals.sum_axis(Axis(0))))
            .collect();
        for (of_dense, biases) in &parts {
            for (gradient, value) in gradient.iter_mut().zip(of_dense.iter().chain(biases)) {
                *gradient += value;
            }
        }
    }

    /// The penalty; its gradient is added.
    fn add_penalty(&self, weights: &[f32], gradient: &mut [f32]) -> f64 {
        let classes = self.targets.classes();
        let sparse = self.rows.used().len() * classes;
        let penalised = gradient.len() - classes;
        let of_kind = |kind: Range<usize>, l2: f64, gradient: &mut [f32]| {
            let prior = self.prior.map(|prior| &prior.flat[kind.clone()]);
            penalty(&weights[kind], prior, l2, gradient)
        };
        of_kind(0..sparse, self.penalty.sparse, &mut gradient[..sparse])
            + of_kind(
                sparse..penalised,
                self.penalty.dense,
                &mut gradient[sparse..penalised],
            )
    }
}

/// (l2 / 2)·‖weights − prior‖²; its gradient is added.
fn penalty(weights: &[f32], prior: Option<&[f32]>, l2: f64, gradient: &mut [f32]) -> f64 {
    let factor = narrow(l2);
    let chunks = weights.par_chunks(flat::CHUNK).enumerate();
    let costs: Vec<f64> = chunks
        .zip(gradient.par_chunks_mut(flat::CHUNK))
        .map(|((chunk, weights), gradient)| {
            let prior = prior.map(|prior| &prior[chunk * flat::CHUNK..][..weights.len()]);
            let mut squares = 0.0;
            for (at, (weight, gradient)) in weights.iter().zip(gradient).enumerate() {
                let off = weight - prior.map_or(0.0, |prior| prior[at]);
                *gradient += factor * off;
                squares += f64::from(off * off);
            }
            squares * l2 / 2.0
        })
        .collect();
    costs.into_iter().sum()
}

pub(super) fn add_scaled(sum: &mut [f32], factor: f32, row: &[f32]) {
    for (sum, value) in sum.iter_mut().zip(row) {
        *sum += factor * value;
    }
}

impl Objective<'_> {
    /// An error ends the line search, and with it the fit: the best parameters so far are taken.
    fn point(&self, parameters: &Flat) -> Result<Point, Error> {
        if let Some(last) = &*self.last.borrow()
            && last.parameters == *parameters
        {
            return Ok(last.clone());
        }
        let left = self.left.get().checked_sub(1);
        let left = left.ok_or_else(|| Error::msg("no step was found that makes the loss less"))?;
        self.left.set(left);
        let point = self.loss.evaluate(parameters);
        if !point.cost.is_finite() {
            return Err(Error::msg("the loss is no finite number"));
        }
        *self.last.borrow_mut() = Some(point.clone());
        Ok(point)
    }
}

impl CostFunction for Objective<'_> {
    type Param = Flat;
    type Output = f64;

    fn cost(&self, parameters: &Flat) -> Result<f64, Error> {
        Ok(self.point(parameters)?.cost)
    }
}

impl Gradient for Objective<'_> {
    type Param = Flat;
    type Gradient = Flat;

    fn gradient(&self, parameters: &Flat) -> Result<Flat, Error> {
        Ok(self.point(parameters)?.gradient)
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
            *parameter = (at as f32 * 0.7).sin();
        }
        let evaluate = |parameters: &[f32]| loss.evaluate(&Flat::new(parameters.to_vec()));
        let gradient = evaluate(&parameters).gradient.into_numbers();
        for at in 0..parameters.len() {
            let step = 1e-2;
            let mut cost = |off: f32| {
                let kept = parameters[at];
                parameters[at] += off;
                let cost = evaluate(&parameters).cost;
                parameters[at] = kept;
                cost
            };
            let slope = (cost(step) - cost(-step)) / f64::from(2.0 * step);
            assert!(
                (slope - f64::from(gradient[at])).abs() < 2e-3,
                "{at}: {slope} {}",
                gradient[at]
            );
        }
    }
}
