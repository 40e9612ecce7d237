//! What is left of the limits on the set of experts.

use super::Problem;

/// What is left of the limits on the set of experts.
pub(super) struct Room {
    pub(super) resident_b: f64,
    pub(super) experts: usize,
}

impl Room {
    pub(super) fn holds(&self, problem: &Problem, expert: usize) -> bool {
        self.experts > 0
            && (self.resident_b.is_infinite() || problem.params_b[expert] <= self.resident_b)
    }

    /// Fills the room with the experts that are worth most, fractions allowed: an upper bound of what whole ones give, and
    /// the share of each. Each limit is relaxed in turn; the better bound is taken.
    pub(super) fn fill(
        &self,
        problem: &Problem,
        experts: &[usize],
        worth: &[f64],
    ) -> (f64, Vec<f64>) {
        let by_number = fill(worth, |_| 1.0, self.experts as f64);
        if self.resident_b.is_infinite() {
            return by_number;
        }
        let by_size = fill(worth, |at| problem.params_b[experts[at]], self.resident_b);
        if by_number.0 < by_size.0 {
            by_number
        } else {
            by_size
        }
    }
}

/// The fractional knapsack (Dantzig 1957).
fn fill(worth: &[f64], size: impl Fn(usize) -> f64, mut room: f64) -> (f64, Vec<f64>) {
    let mut order: Vec<usize> = (0..worth.len()).filter(|at| worth[*at] > 0.0).collect();
    order.sort_by(|a, b| {
        (worth[*b] * size(*a))
            .total_cmp(&(worth[*a] * size(*b)))
            .then(a.cmp(b))
    });
    let (mut value, mut shares) = (0.0, vec![0.0; worth.len()]);
    for at in order {
        let share = if size(at) <= room {
            1.0
        } else {
            room / size(at)
        };
        shares[at] = share;
        value += share * worth[at];
        room -= share * size(at);
        if share < 1.0 {
            break;
        }
    }
    (value, shares)
}
