//! Categories to experts under budgets that add up over categories: the multiple-choice knapsack problem.
//!
//! Budgets get prices (Lagrange multipliers), which cutting planes drive to their optimum (Kelley, "The cutting-plane method for
//! solving convex programs", 1960). The bound that they give rules out almost every pair, by what a pair loses at those
//! prices (Geoffrion, "Lagrangean relaxation for integer programming", 1974); a solver of integer programs decides among
//! the few that are left.

mod core;
mod enumerate;
mod planes;

use ndarray::Array2;

use self::{core::CORE_PAIRS, planes::least_bound};
use super::{Assignment, Effort, Pairs};

/// Cutting planes after which the prices are taken as they are; each is exact for two budgets after some dozen.
const PLANES_MAX: usize = 200;

/// By how much of itself a budget may be overrun: sums of many terms end beside a limit that they meet exactly.
const SLACK: f64 = 1e-9;

/// What stands for a limit of nothing.
const LIMIT_MIN: f64 = 1e-12;

/// What a sum over categories may be.
#[derive(Debug)]
pub(super) struct Budget {
    /// Share of the budget that a pair takes.
    share: Array2<f64>,
}

/// An assignment with what it is worth.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    pub(super) expert_of: Vec<usize>,
    pub(super) gain: f64,
    /// No assignment is worth more.
    pub(super) bound: f64,
}

impl Budget {
    pub(super) fn new(cost: Array2<f64>, limit: f64) -> Self {
        // A limit of nothing is kept by what costs nothing.
        Self {
            share: cost / limit.max(LIMIT_MIN),
        }
    }

    /// Share of the budget that a pair takes.
    pub(super) fn share(&self, expert: usize, category: usize) -> f64 {
        self.share[[expert, category]]
    }
}

impl Packed {
    pub(super) fn assignment(self) -> Assignment {
        Assignment {
            gap: (self.bound - self.gain).max(0.0),
            expert_of: self.expert_of,
        }
    }
}

/// The best assignment of categories to some of the experts, as near to it as asked; none if none keeps to the budgets and is worth
/// more than `floor`.
pub(super) fn solve(
    pairs: &Pairs,
    experts: &[usize],
    floor: f64,
    effort: Effort,
) -> Option<Packed> {
    let gap_max = effort.gap_max();
    let knapsack = Knapsack { pairs, experts };
    let prices = vec![0.0; pairs.budgets.len()];
    let free = knapsack.cheapest_at(&prices)?;
    if knapsack.fits(&free.expert_of) {
        return Some(Packed {
            bound: free.gain,
            ..free
        });
    }
    let mut dual = knapsack.dual(free, gap_max);
    if dual.bound <= floor {
        return None;
    }
    if dual.gap() > gap_max {
        knapsack.enumerate(&mut dual, floor, gap_max);
    }
    let is_asked = effort == Effort::Exact || dual.floor(floor).is_infinite();
    if is_asked && dual.proven - dual.floor(floor) > gap_max {
        // A few pairs are mostly enough to come so near the bound that it leaves no others open.
        let losses = knapsack.losses(&dual.prices);
        let core = losses.get(CORE_PAIRS).copied().unwrap_or(f64::INFINITY);
        dual = knapsack.decide(dual, core, gap_max);
        if dual.gap() > gap_max {
            let open = dual.gap();
            dual = knapsack.decide(dual, open, gap_max);
        }
    }
    dual.best.map(|best| Packed {
        bound: dual.proven.max(best.gain),
        ..best
    })
}

/// The highest worth of any assignment, budgets let be, at these prices of the budgets.
pub(super) fn prices(pairs: &Pairs, experts: &[usize], effort: Effort) -> Option<Vec<f64>> {
    let knapsack = Knapsack { pairs, experts };
    let free = knapsack.cheapest_at(&vec![0.0; pairs.budgets.len()])?;
    if knapsack.fits(&free.expert_of) {
        return Some(vec![0.0; pairs.budgets.len()]);
    }
    Some(knapsack.dual(free, effort.gap_max()).prices)
}

struct Knapsack<'p> {
    pairs: &'p Pairs,
    experts: &'p [usize],
}

/// Where the cutting planes ended.
struct Dual {
    prices: Vec<f64>,
    /// No assignment is worth more, by the prices.
    bound: f64,
    /// The same, by all that is known.
    proven: f64,
    best: Option<Packed>,
}

impl Dual {
    fn gap(&self) -> f64 {
        self.best
            .as_ref()
            .map_or(f64::INFINITY, |best| self.proven - best.gain)
    }

    /// What must be beaten: the best, and whatever else is known.
    fn floor(&self, known: f64) -> f64 {
        self.best
            .as_ref()
            .map_or(known, |best| best.gain.max(known))
    }

    /// Takes an assignment that is better than what is there.
    fn offer(&mut self, found: Option<Packed>) {
        if let Some(found) = found
            && self.best.as_ref().is_none_or(|best| found.gain > best.gain)
        {
            self.best = Some(found);
        }
    }
}

impl Knapsack<'_> {
    fn categories(&self) -> usize {
        self.pairs.gain.ncols()
    }

    /// What a pair is worth when budgets have these prices.
    fn reduced(&self, expert: usize, category: usize, prices: &[f64]) -> f64 {
        let budgets = self.pairs.budgets.iter().zip(prices);
        let paid: f64 = budgets
            .map(|(b, price)| price * b.share[[expert, category]])
            .sum();
        self.pairs.gain[[expert, category]] - paid
    }

    /// The best expert of each category at these prices; none where a category has no expert.
    fn cheapest_at(&self, prices: &[f64]) -> Option<Packed> {
        let choose = |category| {
            let worth = self
                .experts
                .iter()
                .map(|&e| (e, self.reduced(e, category, prices)));
            let best = worth
                .filter(|(_, worth)| worth.is_finite())
                .reduce(|a, b| if b.1 > a.1 { b } else { a });
            best.map(|(expert, _)| expert)
        };
        let expert_of: Vec<usize> = (0..self.categories()).map(choose).collect::<Option<_>>()?;
        Some(self.packed(expert_of))
    }

    fn packed(&self, expert_of: Vec<usize>) -> Packed {
        let gains = expert_of
            .iter()
            .enumerate()
            .map(|(c, e)| self.pairs.gain[[*e, c]]);
        Packed {
            gain: gains.sum(),
            bound: f64::INFINITY,
            expert_of,
        }
    }

    /// Shares of the budgets that are taken.
    fn taken(&self, expert_of: &[usize]) -> Vec<f64> {
        let budgets = self.pairs.budgets.iter();
        let taken = |budget: &Budget| {
            expert_of
                .iter()
                .enumerate()
                .map(|(c, e)| budget.share[[*e, c]])
                .sum()
        };
        budgets.map(taken).collect()
    }

    fn fits(&self, expert_of: &[usize]) -> bool {
        self.taken(expert_of)
            .iter()
            .all(|taken| *taken <= 1.0 + SLACK)
    }

    /// Prices at which the bound is least, with the best assignment that was met on the way.
    fn dual(&self, free: Packed, gap_max: f64) -> Dual {
        let mut planes = vec![(free.gain, self.taken(&free.expert_of))];
        let mut dual = Dual {
            prices: vec![0.0; self.pairs.budgets.len()],
            bound: free.gain,
            proven: free.gain,
            best: None,
        };
        for _ in 0..PLANES_MAX {
            let Some((prices, lowest)) = least_bound(&planes) else {
                break;
            };
            let Some(met) = self.cheapest_at(&prices) else {
                break;
            };
            let taken = self.taken(&met.expert_of);
            let slack: f64 = prices
                .iter()
                .zip(&taken)
                .map(|(price, taken)| price * (1.0 - taken))
                .sum();
            let bound = met.gain + slack;
            planes.push((met.gain, taken.clone()));
            if bound < dual.bound {
                (dual.bound, dual.proven, dual.prices) = (bound, bound, prices);
            }
            dual.offer(self.filled(met.expert_of));
            if bound - lowest <= gap_max / 10.0 || dual.gap() <= gap_max {
                break;
            }
        }
        if dual.gap() > gap_max
            && let Some(met) = self.cheapest_at(&dual.prices)
        {
            dual.offer(self.filled(self.repaired(met.expert_of, &dual.prices)));
        }
        dual
    }

    /// Moves categories to experts that take less, those that lose least for what they spare first, until all fits or
    /// nothing is left to move.
    fn repaired(&self, mut expert_of: Vec<usize>, prices: &[f64]) -> Vec<usize> {
        let mut taken = self.taken(&expert_of);
        let over = |taken: &[f64]| {
            taken
                .iter()
                .map(|taken| (taken - 1.0).max(0.0))
                .sum::<f64>()
        };
        if over(&taken) == 0.0 {
            return expert_of;
        }
        let overrun: Vec<bool> = taken.iter().map(|taken| *taken > 1.0).collect();
        let mut moves: Vec<(f64, usize, usize)> = Vec::new();
        for (category, &now) in expert_of.iter().enumerate() {
            let worth = self.reduced(now, category, prices);
            for &e in self.experts.iter().filter(|e| **e != now) {
                let budgets = self
                    .pairs
                    .budgets
                    .iter()
                    .zip(&overrun)
                    .filter(|(_, over)| **over);
                let spared: f64 = budgets
                    .map(|(b, _)| b.share(now, category) - b.share(e, category))
                    .sum();
                let loss = worth - self.reduced(e, category, prices);
                if spared > 0.0 && loss.is_finite() {
                    moves.push((loss / spared, category, e));
                }
            }
        }
        moves.sort_by(|a, b| a.0.total_cmp(&b.0).then((a.1, a.2).cmp(&(b.1, b.2))));
        let mut is_moved = vec![false; expert_of.len()];
        for (_, category, e) in moves {
            let after = self.after(&taken, category, expert_of[category], e);
            if !is_moved[category] && over(&after) < over(&taken) {
                is_moved[category] = true;
                (expert_of[category], taken) = (e, after);
            }
        }
        expert_of
    }

    /// Shares of the budgets after a category went from one expert to another.
    fn after(&self, taken: &[f64], category: usize, from: usize, to: usize) -> Vec<f64> {
        let budgets = self.pairs.budgets.iter().zip(taken);
        budgets
            .map(|(b, taken)| taken - b.share(from, category) + b.share(to, category))
            .collect()
    }

    /// An assignment that fits, improved by whatever still fits; none if it does not.
    fn filled(&self, mut expert_of: Vec<usize>) -> Option<Packed> {
        if !self.fits(&expert_of) {
            return None;
        }
        let mut taken = self.taken(&expert_of);
        for (category, expert) in expert_of.iter_mut().enumerate() {
            let now = *expert;
            let gain = |e: usize| self.pairs.gain[[e, category]];
            let better = self
                .experts
                .iter()
                .copied()
                .filter(|&e| gain(e) > gain(now));
            let fitting = better.filter(|&e| {
                let after = self.after(&taken, category, now, e);
                after.iter().all(|taken| *taken <= 1.0)
            });
            if let Some(best) = fitting.reduce(|a, b| if gain(b) > gain(a) { b } else { a }) {
                taken = self.after(&taken, category, now, best);
                *expert = best;
            }
        }
        Some(self.packed(expert_of))
    }
}
