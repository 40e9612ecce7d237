//! How a head comes about: cross-validation chooses the penalty and the temperature, then all rows are fitted.

use std::cell::RefCell;

use ndarray::{Array2, ArrayView1, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use super::{
    Head, narrow,
    objective::{self, Objective},
};
use crate::router::calibration;

/// How a head is fitted.
#[derive(Clone, Debug)]
pub struct FitOptions {
    /// Penalties to choose from, greatest first; the one whose held-back likelihood is best is taken.
    pub l2_candidates: Vec<f64>,
    /// Parts in which the rows are held back in turn.
    pub folds: usize,
    /// Steps after which a fit ends even if it still moves.
    pub iterations_max: u64,
}

impl Default for FitOptions {
    fn default() -> Self {
        Self {
            l2_candidates: vec![3e-3, 1e-3, 3e-4],
            folds: 5,
            iterations_max: 200,
        }
    }
}

/// A head and what is known of it.
#[derive(Clone, Debug)]
pub struct Fit {
    /// The classifier.
    pub head: Head,
    /// How it came about.
    pub report: FitReport,
}

/// How a fit came about, and how well it did on rows held back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FitReport {
    /// Rows that it was fitted on.
    pub rows: usize,
    /// The penalty that was chosen.
    pub l2: f32,
    /// What logits are divided by.
    pub temperature: f32,
    /// Share of rows that a head fitted without them got right; none where a class has but one row.
    pub accuracy: Option<f32>,
    /// Mean negative log-likelihood of those rows in nats, at the temperature.
    pub nll: Option<f32>,
}

/// Why no head can be fitted.
#[derive(Debug, thiserror::Error)]
pub enum FitError {
    /// Rows and labels do not pair up.
    #[error("{rows} rows but {labels} labels")]
    Unpaired {
        /// Rows given.
        rows: usize,
        /// Labels given.
        labels: usize,
    },
    /// One class or none: there is nothing to tell apart.
    #[error("{classes} classes; at least two are needed")]
    TooFewClasses {
        /// Classes asked for.
        classes: usize,
    },
    /// A label names no class.
    #[error("row {row} has label {label}, but there are {classes} classes")]
    UnknownClass {
        /// The row.
        row: usize,
        /// Its label.
        label: usize,
        /// Classes asked for.
        classes: usize,
    },
    /// A class without a row.
    #[error("class {class} has no rows")]
    EmptyClass {
        /// The class.
        class: usize,
    },
    /// A row of another length than the first, or empty.
    #[error("row {row} has {dimensions} dimensions; expected {expected}, and at least one")]
    Ragged {
        /// The row.
        row: usize,
        /// Its length.
        dimensions: usize,
        /// The first row's length.
        expected: usize,
    },
    /// NaN or infinity in a row.
    #[error("row {row} has a value that is not finite")]
    NotFinite {
        /// The row.
        row: usize,
    },
    /// No penalty to choose from, or one that is not above 0.
    #[error("the penalties to choose from must be one or more numbers above 0")]
    InvalidPenalties,
    /// The optimiser gave up.
    #[error("the optimiser failed at l2 = {l2}: {detail}")]
    Optimiser {
        /// The penalty it was working with.
        l2: f64,
        /// What it said.
        detail: String,
    },
}

impl Head {
    /// Fits a head on `rows`, whose classes `labels` name as 0 to `classes` − 1.
    ///
    /// Minimises the mean cross-entropy, every class counting the same however many rows it has, plus
    /// (l2 / 2)·‖weights‖². Cross-validation on the rows chooses the penalty and the temperature together: the pair
    /// under which the rows held back are likeliest. The head itself is then fitted on all rows.
    ///
    /// # Errors
    /// [`FitError`] says what is wrong with the rows.
    pub fn fit(
        rows: &[Vec<f32>],
        labels: &[usize],
        classes: usize,
        options: &FitOptions,
    ) -> Result<Fit, FitError> {
        let sizes = check(rows, labels, classes)?;
        let fine = |l2: &f64| l2.is_finite() && *l2 > 0.0;
        if options.l2_candidates.is_empty() || !options.l2_candidates.iter().all(fine) {
            return Err(FitError::InvalidPenalties);
        }
        let problem = Problem {
            rows: Array2::from_shape_fn((rows.len(), rows[0].len()), |(row, dimension)| {
                f64::from(rows[row][dimension])
            }),
            labels,
            classes,
            iterations_max: options.iterations_max,
        };
        let smallest_class = sizes.into_iter().min().unwrap_or(0);
        let folds = options.folds.min(smallest_class);
        let choice = problem.cross_validate(&options.l2_candidates, folds)?;
        let all: Vec<usize> = (0..labels.len()).collect();
        let parameters = problem.fit(&all, choice.l2, problem.origin())?;
        let head = Self::new(&parameters, classes, choice.temperature);
        let report = FitReport {
            rows: rows.len(),
            l2: narrow(choice.l2),
            temperature: head.temperature,
            accuracy: choice.accuracy.map(narrow),
            nll: choice.nll.map(narrow),
        };
        Ok(Fit { head, report })
    }

    fn new(parameters: &[f64], classes: usize, temperature: f64) -> Self {
        let mut weights: Vec<f32> = parameters.iter().copied().map(narrow).collect();
        let bias = weights.split_off(parameters.len() - classes);
        Self {
            weights,
            bias,
            temperature: narrow(temperature),
        }
    }
}

/// How many rows each class has, once rows and labels are known to be sound.
fn check(rows: &[Vec<f32>], labels: &[usize], classes: usize) -> Result<Vec<usize>, FitError> {
    if rows.len() != labels.len() {
        return Err(FitError::Unpaired {
            rows: rows.len(),
            labels: labels.len(),
        });
    }
    if classes < 2 {
        return Err(FitError::TooFewClasses { classes });
    }
    let expected = rows.first().map_or(0, Vec::len);
    let mut sizes = vec![0; classes];
    for (row, (features, &label)) in rows.iter().zip(labels).enumerate() {
        if features.len() != expected || expected == 0 {
            return Err(FitError::Ragged {
                row,
                dimensions: features.len(),
                expected,
            });
        }
        if !features.iter().all(|value| value.is_finite()) {
            return Err(FitError::NotFinite { row });
        }
        *sizes.get_mut(label).ok_or(FitError::UnknownClass {
            row,
            label,
            classes,
        })? += 1;
    }
    match sizes.iter().position(|size| *size == 0) {
        Some(class) => Err(FitError::EmptyClass { class }),
        None => Ok(sizes),
    }
}

struct Problem<'l> {
    rows: Array2<f64>,
    labels: &'l [usize],
    classes: usize,
    iterations_max: u64,
}

/// What cross-validation settles on.
struct Choice {
    l2: f64,
    temperature: f64,
    accuracy: Option<f64>,
    nll: Option<f64>,
}

impl Problem<'_> {
    /// Without a second row in some class nothing can be held back: the middle penalty and no temperature then.
    fn cross_validate(&self, candidates: &[f64], folds: usize) -> Result<Choice, FitError> {
        let mut best = Choice {
            l2: candidates[candidates.len() / 2],
            temperature: 1.0,
            accuracy: None,
            nll: None,
        };
        if folds < 2 {
            return Ok(best);
        }
        for (l2, logits) in candidates.iter().zip(self.held_back(candidates, folds)?) {
            let temperature = calibration::temperature(logits.view(), self.labels);
            let nll = calibration::nll(logits.view(), self.labels, temperature);
            if best.nll.is_none_or(|least| nll < least) {
                best = Choice {
                    l2: *l2,
                    temperature,
                    accuracy: Some(accuracy(&logits, self.labels)),
                    nll: Some(nll),
                };
            }
        }
        Ok(best)
    }

    /// For each candidate the logits of every row (rows × classes) by a head that has not seen it.
    fn held_back(&self, candidates: &[f64], folds: usize) -> Result<Vec<Array2<f64>>, FitError> {
        let fold_of = self.folds(folds);
        let shape = (self.labels.len(), self.classes);
        let mut logits = vec![Array2::zeros(shape); candidates.len()];
        for fold in 0..folds {
            let (held, seen): (Vec<usize>, Vec<usize>) =
                (0..self.labels.len()).partition(|row| fold_of[*row] == fold);
            let held_rows = self.rows.select(Axis(0), &held);
            // The last penalty's solution is close to the next one's: starting there saves most of the steps.
            let mut parameters = self.origin();
            for (l2, logits) in candidates.iter().zip(&mut logits) {
                parameters = self.fit(&seen, *l2, parameters)?;
                let (weights, bias) = self.split(&parameters, *l2)?;
                let of_held = objective::logits(held_rows.view(), weights, bias);
                for (row, of_row) in held.iter().zip(of_held.rows()) {
                    logits.row_mut(*row).assign(&of_row);
                }
            }
        }
        Ok(logits)
    }

    /// The fold of each row: the rows of a class take turns, so that each fold has its share of every class.
    fn folds(&self, folds: usize) -> Vec<usize> {
        let mut seen = vec![0; self.classes];
        let turns = self.labels.iter().map(|label| {
            seen[*label] += 1;
            (seen[*label] - 1) % folds
        });
        turns.collect()
    }

    fn fit(&self, at: &[usize], l2: f64, start: Vec<f64>) -> Result<Vec<f64>, FitError> {
        let labels: Vec<usize> = at.iter().map(|row| self.labels[*row]).collect();
        let mut sizes = vec![0.0; self.classes];
        labels.iter().for_each(|label| sizes[*label] += 1.0);
        let share = at.len() as f64 / self.classes as f64;
        let rows = self.rows.select(Axis(0), at);
        Objective {
            rows: rows.view(),
            row_weights: labels.iter().map(|label| share / sizes[*label]).collect(),
            labels: &labels,
            classes: self.classes,
            l2,
            last: RefCell::default(),
        }
        .minimise(start, self.iterations_max)
        .map_err(|error| optimiser(l2, &error))
    }

    fn split<'p>(
        &self,
        parameters: &'p [f64],
        l2: f64,
    ) -> Result<(ArrayView2<'p, f64>, ArrayView1<'p, f64>), FitError> {
        objective::split(parameters, self.classes).map_err(|error| optimiser(l2, &error))
    }

    fn origin(&self) -> Vec<f64> {
        vec![0.0; self.classes * (self.rows.ncols() + 1)]
    }
}

fn optimiser(l2: f64, error: &argmin::core::Error) -> FitError {
    FitError::Optimiser {
        l2,
        detail: error.to_string(),
    }
}

fn accuracy(logits: &Array2<f64>, labels: &[usize]) -> f64 {
    let right = logits
        .rows()
        .into_iter()
        .zip(labels)
        .filter(|(row, label)| row.iter().all(|logit| *logit <= row[**label]));
    right.count() as f64 / labels.len() as f64
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

    use super::*;

    /// `per_class[c]` points around the c-th corner of a square, `spread` far from it at most.
    fn corners(per_class: &[usize], spread: f32) -> (Vec<Vec<f32>>, Vec<usize>) {
        let mut random = SmallRng::seed_from_u64(7);
        let corners = [[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]];
        let mut rows = Vec::new();
        let mut labels = Vec::new();
        for (class, count) in per_class.iter().enumerate() {
            for _ in 0..*count {
                let near = corners[class].map(|at: f32| at + random.random_range(-spread..spread));
                rows.push(near.to_vec());
                labels.push(class);
            }
        }
        (rows, labels)
    }

    fn fit(rows: &[Vec<f32>], labels: &[usize], classes: usize) -> Fit {
        Head::fit(rows, labels, classes, &FitOptions::default()).unwrap()
    }

    fn likeliest(probabilities: &[f32]) -> usize {
        (0..probabilities.len())
            .max_by(|a, b| probabilities[*a].total_cmp(&probabilities[*b]))
            .unwrap()
    }

    #[test]
    fn classes_that_can_be_separated_are() {
        let (rows, labels) = corners(&[20; 4], 0.6);
        let Fit { head, report } = fit(&rows, &labels, 4);
        for (row, label) in rows.iter().zip(&labels) {
            assert_eq!(likeliest(&head.probabilities(row)), *label);
        }
        assert_eq!(report.accuracy, Some(1.0));
        assert_eq!((head.classes(), head.dimensions()), (4, 2));
    }

    #[test]
    fn probabilities_add_up_to_one_and_follow_the_evidence() {
        let (rows, labels) = corners(&[30; 4], 1.1);
        let head = fit(&rows, &labels, 4).head;
        let (near, far) = (
            head.probabilities(&[0.3, 0.3]),
            head.probabilities(&[1.5, 1.5]),
        );
        assert!((near.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert!(near[0] > 0.3 && near[3] < 0.2, "{near:?}");
        assert!(far[0] > 0.95, "{far:?}");
    }

    #[test]
    fn the_same_rows_give_the_same_bytes() {
        let (rows, labels) = corners(&[9, 14, 11, 6], 1.2);
        let bytes = |fit: &Fit| -> Vec<u32> {
            let head = &fit.head;
            let numbers = head.weights().iter().chain(head.bias());
            numbers.map(|number| number.to_bits()).collect()
        };
        let (first, second) = (fit(&rows, &labels, 4), fit(&rows, &labels, 4));
        assert_eq!(bytes(&first), bytes(&second));
        assert_eq!(first.report, second.report);
    }

    #[test]
    fn a_small_class_is_not_drowned_by_a_large_one() {
        let (rows, labels) = corners(&[200, 8], 1.6);
        let head = fit(&rows, &labels, 2).head;
        let halfway = head.probabilities(&[1.0, 0.0]);
        assert!((halfway[1] - 0.5).abs() < 0.2, "{halfway:?}");
    }

    #[test]
    fn labels_that_mean_nothing_give_no_confidence() {
        let (rows, _) = corners(&[60, 60], 1.0);
        let labels: Vec<usize> = (0..rows.len()).map(|row| row / 2 % 2).collect();
        let Fit { head, report } = fit(&rows, &labels, 2);
        for row in &rows {
            assert!(head.probabilities(row).iter().all(|p| *p < 0.65));
        }
        assert!(report.nll.unwrap() > 0.66, "a coin has ln 2 = 0.693");
    }

    #[test]
    fn one_row_a_class_is_enough_to_fit_but_not_to_measure() {
        let rows = [vec![1.0, 0.0], vec![0.0, 1.0]];
        let Fit { head, report } = fit(&rows, &[0, 1], 2);
        assert_eq!(likeliest(&head.probabilities(&[0.9, 0.1])), 0);
        assert_eq!(
            (report.accuracy, report.nll, report.temperature),
            (None, None, 1.0)
        );
    }

    #[test]
    fn rows_that_cannot_be_fitted_are_refused() {
        let good = vec![vec![1.0], vec![2.0]];
        let refused = |rows: &[Vec<f32>], labels: &[usize], classes| {
            Head::fit(rows, labels, classes, &FitOptions::default())
                .unwrap_err()
                .to_string()
        };
        assert_eq!(refused(&good, &[0], 2), "2 rows but 1 labels");
        assert_eq!(
            refused(&good, &[0, 0], 1),
            "1 classes; at least two are needed"
        );
        assert_eq!(
            refused(&good, &[0, 2], 2),
            "row 1 has label 2, but there are 2 classes"
        );
        assert_eq!(refused(&good, &[0, 0], 2), "class 1 has no rows");
        assert_eq!(
            refused(&[vec![1.0], vec![]], &[0, 1], 2),
            "row 1 has 0 dimensions; expected 1, and at least one"
        );
        assert_eq!(
            refused(&[vec![1.0], vec![f32::NAN]], &[0, 1], 2),
            "row 1 has a value that is not finite"
        );
    }
}
