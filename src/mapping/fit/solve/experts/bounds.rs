//! The bound of a node: multipliers of the categories, improved by subgradient steps.

use super::{Node, Room, Search};

/// Steps without a better bound after which they are halved.
const PATIENCE: usize = 8;

/// Where the bound is expected to end while no assignment is known, as a share of it.
const AIM_SHARE: f64 = 0.95;

/// Multipliers with the bound that they give.
#[derive(Clone)]
pub(super) struct Bounded {
    /// What a category's answer is worth at least.
    pub(super) multipliers: Vec<f64>,
    pub(super) bound: f64,
    /// Share of each free expert.
    pub(super) shares: Vec<f64>,
}

/// Where multipliers help: not below what open experts give, nor above what anyone gives.
struct Range {
    least: Vec<f64>,
    most: Vec<f64>,
}

impl Search<'_> {
    /// The node's bound after so many steps, or when it rules the node out; none if a category has nobody left.
    pub(super) fn bounded(&self, node: &Node, steps: usize) -> Option<Bounded> {
        let range = self.range(node)?;
        let room = self.room(&node.open);
        let mut best = self.at(node, &room, range.clamped(&node.multipliers));
        let mut now_missing = self.missing(node, &best, &range);
        let mut multipliers = best.multipliers.clone();
        let (mut bound, mut scale, mut stale) = (best.bound, 1.0, 0);
        for _ in 1..steps.max(1) {
            let norm: f64 = now_missing.iter().map(|missing| missing * missing).sum();
            if norm == 0.0 || best.bound <= self.floor() {
                break;
            }
            let aim = self
                .best
                .as_ref()
                .map_or(bound * AIM_SHARE, |best| best.gain);
            let step = scale * (bound - aim).max(self.gap_max) / norm;
            let moved = multipliers
                .iter()
                .zip(&now_missing)
                .map(|(multiplier, missing)| multiplier - step * missing);
            let now = self.at(node, &room, range.clamped(&moved.collect::<Vec<_>>()));
            now_missing = self.missing(node, &now, &range);
            bound = now.bound;
            multipliers.clone_from(&now.multipliers);
            if now.bound < best.bound {
                (best, stale) = (now, 0);
            } else {
                stale += 1;
                if stale == PATIENCE {
                    (scale, stale) = (scale / 2.0, 0);
                }
            }
        }
        Some(best)
    }

    /// What an expert adds, at most, where categories are answered for these multipliers already.
    pub(super) fn worth(&self, expert: usize, multipliers: &[f64]) -> f64 {
        let pairs = self.priced[expert].iter().zip(multipliers);
        pairs
            .map(|(gain, multiplier)| (gain - multiplier).max(0.0))
            .sum()
    }

    fn range(&self, node: &Node) -> Option<Range> {
        let categories = 0..self.problem.weights.len();
        let least: Vec<f64> = categories.map(|c| self.highest(&node.open, c)).collect();
        let most = least
            .iter()
            .enumerate()
            .map(|(c, least)| least.max(self.highest(&node.free, c)));
        let most: Vec<f64> = most.collect();
        most.iter()
            .all(|most| most.is_finite())
            .then_some(Range { least, most })
    }

    /// The bound that multipliers give.
    fn at(&self, node: &Node, room: &Room, multipliers: Vec<f64>) -> Bounded {
        let worth: Vec<f64> = node
            .free
            .iter()
            .map(|e| self.worth(*e, &multipliers))
            .collect();
        let (value, shares) = room.fill(self.problem, &node.free, &worth);
        Bounded {
            bound: multipliers.iter().sum::<f64>() + value + self.budgets_worth(),
            multipliers,
            shares,
        }
    }

    /// How often each category is answered too seldom (a subgradient); zero where its multiplier cannot fall.
    fn missing(&self, node: &Node, now: &Bounded, range: &Range) -> Vec<f64> {
        let mut missing = vec![1.0; now.multipliers.len()];
        for (e, share) in node
            .free
            .iter()
            .zip(&now.shares)
            .filter(|(_, share)| **share > 0.0)
        {
            let pairs = self.priced[*e].iter().zip(&now.multipliers);
            for (missing, (gain, multiplier)) in missing.iter_mut().zip(pairs) {
                if gain > multiplier {
                    *missing -= share;
                }
            }
        }
        for (c, missing) in missing.iter_mut().enumerate() {
            if *missing > 0.0 && now.multipliers[c] <= range.least[c] {
                *missing = 0.0;
            }
        }
        missing
    }
}

impl Range {
    fn clamped(&self, multipliers: &[f64]) -> Vec<f64> {
        let clamp = |(c, value): (usize, &f64)| value.min(self.most[c]).max(self.least[c]);
        multipliers.iter().enumerate().map(clamp).collect()
    }
}
