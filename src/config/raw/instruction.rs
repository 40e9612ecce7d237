//! `router.instruction`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DurationText;
use crate::{
    config::defaults,
    instruction::{Mode, When},
};

/// An expert that is asked what a question demands, as the router's last tier.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Instruction {
    /// The expert that is asked.
    #[schemars(required)]
    pub expert: Option<String>,
    /// How: it tells how likely it finds each category (`logprob`), names one (`name`), or writes down what the question
    /// demands, which is compared with the cards (`describe`).
    #[serde(default = "defaults::instruction_mode")]
    pub mode: Mode,
    /// Which questions: those of which the router is `unsure`, `always` all, all and it `alone` decides, or none (`offline`).
    #[serde(default = "defaults::instruction_when")]
    pub when: When,
    /// How long it may take. Left out: 300 ms for an endpoint, 5 s for a model in this process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<DurationText>,
    /// Questions that it is asked about at once; for others the router's own word stands.
    #[serde(default = "defaults::instruction_concurrent")]
    #[schemars(range(min = 1, max = 1024))]
    pub concurrent_max: u32,
    /// What it may cost a day (UTC), in dollars. Left out: whatever it costs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub usd_per_day: Option<f64>,
    /// The file with what was learnt of its word (`coterie instruct fit`). Without it, it is asked only where it decides alone.
    #[serde(default = "defaults::instruction_blend")]
    pub blend: String,
}
