//! What a way of fitting is worth: nested cross-validation, a bootstrap around it, and the baselines beside it.

use rayon::prelude::*;

use super::{
    cells::Caution,
    difficulty::Difficulty,
    folds::{self, OUTER},
    outcomes::Outcomes,
    plan::{self, Frame, Judged, Plan, Price},
    solve::{Effort, Infeasible},
    tally::Tally,
};

/// Resamples of the bootstrap: with two hundred, a standard error is known to a twentieth.
const RESAMPLES: usize = 200;

/// Resamples where they are dear: a standard error is known to a sixth then.
const RESAMPLES_MIN: usize = 20;

/// Scores and cells that all resamples together may go through: some seconds.
const RESAMPLED_MAX: usize = 400_000_000;

/// How many scores' time the assignments of one cell take in a resample, and where sets of experts are searched.
const SCORES_PER_CELL: usize = 200;
const SCORES_PER_CELL_OF_SETS: usize = 2_000;

/// Cells up to which every part of the rows chooses its caution anew, and where sets of experts are searched; of more, hardly one
/// would choose otherwise.
const CELLS_CHOSEN_MAX: usize = 20_000;
const CELLS_CHOSEN_OF_SETS_MAX: usize = 4_000;

/// Standard errors on either side of an estimate that 95 % of estimates lie within.
const STANDARD_ERRORS_95: f64 = 1.959_963_985;

/// A figure of rows held back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The estimate.
    pub value: f64,
    /// What it lies between with 95 % confidence.
    pub ci95: [f64; 2],
}

/// What mappings score and take on rows held back from their fit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Held {
    /// Weighted mean score.
    pub score: f64,
    /// Billions of parameters of the expert that answers, weighted; infinite where one is not known.
    pub active_b: f64,
    /// Dollars a question, where any price is known.
    pub usd: Option<f64>,
}

/// A fit's worth, on rows that were held back from it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Assessment {
    /// The mapping.
    pub mapping: Held,
    /// The best single expert, chosen on the same rows as the mapping.
    pub best_single: Held,
    /// Share of the weight of categories in which no score speaks of the mapping.
    pub unscored: f64,
}

/// Standard errors of a fit's worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::mapping) struct StandardErrors {
    /// Of the mapping's score.
    pub(in crate::mapping) score: f64,
    /// Of its gain over the best single expert.
    pub(in crate::mapping) gain: f64,
    /// Of that gain, less what the difference in cost counts for.
    pub(in crate::mapping) worth: f64,
}

/// Everything that is needed to fit on parts of the rows, again and again.
pub(in crate::mapping) struct Bench<'o> {
    pub(in crate::mapping) outcomes: &'o Outcomes,
    pub(in crate::mapping) frame: &'o Frame,
    pub(in crate::mapping) difficulties: &'o [Difficulty],
    pub(in crate::mapping) blocks: &'o [u8],
    pub(in crate::mapping) seed: u64,
}

impl Bench<'_> {
    /// The deviation over resamples of the rows, in each of which everything is fitted and judged anew (`chosen`: the caution,
    /// where cells are very many).
    ///
    /// # Errors
    /// No assignment keeps to the limits.
    pub(in crate::mapping) fn standard_errors(
        &self,
        chosen: Caution,
    ) -> Result<StandardErrors, Infeasible> {
        let cells = self.outcomes.experts().len() * self.outcomes.categories().len();
        let scores: usize = self.outcomes.rows_scored().iter().sum();
        let per_cell = if self.frame.limits.limit_experts() {
            SCORES_PER_CELL_OF_SETS
        } else {
            SCORES_PER_CELL
        };
        let dear = scores + cells * per_cell;
        let resamples = (RESAMPLED_MAX / dear.max(1)).clamp(RESAMPLES_MIN, RESAMPLES);
        let chosen = chosen_already(self.frame, chosen);
        let resample = |number: usize| {
            let draws = folds::draws(self.outcomes, self.seed.wrapping_add(1 + number as u64));
            let tally = Tally::of(self.outcomes, self.difficulties, self.blocks, &draws);
            assess(&tally, self.frame, chosen)
        };
        let resampled: Vec<Assessment> = (0..resamples)
            .into_par_iter()
            .map(resample)
            .collect::<Result<_, _>>()?;
        let over = |of: &dyn Fn(&Assessment) -> f64| deviation(resampled.iter().map(of));
        Ok(StandardErrors {
            score: over(&|held| held.mapping.score),
            gain: over(&|held| held.mapping.score - held.best_single.score),
            worth: over(&|held| held.worth_over_single(self.frame)),
        })
    }
}

impl Assessment {
    /// What the mapping has over the best single expert, its cost counted at the frame's price.
    pub(in crate::mapping) fn worth_over_single(&self, frame: &Frame) -> f64 {
        let price = frame.price.as_ref();
        self.mapping.worth(price) - self.best_single.worth(price)
    }
}

impl Estimate {
    pub(in crate::mapping) fn new(value: f64, standard_error: f64) -> Self {
        let half = STANDARD_ERRORS_95 * standard_error;
        Self {
            value,
            ci95: [value - half, value + half],
        }
    }
}

/// Fits on all outer parts but one, the choice of caution included unless it is given, and judges on that one, in turn.
///
/// # Errors
/// No assignment keeps to the limits, whatever scores are asked for.
pub(in crate::mapping) fn assess(
    tally: &Tally,
    frame: &Frame,
    chosen: Option<Caution>,
) -> Result<Assessment, Infeasible> {
    let plans: Vec<Plan> = (0..OUTER)
        .into_par_iter()
        .map(|part| match chosen {
            None => plan::fit(tally, frame, Some(part), Effort::Near),
            Some(caution) => {
                plan::fit_with(caution, &tally.outside(Some(part)), frame, Effort::Near)
            }
        })
        .collect::<Result<_, _>>()?;
    let (mut mapping, mut single) = (Judged::new(frame), Judged::new(frame));
    for (part, plan) in plans.iter().enumerate() {
        mapping.add(&plan.assignment.expert_of, tally.outer(part));
        single.add(
            &vec![plan.best_single; frame.pool.weights.len()],
            tally.outer(part),
        );
    }
    Ok(Assessment {
        mapping: Held::of(&mapping),
        best_single: Held::of(&single),
        unscored: mapping.unscored(),
    })
}

/// The caution that was chosen on all rows, where there are so many cells that parts of the rows would choose the same.
pub(in crate::mapping) fn chosen_already(frame: &Frame, chosen: Caution) -> Option<Caution> {
    let chosen_max = if frame.limits.limit_experts() {
        CELLS_CHOSEN_OF_SETS_MAX
    } else {
        CELLS_CHOSEN_MAX
    };
    (frame.allowed.len() > chosen_max).then_some(chosen)
}

impl Held {
    pub(in crate::mapping) fn of(judged: &Judged<'_>) -> Self {
        Self {
            score: judged.score(),
            active_b: judged.active_b(),
            usd: judged.usd(),
        }
    }

    /// The score less what the cost counts for.
    fn worth(&self, price: Option<&Price>) -> f64 {
        price.map_or(self.score, |price| {
            price.worth(self.score, (self.active_b, self.usd))
        })
    }
}

/// The deviation of a figure over resamples; of those that drew no row it is no number, and they are left out.
pub(in crate::mapping) fn deviation(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let values = values.filter(|value| value.is_finite());
    let count = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / count.max(1.0);
    let squares = values.map(|value| (value - mean).powi(2)).sum::<f64>();
    (squares / (count - 1.0).max(1.0)).sqrt()
}
