//! How the weights of a blend come about, and what each part is worth on rows held back in turn. Pure.
//!
//! Newton's method on the log-likelihood of labelled rows, with a pull towards the router's word alone.

use serde::{Deserialize, Serialize};

use super::{Evidence, Prior, Weights, classes, features};
use crate::{
    decision::Score,
    ids::{CategoryId, OUT_OF_DOMAIN},
};

/// Parts in which rows are held back in turn.
pub const FOLDS: usize = 5;

/// Fewest rows that anything is learnt from.
pub const ROWS_MIN: usize = 40;

/// How strongly weights are pulled to where nothing was learnt, as if by so many rows.
const PULL: f64 = 1.0;

/// Steps after which Newton's method ends even if it still moves: it needs six or seven.
const STEPS_MAX: usize = 50;

/// A step that improves the loss by less is the last.
const GAIN_MIN: f64 = 1e-9;

/// Halvings of a step that goes too far.
const HALVINGS_MAX: usize = 30;

/// A labelled question.
#[derive(Clone, Debug)]
pub struct Row {
    /// What the router says, which has not seen it.
    pub scores: Vec<Score>,
    /// What the LLM says, as it says it.
    pub evidence: Evidence,
    /// What it is about.
    pub right: CategoryId,
}

/// What a fit found.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// What the LLM says of each class whatever the question, by all rows.
    pub prior: Prior,
    /// Of all rows.
    pub weights: Weights,
    /// What each part is worth.
    pub ablation: Vec<Worth>,
    /// Of each row that is held back and goes to a category: how sure the blend is, and whether it is right.
    pub held_back: Vec<(f32, bool)>,
}

/// What a part is worth on rows held back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Worth {
    /// Which part: `router`, `instruction` or `both`.
    pub of: String,
    /// Share of the rows whose likeliest class is the right one.
    pub accuracy: f64,
    /// The mean of −ln of the right class's probability.
    pub log_loss: f64,
    /// The mean of the squared differences between probabilities and what is right, added up over the classes.
    pub brier: f64,
}

/// Too few labelled questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rows} labelled questions are too few to learn anything from; {ROWS_MIN} are the least")]
pub struct TooFew {
    /// How many there are.
    pub rows: usize,
}

/// Which weights may move.
#[derive(Clone, Copy)]
struct Part {
    name: &'static str,
    moves: [bool; 3],
    start: [f64; 3],
}

const PARTS: [Part; 3] = [
    Part {
        name: "router",
        moves: [true, false, true],
        start: [1.0, 0.0, 0.0],
    },
    Part {
        name: "instruction",
        moves: [false, true, true],
        start: [0.0, 0.0, 0.0],
    },
    Part {
        name: "both",
        moves: [true; 3],
        start: [1.0, 0.0, 0.0],
    },
];

/// A row as numbers: the features of each class, and which of them is right.
struct Example {
    classes: Vec<[f64; 3]>,
    right: usize,
}

/// Learns the weights of a blend. Of rows that are held back nothing is taken, what the LLM says whatever the question neither.
///
/// # Errors
/// There are too few rows whose right class anybody speaks of.
pub fn fit(rows: &[Row]) -> Result<Fitted, TooFew> {
    let rows: Vec<&Row> = rows.iter().collect();
    let whole = Fold::of(&rows, &[]);
    let known = whole.learnt.len();
    if known < ROWS_MIN {
        return Err(TooFew { rows: known });
    }
    let folds: [Fold; FOLDS] = std::array::from_fn(|fold| {
        let rows = |is_held: bool| -> Vec<&Row> {
            let rows = rows.iter().copied().enumerate();
            let some = rows.filter(|(at, _)| (at % FOLDS == fold) == is_held);
            some.map(|(_, row)| row).collect()
        };
        Fold::of(&rows(false), &rows(true))
    });
    let [_, _, both] = PARTS;
    Ok(Fitted {
        weights: as_weights(newton(&whole.learnt, both)),
        prior: whole.prior,
        ablation: PARTS.iter().map(|part| worth(&folds, *part)).collect(),
        held_back: folds
            .iter()
            .flat_map(|fold| fold.confidences(both))
            .collect(),
    })
}

/// Rows that are learnt from, and others that are held back.
struct Fold {
    /// By the rows that are learnt from.
    prior: Prior,
    /// Those whose right class anybody speaks of.
    learnt: Vec<Example>,
    /// The others, less the prior.
    held: Vec<Row>,
}

impl Fold {
    fn of(rows: &[&Row], held: &[&Row]) -> Self {
        let prior = Prior::of(rows.iter().map(|row| &row.evidence));
        let less = |row: &&Row| Row {
            evidence: row.evidence.clone().less(&prior),
            ..(*row).clone()
        };
        let learnt = rows.iter().filter_map(|row| Example::of(&less(row)));
        Self {
            learnt: learnt.collect(),
            held: held.iter().map(less).collect(),
            prior,
        }
    }

    /// Of each row that is held back and goes to a category by a part: how sure that is, and whether it is right.
    fn confidences(&self, part: Part) -> Vec<(f32, bool)> {
        let weights = as_weights(newton(&self.learnt, part));
        let confidence = |row: &Row| {
            let weighed = weights.weigh(&row.scores, &row.evidence);
            let best = weighed
                .first()
                .filter(|best| best.category.as_str() != OUT_OF_DOMAIN);
            best.map(|best| (best.probability, best.category == row.right))
        };
        self.held.iter().filter_map(confidence).collect()
    }
}

/// What a part is worth on the rows that are held back in turn, those whose right class anybody speaks of.
fn worth(folds: &[Fold], part: Part) -> Worth {
    let (mut rows, mut right, mut log_loss, mut brier) = (0.0, 0.0, 0.0, 0.0);
    for fold in folds {
        let weights = newton(&fold.learnt, part);
        for example in fold.held.iter().filter_map(Example::of) {
            let probabilities = example.probabilities(&weights);
            let best = (0..probabilities.len())
                .max_by(|a, b| probabilities[*a].total_cmp(&probabilities[*b]));
            rows += 1.0;
            right += f64::from(u8::from(best == Some(example.right)));
            log_loss -= probabilities[example.right].max(f64::MIN_POSITIVE).ln();
            let squares = probabilities.iter().enumerate();
            let squares =
                squares.map(|(class, p)| (p - f64::from(u8::from(class == example.right))).powi(2));
            brier += squares.sum::<f64>();
        }
    }
    Worth {
        of: part.name.to_owned(),
        accuracy: right / rows,
        log_loss: log_loss / rows,
        brier: brier / rows,
    }
}

fn as_weights([router, said, none]: [f64; 3]) -> Weights {
    Weights { router, said, none }
}

impl Example {
    fn of(row: &Row) -> Option<Self> {
        let classes = classes(&row.scores, &row.evidence);
        let right = classes.iter().position(|class| *class == row.right)?;
        let classes = classes
            .iter()
            .map(|class| features(class, &row.scores, &row.evidence));
        Some(Self {
            classes: classes.collect(),
            right,
        })
    }

    fn probabilities(&self, weights: &[f64; 3]) -> Vec<f64> {
        let logits: Vec<f64> = self
            .classes
            .iter()
            .map(|features| dot(weights, features))
            .collect();
        let highest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mass: f64 = logits.iter().map(|logit| (logit - highest).exp()).sum();
        logits
            .iter()
            .map(|logit| (logit - highest).exp() / mass)
            .collect()
    }
}

/// Weights that make the right classes likeliest; the loss is convex, so that there is one best place.
fn newton(examples: &[Example], part: Part) -> [f64; 3] {
    let mut weights = part.start;
    let mut loss = self::loss(examples, &weights, &part);
    for _ in 0..STEPS_MAX {
        let step = step(examples, &weights, &part);
        let mut scale = 1.0;
        let mut moved = None;
        for _ in 0..HALVINGS_MAX {
            let tried: [f64; 3] = std::array::from_fn(|at| weights[at] - scale * step[at]);
            let found = self::loss(examples, &tried, &part);
            if found < loss {
                moved = Some((tried, found));
                break;
            }
            scale /= 2.0;
        }
        let Some((tried, found)) = moved else { break };
        let gain = loss - found;
        (weights, loss) = (tried, found);
        if gain < GAIN_MIN {
            break;
        }
    }
    weights
}

fn loss(examples: &[Example], weights: &[f64; 3], part: &Part) -> f64 {
    let rows = examples.iter().map(|example| {
        -example.probabilities(weights)[example.right]
            .max(f64::MIN_POSITIVE)
            .ln()
    });
    let pulled: f64 = (0..3)
        .map(|at| (weights[at] - part.start[at]).powi(2))
        .sum();
    rows.sum::<f64>() + PULL / 2.0 * pulled
}

/// The gradient divided by the curvature, for the weights that may move.
fn step(examples: &[Example], weights: &[f64; 3], part: &Part) -> [f64; 3] {
    let mut gradient: [f64; 3] = std::array::from_fn(|at| PULL * (weights[at] - part.start[at]));
    let mut curvature: [[f64; 3]; 3] =
        std::array::from_fn(|a| std::array::from_fn(|b| if a == b { PULL } else { 0.0 }));
    for example in examples {
        let probabilities = example.probabilities(weights);
        let mean: [f64; 3] = std::array::from_fn(|at| {
            example
                .classes
                .iter()
                .zip(&probabilities)
                .map(|(features, p)| p * features[at])
                .sum()
        });
        for a in 0..3 {
            gradient[a] += mean[a] - example.classes[example.right][a];
            for b in 0..3 {
                let products = example.classes.iter().zip(&probabilities);
                let second: f64 = products
                    .map(|(features, p)| p * features[a] * features[b])
                    .sum();
                curvature[a][b] += second - mean[a] * mean[b];
            }
        }
    }
    for at in (0..3).filter(|at| !part.moves[*at]) {
        gradient[at] = 0.0;
        curvature[at] = [0.0; 3];
        curvature.iter_mut().for_each(|row| row[at] = 0.0);
        curvature[at][at] = 1.0;
    }
    solved(curvature, gradient)
}

/// Gaussian elimination of three equations, whose matrix is positive definite.
fn solved(mut matrix: [[f64; 3]; 3], mut right: [f64; 3]) -> [f64; 3] {
    for pivot in 0..3 {
        let (from, above) = (matrix[pivot], right[pivot]);
        for row in pivot + 1..3 {
            let factor = matrix[row][pivot] / from[pivot];
            matrix[row]
                .iter_mut()
                .zip(from)
                .for_each(|(value, from)| *value -= factor * from);
            right[row] -= factor * above;
        }
    }
    for row in (0..3).rev() {
        let known: f64 = (row + 1..3)
            .map(|column| matrix[row][column] * right[column])
            .sum();
        right[row] = (right[row] - known) / matrix[row][row];
    }
    right
}

fn dot(a: &[f64; 3], b: &[f64; 3]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

    use super::*;
    use crate::instruction::{
        menu::{self, Menu},
        reply::{Said, normalised},
    };

    const CLASSES: [&str; 4] = ["art", "law", "math", "music"];

    /// Rows of which the router's logits say `router` and the LLM's `said` standard deviations of the truth.
    fn rows(count: usize, router: f64, said: f64, seed: u64) -> Vec<Row> {
        let menu = Menu::of(&menu::tests::catalogue(&CLASSES));
        let mut random = StdRng::seed_from_u64(seed);
        let mut row = || {
            let right = random.random_range(0..CLASSES.len());
            let mut logits = |strength: f64, classes: usize| -> Vec<f64> {
                let noise = |random: &mut StdRng| {
                    (0..6).map(|_| random.random_range(-1.0..1.0)).sum::<f64>() / 2.0_f64.sqrt()
                };
                let logit =
                    |class| strength * f64::from(u8::from(class == right)) + noise(&mut random);
                normalised(&(0..classes).map(logit).collect::<Vec<_>>())
            };
            let scores = logits(router, CLASSES.len());
            let likelihoods = logits(said, CLASSES.len() + 1);
            let scores = CLASSES.iter().zip(scores).map(|(class, logit)| Score {
                category: CategoryId::new(*class),
                probability: crate::router::narrow(logit.exp()),
            });
            Row {
                scores: scores.collect(),
                evidence: Evidence::of(&menu, &Said::Likelihoods(likelihoods), &[]),
                right: CategoryId::new(CLASSES[right]),
            }
        };
        (0..count).map(|_| row()).collect()
    }

    fn accuracy(fitted: &Fitted, of: &str) -> f64 {
        fitted
            .ablation
            .iter()
            .find(|worth| worth.of == of)
            .unwrap()
            .accuracy
    }

    #[test]
    fn two_that_know_different_things_know_more_together() {
        let fitted = fit(&rows(800, 1.5, 1.5, 1)).unwrap();
        let both = accuracy(&fitted, "both");
        assert!(
            both > accuracy(&fitted, "router") + 0.05,
            "{:?}",
            fitted.ablation
        );
        assert!(
            both > accuracy(&fitted, "instruction") + 0.05,
            "{:?}",
            fitted.ablation
        );
        assert!(
            fitted.weights.router > 0.3 && fitted.weights.said > 0.3,
            "{:?}",
            fitted.weights
        );
    }

    #[test]
    fn what_says_nothing_counts_nothing_and_takes_nothing_away() {
        let fitted = fit(&rows(800, 2.0, 0.0, 2)).unwrap();
        assert!(fitted.weights.said.abs() < 0.15, "{:?}", fitted.weights);
        assert!(accuracy(&fitted, "both") > accuracy(&fitted, "router") - 0.01);
    }

    #[test]
    fn of_rows_that_are_held_back_nothing_is_taken() {
        let rows = rows(100, 2.0, 1.0, 5);
        let mut others = rows.clone();
        // Rows that are held back together with the first, of which the LLM says art, whatever they are about.
        for row in others.iter_mut().step_by(FOLDS).skip(1) {
            let menu = Menu::of(&menu::tests::catalogue(&CLASSES));
            let said = Said::Likelihoods(normalised(&[30.0, 0.0, 0.0, 0.0, 0.0]));
            row.evidence = Evidence::of(&menu, &said, &[]);
        }
        let (fitted, other) = (fit(&rows).unwrap(), fit(&others).unwrap());
        assert_eq!(fitted.held_back[0], other.held_back[0]);
        assert_ne!(fitted.held_back[1], other.held_back[1]);
        let all = Prior::of(others.iter().map(|row| &row.evidence));
        assert_eq!(other.prior, all, "a server takes off what all rows tell");
    }

    #[test]
    fn what_comes_out_is_calibrated() {
        // The router is twice as sure as it should be; together the scale is put right.
        let mut rows = rows(2_000, 1.5, 1.0, 3);
        for row in &mut rows {
            let squares: Vec<f32> = row
                .scores
                .iter()
                .map(|score| score.probability.powi(2))
                .collect();
            let mass: f32 = squares.iter().sum();
            row.scores
                .iter_mut()
                .zip(squares)
                .for_each(|(score, square)| score.probability = square / mass);
        }
        let fitted = fit(&rows).unwrap();
        let held = &fitted.held_back;
        let mean = held
            .iter()
            .map(|(confidence, _)| f64::from(*confidence))
            .sum::<f64>()
            / held.len() as f64;
        let right = held.iter().filter(|(_, right)| *right).count() as f64 / held.len() as f64;
        assert!((mean - right).abs() < 0.02, "{mean} {right}");
    }

    #[test]
    fn the_same_rows_give_the_same_weights_and_too_few_give_none() {
        let rows = rows(100, 1.0, 1.0, 4);
        assert_eq!(fit(&rows).unwrap().weights, fit(&rows).unwrap().weights);
        assert_eq!(fit(&rows[..39]).unwrap_err(), TooFew { rows: 39 });
    }
}
