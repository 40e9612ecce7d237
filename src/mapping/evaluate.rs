//! What a mapping is worth on rows that it was not fitted on.
//!
//! Nothing is chosen here but the best single expert that it is held against, so that only the rows are resampled for the
//! intervals.

mod choices;
pub mod pair;

use std::collections::BTreeMap;

use serde::Serialize;

use self::choices::Choices;
use super::{
    Quality,
    fit::{
        assess::{Estimate, deviation},
        baselines,
        difficulty::{Difficulty, difficulties},
        folds,
        models::Models,
        outcomes::Outcomes,
        plan::Frame,
        pool::{Pool, Weights},
        report::{BaselineReport, Baselines, known},
        table,
        tally::{Sums, Tally},
        written::Written,
    },
};
use crate::ids::{CategoryId, ExpertId};

/// Resamples of the rows for the intervals: with two hundred, a standard error is known to a twentieth.
const RESAMPLES: u64 = 200;

/// What a mapping is worth on some rows.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluation {
    /// The mapping.
    pub mapping: Written,
    /// Weighted mean score.
    pub score: f64,
    /// What that lies between with 95 % confidence.
    pub score_ci95: [f64; 2],
    /// Billions of parameters of the expert that answers, weighted; none where a size is not known.
    pub active_b: Option<f64>,
    /// Billions of parameters of all experts that answer.
    pub resident_b: Option<f64>,
    /// Dollars a question, where prices are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usd: Option<f64>,
    /// Questions.
    pub rows: usize,
    /// What the mapping is held against.
    pub baselines: Baselines,
    /// Score over the expert that is best on these very rows.
    pub gain_over_best_single: f64,
    /// What that lies between with 95 % confidence.
    pub gain_ci95: [f64; 2],
    /// Rows on which an expert was not tried, where there are some.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub missing: BTreeMap<ExpertId, usize>,
    /// Share of the weight of categories in which the mapping's expert has no score.
    pub unscored: f64,
}

/// The mapping names an expert that rows know nothing of.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("no row has a score of `{expert}`, which answers `{category}`; scored are {}", known.join(", "))]
pub struct UnknownExpert {
    /// The expert.
    pub expert: ExpertId,
    /// The category that the mapping gives it.
    pub category: CategoryId,
    /// Who has scores.
    pub known: Vec<String>,
}

/// Evaluates a mapping on rows with their categories.
///
/// # Errors
/// The mapping names an expert that no row has a score of.
pub fn evaluate(
    mapping: Written,
    quality: Option<&dyn Quality>,
    outcomes: &Outcomes,
    (models, weights): (&Models, Weights),
) -> Result<Evaluation, UnknownExpert> {
    let choices = Choices::of(&mapping, quality, outcomes)?;
    let frame = Frame::free(Pool::of(outcomes, models, weights));
    let rows = Rows {
        difficulties: difficulties(outcomes),
        outcomes,
    };
    let once = vec![1; outcomes.rows()];
    let sums = rows.sums(&once);
    let singles =
        (0..outcomes.experts().len()).map(|expert| baselines::single(expert, &sums, &frame));
    let singles: Vec<baselines::Baseline> = singles.collect();
    let best = singles
        .iter()
        .enumerate()
        .reduce(|a, b| if b.1.score > a.1.score { b } else { a });
    let best = best.map_or(0, |(expert, _)| expert);
    let resample = |seed| {
        let draws = folds::draws(outcomes, seed);
        let sums = rows.sums(&draws);
        let judged = choices.judged((&rows, &draws), &sums, &frame);
        (judged.score(), baselines::single(best, &sums, &frame).score)
    };
    let resampled: Vec<(f64, f64)> = (0..RESAMPLES).map(resample).collect();
    let whole = choices.judged((&rows, &once), &sums, &frame);
    let score = Estimate::new(
        whole.score(),
        deviation(resampled.iter().map(|(score, _)| *score)),
    );
    let gain = Estimate::new(
        whole.score() - singles[best].score,
        deviation(resampled.iter().map(|(score, single)| score - single)),
    );
    let level: Vec<f64> = singles.iter().map(|single| single.score).collect();
    let cheapest = baselines::cheapest(&frame, &level);
    let name = |expert: usize| Some(outcomes.experts()[expert].clone());
    Ok(Evaluation {
        score: score.value,
        score_ci95: score.ci95,
        active_b: known(whole.active_b()),
        resident_b: known(
            choices
                .experts()
                .iter()
                .map(|e| frame.pool.params_b[*e])
                .sum(),
        ),
        usd: whole.usd().and_then(known),
        rows: outcomes.rows(),
        baselines: Baselines {
            best_single: BaselineReport::of(name(best), &singles[best]),
            cheapest: BaselineReport::of(name(cheapest), &singles[cheapest]),
            random: BaselineReport::of(None, &baselines::random(&sums, &frame)),
            oracle: BaselineReport::of(None, &baselines::oracle(outcomes, &frame)),
        },
        gain_over_best_single: gain.value,
        gain_ci95: gain.ci95,
        missing: outcomes.missing(),
        unscored: whole.unscored(),
        mapping,
    })
}

impl Evaluation {
    /// The evaluation as text for a terminal.
    pub fn table(&self) -> String {
        table::of_evaluation(self)
    }
}

/// Rows with how hard each of them is.
struct Rows<'o> {
    outcomes: &'o Outcomes,
    difficulties: Vec<Difficulty>,
}

impl Rows<'_> {
    /// Sums over rows that are drawn so often.
    fn sums(&self, draws: &[u8]) -> Sums {
        let blocks = vec![0; self.outcomes.rows()];
        let tally = Tally::of(self.outcomes, &self.difficulties, &blocks, draws);
        tally.all().clone()
    }
}
