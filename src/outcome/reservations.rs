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
    /// Dollars; none where nobody knows.
    pub usd: Option<f64>,
    /// Tokens of all that was asked and answered; none where nobody counted them.
    pub tokens: Option<u64>,
    /// Tokens of the answer that the client got piece by piece, about.
    pub tokens_streamed: u64,
}

impl Reservations {
    /// Puts what was used in place of what was reserved.
    pub fn settle(self, used: Used) {
        if !used.is_something {
            return; // Dropped, all of it is given back.
        }
        for reserved in [self.house, self.client].into_iter().flatten() {
            match used.usd {
                Some(usd) => reserved.settle(usd),
                None => reserved.keep(),
            }
        }
        if let Some(tokens) = self.tokens {
            match used.tokens {
                Some(counted) => tokens.settle(counted),
                None if used.tokens_streamed > 0 => tokens.settle_about(used.tokens_streamed),
                None => tokens.keep(),
            }
        }
    }
}
