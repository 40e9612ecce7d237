//! What a mapping must keep to beside its limits, and why it cannot.

use ndarray::Array2;

use super::{
    amount::enough,
    outcomes::Outcomes,
    plan::{Frame, Plan},
    solve::{Infeasible, Limits},
};
use crate::ids::{CategoryId, ExpertId};

/// Rules for single categories.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    /// Categories with the one expert that answers them.
    pub pins: Vec<(CategoryId, ExpertId)>,
    /// Categories with an expert that does not answer them.
    pub forbidden: Vec<(CategoryId, ExpertId)>,
    /// Categories with the score that must be expected there at least.
    pub scores_min: Vec<(CategoryId, f64)>,
}

/// Why a mapping cannot be fitted.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FitError {
    /// A rule is for a category that no row has.
    #[error("no row is of category `{category}`; there are {}", known.join(", "))]
    UnknownCategory {
        /// The category.
        category: CategoryId,
        /// Those that rows have.
        known: Vec<String>,
    },
    /// A category could not be told from a setting in the mapping's file.
    #[error(
        "no category may be called `{category}`, since that is a key of `mapping`; rename it in the rows"
    )]
    Reserved {
        /// The category.
        category: CategoryId,
    },
    /// A rule is for an expert that no row has a score of.
    #[error("no row has a score of `{expert}`; scored are {}", known.join(", "))]
    UnknownExpert {
        /// The expert.
        expert: ExpertId,
        /// Those that have scores.
        known: Vec<String>,
    },
    /// Two experts are to answer one category.
    #[error("`{category}` is pinned to `{first}` and to `{second}`; one expert answers a category")]
    PinnedTwice {
        /// The category.
        category: CategoryId,
        /// The one.
        first: ExpertId,
        /// The other.
        second: ExpertId,
    },
    /// There is a budget of what is known of no expert.
    #[error("no expert's {what} is known, so that no budget can be kept to; {advice}")]
    UnknownCost {
        /// What the budget is of.
        what: &'static str,
        /// Where to write it.
        advice: &'static str,
    },
    /// Nobody may answer a category.
    #[error(
        "nobody may answer `{category}`: what is pinned, what is forbidden and experts of unknown size or price, which no \
         budget admits, leave no expert{}",
        of_unknown_cost(unknown)
    )]
    NoExpert {
        /// The category.
        category: CategoryId,
        /// Those whose size or price a limit asks for and nobody said.
        unknown: Vec<String>,
    },
    /// No expert that may answer a category is good enough.
    #[error(
        "`{category}` cannot reach a score of {wanted}: the most that is to be expected there is {most:.4}"
    )]
    ScoreTooHigh {
        /// The category.
        category: CategoryId,
        /// What was asked for.
        wanted: f64,
        /// What the best expert is expected to score.
        most: f64,
    },
    /// The experts are too few.
    #[error("{limit} experts are too few: the pins and what is forbidden need at least {least}")]
    TooFewExperts {
        /// The limit.
        limit: usize,
        /// How many are needed.
        least: usize,
    },
    /// A budget is too small.
    #[error(
        "{limit} {unit} are too few: with the rules and the limits before it kept, the least is {}",
        enough(*least)
    )]
    OverBudget {
        /// The budget.
        limit: f64,
        /// What it is a budget of.
        unit: &'static str,
        /// The least that a mapping needs.
        least: f64,
    },
}

impl FitError {
    /// Whether the call names what is not there; otherwise what it asks for cannot be done.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::UnknownCategory { .. }
                | Self::UnknownExpert { .. }
                | Self::Reserved { .. }
                | Self::PinnedTwice { .. }
                | Self::UnknownCost { .. }
        )
    }
}

impl Rules {
    /// Which expert may answer which category, experts by categories.
    ///
    /// # Errors
    /// A rule names a category or an expert that no row has.
    pub(super) fn allowed(&self, outcomes: &Outcomes) -> Result<Array2<bool>, FitError> {
        let shape = (outcomes.experts().len(), outcomes.categories().len());
        let mut allowed = Array2::from_elem(shape, true);
        for (at, (category, expert)) in self.pins.iter().enumerate() {
            let mut others = self.pins[..at].iter();
            if let Some((_, first)) =
                others.find(|(other, first)| other == category && first != expert)
            {
                return Err(FitError::PinnedTwice {
                    category: category.clone(),
                    first: first.clone(),
                    second: expert.clone(),
                });
            }
            let (c, pinned) = (place(category, outcomes)?, seat(expert, outcomes)?);
            for (e, allowed) in allowed.column_mut(c).iter_mut().enumerate() {
                *allowed &= e == pinned;
            }
        }
        for (category, expert) in &self.forbidden {
            allowed[[seat(expert, outcomes)?, place(category, outcomes)?]] = false;
        }
        Ok(allowed)
    }

    /// The least score that must be expected in some categories.
    ///
    /// # Errors
    /// A rule names a category that no row has.
    pub(super) fn scores_min(&self, outcomes: &Outcomes) -> Result<Vec<(usize, f64)>, FitError> {
        let rules = self.scores_min.iter();
        rules
            .map(|(category, least)| Ok((place(category, outcomes)?, *least)))
            .collect()
    }
}

/// Whether every category can be expected to score what is asked for.
///
/// # Errors
/// In one nobody who may answer is expected to.
pub(super) fn check_scores(
    plan: &Plan,
    frame: &Frame,
    outcomes: &Outcomes,
) -> Result<(), FitError> {
    match frame.out_of_reach(&plan.scores) {
        None => Ok(()),
        Some((category, wanted, most)) => Err(FitError::ScoreTooHigh {
            category: outcomes.categories()[category].clone(),
            wanted,
            most,
        }),
    }
}

/// A limit that cannot hold, with the names and numbers that the user knows it by.
pub(in crate::mapping) fn in_words(
    infeasible: Infeasible,
    frame: &Frame,
    outcomes: &Outcomes,
) -> FitError {
    let over = |limit: Option<f64>, unit, least| FitError::OverBudget {
        limit: limit.unwrap_or_default(),
        unit,
        least,
    };
    let limits = &frame.limits;
    match infeasible {
        Infeasible::NoExpert { category } => {
            unknown_cost(frame).unwrap_or_else(|| FitError::NoExpert {
                category: outcomes.categories()[category].clone(),
                unknown: unknown(frame, outcomes),
            })
        }
        Infeasible::Experts { least } => FitError::TooFewExperts {
            limit: limits.experts.unwrap_or_default(),
            least,
        },
        Infeasible::Resident { least_b } => {
            over(limits.resident_b, "billion resident parameters", least_b)
        }
        Infeasible::Active { least_b } => {
            over(limits.active_b, "billion active parameters", least_b)
        }
        Infeasible::Usd { least } => over(limits.usd, "dollars a question", least),
    }
}

/// A limit of what nobody said of any expert.
fn unknown_cost(frame: &Frame) -> Option<FitError> {
    let limits = &frame.limits;
    let is_sized = frame.pool.params_b.iter().any(|size| size.is_finite());
    if (limits.active_b.is_some() || limits.resident_b.is_some()) && !is_sized {
        return Some(FitError::UnknownCost {
            what: "size",
            advice: "give each a `params_b` in the models file (`--models`) or the configuration",
        });
    }
    (limits.usd.is_some() && frame.pool.usd.is_none()).then_some(FitError::UnknownCost {
        what: "price",
        advice: "give each `usd_in` and `usd_out` in the models file (`--models`) or the configuration, or the rows `cost_usd`",
    })
}

/// Experts whose size or price a limit asks for and nobody said.
fn unknown(frame: &Frame, outcomes: &Outcomes) -> Vec<String> {
    let Limits {
        active_b,
        resident_b,
        usd,
        ..
    } = frame.limits;
    let is_sized = active_b.is_some() || resident_b.is_some();
    let is_unknown = |e: &usize| {
        let prices = frame.pool.usd.as_ref();
        let is_priced =
            prices.is_some_and(|prices| prices.row(*e).iter().all(|usd| usd.is_finite()));
        is_sized && frame.pool.params_b[*e].is_infinite() || usd.is_some() && !is_priced
    };
    let experts = outcomes.experts();
    let unknown = (0..experts.len()).filter(is_unknown);
    unknown.map(|e| experts[e].to_string()).collect()
}

fn of_unknown_cost(experts: &[String]) -> String {
    if experts.is_empty() {
        return String::new();
    }
    format!("; nothing says it of {}", experts.join(", "))
}

fn place(category: &CategoryId, outcomes: &Outcomes) -> Result<usize, FitError> {
    let found = outcomes
        .categories()
        .iter()
        .position(|known| known == category);
    found.ok_or_else(|| FitError::UnknownCategory {
        category: category.clone(),
        known: outcomes
            .categories()
            .iter()
            .map(ToString::to_string)
            .collect(),
    })
}

fn seat(expert: &ExpertId, outcomes: &Outcomes) -> Result<usize, FitError> {
    let found = outcomes.experts().iter().position(|known| known == expert);
    found.ok_or_else(|| FitError::UnknownExpert {
        expert: expert.clone(),
        known: outcomes.experts().iter().map(ToString::to_string).collect(),
    })
}
