//! How long a decision takes.

use serde::Serialize;

use super::Judged;

/// Time of one decision in microseconds, nothing else under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Latency {
    /// Half of the decisions took no longer.
    pub p50: u64,
    /// All but one in a hundred took no longer.
    pub p99: u64,
}

impl Latency {
    /// None if no decision was measured.
    pub(super) fn of(rows: &[Judged]) -> Option<Self> {
        let mut took_us: Vec<u64> = rows.iter().filter_map(|row| row.took_us).collect();
        took_us.sort_unstable();
        Some(Self {
            p50: nearest_rank(&took_us, 50)?,
            p99: nearest_rank(&took_us, 99)?,
        })
    }
}

/// The least value that `percent` of the values do not exceed.
fn nearest_rank(sorted: &[u64], percent: usize) -> Option<u64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}
