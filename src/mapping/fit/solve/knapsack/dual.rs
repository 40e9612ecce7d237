//! The prices of the budgets, the bound that they give, and a first assignment near it.

use super::{
    BUDGETS, Knapsack, PerBudget, Picked, fits, minus,
    planes::{self, Plane},
    plus,
};

/// Cutting planes after which the prices are taken as they are; two budgets need some dozen.
const PLANES_MAX: usize = 200;

/// What is known of the optimum.
pub(super) struct Dual {
    pub(super) prices: PerBudget,
    /// No assignment is worth more, by the prices.
    pub(super) bound: f64,
    /// The same, by all that is known.
    pub(super) proven: f64,
    pub(super) best: Option<Picked>,
}

impl Dual {
    /// What must be beaten: the best, and whatever else is known.
    pub(super) fn floor(&self, known: f64) -> f64 {
        self.best
            .as_ref()
            .map_or(known, |best| best.gain.max(known))
    }

    /// What an optimum could be better by.
    pub(super) fn gap(&self, known: f64) -> f64 {
        let floor = self.floor(known);
        if floor == self.proven {
            0.0
        } else {
            self.proven - floor
        }
    }

    /// Takes an assignment that fits and is better than what is there.
    pub(super) fn offer(&mut self, found: Picked) {
        if fits(&found.taken) && self.best.as_ref().is_none_or(|best| found.gain > best.gain) {
            self.best = Some(found);
        }
    }
}

impl Knapsack {
    /// Prices at which the bound is least, with the best assignment that was met on the way. `free`: the best choices
    /// without prices.
    pub(super) fn dual(&self, free: Picked, gap_max: f64) -> Dual {
        let mut planes = vec![Plane::of(&free)];
        let mut dual = Dual {
            prices: [0.0; BUDGETS],
            bound: free.gain,
            proven: free.gain,
            best: None,
        };
        for _ in 0..PLANES_MAX {
            let Some((prices, lowest)) = planes::lowest(&planes, self.budgets) else {
                break;
            };
            let met = self.at(&prices);
            let plane = Plane::of(&met);
            let bound = plane.at(&prices);
            planes.push(plane);
            if bound < dual.bound {
                (dual.bound, dual.proven, dual.prices) = (bound, bound, prices);
            }
            dual.offer(met);
            if bound - lowest <= gap_max / 10.0 || dual.gap(f64::NEG_INFINITY) <= gap_max {
                break;
            }
        }
        if dual.gap(f64::NEG_INFINITY) > gap_max {
            let repaired = self.repaired(self.at(&dual.prices), &dual.prices);
            let filled = [Some(repaired), dual.best.clone()]
                .into_iter()
                .flatten()
                .map(|picked| self.filled(picked));
            filled.for_each(|filled| dual.offer(filled));
        }
        dual
    }

    /// Moves categories to experts that take less, those that lose least for what they spare first, until all fits or
    /// nothing is left to move.
    fn repaired(&self, mut now: Picked, prices: &PerBudget) -> Picked {
        let over = |taken: &PerBudget| {
            taken
                .iter()
                .map(|taken| (taken - 1.0).max(0.0))
                .sum::<f64>()
        };
        let is_over = now.taken.map(|taken| taken > 1.0);
        let mut moves: Vec<(f64, usize, usize)> = Vec::new();
        for (category, (choices, &pick)) in self.choices.iter().zip(&now.picks).enumerate() {
            for (at, choice) in choices.iter().enumerate() {
                let spared = minus(&choices[pick].share, &choice.share);
                let spared: f64 = spared
                    .iter()
                    .zip(&is_over)
                    .filter(|(_, is_over)| **is_over)
                    .map(|(spared, _)| spared)
                    .sum();
                if spared > 0.0 {
                    let loss = choices[pick].worth(prices) - choice.worth(prices);
                    moves.push((loss / spared, category, at));
                }
            }
        }
        moves.sort_by(|a, b| a.0.total_cmp(&b.0).then((a.1, a.2).cmp(&(b.1, b.2))));
        let mut is_moved = vec![false; now.picks.len()];
        for (_, category, at) in moves {
            if over(&now.taken) == 0.0 {
                break;
            }
            let after = self.after(&now, category, at);
            if !is_moved[category] && over(&after) < over(&now.taken) {
                is_moved[category] = true;
                (now.picks[category], now.taken) = (at, after);
            }
        }
        self.picked(now.picks)
    }

    /// Improves an assignment by whatever still fits.
    fn filled(&self, mut now: Picked) -> Picked {
        for category in 0..self.choices.len() {
            // Choices stand best first: the first that fits is the best that does.
            let better = 0..now.picks[category];
            if let Some(at) = better
                .into_iter()
                .find(|at| fits(&self.after(&now, category, *at)))
            {
                now.taken = self.after(&now, category, at);
                now.picks[category] = at;
            }
        }
        self.picked(now.picks)
    }

    /// Shares of the budgets after a category got another choice.
    fn after(&self, now: &Picked, category: usize, to: usize) -> PerBudget {
        let choices = &self.choices[category];
        plus(
            &minus(&now.taken, &choices[now.picks[category]].share),
            &choices[to].share,
        )
    }
}
