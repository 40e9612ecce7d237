//! `server`.

use std::{net::SocketAddr, time::Duration};

use super::raw;

/// `server`.
#[derive(Debug)]
pub struct ServerConfig {
    /// Address and port.
    pub listen: SocketAddr,
    /// Keys that may ask; empty: no key is needed.
    pub keys: Vec<ApiKey>,
    /// Largest request body in bytes.
    pub body_bytes_max: usize,
    /// How long answers under way may go on after SIGTERM.
    pub grace: Duration,
    /// What all clients may use together; only where there are no keys, which have limits of their own.
    pub limits: Limits,
}

/// One client's key, known by its digest alone.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// The name under which its outcomes are recorded.
    pub name: String,
    /// SHA-256 of the key's bytes.
    pub sha256: [u8; 32],
    /// What it may use.
    pub limits: Limits,
}

/// What a client may use; none: as much as it likes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// Requests a minute, above 0.
    pub requests_per_minute: Option<u32>,
    /// Tokens a minute, of questions and answers together, above 0.
    pub tokens_per_minute: Option<u32>,
    /// Dollars a day (UTC), above 0.
    pub usd_per_day: Option<f64>,
}

impl Limits {
    /// Whether there is none.
    pub fn are_none(&self) -> bool {
        *self == Self::default()
    }

    /// As it is written, which the schema holds to be above 0; what is left out is as `house` says.
    pub(super) fn written(raw: Option<&raw::Limits>, house: Self) -> Self {
        let Some(raw) = raw else {
            return house;
        };
        let per_minute = |raw: Option<raw::PerMinute>, house| match raw {
            Some(written) => written.limit(),
            None => house,
        };
        Self {
            requests_per_minute: per_minute(raw.requests_per_minute, house.requests_per_minute),
            tokens_per_minute: per_minute(raw.tokens_per_minute, house.tokens_per_minute),
            usd_per_day: raw
                .usd_per_day
                .map_or(house.usd_per_day, raw::PerDay::limit),
        }
    }
}
