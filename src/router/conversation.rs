//! Two readings of one ask, weighed into one verdict.

use super::model::Said;

/// The probabilities of an ask that was read `alone` and `in_context`, and that keeps to its context with probability
/// `leaning`: a linear opinion pool (M. Stone, 1961), which is the law of total probability over the two cases. The tier
/// is the dearer one.
///
/// A product of the two readings was tried and is worse (0.80 instead of 0.87 of the same conversations): the reading of
/// a fragment is confidently wrong, and a product lets it veto the other.
pub(super) fn pool(alone: Said, in_context: &Said, leaning: f32) -> Said {
    let mean = |alone: f32, other: f32| (1.0 - leaning) * alone + leaning * other;
    let probabilities = alone.probabilities.iter().zip(&in_context.probabilities);
    Said {
        tier: alone.tier.max(in_context.tier),
        probabilities: probabilities
            .map(|(alone, other)| mean(*alone, *other))
            .collect(),
        strangeness: match (alone.strangeness, in_context.strangeness) {
            (Some(alone), Some(other)) => Some(mean(alone, other)),
            (alone, other) => alone.or(other),
        },
        logits: alone.logits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::model::TierName;

    fn said(tier: TierName, probabilities: [f32; 2]) -> Said {
        Said {
            tier,
            logits: vec![0.0, 0.0],
            probabilities: probabilities.to_vec(),
            strangeness: None,
        }
    }

    #[test]
    fn the_reading_that_the_ask_leans_to_wins() {
        let (alone, in_context) = (
            said(TierName::Cheap, [0.9, 0.1]),
            said(TierName::Full, [0.0, 1.0]),
        );
        let pooled = pool(alone.clone(), &in_context, 0.8);
        assert!((pooled.probabilities[1] - 0.82).abs() < 1e-6, "{pooled:?}");
        assert_eq!(pooled.tier, TierName::Full);
        let pooled = pool(alone, &in_context, 0.3);
        assert!((pooled.probabilities[0] - 0.63).abs() < 1e-6, "{pooled:?}");
    }

    #[test]
    fn an_ask_that_leans_on_nothing_is_read_alone() {
        let alone = said(TierName::Cheap, [0.5, 0.5]);
        let pooled = pool(alone.clone(), &said(TierName::Cheap, [0.0, 1.0]), 0.0);
        assert_eq!(pooled.probabilities, alone.probabilities);
    }
}
