//! What would be misrouted if more or fewer questions were routed: the risk–coverage curve of El-Yaniv and Wiener ("On the
//! Foundations of Noise-free Selective Classification", JMLR 2010).

use serde::Serialize;

use super::Judged;
use crate::risk::{CONFIDENCE_LEVEL, misroute_upper};

/// Points of the curve: one for every two hundredths of coverage, finer than what chance leaves to see.
const POINTS_MAX: usize = 50;

/// One threshold and what it would do.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RiskPoint {
    /// The threshold: rows whose likeliest category has at least this probability are routed.
    pub confidence_min: f32,
    /// Share of the rows that are routed.
    pub coverage: f64,
    /// Share of wrong ones among them, those out of domain included.
    pub misrouted: f64,
    /// What that share is at most for such questions, with 95 % confidence; true of each point by itself, not of the best
    /// of them.
    pub misroute_upper95: f64,
}

/// The curve, from the strictest threshold to the one that routes everything.
pub(super) fn curve(rows: &[Judged]) -> Vec<RiskPoint> {
    let mut sorted: Vec<(f32, bool)> = rows
        .iter()
        .map(|row| {
            let confidence = row.category().map_or(0.0, |score| score.probability);
            (confidence, row.has_right_category())
        })
        .collect();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut points = Vec::with_capacity(POINTS_MAX);
    let (mut routed, mut wrong, mut step) = (0, 0, 0);
    // A threshold cannot part rows of equal confidence.
    for tied in sorted.chunk_by(|a, b| a.0 == b.0) {
        routed += tied.len();
        wrong += tied.iter().filter(|row| !row.1).count();
        let reached = routed * POINTS_MAX / sorted.len();
        if reached > step {
            step = reached;
            points.push(RiskPoint {
                confidence_min: tied[0].0,
                coverage: routed as f64 / sorted.len() as f64,
                misrouted: wrong as f64 / routed as f64,
                misroute_upper95: misroute_upper(wrong, routed, CONFIDENCE_LEVEL),
            });
        }
    }
    points
}
