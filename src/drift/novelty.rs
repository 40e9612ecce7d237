//! How little a question resembles those before.

use serde::{Deserialize, Serialize};

use super::test::{Change, Level, Row, Test};

/// Vectors that are kept to compare with: a bound on memory and work. Of a topic with a hundredth of the questions there is
/// one among them with a probability of 87 %.
const KEPT: usize = 200;

/// Whether questions come that resemble none of the first ones. A new topic hides in the mean of all, but hardly ever has a
/// like among some hundred older questions.
///
/// Those that are kept are not ranked, so that the score of each of the others is as likely to have any rank as any other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Novelty {
    /// Of length 1.
    kept: Vec<Vec<f32>>,
    test: Test,
}

impl Novelty {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            kept: Vec::new(),
            test: Test::new(seed),
        }
    }

    /// Takes in a vector. After a change that it notices it begins again, with those to come as what they are compared with.
    pub(super) fn observe(&mut self, at_ms: i64, vector: &[f32], level: Level) -> Option<Change> {
        let vector = of_length_1(vector)?;
        if self.kept.len() < kept(level.reference_rows) {
            self.kept.push(vector);
            return None;
        }
        let cosines = self.kept.iter().map(|other| dot(other, &vector));
        let value = 1.0 - cosines.fold(-1.0, f32::max);
        let level = Level {
            reference_rows: level.reference_rows - self.kept.len(),
            ..level
        };
        let change = self.test.observe(Row { at_ms, value }, level)?;
        self.kept.clear();
        Some(change)
    }

    /// Rows of the reference that there are, of those that it needs.
    pub(super) fn reference(&self, needs: usize) -> usize {
        self.kept.len() + self.test.reference(needs - kept(needs))
    }
}

/// How many of a reference are kept.
fn kept(reference_rows: usize) -> usize {
    KEPT.min(reference_rows / 2)
}

fn of_length_1(vector: &[f32]) -> Option<Vec<f32>> {
    let length = dot(vector, vector).sqrt();
    let is_direction = length.is_finite() && length > 0.0;
    is_direction.then(|| vector.iter().map(|number| number / length).collect())
}

fn dot(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}
