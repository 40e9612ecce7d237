//! The order in which an epoch goes through the rows.

use rand::seq::SliceRandom as _;

use crate::train::seed::Seed;

/// Rows that the model sees at once; the contrastive term compares them with one another.
pub(super) const BATCH_ROWS: usize = 32;

/// Rows that are sorted by length before they are cut into batches, so that little is padded, and few enough that a
/// batch is still a random draw.
const SORTED_ROWS: usize = 16 * BATCH_ROWS;

/// Batches of one epoch.
pub(super) fn count(rows: usize) -> usize {
    // A chunk is a whole number of batches: only the last batch can be short.
    rows.div_ceil(BATCH_ROWS)
}

/// The batches of one epoch over `rows`: shuffled, alike in length inside a batch.
pub(super) fn of_epoch(
    rows: &[usize],
    length: impl Fn(usize) -> usize,
    seed: Seed,
) -> Vec<Vec<usize>> {
    let mut generator = seed.generator();
    let mut rows = rows.to_vec();
    rows.shuffle(&mut generator);
    let mut batches = Vec::with_capacity(count(rows.len()));
    for chunk in rows.chunks_mut(SORTED_ROWS) {
        chunk.sort_by_key(|row| length(*row));
        batches.extend(chunk.chunks(BATCH_ROWS).map(<[usize]>::to_vec));
    }
    batches.shuffle(&mut generator);
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(row: usize) -> usize {
        row * 7919 % 100
    }

    #[test]
    fn an_epoch_has_every_row_once_and_no_two_are_alike() {
        let rows: Vec<usize> = (0..1300).collect();
        let batches = of_epoch(&rows, length, Seed::new(1));
        assert_eq!(batches.len(), count(rows.len()));
        let mut seen = batches.concat();
        seen.sort_unstable();
        assert_eq!(seen, rows);
        assert_eq!(batches, of_epoch(&rows, length, Seed::new(1)));
        assert_ne!(batches, of_epoch(&rows, length, Seed::new(2)));
    }

    #[test]
    fn batches_waste_little_on_padding() {
        let rows: Vec<usize> = (0..2048).collect();
        let batches = of_epoch(&rows, length, Seed::new(1));
        let padded: usize = batches
            .iter()
            .map(|batch| batch.len() * batch.iter().map(|row| length(*row)).max().unwrap())
            .sum();
        let needed: usize = rows.iter().map(|row| length(*row)).sum();
        assert!(padded * 10 < needed * 11, "{padded} for {needed}");
    }
}
