//! Decisions in words. Pure.

use crate::{
    decision::{Explained, Reason},
    instruction::{Compared, Instructed, When},
    mapping::{Limit, PassedOver},
    router::TierName,
};

/// Why a question goes where it goes.
pub(super) fn reason(explained: &Explained) -> String {
    let counted = explained.tier == Some(TierName::Instruction);
    let instructed = explained.instruction.as_ref().filter(|_| counted);
    let by_both = instructed.and_then(|instructed| by_both(&explained.reason, instructed));
    by_both.unwrap_or_else(|| by_router(&explained.reason))
}

/// By what an expert said beside the router, or instead of it; none where the router's word decides all the same.
fn by_both(reason: &Reason, instructed: &Instructed) -> Option<String> {
    let who = match instructed.when {
        When::Alone => "the expert",
        When::Unsure | When::Always | When::Offline => "both together",
    };
    let is_new = instructed.new.as_ref().is_some_and(Compared::is_enough);
    let best = instructed.both.as_ref().map(|both| &both.category);
    let sure_of = instructed.router.sure_of();
    let is_doubted = instructed.when != When::Alone && sure_of.is_some() && sure_of != best;
    match reason {
        Reason::Routed if is_new => {
            Some("its category is one that the router does not know".into())
        }
        Reason::Routed if instructed.router.routes && sure_of == best => None,
        Reason::Routed => Some(format!("the word of {who} is enough")),
        Reason::Unsure { .. } if is_doubted => Some(format!(
            "the router is sure of {} and {who} of {}: the default expert answers",
            sure_of?, best?
        )),
        Reason::Unsure {
            best,
            confidence_min,
        } => Some(format!(
            "{best} is likeliest by {who} but below {confidence_min:.3}: the default expert answers"
        )),
        Reason::OutOfDomain => Some(format!(
            "by {who} it belongs to no category: the default expert answers"
        )),
        _ => None,
    }
}

/// By the router's word, or the client's.
fn by_router(reason: &Reason) -> String {
    match reason {
        Reason::Routed => "the router is confident".into(),
        Reason::Unsure {
            best,
            confidence_min,
        } => {
            format!("{best} is likeliest but below {confidence_min:.3}: the default expert answers")
        }
        Reason::OutOfDomain => "it belongs to no category: the default expert answers".into(),
        Reason::Stayed { best } => format!("the session stays, though {best} is likeliest"),
        Reason::Empty => "there is nothing to classify: the default expert answers".into(),
        Reason::RouterFailed { detail } => format!("the router failed: {detail}"),
        Reason::CategoryNamed => "the category was named".into(),
        Reason::ExpertNamed => "the expert was named".into(),
    }
}

/// What an expert was asked about has several words, each with a probability of its own that is enough.
pub(super) fn compared(instructed: &Instructed) -> Vec<(&'static str, String)> {
    let own = &instructed.router;
    let by_router = own.scores.first().map(|best| Compared {
        category: best.category.clone(),
        confidence: best.probability,
        confidence_min: Some(own.confidence_min),
    });
    let both = match instructed.when {
        When::Alone => "by expert",
        When::Unsure | When::Always | When::Offline => "by both",
    };
    let new = instructed.new.clone();
    let words = [
        ("by router", by_router),
        ("as new", new),
        (both, instructed.both.clone()),
    ];
    let words = words
        .into_iter()
        .filter_map(|(name, word)| Some((name, word?)));
    words
        .map(|(name, word)| {
            let enough = match word.confidence_min {
                Some(least) => format!("enough from {least:.3}"),
                None => "nothing is proven to be enough".to_owned(),
            };
            (
                name,
                format!("{} {:.3}; {enough}", word.category, word.confidence),
            )
        })
        .collect()
}

/// Who was passed over, and why.
pub(super) fn limit(passed_over: &PassedOver) -> String {
    let why = match &passed_over.limit {
        Limit::Capabilities { lacks } => {
            let lacks: Vec<String> = lacks.iter().map(|lacks| format!("{lacks:?}")).collect();
            format!("cannot do {}", lacks.join(", ").to_lowercase())
        }
        Limit::ContextTokens {
            prompt_tokens,
            context_tokens,
        } => format!("holds {context_tokens} tokens, and there are some {prompt_tokens}"),
        Limit::UsdPerQuestion {
            usd_estimate,
            usd_max,
        } => format!("would cost some ${usd_estimate:.6}; a question may cost ${usd_max:.6}"),
        Limit::UsdPerDay {
            usd_estimate,
            usd_left,
        } => format!("would cost some ${usd_estimate:.6}; ${usd_left:.6} of today's are left"),
        Limit::CircuitOpen { retry_in_ms } => {
            format!(
                "failed of late, was slow or asked for a pause: left alone for {retry_in_ms} ms"
            )
        }
        Limit::PredictedSuccess {
            success,
            success_min,
        } => match success {
            Some(success) => format!("is predicted {success:.3}, below {success_min:.3}"),
            None => "has no predicted success".into(),
        },
    };
    format!("{}: {why}", passed_over.expert)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        decision::Score,
        ids::{CategoryId, ExpertId},
        instruction::{HEARD, Mode, Own},
    };

    fn word(category: &str, confidence: f32, confidence_min: Option<f32>) -> Compared {
        Compared {
            category: CategoryId::new(category),
            confidence,
            confidence_min,
        }
    }

    /// The router finds law 0.9 likely, which is enough from `router_min` on.
    fn instructed(when: When, router_min: f32, both: Option<Compared>) -> Instructed {
        Instructed {
            expert: ExpertId::new("scribe"),
            mode: Mode::Name,
            when,
            prompt: "name-v1",
            result: HEARD,
            detail: None,
            instruction: None,
            nearest: Vec::new(),
            router: Own {
                tier: Some(TierName::Cheap),
                confidence_min: router_min,
                routes: router_min <= 0.9,
                scores: vec![Score {
                    category: CategoryId::new("law"),
                    probability: 0.9,
                }],
            },
            both,
            new: None,
            parts: Vec::new(),
            usage: None,
            cost_usd: None,
            took_us: 1,
        }
    }

    #[test]
    fn each_word_is_told_with_what_it_was_compared_with() {
        let told = |it: &Instructed| {
            let lines = compared(it).into_iter();
            lines
                .map(|(who, what)| format!("{who}: {what}"))
                .collect::<Vec<_>>()
        };
        let both = Some(word("art", 0.7, Some(0.66)));
        let unsure = instructed(When::Unsure, 0.95, both.clone());
        assert_eq!(
            told(&unsure),
            [
                "by router: law 0.900; enough from 0.950",
                "by both: art 0.700; enough from 0.660"
            ]
        );
        let unproven = instructed(When::Unsure, 0.95, Some(word("art", 0.7, None)));
        assert_eq!(
            told(&unproven)[1],
            "by both: art 0.700; nothing is proven to be enough"
        );
        let alone = instructed(When::Alone, 0.6, both);
        assert_eq!(told(&alone)[1], "by expert: art 0.700; enough from 0.660");
        let new = Instructed {
            new: Some(word("sailing", 0.8, Some(0.5))),
            ..instructed(When::Unsure, 0.6, None)
        };
        assert_eq!(
            told(&new)[1..],
            ["as new: sailing 0.800; enough from 0.500"]
        );
        assert_eq!(
            by_both(&Reason::Routed, &new).unwrap(),
            "its category is one that the router does not know"
        );
        assert_eq!(
            told(&instructed(When::Unsure, 0.95, None)).len(),
            1,
            "nothing was said"
        );
    }

    #[test]
    fn whose_word_was_enough_and_whose_was_not_is_told() {
        let unsure = |best: &str, confidence_min| Reason::Unsure {
            best: CategoryId::new(best),
            confidence_min,
        };
        let art = |confidence_min| Some(word("art", 0.7, Some(confidence_min)));
        let enough = instructed(When::Unsure, 0.95, art(0.66));
        assert_eq!(
            by_both(&Reason::Routed, &enough).unwrap(),
            "the word of both together is enough"
        );
        let missed = instructed(When::Unsure, 0.95, art(0.75));
        assert_eq!(
            by_both(&unsure("art", 0.75), &missed).unwrap(),
            "art is likeliest by both together but below 0.750: the default expert answers"
        );
        let doubted = instructed(When::Always, 0.6, art(0.66));
        assert_eq!(
            by_both(&unsure("law", 0.6), &doubted).unwrap(),
            "the router is sure of law and both together of art: the default expert answers"
        );
        let alone = instructed(When::Alone, 0.6, art(0.75));
        assert_eq!(
            by_both(&unsure("art", 0.75), &alone).unwrap(),
            "art is likeliest by the expert but below 0.750: the default expert answers"
        );
        let agreed = instructed(When::Always, 0.6, Some(word("law", 0.61, Some(0.66))));
        assert_eq!(
            by_both(&Reason::Routed, &agreed),
            None,
            "the router's word stands"
        );
    }
}
