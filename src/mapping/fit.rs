//! The mapping from scores: outcome files → which expert answers which category, under budgets, and what that buys.
//!
//! Offline: nothing here is on the path of a question. Rows become sums by expert, category and block (`tally`), from which
//! any part can be fitted (`cells`, `plan`, `solve`) and judged (`assess`) without going through the rows again. How and
//! why is told to users in `docs/mapping.md`.

pub(in crate::mapping) mod amount;
pub mod assess;
pub(in crate::mapping) mod baselines;
pub mod cells;
pub(in crate::mapping) mod difficulty;
pub mod folds;
mod frontier;
pub mod models;
pub mod outcomes;
pub mod plan;
pub mod plots;
pub mod pool;
pub mod report;
pub(in crate::mapping) mod rules;
pub mod solve;
pub(in crate::mapping) mod table;
pub mod tally;
pub mod written;

pub use self::rules::{FitError, Rules};
use self::{
    assess::Bench,
    difficulty::{Difficulty, difficulties},
    frontier::Cost,
    models::Models,
    outcomes::Outcomes,
    plan::{Frame, Price},
    pool::{Pool, Weights},
    report::Report,
    solve::{Effort, Limits},
    tally::Tally,
};
use crate::config::{Preference, is_mapping_key};

/// How a mapping is to be fitted.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How much each category counts.
    pub weights: Weights,
    /// What the mapping may need.
    pub limits: Limits,
    /// What else it must keep to.
    pub rules: Rules,
    /// What counts where questions are chosen for one by one and no budget says it; nothing: the score alone.
    pub prefer: Option<Preference>,
    /// What cost counts for in the mapping of categories; none: nothing, beside the limits.
    pub price: Option<Price>,
    /// Decides which rows are held back together, and which are drawn in resamples.
    pub seed: u64,
}

/// Rows as sums, and what a mapping of them is fitted within.
pub(in crate::mapping) struct Prepared {
    pub(in crate::mapping) frame: Frame,
    pub(in crate::mapping) tally: Tally,
    pub(in crate::mapping) blocks: Vec<u8>,
    pub(in crate::mapping) difficulties: Vec<Difficulty>,
}

/// Reads rows, rules and limits.
///
/// # Errors
/// A rule names what is not there, or nobody keeps to it.
pub(in crate::mapping) fn prepare(
    outcomes: &Outcomes,
    models: &Models,
    options: &Options,
) -> Result<Prepared, FitError> {
    if let Some(category) = outcomes
        .categories()
        .iter()
        .find(|category| is_mapping_key(category.as_str()))
    {
        return Err(FitError::Reserved {
            category: category.clone(),
        });
    }
    let difficulties = difficulties(outcomes);
    let blocks = folds::blocks(outcomes, options.seed);
    let frame = Frame {
        allowed: options.rules.allowed(outcomes)?,
        limits: options.limits,
        scores_min: options.rules.scores_min(outcomes)?,
        price: options.price.clone(),
        pool: Pool::of(outcomes, models, options.weights),
    };
    let once = vec![1; outcomes.rows()];
    let tally = Tally::of(outcomes, &difficulties, &blocks, &once);
    Ok(Prepared {
        frame,
        tally,
        blocks,
        difficulties,
    })
}

/// Fits a mapping and says what it is worth.
///
/// # Errors
/// A rule names what is not there, or no mapping keeps to the rules and limits.
pub fn fit(outcomes: &Outcomes, models: &Models, options: &Options) -> Result<Report, FitError> {
    let Prepared {
        frame,
        tally,
        blocks,
        difficulties,
    } = prepare(outcomes, models, options)?;
    let all = tally.all();
    let named = |infeasible| rules::in_words(infeasible, &frame, outcomes);
    let plan = plan::fit(&tally, &frame, None, Effort::Exact).map_err(named)?;
    rules::check_scores(&plan, &frame, outcomes)?;
    let can_hold_back = folds::can_hold_back(outcomes);
    let bench = Bench {
        outcomes,
        frame: &frame,
        difficulties: &difficulties,
        blocks: &blocks,
        seed: options.seed,
    };
    let judged = || {
        let assessment = assess::assess(&tally, &frame, None)?;
        Ok((assessment, bench.standard_errors(plan.caution)?))
    };
    let judged = can_hold_back.then(judged).transpose().map_err(named)?;
    let frontier = |cost| {
        let frontier = || frontier::frontier(&tally, &frame, &plan, cost).map_err(named);
        can_hold_back.then(frontier).transpose()
    };
    let parts = report::Parts {
        outcomes,
        frame: &frame,
        plan: &plan,
        sums: all,
        judged,
        frontier: frontier(Cost::Active)?.unwrap_or_default(),
        frontier_usd: frontier(Cost::Usd)?.unwrap_or_default(),
    };
    Ok(Report::of(parts))
}

#[cfg(test)]
mod tests;
