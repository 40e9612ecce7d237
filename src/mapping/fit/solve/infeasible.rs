//! Whether any assignment keeps to the limits, and if none does: which limit cannot hold, and what it must be at least.

use microlp::{ComparisonOp, OptimizationDirection, Problem as Program, Variable};
use ndarray::Array2;

use super::{Effort, Limits, Problem, best, greatest};

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

impl Infeasible {
    /// Of two ways to fall short the one that less is lacking in: the later limit, of one limit the smaller least.
    pub(in crate::mapping) fn nearer(self, other: Self) -> Self {
        let (one, two) = (self.lack(), other.lack());
        if two.0 > one.0 || two.0 == one.0 && two.1 < one.1 {
            other
        } else {
            self
        }
    }

    /// Which limit cannot hold, in the order in which they are kept, and its least.
    fn lack(self) -> (u8, f64) {
        match self {
            Self::NoExpert { .. } => (0, 0.0),
            Self::Experts { least } => (1, least as f64),
            Self::Resident { least_b } => (2, least_b),
            Self::Active { least_b } => (3, least_b),
            Self::Usd { least } => (4, least),
        }
    }
}

/// By how much of itself a limit may be overrun: sums of many terms end beside a limit that they meet exactly.
const SLACK: f64 = 1e-9;

/// An assignment that keeps to all limits, whatever it scores.
///
/// # Errors
/// The first limit that does not hold beside those before it: experts that may answer, their number, resident parameters,
/// active parameters, dollars.
pub(super) fn feasible(problem: &Problem) -> Result<Vec<usize>, Infeasible> {
    let mut relaxed = problem.clone();
    relaxed.limits = Limits::default();
    forbid_unknown(&mut relaxed, &problem.limits);
    for (category, allowed) in relaxed.allowed.axis_iter(ndarray::Axis(1)).enumerate() {
        if !allowed.iter().any(|allowed| *allowed) {
            return Err(Infeasible::NoExpert { category });
        }
    }
    let limits = problem.limits;
    let exceeds = |least: f64, most: f64| least > most * (1.0 + SLACK);
    let mut able: Vec<usize> = (0..problem.params_b.len()).collect();
    if let Some(most) = limits.experts {
        able = cover(&relaxed, |_| 1.0, None);
        if able.len() > most {
            return Err(Infeasible::Experts { least: able.len() });
        }
        relaxed.limits.experts = limits.experts;
    }
    if let Some(most) = limits.resident_b {
        able = cover(&relaxed, |e| relaxed.params_b[e], limits.experts);
        let least_b = able.iter().map(|e| relaxed.params_b[*e]).sum();
        if exceeds(least_b, most) {
            return Err(Infeasible::Resident { least_b });
        }
        relaxed.limits.resident_b = limits.resident_b;
    }
    let mut found = any_of(&able, &relaxed);
    if let Some(most) = limits.active_b {
        let cost = Array2::from_shape_fn(relaxed.score.raw_dim(), |(e, _)| relaxed.params_b[e]);
        let least_b;
        (found, least_b) = cheapest_or_within(&relaxed, &cost, (&found, most));
        if exceeds(least_b, most) {
            return Err(Infeasible::Active { least_b });
        }
        relaxed.limits.active_b = limits.active_b;
    }
    if let Some(most) = limits.usd {
        let cost = problem.usd.clone();
        let cost = cost.unwrap_or_else(|| Array2::zeros(relaxed.score.raw_dim()));
        let least;
        (found, least) = cheapest_or_within(&relaxed, &cost, (&found, most));
        if exceeds(least, most) {
            return Err(Infeasible::Usd { least });
        }
    }
    Ok(found)
}

/// An expert that may answer for each category, out of some.
fn any_of(experts: &[usize], problem: &Problem) -> Vec<usize> {
    let columns = problem.allowed.axis_iter(ndarray::Axis(1));
    let first = |column: ndarray::ArrayView1<'_, bool>| {
        let mut able = experts.iter().copied().filter(|e| column[*e]);
        able.next().unwrap_or_default()
    };
    columns.map(first).collect()
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

/// An assignment within the problem's limits, which `known` keeps, whose weighted cost is within a limit, or the one of the least
/// cost where none is found so soon; and that cost.
fn cheapest_or_within(
    problem: &Problem,
    cost: &Array2<f64>,
    (known, most): (&[usize], f64),
) -> (Vec<usize>, f64) {
    let near = cheapest(problem, cost, (known, Effort::Near));
    if near.1 <= most {
        return near;
    }
    cheapest(problem, cost, (&near.0, Effort::Exact))
}

/// The assignment of least weighted cost within the problem's limits, which `known` keeps, and that cost.
fn cheapest(
    problem: &Problem,
    cost: &Array2<f64>,
    (known, effort): (&[usize], Effort),
) -> (Vec<usize>, f64) {
    let cheapest = Problem {
        score: saved(cost),
        ..problem.clone()
    };
    let found = best(&cheapest, effort, Some(known));
    let expert_of = found.map_or_else(|| known.to_vec(), |found| found.expert_of);
    let weighted = expert_of.iter().zip(&problem.weights).enumerate();
    let least = weighted.map(|(c, (e, w))| w * cost[[*e, c]]).sum();
    (expert_of, least)
}

/// What is saved by not paying a cost, for an optimum of least cost: in thousandths of the greatest, beside which what breaks ties
/// between scores, and how near an optimum counts as one, are nothing. Dollars a question are often millionths.
pub(in crate::mapping::fit) fn saved(cost: &Array2<f64>) -> Array2<f64> {
    let scale = 1e3 / greatest(cost.iter());
    cost.mapv(|cost| -cost * scale)
}

/// The experts that cost least together, of whom every category has one: a set cover. All, if there is none.
fn cover(problem: &Problem, cost: impl Fn(usize) -> f64, experts_max: Option<usize>) -> Vec<usize> {
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
    let every = 0..experts.len();
    let Some(solution) = solution else {
        return every.collect();
    };
    let is_used = |e: &usize| experts[*e].is_some_and(|x| solution.var_value(x) > 0.5);
    every.filter(is_used).collect()
}
