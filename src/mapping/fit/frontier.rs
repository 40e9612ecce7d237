//! Score against cost: the best mappings within budgets from the least possible to all that helps.

use rayon::prelude::*;

use super::{
    assess::{self, Held},
    plan::{Frame, Judged, Plan},
    solve::{Effort, Infeasible, Limits, Problem, saved, solve, used},
    tally::Tally,
};

/// Budgets that are tried, evenly on a scale of ratios.
const POINTS: usize = 12;

/// Relative difference of two costs that are the same.
const SAME: f64 = 1e-6;

/// What a frontier runs along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cost {
    /// Billions of active parameters.
    Active,
    /// Dollars a question.
    Usd,
}

/// The best mapping within a budget.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Point {
    /// What mappings within this budget score and take on rows held back from their fit.
    pub(super) held: Held,
    /// What the mapping that is fitted on all rows scores on them.
    pub(super) score_fitted: f64,
    /// Billions of parameters of that mapping's experts together.
    pub(super) resident_b: f64,
    /// How many experts it uses.
    pub(super) experts: usize,
}

impl Point {
    fn cost(&self, cost: Cost) -> f64 {
        match cost {
            Cost::Active => self.held.active_b,
            Cost::Usd => self.held.usd.unwrap_or(f64::INFINITY),
        }
    }
}

/// The frontier along a cost, cheapest first; empty where that cost is not known.
///
/// # Errors
/// No assignment keeps to the limits.
pub(super) fn frontier(
    tally: &Tally,
    frame: &Frame,
    plan: &Plan,
    cost: Cost,
) -> Result<Vec<Point>, Infeasible> {
    let Some((least, most)) = range(frame, plan, cost)? else {
        return Ok(Vec::new());
    };
    let points = budgets(least, most).into_par_iter();
    // On a part of the rows a budget may be too small that holds for all of them.
    let points = points.filter_map(|budget| point(tally, frame, plan, (cost, budget)).ok());
    Ok(undominated(points.collect(), cost))
}

/// From the least to the most that mappings take: by equal ratios, or by equal steps where the least is nothing.
fn budgets(least: f64, most: f64) -> Vec<f64> {
    let share = |at: usize| at as f64 / (POINTS - 1) as f64;
    let budget = |at: usize| {
        if least > 0.0 {
            least * (most / least).powf(share(at))
        } else {
            most * share(at)
        }
    };
    (0..POINTS).map(|at| budget(at) * (1.0 + SAME)).collect()
}

/// The points that no other betters: the cheapest first, each with a higher score than those before it.
fn undominated(mut points: Vec<Point>, cost: Cost) -> Vec<Point> {
    points.sort_by(|a, b| {
        let by_cost = a.cost(cost).total_cmp(&b.cost(cost));
        by_cost.then_with(|| b.held.score.total_cmp(&a.held.score))
    });
    let mut best = f64::NEG_INFINITY;
    points.retain(|point| {
        let is_better = point.held.score > best;
        best = best.max(point.held.score);
        is_better
    });
    points
}

/// The least that any mapping takes, and what the best one does; none where costs are not known.
fn range(frame: &Frame, plan: &Plan, cost: Cost) -> Result<Option<(f64, f64)>, Infeasible> {
    let costs = match cost {
        Cost::Active => {
            ndarray::Array2::from_shape_fn(plan.scores.raw_dim(), |(e, _)| frame.pool.params_b[e])
        }
        Cost::Usd => match &frame.pool.usd {
            Some(usd) => usd.clone(),
            None => return Ok(None),
        },
    };
    let taken = |expert_of: &[usize]| -> f64 {
        let weighted = expert_of.iter().zip(&frame.pool.weights).enumerate();
        weighted
            .map(|(c, (e, weight))| weight * costs[[*e, c]])
            .sum()
    };
    // A limit that nothing reaches keeps experts of unknown cost out.
    let known = Frame {
        limits: with(frame.limits, (cost, f64::MAX)),
        ..frame.clone()
    };
    let Ok(best) = solve(&known.problem(plan.scores.clone()), Effort::Near) else {
        return Ok(None);
    };
    let cheapest = Problem {
        score: saved(&costs),
        ..known.problem(plan.scores.clone())
    };
    let cheapest = solve(&cheapest, Effort::Near)?;
    let (least, most) = (taken(&cheapest.expert_of), taken(&best.expert_of));
    Ok(most.is_finite().then_some((least, most.max(least))))
}

fn point(
    tally: &Tally,
    frame: &Frame,
    plan: &Plan,
    (cost, budget): (Cost, f64),
) -> Result<Point, Infeasible> {
    let limits = with(frame.limits, (cost, budget));
    // What a budget buys at most is shown, whatever is preferred.
    let within = Frame {
        limits,
        price: None,
        ..frame.clone()
    };
    let problem = within.problem(plan.scores.clone());
    let assignment = solve(&problem, Effort::Near)?;
    let mut judged = Judged::new(frame);
    judged.add(&assignment.expert_of, tally.all());
    let chosen = assess::chosen_already(frame, plan.caution);
    Ok(Point {
        held: assess::assess(tally, &within, chosen)?.mapping,
        score_fitted: judged.score(),
        resident_b: problem.resident_b(&assignment.expert_of),
        experts: used(&assignment.expert_of).len(),
    })
}

/// The limits with a budget, unless they are stricter already.
fn with(limits: Limits, (cost, budget): (Cost, f64)) -> Limits {
    let stricter = |limit: Option<f64>| Some(limit.map_or(budget, |limit| limit.min(budget)));
    match cost {
        Cost::Active => Limits {
            active_b: stricter(limits.active_b),
            ..limits
        },
        Cost::Usd => Limits {
            usd: stricter(limits.usd),
            ..limits
        },
    }
}
