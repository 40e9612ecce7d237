//! A mapping that the outcomes speak for: who should answer a category instead, and whether that is better on outcomes that
//! had no say in it.
//!
//! The older half of the conversations chooses, the newer half judges: off-policy, since the proposed mapping has never
//! served. What decides is the doubly robust difference between the two mappings on the same outcomes
//! ([`off_policy::difference`]), and whether it holds whichever single client is left out: whoever asks also says how good the
//! answers were, and the mapping is everybody's.

mod edit;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet};

use serde::Serialize;

pub use edit::{EditError, edited};

use super::{
    reward::Implicit,
    served::Served,
    tallies,
    untried::{self, Paired, Target},
};
use crate::{
    config::{Assignment, MappingConfig},
    ids::{CategoryId, ExpertId, OUT_OF_DOMAIN},
    mapping::{Mapping, explore::Tally},
    off_policy::{self, Estimate},
};

/// Rewards that an expert must have in a category, and the one it would replace as well.
pub const ROWS_MIN: f64 = 20.0;

/// By how many standard errors an expert must do better on the older half to be proposed. What decides is the newer half; this
/// keeps what is mere chance from spoiling what is not.
const STANDARD_ERRORS_MIN: f64 = 1.0;

/// Experts of a category that are kept to stand by.
const FALLBACKS_MAX: usize = 3;

/// What a retraining makes of the mapping.
#[derive(Clone, Debug, Serialize)]
pub struct Remapped {
    /// Outcomes of the older half.
    pub chosen_by: usize,
    /// Outcomes of the newer half.
    pub judged_by: usize,
    /// Who would answer what instead.
    pub changes: Vec<Change>,
    /// The mean reward of the proposed mapping less that of the one in force; none where nothing was judged.
    pub difference: Option<Estimate>,
    /// The same without the client without whom least of it is left; none where fewer than two asked.
    pub without_client: Option<WithoutClient>,
    /// Whether it may replace the mapping in force.
    pub passed: bool,
    /// Why, or why not.
    pub reason: String,
    /// Whether it was put in force.
    pub promoted: bool,
}

/// What is left of a difference without one client.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WithoutClient {
    /// The name of its key; none: whoever had none.
    pub client: Option<String>,
    /// None where nothing is left to judge by.
    pub difference: Option<Estimate>,
}

/// What outcomes count for.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Whether what happened counts where nobody said anything.
    pub implicit: Implicit,
    /// The share of an expert's rewards in a category that one client's questions may have in what is proposed.
    pub client_share_max: f64,
}

/// Another expert for a category.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// The category.
    pub category: CategoryId,
    /// Who answers it now.
    pub from: ExpertId,
    /// Who would.
    pub to: ExpertId,
    /// Mean reward of both on the older half.
    pub rewards: [f64; 2],
    /// Rewards of both there.
    pub rows: [f64; 2],
    /// On the newer half, the mean reward over all questions with this change alone less that without; none where it was not
    /// judged.
    pub difference: Option<Estimate>,
}

/// Proposes other experts for categories and judges them: all together, and none may be worse.
///
/// `served`: oldest first, those that were asked again marked. `experts`: who may be chosen. `open`: how a mapping is made of
/// its configuration.
pub fn remap(
    served: &[Served],
    current: &MappingConfig,
    experts: &[ExpertId],
    open: impl Fn(MappingConfig) -> Mapping,
    rules: Rules,
) -> Remapped {
    let (older, newer) = halves(served);
    let mut remapped = Remapped {
        chosen_by: older.len(),
        judged_by: newer.len(),
        changes: Vec::new(),
        difference: None,
        without_client: None,
        passed: false,
        reason: String::new(),
        promoted: false,
    };
    if current.quality.is_some() {
        remapped.reason = "a quality model chooses question by question; `coterie map fit --per-question` fits another".to_owned();
        return remapped;
    }
    remapped.changes = changes(&older, current, experts, rules);
    if remapped.changes.is_empty() {
        remapped.reason =
            "no expert did better than the one that answers a category now".to_owned();
        return remapped;
    }
    let newer = Newer {
        served: &newer,
        current,
        experts,
        open: &open,
        implicit: rules.implicit,
    };
    remapped.difference = newer.difference(&remapped.changes);
    remapped.without_client = newer.without_client(&remapped.changes);
    for change in &mut remapped.changes {
        change.difference = newer.difference(std::slice::from_ref(change));
    }
    let doubts = newer.doubts(&remapped.changes);
    (remapped.passed, remapped.reason) = verdict(&remapped, &doubts);
    remapped
}

/// The outcomes that judge.
struct Newer<'n, O> {
    served: &'n [Served],
    current: &'n MappingConfig,
    experts: &'n [ExpertId],
    open: &'n O,
    implicit: Implicit,
}

impl<O: Fn(MappingConfig) -> Mapping> Newer<'_, O> {
    fn target<'t>(&'t self, mapping: &'t Mapping) -> Target<'t> {
        Target {
            mapping,
            router: None,
            categories: &[],
            experts: self.experts,
        }
    }

    /// The outcomes as the mapping with these changes, and as the one in force, would have had them.
    fn paired(&self, changes: &[Change]) -> Option<Paired<'_>> {
        let mappings = [proposed(self.current, changes), self.current.clone()].map(self.open);
        let [one, other] = mappings.each_ref().map(|mapping| self.target(mapping));
        untried::paired(self.served, [&one, &other], self.implicit)
    }

    /// The mean reward with these changes less that of the mapping in force.
    fn difference(&self, changes: &[Change]) -> Option<Estimate> {
        let paired = self.paired(changes)?;
        off_policy::difference(&paired.one, &paired.other)
    }

    /// What is left of it without the client without whom least is; none where fewer than two asked.
    fn without_client(&self, changes: &[Change]) -> Option<WithoutClient> {
        without_client(&self.paired(changes)?)
    }

    /// Why these outcomes cannot tell of these changes.
    fn doubts(&self, changes: &[Change]) -> Vec<String> {
        let mapping = (self.open)(proposed(self.current, changes));
        untried::hindsight(self.served, &self.target(&mapping), self.implicit).warnings
    }
}

/// What is left without the client without whom least is; none where fewer than two asked.
fn without_client(paired: &Paired<'_>) -> Option<WithoutClient> {
    let clients: BTreeSet<Option<&str>> = paired.clients.iter().copied().collect();
    if clients.len() < 2 {
        return None;
    }
    let without = |left_out: Option<&str>| {
        let others = |outcomes: &[off_policy::Outcome]| -> Vec<off_policy::Outcome> {
            let asked = outcomes.iter().zip(&paired.clients);
            let others = asked.filter(|(_, client)| **client != left_out);
            others.map(|(outcome, _)| *outcome).collect()
        };
        WithoutClient {
            client: left_out.map(str::to_owned),
            difference: off_policy::difference(&others(&paired.one), &others(&paired.other)),
        }
    };
    let low = |it: &WithoutClient| it.difference.map_or(f64::NEG_INFINITY, |left| left.low);
    let all = clients.into_iter().map(without);
    all.min_by(|a, b| low(a).total_cmp(&low(b)))
}

fn verdict(remapped: &Remapped, doubts: &[String]) -> (bool, String) {
    let Some(difference) = remapped.difference else {
        return (false, "no newer outcome tells of it".to_owned());
    };
    if let Some(doubt) = doubts.first() {
        return (false, format!("the outcomes cannot tell: {doubt}"));
    }
    // What one category gains must not hide what another loses.
    let is_worse = |change: &&Change| change.difference.is_some_and(|it| it.high < 0.0);
    if let Some(worse) = remapped.changes.iter().find(is_worse) {
        let category = &worse.category;
        let words = worse.difference.as_ref().map(in_words).unwrap_or_default();
        let reason = format!("`{category}` would be worse answered: {words}");
        return (false, reason);
    }
    let words = in_words(&difference);
    if difference.low <= 0.0 {
        return (false, format!("not shown to be better: {words}"));
    }
    match &remapped.without_client {
        Some(without) if !without.difference.is_some_and(|left| left.low > 0.0) => {
            let name = without.client.as_ref();
            let name = name.map_or_else(|| "who has no key".to_owned(), |name| format!("`{name}`"));
            let left = without.difference.as_ref();
            let left = left.map_or_else(|| "nothing is left".to_owned(), in_words);
            let reason = format!("better by one client's word: {words}; without {name} {left}");
            (false, reason)
        }
        _ => (true, format!("better: {words}")),
    }
}

fn in_words(difference: &Estimate) -> String {
    format!(
        "{:+.3} of reward, 95 % interval {:+.3} to {:+.3}",
        difference.value, difference.low, difference.high
    )
}

/// The conversations that ended first, and those that ended last, each with about half of the outcomes, oldest first.
fn halves(served: &[Served]) -> (Vec<Served>, Vec<Served>) {
    let name = |outcome: &Served| {
        let conversation = outcome.conversation.as_ref();
        conversation.unwrap_or(&outcome.outcome_id).clone()
    };
    let mut ends: HashMap<String, (i64, usize)> = HashMap::new();
    for outcome in served {
        let end = ends.entry(name(outcome)).or_insert((i64::MIN, 0));
        *end = (end.0.max(outcome.asked_at_ms), end.1 + 1);
    }
    let mut in_order: Vec<(i64, &String, usize)> = ends
        .iter()
        .map(|(conversation, (end_ms, rows))| (*end_ms, conversation, *rows))
        .collect();
    in_order.sort_unstable();
    let mut rows = 0;
    let older: HashSet<&String> = in_order
        .into_iter()
        .take_while(|(.., of_conversation)| {
            let is_older = rows < served.len() / 2;
            rows += of_conversation;
            is_older
        })
        .map(|(_, conversation, _)| conversation)
        .collect();
    served
        .iter()
        .cloned()
        .partition(|outcome| older.contains(&name(outcome)))
}

/// Who did better than whoever answers a category now.
fn changes(
    older: &[Served],
    current: &MappingConfig,
    experts: &[ExpertId],
    rules: Rules,
) -> Vec<Change> {
    let tallies = tallies::tallies(older, rules.implicit, rules.client_share_max);
    let mut categories: Vec<&CategoryId> = tallies.keys().map(|(category, _)| category).collect();
    categories.sort_unstable();
    categories.dedup();
    let change = |category: &CategoryId| {
        // A cascade has its own first expert, whose answers say little of the one behind it. Who answers what no category
        // covers also answers every category without an entry, and is left alone.
        let has_cascade = current.cascades.iter().any(|(known, _)| known == category);
        if has_cascade || category.as_str() == OUT_OF_DOMAIN {
            return None;
        }
        let tally = |expert: &ExpertId| {
            let tally = tallies.get(&(category.clone(), expert.clone()))?;
            (tally.rows >= ROWS_MIN).then_some(*tally)
        };
        let from = answers(current, category);
        let now = tally(from)?;
        let best = experts
            .iter()
            .filter(|expert| *expert != from)
            .filter_map(|expert| Some((expert, tally(expert)?)))
            .max_by(|a, b| mean(&a.1).total_cmp(&mean(&b.1)))?;
        is_better(&best.1, &now).then(|| Change {
            category: category.clone(),
            from: from.clone(),
            to: best.0.clone(),
            rewards: [mean(&now), mean(&best.1)],
            rows: [now.rows, best.1.rows],
            difference: None,
        })
    };
    categories.into_iter().filter_map(change).collect()
}

/// Who answers a category now.
fn answers<'c>(current: &'c MappingConfig, category: &CategoryId) -> &'c ExpertId {
    let assigned = current.assigned(category);
    assigned.map_or(&current.default, |assigned| &assigned.expert)
}

fn mean(tally: &Tally) -> f64 {
    tally.rewards / tally.rows.max(1.0)
}

fn is_better(one: &Tally, other: &Tally) -> bool {
    // Rewards within 0 to 1 vary at most as right and wrong ones of the same mean do; one of each is added, so that a few that
    // are all alike are not taken for certain.
    let variance = |tally: &Tally| {
        let share = (tally.rewards + 1.0) / (tally.rows + 2.0);
        share * (1.0 - share) / tally.rows
    };
    let standard_error = (variance(one) + variance(other)).sqrt();
    mean(one) - mean(other) > STANDARD_ERRORS_MIN * standard_error
}

/// The mapping with other experts; whoever answered before stands by first.
pub fn proposed(current: &MappingConfig, changes: &[Change]) -> MappingConfig {
    let mut proposed = current.clone();
    for change in changes {
        let known = proposed
            .categories
            .iter_mut()
            .find(|(category, _)| *category == change.category);
        let before = known.as_ref().map(|(_, assigned)| assigned.clone());
        let assigned = assignment(change, before.as_ref());
        match known {
            Some((_, known)) => *known = assigned,
            None => proposed
                .categories
                .push((change.category.clone(), assigned)),
        }
    }
    proposed
}

fn assignment(change: &Change, before: Option<&Assignment>) -> Assignment {
    let others = before.map_or(&[][..], |before| &before.fallbacks);
    let fallbacks = std::iter::once(&change.from)
        .chain(others)
        .filter(|expert| **expert != change.to)
        .take(FALLBACKS_MAX)
        .cloned()
        .collect();
    Assignment {
        expert: change.to.clone(),
        fallbacks,
    }
}
