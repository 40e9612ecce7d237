//! Rows whose label is probably wrong. Pure.
//!
//! Confident learning (Northcutt, Jiang and Chuang, "Confident learning: estimating uncertainty in dataset labels", Journal
//! of Artificial Intelligence Research 2021): a class is believed of a row where its probability, by a model that has not
//! seen the row, is at least what it is on average in the rows that have that label. A row of which another class is
//! believed is suspect. Here its own label must be next to impossible besides, since a hard row is worth keeping.
//!
//! A row that got its label with others that resemble it, and of which nobody has said anything by itself, has less to be kept for:
//! it is suspect as soon as another category is likelier. No class loses all of its rows.

use std::collections::BTreeMap;

use ndarray::{ArrayView1, ArrayView2};

/// What is left to a suspect row's own label, as a share of the probability of the class that is believed.
const OWN_SHARE_MAX: f32 = 0.1;

/// Rows of a label below which its average says nothing.
const ROWS_MIN: usize = 5;

/// How a row came by its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// By somebody whose word is learnt whatever the model makes of it.
    Surely,
    /// By somebody who may be wrong.
    Doubtfully,
    /// With others that resemble it.
    Together,
}

impl Given {
    /// One word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Surely => "surely",
            Self::Doubtfully => "doubtfully",
            Self::Together => "together",
        }
    }
}

/// Rows with their labels, and what models that have not seen them say.
#[derive(Clone, Copy, Debug)]
pub struct Judged<'r> {
    /// The class of each.
    pub labels: &'r [usize],
    /// Rows × classes.
    pub probabilities: ArrayView2<'r, f32>,
    /// The class of what belongs nowhere, which is no category.
    pub outside: Option<usize>,
}

impl Judged<'_> {
    /// The rows whose label is probably wrong; in order.
    pub fn suspects(&self, given: impl Fn(usize) -> Given) -> Vec<usize> {
        let rows = 0..self.labels.len();
        let (together, others): (Vec<usize>, Vec<usize>) =
            rows.partition(|row| given(*row) == Given::Together);
        let believed_from = believed_from(self.labels, self.probabilities);
        let mut suspects: Vec<usize> = others
            .into_iter()
            .filter(|row| given(*row) == Given::Doubtfully && self.is_refuted(*row, &believed_from))
            .collect();
        let mut by_label: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for row in together {
            by_label.entry(self.labels[row]).or_default().push(row);
        }
        for rows in by_label.into_values() {
            let of_label = rows.len();
            let doubted: Vec<usize> = rows
                .into_iter()
                .filter(|row| self.is_elsewhere(*row))
                .collect();
            // Where most look like others, it is the model that does not know the category.
            if 2 * doubted.len() <= of_label {
                suspects.extend(doubted);
            }
        }
        suspects.sort_unstable();
        self.without_whole_classes(suspects)
    }

    /// The suspects but for those of a class that has no other row: without any it could not be learnt.
    fn without_whole_classes(&self, mut suspects: Vec<usize>) -> Vec<usize> {
        let mut left = vec![0_usize; self.probabilities.ncols()];
        for label in self.labels {
            left[*label] += 1;
        }
        for row in &suspects {
            left[self.labels[*row]] -= 1;
        }
        suspects.retain(|row| left[self.labels[*row]] > 0);
        suspects
    }

    /// Whether another class is believed of a row, and its own label next to impossible.
    fn is_refuted(&self, row: usize, believed_from: &[f32]) -> bool {
        let (label, of_row) = (self.labels[row], self.probabilities.row(row));
        best(of_row).is_some_and(|best| {
            best != label
                && of_row[best] >= believed_from[best]
                && of_row[label] <= OWN_SHARE_MAX * of_row[best]
        })
    }

    /// Whether another category is likelier than that of a row. (What belongs nowhere has little in common: of much of it some
    /// category is likelier, by a little.)
    fn is_elsewhere(&self, row: usize) -> bool {
        let label = self.labels[row];
        let is_category = |class: &usize| Some(*class) != self.outside;
        let of_row = self.probabilities.row(row);
        is_category(&label)
            && (0..of_row.len())
                .filter(is_category)
                .any(|class| of_row[class] > of_row[label])
    }
}

/// Of each class, its mean probability in the rows that have that label; never where there are too few.
fn believed_from(labels: &[usize], probabilities: ArrayView2<'_, f32>) -> Vec<f32> {
    let mut sums = vec![(0.0_f64, 0_usize); probabilities.ncols()];
    for (label, row) in labels.iter().zip(probabilities.rows()) {
        let (sum, rows) = &mut sums[*label];
        *sum += f64::from(row[*label]);
        *rows += 1;
    }
    let mean = |(sum, rows): (f64, usize)| {
        if rows < ROWS_MIN {
            f32::INFINITY
        } else {
            crate::router::narrow(sum / rows as f64)
        }
    };
    sums.into_iter().map(mean).collect()
}

fn best(row: ArrayView1<'_, f32>) -> Option<usize> {
    (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b]))
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    /// Ten rows of each of two classes, `sure` of their own label, then one more row.
    fn rows(sure: f32, last: (usize, [f32; 2])) -> (Vec<usize>, Array2<f32>) {
        let mut labels: Vec<usize> = (0..20).map(|row| row % 2).collect();
        let mut probabilities: Vec<f32> = labels
            .iter()
            .flat_map(|label| [0, 1].map(|class| if class == *label { sure } else { 1.0 - sure }))
            .collect();
        labels.push(last.0);
        probabilities.extend(last.1);
        let probabilities = Array2::from_shape_vec((21, 2), probabilities).unwrap();
        (labels, probabilities)
    }

    fn judged<'r>(labels: &'r [usize], probabilities: &'r Array2<f32>) -> Judged<'r> {
        Judged {
            labels,
            probabilities: probabilities.view(),
            outside: None,
        }
    }

    fn found(sure: f32, last: (usize, [f32; 2])) -> Vec<usize> {
        let (labels, probabilities) = rows(sure, last);
        judged(&labels, &probabilities).suspects(|_| Given::Doubtfully)
    }

    #[test]
    fn a_row_of_which_everything_speaks_for_another_class_is_suspect() {
        assert_eq!(found(0.8, (0, [0.03, 0.97])), [20]);
    }

    #[test]
    fn a_row_that_is_only_hard_is_not() {
        assert!(found(0.8, (0, [0.3, 0.7])).is_empty());
        assert!(found(0.8, (0, [0.2, 0.8])).is_empty());
        // Nor is one that says less than what is usual of that class.
        assert!(found(0.99, (0, [0.05, 0.95])).is_empty());
    }

    #[test]
    fn what_may_not_be_wrong_is_not_suspected() {
        let (labels, probabilities) = rows(0.8, (0, [0.03, 0.97]));
        let given = |row| {
            if row == 20 {
                Given::Surely
            } else {
                Given::Doubtfully
            }
        };
        assert!(judged(&labels, &probabilities).suspects(given).is_empty());
    }

    #[test]
    fn what_was_labelled_with_others_is_suspect_where_another_category_is_likelier() {
        let found = |last, outside| {
            let (labels, probabilities) = rows(0.8, last);
            let judged = Judged {
                outside,
                ..judged(&labels, &probabilities)
            };
            judged.suspects(|_| Given::Together)
        };
        assert_eq!(found((0, [0.45, 0.55]), None), [20]);
        assert!(found((0, [0.55, 0.45]), None).is_empty());
        assert!(found((0, [0.5, 0.5]), None).is_empty());
        // Nor if it is likelier that it belongs nowhere, or where that is what was said of it.
        assert!(found((0, [0.45, 0.55]), Some(1)).is_empty());
        assert!(found((0, [0.45, 0.55]), Some(0)).is_empty());
    }

    #[test]
    fn a_class_that_has_no_other_row_keeps_what_is_suspect() {
        let found = |last: [usize; 2]| {
            let labels = [vec![0; 10], last.to_vec()].concat();
            let probabilities: Vec<f32> = [0.9, 0.1, 0.0].repeat(10);
            let probabilities = [probabilities, [0.95, 0.01, 0.04].repeat(2)].concat();
            let probabilities = Array2::from_shape_vec((12, 3), probabilities).unwrap();
            judged(&labels, &probabilities).suspects(|_| Given::Doubtfully)
        };
        assert!(found([1, 1]).is_empty());
        assert!(found([1, 2]).is_empty());
        // With a row that is likely enough, the other one is.
        let labels = [vec![0; 10], vec![1, 1]].concat();
        let probabilities = [[0.9, 0.1].repeat(10), vec![0.97, 0.03, 0.5, 0.5]].concat();
        let probabilities = Array2::from_shape_vec((12, 2), probabilities).unwrap();
        let found = judged(&labels, &probabilities).suspects(|_| Given::Doubtfully);
        assert_eq!(found, [10]);
    }

    #[test]
    fn a_category_whose_rows_mostly_look_like_others_keeps_them() {
        let suspects = |elsewhere: usize| {
            let labels = [0; 10];
            let of = |row| {
                if row < elsewhere {
                    [0.1, 0.9]
                } else {
                    [0.9, 0.1]
                }
            };
            let probabilities: Vec<f32> = (0..10).flat_map(of).collect();
            let probabilities = Array2::from_shape_vec((10, 2), probabilities).unwrap();
            judged(&labels, &probabilities).suspects(|_| Given::Together)
        };
        assert_eq!(suspects(5), [0, 1, 2, 3, 4]);
        assert!(suspects(6).is_empty());
    }

    #[test]
    fn a_class_of_few_rows_is_believed_of_nobody() {
        let labels = [0, 0, 0, 0, 0, 0, 1, 1, 0];
        let of = [0.9, 0.1];
        let mut probabilities: Vec<f32> = (0..8)
            .flat_map(|row| if row < 6 { of } else { [0.1, 0.9] })
            .collect();
        probabilities.extend([0.01, 0.99]);
        let probabilities = Array2::from_shape_vec((9, 2), probabilities).unwrap();
        assert!(
            judged(&labels, &probabilities)
                .suspects(|_| Given::Doubtfully)
                .is_empty()
        );
    }
}
