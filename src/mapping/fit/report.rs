//! What a fit says: the mapping, what it is worth on rows held back from it, the baselines and the frontier.

use std::{collections::BTreeMap, mem};

use serde::Serialize;

use super::{
    assess::{Assessment, Estimate, Held},
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
    mapping::quality::worth::Worth,
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
    /// Weighted mean score on rows that were held back from the fit (nested cross-validation).
    pub score: f64,
    /// What that lies between with 95 % confidence.
    pub score_ci95: [f64; 2],
    /// Billions of parameters of the expert that answers, weighted; none where a size is not known.
    pub active_b: Option<f64>,
    /// Billions of parameters of all experts that are used.
    pub resident_b: Option<f64>,
    /// Dollars a question, where prices are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usd: Option<f64>,
    /// Score over the best single expert, on rows held back from the choice of either.
    pub gain_over_best_single: f64,
    /// What that lies between with 95 % confidence.
    pub gain_ci95: [f64; 2],
    /// Whether composing pays.
    pub verdict: Verdict,
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
    /// Neither.
    DoesNotPay,
}

/// What a report is made of.
pub(super) struct Parts<'p> {
    pub(super) outcomes: &'p Outcomes,
    pub(super) frame: &'p Frame,
    pub(super) plan: &'p Plan,
    pub(super) sums: &'p Sums,
    pub(super) assessment: Assessment,
    pub(super) standard_errors: (f64, f64),
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
            assessment,
            ..
        } = &parts;
        let expert_of = &plan.assignment.expert_of;
        let problem = frame.problem(plan.scores.clone());
        let mut fitted = Judged::new(frame);
        fitted.add(expert_of, sums);
        let (score_error, gain_error) = parts.standard_errors;
        let Held {
            score, active_b, ..
        } = assessment.mapping;
        let single = assessment.best_single;
        let gain = Estimate::new(score - single.score, gain_error);
        let figures = Figures {
            score,
            score_ci95: Estimate::new(score, score_error).ci95,
            active_b: known(problem.active_b(expert_of)),
            resident_b: known(problem.resident_b(expert_of)),
            usd: fitted.usd().and_then(known),
            gain_over_best_single: gain.value,
            gain_ci95: gain.ci95,
            verdict: Verdict::of(&gain, active_b, single.active_b),
        };
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
            unscored: assessment.unscored,
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
    fn baselines(&self) -> Baselines {
        let Self {
            outcomes,
            frame,
            plan,
            sums,
            assessment,
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
        let held = assessment.best_single;
        Baselines {
            best_single: report(
                Some(plan.best_single),
                Baseline {
                    score: held.score,
                    active_b: held.active_b,
                },
            ),
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

impl Verdict {
    pub(in crate::mapping) fn of(gain: &Estimate, active_b: f64, single_active_b: f64) -> Self {
        if gain.ci95[0] > 0.0 {
            Self::Better
        } else if gain.ci95[1] >= 0.0
            && gain.value > -LOSS_MAX
            && active_b < single_active_b * CHEAPER_SHARE
        {
            Self::Cheaper
        } else {
            Self::DoesNotPay
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
