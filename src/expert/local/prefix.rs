//! The beginnings of prompts that come again and again, as a model has read them: what a request names by its
//! `prompt_cache_key` is read once, and from then on a question costs its own tokens alone.
//!
//! Such a prompt is read in two parts, up to where its first message ends and from there on. Where that is depends on the
//! prompt alone, so that an answer is the same whether its beginning was kept or not.

use std::sync::LazyLock;

use candle_core::Result;

use super::{
    model::{Memory, Model},
    template::ChatTemplate,
    tokenizer::Tokenizer,
};
use crate::{
    chat::{Message, Role},
    expert::ExpertError,
};

/// Beginnings that a model keeps, the least recently used one making room: one of half a thousand tokens takes some
/// twenty megabytes for each half billion of parameters.
const PREFIXES_MAX: usize = 2;

/// How the keys of prompts begin that decide on questions: drawn when the process starts, so that no client can name one.
pub static DECISIONS: LazyLock<String> =
    LazyLock::new(|| format!("instruction {:016x} ", rand::random::<u64>()));

/// The longest beginning that is kept, in tokens.
const PREFIX_TOKENS_MAX: usize = 4096;

/// What is kept, the most recently used last.
#[derive(Default)]
pub(super) struct Prefixes(Vec<Prefix>);

struct Prefix {
    key: String,
    tokens: Vec<u32>,
    memory: Memory,
}

impl Prefixes {
    /// Puts back the kept beginning of a prompt; how many tokens that was, none where it is not kept.
    pub(super) fn recall(
        &mut self,
        key: &str,
        prompt: &[u32],
        model: &mut Model,
    ) -> Result<Option<usize>> {
        let fits = |kept: &Prefix| {
            kept.key == key && kept.tokens.len() < prompt.len() && prompt.starts_with(&kept.tokens)
        };
        let Some(at) = self.0.iter().position(fits) else {
            return Ok(None);
        };
        let prefix = self.0.remove(at);
        model.recall(&prefix.memory)?;
        let tokens = prefix.tokens.len();
        self.0.push(prefix);
        Ok(Some(tokens))
    }

    /// Keeps the beginning that the model has just read; another of the same key makes room for it.
    pub(super) fn keep(&mut self, key: &str, prefix: &[u32], model: &Model) -> Result<()> {
        self.0.retain(|kept| kept.key != key);
        if self.0.len() == PREFIXES_MAX {
            // What a decision waits for is given up last.
            let of_clients = |kept: &Prefix| !kept.key.starts_with(DECISIONS.as_str());
            self.0
                .remove(self.0.iter().position(of_clients).unwrap_or(0));
        }
        self.0.push(Prefix {
            key: key.to_owned(),
            tokens: prefix.to_vec(),
            memory: model.keep(prefix.len())?,
        });
        Ok(())
    }
}

/// How many tokens of a prompt are there whatever is said after its first message, which is the system's; 0 where it has
/// no such beginning, or one that is too long to be kept.
pub(super) fn common(
    messages: &[Message],
    prompt: &[u32],
    template: &ChatTemplate,
    tokenizer: &Tokenizer,
) -> std::result::Result<usize, ExpertError> {
    let [system, _, ..] = messages else {
        return Ok(0);
    };
    if system.role != Role::System {
        return Ok(0);
    }
    // Two words that begin and end differently: what both prompts begin with belongs to the system's message.
    let mut common = prompt.len() - 1;
    for word in ["a", "9."] {
        let user = Message {
            role: Role::User,
            text: word.into(),
            has_other_parts: false,
        };
        let other = template.render(&[system.clone(), user])?;
        let other = tokenizer
            .encode(&other)
            .map_err(|error| ExpertError::Model {
                detail: error.to_string(),
            })?;
        let same = prompt.iter().zip(&other).take_while(|(a, b)| a == b);
        common = common.min(same.count());
    }
    Ok(if common > PREFIX_TOKENS_MAX {
        0
    } else {
        common
    })
}
