//! How answers are brought to the client: retries and breaker of an expert, and what a route wants of its delivery.

use std::{collections::HashMap, sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Timeouts;
use crate::ids::CategoryId;

/// `experts.X.retries`: when an expert that failed is asked once more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retries {
    /// Further tries after the first.
    pub max: u32,
    /// The first wait is at most this long, each later one at most twice as long as the one before.
    pub backoff: Duration,
    /// No wait is longer while another expert can be asked instead.
    pub backoff_max: Duration,
    /// The longest `Retry-After` that is waited for, where nobody else can be asked.
    pub retry_after_max: Duration,
    /// How many retries a question adds to what the expert may be burdened with, 0 to 1.
    pub budget: f64,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            max: 2,
            backoff: Duration::from_millis(200),
            backoff_max: Duration::from_secs(2),
            retry_after_max: Duration::from_secs(10),
            budget: 0.2,
        }
    }
}

/// `experts.X.breaker`: when an endpoint that fails is left alone, and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BreakerConfig {
    /// Failures in a row that open it.
    pub failures: u32,
    /// Share of failures in the window that opens it, above 0 and at most 1.
    pub error_rate: f64,
    /// The least answers in the window for the share to count.
    pub answers_min: u32,
    /// What the share is taken of.
    pub window: Duration,
    /// First tokens that take this many times as long as usual open it; more than 1.
    pub slow_factor: f64,
    /// How long it stays open before one question may probe.
    pub open: Duration,
    /// The same at the most: each probe that fails doubles the time.
    pub open_max: Duration,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            failures: 5,
            error_rate: 0.5,
            answers_min: 20,
            window: Duration::from_secs(30),
            slow_factor: 10.0,
            open: Duration::from_secs(5),
            open_max: Duration::from_secs(20),
        }
    }
}

/// How an expert takes up an answer that somebody else began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Prefill {
    /// It does not.
    #[default]
    None,
    /// The conversation's last message is the assistant's: `Anthropic`, `OpenRouter` and others.
    LastMessage,
    /// The same with `prefix: true` in that message: `Mistral`, `DeepSeek`.
    Prefix,
    /// The same with `continue_final_message: true` in the request: vLLM, `SGLang`.
    ContinueFinalMessage,
}

/// `delivery`: what the house wants, and what single routes want instead.
#[derive(Clone, Debug, Default)]
pub struct DeliveryConfig {
    /// What counts where a route says nothing.
    pub house: Arc<Delivery>,
    /// What routes want, with the house's word where they say nothing.
    pub routes: HashMap<CategoryId, Arc<Delivery>>,
}

impl DeliveryConfig {
    /// What counts for a category's questions, or for those of none.
    pub fn of(&self, category: Option<&CategoryId>) -> &Arc<Delivery> {
        category
            .and_then(|category| self.routes.get(category))
            .unwrap_or(&self.house)
    }

    /// The longest wait for a connection that any route allows; none where all leave it to the expert.
    pub fn connect_max(&self) -> Option<Duration> {
        let all = self.routes.values().chain([&self.house]);
        all.filter_map(|delivery| delivery.timeouts.connect).max()
    }
}

/// How the answers of a route are brought to the client.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Delivery {
    /// Clocks that take the place of the experts' own.
    pub timeouts: RouteTimeouts,
    /// Further tries at each expert, in the place of its own number.
    pub retries_max: Option<u32>,
    /// What becomes of a stream that breaks off after its first token.
    pub stream_recovery: StreamRecovery,
    /// What becomes of a refusal by policy.
    pub policy_refusals: PolicyRefusals,
    /// The share of questions for which a second expert may be asked before the first has failed; none: never.
    pub hedge_share: Option<f64>,
}

/// Clocks of a route; where one is none, the expert's own counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteTimeouts {
    /// To connect.
    pub connect: Option<Duration>,
    /// To the first token of one attempt.
    pub first_token: Option<Duration>,
    /// Between one token and the next.
    pub idle: Option<Duration>,
    /// For the whole answer, all its attempts together.
    pub total: Option<Duration>,
}

impl RouteTimeouts {
    /// The clocks of one attempt at an expert. The whole is bounded by a deadline, not here.
    pub fn over(&self, expert: Timeouts) -> Timeouts {
        Timeouts {
            connect: self.connect.unwrap_or(expert.connect),
            first_token: self.first_token.unwrap_or(expert.first_token),
            idle: self.idle.unwrap_or(expert.idle),
            total: expert.total,
        }
    }
}

/// What becomes of a stream that breaks off after its first token; each allows what stands after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum StreamRecovery {
    /// An expert that takes a prefill goes on from what was delivered.
    #[default]
    Continue,
    /// Another answer takes its place if it begins with what was delivered.
    Splice,
    /// The client is told that it broke off.
    Error,
}

/// What becomes of a refusal by policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum PolicyRefusals {
    /// The client gets the provider's reason at once.
    #[default]
    Tell,
    /// The next expert is asked.
    Reroute,
}
