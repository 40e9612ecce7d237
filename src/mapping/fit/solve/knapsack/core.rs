//! The choices that a bound leaves open, decided by an integer program.

use microlp::{ComparisonOp, OptimizationDirection, Problem, Solution, SolveOptions, Variable};

use super::{Knapsack, PerBudget, SLACK, dual::Dual};
use crate::mapping::fit::solve::Work;

/// Choices that are decided on first, apart from the best of every category (the "core" of Balas and Zemel, "An algorithm
/// for large zero-one knapsack problems", 1980).
pub(super) const CORE_CHOICES: usize = 60;

/// Nodes that the integer program may take at least, so that it finds something to fit where nothing is known that does.
const NODES_MIN: u64 = 100;

/// By category the choices that are left; with a variable for each where there are several.
struct Core {
    program: Problem,
    open: Vec<Vec<(usize, Option<Variable>)>>,
    /// What categories with one choice gain.
    settled: f64,
}

impl Knapsack {
    /// What choices lose at these prices against the best of their category, the least first; those best ones aside.
    pub(super) fn losses(&self, prices: &PerBudget) -> Vec<f64> {
        let mut losses = Vec::new();
        for choices in &self.choices {
            let mut worth: Vec<f64> = choices.iter().map(|choice| choice.worth(prices)).collect();
            worth.sort_by(|a, b| b.total_cmp(a));
            losses.extend(worth.iter().skip(1).map(|other| worth[0] - other));
        }
        losses.sort_by(f64::total_cmp);
        losses
    }

    /// Decides among the choices that lose no more than this, as far as there is work left for it.
    pub(super) fn decide(&self, dual: &mut Dual, loss_max: f64, work: &mut Work) {
        if work.program_nodes == 0 && dual.best.is_some() {
            return;
        }
        let core = self.core(&dual.prices, loss_max);
        let mut options = SolveOptions::default();
        options.node_limit = Some(work.program_nodes.max(NODES_MIN));
        options.mip_gap = work.gap_max();
        options.tolerances.feasibility = SLACK;
        let outcome = core.program.solve_with(options).ok();
        let stats = outcome.as_ref().map(|outcome| outcome.stats());
        let nodes = stats.map_or(NODES_MIN, |stats| stats.nodes_solved);
        work.program_nodes = work.program_nodes.saturating_sub(nodes);
        let bound = stats.and_then(|stats| stats.best_bound);
        if let Some(solution) = outcome.and_then(|outcome| outcome.into_solution().ok()) {
            dual.offer(self.picked(core.picks(&solution)));
        }
        // Whatever uses a choice that was left out loses more than that.
        let bound = bound.map_or(dual.bound, |bound| bound + core.settled);
        dual.proven = bound.max(dual.bound - loss_max).min(dual.proven);
    }

    fn core(&self, prices: &PerBudget, loss_max: f64) -> Core {
        let mut program = Problem::new(OptimizationDirection::Maximize);
        let (mut open, mut settled) = (Vec::with_capacity(self.choices.len()), 0.0);
        for choices in &self.choices {
            let worth: Vec<f64> = choices.iter().map(|choice| choice.worth(prices)).collect();
            let best = worth.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let left: Vec<usize> = (0..choices.len())
                .filter(|at| best - worth[*at] <= loss_max)
                .collect();
            if let [only] = left[..] {
                settled += choices[only].gain;
                open.push(vec![(only, None)]);
                continue;
            }
            let variables: Vec<(usize, Variable)> = left
                .iter()
                .map(|at| (*at, program.add_binary_var(choices[*at].gain)))
                .collect();
            let one: Vec<(Variable, f64)> = variables.iter().map(|(_, x)| (*x, 1.0)).collect();
            program.add_constraint(&one, ComparisonOp::Eq, 1.0);
            open.push(variables.into_iter().map(|(at, x)| (at, Some(x))).collect());
        }
        for budget in 0..self.budgets {
            let (mut terms, mut room) = (Vec::new(), 1.0);
            for (choices, open) in self.choices.iter().zip(&open) {
                for (at, variable) in open {
                    let share = choices[*at].share[budget];
                    match variable {
                        Some(x) => terms.push((*x, share)),
                        None => room -= share,
                    }
                }
            }
            program.add_constraint(&terms, ComparisonOp::Le, room);
        }
        Core {
            program,
            open,
            settled,
        }
    }
}

impl Core {
    fn picks(&self, solution: &Solution) -> Vec<usize> {
        let value = |x: &Option<Variable>| x.map_or(1.0, |x| solution.var_value(x));
        let taken = |open: &Vec<(usize, Option<Variable>)>| {
            let taken = open
                .iter()
                .max_by(|a, b| value(&a.1).total_cmp(&value(&b.1)));
            taken.map_or(0, |(at, _)| *at)
        };
        self.open.iter().map(taken).collect()
    }
}
