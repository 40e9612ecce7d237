//! One test: a signal, ranked and bet on.

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use serde::{Deserialize, Serialize};

use super::{bets::Bets, ranks::Ranks};

/// Of the reference, one row in so many is spent on choosing the edges and the bets; the others are ranked among.
const CHOOSING: usize = 2;

/// Most rows that are spent on it.
const CHOOSING_MAX: usize = 200;

/// Scatters the numbers of rows over seeds (the golden ratio, in 64 bits).
const STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;

/// One value of a signal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// Milliseconds since 1970.
    pub at_ms: i64,
    pub value: f32,
}

/// When a test speaks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    /// The evidence at which it does: rows to a false alarm, at least, on average.
    pub alarm: f64,
    /// Rows before the first that counts.
    pub reference_rows: usize,
}

/// A change that a test has noticed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Change {
    pub since_ms: i64,
    pub noticed_ms: i64,
    pub before: f64,
    pub after: f64,
    pub rows_before: u64,
    pub rows_after: u64,
}

/// A signal under watch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Test {
    seed: u64,
    /// Rows since the test began, over all its references.
    rows: u64,
    stage: Stage,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Stage {
    /// Rows that choose the edges and the bets.
    Choosing(Vec<f32>),
    /// Rows that are ranked, and bet on once the reference is whole.
    Watching(Watch),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Watch {
    ranks: Ranks,
    bets: Bets,
    rows: u64,
    sum: f64,
}

impl Test {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            rows: 0,
            stage: Stage::Choosing(Vec::new()),
        }
    }

    /// Rows of the reference that there are, of those that it needs.
    pub(super) fn reference(&self, needs: usize) -> usize {
        match &self.stage {
            Stage::Choosing(values) => values.len().min(needs),
            Stage::Watching(watch) => usize::try_from(watch.rows).map_or(needs, |it| it.min(needs)),
        }
    }

    /// Takes in a row. After a change that it notices the test begins again, with the rows to come as its reference.
    pub(super) fn observe(&mut self, row: Row, level: Level) -> Option<Change> {
        if !row.value.is_finite() {
            return None;
        }
        self.rows += 1;
        match &mut self.stage {
            Stage::Choosing(values) => {
                values.push(row.value);
                if values.len() >= choosing(level) {
                    values.sort_by(f32::total_cmp);
                    self.stage = Stage::Watching(Watch::new(values));
                }
                None
            }
            Stage::Watching(watch) => {
                let mut random =
                    SmallRng::seed_from_u64(self.seed ^ self.rows.wrapping_mul(STRIDE));
                let change = watch.observe(row, random.random(), level)?;
                self.stage = Stage::Choosing(Vec::new());
                Some(change)
            }
        }
    }
}

fn choosing(level: Level) -> usize {
    (level.reference_rows / CHOOSING).clamp(1, CHOOSING_MAX)
}

impl Watch {
    fn new(sorted: &[f32]) -> Self {
        Self {
            ranks: Ranks::new(sorted),
            bets: Bets::new(sorted),
            rows: sorted.len() as u64,
            sum: sorted.iter().map(|value| f64::from(*value)).sum(),
        }
    }

    fn observe(&mut self, row: Row, tie: f64, level: Level) -> Option<Change> {
        let value = f64::from(row.value);
        let rank = self.ranks.push(row.value, tie);
        self.rows += 1;
        self.sum += value;
        if self.rows <= level.reference_rows as u64 {
            return None;
        }
        if self.bets.observe(rank, row.at_ms, value) < level.alarm {
            return None;
        }
        let since = self.bets.since();
        let rows_before = self.rows - since.rows;
        Some(Change {
            since_ms: since.at_ms,
            noticed_ms: row.at_ms,
            before: (self.sum - since.sum) / rows_before as f64,
            after: since.sum / since.rows as f64,
            rows_before,
            rows_after: since.rows,
        })
    }
}
