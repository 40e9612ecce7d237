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

/// What a client may use. What is left out has no limit.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Limits {
    /// Requests a minute; as many may come at once after a minute of rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub requests_per_minute: Option<u32>,
    /// Tokens a minute, of questions and answers together.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub tokens_per_minute: Option<u32>,
    /// Dollars a day (UTC). Needs `usd_in` and `usd_out` of every expert that can chat.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub usd_per_day: Option<f64>,
}

impl Server {
    /// Whether the dollars of anybody are limited.
    pub(in crate::config) fn limits_dollars(&self) -> bool {
        let keys = self.keys.iter().map(|key| key.limits.as_ref());
        let mut limits = keys.chain([self.limits.as_ref()]).flatten();
        limits.any(|limits| limits.usd_per_day.is_some())
    }
}
