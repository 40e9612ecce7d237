//! Why a question was given its category: which features spoke for it rather than for the runner-up.

use std::collections::HashMap;

use serde::Serialize;

use super::{Router, lexical, model::TierName};
use crate::{decision::Score, ids::CategoryId};

/// Features that are named for each side.
const FEATURES_SHOWN: usize = 5;

/// Why one category came before another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// Which tier settled the question.
    pub tier: TierName,
    /// Confidence from which a question is routed.
    pub confidence_min: f32,
    /// Confidence from which the cheap tier settles a question; null where it always or never does.
    pub settled_from: Option<f32>,
    /// The likeliest class.
    pub winner: CategoryId,
    /// The next one.
    pub runner_up: CategoryId,
    /// Difference of their probabilities.
    pub margin: f32,
    /// What the static encoder's vector adds to the cheap tier's logit of the winner over the runner-up.
    pub static_share: f32,
    /// Words and pieces that spoke for the winner, and what each adds to its logit over the runner-up's, strongest first.
    pub features_for: Vec<FeatureShare>,
    /// The same for the runner-up.
    pub features_against: Vec<FeatureShare>,
}

/// What one feature said.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FeatureShare {
    /// The feature, in words.
    pub feature: String,
    /// What it adds to the logit of the winner over the runner-up's.
    pub share: f32,
}

impl Router {
    /// Says why `text` got these scores from this tier; none where there is but one class.
    pub fn explain(&self, text: &str, scores: &[Score], tier: TierName) -> Option<Explanation> {
        let [winner, runner_up, ..] = scores else {
            return None;
        };
        let model = &self.artefact.model;
        let class = |wanted: &CategoryId| {
            model
                .categories
                .iter()
                .position(|category| category == wanted)
        };
        let pair = (class(&winner.category)?, class(&runner_up.category)?);
        let mut shares = self.shares(text, pair);
        shares.sort_by(|a, b| b.share.total_cmp(&a.share));
        let features_for = shares
            .iter()
            .take_while(|share| share.share > 0.0)
            .take(FEATURES_SHOWN)
            .cloned();
        let features_against = shares
            .iter()
            .rev()
            .take_while(|share| share.share < 0.0)
            .take(FEATURES_SHOWN)
            .cloned();
        Some(Explanation {
            tier,
            confidence_min: self.confidence_min,
            settled_from: Some(model.settled_from).filter(|from| from.is_finite()),
            winner: winner.category.clone(),
            runner_up: runner_up.category.clone(),
            margin: winner.probability - runner_up.probability,
            static_share: self.static_share(text, pair),
            features_for: features_for.collect(),
            features_against: features_against.collect(),
        })
    }

    /// What each lexical feature of the text adds to the logit of the first class over the second's.
    fn shares(&self, text: &str, (winner, runner_up): (usize, usize)) -> Vec<FeatureShare> {
        let model = &self.artefact.model;
        let (Some(lexicon), Some(cheap)) = (&model.lexicon, &model.cheap) else {
            return Vec::new();
        };
        let values: HashMap<u32, f32> = lexicon.features(text).into_iter().collect();
        let mut shares: HashMap<u32, FeatureShare> = HashMap::new();
        lexical::visit(text, lexicon.bits(), |gram, bucket| {
            // Of grams that share a bucket the first is named: they cannot be told apart.
            if let Some(value) = values.get(&bucket) {
                shares.entry(bucket).or_insert_with(|| {
                    let weight = |class| cheap.head.sparse_weight(bucket, class);
                    FeatureShare {
                        feature: gram.to_string(),
                        share: value * (weight(winner) - weight(runner_up)),
                    }
                });
            }
        });
        let mut shares: Vec<FeatureShare> = shares.into_values().collect();
        shares.sort_by(|a, b| a.feature.cmp(&b.feature));
        shares
    }

    fn static_share(&self, text: &str, (winner, runner_up): (usize, usize)) -> f32 {
        let (Some(encoder), Some(cheap)) =
            (&self.artefact.static_encoder, &self.artefact.model.cheap)
        else {
            return 0.0;
        };
        let vector = encoder.vector(text);
        cheap.head.dense_share(&vector, winner) - cheap.head.dense_share(&vector, runner_up)
    }
}
