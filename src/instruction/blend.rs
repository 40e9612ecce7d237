//! What the LLM says and what the router says, in one probability for each class.
//!
//! A conditional logit (D. `McFadden`, "Conditional logit analysis of qualitative choice behavior", 1973) over the logarithm
//! of the router's probability and what the LLM says of the class. Its few weights are learnt on labelled questions, together
//! with the scale, so that what comes out is calibrated as far as those rows tell. Pure, but for [`Blend::read`].

mod evidence;
pub mod fit;

use std::{collections::BTreeMap, fs, io, path::Path};

use serde::{Deserialize, Serialize};

pub use evidence::{Evidence, Prior};

use self::evidence::{classes, features};
use super::{Mode, When};
use crate::{
    decision::Score,
    ids::{CategoryId, ExpertId, RouterId},
};

/// The format of the file.
const FORMAT: u32 = 1;

/// What was learnt of an LLM's word, and under which circumstances.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blend {
    format: u32,
    /// What it was learnt of: with anything else it has no meaning.
    pub of: Learnt,
    /// What the LLM says of each class whatever the question: that is taken off.
    pub prior: Prior,
    /// Questions of which the router is less sure than this are put to the LLM.
    pub below: f32,
    /// How sure one must be of a question that was put to it; none: the rows prove nothing, and none of them is routed.
    pub confidence_min: Option<f32>,
    /// How alike two questions must be for the same to be said of them, a cosine of the encoder's vectors; none: no two are.
    pub near_min: Option<f32>,
    /// The weights.
    pub weights: Weights,
    /// What each part was worth on rows held back.
    pub ablation: Vec<fit::Worth>,
}

/// The numbers that decide when an LLM is asked and believed; see [`Blend`].
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the blend explains them")]
pub struct Bounds {
    pub below: f32,
    pub confidence_min: Option<f32>,
    pub near_min: Option<f32>,
}

/// What a blend was learnt of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Learnt {
    /// The router whose word it weighs.
    pub router: RouterId,
    /// The expert that was asked.
    pub expert: ExpertId,
    /// The model behind it.
    pub model: String,
    /// How.
    pub mode: Mode,
    /// The version of the words with which it was asked.
    pub prompt: String,
    /// Which questions it was asked about; `unsure` or `always`.
    pub when: When,
    /// The digest of each card; others may have come since.
    pub cards: BTreeMap<CategoryId, String>,
    /// The settings of the router on which its thresholds depend: `router.misroute_max` and `router.guard`.
    pub settings: String,
}

/// What each part counts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weights {
    /// The logarithm of the router's probability.
    pub router: f64,
    /// What the LLM says.
    pub said: f64,
    /// Added where the class is `out_of_domain`.
    pub none: f64,
}

/// Why there is no blend.
#[derive(Debug, thiserror::Error)]
pub enum BlendError {
    /// The file cannot be read.
    #[error("the blend `{path}` cannot be used; `coterie instruct fit` writes one")]
    File {
        /// Its path.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The file is no blend.
    #[error(
        "the blend `{path}` is damaged or of another version of Coterie; `coterie instruct fit` writes a new one"
    )]
    Damaged {
        /// Its path.
        path: String,
    },
    /// It was learnt under other circumstances.
    #[error(
        "the blend was learnt with another {what} ({learnt_with}) than there is ({found}); run `coterie instruct fit` again"
    )]
    Other {
        /// What is another.
        what: String,
        /// What it was learnt with.
        learnt_with: String,
        /// What there is.
        found: String,
    },
}

impl Learnt {
    /// What differs.
    ///
    /// # Errors
    /// The first thing that is another.
    pub fn check(&self, now: &Self) -> Result<(), BlendError> {
        let pairs = [
            ("expert", self.expert.as_str(), now.expert.as_str()),
            ("model", &self.model, &now.model),
            ("mode", self.mode.as_str(), now.mode.as_str()),
            ("version of the prompt", &self.prompt, &now.prompt),
            ("`when`", self.when.as_str(), now.when.as_str()),
            ("router", self.router.as_str(), now.router.as_str()),
            ("setting of the router", &self.settings, &now.settings),
        ];
        let card = self.cards.iter().find_map(|(category, card)| {
            let found = now.cards.get(category).map_or("none", String::as_str);
            (card != found).then_some((category, card, found))
        });
        let other = pairs.into_iter().find(|(_, learnt, found)| learnt != found);
        let other = other.map(|(what, learnt, found)| (what.to_owned(), learnt, found));
        let other = other.or_else(|| {
            card.map(|(category, card, found)| {
                (format!("card of `{category}`"), card.as_str(), found)
            })
        });
        match other {
            Some((what, learnt, found)) => Err(BlendError::Other {
                what,
                learnt_with: learnt.to_owned(),
                found: found.to_owned(),
            }),
            None => Ok(()),
        }
    }
}

impl Blend {
    /// What was found `of` something.
    pub fn new(of: Learnt, bounds: Bounds, fitted: fit::Fitted) -> Self {
        let Bounds {
            below,
            confidence_min,
            near_min,
        } = bounds;
        Self {
            format: FORMAT,
            of,
            prior: fitted.prior,
            below,
            confidence_min,
            near_min,
            weights: fitted.weights,
            ablation: fitted.ablation,
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// There is none, or it is no blend.
    pub fn read(path: &Path) -> Result<Self, BlendError> {
        let text = fs::read_to_string(path).map_err(|source| BlendError::File {
            path: path.display().to_string(),
            source,
        })?;
        let damaged = || BlendError::Damaged {
            path: path.display().to_string(),
        };
        let blend: Self = serde_json::from_str(&text).map_err(|_no_blend| damaged())?;
        let Weights { router, said, none } = blend.weights;
        let is_whole = blend.format == FORMAT
            && [router, said, none].iter().all(|weight| weight.is_finite())
            && (0.0..=1.0).contains(&blend.below);
        if is_whole { Ok(blend) } else { Err(damaged()) }
    }
}

impl Weights {
    /// The LLM's word alone, of so many classes. A likelihood is taken as it is; a name is believed as if it were right nineteen
    /// times of twenty, and cosines, which lie close together, are spread. Nothing is calibrated.
    pub fn alone(mode: Mode, classes: usize) -> Self {
        let said = match mode {
            Mode::Logprob => 1.0,
            Mode::Name => (19.0 * classes.saturating_sub(1).max(1) as f64).ln(),
            Mode::Describe => 20.0,
        };
        Self {
            router: 0.0,
            said,
            none: 0.0,
        }
    }

    /// The probabilities of all classes that either of both knows, likeliest first, ties by name.
    pub fn weigh(&self, scores: &[Score], evidence: &Evidence) -> Vec<Score> {
        let classes = classes(scores, evidence);
        let logits: Vec<f64> = classes
            .iter()
            .map(|class| self.logit(&features(class, scores, evidence)))
            .collect();
        let highest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mass: f64 = logits.iter().map(|logit| (logit - highest).exp()).sum();
        let mut weighed: Vec<Score> = classes
            .into_iter()
            .zip(logits)
            .map(|(category, logit)| Score {
                category,
                probability: crate::router::narrow((logit - highest).exp() / mass),
            })
            .collect();
        weighed.sort_by(Score::by_likelihood);
        weighed
    }

    fn logit(&self, features: &[f64; 3]) -> f64 {
        let [router, said, none] = features;
        self.router * router + self.said * said + self.none * none
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instruction::{
        menu::{self, Menu},
        reply::Said,
    };

    fn menu() -> Menu {
        Menu::of(&menu::tests::catalogue(&["law", "math"]))
    }

    fn scores(of: &[(&str, f32)]) -> Vec<Score> {
        let score = |(category, probability): &(&str, f32)| Score {
            category: CategoryId::new(*category),
            probability: *probability,
        };
        of.iter().map(score).collect()
    }

    const WEIGHTS: Weights = Weights {
        router: 1.0,
        said: 1.0,
        none: 0.0,
    };

    #[test]
    fn weights_of_one_multiply_the_probabilities() {
        let said = Said::Likelihoods([0.2_f64, 0.7, 0.1].map(f64::ln).to_vec());
        let evidence = Evidence::of(&menu(), &said, &[]);
        let weighed = WEIGHTS.weigh(
            &scores(&[("law", 0.6), ("math", 0.3), ("out_of_domain", 0.1)]),
            &evidence,
        );
        let mass = 0.6 * 0.2 + 0.3 * 0.7 + 0.1 * 0.1;
        assert_eq!(weighed[0].category.as_str(), "math");
        assert!(
            (f64::from(weighed[0].probability) - 0.21 / mass).abs() < 1e-5,
            "{weighed:?}"
        );
        let sum: f32 = weighed.iter().map(|score| score.probability).sum();
        assert!((sum - 1.0).abs() < 1e-5);
    }

    #[test]
    fn a_class_that_only_one_of_both_knows_can_still_be_chosen() {
        let evidence = Evidence::of(&menu(), &Said::Named(1), &[]);
        let strong = Weights {
            said: 20.0,
            ..WEIGHTS
        };
        let weighed = strong.weigh(&scores(&[("art", 0.9), ("law", 0.1)]), &evidence);
        assert_eq!(weighed[0].category.as_str(), "math");
        let weak = Weights {
            said: 0.5,
            ..WEIGHTS
        };
        let weighed = weak.weigh(&scores(&[("art", 0.9), ("law", 0.1)]), &evidence);
        assert_eq!(weighed[0].category.as_str(), "art");
    }

    #[test]
    fn without_the_router_the_llm_decides_alone() {
        let evidence = Evidence::of(&menu(), &Said::Instruction("…".into()), &[0.1, 0.6, 0.2]);
        let weighed = Weights::alone(Mode::Describe, 3).weigh(&scores(&[("law", 1.0)]), &evidence);
        assert_eq!(weighed[0].category.as_str(), "math");
    }

    #[test]
    fn a_name_alone_is_enough_however_many_there_are() {
        let names: Vec<String> = (0..24).map(|at| format!("c{at}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let menu = Menu::of(&menu::tests::catalogue(&names));
        let evidence = Evidence::of(&menu, &Said::Named(3), &[]);
        let weighed = Weights::alone(Mode::Name, menu.entries().len()).weigh(&[], &evidence);
        assert_eq!(weighed[0].category.as_str(), "c3");
        assert!((weighed[0].probability - 0.95).abs() < 0.01, "{weighed:?}");
    }

    #[test]
    fn a_blend_is_read_back_and_tells_what_it_does_not_fit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("blend.json");
        let learnt = |router: &str, mode| Learnt {
            router: RouterId::new(router),
            expert: ExpertId::new("coder"),
            model: "coder-1.5b".into(),
            mode,
            prompt: "likelihood-v1".into(),
            when: When::Unsure,
            cards: menu().digests(),
            settings: "misroute_max 0.05, guard off".into(),
        };
        let fitted = fit::Fitted {
            prior: Prior::default(),
            weights: WEIGHTS,
            ablation: Vec::new(),
            held_back: Vec::new(),
        };
        let bounds = Bounds {
            below: 0.6,
            confidence_min: Some(0.7),
            near_min: Some(0.98),
        };
        let blend = Blend::new(learnt("r1", Mode::Logprob), bounds, fitted);
        fs::write(&path, serde_json::to_string(&blend).unwrap()).unwrap();
        let read = Blend::read(&path).unwrap();
        assert_eq!(read, blend);
        assert!(read.of.check(&learnt("r1", Mode::Logprob)).is_ok());
        let other = read
            .of
            .check(&learnt("r2", Mode::Logprob))
            .unwrap_err()
            .to_string();
        assert!(
            other.contains("another router (r1)") && other.contains("instruct fit"),
            "{other}"
        );
        let other = read
            .of
            .check(&learnt("r1", Mode::Name))
            .unwrap_err()
            .to_string();
        assert!(other.contains("another mode"), "{other}");
    }

    #[test]
    fn what_is_no_blend_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("blend.json");
        assert!(matches!(Blend::read(&path), Err(BlendError::File { .. })));
        for text in ["", "{}", "[1]", r#"{"format": 1}"#] {
            fs::write(&path, text).unwrap();
            assert!(
                matches!(Blend::read(&path), Err(BlendError::Damaged { .. })),
                "{text}"
            );
        }
    }
}
