//! What the budgets are worth where the set of experts is limited too.
//!
//! Prices that suit all experts are wrong for the few that there is room for, and a bound by wrong prices rules out little. So
//! the prices take subgradient steps of their own, between those of the multipliers: at the root, and at every node from
//! its parent's on.

use super::{Node, Search, bounds::Bounded};
use crate::mapping::fit::solve::knapsack::{BUDGETS, PerBudget};

/// Steps of the multipliers for each of the prices.
const STEPS_PER_PRICE: usize = 5;

impl Search<'_> {
    /// The node's bound at the best prices that are met in so many steps of the multipliers, which stay in force; none if a
    /// category has nobody left.
    pub(super) fn repriced(&mut self, node: &Node, steps: usize) -> Option<Bounded> {
        self.set_prices(node.prices);
        if self.pairs.shares.is_empty() {
            return self.bounded(node, steps);
        }
        let mut node = node.clone();
        let (mut best, mut scale) = (self.bounded(&node, STEPS_PER_PRICE)?, 1.0);
        let mut best_prices = node.prices;
        let mut now = best.clone();
        for _ in 1..steps / STEPS_PER_PRICE {
            if best.bound <= self.floor() {
                break;
            }
            let Some(prices) = self.moved((&node, &now), scale) else {
                break;
            };
            self.set_prices(prices);
            node.multipliers = now.multipliers;
            now = self.bounded(&node, STEPS_PER_PRICE)?;
            if now.bound < best.bound {
                (best, best_prices) = (now.clone(), prices);
            } else {
                scale /= 2.0;
            }
        }
        self.set_prices(best_prices);
        Some(best)
    }

    /// A step of the prices: up for a budget that the bound's choices overrun, down for one that they leave something of; none
    /// where they meet all.
    fn moved(&self, (node, now): (&Node, &Bounded), scale: f64) -> Option<PerBudget> {
        let taken = self.taken(node, now);
        let budgets = self.pairs.shares.len();
        let over: PerBudget = std::array::from_fn(|at| {
            let over = taken[at] - 1.0;
            let is_free = over < 0.0 && self.prices[at] == 0.0;
            if at < budgets && !is_free { over } else { 0.0 }
        });
        let norm: f64 = over.iter().map(|over| over * over).sum();
        let aim = self.best.as_ref().map_or(now.bound, |best| best.gain);
        let step = scale * (now.bound - aim) / norm;
        (norm > 0.0 && step > 0.0)
            .then(|| std::array::from_fn(|at| (self.prices[at] + step * over[at]).max(0.0)))
    }

    /// What a bound's choices take of the budgets: free experts by their shares, and open ones where nobody else answers.
    fn taken(&self, node: &Node, now: &Bounded) -> PerBudget {
        let mut taken = [0.0; BUDGETS];
        let mut add = |expert: usize, category: usize, share: f64| {
            for (taken, shares) in taken.iter_mut().zip(&self.pairs.shares) {
                *taken += share * shares[[expert, category]];
            }
        };
        let mut missing = vec![1.0; now.multipliers.len()];
        for (expert, share) in node.free.iter().zip(&now.shares) {
            if *share == 0.0 {
                continue;
            }
            let pairs = self.priced[*expert].iter().zip(&now.multipliers);
            for (category, _) in pairs.enumerate().filter(|(_, (gain, least))| gain > least) {
                missing[category] -= share;
                add(*expert, category, *share);
            }
        }
        for (category, missing) in missing.into_iter().enumerate().filter(|of| of.1 > 0.0) {
            let gain = |e: usize| self.priced[e][category];
            let open = node.open.iter().copied();
            let best = open.reduce(|a, b| if gain(b) > gain(a) { b } else { a });
            let answers = best.filter(|best| now.multipliers[category] <= gain(*best));
            if let Some(expert) = answers {
                add(expert, category, missing);
            }
        }
        taken
    }
}
