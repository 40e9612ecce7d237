//! When a question is put to the LLM, and what becomes of the router's verdict by its word. Pure.
//!
//! What the word may change is bounded, since a question may be written to steer it: it chooses among the categories and nothing
//! else; a decision of which the router is sure it cannot turn into another category that the router knows, only into doubt;
//! and where both together are not sure enough, the default expert answers.

use super::{Compared, When};
use crate::{
    decision::Score,
    ids::{CategoryId, OUT_OF_DOMAIN},
    router::{Standing, TierName, Verdict},
};

/// What holds while one router is in force.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// About which questions the LLM is asked.
    pub(super) when: When,
    /// Questions of which the router is less sure than this are put to it.
    pub(super) below: f32,
    /// From which probability on the router routes.
    pub(super) router_min: f32,
    /// From which probability on both together do; none: nothing was proven, and the router's word stands.
    pub(super) both_min: Option<f32>,
}

impl Terms {
    /// Whether nobody is asked, unless the question may belong to a category that the router does not know. What the detector
    /// found strange is no question of which category.
    pub(super) fn is_settled(&self, verdict: &Verdict) -> bool {
        let Some(best) = verdict.scores.first() else {
            return true;
        };
        let is_strange = verdict.standing == Standing::OutOfDomain && !is_none(&best.category);
        match self.when {
            When::Alone => false,
            When::Always => is_strange,
            When::Unsure | When::Offline => is_strange || !self.is_unsure(best.probability),
        }
    }

    /// Whether the router is less sure than it takes to leave the LLM alone.
    pub(super) fn is_unsure(&self, confidence: f32) -> bool {
        confidence < self.below.min(self.router_min)
    }

    /// The verdict where the question belongs to a `new` category, one that the router does not know.
    pub(super) fn taken(verdict: &Verdict, new: &Compared) -> Option<Verdict> {
        let others = verdict.scores.iter().map(|score| Score {
            category: score.category.clone(),
            probability: score.probability * (1.0 - new.confidence),
        });
        let first = Score {
            category: new.category.clone(),
            probability: new.confidence,
        };
        new.is_enough().then(|| Verdict {
            tier: Some(TierName::Instruction),
            scores: std::iter::once(first).chain(others).collect(),
            standing: Standing::Confident,
            ..verdict.clone()
        })
    }

    /// The verdict by both. `weighed`: what both say of each class, likeliest first.
    pub(super) fn combined(&self, verdict: Verdict, weighed: Vec<Score>) -> Verdict {
        let (Some(best), Some(both_min)) = (weighed.first(), self.both_min) else {
            return verdict;
        };
        if self.is_settled(&verdict) {
            return verdict;
        }
        let sure_of = verdict.scores.first();
        let sure_of = sure_of.filter(|sure| sure.probability >= self.router_min);
        let is_changed = sure_of.is_some_and(|sure| sure.category != best.category);
        if is_changed && self.when != When::Alone {
            return self.doubted(verdict, &weighed);
        }
        let agrees = sure_of.is_some() && !is_changed && verdict.standing == Standing::Confident;
        let standing = if agrees {
            // What the router promises of it stands.
            Standing::Confident
        } else if is_none(&best.category) {
            Standing::OutOfDomain
        } else if best.probability >= both_min {
            Standing::Confident
        } else {
            Standing::Unsure {
                confidence_min: both_min,
            }
        };
        Verdict {
            tier: Some(TierName::Instruction),
            scores: weighed,
            standing,
            ..verdict
        }
    }

    /// Of each class no more is believed than both believe: somebody may have written the question so that the LLM says this.
    fn doubted(&self, verdict: Verdict, weighed: &[Score]) -> Verdict {
        let by_both = |score: &Score| {
            let same = weighed
                .iter()
                .find(|other| other.category == score.category);
            let probability = same.map_or(0.0, |other| other.probability.min(score.probability));
            Score {
                category: score.category.clone(),
                probability,
            }
        };
        let mut scores: Vec<Score> = verdict.scores.iter().map(by_both).collect();
        scores.sort_by(Score::by_likelihood);
        let standing = match verdict.standing {
            Standing::Confident => Standing::Unsure {
                confidence_min: self.router_min,
            },
            other => other,
        };
        Verdict {
            tier: Some(TierName::Instruction),
            scores,
            standing,
            ..verdict
        }
    }
}

fn is_none(category: &CategoryId) -> bool {
    category.as_str() == OUT_OF_DOMAIN
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instruction::unseen::Kin;

    const TERMS: Terms = Terms {
        when: When::Unsure,
        below: 0.7,
        router_min: 0.6,
        both_min: Some(0.65),
    };

    fn scores(of: &[(&str, f32)]) -> Vec<Score> {
        let score = |(category, probability): &(&str, f32)| Score {
            category: CategoryId::new(*category),
            probability: *probability,
        };
        of.iter().map(score).collect()
    }

    fn verdict(of: &[(&str, f32)], standing: Standing) -> Verdict {
        Verdict {
            scores: scores(of),
            standing,
            tier: Some(TierName::Cheap),
            out_of_domain: 0.0,
        }
    }

    fn sure() -> Verdict {
        verdict(&[("law", 0.9), ("art", 0.1)], Standing::Confident)
    }

    fn unsure() -> Verdict {
        let standing = Standing::Unsure {
            confidence_min: 0.6,
        };
        verdict(&[("law", 0.5), ("art", 0.4)], standing)
    }

    fn strange() -> Verdict {
        verdict(&[("law", 0.9), ("art", 0.1)], Standing::OutOfDomain)
    }

    /// The category that it goes to, if it is routed.
    fn routed(verdict: &Verdict) -> Option<&str> {
        let is_routed = verdict.standing == Standing::Confident;
        verdict
            .scores
            .first()
            .filter(|_| is_routed)
            .map(|best| best.category.as_str())
    }

    #[test]
    fn an_unsure_question_goes_where_both_are_sure_of() {
        assert!(!TERMS.is_settled(&unsure()));
        let art = scores(&[("art", 0.8), ("law", 0.2)]);
        let both = TERMS.combined(unsure(), art);
        assert_eq!(
            (routed(&both), both.tier),
            (Some("art"), Some(TierName::Instruction))
        );
        let neither = scores(&[("art", 0.6), ("law", 0.4)]);
        assert_eq!(routed(&TERMS.combined(unsure(), neither)), None);
        let none = TERMS.combined(unsure(), scores(&[("out_of_domain", 0.5)]));
        assert_eq!(none.standing, Standing::OutOfDomain);
    }

    #[test]
    fn where_nothing_was_proven_the_routers_word_stands() {
        let terms = Terms {
            both_min: None,
            ..TERMS
        };
        let both = terms.combined(unsure(), scores(&[("art", 1.0)]));
        assert_eq!(both, unsure());
    }

    #[test]
    fn a_sure_decision_is_doubted_and_never_turned() {
        let always = Terms {
            when: When::Always,
            ..TERMS
        };
        let doubted = always.combined(sure(), scores(&[("art", 0.95), ("law", 0.05)]));
        assert_eq!(routed(&doubted), None);
        assert!(doubted.scores[0].probability < 0.6, "{doubted:?}");
        let agreed = always.combined(sure(), scores(&[("law", 0.61), ("art", 0.39)]));
        assert_eq!(
            routed(&agreed),
            Some("law"),
            "what the router promises stands"
        );
    }

    #[test]
    fn a_category_that_the_router_does_not_know_may_take_any_question_and_no_other_may() {
        let kin = Kin {
            category: CategoryId::new("new"),
            lead: 0.0,
        };
        let new = scores(&[("new", 0.9), ("law", 0.1)]);
        let old = scores(&[("art", 0.9), ("law", 0.1)]);
        for verdict in [sure(), strange(), unsure()] {
            let taken = |said| Terms::taken(&verdict, &kin.compared(&verdict.scores, said));
            let (taken, left) = (taken(&new), taken(&old));
            assert_eq!(taken.as_ref().and_then(routed), Some("new"), "{verdict:?}");
            let sum: f32 = taken.unwrap().scores.iter().map(|it| it.probability).sum();
            assert!((sum - 1.0).abs() < 0.2, "{sum}");
            assert_eq!(left, None);
        }
        for verdict in [sure(), strange()] {
            assert!(TERMS.is_settled(&verdict));
            let kept = TERMS.combined(verdict.clone(), old.clone());
            assert_eq!(kept, verdict, "it was asked about the new one alone");
        }
    }

    #[test]
    fn alone_it_says_what_it_likes() {
        let alone = Terms {
            when: When::Alone,
            both_min: Some(0.5),
            ..TERMS
        };
        assert!(!alone.is_settled(&strange()));
        let said = alone.combined(sure(), scores(&[("art", 0.6), ("law", 0.4)]));
        assert_eq!(routed(&said), Some("art"));
    }
}
