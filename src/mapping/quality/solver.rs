//! The weights of a quality model, by stochastic dual coordinate ascent.
//!
//! The logit of an expert's success at a question is a start (what its category is known for) plus a linear function of
//! the question's features. Each weight is the sum of one that all experts share and one of the expert's own, under an L2
//! penalty for each: regularised multi-task learning (Evgeniou and Pontil, KDD 2004). What is shared says how hard a
//! question is, as in a Rasch model of tests (Rasch 1960) whose difficulties are explained by features; what is an
//! expert's own, where it departs from that.
//!
//! The loss is cross-entropy. Its dual has one number for each score: the probability that is given to it, which at the
//! optimum is the one that the weights give. They are brought into agreement one by one (Yu, Huang and Lin, "Dual
//! coordinate descent methods for logistic regression and maximum entropy models", Machine Learning 2011). A pass costs
//! as much as reading the features twice, and some ten do; a method that moves all weights at once would need hundreds.

use ndarray::ArrayView2;
use rand::{SeedableRng as _, rngs::SmallRng, seq::SliceRandom as _};

use super::model::sigmoid;
use crate::router::head::Rows;

/// Passes after which a fit ends even if it still moves.
const PASSES_MAX: usize = 30;

/// A pass in which no probability moved further than this ends the fit.
const MOVE_MIN: f32 = 2e-3;

/// Steps of Newton's method for one number; it converges at once but for extreme ones.
const NEWTON_STEPS: usize = 8;

/// What weights are held back by: (strength / 2)·weight² is added to the summed loss, so that a strength counts like rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Strength {
    /// Of the weights that all experts share.
    pub shared: f32,
    /// Of each expert's own.
    pub own: f32,
}

/// Of what a category adds to its start. The start is as good as its rows are many; this only lets it give way where the
/// features explain the same.
const CATEGORY: Strength = Strength {
    shared: 1.0,
    own: 5.0,
};

/// Rows to learn from.
#[derive(Clone, Copy)]
pub(super) struct Task<'t> {
    /// The features of each row.
    pub rows: &'t Rows,
    /// The category of each row.
    pub categories: &'t [usize],
    /// Categories × experts: the logits to start from.
    pub starts: ArrayView2<'t, f32>,
    /// Rows × experts, 0 to 1; NaN where an expert was not tried.
    pub scores: ArrayView2<'t, f32>,
}

/// The weights that a fit found, shared and own together.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Weights {
    /// How many experts there are.
    pub experts: usize,
    /// The buckets that the rows use × experts.
    pub sparse: Vec<f32>,
    /// dimensions × experts.
    pub dense: Vec<f32>,
    /// categories × experts, with the starts.
    pub categories: Vec<f32>,
}

/// Fits all rows of a task. `seed` decides in which order they take turns.
pub(super) fn fit(task: Task<'_>, strength: Strength, seed: u64) -> Weights {
    let mut fit = Fit::new(task, strength);
    let mut order: Vec<usize> = (0..task.rows.len()).collect();
    let mut random = SmallRng::seed_from_u64(seed);
    for _ in 0..PASSES_MAX {
        order.shuffle(&mut random);
        let moved = order.iter().map(|row| fit.turn(*row)).fold(0.0, f32::max);
        if moved < MOVE_MIN {
            break;
        }
    }
    fit.weights
}

struct Fit<'t> {
    task: Task<'t>,
    strength: Strength,
    weights: Weights,
    /// Rows × experts: the probability that the dual gives each score.
    given: Vec<f32>,
    /// Squared length of each row's features.
    squares: Vec<f32>,
    /// Of the row whose turn it is, one an expert.
    logits: Vec<f32>,
    /// By how much each probability of that row moved.
    moves: Vec<f32>,
}

impl<'t> Fit<'t> {
    /// No weights: every probability is the score itself, which leaves nothing to explain.
    fn new(task: Task<'t>, strength: Strength) -> Self {
        let experts = task.scores.ncols();
        let square = |row: usize| {
            let sparse: f32 = task.rows.sparse(row).map(|(_, value)| value * value).sum();
            sparse
                + task
                    .rows
                    .dense(row)
                    .iter()
                    .map(|value| value * value)
                    .sum::<f32>()
        };
        Self {
            weights: Weights {
                experts,
                sparse: vec![0.0; task.rows.used().len() * experts],
                dense: vec![0.0; task.rows.dimensions() * experts],
                categories: task.starts.iter().copied().collect(),
            },
            given: task.scores.iter().copied().collect(),
            squares: (0..task.rows.len()).map(square).collect(),
            logits: vec![0.0; experts],
            moves: vec![0.0; experts],
            task,
            strength,
        }
    }

    /// Brings the probabilities of one row into agreement with its logits, and the weights with them. How far the one
    /// that moved furthest moved.
    fn turn(&mut self, row: usize) -> f32 {
        self.read(row);
        let experts = self.weights.experts;
        let square = self.squares[row];
        // What a move of one expert's probability does to every expert's logit, and to its own besides.
        let to_all = square / self.strength.shared + 1.0 / CATEGORY.shared;
        let to_own = square / self.strength.own + 1.0 / CATEGORY.own;
        let scores = self.task.scores.row(row);
        let mut furthest = 0.0_f32;
        for (expert, score) in scores.iter().enumerate() {
            self.moves[expert] = 0.0;
            if score.is_nan() {
                continue;
            }
            let given = &mut self.given[row * experts + expert];
            let agreed = agreement(
                self.logits[expert] + (to_all + to_own) * *given,
                to_all + to_own,
            );
            let by = *given - agreed;
            *given = agreed;
            self.moves[expert] = by;
            self.logits
                .iter_mut()
                .for_each(|logit| *logit += to_all * by);
            self.logits[expert] += to_own * by;
            furthest = furthest.max(by.abs());
        }
        self.write(row);
        furthest
    }

    /// The logits that the weights give a row.
    fn read(&mut self, row: usize) {
        let experts = self.weights.experts;
        let category = self.task.categories[row] * experts;
        let logits = &mut self.logits;
        logits.copy_from_slice(&self.weights.categories[category..][..experts]);
        let mut add = |weights: &[f32], value: f32| {
            for (logit, weight) in logits.iter_mut().zip(weights) {
                *logit += value * weight;
            }
        };
        for (bucket, value) in self.task.rows.sparse(row) {
            add(&self.weights.sparse[bucket * experts..][..experts], value);
        }
        let dense = self.weights.dense.chunks_exact(experts);
        for (weights, value) in dense.zip(self.task.rows.dense(row)) {
            add(weights, *value);
        }
    }

    /// Lets the weights follow the moves of a row's probabilities.
    fn write(&mut self, row: usize) {
        let experts = self.weights.experts;
        let together: f32 = self.moves.iter().sum();
        let moves = &mut self.moves;
        let category = self.task.categories[row] * experts;
        let of_category = self.weights.categories[category..][..experts].iter_mut();
        for (weight, by) in of_category.zip(moves.iter()) {
            *weight += together / CATEGORY.shared + by / CATEGORY.own;
        }
        for by in moves.iter_mut() {
            *by = together / self.strength.shared + *by / self.strength.own;
        }
        let add = |weights: &mut [f32], value: f32| {
            for (weight, by) in weights.iter_mut().zip(moves.iter()) {
                *weight += value * by;
            }
        };
        for (bucket, value) in self.task.rows.sparse(row) {
            add(
                &mut self.weights.sparse[bucket * experts..][..experts],
                value,
            );
        }
        let dense = self.weights.dense.chunks_exact_mut(experts);
        for (weights, value) in dense.zip(self.task.rows.dense(row)) {
            add(weights, *value);
        }
    }
}

/// The probability p at which logit(p) + `bend` · p = `sum`.
fn agreement(sum: f32, bend: f32) -> f32 {
    // The left side rises with the logit z, and is `sum` somewhere in this interval; Newton's method is kept within it.
    let (mut low, mut high) = (sum - bend, sum);
    let mut z = f32::midpoint(low, high);
    for _ in 0..NEWTON_STEPS {
        let p = sigmoid(z);
        let off = z + bend * p - sum;
        if off > 0.0 {
            high = z;
        } else {
            low = z;
        }
        z -= off / (1.0 + bend * p * (1.0 - p));
        if !(low..=high).contains(&z) {
            z = f32::midpoint(low, high);
        }
    }
    sigmoid(z)
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;

    const MILD: Strength = Strength {
        shared: 0.5,
        own: 2.0,
    };

    /// Rows with one of three words each, and their scores by two experts.
    fn fitted(scores: &Array2<f32>, strength: Strength) -> Weights {
        let sparse: Vec<_> = (0_u32..)
            .take(scores.nrows())
            .map(|row| vec![(row % 3, 1.0)])
            .collect();
        let rows = Rows::new(&sparse, 3, Array2::zeros((scores.nrows(), 0)));
        let starts = array![[0.4, -0.2]];
        let task = Task {
            rows: &rows,
            categories: &vec![0; scores.nrows()],
            starts: starts.view(),
            scores: scores.view(),
        };
        fit(task, strength, 7)
    }

    #[test]
    fn numbers_agree_with_their_logits() {
        for (sum, bend) in [
            (0.3, 1.0),
            (-8.0, 30.0),
            (25.0, 30.0),
            (2.0, 0.01),
            (500.0, 4.0),
        ] {
            let p = agreement(sum, bend);
            // The logit of a probability next to 1 is known to few digits only.
            if p < 0.999 {
                let off = (p / (1.0 - p)).ln() + bend * p - sum;
                assert!(off.abs() < 2e-3, "{sum} {bend}: {p}");
            }
        }
    }

    #[test]
    fn at_the_optimum_a_weight_is_what_its_rows_leave_unexplained() {
        let scores = Array2::from_shape_fn((90, 2), |(row, expert)| match row % 3 {
            0 => 1.0,
            1 => f32::from(u8::from((row / 3 + expert).is_multiple_of(2))),
            _ => f32::from(u8::from(expert == 0)),
        });
        let weights = fitted(&scores, MILD);
        // The last pass may have moved the probabilities of a word's thirty rows by so much.
        let off_max = 30.0 * MOVE_MIN * (1.0 / MILD.shared + 1.0 / MILD.own);
        for word in 0..3 {
            let of_word = (0..90).filter(|row| row % 3 == word);
            let left = |expert: usize| -> f32 {
                let logit = weights.sparse[word * 2 + expert] + weights.categories[expert];
                let left = of_word
                    .clone()
                    .map(|row| scores[[row, expert]] - sigmoid(logit));
                left.sum()
            };
            let together = left(0) + left(1);
            for expert in 0..2 {
                let expected = together / MILD.shared + left(expert) / MILD.own;
                let found = weights.sparse[word * 2 + expert];
                assert!(
                    (found - expected).abs() < off_max,
                    "{word} {expert}: {found} {expected}"
                );
            }
        }
    }

    #[test]
    fn what_is_hard_for_one_is_held_to_be_hard_for_the_other() {
        let scores = Array2::from_shape_fn((90, 2), |(row, expert)| {
            if expert == 1 && row % 3 == 2 {
                return f32::NAN;
            }
            f32::from(u8::from(row % 3 != 2))
        });
        let weights = fitted(&scores, MILD);
        assert!(
            weights.sparse[5] < -0.5,
            "the word that the second expert was never tried on: {weights:?}"
        );
        let apart = fitted(
            &scores,
            Strength {
                shared: 1e6,
                own: 2.0,
            },
        );
        assert!(apart.sparse[5].abs() < 0.01, "{apart:?}");
    }

    #[test]
    fn the_same_rows_and_seed_give_the_same_weights() {
        let scores = Array2::from_shape_fn((30, 2), |(row, _)| f32::from(u8::from(row % 4 == 0)));
        assert_eq!(fitted(&scores, MILD), fitted(&scores, MILD));
    }
}
