//! The lowest point of the highest of some planes, over prices that are not negative.

use microlp::{ComparisonOp, OptimizationDirection, Problem, Variable};

use super::{BUDGETS, PerBudget, Picked};

/// Highest price of a budget, in score for the whole of it: nothing is gained above.
const PRICE_MAX: f64 = 1e6;

/// The bound that an assignment gives, over the prices of the budgets.
pub(super) struct Plane {
    gain: f64,
    /// What is left of the budgets.
    left: PerBudget,
}

impl Plane {
    pub(super) fn of(picked: &Picked) -> Self {
        Self {
            gain: picked.gain,
            left: picked.taken.map(|taken| 1.0 - taken),
        }
    }

    /// How high it is at these prices.
    pub(super) fn at(&self, prices: &PerBudget) -> f64 {
        self.gain
            + self
                .left
                .iter()
                .zip(prices)
                .map(|(left, price)| left * price)
                .sum::<f64>()
    }
}

/// The prices at which the highest of the planes is lowest, and how low that is.
pub(super) fn lowest(planes: &[Plane], budgets: usize) -> Option<(PerBudget, f64)> {
    if budgets == 1 {
        return Some(lowest_of_lines(planes));
    }
    let mut program = Problem::new(OptimizationDirection::Minimize);
    let bound = program.add_var(1.0, (f64::NEG_INFINITY, f64::INFINITY));
    let prices: [Variable; BUDGETS] =
        std::array::from_fn(|_| program.add_var(0.0, (0.0, PRICE_MAX)));
    for plane in planes {
        let paid = prices
            .iter()
            .zip(&plane.left)
            .map(|(price, left)| (*price, -left));
        let terms: Vec<(Variable, f64)> = std::iter::once((bound, 1.0)).chain(paid).collect();
        program.add_constraint(&terms, ComparisonOp::Ge, plane.gain);
    }
    let solution = program.solve().ok()?.into_solution().ok()?;
    let prices = prices.map(|price| solution.var_value(price).max(0.0));
    Some((prices, solution.objective()))
}

/// The same for one budget: the planes are lines, and the point is where a falling one crosses another, or at an end.
fn lowest_of_lines(lines: &[Plane]) -> (PerBudget, f64) {
    let mut prices = vec![0.0, PRICE_MAX];
    for falling in lines.iter().filter(|line| line.left[0] < 0.0) {
        for other in lines.iter().filter(|other| other.left[0] > falling.left[0]) {
            prices.push((falling.gain - other.gain) / (other.left[0] - falling.left[0]));
        }
    }
    let mut lowest = ([0.0; BUDGETS], f64::INFINITY);
    for price in prices
        .into_iter()
        .filter(|price| (0.0..=PRICE_MAX).contains(price))
    {
        let prices: PerBudget = std::array::from_fn(|at| if at == 0 { price } else { 0.0 });
        let highest = lines
            .iter()
            .map(|line| line.at(&prices))
            .fold(f64::NEG_INFINITY, f64::max);
        if highest < lowest.1 {
            lowest = (prices, highest);
        }
    }
    lowest
}
