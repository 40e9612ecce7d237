//! Rows → sums by expert, category and block: all that fitting and judging a mapping need, whatever is held back.

use std::ops::{AddAssign, SubAssign};

use ndarray::Array2;

use super::{
    folds::{self, BLOCKS, INNER, OUTER},
    outcomes::Outcomes,
};

/// Share of the pool that must have been scored on a row for its difficulty to be known.
const SCORED_SHARE_MIN: f64 = 0.5;

/// Rounds in which what experts and what rows contribute to scores are told apart, where scores are missing.
const ROUNDS: usize = 3;

/// Sums over the scores of an expert in a category.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    /// How many scores there are.
    pub scores: f64,
    /// Their sum.
    pub sum: f64,
    /// The same of scores that are adjusted for the difficulty of their rows.
    pub adjusted: f64,
    /// The sum of the squares of those.
    pub squares: f64,
    /// Scores, each counted by the share of its variance that adjusting leaves.
    pub left: f64,
}

/// How much easier a row is than others of its category, in score: what all experts get more there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::mapping) struct Difficulty {
    /// What is taken from each of its scores.
    score: f32,
    /// Share of the variance of a score that is left then: a score takes part in the mean that is taken from it.
    left: f32,
}

impl Difficulty {
    /// Not known: nothing is taken away.
    pub(in crate::mapping) const UNKNOWN: Self = Self {
        score: 0.0,
        left: 1.0,
    };
}

/// Sums over some rows: experts by categories.
#[derive(Clone, Debug)]
pub struct Sums {
    /// Over the scores of each expert in each category.
    pub cells: Array2<Moments>,
    /// Rows of each category.
    pub rows: Vec<f64>,
}

/// Sums over the rows of each block, and of each part.
#[derive(Debug)]
pub(in crate::mapping) struct Tally {
    blocks: Vec<Sums>,
    outer: Vec<Sums>,
    inner: Vec<Sums>,
    all: Sums,
}

impl AddAssign for Moments {
    fn add_assign(&mut self, other: Self) {
        self.scores += other.scores;
        self.sum += other.sum;
        self.adjusted += other.adjusted;
        self.squares += other.squares;
        self.left += other.left;
    }
}

impl SubAssign for Moments {
    fn sub_assign(&mut self, other: Self) {
        self.scores -= other.scores;
        self.sum -= other.sum;
        self.adjusted -= other.adjusted;
        self.squares -= other.squares;
        self.left -= other.left;
    }
}

impl Moments {
    /// The mean score; none where there is no score.
    pub fn mean(&self) -> Option<f64> {
        (self.scores > 0.0).then(|| self.sum / self.scores)
    }
}

impl Sums {
    fn none(experts: usize, categories: usize) -> Self {
        Self {
            cells: Array2::default((experts, categories)),
            rows: vec![0.0; categories],
        }
    }

    fn add(&mut self, other: &Self) {
        self.cells
            .zip_mut_with(&other.cells, |sum, other| *sum += *other);
        for (sum, other) in self.rows.iter_mut().zip(&other.rows) {
            *sum += other;
        }
    }

    /// The sums without some of the rows that they are over.
    pub(in crate::mapping) fn less(&self, some: &Self) -> Self {
        let mut left = self.clone();
        left.cells
            .zip_mut_with(&some.cells, |sum, some| *sum -= *some);
        for (sum, some) in left.rows.iter_mut().zip(&some.rows) {
            *sum -= some;
        }
        left
    }
}

impl Tally {
    /// Sums over rows that are drawn so often, in blocks. `difficulties`: of [`difficulties`].
    pub(in crate::mapping) fn of(
        outcomes: &Outcomes,
        difficulties: &[Difficulty],
        blocks: &[u8],
        draws: &[u8],
    ) -> Self {
        let (experts, categories) = (outcomes.experts().len(), outcomes.categories().len());
        let none = |count| vec![Sums::none(experts, categories); count];
        let mut tally = Self {
            blocks: none(BLOCKS),
            outer: none(OUTER),
            inner: none(INNER),
            all: Sums::none(experts, categories),
        };
        for expert in 0..experts {
            for (row, score) in outcomes.scores(expert).filter(|(row, _)| draws[*row] > 0) {
                let Difficulty { score: taken, left } = difficulties[row];
                let (draws, adjusted) = (f64::from(draws[row]), score - f64::from(taken));
                let block = &mut tally.blocks[usize::from(blocks[row])];
                block.cells[[expert, outcomes.category(row)]] += Moments {
                    scores: draws,
                    sum: draws * score,
                    adjusted: draws * adjusted,
                    squares: draws * adjusted * adjusted,
                    left: draws * f64::from(left),
                };
            }
        }
        for row in 0..outcomes.rows() {
            tally.blocks[usize::from(blocks[row])].rows[outcomes.category(row)] +=
                f64::from(draws[row]);
        }
        for (at, block) in tally.blocks.iter().enumerate() {
            tally.outer[folds::outer(at)].add(block);
            tally.inner[folds::inner(at)].add(block);
            tally.all.add(block);
        }
        tally
    }

    /// Sums over all rows.
    pub(in crate::mapping) fn all(&self) -> &Sums {
        &self.all
    }

    /// Sums over an outer part.
    pub(super) fn outer(&self, outer: usize) -> &Sums {
        &self.outer[outer]
    }

    /// Sums over what an inner part has outside of an outer one, or as a whole.
    pub(super) fn inner(&self, inner: usize, outside: Option<usize>) -> Sums {
        let whole = &self.inner[inner];
        outside.map_or_else(
            || whole.clone(),
            |outer| whole.less(&self.blocks[folds::block(outer, inner)]),
        )
    }

    /// Sums over what is outside of some outer parts.
    pub(in crate::mapping) fn outside(&self, outer: impl IntoIterator<Item = usize>) -> Sums {
        let less = |sums: Sums, outer: usize| sums.less(&self.outer[outer]);
        outer.into_iter().fold(self.all.clone(), less)
    }
}

/// The difficulty of each row, by the scores of all experts that were tried on it; not known where those are too few.
///
/// Experts are compared on the same questions then, not on those that each happened to get.
pub(in crate::mapping) fn difficulties(outcomes: &Outcomes) -> Vec<Difficulty> {
    let experts = outcomes.experts().len();
    let rows = outcomes.rows();
    let scored = outcomes.rows_scored();
    let is_complete = scored.iter().all(|scored| *scored == rows);
    let mut level = vec![0.0; experts];
    let mut means = row_means(outcomes, &level);
    for _ in 0..if is_complete { 0 } else { ROUNDS } {
        for (expert, level) in level.iter_mut().enumerate() {
            let left = outcomes
                .scores(expert)
                .map(|(row, score)| score - means[row].0);
            *level = left.sum::<f64>() / (scored[expert].max(1) as f64);
        }
        means = row_means(outcomes, &level);
    }
    let known = |tried: u32| tried > 1 && f64::from(tried) >= experts as f64 * SCORED_SHARE_MIN;
    let mut category = vec![(0.0, 0.0); outcomes.categories().len()];
    for (row, (mean, _)) in means
        .iter()
        .enumerate()
        .filter(|(_, (_, tried))| known(*tried))
    {
        let sums = &mut category[outcomes.category(row)];
        (sums.0, sums.1) = (sums.0 + mean, sums.1 + 1.0);
    }
    let difficulty = |(row, (mean, tried)): (usize, &(f64, u32))| {
        let (sum, rows) = category[outcomes.category(row)];
        if !known(*tried) {
            return Difficulty::UNKNOWN;
        }
        Difficulty {
            score: narrow(mean - sum / rows),
            left: narrow(1.0 - 1.0 / f64::from(*tried)),
        }
    };
    means.iter().enumerate().map(difficulty).collect()
}

/// The mean of what each row's scores have over their experts' levels, and how many there are.
fn row_means(outcomes: &Outcomes, level: &[f64]) -> Vec<(f64, u32)> {
    let mut means = vec![(0.0, 0); outcomes.rows()];
    for (expert, level) in level.iter().enumerate() {
        for (row, score) in outcomes.scores(expert) {
            means[row].0 += score - level;
            means[row].1 += 1;
        }
    }
    for (mean, tried) in &mut means {
        *mean /= f64::from((*tried).max(1));
    }
    means
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "scores have no more digits"
)]
fn narrow(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::fit::outcomes::tests::outcomes;

    fn rows() -> Outcomes {
        let line = |row: usize| {
            let (easy, category) = (f64::from(u8::from(row.is_multiple_of(2))) / 2.0, row % 3);
            let second = if row.is_multiple_of(5) {
                String::new()
            } else {
                format!(r#", "y": {}"#, easy + 0.25)
            };
            format!(
                r#"{{"id": "{row}", "prompt": "{row}", "category": "c{category}", "scores": {{"x": {easy}{second}}}}}"#
            )
        };
        outcomes(&(0..120).map(line).collect::<Vec<_>>())
    }

    #[test]
    fn parts_and_what_is_outside_of_them_make_the_whole() {
        let rows = rows();
        let blocks = folds::blocks(&rows, 1);
        let tally = Tally::of(&rows, &[Difficulty::UNKNOWN; 120], &blocks, &[1; 120]);
        assert!((tally.all().rows.iter().sum::<f64>() - 120.0).abs() < 1e-9);
        assert!(
            (tally
                .all()
                .cells
                .row(0)
                .iter()
                .map(|cell| cell.sum)
                .sum::<f64>()
                - 30.0)
                .abs()
                < 1e-9
        );
        for outer in 0..OUTER {
            let rest = tally.outside(Some(outer));
            assert_eq!(rest.less(&tally.outside(Some(outer))).rows, [0.0; 3]);
            let parts = (0..INNER).map(|inner| tally.inner(inner, Some(outer)));
            let together: f64 = parts.flat_map(|part| part.rows).sum();
            assert!((together - rest.rows.iter().sum::<f64>()).abs() < 1e-9);
            assert!((together + tally.outer(outer).rows.iter().sum::<f64>() - 120.0).abs() < 1e-9);
        }
    }

    #[test]
    fn a_row_that_is_drawn_twice_counts_twice() {
        let rows = rows();
        let mut draws = vec![0; 120];
        draws[2] = 2;
        let tally = Tally::of(&rows, &[Difficulty::UNKNOWN; 120], &[0; 120], &draws);
        let cell = tally.all().cells[[1, 2]];
        assert_eq!((cell.scores, cell.sum), (2.0, 1.5));
        assert_eq!(tally.all().rows, [0.0, 0.0, 2.0]);
    }

    #[test]
    fn the_difficulty_of_rows_is_what_experts_have_in_common() {
        let rows = rows();
        let difficulties = difficulties(&rows);
        assert_eq!(
            difficulties[0],
            Difficulty::UNKNOWN,
            "one expert of two tells too little"
        );
        let score = |row: usize| f64::from(difficulties[row].score);
        let (easy, hard) = (score(2), score(8));
        assert!(
            (easy - hard).abs() < 0.02,
            "both are easy: {easy} and {hard}"
        );
        let hard = score(1);
        assert!((easy - hard - 0.5).abs() < 0.05, "{easy} and {hard}");
    }
}
