//! Sums over rows → a mapping: how cautious to be, chosen on rows held back from the rows at hand, then the best assignment.

use ndarray::Array2;

use super::{
    super::quality::prefer::{CostUnit, Costs},
    cells::{Caution, Cells},
    folds::INNER,
    pool::Pool,
    solve::{Assignment, Effort, Infeasible, Limits, Problem, solve},
    tally::{Sums, Tally},
};

/// What a mapping is fitted within.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Sizes, dollars and weights.
    pub pool: Pool,
    /// Which expert may answer which category.
    pub allowed: Array2<bool>,
    /// What the mapping may need.
    pub limits: Limits,
    /// The least score that must be expected in some categories.
    pub scores_min: Vec<(usize, f64)>,
    /// What cost counts for; none: nothing, beside the limits.
    pub price: Option<Price>,
}

/// What cost counts for beside scores.
#[derive(Clone, Debug, PartialEq)]
pub struct Price {
    /// What a unit of cost must bring, on the scores' own scale.
    pub lambda: f64,
    /// What experts cost.
    pub costs: Costs,
}

/// A fitted mapping.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The expert of each category.
    pub assignment: Assignment,
    /// What experts are expected to score, experts by categories.
    pub scores: Array2<f64>,
    /// How cautious it is; infinite: categories are not believed to differ.
    pub caution: Caution,
    /// The expert that is best over all categories, whatever the limits.
    pub best_single: usize,
}

/// Fits on all rows, or on those outside of an outer part.
///
/// # Errors
/// No assignment keeps to the limits. On a part of the rows the limits alone are meant, not the scores that are asked for.
pub(in crate::mapping) fn fit(
    tally: &Tally,
    frame: &Frame,
    outside: Option<usize>,
    effort: Effort,
) -> Result<Plan, Infeasible> {
    let sums = tally.outside(outside);
    let ranked = ranked(tally, frame, (outside, &sums));
    if outside.is_some() {
        return fit_with(ranked[0], &sums, frame, effort);
    }
    let cells = Cells::of(&sums, &frame.pool.weights);
    let mut found = plan(&cells, ranked[0], frame, effort);
    let keeps_all = |plan: &Plan| frame.out_of_reach(&plan.scores).is_none();
    // What is expected of experts depends on the caution: a score is refused only where no caution expects it.
    for caution in &ranked[1..] {
        if frame.scores_min.is_empty() || found.as_ref().is_ok_and(keeps_all) {
            break;
        }
        found = match (found, plan(&cells, *caution, frame, effort)) {
            (Ok(found), Ok(next)) if !keeps_all(&next) => Ok(found),
            (Ok(found), Err(_)) => Ok(found),
            (_, Ok(next)) => Ok(next),
            (Err(found), Err(next)) => Err(found.nearer(next)),
        };
    }
    found
}

/// Fits on a part of the rows with the caution that is given.
///
/// # Errors
/// No assignment keeps to the limits, whatever scores are asked for.
pub(in crate::mapping) fn fit_with(
    caution: Caution,
    sums: &Sums,
    frame: &Frame,
    effort: Effort,
) -> Result<Plan, Infeasible> {
    let cells = Cells::of(sums, &frame.pool.weights);
    plan_part(&cells, caution, frame, effort)
}

/// The cautions, those first whose mappings score best on rows held back from the rows at hand; of equally good ones the
/// more cautious. `sums`: over the rows at hand.
fn ranked(
    tally: &Tally,
    frame: &Frame,
    (outside, sums): (Option<usize>, &Sums),
) -> [Caution; Caution::ALL.len()] {
    let mut judged = Caution::ALL.map(|caution| (caution, Judged::new(frame)));
    for part in 0..INNER {
        let held_back = tally.inner(part, outside);
        let cells = Cells::of(&sums.less(&held_back), &frame.pool.weights);
        for (caution, judged) in &mut judged {
            let Ok(plan) = plan_part(&cells, *caution, frame, Effort::Near) else {
                // No rows keep to these limits: which of them it is, the fit says that this is for.
                return Caution::ALL;
            };
            judged.add(&plan.assignment.expert_of, &held_back);
        }
    }
    let mut ranked = judged.map(|(caution, judged)| (caution, judged.worth()));
    ranked.sort_by(|a, b| {
        let by_score = b.1.total_cmp(&a.1);
        by_score.then_with(|| b.0.0.total_cmp(&a.0.0))
    });
    ranked.map(|(caution, _)| caution)
}

/// A plan by what a part of the rows says. Where that keeps to no limit with the scores that are asked for, it goes without
/// them: whether they can be had is for all rows to say.
fn plan_part(
    cells: &Cells,
    caution: Caution,
    frame: &Frame,
    effort: Effort,
) -> Result<Plan, Infeasible> {
    plan(cells, caution, frame, effort).or_else(|infeasible| {
        if frame.scores_min.is_empty() {
            return Err(infeasible);
        }
        let unasked = Frame {
            scores_min: Vec::new(),
            ..frame.clone()
        };
        plan(cells, caution, &unasked, effort)
    })
}

fn plan(
    cells: &Cells,
    caution: Caution,
    frame: &Frame,
    effort: Effort,
) -> Result<Plan, Infeasible> {
    let scores = cells.scores(caution);
    let mut problem = frame.problem(scores.clone());
    if let Some(Price { lambda, costs }) = &frame.price {
        for (mut scores, cost) in problem.score.rows_mut().into_iter().zip(&costs.of) {
            scores -= lambda * cost;
        }
    }
    Ok(Plan {
        assignment: solve(&problem, effort)?,
        scores,
        caution,
        best_single: cells.best_single(|expert| frame.admits(expert)),
    })
}

impl Price {
    /// A score less what the cost counts for: billions of active parameters, or dollars a question.
    pub(in crate::mapping) fn worth(&self, score: f64, (active_b, usd): (f64, Option<f64>)) -> f64 {
        let cost = match self.costs.unit {
            CostUnit::ParamsB => active_b,
            CostUnit::Usd => usd.unwrap_or_default(),
        };
        score - self.lambda * cost
    }
}

impl Frame {
    /// A frame without limits or rules.
    pub fn free(pool: Pool) -> Self {
        Self {
            allowed: Array2::from_elem((pool.params_b.len(), pool.weights.len()), true),
            limits: Limits::default(),
            scores_min: Vec::new(),
            price: None,
            pool,
        }
    }

    /// Whether one expert could answer everything within the limits.
    fn admits(&self, expert: usize) -> bool {
        let params_b = self.pool.params_b[expert];
        let usd = self.pool.usd_of(expert).unwrap_or(f64::INFINITY);
        let Limits {
            active_b,
            resident_b,
            usd: usd_most,
            ..
        } = self.limits;
        active_b.is_none_or(|most| params_b <= most)
            && resident_b.is_none_or(|most| params_b <= most)
            && usd_most.is_none_or(|most| usd <= most)
    }

    /// The problem of these expected scores.
    pub fn problem(&self, score: Array2<f64>) -> Problem {
        let mut allowed = self.allowed.clone();
        for (c, least) in &self.scores_min {
            // Where only part of the rows is seen, nobody may seem good enough: then the best is.
            let least = least.min(self.best_allowed(&score, *c));
            for (allowed, score) in allowed.column_mut(*c).iter_mut().zip(score.column(*c)) {
                *allowed &= *score >= least;
            }
        }
        Problem {
            allowed,
            weights: self.pool.weights.clone(),
            params_b: self.pool.params_b.clone(),
            usd: self.pool.usd.clone(),
            limits: self.limits,
            score,
        }
    }

    /// The first category that nobody is expected to score enough in: what is asked for there, and the most that is expected.
    pub(super) fn out_of_reach(&self, score: &Array2<f64>) -> Option<(usize, f64, f64)> {
        let mut asked = self.scores_min.iter();
        asked.find_map(|(c, wanted)| {
            let most = self.best_allowed(score, *c);
            (most < *wanted).then_some((*c, *wanted, most))
        })
    }

    /// The most that anyone who may answer a category is expected to score there.
    fn best_allowed(&self, score: &Array2<f64>, category: usize) -> f64 {
        let pairs = score
            .column(category)
            .into_iter()
            .zip(self.allowed.column(category));
        let answering = pairs.filter(|(_, allowed)| **allowed);
        answering.fold(f64::NEG_INFINITY, |most, (score, _)| most.max(*score))
    }
}

/// What a mapping, or several that were fitted on different parts, scored on rows held back from them.
#[derive(Clone, Debug)]
pub(in crate::mapping) struct Judged<'f> {
    frame: &'f Frame,
    /// Scores and the sum of them, adjusted for the difficulty of their rows, by category.
    scored: Vec<(f64, f64)>,
    /// Rows, and sums over them of billions of parameters and dollars, by category.
    rows: Vec<(f64, f64, f64)>,
    /// Sums over those of their difficulties.
    difficulty: Vec<f64>,
}

impl<'f> Judged<'f> {
    pub(in crate::mapping) fn new(frame: &'f Frame) -> Self {
        let categories = frame.pool.weights.len();
        Self {
            frame,
            scored: vec![(0.0, 0.0); categories],
            rows: vec![(0.0, 0.0, 0.0); categories],
            difficulty: vec![0.0; categories],
        }
    }

    /// Adds what a mapping does on rows held back.
    pub(in crate::mapping) fn add(&mut self, expert_of: &[usize], held_back: &Sums) {
        for (c, &e) in expert_of.iter().enumerate() {
            let cell = &held_back.cells[[e, c]];
            self.scored[c].0 += cell.scores;
            self.scored[c].1 += cell.adjusted;
            let rows = held_back.rows[c];
            let usd = self.frame.pool.usd.as_ref().map_or(0.0, |usd| usd[[e, c]]);
            self.rows[c].0 += rows;
            self.difficulty[c] += held_back.difficulty[c];
            if rows > 0.0 {
                self.rows[c].1 += rows * self.frame.pool.params_b[e];
                self.rows[c].2 += rows * usd;
            }
        }
    }

    /// The weighted mean score, over the categories in which there are scores; of all rows of those, also where an expert
    /// was not tried: who was tried on the easy ones alone does not look good by them.
    pub(in crate::mapping) fn score(&self) -> f64 {
        let rows = self.rows.iter().zip(&self.difficulty);
        let scored = self.scored.iter().zip(rows);
        self.weighted(scored.map(|((scores, sum), ((rows, _, _), difficulty))| {
            (*scores, sum / scores + difficulty / rows)
        }))
    }

    /// The score less what the cost counts for.
    fn worth(&self) -> f64 {
        let price = self.frame.price.as_ref();
        price.map_or(self.score(), |price| {
            price.worth(self.score(), (self.active_b(), self.usd()))
        })
    }

    pub(in crate::mapping) fn active_b(&self) -> f64 {
        self.weighted(
            self.rows
                .iter()
                .map(|(rows, params_b, _)| (*rows, params_b / rows)),
        )
    }

    pub(in crate::mapping) fn usd(&self) -> Option<f64> {
        let usd = self.weighted(self.rows.iter().map(|(rows, _, usd)| (*rows, usd / rows)));
        self.frame.pool.usd.as_ref().map(|_| usd)
    }

    /// Share of the weight that no score speaks of.
    pub(in crate::mapping) fn unscored(&self) -> f64 {
        let unscored = self.scored.iter().zip(&self.frame.pool.weights);
        unscored
            .filter(|((scores, _), _)| *scores == 0.0)
            .map(|(_, weight)| weight)
            .sum()
    }

    fn weighted(&self, means: impl Iterator<Item = (f64, f64)>) -> f64 {
        let known = means
            .zip(&self.frame.pool.weights)
            .filter(|((count, _), _)| *count > 0.0);
        let (total, sum) = known.fold((0.0, 0.0), |(total, sum), ((_, mean), weight)| {
            (total + weight, sum + weight * mean)
        });
        sum / total
    }
}
