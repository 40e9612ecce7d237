//! One expert's numbers over all rows, some of them missing.

use std::collections::HashMap;

/// Rows that one word of the mask covers.
const WORD_BITS: usize = u64::BITS as usize;

/// Numbers by row: those that are known, packed, and a mask that says of which rows they are. Takes four bytes a number and
/// a bit and a half a row, whether most are known or hardly any.
#[derive(Clone, Debug, Default)]
pub(super) struct Column {
    values: Vec<f32>,
    known: Vec<u64>,
    /// How many are known before each word of the mask.
    before: Vec<u32>,
}

/// A column in the making.
#[derive(Debug, Default)]
pub(super) struct Builder {
    /// Numbers of the rows that have one, in the order of the rows.
    entries: Vec<f32>,
    known: Vec<u64>,
    /// Numbers of rows that others were given one after, or that had one.
    late: HashMap<usize, f32>,
    /// The first row that no number was given to, nor to any after it.
    next: usize,
}

impl Column {
    pub(super) fn get(&self, row: usize) -> Option<f64> {
        let (word, bit) = (row / WORD_BITS, row % WORD_BITS);
        let mask = self.known.get(word)?;
        if mask >> bit & 1 == 0 {
            return None;
        }
        let below = (mask & ((1 << bit) - 1)).count_ones();
        self.values
            .get((self.before[word] + below) as usize)
            .copied()
            .map(f64::from)
    }

    /// The rows that have a number, with it, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, f64)> {
        rows(&self.known).zip(self.values.iter().copied().map(f64::from))
    }

    /// How many rows have a number.
    pub(super) fn count(&self) -> usize {
        self.values.len()
    }
}

impl Builder {
    /// Sets a row's number, over one that stood there.
    pub(super) fn set(&mut self, row: usize, value: f32) {
        if row < self.next {
            self.late.insert(row, value);
            return;
        }
        self.mark(row);
        self.entries.push(value);
        self.next = row + 1;
    }

    /// Whether a row has a number.
    pub(super) fn is_known(&self, row: usize) -> bool {
        let in_order = self.known.get(row / WORD_BITS);
        in_order.is_some_and(|word| word >> (row % WORD_BITS) & 1 == 1)
            || self.late.contains_key(&row)
    }

    pub(super) fn finish(mut self) -> Column {
        let values = if self.late.is_empty() {
            std::mem::take(&mut self.entries)
        } else {
            self.merged()
        };
        let before = self.known.iter().scan(0, |sum, word| {
            let before = *sum;
            *sum += word.count_ones();
            Some(before)
        });
        Column {
            before: before.collect(),
            known: self.known,
            values,
        }
    }

    fn mark(&mut self, row: usize) {
        if self.known.len() <= row / WORD_BITS {
            self.known.resize(row / WORD_BITS + 1, 0);
        }
        self.known[row / WORD_BITS] |= 1 << (row % WORD_BITS);
    }

    /// All numbers in the order of their rows; the last that a row was given stands.
    fn merged(&mut self) -> Vec<f32> {
        let mut all: Vec<(usize, f32)> = rows(&self.known).zip(self.entries.drain(..)).collect();
        all.extend(self.late.drain());
        // Stable: of a row's two numbers the later one stays last.
        all.sort_by_key(|(row, _)| *row);
        all.dedup_by(|later, kept| {
            let is_same = later.0 == kept.0;
            if is_same {
                kept.1 = later.1;
            }
            is_same
        });
        for (row, _) in &all {
            self.mark(*row);
        }
        all.into_iter().map(|(_, value)| value).collect()
    }
}

/// The rows that a mask names, in order.
fn rows(mask: &[u64]) -> impl Iterator<Item = usize> {
    mask.iter().enumerate().flat_map(|(at, word)| {
        let mut left = *word;
        std::iter::from_fn(move || {
            let bit = left.trailing_zeros() as usize;
            left &= left.checked_sub(1)?;
            Some(at * WORD_BITS + bit)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_set_is_missing_and_what_was_set_last_stands() {
        let mut builder = Builder::default();
        for (row, value) in [
            (3, 0.5),
            (64, 0.0),
            (63, -1.0),
            (3, 0.75),
            (200, 1.0),
            (3, 0.25),
        ] {
            builder.set(row, value);
        }
        let column = builder.finish();
        let known: Vec<_> = (0..300)
            .filter_map(|row| Some((row, column.get(row)?)))
            .collect();
        assert_eq!(known, [(3, 0.25), (63, -1.0), (64, 0.0), (200, 1.0)]);
        assert_eq!(column.iter().collect::<Vec<_>>(), known);
        assert_eq!(column.count(), 4);
    }

    #[test]
    fn rows_in_order_are_found_again() {
        let mut builder = Builder::default();
        (0..500)
            .step_by(3)
            .for_each(|row| builder.set(row, row as f32));
        let column = builder.finish();
        assert!((0..500).all(|row| column.get(row) == (row % 3 == 0).then_some(row as f64)));
    }
}
