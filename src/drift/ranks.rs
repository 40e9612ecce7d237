//! Where a row stands among all rows so far, in bounded memory.

use serde::{Deserialize, Serialize};

/// Points of the distribution at which it is cut: finer ones would tell apart what chance does not.
const EDGES_MAX: usize = 48;

/// How many rows lie at and between some values.
///
/// Any score may be ranked, so that a coarse one costs power and never the promise, as long as its edges come from rows that are
/// not ranked themselves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Ranks {
    /// Rising; each has a place of its own, and one lies before, between and behind them.
    edges: Vec<f32>,
    counts: Vec<u64>,
    rows: u64,
}

impl Ranks {
    /// Cuts at the quantiles of `sorted`: finite, rising, and not counted.
    pub(super) fn new(sorted: &[f32]) -> Self {
        let steps = EDGES_MAX.min(sorted.len());
        let quantile = |step: usize| sorted[step * (sorted.len() - 1) / (steps - 1).max(1)];
        let mut edges: Vec<f32> = (0..steps).map(quantile).collect();
        edges.dedup();
        Self {
            counts: vec![0; 2 * edges.len() + 1],
            edges,
            rows: 0,
        }
    }

    /// Counts a row; the share of rows below it, itself and its equals shared out by `tie` (0 to 1).
    pub(super) fn push(&mut self, value: f32, tie: f64) -> f64 {
        let below = self.edges.partition_point(|edge| *edge < value);
        let place = below + self.edges.partition_point(|edge| *edge <= value);
        self.counts[place] += 1;
        self.rows += 1;
        let lower: u64 = self.counts[..place].iter().sum();
        (lower as f64 + tie * self.counts[place] as f64) / self.rows as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_stands_above_the_smaller_ones_and_shares_with_its_equals() {
        let mut ranks = Ranks::new(&[1.0, 2.0, 3.0]);
        assert_eq!(ranks.push(2.0, 0.25), 0.25);
        assert_eq!(ranks.push(5.0, 0.0), 0.5);
        assert_eq!(ranks.push(0.0, 0.5), 0.5 / 3.0);
        assert_eq!(ranks.push(2.0, 0.5), (1.0 + 0.5 * 2.0) / 4.0);
    }

    #[test]
    fn what_the_edges_have_not_seen_has_a_place_on_either_side() {
        for (other, share) in [(1.0, 0.9), (-1.0, 0.0)] {
            let mut ranks = Ranks::new(&[0.0; 20]);
            for _ in 0..9 {
                ranks.push(0.0, 0.5);
            }
            assert_eq!(ranks.push(other, 0.0), share);
        }
    }
}
