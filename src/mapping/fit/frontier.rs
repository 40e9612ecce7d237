//! Score against cost: the best mappings within budgets from the least possible to all that helps.

use rayon::prelude::*;

use super::{
    assess::{Held, assess_within},
    plan::{Frame, Judged, Plan},
    solve::{Effort, Infeasible, Limits, solve, used},
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
    /// Billions of active parameters of the mapping that is fitted on all rows.
    pub(super) active_b: f64,
    /// Dollars a question of that mapping, where prices are known.
    pub(super) usd: Option<f64>,
    /// What mappings within this budget score and take on rows held back from their fit.
    pub(super) held: Held,
    /// What the mapping that is fitted on all rows scores on them.
    pub(super) score_fitted: f64,
    /// Billions of parameters of its experts together.
    pub(super) resident_b: f64,
    /// How many experts it uses.
    pub(super) experts: usize,
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
    let step = (most / least).ln() / (POINTS - 1) as f64;
    let budgets: Vec<f64> = (0..POINTS)
        .map(|at| (least.ln() + step * at as f64).exp() * (1.0 + SAME))
        .collect();
    let mut points: Vec<Point> = budgets
        .into_par_iter()
        .map(|budget| point(tally, frame, plan, (cost, budget)))
        .collect::<Result<_, _>>()?;
    points.dedup_by(|b, a| b.active_b == a.active_b && b.usd == a.usd);
    Ok(points)
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
    let cheapest = solve(&known.problem(costs.mapv(|cost| -cost)), Effort::Near)?;
    let (least, most) = (taken(&cheapest.expert_of), taken(&best.expert_of));
    Ok((least > 0.0 && most.is_finite()).then_some((least, most.max(least))))
}

fn point(
    tally: &Tally,
    frame: &Frame,
    plan: &Plan,
    (cost, budget): (Cost, f64),
) -> Result<Point, Infeasible> {
    let limits = with(frame.limits, (cost, budget));
    let within = Frame {
        limits,
        ..frame.clone()
    };
    let problem = within.problem(plan.scores.clone());
    let assignment = solve(&problem, Effort::Near)?;
    let mut judged = Judged::new(frame);
    judged.add(&assignment.expert_of, tally.all());
    let fitted = Held::of(&judged);
    Ok(Point {
        active_b: problem.active_b(&assignment.expert_of),
        usd: fitted.usd.filter(|usd| usd.is_finite()),
        held: assess_within(tally, frame, plan.caution, limits)?,
        score_fitted: fitted.score,
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
