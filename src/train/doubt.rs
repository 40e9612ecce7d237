//! Rows whose label is probably wrong. Pure.
//!
//! Confident learning (Northcutt, Jiang and Chuang, "Confident learning: estimating uncertainty in dataset labels", Journal
//! of Artificial Intelligence Research 2021): a class is believed of a row where its probability, by a model that has not
//! seen the row, is at least what it is on average in the rows that have that label. A row of which another class is
//! believed is suspect. Here its own label must be next to impossible besides, since a hard row is worth keeping.

use ndarray::{ArrayView1, ArrayView2};

/// What is left to a suspect row's own label, as a share of the probability of the class that is believed.
const OWN_SHARE_MAX: f32 = 0.1;

/// Rows of a label below which its average says nothing.
const ROWS_MIN: usize = 5;

/// The rows whose label is probably wrong, of those that may be; in order.
///
/// `probabilities`: rows × classes, by models that have not seen the row.
pub fn suspects(
    labels: &[usize],
    probabilities: ArrayView2<'_, f32>,
    may_be_wrong: impl Fn(usize) -> bool,
) -> Vec<usize> {
    let believed_from = believed_from(labels, probabilities);
    let is_suspect = |row: &usize| {
        let (label, of_row) = (labels[*row], probabilities.row(*row));
        best(of_row).is_some_and(|best| {
            best != label
                && of_row[best] >= believed_from[best]
                && of_row[label] <= OWN_SHARE_MAX * of_row[best]
        })
    };
    (0..labels.len())
        .filter(|row| may_be_wrong(*row))
        .filter(is_suspect)
        .collect()
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

    fn found(sure: f32, last: (usize, [f32; 2])) -> Vec<usize> {
        let (labels, probabilities) = rows(sure, last);
        suspects(&labels, probabilities.view(), |_| true)
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
        assert!(suspects(&labels, probabilities.view(), |row| row != 20).is_empty());
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
        assert!(suspects(&labels, probabilities.view(), |_| true).is_empty());
    }
}
