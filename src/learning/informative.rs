//! Which outcome a person is asked about next: the one whose label would teach most.
//!
//! Three things count, multiplied: how uncertain the answer is; how dense the questions around it are, so that the label says
//! something of many and no oddity is asked about ("information density": Settles and Craven, "An Analysis of Active
//! Learning Strategies for Sequence Labeling Tasks", EMNLP 2008; here over the nearest questions alone); and how far it is
//! from what was just asked about, so that one label is not followed by the next that says the same. Pure.

use std::collections::VecDeque;

use ndarray::{Array2, ArrayView1, ArrayView2, Axis, s};
use rayon::prelude::*;

use crate::decision::Score;

/// Outcomes that are compared with each other, the newest: their cosines are 25 million numbers, a second's work.
pub const CANDIDATES_MAX: u32 = 5000;

/// Nearest questions that make the density.
const NEIGHBOURS: usize = 10;

/// Questions that count as just asked about.
const RECENT: usize = 8;

/// Rows whose cosines with all others are held at once.
const BLOCK_ROWS: usize = 256;

/// How uncertain the router is, 0 to 1; 1 where there are no scores.
///
/// It is the mean of the entropy of its scores, as a share of the greatest that `classes` classes can have, and of how close
/// the two likeliest are. What the recorded scores leave of one counts as one more class.
pub fn uncertainty(scores: &[Score], classes: usize) -> f64 {
    let mut probabilities: Vec<f64> = scores.iter().map(|it| it.probability.into()).collect();
    let (Some(&first), second) = (probabilities.first(), probabilities.get(1)) else {
        return 1.0;
    };
    let margin = first - second.copied().unwrap_or(0.0);
    probabilities.push(1.0 - probabilities.iter().sum::<f64>());
    let spread = entropy(&probabilities) / (classes.max(2) as f64).ln();
    f64::midpoint(spread.clamp(0.0, 1.0), (1.0 - margin).clamp(0.0, 1.0))
}

/// The entropy of a distribution, in nats.
pub(super) fn entropy(probabilities: &[f64]) -> f64 {
    let terms = probabilities.iter().filter(|p| **p > 0.0);
    terms.map(|p| -p * p.ln()).sum()
}

/// The mean cosine of each row to its nearest other rows, 0 to 1; 1 for all where nothing is known of them.
///
/// `vectors`: a row each, of length 1 or 0.
fn density(vectors: ArrayView2<'_, f32>) -> Vec<f32> {
    let rows = vectors.nrows();
    if vectors.ncols() == 0 || rows < 2 {
        return vec![1.0; rows];
    }
    let neighbours = NEIGHBOURS.min(rows - 1);
    let starts: Vec<usize> = (0..rows).step_by(BLOCK_ROWS).collect();
    let blocks = starts.into_par_iter().map(|start| {
        let block = vectors.slice(s![start..rows.min(start + BLOCK_ROWS), ..]);
        let cosines = block.dot(&vectors.t());
        let means = cosines.axis_iter(Axis(0)).enumerate();
        means
            .map(|(at, row)| {
                let mut others = row.to_vec();
                others.swap_remove(start + at);
                others.select_nth_unstable_by(neighbours - 1, |a, b| b.total_cmp(a));
                let sum: f32 = others[..neighbours].iter().sum();
                (sum / neighbours as f32).clamp(0.0, 1.0)
            })
            .collect::<Vec<f32>>()
    });
    blocks.flatten().collect()
}

/// The outcomes that wait for a label.
pub struct Queue {
    vectors: Array2<f32>,
    /// Uncertainty × density.
    worth: Vec<f64>,
    waiting: Vec<bool>,
    recent: VecDeque<usize>,
}

impl Queue {
    /// Outcomes by their uncertainty, with a vector each, of length 1; vectors of no dimensions where there are none.
    ///
    /// # Panics
    /// There are not as many vectors as uncertainties.
    pub fn new(uncertainties: &[f64], vectors: Array2<f32>) -> Self {
        assert_eq!(uncertainties.len(), vectors.nrows(), "a vector each");
        let density = density(vectors.view());
        let worth = uncertainties.iter().zip(density);
        Self {
            worth: worth.map(|(it, density)| it * f64::from(density)).collect(),
            waiting: vec![true; uncertainties.len()],
            recent: VecDeque::new(),
            vectors,
        }
    }

    /// The one to ask about next; of equals the first.
    pub fn next(&self) -> Option<usize> {
        let worth = |at: usize| self.worth[at] * (1.0 - f64::from(self.nearness(at)));
        let waiting = (0..self.waiting.len()).filter(|at| self.waiting[*at]);
        waiting
            .map(|at| (at, worth(at)))
            .reduce(|best, it| if it.1 > best.1 { it } else { best })
            .map(|(at, _)| at)
    }

    /// Takes one out: it was asked about.
    pub fn take(&mut self, at: usize) {
        self.waiting[at] = false;
        self.recent.push_back(at);
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
    }

    /// Puts one back.
    pub fn put_back(&mut self, at: usize) {
        self.waiting[at] = true;
        self.recent.retain(|recent| *recent != at);
    }

    /// How many wait.
    pub fn left(&self) -> usize {
        self.waiting.iter().filter(|waiting| **waiting).count()
    }

    /// The greatest cosine to what was just asked about, 0 to 1.
    fn nearness(&self, at: usize) -> f32 {
        let row: ArrayView1<'_, f32> = self.vectors.row(at);
        let cosines = self.recent.iter().map(|it| row.dot(&self.vectors.row(*it)));
        cosines.fold(0.0, f32::max).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::ids::CategoryId;

    fn scores<const N: usize>(probabilities: [f32; N]) -> Vec<Score> {
        let score = |probability| Score {
            category: CategoryId::new("any"),
            probability,
        };
        probabilities.map(score).to_vec()
    }

    #[test]
    fn the_most_even_scores_are_the_most_uncertain() {
        let sure = uncertainty(&scores([1.0, 0.0]), 2);
        let even = uncertainty(&scores([0.5, 0.5]), 2);
        let between = uncertainty(&scores([0.8, 0.2]), 2);
        assert!(
            sure.abs() < 1e-9 && (even - 1.0).abs() < 1e-9,
            "{sure} {even}"
        );
        assert!(0.4 < between && between < 0.7, "{between}");
        assert!((uncertainty(&[], 12) - 1.0).abs() < 1e-9);
        assert!(uncertainty(&scores([0.5]), 12) > uncertainty(&scores([0.9]), 12));
    }

    #[test]
    fn what_stands_alone_is_asked_about_last() {
        let vectors = array![[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]];
        let queue = Queue::new(&[1.0, 0.9, 0.8, 0.7], vectors);
        assert_eq!(queue.next(), Some(1), "the first of those that are many");
    }

    #[test]
    fn the_next_is_far_from_the_last() {
        let near = [0.0, 1.0];
        let far = [1.0, 0.0];
        let vectors = Array2::from_shape_vec((4, 2), [near, near, far, far].concat()).unwrap();
        let mut queue = Queue::new(&[1.0, 0.9, 0.5, 0.4], vectors);
        assert_eq!((queue.next(), queue.left()), (Some(0), 4));
        queue.take(0);
        assert_eq!((queue.next(), queue.left()), (Some(2), 3));
        queue.put_back(0);
        assert_eq!((queue.next(), queue.left()), (Some(0), 4));
        for at in [0, 2, 3, 1] {
            queue.take(at);
        }
        assert_eq!(queue.next(), None);
    }

    #[test]
    fn without_vectors_uncertainty_alone_counts() {
        let mut queue = Queue::new(&[0.1, 0.9, 0.5], Array2::zeros((3, 0)));
        assert_eq!(queue.next(), Some(1));
        queue.take(1);
        assert_eq!(queue.next(), Some(2));
        assert_eq!(Queue::new(&[], Array2::zeros((0, 0))).next(), None);
    }

    #[test]
    fn a_density_is_the_same_in_whatever_block_its_row_stands() {
        let rows = BLOCK_ROWS * 2 + 3;
        let angle = |at: usize| (at % 7) as f32;
        let row = |at: usize| [angle(at).cos(), angle(at).sin()];
        let flat: Vec<f32> = (0..rows).flat_map(row).collect();
        let vectors = Array2::from_shape_vec((rows, 2), flat).unwrap();
        let densities = density(vectors.view());
        assert_eq!(densities.len(), rows);
        // Each row has more equals than are looked at.
        assert!(densities.iter().all(|it| *it > 0.999), "{densities:?}");
    }
}
