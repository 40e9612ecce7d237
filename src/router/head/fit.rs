//! How a head comes about: cross-validation chooses the penalty, then all rows are fitted.

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use ndarray::{Array2, Axis, concatenate};
use rayon::prelude::*;

use super::{Parameters, Rows, Targets, objective::Loss};
use crate::router::calibration;

/// Steps after which a fit ends even if it still moves.
const ITERATIONS_MAX: u64 = 80;

/// The same over dense features alone, which are quick to fit and harder to tell apart.
const ITERATIONS_DENSE_MAX: u64 = 250;

/// Up to so many rows every fold helps to choose the penalty.
const ROWS_FEW: usize = 2000;

/// Greatest number of parts in which rows are held back in turn: more would say hardly more and take longer.
pub const FOLDS_MAX: usize = 4;

/// (l2 / 2)·‖W‖² is added to the mean loss, for the weights of each kind of feature.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Penalty {
    /// For sparse features.
    pub sparse: f64,
    /// For dense features.
    pub dense: f64,
}

/// What holds the weights back.
#[derive(Clone, Copy, Debug)]
pub struct Regularisation<'r> {
    /// Penalties to choose from.
    pub penalties: &'r [Penalty],
    /// Where the penalty pulls to; none: to 0.
    pub prior: Option<&'r Parameters>,
}

/// What cross-validation found.
#[derive(Clone, Debug)]
pub struct HeldBack {
    /// The penalty under which rows that were held back are likeliest: as they are, or at their likeliest temperature where a teacher
    /// softened the targets.
    pub penalty: Penalty,
    /// Logits of every row by a head that has not seen it, under that penalty: rows × classes.
    pub logits: Array2<f32>,
}

/// A head's parameters with what they were fitted under.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// Weights and biases.
    pub parameters: Parameters,
    /// The penalty.
    pub penalty: Penalty,
}

/// Why no head can be fitted.
#[derive(Debug, thiserror::Error)]
pub enum FitError {
    /// One class or none: there is nothing to tell apart.
    #[error("{classes} classes; at least two are needed")]
    TooFewClasses {
        /// Classes with rows.
        classes: usize,
    },
    /// A class without a row.
    #[error("class {class} has no rows")]
    EmptyClass {
        /// The class.
        class: usize,
    },
    /// NaN or infinity in a row.
    #[error("row {row} has a feature that is not finite")]
    NotFinite {
        /// The row.
        row: usize,
    },
    /// The optimiser gave up.
    #[error("the optimiser failed under the penalty {penalty:?}: {detail}")]
    Optimiser {
        /// The penalty.
        penalty: Penalty,
        /// What it said.
        detail: String,
    },
}

/// The fold of each row. The rows of a class take turns, so that each fold has its share of every class.
///
/// There are as many folds as half of the classes can fill, [`FOLDS_MAX`] at most; a class with fewer rows is missing in some. Rows of
/// one question (`questions` has a number for each row) go where its first row went: nothing is held back from itself. Rows that
/// are `further` ones are dealt last, and do not count for how many folds there are.
pub fn folds(
    labels: &[usize],
    questions: &[usize],
    further: &[bool],
    classes: usize,
) -> Vec<usize> {
    let (last, first): (Vec<usize>, Vec<usize>) = (0..labels.len()).partition(|row| further[*row]);
    let mut sizes = vec![0; classes];
    for row in &first {
        sizes[labels[*row]] += 1;
    }
    let mut sizes: Vec<usize> = sizes.into_iter().filter(|size| *size > 0).collect();
    sizes.sort_unstable();
    let typical = sizes.get(sizes.len() / 2).copied();
    let count = typical.unwrap_or(0).clamp(1, FOLDS_MAX);
    let mut turns = vec![0; classes];
    let mut of_question = HashMap::new();
    let mut folds = vec![0; labels.len()];
    for row in first.into_iter().chain(last) {
        folds[row] = *of_question.entry(questions[row]).or_insert_with(|| {
            let turn = &mut turns[labels[row]];
            *turn += 1;
            (*turn - 1) % count
        });
    }
    folds
}

/// Fits a head on all folds but one, in turn, under the penalty that serves rows held back best.
///
/// Few rows are held back under every penalty, fold by fold; with many, one fold tells the penalties apart well enough. Only judges
/// ([`Targets::is_judge`]) do.
/// With one fold nothing can be held back: the first penalty is taken, and the logits are those of a head that has seen
/// the rows.
///
/// # Errors
/// [`FitError`] says what is wrong with the rows.
pub fn held_back(
    rows: &Rows,
    targets: &Targets,
    folds: &[usize],
    Regularisation { penalties, prior }: Regularisation<'_>,
    step: &(dyn Fn() + Sync),
) -> Result<HeldBack, FitError> {
    check(rows, targets, prior)?;
    let prior = prior.map(|prior| prior.gathered(rows));
    let prior = prior.as_ref();
    let count = folds.iter().max().map_or(1, |last| last + 1);
    let choosing = if targets.judges() <= ROWS_FEW {
        count
    } else {
        1
    };
    let penalties = if count == 1 {
        &penalties[..1]
    } else {
        penalties
    };
    let hold = |fold: &usize, penalties: &[Penalty]| {
        let held = Held::new(
            rows,
            targets,
            (folds, *fold),
            Regularisation { penalties, prior },
        );
        step();
        held
    };
    let in_order =
        |held: Vec<Result<Held, FitError>>| held.into_iter().collect::<Result<Vec<_>, _>>();
    let chosen_on: Vec<usize> = (0..choosing).collect();
    let mut held = in_order(
        chosen_on
            .par_iter()
            .map(|fold| hold(fold, penalties))
            .collect(),
    )?;
    let losses: Vec<f64> = (0..penalties.len())
        .map(|penalty| loss(&held, penalty, targets))
        .collect();
    let best = (0..penalties.len())
        .min_by(|a, b| losses[*a].total_cmp(&losses[*b]))
        .unwrap_or(0);
    for held in &mut held {
        held.logits.swap(0, best);
    }
    let rest: Vec<usize> = (choosing..count).collect();
    held.extend(in_order(
        rest.par_iter()
            .map(|fold| hold(fold, &penalties[best..=best]))
            .collect(),
    )?);
    let mut logits = Array2::zeros((rows.len(), targets.classes()));
    for held in held {
        for (row, of_row) in held.rows.iter().zip(held.logits[0].rows()) {
            logits.row_mut(*row).assign(&of_row);
        }
    }
    Ok(HeldBack {
        penalty: penalties[best],
        logits,
    })
}

/// One fold's rows, judged by heads that have not seen them.
struct Held {
    rows: Vec<usize>,
    /// For each penalty, rows × classes.
    logits: Vec<Array2<f32>>,
}

impl Held {
    fn new(
        rows: &Rows,
        targets: &Targets,
        (folds, fold): (&[usize], usize),
        Regularisation { penalties, prior }: Regularisation<'_>,
    ) -> Result<Self, FitError> {
        let is_held = |row: &usize| folds[*row] == fold;
        let (held, mut seen): (Vec<usize>, Vec<usize>) = (0..rows.len()).partition(is_held);
        if seen.is_empty() {
            seen.clone_from(&held);
        }
        // The last penalty's solution is close to the next one's: starting there saves most of the steps.
        let mut parameters = start(rows, targets, prior);
        let mut logits = Vec::with_capacity(penalties.len());
        for penalty in penalties {
            parameters = minimise((rows, targets, &seen), (*penalty, prior), parameters)?;
            let of_rows: Vec<f32> = held
                .iter()
                .flat_map(|row| parameters.logits(rows, *row))
                .collect();
            let shape = (held.len(), targets.classes());
            logits.push(
                Array2::from_shape_vec(shape, of_rows).unwrap_or_else(|_| Array2::zeros(shape)),
            );
        }
        Ok(Self { rows: held, logits })
    }

    /// The judges among the rows: their logits under a penalty, and their labels.
    fn judges(&self, penalty: usize, targets: &Targets) -> (Array2<f32>, Vec<usize>) {
        let is_judge = |at: &usize| targets.is_judge[self.rows[*at]];
        let judges: Vec<usize> = (0..self.rows.len()).filter(is_judge).collect();
        let labels = judges.iter().map(|at| targets.labels[self.rows[*at]]);
        let logits = self.logits[penalty].select(Axis(0), &judges);
        (logits, labels.collect())
    }
}

/// How unlikely the judges among rows held back are under a penalty.
///
/// Where a teacher softened the targets, at their likeliest temperature: logits as they are say how soft the targets were, under
/// every penalty alike, and little of what the penalty does to the order. Calibration finds a temperature afterwards anyway.
fn loss(held: &[Held], penalty: usize, targets: &Targets) -> f64 {
    let judges = held.iter().map(|held| held.judges(penalty, targets));
    let (logits, labels): (Vec<_>, Vec<_>) = judges.unzip();
    let views: Vec<_> = logits.iter().map(|logits| logits.view()).collect();
    let Ok(logits) = concatenate(Axis(0), &views) else {
        return f64::INFINITY;
    };
    let nll = if targets.is_softened {
        calibration::likeliest_nll
    } else {
        calibration::nll
    };
    nll(logits.view(), &labels.concat())
}

/// Fits all rows.
///
/// # Errors
/// [`FitError`] says what is wrong with the rows.
pub fn fit(
    rows: &Rows,
    targets: &Targets,
    penalty: Penalty,
    prior: Option<&Parameters>,
) -> Result<Fitted, FitError> {
    check(rows, targets, prior)?;
    let all: Vec<usize> = (0..rows.len()).collect();
    let gathered = prior.map(|prior| prior.gathered(rows));
    let start = start(rows, targets, gathered.as_ref());
    let parameters = minimise((rows, targets, &all), (penalty, gathered.as_ref()), start)?;
    Ok(Fitted {
        parameters: parameters.scattered(rows, prior),
        penalty,
    })
}

fn start(rows: &Rows, targets: &Targets, prior: Option<&Parameters>) -> Parameters {
    let zeros = || Parameters::zeros(rows, targets.classes());
    prior.cloned().unwrap_or_else(zeros)
}

fn minimise(
    (rows, targets, at): (&Rows, &Targets, &[usize]),
    (penalty, prior): (Penalty, Option<&Parameters>),
    start: Parameters,
) -> Result<Parameters, FitError> {
    let loss = Loss::new((rows, targets, at), (penalty, prior));
    let iterations_max = match rows.bucket_count() {
        0 => ITERATIONS_DENSE_MAX,
        _ => ITERATIONS_MAX,
    };
    let minimum = loss.minimise(start, iterations_max);
    minimum.map_err(|error| FitError::Optimiser {
        penalty,
        detail: error.to_string(),
    })
}

/// On top of a prior a class needs no rows of its own.
fn check(rows: &Rows, targets: &Targets, prior: Option<&Parameters>) -> Result<(), FitError> {
    let classes = targets.classes();
    if classes < 2 {
        return Err(FitError::TooFewClasses { classes });
    }
    let without_rows = |class: &usize| prior.is_none() && !targets.labels.contains(class);
    if let Some(class) = (0..classes).find(without_rows) {
        return Err(FitError::EmptyClass { class });
    }
    match rows.not_finite() {
        Some(row) => Err(FitError::NotFinite { row }),
        None => Ok(()),
    }
}
