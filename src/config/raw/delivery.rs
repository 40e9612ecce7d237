//! `delivery`, and what an expert says of its own.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DurationText, Share};
use crate::config::{
    BreakerConfig, PolicyRefusals, Retries as Checked, StreamRecovery, defaults::duration,
};

/// When an expert is asked once more after a failure.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Retries {
    /// Further tries after the first; 0: none.
    #[schemars(range(min = 0, max = 10))]
    pub max: u32,
    /// The first wait is at most this long, each later one at most twice as long as the one before.
    pub backoff: DurationText,
    /// No wait is longer while another expert can be asked instead.
    pub backoff_max: DurationText,
    /// The longest `Retry-After` that is waited for where nobody else can be asked.
    pub retry_after_max: DurationText,
    /// Retries as a share of questions: a number between 0 and 1, or a share such as `20%`.
    pub budget: Share,
}

impl Default for Retries {
    fn default() -> Self {
        let checked = Checked::default();
        Self {
            max: checked.max,
            backoff: duration(checked.backoff),
            backoff_max: duration(checked.backoff_max),
            retry_after_max: duration(checked.retry_after_max),
            budget: Share::Number(checked.budget),
        }
    }
}

/// When an endpoint that fails is left alone, and for how long.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Breaker {
    /// Failures in a row that open it.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub failures: u32,
    /// Share of failures in the window that opens it: a number between 0 and 1, or a share such as `50%`.
    pub error_rate: Share,
    /// The least answers in the window for the share to count.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub answers_min: u32,
    /// What the share is taken of.
    pub window: DurationText,
    /// First tokens that take this many times as long as usual open it.
    #[schemars(extend("exclusiveMinimum" = 1))]
    pub slow_factor: f64,
    /// How long it stays open before one question may probe.
    pub open: DurationText,
    /// The same at the most: each probe that fails doubles the time.
    pub open_max: DurationText,
}

impl Default for Breaker {
    fn default() -> Self {
        let checked = BreakerConfig::default();
        Self {
            failures: checked.failures,
            error_rate: Share::Number(checked.error_rate),
            answers_min: checked.answers_min,
            window: duration(checked.window),
            slow_factor: checked.slow_factor,
            open: duration(checked.open),
            open_max: duration(checked.open_max),
        }
    }
}

/// How answers are brought to clients.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct Delivery {
    #[serde(flatten)]
    pub house: RouteDelivery,
    /// What single routes want instead, by category; where they say nothing, what stands above counts.
    pub routes: BTreeMap<String, RouteDelivery>,
}

/// How the answers of a route are brought to clients.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct RouteDelivery {
    /// What becomes of a stream that breaks off after its first token: `continue` (an expert that takes a prefill goes on),
    /// `splice` (another answer takes its place if it begins alike) or `error` (the client is told).
    pub stream_recovery: Option<StreamRecovery>,
    /// What becomes of a refusal by policy: `tell` the client the provider's reason, or `reroute`.
    pub policy_refusals: Option<PolicyRefusals>,
    /// Further tries at each expert, in the place of its own `retries.max`.
    #[schemars(range(min = 0, max = 10))]
    pub retries_max: Option<u32>,
    /// The share of questions for which a second expert may be asked when the first is slower than it usually is: a number
    /// between 0 and 1, or a share such as `5%`. Left out or 0: none.
    pub hedge: Option<Share>,
    /// Clocks in the place of the experts' own.
    pub timeouts: RouteTimeouts,
}

/// Clocks of a route.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RouteTimeouts {
    /// To connect (remote).
    pub connect: Option<DurationText>,
    /// From the request to the first token of one attempt.
    pub first_token: Option<DurationText>,
    /// Between one token and the next.
    pub idle: Option<DurationText>,
    /// For the whole answer, all attempts together.
    pub total: Option<DurationText>,
}
