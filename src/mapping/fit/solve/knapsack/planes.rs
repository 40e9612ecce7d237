//! The lowest point of the highest of some planes, over prices that are not negative.

use microlp::{ComparisonOp, OptimizationDirection, Problem, Variable};

/// Highest price of a budget, in score for the whole of it: nothing is gained above.
const PRICE_MAX: f64 = 1e6;

/// What an assignment gains, and the shares that it takes of the budgets: the bound that it gives is a plane over their
/// prices.
pub(super) type Plane = (f64, Vec<f64>);

/// The prices at which the highest of the planes is lowest, and how low that is.
pub(super) fn least_bound(planes: &[Plane]) -> Option<(Vec<f64>, f64)> {
    if planes.iter().all(|(_, taken)| taken.len() == 1) {
        return least_of_one(planes).map(|(price, bound)| (vec![price], bound));
    }
    let mut program = Problem::new(OptimizationDirection::Minimize);
    let bound = program.add_var(1.0, (f64::NEG_INFINITY, f64::INFINITY));
    let budgets = planes.first().map_or(0, |(_, taken)| taken.len());
    let prices: Vec<Variable> = (0..budgets)
        .map(|_| program.add_var(0.0, (0.0, PRICE_MAX)))
        .collect();
    for (gain, taken) in planes {
        let slack = prices
            .iter()
            .zip(taken)
            .map(|(price, taken)| (*price, taken - 1.0));
        let terms: Vec<(Variable, f64)> = std::iter::once((bound, 1.0)).chain(slack).collect();
        program.add_constraint(&terms, ComparisonOp::Ge, *gain);
    }
    let solution = program.solve().ok()?.into_solution().ok()?;
    let prices = prices
        .iter()
        .map(|price| solution.var_value(*price).max(0.0));
    Some((prices.collect(), solution.objective()))
}

/// The same for one budget: the planes are lines, and the point is where a falling one crosses another, or at a price of
/// nothing.
fn least_of_one(lines: &[Plane]) -> Option<(f64, f64)> {
    let line = |(gain, taken): &Plane| (*gain, 1.0 - taken[0]);
    let at = |price: f64| {
        lines
            .iter()
            .map(line)
            .map(|(gain, slope)| gain + price * slope)
            .fold(f64::NEG_INFINITY, f64::max)
    };
    let falling = lines.iter().map(line).filter(|(_, slope)| *slope < 0.0);
    let crossings = falling.flat_map(|(gain, slope)| {
        let others = lines
            .iter()
            .map(line)
            .filter(move |(_, other)| *other > slope);
        others.map(move |(other_gain, other)| (gain - other_gain) / (other - slope))
    });
    let prices = crossings
        .filter(|price| *price > 0.0)
        .map(|price| price.min(PRICE_MAX));
    let ends = [0.0, PRICE_MAX];
    let bounds = prices.chain(ends).map(|price| (price, at(price)));
    bounds.reduce(|a, b| if b.1 < a.1 { b } else { a })
}
