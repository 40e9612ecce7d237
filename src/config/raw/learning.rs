//! `learning`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Share;
use crate::{
    config::defaults,
    learning::{Origin, gate::Measure},
};

/// What is learnt from the traffic (`coterie retrain`).
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Learning {
    /// By what a challenger has to be better.
    pub measure: Measure,
    /// The share of its rows that a category may lose: a number between 0 and 1, or a share such as `2%`.
    pub category_margin: Share,
    /// The share of the rows from feedback that one client may give, where there are enough clients to share so.
    pub client_share_max: Share,
    /// Origins of labels that do not count.
    pub without: Vec<Origin>,
    /// Questions in which drift may be reported falsely once, on average.
    #[schemars(range(min = 100, max = 4_294_967_295_u32))]
    pub questions_per_false_alarm: u32,
}

impl Default for Learning {
    fn default() -> Self {
        Self {
            measure: Measure::default(),
            category_margin: Share::Text(defaults::CATEGORY_MARGIN.to_owned()),
            client_share_max: Share::Text(defaults::CLIENT_SHARE_MAX.to_owned()),
            without: Vec::new(),
            questions_per_false_alarm: defaults::QUESTIONS_PER_FALSE_ALARM,
        }
    }
}
