//! One expert's numbers over all rows, some of them missing.

/// Rows that one word of the mask covers.
const WORD_BITS: usize = u64::BITS as usize;

/// Numbers by row. Rows behind the last known one take no memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Column {
    /// Zero where missing.
    values: Vec<f32>,
    known: Vec<u64>,
}

impl Column {
    pub(super) fn get(&self, row: usize) -> Option<f64> {
        let word = self.known.get(row / WORD_BITS)?;
        let is_known = word >> (row % WORD_BITS) & 1 == 1;
        is_known.then(|| f64::from(self.values[row]))
    }

    /// The rows that have a number, with it, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, f64)> {
        let words = self.known.iter().enumerate();
        let rows = words.flat_map(|(at, word)| {
            let first = at * WORD_BITS;
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = left.trailing_zeros() as usize;
                left &= left.checked_sub(1)?;
                Some(first + bit)
            })
        });
        rows.map(|row| (row, f64::from(self.values[row])))
    }

    /// Sets a row's number, over one that stood there.
    pub(super) fn set(&mut self, row: usize, value: f32) {
        if self.values.len() <= row {
            self.values.resize(row + 1, 0.0);
            self.known.resize(row / WORD_BITS + 1, 0);
        }
        self.values[row] = value;
        self.known[row / WORD_BITS] |= 1 << (row % WORD_BITS);
    }

    /// How many rows have a number.
    pub(super) fn count(&self) -> usize {
        let ones = self.known.iter().map(|word| word.count_ones() as usize);
        ones.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_set_is_missing() {
        let mut column = Column::default();
        for (row, value) in [(3, 0.5), (64, 0.0), (63, -1.0), (3, 0.25)] {
            column.set(row, value);
        }
        let known: Vec<_> = (0..200)
            .filter_map(|row| Some((row, column.get(row)?)))
            .collect();
        assert_eq!(known, [(3, 0.25), (63, -1.0), (64, 0.0)]);
        assert_eq!(column.iter().collect::<Vec<_>>(), known);
        assert_eq!(column.count(), 3);
    }
}
