//! The grams of a text: what each is, and its hash.

use std::fmt;

use super::words::{HASH_OF_NOTHING, Words, hash_on};

/// Letters of the shortest and the longest piece of a word.
const LETTERS: std::ops::RangeInclusive<usize> = 2..=4;

/// More lines than this are as many as this.
const LINES_MAX: usize = 8;

/// One lexical feature, as it is told to a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gram<'t> {
    /// One word.
    Word(&'t str),
    /// Two neighbours.
    Pair(&'t str, &'t str),
    /// Two words with one between.
    Skip(&'t str, &'t str),
    /// The first word, and up to two more.
    Opening(&'t str, Option<&'t str>, Option<&'t str>),
    /// The last word.
    Ending(&'t str),
    /// A piece of a word; a space stands for its border.
    Letters(&'t str),
    /// Number of characters, in steps of about 1.6.
    Length(u8),
    /// Number of lines.
    Lines(usize),
    /// A writing system other than Latin that occurs.
    Script(&'static str),
}

impl fmt::Display for Gram<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word) => write!(f, "`{word}`"),
            Self::Pair(a, b) => write!(f, "`{a} {b}`"),
            Self::Skip(a, b) => write!(f, "`{a} … {b}`"),
            Self::Opening(a, None, _) => write!(f, "opens with `{a}`"),
            Self::Opening(a, Some(b), None) => write!(f, "opens with `{a} {b}`"),
            Self::Opening(a, Some(b), Some(c)) => write!(f, "opens with `{a} {b} {c}`"),
            Self::Ending(word) => write!(f, "ends with `{word}`"),
            Self::Letters(letters) => write!(f, "letters `{letters}`"),
            Self::Length(step) => write!(f, "about {:.0} characters", length_of(*step)),
            Self::Lines(1) => write!(f, "one line"),
            Self::Lines(lines) => write!(f, "{lines} lines"),
            Self::Script(script) => write!(f, "{script} script"),
        }
    }
}

/// What kind of gram a hash is of: the same words in another role are another feature.
#[derive(Clone, Copy)]
enum Kind {
    Word = 1,
    Pair,
    Skip,
    Opening,
    Ending,
    Letters,
    Length,
    Lines,
    Script,
}

/// Mixes a kind and hashes into one (the finaliser of `SplitMix64`, Steele et al. 2014).
fn mix(kind: Kind, parts: &[u64]) -> u64 {
    let mut hash = (kind as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for part in parts {
        hash = (hash ^ part).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash ^= hash >> 29;
    }
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// The grams that words make.
pub(super) fn of_words(words: &Words, mut each: impl FnMut(Gram<'_>, u64)) {
    let (word, hash) = (|at| words.word(at), |at| words.hash(at));
    for at in 0..words.len() {
        each(Gram::Word(word(at)), mix(Kind::Word, &[hash(at)]));
        if at + 1 < words.len() {
            let pair = mix(Kind::Pair, &[hash(at), hash(at + 1)]);
            each(Gram::Pair(word(at), word(at + 1)), pair);
        }
        if at + 2 < words.len() {
            let skip = mix(Kind::Skip, &[hash(at), hash(at + 2)]);
            each(Gram::Skip(word(at), word(at + 2)), skip);
        }
        letters(words.bordered(at), &mut each);
    }
    let opening: Vec<u64> = (0..words.len().min(3)).map(hash).collect();
    for count in 1..=opening.len() {
        let word = |at: usize| (at < count).then(|| words.word(at));
        let gram = Gram::Opening(words.word(0), word(1), word(2));
        each(gram, mix(Kind::Opening, &opening[..count]));
    }
    if let Some(last) = words.len().checked_sub(1) {
        each(Gram::Ending(word(last)), mix(Kind::Ending, &[hash(last)]));
    }
}

/// The pieces of one word between its borders; a lone sign has none.
fn letters(bordered: &str, each: &mut impl FnMut(Gram<'_>, u64)) {
    let alone = bordered
        .chars()
        .nth(1)
        .is_some_and(|c| !c.is_alphanumeric() && c != '_');
    if alone {
        return;
    }
    // Where each of the last few characters began, and the hash from there on: a piece ends at each character.
    let mut begun = [(0, HASH_OF_NOTHING); *LETTERS.end()];
    for (count, (at, c)) in bordered.char_indices().enumerate() {
        begun.copy_within(1.., 0);
        begun[*LETTERS.end() - 1] = (at, HASH_OF_NOTHING);
        let end = at + c.len_utf8();
        let letter = &bordered.as_bytes()[at..end];
        match letter {
            // Of a length that is known, all four are worked on at once.
            [byte] => begun
                .iter_mut()
                .for_each(|(_, hash)| *hash = hash_on(*hash, &[*byte])),
            _ => begun
                .iter_mut()
                .for_each(|(_, hash)| *hash = hash_on(*hash, letter)),
        }
        for letters in LETTERS {
            if count + 1 >= letters {
                let (start, hash) = begun[*LETTERS.end() - letters];
                let piece = &bordered[start..end];
                each(Gram::Letters(piece), mix(Kind::Letters, &[hash]));
            }
        }
    }
}

/// The grams of the text's form.
pub(super) fn of_form(text: &str, mut each: impl FnMut(Gram<'_>, u64)) {
    let step = length_step(text.len());
    each(Gram::Length(step), mix(Kind::Length, &[step.into()]));
    let lines = memchr::memchr_iter(b'\n', text.as_bytes())
        .count()
        .min(LINES_MAX - 1)
        + 1;
    each(Gram::Lines(lines), mix(Kind::Lines, &[lines as u64]));
    if text.is_ascii() {
        return;
    }
    for (number, (script, ranges)) in SCRIPTS.iter().enumerate() {
        let inside = |c: char| ranges.iter().any(|(from, to)| (*from..=*to).contains(&c));
        if text.chars().any(inside) {
            each(Gram::Script(script), mix(Kind::Script, &[number as u64]));
        }
    }
}

/// Writing systems, roughly: enough to tell languages of their own writing apart.
const SCRIPTS: &[(&str, &[(char, char)])] = &[
    (
        "accented Latin",
        &[('\u{c0}', '\u{24f}'), ('\u{1e00}', '\u{1eff}')],
    ),
    ("Greek", &[('\u{370}', '\u{3ff}')]),
    ("Cyrillic", &[('\u{400}', '\u{52f}')]),
    ("Hebrew", &[('\u{590}', '\u{5ff}')]),
    ("Arabic", &[('\u{600}', '\u{6ff}')]),
    ("Indic", &[('\u{900}', '\u{dff}')]),
    ("Thai", &[('\u{e00}', '\u{e7f}')]),
    ("kana", &[('\u{3040}', '\u{30ff}')]),
    ("CJK", &[('\u{4e00}', '\u{9fff}')]),
    (
        "Hangul",
        &[('\u{1100}', '\u{11ff}'), ('\u{ac00}', '\u{d7a3}')],
    ),
];

/// 1.5 steps for every doubling.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a positive number below 100; a length need not be exact"
)]
fn length_step(bytes: usize) -> u8 {
    ((bytes as f32 + 1.0).log2() * 1.5) as u8
}

fn length_of(step: u8) -> f32 {
    (f32::from(step) / 1.5).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_has_the_hash_of_its_letters_wherever_it_stands() {
        let mut pieces = 0;
        for word in [" reverses ", " a ", " größe ", " 你好吗 "] {
            letters(word, &mut |gram, found| {
                let Gram::Letters(piece) = gram else {
                    panic!("{gram:?}");
                };
                let alone = hash_on(HASH_OF_NOTHING, piece.as_bytes());
                assert_eq!(found, mix(Kind::Letters, &[alone]), "{piece}");
                pieces += 1;
            });
        }
        assert_eq!(pieces, 24 + 3 + 15 + 9);
    }
}
