//! Why no assignment keeps to the limits: which limit cannot hold, and what it must be at least.

use microlp::{ComparisonOp, OptimizationDirection, Problem as Program, Variable};
use ndarray::Array2;

use super::{Effort, Limits, Problem, best};

/// A limit that no assignment keeps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Infeasible {
    /// A category has no expert that may answer it.
    NoExpert {
        /// The category.
        category: usize,
    },
    /// More experts are needed.
    Experts {
        /// How many at least.
        least: usize,
    },
    /// More resident parameters are needed.
    Resident {
        /// Billions of parameters at least, with the limits before it kept.
        least_b: f64,
    },
    /// More active parameters are needed.
    Active {
        /// Billions of parameters at least, with the limits before it kept.
        least_b: f64,
    },
    /// More dollars are needed.
    Usd {
        /// Dollars a question at least, with the limits before it kept.
        least: f64,
    },
}

/// The first limit that does not hold beside those before it: experts that may answer, their number, resident parameters,
/// active parameters, dollars.
pub(super) fn reason(problem: &Problem) -> Infeasible {
    let mut relaxed = problem.clone();
    relaxed.limits = Limits::default();
    forbid_unknown(&mut relaxed, &problem.limits);
    for (category, allowed) in relaxed.allowed.axis_iter(ndarray::Axis(1)).enumerate() {
        if !allowed.iter().any(|allowed| *allowed) {
            return Infeasible::NoExpert { category };
        }
    }
    let limits = problem.limits;
    if let Some(most) = limits.experts {
        let least = cover(&relaxed, |_| 1.0, None).round();
        if least > most as f64 {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a number of experts"
            )]
            return Infeasible::Experts {
                least: least as usize,
            };
        }
        relaxed.limits.experts = limits.experts;
    }
    if let Some(most) = limits.resident_b {
        let least_b = cover(&relaxed, |e| relaxed.params_b[e], limits.experts);
        if least_b > most {
            return Infeasible::Resident { least_b };
        }
        relaxed.limits.resident_b = limits.resident_b;
    }
    if let Some(most) = limits.active_b {
        let cost = Array2::from_shape_fn(relaxed.score.raw_dim(), |(e, _)| relaxed.params_b[e]);
        let least_b = least(&relaxed, &cost);
        if least_b > most || limits.usd.is_none() {
            return Infeasible::Active { least_b };
        }
        relaxed.limits.active_b = limits.active_b;
    }
    let cost = problem
        .usd
        .clone()
        .unwrap_or_else(|| Array2::zeros(relaxed.score.raw_dim()));
    Infeasible::Usd {
        least: least(&relaxed, &cost),
    }
}

/// Experts of unknown size or price cannot be held to a limit on it.
fn forbid_unknown(problem: &mut Problem, limits: &Limits) {
    let sizes = limits.active_b.is_some() || limits.resident_b.is_some();
    let priced = problem.clone();
    for ((e, c), allowed) in problem.allowed.indexed_iter_mut() {
        *allowed &= !sizes || priced.params_b[e].is_finite();
        *allowed &= limits.usd.is_none() || priced.usd(e, c).is_finite();
    }
}

/// The least weighted cost of an assignment within the problem's limits.
fn least(problem: &Problem, cost: &Array2<f64>) -> f64 {
    let cheapest = Problem {
        score: cost.mapv(|cost| -cost),
        ..problem.clone()
    };
    best(&cheapest, Effort::Exact).map_or(f64::INFINITY, |found| {
        let weighted = found.expert_of.iter().zip(&problem.weights).enumerate();
        weighted.map(|(c, (e, w))| w * cost[[*e, c]]).sum()
    })
}

/// The least that experts cost of whom every category has one: a set cover.
fn cover(problem: &Problem, cost: impl Fn(usize) -> f64, experts_max: Option<usize>) -> f64 {
    let mut program = Program::new(OptimizationDirection::Minimize);
    let experts: Vec<Option<Variable>> = (0..problem.params_b.len())
        .map(|e| cost(e).is_finite().then(|| program.add_binary_var(cost(e))))
        .collect();
    let mut columns: Vec<Vec<bool>> = problem
        .allowed
        .axis_iter(ndarray::Axis(1))
        .map(|column| column.to_vec())
        .collect();
    columns.sort_unstable();
    columns.dedup();
    for column in columns {
        let able = experts.iter().zip(column).filter(|(_, allowed)| *allowed);
        let terms: Vec<(Variable, f64)> = able.filter_map(|(x, _)| Some(((*x)?, 1.0))).collect();
        program.add_constraint(&terms, ComparisonOp::Ge, 1.0);
    }
    if let Some(most) = experts_max {
        let terms: Vec<(Variable, f64)> = experts.iter().flatten().map(|x| (*x, 1.0)).collect();
        program.add_constraint(&terms, ComparisonOp::Le, most as f64);
    }
    let solution = program
        .solve()
        .ok()
        .and_then(|outcome| outcome.into_solution().ok());
    solution.map_or(f64::INFINITY, |solution| solution.objective())
}
