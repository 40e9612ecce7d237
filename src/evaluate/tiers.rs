//! What each tier of the router settles.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use super::Judged;

/// A tier of the router, by its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Tier(String);

impl Tier {
    /// Wraps a name.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What one tier settled.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TierFigures {
    /// Its share of all rows.
    pub share: f64,
    /// Share of its rows whose likeliest class is the label.
    pub accuracy: f64,
}

/// Each tier that settled a row.
pub(super) fn figures(rows: &[Judged]) -> BTreeMap<Tier, TierFigures> {
    let mut counts: BTreeMap<Tier, (usize, usize)> = BTreeMap::new();
    for row in rows {
        if let Some(tier) = &row.tier {
            let (settled, right) = counts.entry(tier.clone()).or_default();
            *settled += 1;
            *right += usize::from(row.is_right());
        }
    }
    let figures = |(settled, right): (usize, usize)| TierFigures {
        share: settled as f64 / rows.len() as f64,
        accuracy: right as f64 / settled as f64,
    };
    counts
        .into_iter()
        .map(|(tier, counts)| (tier, figures(counts)))
        .collect()
}
