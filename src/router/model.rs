//! A trained router without its encoders: features → probabilities, by two tiers. Pure.
//!
//! The cheap tier reads what costs microseconds: lexical features and the static encoder's vector. The full tier reads
//! what the transformer says and weighs it with the cheap tier's word, and is asked only where the cheap tier is unsure.

use super::{
    calibration::Calibration,
    encoder::Reading,
    head::Head,
    lexical::{Features, Lexicon},
    novelty::Novelty,
};
use crate::{
    ids::{CategoryId, OUT_OF_DOMAIN},
    simd,
};

/// Everything that training found.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// What the classes are; `out_of_domain` among them where there were such rows.
    pub categories: Vec<CategoryId>,
    /// The class of out-of-domain questions: see [`outside`].
    pub outside: Option<usize>,
    /// Those of the router that this one was trained on top of that no route is of. They are told apart so that their questions do not
    /// look like others', and to whoever asks they are all out of domain; there is such a class then.
    pub silent: Vec<usize>,
    /// The weights of lexical features; none where they are switched off.
    pub lexicon: Option<Lexicon>,
    /// Reads lexical features and the static encoder's vector; none where both are switched off.
    pub cheap: Option<Tier>,
    /// Reads the transformer and hears the cheap tier; none where the transformer is switched off.
    pub full: Option<FullTier>,
    /// Confidence from which the cheap tier's word is taken; above 1: never.
    pub settled_from: f32,
}

/// A head and what turns its logits into probabilities.
#[derive(Clone, Debug, PartialEq)]
pub struct Tier {
    /// Features → logits.
    pub head: Head,
    /// Logits → probabilities.
    pub calibration: Calibration,
}

/// The tier that asks the transformer.
///
/// Its word is a log-linear pool of two experts (Genest and Zidek, "Combining probability distributions", Statistical Science
/// 1986): the logits of its head and, weighted, those of the cheap tier are added up.
#[derive(Clone, Debug, PartialEq)]
pub struct FullTier {
    /// Its head reads what [`Transformer`] says; its calibration is of the pool.
    pub tier: Tier,
    /// What the cheap tier's logits are multiplied by; 0 where there is no such tier.
    pub cheap_weight: f32,
    /// What it takes from the transformer.
    pub transformer: Transformer,
    /// Tells strange questions without having seen any; none where it could not be fitted.
    pub novelty: Option<Novelty>,
}

/// What is taken from the transformer's reading of a question.
#[derive(Clone, Debug, PartialEq)]
pub enum Transformer {
    /// The vectors of some layers, each less its mean over the training rows and brought to length 1.
    Layers {
        /// The means, one layer's after the other.
        means: Vec<f32>,
    },
    /// The logits of the head that the encoder was tuned with.
    Tuned {
        /// classes × dimensions, row by row.
        weights: Vec<f32>,
        /// One for each class.
        bias: Vec<f32>,
    },
}

/// Which tier decided.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum TierName {
    /// Lexical features and the static encoder.
    Cheap,
    /// The transformer with them.
    Full,
    /// An LLM that says what the question demands, with them.
    Instruction,
}

impl TierName {
    /// One word for logs, metrics and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cheap => "cheap",
            Self::Full => "full",
            Self::Instruction => "instruction",
        }
    }
}

/// What a tier says of one question.
#[derive(Clone, Debug)]
pub struct Said {
    /// Which tier.
    pub tier: TierName,
    /// One for each class, before calibration.
    pub logits: Vec<f32>,
    /// One for each class; they add up to 1.
    pub probabilities: Vec<f32>,
    /// The share of in-domain questions that are less strange, where the detector was asked.
    pub strangeness: Option<f32>,
}

impl Said {
    /// The probability of the likeliest class.
    pub fn confidence(&self) -> f32 {
        simd::greatest(&self.probabilities).max(0.0)
    }
}

/// What the cheap tier reads of one question.
#[derive(Clone, Debug, Default)]
pub struct CheapFeatures {
    /// Lexical ones.
    pub sparse: Features,
    /// The static encoder's vector; empty where that is switched off.
    pub vector: Vec<f32>,
}

impl Model {
    /// What the cheap tier says; none where there is no such tier.
    pub fn cheap(&self, features: &CheapFeatures) -> Option<Said> {
        let tier = self.cheap.as_ref()?;
        let logits = tier.head.logits(&features.sparse, &features.vector);
        Some(Said {
            tier: TierName::Cheap,
            probabilities: self.probabilities(tier, &logits),
            logits,
            strangeness: None,
        })
    }

    /// Whether the cheap tier's word is taken, so that the transformer need not be asked.
    pub fn is_settled(&self, said: &Said) -> bool {
        self.full.is_none() || said.confidence() >= self.settled_from
    }

    /// What the full tier says, given what the cheap one said; none where there is no such tier.
    pub fn full(&self, cheap: Option<&Said>, reading: &Reading) -> Option<Said> {
        let full = self.full.as_ref()?;
        let features = full.transformer.features(reading);
        let vectors = reading.vectors();
        let strangeness = full.novelty.as_ref().zip(vectors.into_iter().next());
        Some(Said {
            strangeness: strangeness.map(|(novelty, layer)| novelty.strangeness(layer)),
            ..self.pooled(cheap, &features)?
        })
    }

    /// The same of what its head reads ([`Transformer::features`]); the detector of strange questions is not asked.
    pub fn pooled(&self, cheap: Option<&Said>, features: &[f32]) -> Option<Said> {
        let full = self.full.as_ref()?;
        let mut logits = full.tier.head.logits(&[], features);
        let of_cheap = cheap.iter().flat_map(|it| &it.logits);
        for (logit, of_cheap) in logits.iter_mut().zip(of_cheap) {
            *logit += full.cheap_weight * of_cheap;
        }
        Some(Said {
            tier: TierName::Full,
            probabilities: self.probabilities(&full.tier, &logits),
            logits,
            strangeness: None,
        })
    }

    fn probabilities(&self, tier: &Tier, logits: &[f32]) -> Vec<f32> {
        let mut probabilities = tier.calibration.probabilities(logits);
        if let Some(outside) = self.outside {
            silence(&mut probabilities, &self.silent, outside);
        }
        probabilities
    }

    /// How strange a question is, for ranking: higher is stranger. Log-odds of the out-of-domain class where there is
    /// one; otherwise the detector's share, and where it was not asked the doubt that was left.
    pub fn out_of_domain_score(&self, said: &Said) -> f32 {
        if let Some(class) = self.outside {
            let p = said.probabilities[class];
            return (p.max(f32::MIN_POSITIVE) / (1.0 - p).max(f32::EPSILON)).ln();
        }
        said.strangeness.unwrap_or_else(|| 1.0 - said.confidence())
    }
}

/// The class of out-of-domain questions among these, where there were any to learn from.
pub fn outside(categories: &[CategoryId]) -> Option<usize> {
    let is = |category: &CategoryId| category.as_str() == OUT_OF_DOMAIN;
    categories.iter().position(is)
}

/// Gives the probabilities of `silent` classes to the one that stands for everything outside.
pub fn silence(probabilities: &mut [f32], silent: &[usize], outside: usize) {
    for class in silent {
        probabilities[outside] += probabilities[*class];
        probabilities[*class] = 0.0;
    }
}

impl Transformer {
    /// What the full tier's head reads.
    pub fn features(&self, reading: &Reading) -> Vec<f32> {
        match self {
            Self::Layers { means } => {
                let mut features = Vec::with_capacity(means.len());
                let mut rest = means.as_slice();
                for layer in reading.vectors() {
                    let (means, after) = rest.split_at(layer.len().min(rest.len()));
                    rest = after;
                    let from = features.len();
                    features.extend(layer.iter().zip(means).map(|(value, mean)| value - mean));
                    to_length_one(&mut features[from..]);
                }
                features
            }
            Self::Tuned { weights, bias } => {
                let rows = weights.chunks_exact(reading.vector.len().max(1));
                rows.zip(bias)
                    .map(|(row, bias)| bias + dot(row, &reading.vector))
                    .collect()
            }
        }
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn to_length_one(vector: &mut [f32]) {
    let length = dot(vector, vector).sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|value| *value /= length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::head::Quantised;

    fn tier(dense: Vec<f32>) -> Tier {
        let head = Head::from_parts(Quantised::default(), dense, vec![0.0, 0.0]).unwrap();
        Tier {
            head,
            calibration: Calibration::Temperature { temperature: 1.0 },
        }
    }

    /// The cheap tier votes for the class of the first number, the full one for that of its tuned logits.
    fn model() -> Model {
        Model {
            categories: vec![CategoryId::new("coding"), CategoryId::new(OUT_OF_DOMAIN)],
            outside: Some(1),
            silent: Vec::new(),
            lexicon: None,
            cheap: Some(tier(vec![1.0, -1.0])),
            full: Some(FullTier {
                tier: tier(vec![1.0, 0.0, 0.0, 1.0]),
                cheap_weight: 0.5,
                transformer: Transformer::Tuned {
                    weights: vec![4.0, 0.0, 0.0, 4.0],
                    bias: vec![0.0, 0.0],
                },
                novelty: None,
            }),
            settled_from: 0.9,
        }
    }

    fn features(strength: f32) -> CheapFeatures {
        CheapFeatures {
            sparse: Vec::new(),
            vector: vec![strength],
        }
    }

    #[test]
    fn the_cheap_tier_settles_what_it_is_sure_of() {
        let model = model();
        assert!(model.is_settled(&model.cheap(&features(3.0)).unwrap()));
        assert!(!model.is_settled(&model.cheap(&features(0.3)).unwrap()));
    }

    #[test]
    fn the_full_tier_may_overrule_the_cheap_one() {
        let model = model();
        let cheap = model.cheap(&features(0.3)).unwrap();
        let reading = Reading {
            vector: vec![0.0, 1.0],
            layers: Vec::new(),
            pieces: 3,
        };
        let full = model.full(Some(&cheap), &reading).unwrap();
        assert!(cheap.probabilities[0] > 0.5 && full.probabilities[1] > 0.9);
        let pooled = [0.5 * cheap.logits[0], 4.0 + 0.5 * cheap.logits[1]];
        assert_eq!(full.logits, pooled);
        assert!(model.out_of_domain_score(&full) > model.out_of_domain_score(&cheap));
    }

    #[test]
    fn layers_are_centred_and_brought_to_length_one_each() {
        let transformer = Transformer::Layers {
            means: vec![1.0, 1.0, 0.0, 0.0],
        };
        let reading = Reading {
            vector: Vec::new(),
            layers: vec![vec![4.0, 5.0], vec![0.0, 0.0]],
            pieces: 1,
        };
        assert_eq!(transformer.features(&reading), [0.6, 0.8, 0.0, 0.0]);
    }
}
