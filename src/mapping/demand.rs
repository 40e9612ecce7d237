//! What a request demands of whoever answers it.

use crate::{
    chat::{ChatRequest, Need},
    config::Capability,
};

/// Bytes of text that make a token, on the low side of what tokenizers do to English prose (about four): an estimate
/// must rather refuse a long conversation than overrun a context or a budget.
pub(crate) const BYTES_PER_TOKEN: usize = 3;

/// Tokens of an answer whose length the client did not bound, for estimates of cost.
pub(crate) const ANSWER_TOKENS_ESTIMATE: u32 = 1_000;

/// What a request demands of whoever answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Tokens of the conversation and of the tools, estimated.
    pub prompt_tokens: u64,
    /// Tokens that the answer may have.
    pub answer_tokens: u64,
    /// Answers to the one question.
    pub choices_wanted: u32,
    /// What the expert must be able to do.
    pub capabilities: Vec<Capability>,
}

impl Demand {
    /// Reads a request's demands from its body.
    pub fn of(request: &ChatRequest) -> Self {
        let texts = request.messages.iter().map(|message| message.text.len());
        // Descriptions of tools are read with every question, and are often longer than it.
        let tools = ["tools", "functions"].iter();
        let tools = tools.filter_map(|key| request.body.get(*key));
        let bytes = texts
            .chain(tools.map(|tools| tools.to_string().len()))
            .sum::<usize>();
        let mut capabilities = vec![Capability::Chat];
        for needed in Need::all_of(request).into_iter().filter_map(capability) {
            if !capabilities.contains(&needed) {
                capabilities.push(needed);
            }
        }
        Self {
            prompt_tokens: (bytes / BYTES_PER_TOKEN) as u64,
            answer_tokens: request
                .sampling
                .answer_tokens_max
                .unwrap_or(ANSWER_TOKENS_ESTIMATE)
                .into(),
            choices_wanted: request.choices_wanted,
            capabilities,
        }
    }

    /// Tokens that all answers together may have.
    pub fn answers_tokens(&self) -> u64 {
        self.answer_tokens
            .saturating_mul(self.choices_wanted.into())
    }

    /// The demands of a short question in plain text.
    pub fn plain() -> Self {
        Self {
            prompt_tokens: 0,
            answer_tokens: ANSWER_TOKENS_ESTIMATE.into(),
            choices_wanted: 1,
            capabilities: vec![Capability::Chat],
        }
    }
}

/// The capability that covers a need; none where the configuration knows no name for it.
fn capability(need: Need) -> Option<Capability> {
    match need {
        Need::Tools | Need::ToolResults => Some(Capability::Tools),
        Need::OtherParts => Some(Capability::Images),
        Need::Format => Some(Capability::Json),
        Need::Choices | Need::LogProbs | Need::LogitBias => None,
    }
}
