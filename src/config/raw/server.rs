//! `server`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DurationText, Size};
use crate::config::defaults;

/// Where to listen, for whom, and how much to take in.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Server {
    /// Address and port. Beyond loopback, keys are needed.
    pub listen: String,
    /// The clients that may ask. Empty: no key is needed.
    pub keys: Vec<Key>,
    /// Largest request body: bytes, or a number with B, KiB, MiB or GiB.
    pub body_max: Size,
    /// How long answers under way may go on after SIGTERM.
    pub grace: DurationText,
    /// What each key may use unless it says otherwise; without keys, what all clients may use together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: defaults::LISTEN.to_owned(),
            keys: Vec::new(),
            body_max: Size::Text(defaults::BODY_MAX.to_owned()),
            grace: DurationText::new(defaults::GRACE),
            limits: None,
        }
    }
}

/// One client's key, known by its digest alone.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Key {
    /// The name under which its outcomes are recorded.
    #[schemars(required)]
    pub name: Option<String>,
    /// SHA-256 of the key in hexadecimal: `printf %s KEY | sha256sum`.
    #[schemars(required, regex(pattern = r"^[0-9A-Fa-f]{64}$"))]
    pub sha256: Option<String>,
    /// What it may use; what is left out here is as `server.limits` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
}

/// What a client may use. What is left out, of a key, is as the server's limits say; of the server, it has no limit.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Limits {
    /// Requests a minute; as many may come at once after a minute of rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<PerMinute>,
    /// Tokens a minute, of questions and answers together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<PerMinute>,
    /// Dollars a day (UTC). Needs `usd_in` and `usd_out` of every expert that can chat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usd_per_day: Option<PerDay>,
}

/// How much a minute, or `none`.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub(in crate::config) enum PerMinute {
    Number(#[schemars(range(min = 1, max = 1_000_000_000))] u32),
    Unlimited(Unlimited),
}

/// Dollars a day, or `none`.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub(in crate::config) enum PerDay {
    Usd(#[schemars(extend("exclusiveMinimum" = 0))] f64),
    Unlimited(Unlimited),
}

/// The word that stands for no limit.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(in crate::config) enum Unlimited {
    /// No limit, whatever the server's is.
    None,
}

impl PerMinute {
    /// The limit, where it is one.
    pub(in crate::config) fn limit(self) -> Option<u32> {
        match self {
            Self::Number(number) => Some(number),
            Self::Unlimited(Unlimited::None) => None,
        }
    }
}

impl PerDay {
    /// The limit in dollars, where it is one.
    pub(in crate::config) fn limit(self) -> Option<f64> {
        match self {
            Self::Usd(usd) => Some(usd),
            Self::Unlimited(Unlimited::None) => None,
        }
    }
}

impl Server {
    /// Whether the dollars of anybody are limited.
    pub(in crate::config) fn limits_dollars(&self) -> bool {
        let keys = self.keys.iter().map(|key| key.limits.as_ref());
        let mut limits = keys.chain([self.limits.as_ref()]).flatten();
        limits.any(|limits| limits.usd_per_day.and_then(PerDay::limit).is_some())
    }
}
