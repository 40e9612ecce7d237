//! How much score a unit of cost must buy: λ, the one knob of the second stage. Pure.
//!
//! The expert is asked whose predicted score less λ · cost is greatest. Seen over all questions, each λ is a point of the
//! frontier of score against cost. λ itself means little to a person, since it depends on the pool; the three words do:
//! each is the cheapest point that keeps a given share of what the best one gains over the cheapest expert.

use ndarray::{ArrayView1, ArrayView2};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::config::{Prefer, Preference};

/// Share of the gain over the cheapest expert that `balanced` keeps.
pub const BALANCED_KEEPS: f64 = 0.95;

/// Share of the gain over the cheapest expert that `economy` keeps.
pub const ECONOMY_KEEPS: f64 = 0.8;

/// Points of a frontier for each power of ten of λ: neighbours differ by less than rows can tell.
const STEPS_PER_DECADE: u32 = 24;

/// Share of the λ that outweighs all scores between the cheapest expert and the dearest below which λ does not matter.
const LAMBDA_SHARE_MIN: f64 = 1e-4;

/// Share of the difference between the cheapest expert and the dearest by which experts must differ not to cost the same.
const COST_SHARE_MIN: f64 = 1e-6;

/// Halvings of an interval of λ until a budget is met: beyond them λ is as exact as a number can be.
const HALVINGS: u32 = 60;

/// What asking each expert costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Costs {
    /// What the numbers are.
    pub unit: CostUnit,
    /// One an expert; finite, none negative.
    pub of: Vec<f64>,
}

/// What costs are counted in, and λ is a price of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CostUnit {
    /// Billions of active parameters.
    ParamsB,
    /// Dollars a question.
    Usd,
}

/// The λ of each word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Preferences {
    /// The best score, at whatever cost.
    pub quality: f64,
    /// [`BALANCED_KEEPS`] of the gain.
    pub balanced: f64,
    /// [`ECONOMY_KEEPS`] of the gain.
    pub economy: f64,
}

/// Predictions with what then came out.
#[derive(Clone, Copy)]
pub struct Judged<'j> {
    /// Rows × experts.
    pub predicted: ArrayView2<'j, f32>,
    /// Rows × experts; NaN where an expert was not tried.
    pub scores: ArrayView2<'j, f32>,
    /// What each row counts for.
    pub weights: &'j [f64],
}

/// What a choice reaches.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Score points that a unit of cost had to buy.
    pub lambda: f64,
    /// The weighted mean score.
    pub score: f64,
    /// The weighted mean cost.
    pub cost: f64,
}

impl Preferences {
    /// The score that a unit of cost must buy: a word's, or the number itself.
    pub fn lambda(self, prefer: Prefer) -> f64 {
        match prefer {
            Prefer::Word(Preference::Quality) => self.quality,
            Prefer::Word(Preference::Balanced) => self.balanced,
            Prefer::Word(Preference::Economy) => self.economy,
            Prefer::CostWeight(lambda) => lambda,
        }
    }
}

/// The expert that is chosen for each row: the one whose predicted score less `lambda` · cost is greatest.
///
/// Of equals the cheaper, then the earlier. Minus infinity is predicted of those that may not answer.
pub fn choices(predicted: ArrayView2<'_, f32>, costs: &Costs, lambda: f64) -> Vec<usize> {
    let best = |scores: ArrayView1<'_, f32>| {
        let worth = |e: usize| f64::from(scores[e]) - lambda * costs.of[e];
        let keeps = |a: usize, b: usize| {
            let by_worth = worth(b).total_cmp(&worth(a));
            by_worth
                .then_with(|| costs.of[a].total_cmp(&costs.of[b]))
                .is_le()
        };
        (1..scores.len()).fold(0, |best, e| if keeps(best, e) { best } else { e })
    };
    predicted.rows().into_iter().map(best).collect()
}

/// Weighted means of what choices score and cost. Rows whose expert was not tried count for the cost alone.
pub fn reached(
    scores: ArrayView2<'_, f32>,
    weights: &[f64],
    (chosen, costs): (&[usize], &[f64]),
) -> (f64, f64) {
    let (mut score, mut known, mut cost, mut all) = (0.0, 0.0, 0.0, 0.0);
    for ((scores, expert), weight) in scores.rows().into_iter().zip(chosen).zip(weights) {
        all += weight;
        cost += weight * costs[*expert];
        let of_row = scores[*expert];
        if !of_row.is_nan() {
            known += weight;
            score += weight * f64::from(of_row);
        }
    }
    (score / known, cost / all)
}

impl Judged<'_> {
    /// What one λ reaches.
    pub fn point(&self, costs: &Costs, lambda: f64) -> Point {
        let chosen = choices(self.predicted, costs, lambda);
        let (score, cost) = reached(self.scores, self.weights, (&chosen, &costs.of));
        Point {
            lambda,
            score,
            cost,
        }
    }

    /// From λ = 0 on to where the cheapest expert answers everything.
    pub fn frontier(&self, costs: &Costs) -> Vec<Point> {
        let grid = LambdaRange::of(self.predicted, costs).map_or_else(Vec::new, LambdaRange::grid);
        let lambdas: Vec<f64> = std::iter::once(0.0).chain(grid).collect();
        let points = lambdas.into_par_iter();
        points.map(|lambda| self.point(costs, lambda)).collect()
    }

    /// What the words mean where the choice is judged by these rows.
    pub fn preferences(&self, costs: &Costs) -> Preferences {
        let frontier = self.frontier(costs);
        let best = frontier
            .iter()
            .map(|point| point.score)
            .fold(f64::NEG_INFINITY, f64::max);
        let least = frontier
            .last()
            .map_or(best, |cheapest| cheapest.score.min(best));
        let keeping = |share: f64| {
            let enough = |point: &&Point| point.score >= least + share * (best - least);
            let cheapest = frontier
                .iter()
                .filter(enough)
                .min_by(|a, b| a.cost.total_cmp(&b.cost));
            cheapest.map_or(0.0, |point| point.lambda)
        };
        Preferences {
            quality: keeping(1.0),
            balanced: keeping(BALANCED_KEEPS),
            economy: keeping(ECONOMY_KEEPS),
        }
    }

    /// The least λ whose choices fit; none where not even the cheapest experts do.
    pub fn lambda_where(&self, costs: &Costs, fits: impl Fn(&[usize]) -> bool) -> Option<f64> {
        let fit = |lambda: f64| fits(&choices(self.predicted, costs, lambda));
        let range = LambdaRange::of(self.predicted, costs);
        let (mut low, mut high) = (0.0, range.map_or(0.0, |range| range.greatest));
        if fit(low) {
            return Some(low);
        }
        if !fit(high) {
            return None;
        }
        for _ in 0..HALVINGS {
            let middle = f64::midpoint(low, high);
            if fit(middle) {
                high = middle;
            } else {
                low = middle;
            }
        }
        Some(high)
    }
}

/// The λ between which choices change.
#[derive(Clone, Copy)]
struct LambdaRange {
    /// Here the dearest expert is held against the cheapest by next to nothing.
    least: f64,
    /// Here no difference of scores outweighs a difference of costs.
    greatest: f64,
}

impl LambdaRange {
    /// None where no λ changes anything: experts cost the same, or the same is predicted of all.
    fn of(predicted: ArrayView2<'_, f32>, costs: &Costs) -> Option<Self> {
        let mut sorted = costs.of.clone();
        sorted.sort_by(f64::total_cmp);
        let whole = sorted.last()? - sorted.first()?;
        // Two experts of almost one cost need a far greater λ to be told apart than the cheapest and the dearest do.
        let steps = sorted.windows(2).map(|pair| pair[1] - pair[0]);
        let least = steps
            .filter(|step| *step > COST_SHARE_MIN * whole)
            .fold(f64::INFINITY, f64::min);
        let finite = predicted.iter().copied().filter(|score| score.is_finite());
        let (low, high) = finite.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), score| {
            (low.min(score), high.max(score))
        });
        let scores = f64::from(high - low);
        (least.is_finite() && scores > 0.0).then(|| Self {
            least: LAMBDA_SHARE_MIN * scores / whole,
            greatest: 1.01 * scores / least,
        })
    }

    /// From the least to the greatest by equal ratios.
    fn grid(self) -> Vec<f64> {
        let below = |step: u32| 10_f64.powf(-f64::from(step) / f64::from(STEPS_PER_DECADE));
        let falling = (0..).map(|step| self.greatest * below(step));
        let mut grid: Vec<f64> = falling.take_while(|lambda| *lambda >= self.least).collect();
        grid.reverse();
        grid
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    fn costs() -> Costs {
        Costs {
            unit: CostUnit::ParamsB,
            of: vec![7.0, 70.0],
        }
    }

    #[test]
    fn a_dearer_expert_must_be_worth_its_cost() {
        let predicted = array![[0.5, 0.9], [0.8, 0.9], [0.9, 0.9]];
        let chosen = |lambda| choices(predicted.view(), &costs(), lambda);
        assert_eq!(chosen(0.0), [1, 1, 0], "of equals the cheaper");
        assert_eq!(chosen(0.003), [1, 0, 0]);
        assert_eq!(chosen(1.0), [0, 0, 0]);
    }

    #[test]
    fn who_may_not_answer_is_never_chosen() {
        let predicted = array![[f32::NEG_INFINITY, 0.1]];
        assert_eq!(choices(predicted.view(), &costs(), 100.0), [1]);
    }

    #[test]
    fn a_budget_is_met_as_closely_as_rows_allow() {
        let predicted = array![[0.1, 0.9], [0.4, 0.9], [0.7, 0.9], [0.8, 0.9]];
        let scores = predicted.clone();
        let judged = Judged {
            predicted: predicted.view(),
            scores: scores.view(),
            weights: &[0.25; 4],
        };
        let within = |budget: f64| {
            let costs = costs();
            let cost = |chosen: &[usize]| reached(scores.view(), &[0.25; 4], (chosen, &costs.of)).1;
            let lambda = judged.lambda_where(&costs, |chosen| cost(chosen) <= budget)?;
            Some(judged.point(&costs, lambda).cost)
        };
        assert_eq!(within(70.0), Some(70.0));
        assert_eq!(within(40.0), Some((2.0 * 70.0 + 2.0 * 7.0) / 4.0));
        assert_eq!(within(6.0), None);
    }

    /// Ten rows on which the last expert is worth less and less, and the others nothing.
    fn words_differ(costs: &Costs) {
        let dearest = costs.of.len() - 1;
        let shape = (10, costs.of.len());
        let predicted = ndarray::Array2::from_shape_fn(shape, |(row, expert)| {
            if expert == dearest {
                1.0 / (1.0 + row as f32).powi(2)
            } else {
                0.0
            }
        });
        let judged = Judged {
            predicted: predicted.view(),
            scores: predicted.view(),
            weights: &[0.1; 10],
        };
        let Preferences {
            quality,
            balanced,
            economy,
        } = judged.preferences(costs);
        let kept = |lambda: f64| judged.point(costs, lambda).score / judged.point(costs, 0.0).score;
        assert!(quality < balanced && balanced < economy);
        assert!((kept(quality) - 1.0).abs() < 1e-9);
        assert!((BALANCED_KEEPS..1.0).contains(&kept(balanced)));
        assert!((ECONOMY_KEEPS..BALANCED_KEEPS).contains(&kept(economy)));
    }

    #[test]
    fn words_keep_shares_of_the_gain_over_the_cheapest() {
        words_differ(&costs());
    }

    #[test]
    fn words_differ_though_two_experts_cost_almost_the_same() {
        for between in [7.02, 7.000_1, 69.99] {
            words_differ(&Costs {
                unit: CostUnit::ParamsB,
                of: vec![7.0, between, 70.0],
            });
        }
    }

    #[test]
    fn experts_of_one_cost_are_told_apart_by_no_lambda() {
        let predicted = array![[0.1, 0.9], [0.4, 0.2]];
        let judged = Judged {
            predicted: predicted.view(),
            scores: predicted.view(),
            weights: &[0.5; 2],
        };
        let same = Costs {
            unit: CostUnit::Usd,
            of: vec![7.0; 2],
        };
        assert_eq!(judged.frontier(&same).len(), 1);
        assert_eq!(judged.preferences(&same), Preferences::default());
    }
}
