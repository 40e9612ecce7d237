//! The exact optimum: an expert for each category that maximises the expected score under budgets.
//!
//! A multiple-choice knapsack with fixed charges. Without a limit on the set of experts it is one over categories
//! (`knapsack`); with one, the sets are searched by branch and bound (`experts`), and each that is left is a knapsack.

mod experts;
mod infeasible;
mod knapsack;

use ndarray::Array2;

pub use self::infeasible::Infeasible;
pub(in crate::mapping::fit) use self::infeasible::saved;

/// Scores that differ by less than this are equal: the cheaper expert is taken, and what is so near the optimum is one.
const TIE: f64 = 1e-6;

/// How far from the optimum an answer may be that only serves to estimate what answers of this kind are worth.
const NEAR_GAP: f64 = 1e-4;

/// What is chosen from, and within which limits. Matrices are experts by categories.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Weight of each category; they add up to 1.
    pub weights: Vec<f64>,
    /// Expected score of an expert in a category.
    pub score: Array2<f64>,
    /// Billions of parameters of each expert; what is not known is infinite.
    pub params_b: Vec<f64>,
    /// Dollars a question; what is not known is infinite.
    pub usd: Option<Array2<f64>>,
    /// Which expert may answer which category.
    pub allowed: Array2<bool>,
    /// What the mapping may need.
    pub limits: Limits,
}

/// What a mapping may need; none: as much as it likes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// Billions of parameters of the expert that answers, weighted by category.
    pub active_b: Option<f64>,
    /// Billions of parameters of all experts that are used.
    pub resident_b: Option<f64>,
    /// Dollars a question, weighted by category.
    pub usd: Option<f64>,
    /// Experts that are used.
    pub experts: Option<usize>,
}

impl Limits {
    /// Whether the set of experts is limited, so that sets are searched.
    pub(in crate::mapping) fn limit_experts(&self) -> bool {
        self.resident_b.is_some() || self.experts.is_some()
    }
}

/// How near the optimum an answer must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// The optimum.
    Exact,
    /// As good as the optimum for all that rows can tell.
    Near,
}

/// What an answer may still cost.
#[derive(Clone, Copy, Debug)]
struct Work {
    effort: Effort,
    /// Nodes that integer programs may look at, whatever the sets of experts are that they are solved for.
    program_nodes: u64,
}

/// What integer programs may look at for an optimum, in nodes times categories: a second or two. Only where categories are all
/// alike is it not enough.
const PROGRAM_WORK_MAX: u64 = 2_000_000;

/// The same for an answer near it, which they serve only to find where nothing else fits.
const NEAR_PROGRAM_WORK_MAX: u64 = 100_000;

impl Work {
    fn new(problem: &Problem, effort: Effort) -> Self {
        let categories = problem.weights.len().max(1) as u64;
        let work_max = match effort {
            Effort::Exact => PROGRAM_WORK_MAX,
            Effort::Near => NEAR_PROGRAM_WORK_MAX,
        };
        Self {
            effort,
            program_nodes: work_max / categories,
        }
    }

    fn gap_max(&self) -> f64 {
        self.effort.gap_max()
    }
}

/// An expert for each category.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// The expert of each category.
    pub expert_of: Vec<usize>,
    /// How much better an optimum could be at most, in score; next to nothing unless the search was cut.
    pub gap: f64,
}

/// The best assignment. Of equally good ones a cheaper one, and always the same.
///
/// # Errors
/// No assignment keeps to the limits.
pub fn solve(problem: &Problem, effort: Effort) -> Result<Assignment, Infeasible> {
    if let Some(found) = best(problem, effort, None) {
        return Ok(found);
    }
    // A search that was cut may have come past the few sets of experts that keep to a budget.
    let feasible = infeasible::feasible(problem)?;
    Ok(
        best(problem, effort, Some(&feasible)).unwrap_or(Assignment {
            expert_of: feasible,
            gap: f64::INFINITY,
        }),
    )
}

/// The best assignment that is found, none worse than `known`, which keeps to all limits.
fn best(problem: &Problem, effort: Effort, known: Option<&[usize]>) -> Option<Assignment> {
    let pairs = Pairs::of(problem);
    let every: Vec<usize> = (0..problem.params_b.len()).collect();
    let mut work = Work::new(problem, effort);
    let relaxed = knapsack::solve(&pairs, &every, f64::NEG_INFINITY, &mut work)?;
    if problem.keeps_experts(&relaxed.expert_of) {
        return Some(relaxed.assignment());
    }
    experts::solve(problem, &pairs, work, known)
}

impl Effort {
    /// How far from the optimum an answer may be, in score.
    fn gap_max(self) -> f64 {
        match self {
            Self::Exact => TIE,
            Self::Near => NEAR_GAP,
        }
    }
}

impl Problem {
    /// Parameters of the expert that answers, weighted by category, in billions.
    pub fn active_b(&self, expert_of: &[usize]) -> f64 {
        let weighted = self.weights.iter().zip(expert_of);
        weighted.map(|(w, e)| w * self.params_b[*e]).sum()
    }

    /// Parameters of all experts that are used, in billions.
    pub fn resident_b(&self, expert_of: &[usize]) -> f64 {
        used(expert_of).iter().map(|e| self.params_b[*e]).sum()
    }

    /// Dollars a question; infinite where not known.
    fn usd(&self, expert: usize, category: usize) -> f64 {
        let usd = self.usd.as_ref();
        usd.map_or(f64::INFINITY, |usd| usd[[expert, category]])
    }

    /// Whether the set of experts is within its limits.
    fn keeps_experts(&self, expert_of: &[usize]) -> bool {
        let fits = |limit: Option<f64>| limit.is_none_or(|most| self.resident_b(expert_of) <= most);
        let few = |limit: Option<usize>| limit.is_none_or(|most| used(expert_of).len() <= most);
        fits(self.limits.resident_b) && few(self.limits.experts)
    }
}

/// The experts that are used, in their order.
pub fn used(expert_of: &[usize]) -> Vec<usize> {
    let mut used = expert_of.to_vec();
    used.sort_unstable();
    used.dedup();
    used
}

/// What every pair of expert and category adds to the objective, and takes from the budgets.
#[derive(Debug)]
struct Pairs {
    /// Weighted score less what ties cost; minus infinity where a pair is not allowed.
    gain: Array2<f64>,
    /// By budget: the share of it that each pair takes.
    shares: Vec<Array2<f64>>,
}

/// What stands for a limit of nothing, which only what costs nothing keeps.
const LIMIT_MIN: f64 = 1e-12;

impl Pairs {
    fn of(problem: &Problem) -> Self {
        let limits = &problem.limits;
        let usd = |e: usize, c: usize| problem.usd(e, c);
        let is_sized = limits.active_b.is_some() || limits.resident_b.is_some();
        let is_known = |e: usize, c: usize| {
            // What is not known cannot be held to a limit.
            !(is_sized && problem.params_b[e].is_infinite()
                || limits.usd.is_some() && usd(e, c).is_infinite())
        };
        let dear_b = greatest(problem.params_b.iter());
        let dear_usd = problem.usd.as_ref().map_or(1.0, |usd| greatest(usd.iter()));
        let gain = Array2::from_shape_fn(problem.score.raw_dim(), |(e, c)| {
            if !problem.allowed[[e, c]] || !is_known(e, c) {
                return f64::NEG_INFINITY;
            }
            // The smaller wins a tie, of equally large ones the one with the lower price, then the first by name.
            let (size, price) = (
                problem.params_b[e].min(dear_b) / dear_b,
                usd(e, c).min(dear_usd) / dear_usd,
            );
            problem.weights[c]
                * (problem.score[[e, c]] - TIE * (size + price / 1e3 + e as f64 / 1e9))
        });
        let share = |limit: f64, cost: &dyn Fn(usize, usize) -> f64| {
            let limit = limit.max(LIMIT_MIN);
            Array2::from_shape_fn(problem.score.raw_dim(), |(e, c)| {
                problem.weights[c] * cost(e, c) / limit
            })
        };
        let active = limits
            .active_b
            .map(|limit| share(limit, &|e, _| problem.params_b[e]));
        let usd = limits.usd.map(|limit| share(limit, &usd));
        Self {
            gain,
            shares: [active, usd].into_iter().flatten().collect(),
        }
    }
}

impl Pairs {
    fn gain(&self, expert_of: &[usize]) -> f64 {
        let pairs = expert_of.iter().enumerate();
        pairs.map(|(c, e)| self.gain[[*e, c]]).sum()
    }
}

/// The greatest of the finite numbers; 1 where all are 0 or none is finite.
fn greatest<'a>(numbers: impl Iterator<Item = &'a f64>) -> f64 {
    let greatest = numbers
        .copied()
        .filter(|x| x.is_finite())
        .fold(0.0, f64::max);
    if greatest > 0.0 { greatest } else { 1.0 }
}

#[cfg(test)]
mod tests;
