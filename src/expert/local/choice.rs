//! An answer that is one of a few texts (`guided_choice`, as vLLM has it): at each token the model chooses among those
//! with which one of the texts goes on, and of the vocabulary no other token is scored.

use std::collections::BTreeSet;

use super::{sampler::Sampler, tokenizer::Tokenizer};
use crate::{chat::TokenChoice, expert::ExpertError};

/// What may be answered, as tokens.
pub(super) struct Choices {
    texts: Vec<Text>,
    /// The tokens of the answer so far.
    said: Vec<u32>,
    /// What each of them was chosen from, by the model itself.
    tokens: Vec<TokenChoice>,
}

struct Text {
    text: String,
    tokens: Vec<u32>,
}

/// How the answer can go on.
pub(super) enum Next {
    /// It is this text.
    Done(String),
    /// With one of these tokens; the last of them may be one that ends an answer.
    Among(Vec<u32>),
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
            said: Vec::new(),
            tokens: Vec::new(),
        })
    }

    /// How it can go on from what was said. `end` is a token that ends an answer: it tells a text from a longer one that
    /// begins with it.
    pub(super) fn next(&self, end: Option<u32>) -> Next {
        let open = self.texts.iter().filter(|text| text.tokens.starts_with(&self.said));
        let open: Vec<&Text> = open.collect();
        if let [only] = &open[..] {
            return Next::Done(only.text.clone());
        }
        let on = open.iter().filter_map(|text| text.tokens.get(self.said.len()));
        let on: BTreeSet<u32> = on.copied().collect();
        let whole = open.iter().find(|text| text.tokens.len() == self.said.len());
        match (whole, end) {
            (Some(whole), None) => Next::Done(whole.text.clone()),
            (Some(whole), Some(_)) if on.is_empty() => Next::Done(whole.text.clone()),
            (Some(_), Some(end)) => Next::Among(on.into_iter().chain([end]).collect()),
            (None, _) => Next::Among(on.into_iter().collect()),
        }
    }

    /// Chooses one of `among` by its `logits`, and takes note of it.
    pub(super) fn choose(
        &mut self,
        among: &[u32],
        logits: Vec<f32>,
        sampler: &mut Sampler,
        tokenizer: &Tokenizer,
    ) -> u32 {
        let text = |token: u32| String::from_utf8_lossy(tokenizer.bytes(token)).into_owned();
        let mut logprobs: Vec<(String, f64)> = among
            .iter()
            .map(|token| text(*token))
            .zip(log_softmax(&logits))
            .collect();
        let at = sampler.draw(logits) as usize;
        let at = at.min(among.len() - 1);
        let chosen = logprobs[at].clone();
        logprobs.sort_by(|a, b| b.1.total_cmp(&a.1));
        self.tokens.push(TokenChoice {
            token: chosen.0,
            logprob: chosen.1,
            among: logprobs,
        });
        self.said.push(among[at]);
        among[at]
    }

    /// The text that was chosen, where an end was: what was said without it.
    pub(super) fn ended(&self) -> String {
        let before = self.said.split_last().map_or(&[][..], |(_, before)| before);
        let text = self.texts.iter().find(|text| text.tokens == before);
        text.map(|text| text.text.clone()).unwrap_or_default()
    }

    /// Each choice that was made, in order.
    pub(super) fn into_tokens(self) -> Vec<TokenChoice> {
        self.tokens
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
