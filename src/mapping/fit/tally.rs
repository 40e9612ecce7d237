//! Rows → sums by expert, category and block: all that fitting and judging a mapping need, whatever is held back.

use std::ops::{AddAssign, SubAssign};

use ndarray::Array2;

use super::{
    difficulty::Difficulty,
    folds::{self, BLOCKS, INNER, OUTER},
    outcomes::Outcomes,
};

/// Sums over the scores of an expert in a category.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    /// How many scores there are.
    pub scores: f64,
    /// Their sum, each adjusted for the difficulty of its row.
    pub adjusted: f64,
    /// The sum of the squares of those.
    pub squares: f64,
    /// Scores, each counted by the share of its variance that adjusting leaves.
    pub left: f64,
}

/// Sums over some rows: experts by categories.
#[derive(Clone, Debug)]
pub struct Sums {
    /// Over the scores of each expert in each category.
    pub cells: Array2<Moments>,
    /// Rows of each category.
    pub rows: Vec<f64>,
    /// Sum of the difficulties of those rows: what scores on them have over what is to be expected of the category.
    pub difficulty: Vec<f64>,
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
        self.adjusted += other.adjusted;
        self.squares += other.squares;
        self.left += other.left;
    }
}

impl SubAssign for Moments {
    fn sub_assign(&mut self, other: Self) {
        self.scores -= other.scores;
        self.adjusted -= other.adjusted;
        self.squares -= other.squares;
        self.left -= other.left;
    }
}

impl Sums {
    fn none(experts: usize, categories: usize) -> Self {
        Self {
            cells: Array2::default((experts, categories)),
            rows: vec![0.0; categories],
            difficulty: vec![0.0; categories],
        }
    }

    /// What an expert scores on the rows of a category, those included on which it was not tried; none where it has no score.
    pub(in crate::mapping) fn mean(&self, expert: usize, category: usize) -> Option<f64> {
        let cell = &self.cells[[expert, category]];
        let difficulty = self.difficulty[category] / self.rows[category];
        (cell.scores > 0.0).then(|| cell.adjusted / cell.scores + difficulty)
    }

    fn add(&mut self, other: &Self) {
        self.cells
            .zip_mut_with(&other.cells, |sum, other| *sum += *other);
        for (sums, others) in [
            (&mut self.rows, &other.rows),
            (&mut self.difficulty, &other.difficulty),
        ] {
            sums.iter_mut()
                .zip(others)
                .for_each(|(sum, other)| *sum += other);
        }
    }

    /// The sums without some of the rows that they are over.
    pub(in crate::mapping) fn less(&self, some: &Self) -> Self {
        let mut left = self.clone();
        left.cells
            .zip_mut_with(&some.cells, |sum, some| *sum -= *some);
        for (sums, some) in [
            (&mut left.rows, &some.rows),
            (&mut left.difficulty, &some.difficulty),
        ] {
            sums.iter_mut()
                .zip(some)
                .for_each(|(sum, some)| *sum -= some);
        }
        left
    }
}

impl Tally {
    /// Sums over rows that are drawn so often, in blocks. `difficulties`: of each row.
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
                let difficulty = difficulties[row];
                let (draws, adjusted) = (f64::from(draws[row]), score - difficulty.score());
                let block = &mut tally.blocks[usize::from(blocks[row])];
                block.cells[[expert, outcomes.category(row)]] += Moments {
                    scores: draws,
                    adjusted: draws * adjusted,
                    squares: draws * adjusted * adjusted,
                    left: draws * difficulty.left(),
                };
            }
        }
        for row in 0..outcomes.rows() {
            let (block, draws) = (
                &mut tally.blocks[usize::from(blocks[row])],
                f64::from(draws[row]),
            );
            block.rows[outcomes.category(row)] += draws;
            block.difficulty[outcomes.category(row)] += draws * difficulties[row].score();
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
                .map(|cell| cell.adjusted)
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
        assert_eq!((cell.scores, cell.adjusted), (2.0, 1.5));
        assert_eq!(tally.all().rows, [0.0, 0.0, 2.0]);
    }
}
