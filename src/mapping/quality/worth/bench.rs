//! Both stages side by side on rows held back: what each chooses, and what that scores and takes.

use ndarray::{Array2, Axis};

use super::{
    super::{
        fit::Sample,
        prefer::{self, CostUnit, Costs, Judged, Point, Preferences},
        trial::{FOLDS, Fold},
    },
    PerQuestionError, Reached,
};
use crate::{
    config::{Prefer, Preference},
    mapping::fit::{
        Prepared,
        assess::Estimate,
        cells::{Caution, Cells},
        difficulty::Difficulty,
        outcomes::Outcomes,
        plan::{self, Frame, Plan, Price},
        report::{Basis, Figures, Gain, LessCost, known},
        rules,
        solve::{Effort, used},
    },
};

/// Share of a budget that is planned with: what a choice takes on other questions differs a little.
const BUDGET_SHARE: f64 = 0.995;

/// By how much of itself a budget may be overrun: sums of many terms end beside what they meet exactly.
const SLACK: f64 = 1e-9;

/// What both stages are fitted within and judged by.
pub(super) struct Bench<'b> {
    frame: &'b Frame,
    sample: &'b Sample<'b>,
    difficulties: &'b [Difficulty],
    /// What λ is a price of: what is limited, else active parameters, else dollars; none where that is not known of all.
    costs: Option<Costs>,
    /// What each row counts for.
    weights: Vec<f64>,
    /// The mapping of each fold, fitted on the others.
    plans: Vec<Plan>,
    /// The mapping of all rows.
    plan: Plan,
    /// What is asked to count where there is no budget.
    asked: Preference,
}

/// What λ is chosen for.
#[derive(Clone, Copy)]
pub(super) enum Goal {
    /// What a word says.
    Word(Preference),
    /// To keep to the budgets.
    Budgets,
}

/// Whom each stage chooses for every row, by what was learnt without the row's fold.
pub(super) struct Tried {
    pub(super) per_question: Vec<usize>,
    pub(super) by_category: Vec<usize>,
    /// The mapping of categories for the best score, whatever λ is.
    pub(super) plain: Vec<usize>,
    /// The one expert that is best over all categories.
    single: Vec<usize>,
    /// What a unit of cost is worth, for each row: the λ that the first two were chosen with, or nothing where cost up to a budget is
    /// free.
    price: Vec<f64>,
}

impl<'b> Bench<'b> {
    pub(super) fn new(
        prepared: &'b Prepared,
        sample: &'b Sample<'b>,
        outcomes: &Outcomes,
        prefer: Option<Preference>,
    ) -> Result<Self, PerQuestionError> {
        let frame = &prepared.frame;
        let costs = costs(frame)?;
        let asked = prefer.unwrap_or(Preference::Quality);
        if costs.is_none() && asked != Preference::Quality {
            return Err(PerQuestionError::UnknownCost);
        }
        let plan = |left_out: Option<usize>, effort| {
            plan::fit(&prepared.tally, frame, left_out, effort)
                .map_err(|infeasible| rules::in_words(infeasible, frame, outcomes))
        };
        let plans = (0..FOLDS).map(|fold| plan(Some(fold), Effort::Near));
        Ok(Self {
            frame,
            sample,
            difficulties: &prepared.difficulties,
            costs,
            weights: row_weights(frame, sample),
            plans: plans.collect::<Result<_, _>>()?,
            plan: plan(None, Effort::Exact)?,
            asked,
        })
    }

    pub(super) fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// What λ makes of cost for a mapping of categories; none where costs are not known.
    pub(super) fn price(&self, lambda: f64) -> Option<Price> {
        let costs = self.costs.clone()?;
        let lambda = lambda * self.sample.range().width();
        Some(Price { lambda, costs })
    }

    pub(super) fn cost_unit(&self) -> Option<CostUnit> {
        self.costs.as_ref().map(|costs| costs.unit)
    }

    /// What is asked for first, then what else could be.
    pub(super) fn goals(&self) -> Vec<Goal> {
        let limits = self.frame.limits;
        if limits.active_b.is_some() || limits.usd.is_some() {
            return vec![Goal::Budgets];
        }
        let mut words = vec![self.asked];
        if self.costs.is_some() {
            words.extend(
                Preference::ALL
                    .into_iter()
                    .filter(|word| *word != self.asked),
            );
        }
        words.into_iter().map(Goal::Word).collect()
    }

    /// What experts cost, and what the words mean where choices are judged by these rows.
    pub(super) fn priced(&self, judged: &Judged<'_>) -> (Option<Costs>, Preferences) {
        let preferences = self.costs.as_ref().map(|costs| judged.preferences(costs));
        (self.costs.clone(), preferences.unwrap_or_default())
    }

    pub(super) fn frontier(&self, judged: &Judged<'_>) -> Vec<Point> {
        let points = self.costs.as_ref().map(|costs| judged.frontier(costs));
        let mut points = points.unwrap_or_default();
        points.dedup_by(|a, b| (a.score, a.cost) == (b.score, b.cost));
        for point in &mut points {
            point.score = self.sample.range().score(point.score);
        }
        points
    }

    /// Which expert may answer which category in the model of all rows, experts by categories.
    pub(super) fn answering_at_last(&self) -> Array2<bool> {
        self.answering(&self.plan)
    }

    /// All that the rules allow, of those that the mapping uses where there is a limit on the set.
    fn answering(&self, plan: &Plan) -> Array2<bool> {
        let mut allowed = self.frame.problem(plan.scores.clone()).allowed;
        if self.frame.limits.resident_b.is_some() || self.frame.limits.experts.is_some() {
            let used = used(&plan.assignment.expert_of);
            for (expert, mut row) in allowed.rows_mut().into_iter().enumerate() {
                if !used.contains(&expert) {
                    row.fill(false);
                }
            }
        }
        allowed
    }

    /// Predictions of some rows, minus infinity where an expert may not answer.
    pub(super) fn masked(
        &self,
        mut predicted: Array2<f32>,
        allowed: &Array2<bool>,
        at: &[usize],
    ) -> Array2<f32> {
        for (row, mut predicted) in at.iter().zip(predicted.rows_mut()) {
            let category = self.sample.category_of()[*row];
            for (score, allowed) in predicted.iter_mut().zip(allowed.column(category)) {
                if !allowed {
                    *score = f32::NEG_INFINITY;
                }
            }
        }
        predicted
    }

    /// The λ that serves a goal where choices are judged by some rows; none where no λ does.
    pub(super) fn lambda(&self, goal: Goal, judged: &Judged<'_>, at: &[usize]) -> Option<f64> {
        let Some(costs) = &self.costs else {
            return Some(0.0);
        };
        match goal {
            Goal::Word(word) => Some(judged.preferences(costs).lambda(Prefer::Word(word))),
            Goal::Budgets => {
                judged.lambda_where(costs, |chosen| self.keeps(chosen, at, BUDGET_SHARE))
            }
        }
    }

    /// The λ that keeps to the budgets where rows held back are predicted by `folds`, as they are judged; none where no λ does. What is
    /// predicted and what experts cost decide it, and no score of a row: so it may be the same for all folds.
    fn lambda_of_held(&self, folds: &[Fold]) -> Option<f64> {
        let scores = self.sample.scores();
        let mut predicted = Array2::from_elem(scores.raw_dim(), f32::NEG_INFINITY);
        for (fold, plan) in folds.iter().zip(&self.plans) {
            let allowed = self.answering(plan);
            let held = self.masked(fold.predicted_held.clone(), &allowed, &fold.held);
            for (row, of_row) in fold.held.iter().zip(held.rows()) {
                predicted.row_mut(*row).assign(&of_row);
            }
        }
        let judged = Judged {
            predicted: predicted.view(),
            scores,
            weights: &self.weights,
        };
        let all: Vec<usize> = (0..self.sample.rows()).collect();
        self.lambda(Goal::Budgets, &judged, &all)
    }

    /// Whether the experts chosen for some rows keep to a share of the budgets.
    fn keeps(&self, chosen: &[usize], at: &[usize], share: f64) -> bool {
        let within = |limit: Option<f64>, taken: Option<f64>| {
            let limited = limit.zip(taken);
            limited.is_none_or(|(limit, taken)| taken <= share * limit * (1.0 + SLACK))
        };
        let limits = self.frame.limits;
        let (params_b, usd) = self.taken(chosen, at);
        within(limits.active_b, Some(params_b)) && within(limits.usd, usd)
    }

    /// Billions of parameters and dollars that the experts chosen for some rows take, weighted.
    fn taken(&self, chosen: &[usize], at: &[usize]) -> (f64, Option<f64>) {
        let pool = &self.frame.pool;
        let total: f64 = at.iter().map(|row| self.weights[*row]).sum();
        let mean = |of: &dyn Fn(usize, usize) -> f64| {
            let rows = chosen.iter().zip(at);
            let weighted = rows.map(|(expert, row)| {
                self.weights[*row] * of(*expert, self.sample.category_of()[*row])
            });
            weighted.sum::<f64>() / total
        };
        (
            mean(&|expert, _| pool.params_b[expert]),
            pool.usd
                .as_ref()
                .map(|usd| mean(&|expert, category| usd[[expert, category]])),
        )
    }

    /// Both stages' choices for every row, towards one goal; none where no λ serves it. `lambda`: what serves it by the model of all rows.
    /// What a word stands for goes by scores, and is learnt without each fold.
    pub(super) fn tried(&self, goal: Goal, folds: &[Fold], lambda: f64) -> Option<Tried> {
        let lambda = match goal {
            Goal::Word(_) => lambda,
            // Models of fewer rows tell experts apart less: to take what the budgets allow, they need a λ of their own.
            Goal::Budgets => self.lambda_of_held(folds)?,
        };
        let rows = self.sample.rows();
        let mut tried = Tried {
            per_question: vec![0; rows],
            by_category: vec![0; rows],
            plain: vec![0; rows],
            single: vec![0; rows],
            price: vec![0.0; rows],
        };
        for (fold, plan) in folds.iter().zip(&self.plans) {
            let allowed = self.answering(plan);
            let plain = self.plain(plan, &fold.held);
            let lambda = match goal {
                Goal::Word(_) => self.lambda_of(goal, fold, &allowed).unwrap_or(lambda),
                Goal::Budgets => lambda,
            };
            let per_question = self.per_question(lambda, fold, &allowed);
            let by_category = match (goal, &self.costs) {
                (Goal::Word(_), Some(costs)) => {
                    let expected = self.expected_shares(plan, &fold.held);
                    let masked = self.masked(expected, &allowed, &fold.held);
                    prefer::choices(masked.view(), costs, lambda)
                }
                _ => plain.clone(),
            };
            let price = match goal {
                Goal::Word(_) => lambda,
                Goal::Budgets => 0.0,
            };
            for (at, row) in fold.held.iter().enumerate() {
                tried.per_question[*row] = per_question[at];
                tried.by_category[*row] = by_category[at];
                tried.plain[*row] = plain[at];
                tried.single[*row] = plan.best_single;
                tried.price[*row] = price;
            }
        }
        Some(tried)
    }

    /// λ by the rows that were learnt from.
    fn lambda_of(&self, goal: Goal, fold: &Fold, allowed: &Array2<bool>) -> Option<f64> {
        let seen = self.masked(fold.predicted_seen.clone(), allowed, &fold.seen);
        let weights: Vec<f64> = fold.seen.iter().map(|row| self.weights[*row]).collect();
        let scores = self.sample.scores().select(Axis(0), &fold.seen);
        let judged = Judged {
            predicted: seen.view(),
            scores: scores.view(),
            weights: &weights,
        };
        self.lambda(goal, &judged, &fold.seen)
    }

    /// Whom λ chooses for the rows that were held back.
    fn per_question(&self, lambda: f64, fold: &Fold, allowed: &Array2<bool>) -> Vec<usize> {
        let held = self.masked(fold.predicted_held.clone(), allowed, &fold.held);
        let free = Costs {
            unit: CostUnit::ParamsB,
            of: vec![0.0; held.ncols()],
        };
        let costs = self.costs.as_ref().unwrap_or(&free);
        prefer::choices(held.view(), costs, lambda)
    }

    fn plain(&self, plan: &Plan, at: &[usize]) -> Vec<usize> {
        let expert = |row: &usize| plan.assignment.expert_of[self.sample.category_of()[*row]];
        at.iter().map(expert).collect()
    }

    /// What the mapping expects of each expert on some rows, 0 to 1.
    fn expected_shares(&self, plan: &Plan, at: &[usize]) -> Array2<f32> {
        let range = self.sample.range();
        let shape = (at.len(), plan.scores.nrows());
        Array2::from_shape_fn(shape, |(row, expert)| {
            let category = self.sample.category_of()[at[row]];
            range.share(plan.scores[[expert, category]])
        })
    }

    /// What choices for all rows score and take, also where they were not tried.
    pub(super) fn reached(&self, chosen: &[usize]) -> Reached {
        let all: Vec<usize> = (0..chosen.len()).collect();
        let (scores, range) = (self.sample.scores(), self.sample.range());
        let difficulty = |row: &usize| self.difficulties[*row].score();
        let adjusted = all.iter().filter_map(|row| {
            let share = f64::from(scores[[*row, chosen[*row]]]);
            let adjusted = range.score(share) - difficulty(row);
            (!share.is_nan()).then_some((self.weights[*row], adjusted))
        });
        let difficulties = all.iter().map(|row| (self.weights[*row], difficulty(row)));
        let score = mean(adjusted).0 + mean(difficulties).0;
        let (params_b, usd) = self.taken(chosen, &all);
        Reached::new(score, params_b, usd)
    }

    /// The choice question by question beside the best single expert; the fits are taken as they are in what confidence says.
    /// `prefers_less_cost`: whether score was to be given up for cost.
    pub(super) fn figures(&self, tried: &Tried, prefers_less_cost: bool) -> Figures {
        let (chosen, single) = (&tried.per_question, &tried.single);
        let free = vec![0.0; chosen.len()];
        let (reached, of_single) = (self.reached(chosen), self.reached(single));
        let width = self.sample.range().width();
        let scores = self.sample.scores();
        let rows = self.weights.iter().zip(chosen).enumerate();
        let tried_on = rows.filter_map(|(row, (weight, expert))| {
            let score = width * f64::from(scores[[row, *expert]]);
            (!score.is_nan()).then_some((*weight, score))
        });
        let gain = reached.score - of_single.score;
        let size = |of: Option<f64>| of.unwrap_or(f64::INFINITY);
        let gain = Gain {
            gain: Estimate::new(gain, self.gain(chosen, single, &free).1),
            less_cost: prefers_less_cost
                .then(|| self.less_cost(gain, tried))
                .flatten(),
            active_b: size(reached.active_b),
            single_active_b: size(of_single.active_b),
        };
        let pool = &self.frame.pool.params_b;
        Figures {
            score: reached.score,
            score_ci95: Some(Estimate::new(reached.score, mean(tried_on).1).ci95),
            basis: Basis::HeldBackFitsAsTheyAre,
            active_b: reached.active_b,
            resident_b: known(used(chosen).iter().map(|expert| pool[*expert]).sum()),
            usd: reached.usd,
            gain_over_best_single: gain.gain.value,
            gain_ci95: Some(gain.gain.ci95),
            less_cost: gain.less_cost,
            verdict: gain.verdict(),
        }
    }

    /// A gain over the best single expert, less what the difference in cost counts for at each row's λ; none where costs are
    /// not known.
    fn less_cost(&self, gain: f64, tried: &Tried) -> Option<LessCost> {
        let paid = |(row, weight): (usize, &f64)| {
            let (chosen, single) = (tried.per_question[row], tried.single[row]);
            (*weight, self.paid(tried.price[row], chosen, single))
        };
        let paid = mean(self.weights.iter().enumerate().map(paid)).0;
        let error = self
            .gain(&tried.per_question, &tried.single, &tried.price)
            .1;
        let unit = self.cost_unit()?;
        Some(LessCost::new(unit, &Estimate::new(gain - paid, error)))
    }

    /// The gain of one stage over the other, and its worth, each with its standard error.
    pub(super) fn compare(&self, tried: &Tried) -> ((f64, f64), (f64, f64)) {
        let (first, second) = (&tried.per_question, &tried.by_category);
        let free = vec![0.0; first.len()];
        (
            self.gain(first, second, &free),
            self.gain(first, second, &tried.price),
        )
    }

    /// The gain over the mapping of categories for the best score.
    pub(super) fn gain_over_plain(&self, tried: &Tried) -> f64 {
        let free = vec![0.0; tried.plain.len()];
        self.gain(&tried.per_question, &tried.plain, &free).0
    }

    /// What the first choices gain over the second, less what the difference in cost counts for at each row's price, with the
    /// standard error: over the rows on which both were tried, on the scores' own scale.
    fn gain(&self, first: &[usize], second: &[usize], price: &[f64]) -> (f64, f64) {
        let gains = self.gains(first, second);
        mean(gains.iter().map(|(row, weight, gain)| {
            let paid = self.paid(price[*row], first[*row], second[*row]);
            (*weight, gain - paid)
        }))
    }

    /// What it counts for that one expert costs more than another, on the scores' own scale.
    fn paid(&self, price: f64, first: usize, second: usize) -> f64 {
        let cost = |expert: usize| self.costs.as_ref().map_or(0.0, |costs| costs.of[expert]);
        price * self.sample.range().width() * (cost(first) - cost(second))
    }

    /// Each row on which both choices were tried, with its weight and what the first scored more there.
    fn gains(&self, first: &[usize], second: &[usize]) -> Vec<(usize, f64, f64)> {
        let scores = self.sample.scores();
        let width = self.sample.range().width();
        let of_row = |(row, weight): (usize, &f64)| {
            let gain = width * f64::from(scores[[row, first[row]]] - scores[[row, second[row]]]);
            (!gain.is_nan()).then_some((row, *weight, gain))
        };
        self.weights.iter().enumerate().filter_map(of_row).collect()
    }
}

/// The weighted mean and its standard error.
fn mean(rows: impl Iterator<Item = (f64, f64)> + Clone) -> (f64, f64) {
    let total: f64 = rows.clone().map(|(weight, _)| weight).sum();
    let mean = rows.clone().map(|(w, value)| w * value).sum::<f64>() / total;
    let squares = rows.map(|(weight, value)| (weight * (value - mean)).powi(2));
    (mean, squares.sum::<f64>().sqrt() / total)
}

/// The scores that are to be expected in categories, by rows outside of some folds: what the mapping goes by.
pub(super) fn expected(prepared: &Prepared, left_out: &[usize]) -> Array2<f64> {
    let sums = prepared.tally.outside(left_out.iter().copied());
    Cells::of(&sums, &prepared.frame.pool.weights).scores(Caution::ALL[0])
}

/// A category's weight, spread over its rows.
fn row_weights(frame: &Frame, sample: &Sample<'_>) -> Vec<f64> {
    let mut rows = vec![0.0; frame.pool.weights.len()];
    for category in sample.category_of() {
        rows[*category] += 1.0;
    }
    let weight = |category: &usize| frame.pool.weights[*category] / rows[*category];
    sample.category_of().iter().map(weight).collect()
}

fn costs(frame: &Frame) -> Result<Option<Costs>, PerQuestionError> {
    let of_each = |unit, of: Vec<f64>| {
        let known = of.iter().all(|cost| cost.is_finite());
        known.then_some(Costs { unit, of })
    };
    let params_b = || of_each(CostUnit::ParamsB, frame.pool.params_b.clone());
    let usd = || {
        let experts = 0..frame.pool.params_b.len();
        let of_experts: Option<Vec<f64>> =
            experts.map(|expert| frame.pool.usd_of(expert)).collect();
        of_each(CostUnit::Usd, of_experts?)
    };
    match (frame.limits.active_b, frame.limits.usd) {
        (Some(_), _) => params_b().map(Some).ok_or(PerQuestionError::UnknownCost),
        (None, Some(_)) => usd().map(Some).ok_or(PerQuestionError::UnknownCost),
        (None, None) => Ok(params_b().or_else(usd)),
    }
}
