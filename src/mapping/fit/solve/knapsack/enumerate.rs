//! Going through what a bound leaves open: on problems of everyday size that is a handful of assignments.

use super::{Dual, Knapsack, SLACK};

/// Partial assignments that are gone through; what is not settled by then is left to the integer program.
const NODES_MAX: usize = 50_000;

/// A category that could go to another expert than its best at the prices.
struct Open {
    category: usize,
    /// The best first, then by what is lost.
    moves: Vec<Move>,
    /// By budget: the least and the most that this category and those after it can change of what is taken.
    least: Vec<f64>,
    most: Vec<f64>,
}

/// An expert for a category.
struct Move {
    expert: usize,
    /// What is lost at the prices.
    loss: f64,
    /// By budget: what changes of what is taken.
    change: Vec<f64>,
}

/// Depth first over the open categories.
struct Walk<'w, 'p> {
    knapsack: &'w Knapsack<'p>,
    dual: &'w mut Dual,
    open: Vec<Open>,
    expert_of: Vec<usize>,
    gap_max: f64,
    nodes: usize,
}

impl Knapsack<'_> {
    /// Goes through the assignments that could be better than the best by more than `gap_max`, and than `floor`.
    pub(super) fn enumerate(&self, dual: &mut Dual, floor: f64, gap_max: f64) {
        let Some(base) = self.cheapest_at(&dual.prices) else {
            return;
        };
        let taken = self.taken(&base.expert_of);
        let loss_max = dual.bound - dual.floor(floor);
        let open = self.open(&base.expert_of, &dual.prices, loss_max);
        let mut walk = Walk {
            knapsack: self,
            open,
            expert_of: base.expert_of,
            gap_max,
            nodes: 0,
            dual,
        };
        walk.visit(0, 0.0, &taken, floor);
        let (is_complete, best) = (walk.nodes < NODES_MAX, dual.floor(floor));
        if is_complete {
            dual.proven = dual.proven.min(best + gap_max);
        }
    }

    /// The categories with more than one expert that loses less than this, those that lose most to any other first.
    fn open(&self, base: &[usize], prices: &[f64], loss_max: f64) -> Vec<Open> {
        let mut open: Vec<Open> = Vec::new();
        for (category, &best) in base.iter().enumerate() {
            let worth = self.reduced(best, category, prices);
            let change = |e: usize| {
                self.pairs
                    .budgets
                    .iter()
                    .map(|b| b.share(e, category) - b.share(best, category))
                    .collect()
            };
            let moves = self.experts.iter().map(|&e| Move {
                expert: e,
                loss: worth - self.reduced(e, category, prices),
                change: change(e),
            });
            let mut moves: Vec<Move> = moves.filter(|to| to.loss < loss_max).collect();
            if moves.len() > 1 {
                moves.sort_by(|a, b| {
                    a.loss
                        .total_cmp(&b.loss)
                        .then((a.expert != best).cmp(&(b.expert != best)))
                });
                open.push(Open {
                    category,
                    moves,
                    least: Vec::new(),
                    most: Vec::new(),
                });
            }
        }
        open.sort_by(|a, b| b.moves[1].loss.total_cmp(&a.moves[1].loss));
        let (mut least, mut most) = (vec![0.0; prices.len()], vec![0.0; prices.len()]);
        for open in open.iter_mut().rev() {
            for budget in 0..prices.len() {
                let changes = || open.moves.iter().map(|to| to.change[budget]);
                least[budget] += changes().fold(f64::INFINITY, f64::min);
                most[budget] += changes().fold(f64::NEG_INFINITY, f64::max);
            }
            (open.least, open.most) = (least.clone(), most.clone());
        }
        open
    }
}

impl Walk<'_, '_> {
    /// `loss`, `taken`: what the categories before this depth make of the best assignment at the prices.
    fn visit(&mut self, depth: usize, loss: f64, taken: &[f64], floor: f64) {
        self.nodes += 1;
        if self.nodes >= NODES_MAX {
            return;
        }
        if depth == self.open.len() {
            if taken.iter().all(|taken| *taken <= 1.0 + SLACK) {
                self.dual
                    .offer(Some(self.knapsack.packed(self.expert_of.clone())));
            }
            return;
        }
        let category = self.open[depth].category;
        for at in 0..self.open[depth].moves.len() {
            let to = &self.open[depth].moves[at];
            let loss = loss + to.loss;
            if self.dual.bound - loss <= self.dual.floor(floor) + self.gap_max {
                break;
            }
            let after: Vec<f64> = taken
                .iter()
                .zip(&to.change)
                .map(|(taken, change)| taken + change)
                .collect();
            if self.can_pay(depth + 1, loss, &after, floor) {
                self.expert_of[category] = to.expert;
                self.visit(depth + 1, loss, &after, floor);
            }
        }
        self.expert_of[category] = self.open[depth].moves[0].expert;
    }

    /// Whether the categories from this depth on can make it fit, and leave so little of the budgets that it is better than
    /// the best: what is left over was paid for at the prices.
    fn can_pay(&self, depth: usize, loss: f64, taken: &[f64], floor: f64) -> bool {
        let rest = self.open.get(depth);
        let mut wasted = 0.0;
        for (budget, (taken, price)) in taken.iter().zip(&self.dual.prices).enumerate() {
            let (least, most) =
                rest.map_or((0.0, 0.0), |rest| (rest.least[budget], rest.most[budget]));
            if taken + least > 1.0 + SLACK {
                return false;
            }
            wasted += price * (1.0 - taken - most).max(0.0);
        }
        self.dual.bound - loss - wasted > self.dual.floor(floor) + self.gap_max
    }
}
