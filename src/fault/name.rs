//! The grammar of model names, `FAULT[@POSITION][?key=value&…][#tag]`: pure.

mod keys;

use std::{str::FromStr, time::Duration};

use super::kind::{Fault, Kind, Place};
use keys::Keys;

/// Longest name, in bytes.
pub(super) const NAME_BYTES_MAX: usize = 256;

/// Tokens of an answer whose name does not say how many.
const TOKENS_DEFAULT: usize = 17;

/// Most tokens of an answer: it is made as a whole before it is sent.
const TOKENS_MAX: usize = 100_000;

/// Bytes of a huge answer whose name does not say how many: a gigabyte.
const BYTES_DEFAULT: u64 = 1_000_000_000;

/// Most bytes of a huge answer: a terabyte.
const BYTES_MAX: u64 = 1_000_000_000_000;

/// Longest wait that a name can ask for, before it is scaled.
const WAIT_MAX: Duration = Duration::from_secs(3600);

/// What a model's name asks for.
#[derive(Clone, Debug)]
pub struct Model {
    /// What goes wrong.
    pub fault: &'static Fault,
    /// After how many tokens of an answer; never more than [`Self::tokens`].
    pub position: usize,
    /// Tokens of the whole answer.
    pub tokens: usize,
    /// The wait between two tokens, and between the bytes of a slow drip; to be scaled.
    pub pace: Duration,
    /// The `Retry-After` of a refusal.
    pub retry_after: Option<RetryAfter>,
    /// How many requests the fault strikes; those that follow are answered.
    pub times: u64,
    /// How long a slow start waits and how long a provider is down; to be scaled.
    pub lasts: Duration,
    /// What becomes of an answer that the last message has begun.
    pub prefill: Prefill,
    /// What the answer says.
    pub text: Text,
    /// Bytes of a huge answer.
    pub bytes: u64,
}

/// A `Retry-After` header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RetryAfter {
    /// How long to wait. Not scaled: it is sent as it is written.
    pub seconds: u32,
    /// How the header says it.
    pub form: RetryForm,
}

/// The two forms that HTTP knows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RetryForm {
    /// A number.
    Seconds,
    /// An HTTP date.
    Date,
}

/// What becomes of an assistant's text that stands last among the messages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Prefill {
    /// It is refused with 400.
    Reject,
    /// The answer begins from its beginning.
    Ignore,
    /// Where it is how the answer begins, the answer goes on from there; else as for [`Self::Ignore`].
    Continue,
}

/// What an answer says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Text {
    /// Names of trees.
    Trees,
    /// Names of birds: a provider whose words differ.
    Birds,
    /// Words with characters of two, three and four bytes.
    Accents,
    /// A call of a tool instead of text.
    Tools,
}

/// Why a model's name asks for nothing that there is.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NameError {
    /// It is too long to be kept.
    #[error("a model's name has at most {NAME_BYTES_MAX} bytes")]
    TooLong,
    /// No fault is called that.
    #[error("there is no fault `{name}`")]
    UnknownFault {
        /// What stands in its place.
        name: String,
    },
    /// The position is no number.
    #[error("the position `{position}` is no number of tokens")]
    NoNumber {
        /// What stands in its place.
        position: String,
    },
    /// The answer is shorter.
    #[error("the position {position} is behind the end of an answer of {tokens} tokens")]
    BehindTheEnd {
        /// What was asked for.
        position: usize,
        /// The length of the answer.
        tokens: usize,
    },
    /// The fault concerns an answer as a whole.
    #[error("`{fault}` takes no position")]
    NoPosition {
        /// The fault's name.
        fault: &'static str,
    },
    /// No key is called that.
    #[error("there is no key `{key}`; there are {}", keys::NAMES.join(", "))]
    UnknownKey {
        /// What stands in its place.
        key: String,
    },
    /// The key changes nothing of this fault.
    #[error("`{fault}` takes no key `{key}`")]
    Unused {
        /// The key's name.
        key: &'static str,
        /// The fault's name.
        fault: &'static str,
    },
    /// The key stands there more than once.
    #[error("the key `{key}` is given twice")]
    Twice {
        /// The key's name.
        key: &'static str,
    },
    /// The key's value cannot be read.
    #[error("`{key}={value}`: the value must be {wanted}")]
    Value {
        /// The key's name.
        key: &'static str,
        /// What it was given.
        value: String,
        /// What it takes.
        wanted: &'static str,
    },
}

impl FromStr for Model {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        if name.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong);
        }
        let (asked, _tag) = name.split_once('#').unwrap_or((name, ""));
        let (place, keys) = asked.split_once('?').unwrap_or((asked, ""));
        let (fault, position) = match place.split_once('@') {
            Some((fault, position)) => (fault, Some(position)),
            None => (place, None),
        };
        let Some(fault) = Fault::named(fault) else {
            let name = fault.to_owned();
            return Err(NameError::UnknownFault { name });
        };
        let keys: Keys = keys.parse()?;
        keys.are_used_by(fault)?;
        let tokens = keys.tokens.unwrap_or(TOKENS_DEFAULT);
        Ok(Self {
            fault,
            position: position_of(fault, position, tokens)?,
            tokens,
            pace: keys.pace.unwrap_or_else(|| pace_of(fault.kind)),
            retry_after: keys.retry_after(fault.kind),
            times: keys.times.unwrap_or_else(|| times_of(fault.kind)),
            lasts: keys.lasts.unwrap_or_else(|| lasts_of(fault.kind)),
            prefill: keys.prefill.unwrap_or(Prefill::Continue),
            text: keys.text.unwrap_or_else(|| text_of(fault.kind)),
            bytes: keys.bytes.unwrap_or(BYTES_DEFAULT),
        })
    }
}

fn position_of(
    fault: &'static Fault,
    position: Option<&str>,
    tokens: usize,
) -> Result<usize, NameError> {
    let Some(position) = position else {
        return Ok(match fault.place {
            Place::Whole | Place::Start => 0,
            Place::Middle => tokens / 2,
            Place::End => tokens,
        });
    };
    if fault.place == Place::Whole {
        return Err(NameError::NoPosition { fault: fault.name });
    }
    match position.parse() {
        Ok(position) if position > tokens => Err(NameError::BehindTheEnd { position, tokens }),
        Ok(position) => Ok(position),
        Err(_no_number) => Err(NameError::NoNumber {
            position: position.to_owned(),
        }),
    }
}

fn pace_of(kind: Kind) -> Duration {
    match kind {
        Kind::Drip => Duration::from_millis(10),
        _ => Duration::ZERO,
    }
}

fn times_of(kind: Kind) -> u64 {
    match kind {
        Kind::RateLimitOnce | Kind::ErrorOnce => 1,
        _ => u64::MAX,
    }
}

fn lasts_of(kind: Kind) -> Duration {
    match kind {
        Kind::Down => Duration::from_secs(60),
        _ => Duration::from_secs(20),
    }
}

fn text_of(kind: Kind) -> Text {
    match kind {
        Kind::Tools => Text::Tools,
        // There must be something to split.
        Kind::SplitUtf8 => Text::Accents,
        _ => Text::Trees,
    }
}

#[cfg(test)]
mod tests;
