//! What a fit minimises: weighted mean cross-entropy plus (l2 / 2)·‖W‖².

use std::{cell::RefCell, rc::Rc};

use argmin::{
    core::{CostFunction, Error, Executor, Gradient},
    solver::{linesearch::MoreThuenteLineSearch, quasinewton::LBFGS},
};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};

use super::super::calibration::{log_sum_exp, softmax};

/// Pairs of steps and gradient changes that stand in for the Hessian (Nocedal & Wright advise 3 to 20).
const MEMORY: usize = 10;

/// A gradient this short ends the fit: on real examples neither accuracy nor the third decimal of the likelihood moves
/// beyond it.
const GRADIENT_NORM_MIN: f64 = 1e-4;

/// Multinomial logistic regression on some rows.
///
/// Parameters are one flat vector: the weights, `classes × dimensions` row by row, then a bias for each class. The
/// biases are not penalised.
pub(super) struct Objective<'r> {
    /// rows × dimensions.
    pub(super) rows: ArrayView2<'r, f64>,
    /// The class of each row.
    pub(super) labels: &'r [usize],
    /// What each row counts for; the weights add up to the number of rows.
    pub(super) row_weights: Vec<f64>,
    pub(super) classes: usize,
    pub(super) l2: f64,
    /// Where it was last asked about.
    pub(super) last: RefCell<Option<Point>>,
}

/// A line search asks for the cost and for the gradient at the same place, and most of the work is common to both.
pub(super) struct Point {
    parameters: Vec<f64>,
    logits: Rc<Array2<f64>>,
}

impl Objective<'_> {
    /// Minimises by L-BFGS with a Moré–Thuente line search, from `start`.
    pub(super) fn minimise(self, start: Vec<f64>, iterations_max: u64) -> Result<Vec<f64>, Error> {
        let line_search = MoreThuenteLineSearch::new();
        let solver = LBFGS::new(line_search, MEMORY).with_tolerance_grad(GRADIENT_NORM_MIN)?;
        let mut done = Executor::new(self, solver)
            .configure(|state| state.param(start).max_iters(iterations_max))
            .timer(false)
            .run()?;
        let best = done.state.take_best_param();
        best.ok_or_else(|| Error::msg("the optimiser kept no parameters"))
    }

    /// rows × classes.
    fn logits(&self, parameters: &[f64]) -> Result<Rc<Array2<f64>>, Error> {
        if let Some(last) = &*self.last.borrow()
            && last.parameters == parameters
        {
            return Ok(Rc::clone(&last.logits));
        }
        let (weights, bias) = split(parameters, self.classes)?;
        let logits = Rc::new(logits(self.rows, weights, bias));
        *self.last.borrow_mut() = Some(Point {
            parameters: parameters.to_vec(),
            logits: Rc::clone(&logits),
        });
        Ok(logits)
    }
}

/// The weights (classes × dimensions) and biases in a flat vector of parameters.
pub(super) fn split(
    parameters: &[f64],
    classes: usize,
) -> Result<(ArrayView2<'_, f64>, ArrayView1<'_, f64>), Error> {
    let dimensions = parameters.len() / classes - 1;
    let (weights, bias) = parameters.split_at(classes * dimensions);
    let weights = ArrayView2::from_shape((classes, dimensions), weights)?;
    Ok((weights, ArrayView1::from(bias)))
}

/// rows × classes.
pub(super) fn logits(
    rows: ArrayView2<'_, f64>,
    weights: ArrayView2<'_, f64>,
    bias: ArrayView1<'_, f64>,
) -> Array2<f64> {
    rows.dot(&weights.t()) + bias
}

impl CostFunction for Objective<'_> {
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, parameters: &Vec<f64>) -> Result<f64, Error> {
        let logits = self.logits(parameters)?;
        let cross_entropy: f64 = logits
            .rows()
            .into_iter()
            .zip(self.labels.iter().zip(&self.row_weights))
            .map(|(row, (label, weight))| weight * (log_sum_exp(row) - row[*label]))
            .sum();
        let (weights, _) = split(parameters, self.classes)?;
        let squares: f64 = weights.iter().map(|weight| weight * weight).sum();
        Ok(cross_entropy / self.labels.len() as f64 + self.l2 / 2.0 * squares)
    }
}

impl Gradient for Objective<'_> {
    type Param = Vec<f64>;
    type Gradient = Vec<f64>;

    fn gradient(&self, parameters: &Vec<f64>) -> Result<Vec<f64>, Error> {
        let logits = self.logits(parameters)?;
        let mut residuals = Array2::zeros(logits.raw_dim());
        let share = 1.0 / self.labels.len() as f64;
        for (at, mut residual) in residuals.rows_mut().into_iter().enumerate() {
            residual.assign(&Array1::from(softmax(logits.row(at), 1.0)));
            residual[self.labels[at]] -= 1.0;
            residual *= self.row_weights[at] * share;
        }
        let (weights, _) = split(parameters, self.classes)?;
        let of_weights = residuals.t().dot(&self.rows) + &weights * self.l2;
        let of_bias = residuals.sum_axis(Axis(0));
        Ok(of_weights.into_iter().chain(of_bias).collect())
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn the_gradient_is_the_slope_of_the_cost() {
        let rows = array![[0.3, -1.2], [0.9, 0.4], [-0.7, 0.1], [0.2, 0.8]];
        let objective = Objective {
            rows: rows.view(),
            labels: &[0, 1, 2, 1],
            row_weights: vec![1.5, 0.5, 1.25, 0.75],
            classes: 3,
            l2: 0.1,
            last: RefCell::default(),
        };
        let at: Vec<f64> = (0..9).map(|i| 0.3 * f64::from(i) - 1.1).collect();
        let gradient = objective.gradient(&at).unwrap();
        for parameter in 0..at.len() {
            let step = 1e-6;
            let cost = |by: f64| {
                let mut moved = at.clone();
                moved[parameter] += by;
                objective.cost(&moved).unwrap()
            };
            let slope = (cost(step) - cost(-step)) / (2.0 * step);
            assert!(
                (slope - gradient[parameter]).abs() < 1e-8,
                "parameter {parameter}: {slope} against {}",
                gradient[parameter]
            );
        }
    }
}
