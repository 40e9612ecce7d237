//! A text cut into lower-case words: runs of letters, digits and `_`; every other visible character is a word of its own.

use std::ops::Range;

/// The words of one text.
pub(super) struct Words {
    /// All words in lower case, each between two spaces: the borders of its letter grams.
    text: String,
    spans: Vec<Range<usize>>,
    /// Of each word.
    hashes: Vec<u64>,
}

impl Words {
    pub(super) fn of(text: &str) -> Self {
        let mut words = Self {
            text: String::with_capacity(text.len() * 2),
            spans: Vec::with_capacity(text.len() / 5 + 1),
            hashes: Vec::new(),
        };
        let mut start = None;
        for c in text.chars() {
            let inside = c.is_alphanumeric() || c == '_';
            if !inside {
                words.close(&mut start);
                if c.is_whitespace() || c.is_control() {
                    continue;
                }
            }
            start.get_or_insert_with(|| {
                words.text.push(' ');
                words.text.len()
            });
            if c.is_ascii() {
                words.text.push(c.to_ascii_lowercase());
            } else {
                words.text.extend(c.to_lowercase());
            }
            if !inside {
                words.close(&mut start);
            }
        }
        words.close(&mut start);
        words.hashes = words
            .spans
            .iter()
            .map(|span| hash(words.text[span.clone()].as_bytes()))
            .collect();
        words
    }

    /// Ends the word that began at `start`, if there is one.
    fn close(&mut self, start: &mut Option<usize>) {
        if let Some(start) = start.take() {
            self.spans.push(start..self.text.len());
            self.text.push(' ');
        }
    }

    pub(super) fn len(&self) -> usize {
        self.spans.len()
    }

    pub(super) fn word(&self, at: usize) -> &str {
        &self.text[self.spans[at].clone()]
    }

    /// The word between two spaces.
    pub(super) fn bordered(&self, at: usize) -> &str {
        let span = &self.spans[at];
        &self.text[span.start - 1..span.end + 1]
    }

    pub(super) fn hash(&self, at: usize) -> u64 {
        self.hashes[at]
    }
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo): short inputs, no table, the same on every machine.
fn hash(bytes: &[u8]) -> u64 {
    hash_on(HASH_OF_NOTHING, bytes)
}

/// The hash of no bytes.
pub(super) const HASH_OF_NOTHING: u64 = 0xcbf2_9ce4_8422_2325;

/// The hash of what a hash is of, and of more bytes behind it.
pub(super) fn hash_on(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
