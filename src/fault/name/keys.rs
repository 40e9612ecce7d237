//! What stands behind the question mark of a model's name.

use std::{str::FromStr, time::Duration};

use super::{
    BYTES_MAX, Fault, Kind, NameError, Prefill, RetryAfter, RetryForm, TOKENS_MAX, Text, WAIT_MAX,
};

/// The keys, in the order in which they are told.
pub(super) const NAMES: [&str; 9] = [
    "tokens", "pace", "after", "date", "times", "for", "prefill", "text", "bytes",
];

/// The values that were given.
#[derive(Default)]
pub(super) struct Keys {
    pub(super) tokens: Option<usize>,
    pub(super) pace: Option<Duration>,
    after: Option<u32>,
    date: Option<()>,
    pub(super) times: Option<u64>,
    pub(super) lasts: Option<Duration>,
    pub(super) prefill: Option<Prefill>,
    pub(super) text: Option<Text>,
    pub(super) bytes: Option<u64>,
}

impl FromStr for Keys {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let mut keys = Self::default();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            keys.take(key, value)?;
        }
        Ok(keys)
    }
}

impl Keys {
    fn take(&mut self, key: &str, value: &str) -> Result<(), NameError> {
        let Some(key) = NAMES.into_iter().find(|name| *name == key) else {
            let key = key.to_owned();
            return Err(NameError::UnknownKey { key });
        };
        let given = Given { key, value };
        match key {
            "tokens" => given.into(&mut self.tokens, "a number up to 100000", tokens),
            "pace" => given.into(&mut self.pace, "a wait like `20ms`, at most an hour", wait),
            "after" => given.into(&mut self.after, "a number of seconds", number),
            "date" => given.into(&mut self.date, "left out", nothing),
            "times" => given.into(&mut self.times, "a number of requests", number),
            "for" => given.into(&mut self.lasts, "a wait like `60s`, at most an hour", wait),
            "prefill" => given.into(&mut self.prefill, "reject, ignore or continue", prefill),
            "text" => given.into(
                &mut self.text,
                "trees, birds (or other), accents or tools",
                text,
            ),
            // The last of the names.
            _ => given.into(&mut self.bytes, "a number of bytes up to 10¹²", bytes),
        }
    }

    /// Whether each of them changes something of this fault.
    pub(super) fn are_used_by(&self, fault: &'static Fault) -> Result<(), NameError> {
        let waits = matches!(fault.kind, Kind::Down | Kind::SlowStart);
        let huge = matches!(fault.kind, Kind::Huge | Kind::HugeEvent);
        let unused = [
            (self.after.is_some() && !fault.is_refusal(), "after"),
            (self.date.is_some() && !fault.is_refusal(), "date"),
            (self.lasts.is_some() && !waits, "for"),
            (self.bytes.is_some() && !huge, "bytes"),
        ];
        match unused.into_iter().find(|(unused, _)| *unused) {
            Some((_, key)) => Err(NameError::Unused {
                key,
                fault: fault.name,
            }),
            None => Ok(()),
        }
    }

    pub(super) fn retry_after(&self, kind: Kind) -> Option<RetryAfter> {
        let told = self.after.is_some() || self.date.is_some() || kind == Kind::RateLimitOnce;
        told.then_some(RetryAfter {
            seconds: self.after.unwrap_or(1),
            form: match self.date {
                Some(()) => RetryForm::Date,
                None => RetryForm::Seconds,
            },
        })
    }
}

/// A key with its value.
struct Given<'n> {
    key: &'static str,
    value: &'n str,
}

impl Given<'_> {
    fn into<T>(
        self,
        place: &mut Option<T>,
        wanted: &'static str,
        read: fn(&str) -> Option<T>,
    ) -> Result<(), NameError> {
        let Self { key, value } = self;
        let Some(read) = read(value) else {
            let value = value.to_owned();
            return Err(NameError::Value { key, value, wanted });
        };
        match place.replace(read) {
            Some(_) => Err(NameError::Twice { key }),
            None => Ok(()),
        }
    }
}

fn number<N: FromStr>(value: &str) -> Option<N> {
    value.parse().ok()
}

fn tokens(value: &str) -> Option<usize> {
    number(value).filter(|tokens| *tokens <= TOKENS_MAX)
}

fn bytes(value: &str) -> Option<u64> {
    number(value).filter(|bytes| *bytes <= BYTES_MAX)
}

fn wait(value: &str) -> Option<Duration> {
    let wait = humantime::parse_duration(value).ok()?;
    (wait <= WAIT_MAX).then_some(wait)
}

fn nothing(value: &str) -> Option<()> {
    value.is_empty().then_some(())
}

fn prefill(value: &str) -> Option<Prefill> {
    match value {
        "reject" => Some(Prefill::Reject),
        "ignore" => Some(Prefill::Ignore),
        "continue" => Some(Prefill::Continue),
        _ => None,
    }
}

fn text(value: &str) -> Option<Text> {
    match value {
        "trees" => Some(Text::Trees),
        "birds" | "other" => Some(Text::Birds),
        "accents" => Some(Text::Accents),
        "tools" => Some(Text::Tools),
        _ => None,
    }
}
