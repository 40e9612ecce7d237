//! Whether choosing question by question pays, beside the mapping of categories alone. Pure.
//!
//! Both are fitted on all folds but one and judged on that one, in turn, within the same budgets or at the same price of
//! cost. The second stage is used where it is worth more than the first by a standard error at least: the rule of Breiman et
//! al. ("Classification and regression trees", 1984), by which the simpler of two stays unless the other is clearly better.

mod bench;
mod table;

use serde::Serialize;

use self::bench::{Bench, Goal, Tried};
use super::{
    fit::{QualityError, Sample},
    model::QualityModel,
    prefer::{CostUnit, Judged, Point},
    trial::{Fold, STRENGTHS, Split, Trial},
};
use crate::{
    config::{Prefer, Preference},
    mapping::{
        evaluate::pair::{self, PairReport, PairRow},
        fit::{
            self, FitError, Options,
            assess::Estimate,
            folds,
            models::Models,
            outcomes::Outcomes,
            plan::Price,
            report::{Figures, known},
        },
    },
};

/// Difference of two means of the same scores.
const ROUNDING: f64 = 1e-9;

/// A quality model and what it is worth.
pub struct PerQuestion {
    /// What it is worth beside the mapping of categories.
    pub worth: Worth,
    /// The same beside the best single expert, for what was asked; none where no λ keeps to the budgets.
    pub figures: Option<Figures>,
    /// The model of all rows.
    pub model: QualityModel,
    /// What cost counts for in the mapping of categories that is written in the model's place; none: nothing.
    pub price: Option<Price>,
}

/// What choosing question by question is worth on rows held back.
#[derive(Clone, Debug, Serialize)]
pub struct Worth {
    /// Whether it is worth more than the mapping alone.
    pub pays: bool,
    /// What was asked to count.
    pub prefer: Prefer,
    /// What λ is a price of; none where neither sizes nor prices are known of all experts.
    pub cost_unit: Option<CostUnit>,
    /// What the budgets, or else each word, come to; what was asked for first.
    pub aims: Vec<Aim>,
    /// Score against cost over all λ, the dearest first; λ is chosen with hindsight here.
    pub frontier: Vec<Point>,
    /// Between two experts: the measures of `RouteLLM`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pair: Option<PairReport>,
}

/// What one way to weigh score against cost comes to.
#[derive(Clone, Debug, Serialize)]
pub struct Aim {
    /// A word, or the λ that keeps to the budgets.
    pub prefer: Prefer,
    /// Score, from 0 to 1, that a unit of cost must buy, for the model of all rows.
    pub lambda: f64,
    /// The choice question by question.
    pub per_question: Reached,
    /// The choice by categories alone, within the same budgets or at the same λ.
    pub by_category: Reached,
    /// What the one's score has over the other's.
    pub gain: f64,
    /// What that lies between with 95 % confidence, the fits taken as they are.
    pub gain_ci95: [f64; 2],
    /// The mapping of categories for the best score, within the same budgets: what is written for `quality` otherwise.
    pub plain: Reached,
    /// What the choice question by question scores over that.
    pub gain_over_plain: f64,
    /// The gain, less λ · what more it costs where no budget says what may be spent: what decides.
    pub worth: f64,
    /// Standard error of the worth.
    pub worth_standard_error: f64,
}

/// What a choice scores and takes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Reached {
    /// Weighted mean score.
    pub score: f64,
    /// Billions of active parameters.
    pub active_b: Option<f64>,
    /// Dollars a question, where prices are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usd: Option<f64>,
}

/// Why there is no quality model.
#[derive(Debug, thiserror::Error)]
pub enum PerQuestionError {
    /// The mapping itself cannot be fitted.
    #[error(transparent)]
    Mapping(#[from] FitError),
    /// The model cannot be fitted.
    #[error(transparent)]
    Quality(#[from] QualityError),
    /// What the model is worth cannot be told.
    #[error(
        "choosing question by question is judged on rows held back, which takes {} different questions at least; there are {questions}",
        folds::QUESTIONS_MIN
    )]
    FewQuestions {
        /// Different questions.
        questions: usize,
    },
    /// A budget cannot be planned with.
    #[error(
        "what experts cost is not known of all of them, so that choices question by question can keep to no budget and to no preference but quality; say more in the models file, or name those of whom it is known with --experts"
    )]
    UnknownCost,
}

/// Fits a quality model and judges it beside the mapping alone. `step` is called after each of [`Trial::STEPS`] fits.
///
/// # Errors
/// The mapping or the model cannot be fitted.
pub fn fit(
    outcomes: &Outcomes,
    models: &Models,
    options: &Options,
    step: &dyn Fn(),
) -> Result<PerQuestion, PerQuestionError> {
    if !folds::can_hold_back(outcomes) {
        let questions = folds::questions(outcomes);
        return Err(PerQuestionError::FewQuestions { questions });
    }
    let prepared = fit::prepare(outcomes, models, options)?;
    let sample = Sample::of(outcomes)?;
    let bench = Bench::new(&prepared, &sample, outcomes, options.prefer)?;
    let expected = |left_out: &[usize]| bench::expected(&prepared, left_out);
    let blocks = prepared.blocks.iter();
    let split = Split {
        fold_of: blocks.map(|block| folds::outer((*block).into())).collect(),
        weights: bench.weights().to_vec(),
        expected: &expected,
        seed: options.seed,
    };
    let trial = Trial::run(&sample, split, &STRENGTHS, step)?;
    let folds = trial.folds();
    // What is written holds for all rows, and is learnt from all of them, each predicted by models that have not seen it.
    let all: Vec<usize> = (0..sample.rows()).collect();
    let allowed = bench.answering_at_last();
    let predicted = bench.masked(trial.predicted(), &allowed, &all);
    let judged = Judged {
        predicted: predicted.view(),
        scores: sample.scores(),
        weights: bench.weights(),
    };
    // Where no λ keeps to the budgets there is no aim, and nothing that could pay.
    let tried = bench.goals().into_iter().filter_map(|goal| {
        let lambda = bench.lambda(goal, &judged, &all)?;
        let tried = bench.tried(goal, &folds, lambda)?;
        Some((Aim::of(&tried, goal, lambda, &bench), tried))
    });
    let (aims, tried): (Vec<Aim>, Vec<Tried>) = tried.unzip();
    let asked = aims.first();
    // A preference is kept to by categories as well.
    let price = asked.filter(|aim| aim.is_for_less_cost() && !aim.pays());
    let price = price.and_then(|aim| bench.price(aim.lambda));
    let worth = Worth {
        pays: asked.is_some_and(Aim::pays),
        prefer: asked.map_or(Prefer::Word(Preference::Quality), |aim| aim.prefer),
        cost_unit: bench.cost_unit(),
        frontier: bench.frontier(&judged),
        pair: pair(outcomes, &folds, options.seed),
        aims,
    };
    let asked = worth.aims.first().zip(tried.first());
    let figures = asked.map(|(aim, tried)| bench.figures(tried, aim.gives_up_score()));
    let model = trial.model(bench.priced(&judged), &allowed)?;
    Ok(PerQuestion {
        worth,
        figures,
        model,
        price,
    })
}

impl Worth {
    /// As text for a terminal.
    pub fn table(&self) -> String {
        table::of(self)
    }

    /// Whether it pays, in a sentence.
    pub fn in_words(&self) -> String {
        table::verdict(self)
    }
}

impl Aim {
    fn of(tried: &Tried, goal: Goal, lambda: f64, bench: &Bench<'_>) -> Self {
        let (gain, worth) = bench.compare(tried);
        Self {
            prefer: match goal {
                Goal::Word(word) => Prefer::Word(word),
                Goal::Budgets => Prefer::CostWeight(lambda),
            },
            lambda,
            per_question: bench.reached(&tried.per_question),
            by_category: bench.reached(&tried.by_category),
            plain: bench.reached(&tried.plain),
            gain_over_plain: bench.gain_over_plain(tried),
            gain: gain.0,
            gain_ci95: Estimate::new(gain.0, gain.1).ci95,
            worth: worth.0,
            worth_standard_error: worth.1,
        }
    }

    /// Whether the choice question by question is worth more, by a standard error at least. Where the score alone counts it must not be worse either than that of the mapping that it would take the place of, which is chosen at no λ.
    fn pays(&self) -> bool {
        let keeps_quality = !self.is_for_quality() || self.gain_over_plain >= -ROUNDING;
        let is_worth_more = self.worth > 0.0 && self.worth >= self.worth_standard_error;
        is_worth_more && keeps_quality
    }

    /// Whether it stands for a word that may give up score for cost.
    fn is_for_less_cost(&self) -> bool {
        matches!(self.prefer, Prefer::Word(_)) && !self.is_for_quality()
    }

    /// Whether it does give up score for cost.
    fn gives_up_score(&self) -> bool {
        self.is_for_less_cost() && self.lambda > 0.0
    }

    fn is_for_quality(&self) -> bool {
        self.prefer == Prefer::Word(Preference::Quality)
    }

    /// What is written where the choice question by question does not pay.
    fn otherwise(&self) -> &Reached {
        if self.is_for_quality() {
            &self.plain
        } else {
            &self.by_category
        }
    }
}

impl Reached {
    fn new(score: f64, params_b: f64, usd: Option<f64>) -> Self {
        Self {
            score,
            active_b: known(params_b),
            usd: usd.and_then(known),
        }
    }
}

/// Between two experts: how well predictions tell which questions need the better one.
fn pair(outcomes: &Outcomes, folds: &[Fold], seed: u64) -> Option<PairReport> {
    let [a, b] = outcomes.experts() else {
        return None;
    };
    let mut at = Vec::new();
    let mut rows = Vec::new();
    for fold in folds {
        for (row, predicted) in fold.held.iter().zip(fold.predicted_held.rows()) {
            if let (Some(strong), Some(weak)) = (outcomes.score(*row, 0), outcomes.score(*row, 1)) {
                at.push(*row);
                rows.push(PairRow {
                    preference: f64::from(predicted[0] - predicted[1]),
                    strong,
                    weak,
                    draws: 1,
                });
            }
        }
    }
    let mut names = (a.clone(), b.clone());
    if rows.iter().map(|row| row.strong - row.weak).sum::<f64>() < 0.0 {
        names = (names.1, names.0);
        rows.iter_mut().for_each(PairRow::turn_round);
    }
    let draw = |number: u64| {
        let draws = folds::draws(outcomes, seed.wrapping_add(1 + number));
        at.iter().map(|row| draws[*row]).collect()
    };
    // Two experts that score the same have no gap, and no measures of it.
    pair::report(names, &rows, draw).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Worth a standard error more at its λ than the mapping of categories is, with this gain over the one for the best score.
    fn worth(word: Preference, gain_over_plain: f64) -> Worth {
        let reached = |score, params_b| Reached::new(score, params_b, None);
        let aim = Aim {
            prefer: Prefer::Word(word),
            lambda: 0.001,
            per_question: reached(0.7, 20.0),
            by_category: reached(0.68, 30.0),
            gain: 0.02,
            gain_ci95: [0.0, 0.04],
            plain: reached(0.7 - gain_over_plain, 70.0),
            gain_over_plain,
            worth: 0.03,
            worth_standard_error: 0.01,
        };
        Worth {
            pays: aim.pays(),
            prefer: aim.prefer,
            cost_unit: Some(CostUnit::ParamsB),
            aims: vec![aim],
            frontier: Vec::new(),
            pair: None,
        }
    }

    #[test]
    fn the_frontier_has_few_points_that_no_other_betters() {
        let mut worth = worth(Preference::Quality, 0.01);
        worth.frontier = (0..60_i32)
            .map(|at| Point {
                lambda: f64::from(at),
                // The dearest twenty score less than cheaper ones.
                score: 0.5 - f64::from((at - 20).abs()) / 100.0,
                cost: f64::from(70 - at),
            })
            .collect();
        let told = worth.table();
        let (_, frontier) = told.split_once("λ chosen with hindsight)\n").unwrap();
        let lines = frontier.lines().skip(1).take_while(|line| !line.is_empty());
        let scores: Vec<&str> = lines
            .filter_map(|line| line.split_whitespace().nth(1))
            .collect();
        assert_eq!(scores.len(), 12, "{told}");
        assert_eq!((scores[0], scores[11]), ("0.1100", "0.5000"), "{told}");
        assert!(scores.is_sorted(), "{told}");
    }

    #[test]
    fn for_quality_it_must_not_score_below_the_mapping_that_would_be_written() {
        assert!(worth(Preference::Quality, 0.01).pays);
        let worse = worth(Preference::Quality, -0.01);
        assert!(!worse.pays);
        let told = worse.in_words();
        assert!(
            told.contains("does not pay here: 0.7000 at 20.00 B")
                && told.contains("categories alone: 0.7100 at 70.00 B"),
            "{told}"
        );
        let cheaper = worth(Preference::Economy, -0.01);
        assert!(cheaper.pays, "less score is what was asked for");
        let told = cheaper.in_words();
        assert!(
            told.contains("for the best score: 0.7100 at 70.00 B"),
            "{told}"
        );
    }
}
