//! Going through what a bound leaves open: on problems of everyday size that is a handful of assignments.

use super::{BUDGETS, Knapsack, PerBudget, SLACK, dual::Dual, fits, minus, plus};

/// Partial assignments that are gone through; what is not settled by then is left to the integer program.
const NODES_MAX: usize = 20_000;

/// A category that could have another choice than its best at the prices.
struct Open {
    category: usize,
    /// The best first, then by what is lost.
    moves: Vec<Move>,
    /// The least and the most that this category and those after it can change of what is taken.
    least: PerBudget,
    most: PerBudget,
}

/// A choice for a category.
struct Move {
    to: usize,
    /// What is lost at the prices.
    loss: f64,
    /// What changes of what is taken.
    change: PerBudget,
}

/// Depth first over the open categories.
struct Walk<'w> {
    knapsack: &'w Knapsack,
    dual: &'w mut Dual,
    open: Vec<Open>,
    picks: Vec<usize>,
    /// What must be beaten beside the best, and by how much.
    floor: f64,
    gap_max: f64,
    nodes: usize,
}

/// What the categories before some depth make of the best choices at the prices.
#[derive(Clone, Copy)]
struct Reached {
    depth: usize,
    loss: f64,
    taken: PerBudget,
}

impl Knapsack {
    /// Goes through the assignments that could be better than the best, and than `floor`, by more than `gap_max`.
    pub(super) fn enumerate(&self, dual: &mut Dual, floor: f64, gap_max: f64) {
        let base = self.at(&dual.prices);
        let open = self.open(&base.picks, &dual.prices, dual.bound - dual.floor(floor));
        let mut walk = Walk {
            knapsack: self,
            open,
            picks: base.picks,
            floor,
            gap_max,
            nodes: 0,
            dual,
        };
        walk.visit(Reached {
            depth: 0,
            loss: 0.0,
            taken: base.taken,
        });
        if walk.nodes < NODES_MAX {
            dual.proven = dual.proven.min(dual.floor(floor) + gap_max);
        }
    }

    /// The categories with more than one choice that loses less than this, those that lose most by any other first.
    fn open(&self, base: &[usize], prices: &PerBudget, loss_max: f64) -> Vec<Open> {
        let mut open: Vec<Open> = Vec::new();
        for (category, (choices, &best)) in self.choices.iter().zip(base).enumerate() {
            let worth = choices[best].worth(prices);
            let moves = choices.iter().enumerate().map(|(to, choice)| Move {
                to,
                loss: worth - choice.worth(prices),
                change: minus(&choice.share, &choices[best].share),
            });
            let mut moves: Vec<Move> = moves
                .filter(|to| to.to == best || to.loss < loss_max)
                .collect();
            if moves.len() > 1 {
                moves.sort_by(|a, b| {
                    a.loss
                        .total_cmp(&b.loss)
                        .then((a.to != best).cmp(&(b.to != best)))
                });
                open.push(Open {
                    category,
                    moves,
                    least: [0.0; BUDGETS],
                    most: [0.0; BUDGETS],
                });
            }
        }
        open.sort_by(|a, b| b.moves[1].loss.total_cmp(&a.moves[1].loss));
        let (mut least, mut most) = ([0.0; BUDGETS], [0.0; BUDGETS]);
        for open in open.iter_mut().rev() {
            for budget in 0..BUDGETS {
                let changes = || open.moves.iter().map(|to| to.change[budget]);
                least[budget] += changes().fold(f64::INFINITY, f64::min);
                most[budget] += changes().fold(f64::NEG_INFINITY, f64::max);
            }
            (open.least, open.most) = (least, most);
        }
        open
    }
}

impl Walk<'_> {
    fn visit(&mut self, reached: Reached) {
        self.nodes += 1;
        if self.nodes >= NODES_MAX {
            return;
        }
        let Some(open) = self.open.get(reached.depth) else {
            if fits(&reached.taken) {
                self.dual.offer(self.knapsack.picked(self.picks.clone()));
            }
            return;
        };
        let (category, moves) = (open.category, open.moves.len());
        for at in 0..moves {
            let to = &self.open[reached.depth].moves[at];
            let next = Reached {
                depth: reached.depth + 1,
                loss: reached.loss + to.loss,
                taken: plus(&reached.taken, &to.change),
            };
            if self.dual.bound - next.loss <= self.beaten() {
                break;
            }
            if self.is_promising(&next) {
                self.picks[category] = to.to;
                self.visit(next);
            }
        }
        self.picks[category] = self.open[reached.depth].moves[0].to;
    }

    fn beaten(&self) -> f64 {
        self.dual.floor(self.floor) + self.gap_max
    }

    /// Whether the categories from this depth on can make it fit, and leave so little of the budgets that it is better than
    /// the best: what is left over was paid for at the prices.
    fn is_promising(&self, reached: &Reached) -> bool {
        let none = [0.0; BUDGETS];
        let (least, most) = self
            .open
            .get(reached.depth)
            .map_or((none, none), |rest| (rest.least, rest.most));
        if plus(&reached.taken, &least)
            .iter()
            .any(|taken| *taken > 1.0 + SLACK)
        {
            return false;
        }
        let left = plus(&reached.taken, &most).map(|taken| (1.0 - taken).max(0.0));
        let wasted: f64 = left
            .iter()
            .zip(&self.dual.prices)
            .map(|(left, price)| left * price)
            .sum();
        self.dual.bound - reached.loss - wasted > self.beaten()
    }
}
