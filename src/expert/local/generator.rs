//! One conversation → one answer: prompt, reading, drawing, text. Synchronous; knows nothing of queues or threads.

use std::path::Path;

use candle_core::Tensor;
use serde_json::Value;

use super::{
    choice::Choices,
    error::{LoadFault, in_words},
    gguf::Gguf,
    likelihood::Likelihood,
    model::{Family, Model},
    prefix::{self, Prefixes},
    reader::{Gone, Reader},
    sampler::Sampler,
    template::ChatTemplate,
    text::{AnswerText, Step},
    tokenizer::Tokenizer,
};
use crate::{
    chat::{ChatRequest, FinishReason, Message, Role, Sampling, TokenChoice, Usage},
    expert::ExpertError,
};

/// Prompt tokens that are read at once: enough to use each weight many times, few enough that a reader who left is
/// noticed within a second or two.
const CHUNK_TOKENS: usize = 64;

/// Longest answer to a request that states no limit: a small model that loops must end some time.
const ANSWER_TOKENS_DEFAULT: usize = 512;

/// A model with all that it takes to answer.
pub(super) struct Generator {
    model: Model,
    pub(super) tokenizer: Tokenizer,
    pub(super) template: ChatTemplate,
    context_tokens: usize,
    /// The tokens that the model has read in whole chunks, from the first position on.
    pub(super) read: Vec<u32>,
    /// Beginnings of prompts that come again.
    prefixes: Prefixes,
    /// Tokens of the last prompt that had been read before.
    kept_tokens: usize,
}

/// What a model file turned out to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelCard {
    /// The family of its architecture.
    pub family: Family,
    /// How many parameters it has.
    pub parameters: u64,
    /// Most tokens of conversation and answer together.
    pub context_tokens: usize,
}

/// How an answer ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ending {
    pub(super) reason: FinishReason,
    pub(super) usage: Usage,
    /// Of the tokens that were drawn, by the model itself.
    pub(super) mean_logprob: Option<f64>,
    /// What each token was chosen from, where the answer is one of a few texts.
    pub(super) choices: Vec<TokenChoice>,
}

/// Why an answer did not come to its end.
pub(super) enum Unfinished {
    /// Nobody reads it any more.
    ReaderGone,
    /// It could not be made.
    Failed(ExpertError),
}

impl Generator {
    /// Loads a model file, with a context of at most `context_tokens_max`.
    pub(super) fn load(
        path: &Path,
        context_tokens_max: Option<u32>,
    ) -> Result<(Self, ModelCard), LoadFault> {
        let gguf = Gguf::open(path)?;
        let family = Family::of(&gguf)?;
        let template = ChatTemplate::load(&gguf)?;
        let tokenizer = Tokenizer::load(&gguf)?;
        let trained = gguf.count(&format!("{}.context_length", family.as_str()))?;
        let context_tokens = context_tokens_max
            .and_then(|most| usize::try_from(most).ok())
            .map_or(trained, |most| most.min(trained));
        let card = ModelCard {
            family,
            parameters: gguf.parameters(),
            context_tokens,
        };
        let generator = Self {
            model: Model::load(&gguf, family, context_tokens)?,
            tokenizer,
            template,
            context_tokens,
            read: Vec::new(),
            prefixes: Prefixes::default(),
            kept_tokens: 0,
        };
        Ok((generator, card))
    }

    /// Answers a conversation, handing text to `reader` as it comes.
    pub(super) fn answer(
        &mut self,
        request: &ChatRequest,
        reader: &Reader<'_>,
    ) -> Result<Ending, Unfinished> {
        let prompt = self.prompt(request)?;
        if !request.among.is_empty() {
            return self.choose(request, &prompt, reader);
        }
        let room = self.context_tokens - prompt.len();
        let answer_tokens_max = request
            .sampling
            .answer_tokens_max
            .and_then(|most| usize::try_from(most).ok())
            .unwrap_or(ANSWER_TOKENS_DEFAULT)
            .min(room);
        let mut sampler = Sampler::new(&request.sampling);
        let mut likelihood = Likelihood::default();
        let mut text = AnswerText::new(&request.sampling.stop);
        let mut state = self.read_prompt(request, &prompt, reader)?;
        let mut answer_tokens = 0;
        let reason = loop {
            let logits = self.model.logits(&state)?;
            let token = sampler.draw(logits.clone());
            likelihood.note(&logits, token);
            if self.tokenizer.ends_answer(token) {
                break FinishReason::Stop;
            }
            answer_tokens += 1;
            match text.push(self.tokenizer.bytes(token)) {
                Step::Goes(more) => reader.send(more)?,
                Step::Stops(more) => {
                    reader.send(more)?;
                    break FinishReason::Stop;
                }
            }
            if answer_tokens == answer_tokens_max {
                break FinishReason::Length;
            }
            state = self
                .model
                .read(&[token], prompt.len() + answer_tokens - 1)?;
        };
        reader.send(text.finish())?;
        Ok(Ending {
            reason,
            usage: Usage {
                prompt_tokens: prompt.len() as u64,
                completion_tokens: answer_tokens as u64,
            },
            mean_logprob: likelihood.mean_logprob(),
            choices: Vec::new(),
        })
    }

    /// Answers with one of the texts that the request allows.
    fn choose(
        &mut self,
        request: &ChatRequest,
        prompt: &[u32],
        reader: &Reader<'_>,
    ) -> Result<Ending, Unfinished> {
        let choices = Choices::new(&request.among, &self.tokenizer)?;
        let state = self.read_prompt(request, prompt, reader)?;
        let end = self.tokenizer.end();
        let logprobs = choices.logprobs(end, |begun, tokens| {
            if begun.is_empty() {
                return Ok(self.model.logits_of(&state, tokens)?);
            }
            let state = self.read_behind(prompt, begun, reader)?;
            Ok::<_, Unfinished>(self.model.logits_of(&state, tokens)?)
        })?;
        let sampling = Sampling {
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            ..request.sampling.clone()
        };
        let scores = logprobs.iter().map(|logprob| narrow(*logprob)).collect();
        let chosen = Sampler::new(&sampling).draw(scores) as usize;
        let (text, tokens) = choices.text(chosen).unwrap_or_default();
        reader.send(text.to_owned())?;
        let mut among = choices.named(&logprobs);
        among.sort_by(|a, b| b.1.total_cmp(&a.1));
        let logprob = logprobs.get(chosen).copied().unwrap_or(f64::NEG_INFINITY);
        Ok(Ending {
            reason: FinishReason::Stop,
            usage: Usage {
                prompt_tokens: prompt.len() as u64,
                completion_tokens: tokens as u64,
            },
            mean_logprob: Some(logprob / tokens.max(1) as f64),
            choices: vec![TokenChoice {
                token: text.to_owned(),
                logprob,
                among,
            }],
        })
    }

    /// Reads an answer that was begun, right behind the prompt.
    fn read_behind(
        &mut self,
        prompt: &[u32],
        begun: &[u32],
        reader: &Reader<'_>,
    ) -> Result<Tensor, Unfinished> {
        if prompt.len() + begun.len() > self.context_tokens {
            return Err(Unfinished::Failed(ExpertError::ContextTooLong {
                prompt_tokens: prompt.len(),
                context_tokens: self.context_tokens,
            }));
        }
        // What stands there is no whole chunk of a prompt.
        self.read
            .truncate(prompt.len() - prompt.len() % CHUNK_TOKENS);
        let read = std::mem::take(&mut self.read);
        let state = self.read_on(begun, prompt.len(), reader);
        self.read = read;
        state
    }

    /// Forgets what has been read, after a failure that may have left it half written.
    pub(super) fn forget(&mut self) {
        self.read.clear();
        self.prefixes = Prefixes::default();
    }

    /// The tokens of a conversation and of an answer that was begun, which leave room for at least one more.
    fn prompt(&self, request: &ChatRequest) -> Result<Vec<u32>, ExpertError> {
        let (messages, begun) = begun_answer(request);
        let prompt = self.template.render(messages)? + begun;
        let tokens = self
            .tokenizer
            .encode(&prompt)
            .map_err(|error| ExpertError::Model {
                detail: error.to_string(),
            })?;
        if tokens.is_empty() {
            return Err(ExpertError::Model {
                detail: "its chat template made an empty prompt".into(),
            });
        }
        if tokens.len() >= self.context_tokens {
            return Err(ExpertError::ContextTooLong {
                prompt_tokens: tokens.len(),
                context_tokens: self.context_tokens,
            });
        }
        Ok(tokens)
    }

    /// Reads a prompt chunk by chunk; gives the state after its last token.
    ///
    /// What it has in common with the prompt before is not read again, in whole chunks only: cut at the same places,
    /// every chunk gives the same numbers to the last bit, so an answer does not depend on what was asked before.
    fn read_prompt(
        &mut self,
        request: &ChatRequest,
        prompt: &[u32],
        reader: &Reader<'_>,
    ) -> Result<Tensor, Unfinished> {
        let begun = match request.prefix_key() {
            Some(key) => self.read_prefix(key, request, prompt, reader)?,
            None => 0,
        };
        if begun > 0 {
            self.note_kept(prompt.len());
            return self.read_on(&prompt[begun..], begun, reader);
        }
        let common = self.read.iter().zip(&prompt[..prompt.len() - 1]);
        let common = common.take_while(|(read, token)| read == token).count();
        let position = common - common % CHUNK_TOKENS;
        self.read.truncate(position);
        self.kept_tokens = position;
        self.note_kept(prompt.len());
        self.read_on(&prompt[position..], position, reader)
    }

    /// Counts what of a prompt is read and what was there already.
    fn note_kept(&self, prompt_tokens: usize) {
        for (source, tokens) in [
            ("kept", self.kept_tokens),
            ("read", prompt_tokens - self.kept_tokens),
        ] {
            metrics::counter!("coterie_local_prompt_tokens_total", "source" => source)
                .increment(tokens as u64);
        }
    }

    /// Tokens of the last prompt that had been read before.
    #[cfg(test)]
    pub(super) fn kept_tokens(&self) -> usize {
        self.kept_tokens
    }

    /// Reads the beginning of a prompt that others share, or takes it from what was kept; how many tokens it has.
    fn read_prefix(
        &mut self,
        key: &str,
        request: &ChatRequest,
        prompt: &[u32],
        reader: &Reader<'_>,
    ) -> Result<usize, Unfinished> {
        self.read.clear();
        self.kept_tokens = 0;
        if let Some(tokens) = self.prefixes.recall(key, prompt, &mut self.model)? {
            self.kept_tokens = tokens;
            return Ok(tokens);
        }
        let (messages, _) = begun_answer(request);
        let tokens = prefix::common(messages, prompt, &self.template, &self.tokenizer)?;
        if tokens > 0 {
            self.read_on(&prompt[..tokens], 0, reader)?;
            self.prefixes.keep(key, &prompt[..tokens], &self.model)?;
            self.read.clear();
        }
        Ok(tokens)
    }

    /// Reads tokens, at least one, that stand at `position` and after; gives the state after the last of them.
    fn read_on(
        &mut self,
        tokens: &[u32],
        position: usize,
        reader: &Reader<'_>,
    ) -> Result<Tensor, Unfinished> {
        let mut position = position;
        let mut chunks = tokens.chunks(CHUNK_TOKENS).peekable();
        loop {
            if reader.has_left() {
                return Err(Unfinished::ReaderGone);
            }
            let Some(chunk) = chunks.next() else {
                return Err(Unfinished::Failed(ExpertError::Model {
                    detail: "there is nothing to read".into(),
                }));
            };
            let state = self.model.read(chunk, position)?;
            // What stands elsewhere than a whole number of chunks after the beginning is cut at other places.
            if chunk.len() == CHUNK_TOKENS && self.read.len() == position {
                self.read.extend_from_slice(chunk);
            }
            position += chunk.len();
            if chunks.peek().is_none() {
                return Ok(state);
            }
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "drawing needs no more precision than a score has"
)]
fn narrow(logprob: f64) -> f32 {
    logprob as f32
}

/// The conversation, and the answer that is to be gone on with: what the assistant said last, where the request says that
/// it continues (`continue_final_message`, as vLLM has it).
fn begun_answer(request: &ChatRequest) -> (&[Message], &str) {
    let continues = request.body.get("continue_final_message") == Some(&Value::Bool(true));
    match request.messages.split_last() {
        Some((last, before)) if continues && last.role == Role::Assistant && !before.is_empty() => {
            (before, &last.text)
        }
        _ => (&request.messages, ""),
    }
}

impl From<ExpertError> for Unfinished {
    fn from(error: ExpertError) -> Self {
        Self::Failed(error)
    }
}

impl From<candle_core::Error> for Unfinished {
    fn from(error: candle_core::Error) -> Self {
        Self::Failed(ExpertError::Model {
            detail: in_words(&error),
        })
    }
}

impl From<Gone> for Unfinished {
    fn from(_: Gone) -> Self {
        Self::ReaderGone
    }
}
