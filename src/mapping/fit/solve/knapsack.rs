//! Categories to experts under budgets that add up over categories: the multiple-choice knapsack problem.
//!
//! Budgets get prices (Lagrange multipliers), which cutting planes drive to their optimum (Kelley, "The cutting-plane method for
//! solving convex programs", 1960). The bound that they give rules out almost every pair, by what a pair loses at those
//! prices (Geoffrion, "Lagrangean relaxation for integer programming", 1974). What is left is gone through where it is little
//! (`enumerate`); a solver of integer programs decides the rest (`core`).

mod choices;
mod core;
mod dual;
mod enumerate;
mod planes;

use self::{choices::Choice, core::CORE_CHOICES};
use super::{Assignment, Effort, Pairs, Work};

/// Budgets that there may be: active parameters and dollars.
pub(super) const BUDGETS: usize = 2;

/// By how much of itself a budget may be overrun: sums of many terms end beside a limit that they meet exactly.
const SLACK: f64 = 1e-9;

/// By budget: shares that are taken, or prices for the whole.
pub(super) type PerBudget = [f64; BUDGETS];

/// An assignment with what it is worth.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    pub(super) expert_of: Vec<usize>,
    pub(super) gain: f64,
    /// No assignment is worth more.
    pub(super) bound: f64,
}

impl Packed {
    pub(super) fn assignment(self) -> Assignment {
        Assignment {
            gap: (self.bound - self.gain).max(0.0),
            expert_of: self.expert_of,
        }
    }
}

/// The best assignment of categories to some of the experts, as near to it as asked; none if none keeps to the budgets and
/// is worth more than `floor`.
pub(super) fn solve(
    pairs: &Pairs,
    experts: &[usize],
    floor: f64,
    work: &mut Work,
) -> Option<Packed> {
    let gap_max = work.gap_max();
    let knapsack = Knapsack::new(pairs, experts)?;
    let free = knapsack.at(&[0.0; BUDGETS]);
    if fits(&free.taken) {
        return Some(knapsack.packed(&free.picks, free.gain));
    }
    let mut dual = knapsack.dual(free, gap_max);
    if dual.bound <= floor {
        return None;
    }
    if dual.gap(floor) > gap_max {
        knapsack.enumerate(&mut dual, floor, gap_max);
    }
    // An answer that only has to be near is decided on only if there is none yet.
    let is_asked = work.effort == Effort::Exact || dual.floor(floor).is_infinite();
    if is_asked && dual.gap(floor) > gap_max {
        // A few pairs are mostly enough to come so near the bound that it leaves no others open.
        let losses = knapsack.losses(&dual.prices);
        let core = losses.get(CORE_CHOICES).copied().unwrap_or(f64::INFINITY);
        knapsack.decide(&mut dual, core, work);
        let open = dual.gap(f64::NEG_INFINITY);
        if open > gap_max {
            knapsack.decide(&mut dual, open, work);
        }
    }
    let best = dual.best.as_ref()?;
    Some(knapsack.packed(&best.picks, dual.proven.max(best.gain)))
}

/// The prices of the budgets at which the bound on what these experts can do is least; none if a category has no expert.
pub(super) fn prices(pairs: &Pairs, experts: &[usize], effort: Effort) -> Option<PerBudget> {
    let knapsack = Knapsack::new(pairs, experts)?;
    let free = knapsack.at(&[0.0; BUDGETS]);
    if fits(&free.taken) {
        return Some([0.0; BUDGETS]);
    }
    Some(knapsack.dual(free, effort.gap_max()).prices)
}

/// By category, the experts that are worth considering.
struct Knapsack {
    choices: Vec<Vec<Choice>>,
    /// How many budgets there are.
    budgets: usize,
}

/// A choice for every category, by its place among that category's.
#[derive(Clone, Debug)]
struct Picked {
    picks: Vec<usize>,
    gain: f64,
    taken: PerBudget,
}

impl Knapsack {
    /// None if a category has no expert.
    fn new(pairs: &Pairs, experts: &[usize]) -> Option<Self> {
        let choices = choices::of(pairs, experts);
        let is_whole = choices.iter().all(|choices| !choices.is_empty());
        is_whole.then_some(Self {
            choices,
            budgets: pairs.shares.len(),
        })
    }

    /// The best choices when the budgets have these prices.
    fn at(&self, prices: &PerBudget) -> Picked {
        let best = |choices: &Vec<Choice>| {
            let worth = choices
                .iter()
                .map(|choice| choice.worth(prices))
                .enumerate();
            let best = worth.reduce(|a, b| if b.1 > a.1 { b } else { a });
            best.map_or(0, |(at, _)| at)
        };
        self.picked(self.choices.iter().map(best).collect())
    }

    fn picked(&self, picks: Vec<usize>) -> Picked {
        let (mut gain, mut taken) = (0.0, [0.0; BUDGETS]);
        for (choices, pick) in self.choices.iter().zip(&picks) {
            gain += choices[*pick].gain;
            taken = plus(&taken, &choices[*pick].share);
        }
        Picked { picks, gain, taken }
    }

    fn packed(&self, picks: &[usize], bound: f64) -> Packed {
        let chosen = || {
            self.choices
                .iter()
                .zip(picks)
                .map(|(choices, pick)| &choices[*pick])
        };
        Packed {
            expert_of: chosen().map(|choice| choice.expert).collect(),
            gain: chosen().map(|choice| choice.gain).sum(),
            bound,
        }
    }
}

fn fits(taken: &PerBudget) -> bool {
    taken.iter().all(|taken| *taken <= 1.0 + SLACK)
}

fn plus(a: &PerBudget, b: &PerBudget) -> PerBudget {
    std::array::from_fn(|at| a[at] + b[at])
}

fn minus(a: &PerBudget, b: &PerBudget) -> PerBudget {
    std::array::from_fn(|at| a[at] - b[at])
}
