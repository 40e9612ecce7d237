//! The longest piece that a text begins with, in one pass over the text.
//!
//! A hash of every beginning of the text comes from that of the one before, so that trying shorter and shorter pieces
//! costs a look-up each and no hashing.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    ops::Range,
};

/// Where in a word a piece stands: the same letters are two pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// At its beginning.
    Word,
    /// Further on.
    Inside,
}

/// The pieces by their letters.
pub(super) struct Vocabulary {
    /// By hash; of pieces with one hash the first, whose `next` names the one after it.
    pieces: HashMap<u64, Piece, BuildHasherDefault<AsItIs>>,
    /// Pieces that share their hash with one before them.
    others: Vec<Piece>,
    letters: Vec<u8>,
    /// Bytes of the longest piece.
    longest: usize,
}

struct Piece {
    id: u32,
    start: Start,
    letters: Range<usize>,
    next: Option<usize>,
}

/// Bytes that are looked at before the heap would be needed; pieces are far shorter.
const BYTES_MAX: usize = 256;

impl Vocabulary {
    /// From the pieces as a `tokenizer.json` has them; those that stand inside of words begin with `prefix`.
    pub(super) fn new(vocabulary: &HashMap<String, u32>, prefix: &str) -> Self {
        let mut built = Self {
            pieces: HashMap::default(),
            others: Vec::new(),
            letters: Vec::new(),
            longest: 0,
        };
        for (piece, id) in vocabulary {
            if let Some(letters) = piece.strip_prefix(prefix)
                && !letters.is_empty()
            {
                built.add(letters, Start::Inside, *id);
            }
            // At the beginning of a word the prefix is text like any other.
            built.add(piece, Start::Word, *id);
        }
        built
    }

    fn add(&mut self, letters: &str, start: Start, id: u32) {
        let bytes = letters.as_bytes();
        if bytes.is_empty() || bytes.len() > BYTES_MAX {
            return;
        }
        let from = self.letters.len();
        self.letters.extend_from_slice(bytes);
        self.longest = self.longest.max(bytes.len());
        let piece = Piece {
            id,
            start,
            letters: from..self.letters.len(),
            next: None,
        };
        let hash = bytes.iter().fold(start.seed(), step);
        if let Some(first) = self.pieces.get_mut(&hash) {
            let next = first.next.replace(self.others.len());
            self.others.push(Piece { next, ..piece });
        } else {
            self.pieces.insert(hash, piece);
        }
    }

    /// The length in bytes and the id of the longest piece that `text` begins with.
    pub(super) fn longest(&self, text: &[u8], start: Start) -> Option<(usize, u32)> {
        let text = &text[..text.len().min(self.longest)];
        let mut hashes = [0; BYTES_MAX];
        let mut hash = start.seed();
        for (at, byte) in hashes.iter_mut().zip(text) {
            hash = step(hash, byte);
            *at = hash;
        }
        (1..=text.len()).rev().find_map(|length| {
            let id = self.find(hashes[length - 1], &text[..length], start)?;
            Some((length, id))
        })
    }

    fn find(&self, hash: u64, letters: &[u8], start: Start) -> Option<u32> {
        let mut piece = self.pieces.get(&hash)?;
        loop {
            if piece.start == start && &self.letters[piece.letters.clone()] == letters {
                return Some(piece.id);
            }
            piece = self.others.get(piece.next?)?;
        }
    }
}

impl Start {
    fn seed(self) -> u64 {
        match self {
            Self::Word => 0x9e37_79b9_7f4a_7c15,
            Self::Inside => 0xd1b5_4a32_d192_ed03,
        }
    }
}

/// The hash of a text from that of the text without its last byte: `FxHash`'s step, folded so that the upper bits, which
/// the map sorts by, depend on all bytes.
#[inline]
fn step(hash: u64, byte: &u8) -> u64 {
    (hash.rotate_left(5) ^ u64::from(*byte)).wrapping_mul(0x517c_c1b7_2722_0a95)
}

/// Keys that are hashes already.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, step);
    }

    fn write_u64(&mut self, hash: u64) {
        // The map takes its buckets from the lower bits, the weak ones of a product.
        self.0 = hash ^ (hash >> 32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vocabulary() -> Vocabulary {
        let pieces = ["un", "unable", "##able", "##a", "a", "##", "é"];
        let pieces = pieces
            .iter()
            .zip(0..)
            .map(|(piece, id)| ((*piece).to_owned(), id));
        Vocabulary::new(&pieces.collect(), "##")
    }

    #[test]
    fn the_longest_piece_wins() {
        let vocabulary = vocabulary();
        assert_eq!(vocabulary.longest(b"unable", Start::Word), Some((6, 1)));
        assert_eq!(vocabulary.longest(b"unab", Start::Word), Some((2, 0)));
        assert_eq!(
            vocabulary.longest("élan".as_bytes(), Start::Word),
            Some((2, 6))
        );
    }

    #[test]
    fn pieces_inside_of_words_are_others_than_those_at_the_beginning() {
        let vocabulary = vocabulary();
        assert_eq!(vocabulary.longest(b"able", Start::Word), Some((1, 4)));
        assert_eq!(vocabulary.longest(b"able", Start::Inside), Some((4, 2)));
        assert_eq!(vocabulary.longest(b"ab", Start::Inside), Some((1, 3)));
        assert_eq!(vocabulary.longest(b"unable", Start::Inside), None);
    }
}
