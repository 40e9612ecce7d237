//! Which rows are held back together.

use std::collections::{BTreeMap, HashMap};

use sha2::{Digest as _, Sha256};

use super::dataset::{Key, Row};
use crate::train::seed::Seed;

/// The fold of each row, `folds` of them: each has its share of every class, rows of one question are in one fold, and
/// neither other rows nor their order matter to which questions a class shuffles ahead of others.
pub(super) fn assign(rows: &[Row], folds: usize, seed: Seed) -> Vec<usize> {
    if folds == 0 {
        return Vec::new();
    }
    let mut class_of: BTreeMap<Key, u32> = BTreeMap::new();
    for row in rows {
        // A question with two labels is dealt with the rows of the smaller class number.
        let class = class_of.entry(row.question).or_insert(row.class);
        *class = row.class.min(*class);
    }
    let mut shuffled: Vec<(u32, [u8; 32], Key)> = class_of
        .into_iter()
        .map(|(key, class)| (class, place(key, seed), key))
        .collect();
    shuffled.sort_unstable();
    // Dealt on from class to class: the folds are then of one size, too.
    let fold_of: HashMap<Key, usize> = shuffled
        .into_iter()
        .enumerate()
        .map(|(at, (_, _, key))| (key, at % folds))
        .collect();
    rows.iter().map(|row| fold_of[&row.question]).collect()
}

/// Where a question comes in the shuffle of its class.
fn place(key: Key, seed: Seed) -> [u8; 32] {
    let mut digest = Sha256::new();
    digest.update(seed.stream("folds", 0).value().to_le_bytes());
    digest.update(key);
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Questions of three classes, each twice, in other words.
    fn rows() -> Vec<Row> {
        let row = |number: u8| Row {
            key: [number; 16],
            question: [number % 60; 16],
            class: u32::from(number % 60 / 25),
            pieces: Vec::new(),
            trained_pieces: Vec::new(),
        };
        (0..120).map(row).collect()
    }

    #[test]
    fn folds_have_equal_shares_of_every_class() {
        let rows = rows();
        let fold_of = assign(&rows, 3, Seed::new(5));
        for class in 0..3 {
            let counts = [0, 1, 2].map(|fold| {
                let of = |(row, f): &(&Row, &usize)| row.class == class && **f == fold;
                rows.iter().zip(&fold_of).filter(of).count()
            });
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            assert!(most - least <= 2, "{counts:?}");
        }
    }

    #[test]
    fn a_question_is_in_one_fold_whatever_the_order_of_rows() {
        let mut rows = rows();
        let before = assign(&rows, 3, Seed::new(5));
        assert_eq!(before[..60], before[60..]);
        rows.reverse();
        let mut after = assign(&rows, 3, Seed::new(5));
        after.reverse();
        assert_eq!(before, after);
    }

    #[test]
    fn another_seed_deals_otherwise() {
        let rows = rows();
        assert_ne!(
            assign(&rows, 3, Seed::new(5)),
            assign(&rows, 3, Seed::new(6))
        );
    }
}
