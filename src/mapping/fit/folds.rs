//! Which rows are held back together, and which are drawn in a resample. Both depend on the question alone, so that the same
//! question never stands on both sides of a split.

use std::collections::{HashMap, HashSet};

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use super::outcomes::Outcomes;

/// Parts that are held back in turn to judge a fit.
pub const OUTER: usize = 5;

/// Parts of what is left that are held back in turn to choose how cautious a fit is.
pub const INNER: usize = 4;

/// Parts that rows are dealt into: an outer and an inner one each.
pub(in crate::mapping) const BLOCKS: usize = OUTER * INNER;

/// Different questions that it takes to hold some back: with fewer, a part that is held back within the rest has none.
pub const QUESTIONS_MIN: usize = BLOCKS;

/// Draws of one question in a resample that are told apart; one in 10⁷ is drawn more often.
const DRAWS_MAX: u8 = 10;

/// Whether every part of the rows holds some questions and leaves some.
pub(in crate::mapping) fn can_hold_back(outcomes: &Outcomes) -> bool {
    questions(outcomes) >= QUESTIONS_MIN
}

/// How many different questions there are.
pub(in crate::mapping) fn questions(outcomes: &Outcomes) -> usize {
    let questions = (0..outcomes.rows()).map(|row| outcomes.question(row));
    questions.collect::<HashSet<u64>>().len()
}

/// The outer part of a block.
pub(in crate::mapping) fn outer(block: usize) -> usize {
    block % OUTER
}

/// The inner part of a block.
pub(super) fn inner(block: usize) -> usize {
    block / OUTER
}

/// The block of an outer and an inner part.
pub(super) fn block(outer: usize, inner: usize) -> usize {
    inner * OUTER + outer
}

/// The block of each row: every category is spread evenly over them, in an order of content and seed alone.
pub(in crate::mapping) fn blocks(outcomes: &Outcomes, seed: u64) -> Vec<u8> {
    let mut order: Vec<(usize, u64, usize)> = (0..outcomes.rows())
        .map(|row| {
            let place = generator(outcomes.question(row), seed).random();
            (outcomes.category(row), place, row)
        })
        .collect();
    order.sort_unstable();
    let mut block_of: HashMap<u64, u8> = HashMap::new();
    let mut blocks = vec![0; outcomes.rows()];
    let mut dealt = (0..BLOCKS).cycle();
    for (_, _, row) in order {
        let mut next = || u8::try_from(dealt.next().unwrap_or_default()).unwrap_or_default();
        blocks[row] = *block_of
            .entry(outcomes.question(row))
            .or_insert_with(&mut next);
    }
    blocks
}

/// How often each row is drawn in a resample: Poisson's distribution stands for drawing with replacement (Chamandy et al.,
/// "Estimating uncertainty for massive data streams", 2012).
pub(in crate::mapping) fn draws(outcomes: &Outcomes, seed: u64) -> Vec<u8> {
    let draw = |row| poisson(generator(outcomes.question(row), seed).random());
    (0..outcomes.rows()).map(draw).collect()
}

fn generator(question: u64, seed: u64) -> SmallRng {
    SmallRng::seed_from_u64(question ^ seed.rotate_left(32))
}

/// Poisson's distribution of mean 1, by its cumulative distribution.
fn poisson(uniform: f64) -> u8 {
    let (mut probability, mut below) = ((-1.0_f64).exp(), 0.0);
    for count in 0..DRAWS_MAX {
        below += probability;
        if uniform < below {
            return count;
        }
        probability /= f64::from(count + 1);
    }
    DRAWS_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::fit::outcomes::tests::outcomes;

    fn rows(count: usize) -> Outcomes {
        let line = |row: usize| {
            let category = if row < 20 { "rare" } else { "common" };
            format!(
                r#"{{"id": "{row}", "prompt": "{}", "category": "{category}", "scores": {{"x": 1}}}}"#,
                row / 2
            )
        };
        outcomes(&(0..count).map(line).collect::<Vec<_>>())
    }

    #[test]
    fn every_category_is_spread_evenly_and_questions_stay_together() {
        let rows = rows(400);
        let blocks = blocks(&rows, 7);
        let outer_sizes = |range: std::ops::Range<usize>| {
            let mut sizes = [0; OUTER];
            range.for_each(|row| sizes[outer(blocks[row].into())] += 1);
            sizes
        };
        assert_eq!(outer_sizes(0..20), [4; OUTER], "ten questions of two rows");
        assert_eq!(outer_sizes(20..400), [76; OUTER]);
        assert!(
            (0..400)
                .step_by(2)
                .all(|row| blocks[row] == blocks[row + 1])
        );
        assert_ne!(blocks, super::blocks(&rows, 8));
        assert!((0..BLOCKS).all(|at| block(outer(at), inner(at)) == at));
    }

    #[test]
    fn resamples_draw_each_question_once_on_average() {
        let rows = rows(4_000);
        let draws = draws(&rows, 3);
        let mean = draws.iter().map(|draws| f64::from(*draws)).sum::<f64>() / 4_000.0;
        assert!((mean - 1.0).abs() < 0.05, "{mean}");
        let never = draws.iter().filter(|draws| **draws == 0).count();
        assert!((1_350..1_600).contains(&never), "{never}");
        assert!(
            (0..4_000)
                .step_by(2)
                .all(|row| draws[row] == draws[row + 1])
        );
    }
}
