//! The pairs that a bound leaves open, decided by an integer program.

use microlp::{ComparisonOp, OptimizationDirection, Problem, SolveOptions, Variable};

use super::{Dual, Knapsack, SLACK};

/// Pairs that are decided on first, apart from the best of every category (the "core" of Balas and Zemel, "An algorithm for
/// large zero-one knapsack problems", 1980).
pub(super) const CORE_PAIRS: usize = 60;

/// Nodes that the integer program may take: seconds, on the rare instance whose pairs are all alike.
const NODES_MAX: u64 = 20_000;

impl Knapsack<'_> {
    /// What pairs lose at these prices against the best of their category, the least first; those best ones aside.
    pub(super) fn losses(&self, prices: &[f64]) -> Vec<f64> {
        let mut losses = Vec::new();
        for category in 0..self.categories() {
            let worth = self
                .experts
                .iter()
                .map(|&e| self.reduced(e, category, prices));
            let mut worth: Vec<f64> = worth.filter(|worth| worth.is_finite()).collect();
            worth.sort_by(|a, b| b.total_cmp(a));
            losses.extend(worth.iter().skip(1).map(|other| worth[0] - other));
        }
        losses.sort_by(f64::total_cmp);
        losses
    }

    /// Decides among the pairs that lose no more than this.
    pub(super) fn decide(&self, mut dual: Dual, loss_max: f64, gap_max: f64) -> Dual {
        let mut program = Problem::new(OptimizationDirection::Maximize);
        let mut open: Vec<Vec<(usize, Option<Variable>)>> = Vec::with_capacity(self.categories());
        for category in 0..self.categories() {
            let worth = |&e: &usize| self.reduced(e, category, &dual.prices);
            let best = self
                .experts
                .iter()
                .map(worth)
                .fold(f64::NEG_INFINITY, f64::max);
            let left = |e: &&usize| worth(e).is_finite() && best - worth(e) <= loss_max;
            let left: Vec<usize> = self.experts.iter().filter(left).copied().collect();
            let mut variable = |e: usize| {
                (left.len() > 1).then(|| program.add_binary_var(self.pairs.gain[[e, category]]))
            };
            open.push(left.iter().map(|&e| (e, variable(e))).collect());
        }
        for options in open.iter().filter(|options| options.len() > 1) {
            let terms: Vec<(Variable, f64)> = options
                .iter()
                .filter_map(|(_, x)| Some(((*x)?, 1.0)))
                .collect();
            program.add_constraint(&terms, ComparisonOp::Eq, 1.0);
        }
        for budget in &self.pairs.budgets {
            let (mut terms, mut room) = (Vec::new(), 1.0);
            for (category, options) in open.iter().enumerate() {
                for (e, variable) in options {
                    let share = budget.share(*e, category);
                    match variable {
                        Some(x) => terms.push((*x, share)),
                        None => room -= share,
                    }
                }
            }
            program.add_constraint(&terms, ComparisonOp::Le, room);
        }
        let alone = open
            .iter()
            .enumerate()
            .filter(|(_, options)| options.len() == 1);
        let settled: f64 = alone
            .map(|(c, options)| self.pairs.gain[[options[0].0, c]])
            .sum();
        let mut options = SolveOptions::default();
        options.node_limit = Some(NODES_MAX);
        options.mip_gap = gap_max;
        options.tolerances.feasibility = SLACK;
        let outcome = program.solve_with(options).ok();
        let bound = outcome
            .as_ref()
            .and_then(|outcome| outcome.stats().best_bound)
            .map_or(dual.bound, |bound| bound + settled);
        let found = outcome
            .and_then(|outcome| outcome.into_solution().ok())
            .map(|solution| {
                let value = |x: &Option<Variable>| x.map_or(1.0, |x| solution.var_value(x));
                let chosen = |options: &Vec<(usize, Option<Variable>)>| {
                    let taken = options
                        .iter()
                        .max_by(|a, b| value(&a.1).total_cmp(&value(&b.1)));
                    taken.map_or(0, |(e, _)| *e)
                };
                self.packed(open.iter().map(chosen).collect())
            });
        dual.offer(found.filter(|found| self.fits(&found.expert_of)));
        // Whatever uses a pair that was left out loses more than that.
        dual.proven = bound.max(dual.bound - loss_max).min(dual.proven);
        dual
    }
}
