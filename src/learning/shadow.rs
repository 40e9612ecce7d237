//! What a router in shadow would have decided, compared with what was decided on the same questions. Pure.

mod words;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::Serialize;

use super::gate::{self, Interval, Judgement};
use crate::{
    evaluate::Judged,
    ids::{CategoryId, OUT_OF_DOMAIN, RouterId},
    store::{Compared, Side},
};

/// Disagreements that are told, the most frequent first.
const DISAGREEMENTS_MAX: usize = 10;

/// How sure the interval is.
const CONFIDENCE: f64 = 0.95;

/// The normal distribution's value for it, two-sided.
const Z: f64 = 1.959_963_985;

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The number of the trial.
    pub trial: i64,
    /// The router in shadow.
    pub shadow: RouterId,
    /// The routers that decided: one, unless several servers had different ones in force.
    pub real: Vec<RouterId>,
    /// Outcomes of which both said something.
    pub outcomes: usize,
    /// The conversations that they are of.
    pub conversations: usize,
    /// Outcomes of which more are in the store, older ones, that were not read.
    pub is_cut: bool,
    /// Outcomes that stayed with their session's category, where the router's own word did not count: left out of what
    /// follows, but for the latency.
    pub stayed: usize,
    /// The share of the others on which both agree: the same category, or none.
    pub agreement: Option<Agreement>,
    /// The share that each sends to a category.
    pub routed: Option<Pair>,
    /// The share that each refuses, as out of domain or unsure.
    pub refused: Option<Pair>,
    /// Median time, microseconds: of the real decision with the choice of the expert, of the shadow without.
    pub p50_us: Option<Pair>,
    /// What they disagree on, the most frequent first.
    pub disagreements: Vec<Disagreement>,
    /// Texts of which somebody said what they are about and that one of both has learnt: they judge nobody.
    pub learnt: usize,
    /// What the gate says of both, on other outcomes of which somebody said what they are about; none where nobody did.
    pub judgement: Option<Judgement>,
}

/// A share of outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Agreement {
    /// 0 to 1.
    pub share: f64,
    /// What it lies between, with as many witnesses as there are conversations (Wilson, "Probable inference, the law of
    /// succession, and statistical inference", Journal of the American Statistical Association 1927).
    pub interval: Interval,
}

/// A figure of either router.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Pair {
    /// Of the decisions that were acted on.
    pub real: f64,
    /// Of the router in shadow.
    pub shadow: f64,
}

/// Questions that would have gone elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Disagreement {
    /// Where they went; `out_of_domain` where they were refused.
    pub from: CategoryId,
    /// Where they would have gone.
    pub to: CategoryId,
    /// How many.
    pub count: usize,
}

/// Adds outcomes up.
#[derive(Debug, Default)]
pub struct Tally {
    real: Vec<RouterId>,
    conversations: HashSet<String>,
    outcomes: usize,
    stayed: usize,
    agreed: usize,
    routed: [usize; 2],
    took_us: [Vec<u64>; 2],
    disagreements: BTreeMap<(CategoryId, CategoryId), usize>,
}

impl Tally {
    /// Adds an outcome.
    pub fn add(&mut self, row: &Compared) {
        self.outcomes += 1;
        if !self.real.contains(&row.router) {
            self.real.push(row.router.clone());
        }
        let conversation = row.session.as_ref().unwrap_or(&row.outcome_id);
        self.conversations.insert(conversation.clone());
        self.took_us[0].push(row.real.took_us);
        self.took_us[1].push(row.shadow.took_us);
        let (Some(from), Some(to)) = (row.real.goes_to(), row.shadow.goes_to()) else {
            self.stayed += 1;
            return;
        };
        for (routed, category) in self.routed.iter_mut().zip([&from, &to]) {
            *routed += usize::from(category.as_str() != OUT_OF_DOMAIN);
        }
        if from == to {
            self.agreed += 1;
        } else {
            *self.disagreements.entry((from, to)).or_default() += 1;
        }
    }

    /// Outcomes so far.
    pub fn outcomes(&self) -> usize {
        self.outcomes
    }

    /// Sums up. `is_cut`: whether there are more. `judgement`: what the gate says of both.
    pub fn sum_up(
        self,
        (trial, shadow): (i64, RouterId),
        is_cut: bool,
        judgement: Option<Judgement>,
    ) -> Comparison {
        let compared = self.outcomes - self.stayed;
        let witnesses = self.conversations.len().min(compared);
        let share = |count: usize| count as f64 / compared as f64;
        let shares = |counts: [usize; 2]| {
            (compared > 0).then(|| Pair {
                real: share(counts[0]),
                shadow: share(counts[1]),
            })
        };
        let mut disagreements: Vec<Disagreement> = self
            .disagreements
            .into_iter()
            .map(|((from, to), count)| Disagreement { from, to, count })
            .collect();
        // Stable: what is equally frequent stays in the order of names.
        disagreements.sort_by_key(|it| std::cmp::Reverse(it.count));
        disagreements.truncate(DISAGREEMENTS_MAX);
        let [real_us, shadow_us] = self.took_us.map(median);
        Comparison {
            trial,
            shadow,
            real: self.real,
            outcomes: self.outcomes,
            conversations: self.conversations.len(),
            is_cut,
            stayed: self.stayed,
            agreement: (compared > 0).then(|| Agreement {
                share: share(self.agreed),
                interval: wilson(share(self.agreed), witnesses),
            }),
            routed: shares(self.routed),
            refused: shares(self.routed.map(|routed| compared - routed)),
            p50_us: real_us.zip(shadow_us).map(|(real, shadow)| Pair {
                real: real as f64,
                shadow: shadow as f64,
            }),
            disagreements,
            learnt: 0,
            judgement,
        }
    }
}

impl Side {
    /// The category that the router by itself sends a question to, `out_of_domain` where it refuses it; none where something
    /// else decided.
    fn goes_to(&self) -> Option<CategoryId> {
        match self.reason.as_str() {
            "routed" => self.scores.first().map(|best| best.category.clone()),
            "unsure" | "out_of_domain" | "empty" | "router_failed" => {
                Some(CategoryId::new(OUT_OF_DOMAIN))
            }
            _ => None,
        }
    }

    /// What the gate goes by; none where nothing was classified.
    fn said(&self, label: &CategoryId) -> Option<gate::Said> {
        if self.scores.is_empty() {
            return None;
        }
        let judged = Judged {
            id: None,
            label: label.clone(),
            scores: self.scores.clone(),
            routed: self.reason == "routed",
            out_of_domain: 0.0,
            tier: None,
            took_us: None,
            text: String::new(),
            features: Vec::new(),
        };
        Some(gate::Said {
            out_of_domain: self.strangeness?,
            ..gate::Said::of(&judged)
        })
    }
}

/// A row for the gate: what both said of an outcome of which it is known what it is about.
///
/// None where one of them said nothing, or something else decided. `added`: categories that only the router in shadow knows.
pub fn gate_row(
    row: &Compared,
    (label, conversation): (&CategoryId, u64),
    added: &BTreeSet<CategoryId>,
) -> Option<gate::Row> {
    // What a session's past decided tells nothing of what the router would have done.
    row.real.goes_to().and(row.shadow.goes_to())?;
    let likeliest = row.shadow.scores.first();
    Some(gate::Row {
        label: label.clone(),
        conversation,
        is_newest: false,
        is_taken: likeliest.is_some_and(|score| added.contains(&score.category)),
        champion: row.real.said(label)?,
        challenger: row.shadow.said(label)?,
    })
}

/// The interval of a share that was found among so many witnesses.
fn wilson(share: f64, witnesses: usize) -> Interval {
    let count = witnesses.max(1) as f64;
    let z2 = Z * Z;
    let middle = (share + z2 / (2.0 * count)) / (1.0 + z2 / count);
    let half = Z * (share * (1.0 - share) / count + z2 / (4.0 * count * count)).sqrt()
        / (1.0 + z2 / count);
    Interval {
        low: (middle - half).max(0.0),
        high: (middle + half).min(1.0),
        confidence: CONFIDENCE,
    }
}

fn median(mut values: Vec<u64>) -> Option<u64> {
    let middle = values.len().checked_sub(1)? / 2;
    let (_, median, _) = values.select_nth_unstable(middle);
    Some(*median)
}

#[cfg(test)]
mod tests;
