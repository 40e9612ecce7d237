//! What a mapping or a router that has not served would have been worth: the outcomes of those that did → estimates.
//!
//! The log of who was asked how probably, and of what became of it, goes to [`off_policy`]. Its questions are those of which
//! the composition chose the expert and for which it could have chosen another: of a question that was not tried out, since
//! its conversation went on for instance, nothing tells what another expert would have made. Where nothing was ever tried
//! out all count, and what the target would have done otherwise is told as unsupported.

mod target;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use serde::Serialize;

pub use target::Target;

use super::{
    conversation,
    reward::{self, Implicit},
    served::Served,
};
use crate::{
    ids::{CategoryId, ExpertId, MappingId, OUT_OF_DOMAIN, RouterId},
    off_policy::{self, Bounds, Estimate, Logged, Outcome, Report},
};

/// Of the parts of the log that the model of the rewards is fitted on.
const SEED: u64 = 7;

/// What the log says of a target.
#[derive(Clone, Debug, Serialize)]
pub struct Hindsight {
    /// The mapping that is asked about.
    pub mapping: MappingId,
    /// The router that is asked about; none: the categories are those that were acted on.
    pub router: Option<RouterId>,
    /// Outcomes that were read.
    pub outcomes: usize,
    /// Outcomes that say nothing of the choice of experts.
    pub left_out: LeftOut,
    /// Questions that count, those without a reward among them.
    pub questions: usize,
    /// The share of them for which the target would have chosen the mapping's own expert of that time, 0 to 1.
    pub unchanged: f64,
    /// The mean reward of what served; none without a reward.
    pub served: Option<Estimate>,
    /// What the target would have been worth.
    pub target: Report,
    /// Whether the log can tell.
    pub can_tell: bool,
    /// Why not, and what else to know, in words.
    pub warnings: Vec<String>,
}

/// How many outcomes were left out, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// The client named the expert.
    pub expert_named: usize,
    /// A cascade put another expert first, whose answers say little of the one behind it.
    pub cascade: usize,
    /// Nothing else could be tried out, while with other questions something was.
    pub certain: usize,
    /// The router, or the mapping's quality model, that is asked about cannot read the question, since its text was not kept.
    pub unread: usize,
    /// The target would have refused the question, by its budget.
    pub refused: usize,
}

/// One outcome that counts.
struct Row<'a> {
    served: &'a Served,
    category: CategoryId,
    chosen: ExpertId,
    /// Whether that expert could have been asked then.
    was_able: bool,
}

/// What the outcomes have in common.
struct Log<'a> {
    /// Whether anybody else was ever tried out.
    tries_out: bool,
    /// Who was asked, or could have been, or was passed over.
    heard_of: HashSet<&'a ExpertId>,
}

impl<'a> Log<'a> {
    fn of(served: &'a [Served]) -> Self {
        let named = |served: &'a Served| {
            let others = served.others.iter().chain(&served.passed_over);
            others.chain(&served.fallbacks).chain([&served.expert])
        };
        Self {
            tries_out: served.iter().any(could_be_another),
            heard_of: served.iter().flat_map(named).collect(),
        }
    }
}

/// What the log says of a target.
///
/// `served`: oldest first, those that were asked again marked.
pub fn hindsight(served: &[Served], target: &Target<'_>, implicit: Implicit) -> Hindsight {
    let mut left_out = LeftOut::default();
    let log = Log::of(served);
    let mut rows = Vec::new();
    let mut cascades = 0;
    for (at, outcome) in served.iter().enumerate() {
        let why = match row(outcome, at, target, &log) {
            Ok((row, has_cascade)) => {
                cascades += usize::from(has_cascade);
                rows.push(row);
                continue;
            }
            Err(why) => why,
        };
        match why {
            Unused::ExpertNamed => left_out.expert_named += 1,
            Unused::Cascade => left_out.cascade += 1,
            Unused::Certain => left_out.certain += 1,
            Unused::Unread => left_out.unread += 1,
            Unused::Refused => left_out.refused += 1,
        }
    }
    let outcomes = outcomes(&rows, implicit);
    let report = off_policy::estimate(&outcomes, &Bounds::default());
    let unchanged = rows.iter().filter(|row| row.chosen == *row.served.own());
    let unchanged = unchanged.count() as f64 / rows.len().max(1) as f64;
    Hindsight {
        mapping: target.mapping.id().clone(),
        router: target.router.clone(),
        outcomes: served.len(),
        left_out,
        questions: rows.len(),
        unchanged,
        served: on_policy(&outcomes),
        can_tell: report.can_tell(),
        warnings: warnings(&report, log.tries_out, cascades),
        target: report,
    }
}

/// What the log says of two targets on the same questions, in the same order.
pub(super) struct Paired<'a> {
    /// Who asked; none: without a key.
    pub(super) clients: Vec<Option<&'a str>>,
    pub(super) one: Vec<Outcome>,
    pub(super) other: Vec<Outcome>,
}

/// What the log says of two targets; none where nothing counts.
pub(super) fn paired<'a>(
    served: &'a [Served],
    targets: [&Target<'_>; 2],
    implicit: Implicit,
) -> Option<Paired<'a>> {
    let log = Log::of(served);
    let (ones, others): (Vec<Row<'_>>, Vec<Row<'_>>) = served
        .iter()
        .enumerate()
        .filter_map(|(at, outcome)| {
            let [one, other] = targets.map(|target| row(outcome, at, target, &log).ok());
            Some((one?.0, other?.0))
        })
        .unzip();
    (!ones.is_empty()).then(|| Paired {
        clients: ones
            .iter()
            .map(|row| row.served.client.as_deref())
            .collect(),
        one: outcomes(&ones, implicit),
        other: outcomes(&others, implicit),
    })
}

/// Why an outcome says nothing of the choice.
enum Unused {
    ExpertNamed,
    Cascade,
    Certain,
    Unread,
    Refused,
}

fn could_be_another(served: &Served) -> bool {
    served.propensity.is_some_and(|p| p < 1.0) && !served.has_cascade && served.category.is_some()
}

/// The outcome with what the target would have done, and whether a cascade would have stood before that.
fn row<'a>(
    served: &'a Served,
    at: usize,
    target: &Target<'_>,
    log: &Log<'_>,
) -> Result<(Row<'a>, bool), Unused> {
    let Some(category) = &served.category else {
        return Err(Unused::ExpertNamed);
    };
    if served.has_cascade {
        return Err(Unused::Cascade);
    }
    if log.tries_out && !could_be_another(served) {
        return Err(Unused::Certain);
    }
    let wanted = target.category(served, at).ok_or(Unused::Unread)?;
    if target.lacks_the_text(served) {
        return Err(Unused::Unread);
    }
    let choice = target.choose(served, wanted.as_ref(), &log.heard_of);
    let choice = choice.ok_or(Unused::Refused)?;
    let row = Row {
        served,
        category: category.clone(),
        was_able: served.could_choose(&choice.expert),
        chosen: choice.expert,
    };
    Ok((row, choice.grounds.cascade.is_some()))
}

/// In the form that the estimators know.
fn outcomes(rows: &[Row<'_>], implicit: Implicit) -> Vec<Outcome> {
    let mut experts = Numbers::default();
    let mut categories = Numbers::default();
    let chosen: Vec<usize> = rows
        .iter()
        .map(|row| experts.number(row.chosen.as_str()))
        .collect();
    let log: Vec<Logged> = rows
        .iter()
        .map(|row| {
            let served = row.served;
            let conversation = served.conversation.as_ref().unwrap_or(&served.outcome_id);
            Logged {
                category: categories.number(row.category.as_str()),
                expert: experts.number(served.expert.as_str()),
                // What is not known is no number, and is counted among what cannot be used.
                reward: reward::reward(served, &served.expert, implicit).unwrap_or(f64::NAN),
                propensity: served.propensity,
                cluster: conversation::number(conversation),
            }
        })
        .collect();
    let target = |row: usize, expert: usize| f64::from(u8::from(chosen[row] == expert));
    let mut outcomes = off_policy::outcomes(&log, experts.count(), target, SEED);
    for (outcome, row) in outcomes.iter_mut().zip(rows) {
        if !row.was_able {
            outcome.unsupported = 1.0;
        }
    }
    outcomes
}

/// The mean of what served: every row weighs one.
fn on_policy(outcomes: &[Outcome]) -> Option<Estimate> {
    let served = outcomes.iter().map(|outcome| Outcome {
        target: outcome.propensity.unwrap_or(1.0),
        weight_max: 1.0,
        unsupported: 0.0,
        predicted: None,
        ..*outcome
    });
    let served: Vec<Outcome> = served.collect();
    off_policy::estimate(&served, &Bounds::default()).inverse_propensity
}

fn warnings(report: &Report, tries_out: bool, cascades: usize) -> Vec<String> {
    let mut warnings: Vec<String> = report.doubts.iter().map(ToString::to_string).collect();
    if !tries_out {
        warnings.push(
            "no other expert was ever tried out; `mapping.explore: 2%` makes outcomes that tell of others"
                .to_owned(),
        );
    }
    if cascades > 0 {
        warnings.push(format!(
            "for {cascades} questions the mapping has a cascade, of which the outcomes say nothing: it is left out"
        ));
    }
    warnings
}

/// Names by their numbers, in the order in which they come.
#[derive(Default)]
struct Numbers<'a> {
    numbers: HashMap<&'a str, usize>,
}

impl<'a> Numbers<'a> {
    fn number(&mut self, name: &'a str) -> usize {
        let next = self.numbers.len();
        *self.numbers.entry(name).or_insert(next)
    }

    fn count(&self) -> usize {
        self.numbers.len()
    }
}

impl Served {
    /// The mapping's own expert of that time, which was asked first unless another was tried out.
    fn own(&self) -> &ExpertId {
        match self.fallbacks.first() {
            Some(own) if self.explored => own,
            _ => &self.expert,
        }
    }

    /// Whether an expert could have been chosen then, as far as the outcome tells.
    fn could_choose(&self, expert: &ExpertId) -> bool {
        if self.others.is_empty() {
            return !self.passed_over.contains(expert);
        }
        self.others.contains(expert) || self.own() == expert
    }

    /// The category as a mapping is asked for it.
    fn wanted(&self) -> Option<CategoryId> {
        let category = self.category.clone();
        category.filter(|category| category.as_str() != OUT_OF_DOMAIN)
    }
}
