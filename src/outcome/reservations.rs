//! What is held for a question from its decision to its end.

use super::Reserved;
use crate::quota::TokensTaken;

/// What a question may use; given back where it is dropped.
#[derive(Debug, Default)]
pub struct Reservations {
    /// Dollars of the house.
    pub house: Option<Reserved>,
    /// Dollars of the client that asks, where they are limited.
    pub client: Option<Reserved>,
    /// Tokens of that client, where they are limited.
    pub tokens: Option<TokensTaken>,
}

/// What it did use.
#[derive(Clone, Copy, Debug)]
pub struct Used {
    /// Whether an expert was asked that did not fail, or the client has a part of an answer.
    pub is_something: bool,
    /// Dollars.
    pub usd: Sum<f64>,
    /// Tokens of all that was asked and answered.
    pub tokens: Sum<u64>,
    /// Tokens of the answer that the client got piece by piece, about.
    pub tokens_streamed: u64,
}

/// A sum of which nobody may know some parts.
#[derive(Clone, Copy, Debug)]
pub struct Sum<T> {
    /// The parts that are known, added up; none where there is no such part.
    pub known: Option<T>,
    /// Whether those are all.
    pub is_whole: bool,
}

impl<T> Sum<T> {
    /// The sum of no parts.
    pub fn empty() -> Self {
        Self {
            known: None,
            is_whole: true,
        }
    }

    /// The sum of one part, which may be unknown.
    pub fn of(part: Option<T>) -> Self {
        Self {
            is_whole: part.is_some(),
            known: part,
        }
    }

    /// The sum of two sums, of which `add` adds what is known.
    #[must_use]
    pub fn and(self, more: Self, add: impl FnOnce(T, T) -> T) -> Self {
        Self {
            known: match (self.known, more.known) {
                (Some(a), Some(b)) => Some(add(a, b)),
                (a, b) => a.or(b),
            },
            is_whole: self.is_whole && more.is_whole,
        }
    }

    /// The sum; where a part is unknown, an estimate of the whole, unless what is known is more.
    fn or_estimate(self, estimate: T, max: impl FnOnce(T, T) -> T) -> T {
        match self.known {
            Some(known) if self.is_whole => known,
            Some(known) => max(known, estimate),
            None => estimate,
        }
    }
}

impl Reservations {
    /// Puts what was used in place of what was reserved. Where nobody knows a part of it, the estimate stays, unless what is
    /// known is more.
    pub fn settle(self, used: Used) {
        if !used.is_something {
            return; // Dropped, all of it is given back.
        }
        for reserved in [self.house, self.client].into_iter().flatten() {
            let usd = used.usd.or_estimate(reserved.usd(), f64::max);
            reserved.settle(usd);
        }
        if let Some(tokens) = self.tokens {
            let about = tokens.about(used.tokens_streamed);
            tokens.settle(used.tokens.or_estimate(about, u64::max));
        }
    }
}
