//! What a fit says: the mapping, what it is worth on rows held back from it, the baselines and the frontier.

use std::{collections::BTreeMap, mem};

use serde::Serialize;

use super::{
    assess::{Assessment, Estimate, StandardErrors},
    baselines::{self, Baseline},
    frontier::Point,
    outcomes::Outcomes,
    plan::{Frame, Judged, Plan},
    table,
    tally::Sums,
    written::{SecondStage, Written},
};
use crate::{
    ids::{CategoryId, ExpertId},
    mapping::quality::{prefer::CostUnit, worth::Worth},
};

/// A fitted mapping and what it is worth.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The mapping.
    pub mapping: Written,
    /// What it is worth, with what chooses question by question where it has that.
    #[serde(flatten)]
    pub figures: Figures,
    /// What it is worth by categories alone, where something chooses question by question.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_category: Option<Figures>,
    /// What the mapping of categories scores on the rows that it was fitted on: too good to be true of others.
    pub score_fitted: f64,
    /// Whether dollars come from prices and estimated lengths in part.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub usd_is_estimated: bool,
    /// Questions.
    pub rows: usize,
    /// What the mapping is held against.
    pub baselines: Baselines,
    /// The categories: who answers them, and what the rows say.
    pub categories: BTreeMap<CategoryId, CategoryReport>,
    /// Score against active parameters, cheapest first.
    pub frontier: Vec<FrontierPoint>,
    /// Score against dollars a question, cheapest first, where prices are known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub frontier_usd: Vec<FrontierPoint>,
    /// Rows on which an expert was not tried, where there are some.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub missing: BTreeMap<ExpertId, usize>,
    /// Share of the weight of categories in which the expert of the mapping was never tried on a row held back.
    pub unscored: f64,
    /// How much better another mapping could be at most by what is expected; next to nothing unless the search was cut.
    pub optimality_gap: f64,
    /// Factor on the noise of cells that was chosen on rows held back; none: categories are not believed to differ.
    pub caution: Option<f64>,
    /// What choosing question by question is worth, where that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_question: Option<Worth>,
}

/// What a way of choosing experts scores and takes.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Weighted mean score on rows that were held back from the fit (nested cross-validation), where some could be.
    pub score: f64,
    /// What that lies between with 95 % confidence; none where no rows could be held back.
    pub score_ci95: Option<[f64; 2]>,
    /// Which rows the score and the gain are of, and what the intervals take as given.
    pub basis: Basis,
    /// Billions of parameters of the expert that answers, weighted; none where a size is not known.
    pub active_b: Option<f64>,
    /// Billions of parameters of all experts that are used.
    pub resident_b: Option<f64>,
    /// Dollars a question, where prices are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usd: Option<f64>,
    /// Score over the best single expert, on rows held back from the choice of either.
    pub gain_over_best_single: f64,
    /// What that lies between with 95 % confidence; none where no rows could be held back.
    pub gain_ci95: Option<[f64; 2]>,
    /// What that gain comes to, where a preference gives up score for cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub less_cost: Option<LessCost>,
    /// Whether composing pays.
    pub verdict: Verdict,
}

/// Which rows figures are of, and what their intervals take as given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Rows held back; in each resample everything is fitted and judged anew.
    HeldBack,
    /// Rows held back, but the fits are taken as they are, and that they are used was decided on these very rows.
    HeldBackFitsAsTheyAre,
    /// The rows that it was fitted on, since they are too few to hold some back: too good to be true of others.
    FittedOn,
}

/// A gain over the best single expert, less what more is spent for it at λ.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct LessCost {
    /// What λ is a price of.
    pub cost_unit: CostUnit,
    /// The gain less λ · the difference in cost, on the scores' own scale.
    pub worth: f64,
    /// What that lies between with 95 % confidence.
    pub ci95: [f64; 2],
}

/// What a mapping is held against.
#[derive(Clone, Debug, Serialize)]
pub struct Baselines {
    /// The expert that is best over all categories, chosen on rows held back from its score.
    pub best_single: BaselineReport,
    /// The smallest expert.
    pub cheapest: BaselineReport,
    /// An expert by chance.
    pub random: BaselineReport,
    /// The best expert of each question, if that were known.
    pub oracle: BaselineReport,
}

impl Baselines {
    /// Each with its name for people.
    pub fn named(&self) -> [(&'static str, &BaselineReport); 4] {
        [
            ("best single", &self.best_single),
            ("cheapest", &self.cheapest),
            ("random", &self.random),
            ("oracle", &self.oracle),
        ]
    }
}

/// One baseline.
#[derive(Clone, Debug, Serialize)]
pub struct BaselineReport {
    /// The expert, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expert: Option<ExpertId>,
    /// Weighted mean score.
    pub score: f64,
    /// Billions of active parameters.
    pub active_b: Option<f64>,
    /// Dollars a question, where prices are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usd: Option<f64>,
}

/// One category.
#[derive(Clone, Debug, Serialize)]
pub struct CategoryReport {
    /// Questions.
    pub rows: usize,
    /// Share of the weight.
    pub weight: f64,
    /// Who answers.
    pub expert: ExpertId,
    /// What that expert is expected to score.
    pub expected: f64,
    /// What the best single expert is expected to score.
    pub expected_best_single: f64,
    /// Scores of that expert here.
    pub scores: usize,
}

/// The best mapping within a budget.
#[derive(Clone, Debug, Serialize)]
pub struct FrontierPoint {
    /// Billions of active parameters of mappings within this budget, on rows held back from their fit.
    pub active_b: Option<f64>,
    /// Their weighted mean score there.
    pub score: f64,
    /// What the mapping that is fitted on all rows scores on them.
    pub score_fitted: f64,
    /// Billions of parameters of that mapping's experts together.
    pub resident_b: Option<f64>,
    /// Dollars a question on the rows held back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usd: Option<f64>,
    /// How many experts the mapping uses that is fitted on all rows.
    pub experts: usize,
}

/// Whether a composition is worth more than its best expert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It scores better, beyond what chance explains.
    Better,
    /// It scores no worse for all that the rows tell, with fewer active parameters.
    Cheaper,
    /// A preference gives up score for cost, and what it saves is worth more than that, beyond what chance explains.
    WorthItsCost,
    /// Neither.
    DoesNotPay,
    /// No rows could be held back to tell.
    NotJudged,
}

/// What a report is made of.
pub(super) struct Parts<'p> {
    pub(super) outcomes: &'p Outcomes,
    pub(super) frame: &'p Frame,
    pub(super) plan: &'p Plan,
    pub(super) sums: &'p Sums,
    /// What it is worth on rows held back; none where they are too few.
    pub(super) judged: Option<(Assessment, StandardErrors)>,
    pub(super) frontier: Vec<Point>,
    pub(super) frontier_usd: Vec<Point>,
}

impl Report {
    pub(super) fn of(parts: Parts<'_>) -> Self {
        let Parts {
            outcomes,
            frame,
            plan,
            sums,
            ..
        } = &parts;
        let mut fitted = Judged::new(frame);
        fitted.add(&plan.assignment.expert_of, sums);
        let figures = parts.figures(&fitted);
        let judged = parts.judged.as_ref();
        let unscored = judged.map_or(fitted.unscored(), |(held, _)| held.unscored);
        let names = (outcomes.experts(), outcomes.categories());
        Self {
            mapping: Written::of(plan, frame, names),
            figures,
            by_category: None,
            score_fitted: fitted.score(),
            usd_is_estimated: frame.pool.usd_is_estimated,
            rows: outcomes.rows(),
            baselines: parts.baselines(),
            categories: parts.categories(),
            frontier: parts.frontier.iter().map(FrontierPoint::of).collect(),
            frontier_usd: parts.frontier_usd.iter().map(FrontierPoint::of).collect(),
            missing: outcomes.missing(),
            unscored,
            optimality_gap: plan.assignment.gap,
            caution: known(plan.caution.0),
            per_question: None,
        }
    }

    /// Has each question's expert chosen by a second stage from here on, which is worth so much.
    pub fn choose_per_question(&mut self, stage: SecondStage, figures: Figures) {
        self.mapping.second_stage = Some(stage);
        self.by_category = Some(mem::replace(&mut self.figures, figures));
    }

    /// The report as text for a terminal.
    pub fn table(&self) -> String {
        table::of(self)
    }

    /// Whether composing pays, in a sentence.
    pub fn in_words(&self) -> String {
        table::verdict(self)
    }
}

impl Parts<'_> {
    /// On rows held back, or on those that it was fitted on where they are too few. `fitted`: the mapping on all rows.
    fn figures(&self, fitted: &Judged<'_>) -> Figures {
        let Self { frame, plan, .. } = self;
        let expert_of = &plan.assignment.expert_of;
        let problem = frame.problem(plan.scores.clone());
        let unjudged = Figures {
            score: fitted.score(),
            score_ci95: None,
            basis: Basis::FittedOn,
            active_b: known(problem.active_b(expert_of)),
            resident_b: known(problem.resident_b(expert_of)),
            usd: fitted.usd().and_then(known),
            gain_over_best_single: fitted.score() - self.best_single().score,
            gain_ci95: None,
            less_cost: None,
            verdict: Verdict::NotJudged,
        };
        let Some((held, errors)) = &self.judged else {
            return unjudged;
        };
        let score = Estimate::new(held.mapping.score, errors.score);
        let gain = self.gain(held, errors);
        Figures {
            score: score.value,
            score_ci95: Some(score.ci95),
            basis: Basis::HeldBack,
            gain_over_best_single: gain.gain.value,
            gain_ci95: Some(gain.gain.ci95),
            less_cost: gain.less_cost,
            verdict: gain.verdict(),
            ..unjudged
        }
    }

    fn gain(&self, held: &Assessment, errors: &StandardErrors) -> Gain {
        let (mapping, single) = (held.mapping, held.best_single);
        let worth = Estimate::new(held.worth_over_single(self.frame), errors.worth);
        let price = self.frame.price.as_ref();
        let price = price.filter(|price| price.lambda > 0.0);
        Gain {
            gain: Estimate::new(mapping.score - single.score, errors.gain),
            less_cost: price.map(|price| LessCost::new(price.costs.unit, &worth)),
            active_b: mapping.active_b,
            single_active_b: single.active_b,
        }
    }

    /// The best single expert, chosen on rows held back from its score where there are some.
    fn best_single(&self) -> Baseline {
        match &self.judged {
            Some((held, _)) => Baseline {
                score: held.best_single.score,
                active_b: held.best_single.active_b,
                usd: held.best_single.usd,
            },
            None => baselines::single(self.plan.best_single, self.sums, self.frame),
        }
    }

    fn baselines(&self) -> Baselines {
        let Self {
            outcomes,
            frame,
            plan,
            sums,
            ..
        } = self;
        let level: Vec<f64> = plan
            .scores
            .rows()
            .into_iter()
            .map(|row| row.mean().unwrap_or_default())
            .collect();
        let cheapest = baselines::cheapest(frame, &level);
        let report = |expert: Option<usize>, baseline: Baseline| {
            BaselineReport::of(expert.map(|e| outcomes.experts()[e].clone()), &baseline)
        };
        Baselines {
            best_single: report(Some(plan.best_single), self.best_single()),
            cheapest: report(Some(cheapest), baselines::single(cheapest, sums, frame)),
            random: report(None, baselines::random(sums, frame)),
            oracle: report(None, baselines::oracle(outcomes, frame)),
        }
    }

    fn categories(&self) -> BTreeMap<CategoryId, CategoryReport> {
        let Self {
            outcomes,
            frame,
            plan,
            sums,
            ..
        } = self;
        let category = |(c, &e): (usize, &usize)| {
            let report = CategoryReport {
                rows: whole(sums.rows[c]),
                weight: frame.pool.weights[c],
                expert: outcomes.experts()[e].clone(),
                expected: plan.scores[[e, c]],
                expected_best_single: plan.scores[[plan.best_single, c]],
                scores: whole(sums.cells[[e, c]].scores),
            };
            (outcomes.categories()[c].clone(), report)
        };
        plan.assignment
            .expert_of
            .iter()
            .enumerate()
            .map(category)
            .collect()
    }
}

impl BaselineReport {
    pub(in crate::mapping) fn of(expert: Option<ExpertId>, baseline: &Baseline) -> Self {
        Self {
            expert,
            score: baseline.score,
            active_b: known(baseline.active_b),
            usd: baseline.usd.and_then(known),
        }
    }
}

impl FrontierPoint {
    fn of(point: &Point) -> Self {
        Self {
            active_b: known(point.held.active_b),
            score: point.held.score,
            score_fitted: point.score_fitted,
            resident_b: known(point.resident_b),
            usd: point.held.usd.and_then(known),
            experts: point.experts,
        }
    }
}

/// What a composition has over the best single expert.
pub(in crate::mapping) struct Gain {
    pub(in crate::mapping) gain: Estimate,
    pub(in crate::mapping) less_cost: Option<LessCost>,
    /// Billions of active parameters, infinite where they are not known.
    pub(in crate::mapping) active_b: f64,
    /// The same of the best single expert.
    pub(in crate::mapping) single_active_b: f64,
}

impl LessCost {
    pub(in crate::mapping) fn new(cost_unit: CostUnit, worth: &Estimate) -> Self {
        Self {
            cost_unit,
            worth: worth.value,
            ci95: worth.ci95,
        }
    }
}

impl Gain {
    /// Where a preference gives up score for cost, a loss of score is no loss if what is saved is worth more, and a gain is
    /// none if it costs more than that is worth.
    pub(in crate::mapping) fn verdict(&self) -> Verdict {
        let is_better = self.gain.ci95[0] > 0.0;
        let as_good = self.gain.ci95[1] >= 0.0 && self.gain.value > -LOSS_MAX;
        match self.less_cost {
            Some(less_cost) if less_cost.ci95[0] <= 0.0 => Verdict::DoesNotPay,
            _ if is_better => Verdict::Better,
            Some(_) => Verdict::WorthItsCost,
            None if as_good && self.active_b < self.single_active_b * CHEAPER_SHARE => {
                Verdict::Cheaper
            }
            None => Verdict::DoesNotPay,
        }
    }
}

/// What a cheaper mapping may score less than the best single expert, to be called as good.
const LOSS_MAX: f64 = 0.005;

/// Share of the best single expert's active parameters below which a mapping is called cheaper.
const CHEAPER_SHARE: f64 = 0.95;

/// None for what is not known, which is infinite where it is computed with.
pub(in crate::mapping) fn known(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count of rows"
)]
fn whole(count: f64) -> usize {
    count.round() as usize
}
