//! Which experts are used, where their number or their resident parameters are limited: branch and bound over them.
//!
//! An expert is open, closed or not decided. The bound of a node relaxes that every category is answered once, with a
//! multiplier for each category that subgradient steps improve, and prices the budgets as the whole problem does: the
//! scheme of Beasley, "Lagrangean heuristics for location problems", 1993. What is then left of the choice of experts is a
//! knapsack, relaxed to fractions.

mod bounds;
mod greedy;
mod prices;
mod room;

use std::collections::HashSet;

use self::{bounds::Bounded, room::Room};
use super::{
    Assignment, Effort, Pairs, Problem, Work,
    knapsack::{self, Packed, PerBudget},
};

/// Nodes that are looked at for an optimum: about a second on a hundred experts and a thousand categories.
const NODES_MAX: usize = 2_000;

/// Nodes that are looked at for an answer near it.
const NEAR_NODES_MAX: usize = 50;

/// Steps of the multipliers at the root, for an optimum and for an answer near it; and at every other node, which begins
/// with its parent's.
const ROOT_STEPS: usize = 300;
const NEAR_ROOT_STEPS: usize = 60;
const NODE_STEPS: usize = 20;

/// The best assignment within all limits, none worse than `known`, which keeps to them; none if none is found.
pub(super) fn solve(
    problem: &Problem,
    pairs: &Pairs,
    work: Work,
    known: Option<&[usize]>,
) -> Option<Assignment> {
    let every: Vec<usize> = (0..problem.params_b.len()).collect();
    let prices = knapsack::prices(pairs, &every, work.effort)?;
    let mut search = Search::new(problem, pairs, prices, work);
    search.best = known.map(|expert_of| {
        let gain = pairs.gain(expert_of);
        Packed {
            expert_of: expert_of.to_vec(),
            gain,
            bound: gain,
        }
    });
    search.run();
    let bound = search.bound;
    search.best.map(|best| Assignment {
        gap: (bound.max(best.bound) - best.gain).max(0.0),
        expert_of: best.expert_of,
    })
}

struct Search<'p> {
    problem: &'p Problem,
    pairs: &'p Pairs,
    work: Work,
    gap_max: f64,
    /// By budget, what the whole of it is worth.
    prices: PerBudget,
    /// Gains less the price of what they take, by expert and category.
    priced: Vec<Vec<f64>>,
    best: Option<Packed>,
    tried: HashSet<Vec<usize>>,
    /// The highest bound of the nodes that were not looked at.
    bound: f64,
}

/// Some experts are decided on.
#[derive(Clone)]
struct Node {
    /// Of the budgets, as its parent's bound had them.
    prices: PerBudget,
    open: Vec<usize>,
    free: Vec<usize>,
    multipliers: Vec<f64>,
    bound: f64,
}

impl<'p> Search<'p> {
    fn new(problem: &'p Problem, pairs: &'p Pairs, prices: PerBudget, work: Work) -> Self {
        Self {
            prices,
            priced: priced(pairs, &prices),
            problem,
            pairs,
            gap_max: work.gap_max(),
            work,
            best: None,
            tried: HashSet::new(),
            bound: f64::NEG_INFINITY,
        }
    }

    /// Depth first, the more promising child first.
    fn run(&mut self) {
        let every: Vec<usize> = (0..self.priced.len())
            .filter(|e| self.room(&[]).holds(self.problem, *e))
            .collect();
        self.greedy(&every);
        let root = Node {
            prices: self.prices,
            multipliers: (0..self.problem.weights.len())
                .map(|c| self.highest(&every, c))
                .collect(),
            open: Vec::new(),
            free: every,
            bound: f64::INFINITY,
        };
        let (nodes_max, root_steps) = match self.work.effort {
            Effort::Exact => (NODES_MAX, ROOT_STEPS),
            Effort::Near => (NEAR_NODES_MAX, NEAR_ROOT_STEPS),
        };
        let mut stack = vec![root];
        for nodes in 0.. {
            let Some(node) = stack.pop() else { break };
            if nodes == nodes_max {
                let left = stack.iter().map(|node| node.bound);
                self.bound = left.fold(node.bound, f64::max);
                break;
            }
            stack.extend(self.branch(node, if nodes == 0 { root_steps } else { NODE_STEPS }));
        }
    }

    fn set_prices(&mut self, prices: PerBudget) {
        if prices != self.prices {
            self.prices = prices;
            self.priced = priced(self.pairs, &prices);
        }
    }

    /// What the budgets are worth at their prices.
    fn budgets_worth(&self) -> f64 {
        self.prices.iter().sum()
    }

    /// Bounds a node, tries what the bound proposes, and parts it; the child to look at first comes last.
    fn branch(&mut self, mut node: Node, steps: usize) -> Vec<Node> {
        if node.bound <= self.floor() {
            return Vec::new();
        }
        let room = self.room(&node.open);
        node.free.retain(|e| room.holds(self.problem, *e));
        let Some(bounded) = self.repriced(&node, steps) else {
            return Vec::new();
        };
        self.try_experts(&self.proposed(&node, &bounded));
        if bounded.bound <= self.floor() || node.free.is_empty() {
            return Vec::new();
        }
        let pick = self.branching(&node, &bounded);
        let expert = node.free.swap_remove(pick);
        node.free.sort_unstable();
        node.bound = node.bound.min(bounded.bound);
        node.prices = self.prices;
        node.multipliers = bounded.multipliers;
        let mut opened = node.clone();
        opened.open.push(expert);
        vec![node, opened]
    }

    /// The open experts, with those that the bound takes whole as long as there is room.
    fn proposed(&self, node: &Node, bounded: &Bounded) -> Vec<usize> {
        let mut proposed = node.open.clone();
        for (expert, share) in node.free.iter().zip(&bounded.shares) {
            if *share >= 1.0 && self.room(&proposed).holds(self.problem, *expert) {
                proposed.push(*expert);
            }
        }
        proposed
    }

    /// What must be beaten.
    fn floor(&self) -> f64 {
        self.best
            .as_ref()
            .map_or(f64::NEG_INFINITY, |best| best.gain + self.gap_max)
    }

    fn room(&self, open: &[usize]) -> Room {
        let limits = &self.problem.limits;
        let taken: f64 = open.iter().map(|e| self.problem.params_b[*e]).sum();
        Room {
            resident_b: limits
                .resident_b
                .map_or(f64::INFINITY, |most| most * (1.0 + 1e-12) - taken),
            experts: limits
                .experts
                .map_or(usize::MAX, |most| most.saturating_sub(open.len())),
        }
    }

    /// Whom to decide on next: whoever the bound takes in part, else the one that is worth most.
    fn branching(&self, node: &Node, bounded: &Bounded) -> usize {
        let worth = |at: usize| self.worth(node.free[at], &bounded.multipliers);
        let partial = |at: usize| bounded.shares[at] > 0.0 && bounded.shares[at] < 1.0;
        let key = |at: usize| (partial(at), bounded.shares[at] > 0.0, worth(at));
        (0..node.free.len())
            .max_by(|a, b| {
                let (a, b) = (key(*a), key(*b));
                (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2))
            })
            .unwrap_or_default()
    }

    /// The most that one of these experts gives in a category, at the prices.
    fn highest(&self, experts: &[usize], category: usize) -> f64 {
        let gains = experts.iter().map(|e| self.priced[*e][category]);
        gains.fold(f64::NEG_INFINITY, f64::max)
    }

    /// What these experts give at the prices, each category answered by the best of them.
    fn priced_worth(&self, experts: &[usize]) -> f64 {
        let categories = 0..self.problem.weights.len();
        categories.map(|c| self.highest(experts, c)).sum()
    }

    /// The best assignment to exactly these experts, if it is the best so far.
    fn try_experts(&mut self, experts: &[usize]) {
        if self.priced_worth(experts) + self.budgets_worth() <= self.floor() {
            return;
        }
        let mut experts = experts.to_vec();
        experts.sort_unstable();
        if !self.tried.insert(experts.clone()) {
            return;
        }
        let floor = self.floor();
        if let Some(packed) = knapsack::solve(self.pairs, &experts, floor, &mut self.work)
            && self
                .best
                .as_ref()
                .is_none_or(|best| packed.gain > best.gain)
        {
            self.best = Some(packed);
        }
    }
}

/// Gains less the price of what they take, by expert and category.
fn priced(pairs: &Pairs, prices: &PerBudget) -> Vec<Vec<f64>> {
    let of_expert = |(e, gains): (usize, ndarray::ArrayView1<'_, f64>)| {
        let worth = |(c, gain): (usize, &f64)| {
            if gain.is_infinite() {
                return *gain;
            }
            let budgets = pairs.shares.iter().zip(prices);
            let paid = budgets.map(|(shares, price)| price * shares[[e, c]]);
            gain - paid.sum::<f64>()
        };
        gains.iter().enumerate().map(worth).collect()
    };
    pairs.gain.outer_iter().enumerate().map(of_expert).collect()
}
