//! An answer that is one of a few texts (`guided_choice`, as vLLM has it): how likely the model finds each, of these alone.
//!
//! Where no two begin with the same token that takes no more than the prompt; those that do are told apart by reading on from
//! where they part.

use std::collections::BTreeMap;

use super::tokenizer::Tokenizer;
use crate::expert::ExpertError;

/// Places at which texts part that are read: beyond it, what is left of a probability is shared out evenly.
const PARTINGS_MAX: usize = 32;

/// What may be answered.
pub(super) struct Choices {
    texts: Vec<Text>,
}

struct Text {
    text: String,
    tokens: Vec<u32>,
}

/// Texts that begin alike.
struct Group {
    begun: Vec<u32>,
    texts: Vec<usize>,
    logprob: f64,
}

impl Choices {
    pub(super) fn new(texts: &[String], tokenizer: &Tokenizer) -> Result<Self, ExpertError> {
        let texts = texts.iter().map(|text| {
            let tokens = tokenizer.encode(text).map_err(|error| ExpertError::Model {
                detail: error.to_string(),
            })?;
            Ok(Text {
                text: text.clone(),
                tokens,
            })
        });
        Ok(Self {
            texts: texts.collect::<Result<_, ExpertError>>()?,
        })
    }

    /// A text, and how many tokens it has.
    pub(super) fn text(&self, at: usize) -> Option<(&str, usize)> {
        let text = self.texts.get(at)?;
        Some((&text.text, text.tokens.len()))
    }

    /// Every text with a log-probability.
    pub(super) fn named(&self, logprobs: &[f64]) -> Vec<(String, f64)> {
        let texts = self.texts.iter().map(|text| text.text.clone());
        texts.zip(logprobs.iter().copied()).collect()
    }

    /// The log-probability of each text; as probabilities they add up to 1. `score` gives the scores of some tokens to come
    /// next behind the prompt and the tokens that are begun with. `end` is a token that ends an answer: it tells a text from a
    /// longer one that begins with it.
    pub(super) fn logprobs<E>(
        &self,
        end: Option<u32>,
        mut score: impl FnMut(&[u32], &[u32]) -> Result<Vec<f32>, E>,
    ) -> Result<Vec<f64>, E> {
        let mut logprobs = vec![f64::NEG_INFINITY; self.texts.len()];
        let mut groups = vec![Group {
            begun: Vec::new(),
            texts: (0..self.texts.len()).collect(),
            logprob: 0.0,
        }];
        let mut partings = 0;
        while let Some(group) = groups.pop() {
            let parted = self.part(&group, end);
            if parted.len() < 2 || partings == PARTINGS_MAX {
                let each = group.logprob - (group.texts.len() as f64).ln();
                group.texts.iter().for_each(|at| logprobs[*at] = each);
                continue;
            }
            partings += 1;
            let tokens: Vec<u32> = parted.keys().copied().collect();
            let begun = self.common(&group);
            let scores = log_softmax(&score(&begun, &tokens)?);
            for ((token, texts), logprob) in parted.into_iter().zip(scores) {
                groups.push(Group {
                    begun: begun.iter().copied().chain([token]).collect(),
                    texts,
                    logprob: group.logprob + logprob,
                });
            }
        }
        Ok(logprobs)
    }

    /// The tokens that all texts of a group begin with.
    fn common(&self, group: &Group) -> Vec<u32> {
        let mut texts = group.texts.iter().map(|at| &self.texts[*at].tokens);
        let first = texts.next().cloned().unwrap_or_default();
        texts.fold(first, |common, tokens| {
            let same = common.iter().zip(tokens).take_while(|(a, b)| a == b);
            let same = same.count();
            common[..same].to_vec()
        })
    }

    /// The texts of a group by the token with which each goes on where they part; those that are the same to the end are
    /// together.
    fn part(&self, group: &Group, end: Option<u32>) -> BTreeMap<u32, Vec<usize>> {
        let common = self.common(group).len();
        let mut parted: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for at in &group.texts {
            let next = self.texts[*at].tokens.get(common).copied().or(end);
            if let Some(next) = next {
                parted.entry(next).or_default().push(*at);
            }
        }
        let ended = group.begun.last().is_some_and(|last| Some(*last) == end);
        if ended { BTreeMap::new() } else { parted }
    }
}

/// Scores → log-probabilities: of these alone, since nothing else can be said.
fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let above = |logit: &f32| f64::from(logit - highest);
    let mass: f64 = logits.iter().map(|logit| above(logit).exp()).sum();
    logits
        .iter()
        .map(|logit| above(logit) - mass.ln())
        .collect()
}
