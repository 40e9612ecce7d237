//! Sessions: questions that follow each other stay with one category unless there is reason to leave it. The rule is
//! pure; [`Sessions`] remembers what each session was last routed to, in memory alone.

mod key;
mod memory;
mod tag;

use serde::Serialize;

pub use key::{Claim, Membership, SessionKey};
pub use memory::Sessions;
pub use tag::{TAG_KEY_BYTES, TagKey};

use crate::{
    ids::{CategoryId, OUT_OF_DOMAIN},
    query::Query,
    router::{BELONGS_NOWHERE, Standing, Verdict},
};

/// How much of the leaning's odds is left where the ask was read in its conversation: what came before is in the verdict
/// already. Accuracy on 441 conversations, with the category of the turn before as the session's: 0.880 at 0.3, 0.878
/// without a session, 0.871 at 0.5, 0.862 at 1.
const ODDS_WITH_CONTEXT: f32 = 0.3;

/// An ask leaves its session, whatever that was about, where the evidence for another topic is so many times as sure as that the ask
/// leans. That it belongs nowhere is no such evidence: "now make it faster" does by itself, and surely.
const SURER: f32 = 50.0;

/// The widest margin: no ask leans more surely than that.
const MARGIN_MAX: f32 = 0.999;

/// A margin that no lead reaches.
const NO_LEAD: f32 = 1.01;

/// What a session was last routed to.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// The category.
    pub category: CategoryId,
    /// Its probability then, 0 to 1.
    pub probability: f32,
}

/// What a session's past says of its next question.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stickiness {
    /// The category that the session was last routed to.
    pub previous: CategoryId,
    /// Whether the question goes there as well.
    pub stayed: bool,
    /// Why it does, or does not.
    pub why: Why,
    /// By how much the likeliest category is likelier than the previous one, 0 to 1.
    pub lead: f32,
    /// The lead from which on the session is left; above 1: no lead is enough.
    pub margin: f32,
    /// The probability of the previous category once the past is counted, 0 to 1.
    pub confidence: f32,
}

/// Why a question stays with its session's category, or leaves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The router says the same by itself.
    Same,
    /// The new evidence does not beat the old by the margin.
    Margin,
    /// It does.
    Evidence,
    /// No expert of the category can serve the request: the conversation is too long, it needs tools or pictures, or it
    /// would cost too much.
    Expert,
}

/// Whether a question stays with the category that its session was last routed to; none where there is nothing to weigh.
///
/// With probability `l` (the leaning) the question keeps to the session's topic, so that the two beliefs make a mixture:
/// `l` times the session's and `1 − l` times the router's. In it the previous category is the likelier of two as long as
/// the other's lead in the router's probabilities is below `l ÷ (1 − l)` times the previous probability: the margin. An
/// ask that leans on nothing leaves at the slightest evidence, one that means nothing by itself at the strongest alone.
pub fn stay(held: &Held, verdict: &Verdict, query: &Query) -> Option<Stickiness> {
    let best = verdict.scores.first()?;
    let probability = probability(&held.category, verdict);
    let lead = best.probability - probability;
    let is_nowhere = best.category.as_str() == OUT_OF_DOMAIN;
    let odds = odds(query, is_nowhere);
    let most = if is_nowhere {
        NO_LEAD
    } else {
        MARGIN_MAX.min(1.0 - (1.0 - query.leaning()) / SURER)
    };
    let margin = (odds * held.probability).min(most);
    let confidence = (odds * held.probability + probability) / (odds + 1.0);
    let why = match verdict.standing {
        Standing::Confident if best.category == held.category => Why::Same,
        // An order out of nowhere ("make it shorter") may well be what the session is about.
        Standing::Confident | Standing::OutOfDomain if lead < margin => Why::Margin,
        Standing::Unsure { confidence_min } if lead < margin && confidence >= confidence_min => {
            Why::Margin
        }
        Standing::Confident | Standing::Unsure { .. } | Standing::OutOfDomain | Standing::Empty => {
            Why::Evidence
        }
    };
    Some(Stickiness {
        previous: held.category.clone(),
        stayed: matches!(why, Why::Same | Why::Margin),
        why,
        lead,
        margin,
        confidence,
    })
}

impl Stickiness {
    /// The same, where no expert of the previous category can serve the request.
    #[must_use]
    pub fn unserved(self) -> Self {
        Self {
            stayed: false,
            why: Why::Expert,
            ..self
        }
    }
}

/// How many times likelier it is that the ask keeps to the session's topic than that it does not. One that belongs nowhere by itself leans
/// more, as it does where it is read in its conversation.
fn odds(query: &Query, is_nowhere: bool) -> f32 {
    let leaning = query.leaning();
    let odds = leaning / (1.0 - leaning).max(f32::EPSILON);
    match query.context {
        Some(_) => ODDS_WITH_CONTEXT * odds,
        None if is_nowhere => BELONGS_NOWHERE.exp() * odds,
        None => odds,
    }
}

/// Of a category that is not among the likeliest next to nothing is left.
fn probability(category: &CategoryId, verdict: &Verdict) -> f32 {
    let mut scores = verdict.scores.iter();
    let score = scores.find(|score| score.category == *category);
    score.map_or(0.0, |score| score.probability)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::Score;

    fn held(category: &str) -> Held {
        Held {
            category: CategoryId::new(category),
            probability: 0.9,
        }
    }

    fn verdict(standing: Standing, probabilities: &[(&str, f32)]) -> Verdict {
        let score = |(category, probability): &(&str, f32)| Score {
            category: CategoryId::new(*category),
            probability: *probability,
        };
        Verdict {
            scores: probabilities.iter().map(score).collect(),
            standing,
            tier: None,
            out_of_domain: 0.0,
        }
    }

    fn leaning(leaning: f32) -> Query {
        Query::leaning_by("…", leaning)
    }

    fn why(standing: Standing, probabilities: &[(&str, f32)], query: &Query) -> Why {
        let stickiness = stay(&held("sql"), &verdict(standing, probabilities), query).unwrap();
        let stays = matches!(stickiness.why, Why::Same | Why::Margin);
        assert_eq!(stickiness.stayed, stays);
        stickiness.why
    }

    const UNSURE: Standing = Standing::Unsure {
        confidence_min: 0.5,
    };

    #[test]
    fn the_more_an_ask_leans_the_more_it_takes_to_leave() {
        let travel = [("travel", 0.8), ("sql", 0.1)];
        assert_eq!(
            why(Standing::Confident, &travel, &leaning(0.6)),
            Why::Margin
        );
        assert_eq!(
            why(Standing::Confident, &travel, &leaning(0.2)),
            Why::Evidence
        );
    }

    #[test]
    fn an_ask_that_leans_on_nothing_always_leaves() {
        let close = [("travel", 0.41), ("sql", 0.40)];
        assert_eq!(
            why(Standing::Confident, &close, &leaning(0.0)),
            Why::Evidence
        );
    }

    #[test]
    fn the_surer_an_ask_leans_the_surer_the_evidence_that_leaves() {
        let of = |probability: f32, by: f32| {
            let scores = [("travel", probability), ("sql", 0.0)];
            why(Standing::Confident, &scores, &leaning(by))
        };
        assert_eq!(
            (of(0.994, 0.9), of(0.994, 0.6)),
            (Why::Margin, Why::Evidence)
        );
        assert_eq!(
            (of(0.9985, 0.9), of(0.9985, 1.0)),
            (Why::Evidence, Why::Margin)
        );
        assert_eq!(of(0.9995, 1.0), Why::Evidence);
    }

    #[test]
    fn that_an_ask_surely_belongs_nowhere_by_itself_is_no_evidence_where_it_leans() {
        let nowhere = [(OUT_OF_DOMAIN, 1.0), ("sql", 0.0)];
        let of = |by: f32| why(Standing::OutOfDomain, &nowhere, &leaning(by));
        assert_eq!((of(0.9), of(0.4)), (Why::Margin, Why::Margin));
        assert_eq!((of(0.2), of(0.0)), (Why::Evidence, Why::Evidence));
    }

    #[test]
    fn where_the_conversation_was_read_the_session_weighs_less() {
        let travel = [("travel", 0.7), ("sql", 0.3)];
        let mut query = leaning(0.5);
        assert_eq!(why(Standing::Confident, &travel, &query), Why::Margin);
        query.context = Some("…".into());
        assert_eq!(why(Standing::Confident, &travel, &query), Why::Evidence);
    }

    #[test]
    fn a_session_makes_an_unsure_router_sure_only_where_the_ask_leans() {
        let unsure = [("sql", 0.4), ("travel", 0.3)];
        assert_eq!(why(UNSURE, &unsure, &leaning(0.7)), Why::Margin);
        assert_eq!(why(UNSURE, &unsure, &leaning(0.05)), Why::Evidence);
        assert_eq!(why(Standing::Confident, &unsure, &leaning(0.05)), Why::Same);
    }

    #[test]
    fn the_confidence_counts_the_past() {
        let verdict = verdict(UNSURE, &[("travel", 0.4), ("sql", 0.3)]);
        let stickiness = stay(&held("sql"), &verdict, &leaning(0.5)).unwrap();
        let confidence = 0.5 * 0.9 + 0.5 * 0.3;
        assert!(
            (stickiness.confidence - confidence).abs() < 1e-6,
            "{stickiness:?}"
        );
    }

    #[test]
    fn there_is_nothing_to_weigh_without_scores() {
        let empty = verdict(Standing::Empty, &[]);
        assert_eq!(stay(&held("sql"), &empty, &leaning(0.5)), None);
    }

    #[test]
    fn a_category_that_is_not_among_the_likeliest_has_no_probability_left() {
        let other = verdict(Standing::Confident, &[("travel", 1.0)]);
        let stickiness = stay(&held("sql"), &other, &leaning(0.1)).unwrap();
        assert!(!stickiness.stayed && (stickiness.lead - 1.0).abs() < 1e-6);
    }
}
