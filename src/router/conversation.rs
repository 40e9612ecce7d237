//! Two readings of one ask, weighed into one verdict.

use super::model::Said;

/// Log odds of leaning that an ask gains which, by itself, surely belongs nowhere.
///
/// "Show me an example" does, and is hardly ever a change of topic. Orders to a device are, and by their words they lean so
/// little that they go on belonging nowhere.
pub const BELONGS_NOWHERE: f32 = 1.0;

/// The probabilities of an ask that was read `alone` and `in_context`, and that keeps to its context with probability
/// `leaning`, more where it belongs nowhere by itself (the class `outside`): a linear opinion pool (M. Stone, 1961), which is the law of total probability over the two cases. The tier
/// is the dearer one.
///
/// A product of the two readings was tried and is worse (0.80 instead of 0.87 of the same conversations): the reading of
/// a fragment is confidently wrong, and a product lets it veto the other.
pub(super) fn pool(alone: Said, in_context: &Said, leaning: f32, outside: Option<usize>) -> Said {
    let nowhere = outside.map_or(0.0, |class| alone.probabilities[class]);
    let leaning = more_likely(leaning, BELONGS_NOWHERE * nowhere);
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

/// A probability with so much added to its log odds.
fn more_likely(probability: f32, log_odds: f32) -> f32 {
    let gained = probability * log_odds.exp();
    gained / (gained + 1.0 - probability)
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
        let pooled = pool(alone.clone(), &in_context, 0.8, None);
        assert!((pooled.probabilities[1] - 0.82).abs() < 1e-6, "{pooled:?}");
        assert_eq!(pooled.tier, TierName::Full);
        let pooled = pool(alone, &in_context, 0.3, None);
        assert!((pooled.probabilities[0] - 0.63).abs() < 1e-6, "{pooled:?}");
    }

    #[test]
    fn an_ask_that_leans_on_nothing_is_read_alone() {
        let alone = said(TierName::Cheap, [0.5, 0.5]);
        let pooled = pool(
            alone.clone(),
            &said(TierName::Cheap, [0.0, 1.0]),
            0.0,
            Some(1),
        );
        assert_eq!(pooled.probabilities, alone.probabilities);
    }

    #[test]
    fn an_ask_that_belongs_nowhere_by_itself_leans_more() {
        let in_context = said(TierName::Full, [1.0, 0.0]);
        let pooled =
            |alone, leaning| pool(said(TierName::Cheap, alone), &in_context, leaning, Some(1));
        // A fragment goes with what came before it, an order that shares no word with it does not.
        assert!(pooled([0.0, 1.0], 0.35).probabilities[0] > 0.5);
        assert!(pooled([0.0, 1.0], 0.2).probabilities[1] > 0.5);
        assert!((pooled([1.0, 0.0], 0.35).probabilities[0] - 1.0).abs() < 1e-6);
        assert!((pooled([0.0, 1.0], 0.0).probabilities[1] - 1.0).abs() < 1e-6);
        assert!((pooled([0.0, 1.0], 1.0).probabilities[0] - 1.0).abs() < 1e-6);
    }
}
