//! Text → sparse lexical features: the words and pieces of words of a question, hashed into buckets. Pure.
//!
//! | gram | of |
//! | --- | --- |
//! | word, pair, skip | one word; two neighbours; two with one between |
//! | opening 1 to 3, ending | the first words, the last one: they tell what is asked for |
//! | letters 2 to 4 | pieces of a word with its borders: stems, endings, code, writing systems |
//! | length, lines, script | the form of the text |
//!
//! Buckets are shared by grams that collide (feature hashing, Weinberger et al. 2009): no dictionary has to be kept, and
//! a text in any language has features.

mod gram;
mod words;

use std::cell::RefCell;

use half::f16;

pub use self::gram::Gram;

/// Bytes of a text that are read: what a query keeps, and a bound on the work.
const TEXT_BYTES_MAX: usize = 8 * 1024;

/// Fewest and most buckets, as binary logarithms: below, everything collides; above, nothing is gained.
pub const BITS_MIN: u32 = 10;
/// See [`BITS_MIN`].
pub const BITS_MAX: u32 = 17;

/// Rows that must have a bucket for it to count, where there are many rows: what fewer have is chance, and leaving it out
/// made 0.4 points of accuracy in a trial on 3,700 rows.
const ROWS_WITH_MIN: u32 = 3;

/// Rows from which on that holds; of few rows every one says something.
const ROWS_MANY: u32 = 2000;

/// A text's features: bucket and value, each bucket once, in the order of their first gram.
pub type Features = Vec<(u32, f32)>;

/// How much each bucket says: its inverse document frequency in the rows that a router was trained on.
#[derive(Clone, Debug, PartialEq)]
pub struct Lexicon {
    /// One for each bucket (a power of two); 0 for a bucket that no training row has, or too few.
    idf: Vec<f32>,
}

impl Lexicon {
    /// Counts in how many of the `texts` each of 2^`bits` buckets occurs.
    pub fn fit<'t>(texts: impl IntoIterator<Item = &'t str>, bits: u32) -> Self {
        let mut rows_with = vec![0_u32; 1 << bits];
        let mut rows = 0_u32;
        for text in texts {
            rows += 1;
            counted(text, bits, |bucket, _| rows_with[bucket as usize] += 1);
        }
        let with_min = if rows < ROWS_MANY { 1 } else { ROWS_WITH_MIN };
        let idf = rows_with.iter().map(|with| match with {
            with if *with < with_min => 0.0,
            with => (f64::from(1 + rows) / f64::from(1 + with)).ln() + 1.0,
        });
        Self {
            // Rounded to what is stored, so that a lexicon that was read again is the one that was fitted.
            idf: idf.map(|idf| f16::from_f64(idf).to_f32()).collect(),
        }
    }

    /// A lexicon from its weights; none unless there are a power of two of them.
    pub fn from_idf(idf: Vec<f32>) -> Option<Self> {
        idf.len().is_power_of_two().then_some(Self { idf })
    }

    /// The weight of each bucket.
    pub fn idf(&self) -> &[f32] {
        &self.idf
    }

    /// Binary logarithm of the number of buckets.
    pub fn bits(&self) -> u32 {
        self.idf.len().trailing_zeros()
    }

    /// The known features of a text, weighted by (1 + ln count) · idf and scaled to length 1.
    pub fn features(&self, text: &str) -> Features {
        let mut features = Features::new();
        let mut squares = 0.0;
        counted(text, self.bits(), |bucket, count| {
            let idf = self.idf[bucket as usize];
            if idf > 0.0 {
                let value = idf * damped(count);
                squares += value * value;
                features.push((bucket, value));
            }
        });
        let length = squares.sqrt();
        for (_, value) in &mut features {
            *value /= length;
        }
        features
    }
}

/// Shows every gram of `text` with its bucket, as often as it occurs.
pub fn visit(text: &str, bits: u32, mut each: impl FnMut(Gram<'_>, u32)) {
    let text = &text[..text.floor_char_boundary(TEXT_BYTES_MAX)];
    let words = words::Words::of(text);
    gram::of_words(&words, |gram, hash| each(gram, bucket(hash, bits)));
    gram::of_form(text, |gram, hash| each(gram, bucket(hash, bits)));
}

/// The hash's upper bits: they depend on all of the gram.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a bucket has at most 32 bits"
)]
fn bucket(hash: u64, bits: u32) -> u32 {
    (hash >> (64 - bits)) as u32
}

/// 1 + ln count; the first counts are the ones that occur.
fn damped(count: u16) -> f32 {
    const SMALL: [f32; 5] = [0.0, 1.0, 1.693_147_2, 2.098_612_3, 2.386_294_4];
    let small = SMALL.get(usize::from(count));
    small
        .copied()
        .unwrap_or_else(|| 1.0 + f32::from(count).ln())
}

thread_local! {
    /// A count for each bucket, all 0 between two texts: clearing what was touched is far cheaper than a hash map.
    static COUNTS: RefCell<Vec<u16>> = const { RefCell::new(Vec::new()) };
}

/// Shows every bucket that `text` touches, once, with its count.
fn counted(text: &str, bits: u32, mut each: impl FnMut(u32, u16)) {
    COUNTS.with_borrow_mut(|counts| {
        if counts.len() < 1 << bits {
            counts.resize(1 << bits, 0);
        }
        let mut touched = Vec::with_capacity(512);
        visit(text, bits, |_, bucket| {
            let count = &mut counts[bucket as usize];
            if *count == 0 {
                touched.push(bucket);
            }
            *count = count.saturating_add(1);
        });
        for bucket in touched {
            let count = std::mem::take(&mut counts[bucket as usize]);
            each(bucket, count);
        }
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(text: &str) -> Vec<String> {
        let mut names = Vec::new();
        visit(text, 17, |gram, _| names.push(gram.to_string()));
        names
    }

    #[test]
    fn a_text_is_taken_apart_into_words_pieces_and_form() {
        let names = names("Is 2x > y?");
        for expected in [
            "`is`",
            "`2x`",
            "`>`",
            "`is 2x`",
            "`is … >`",
            "opens with `is 2x >`",
            "ends with `?`",
            "letters ` is`",
            "letters `2x `",
            "one line",
        ] {
            assert!(
                names.iter().any(|name| name == expected),
                "{expected}: {names:?}"
            );
        }
    }

    #[test]
    fn capitals_do_not_matter_and_scripts_do() {
        assert_eq!(names("HELLO World"), names("hello world"));
        assert!(names("Привет").contains(&"Cyrillic script".to_owned()));
        assert!(names("你好").contains(&"CJK script".to_owned()));
    }

    #[test]
    fn features_have_length_one_and_leave_out_what_training_never_saw() {
        let lexicon = Lexicon::fit(["the cat sat", "the dog ran"], 17);
        let features = lexicon.features("the cat flew");
        let squares: f32 = features.iter().map(|(_, value)| value * value).sum();
        assert!((squares - 1.0).abs() < 1e-5);
        let unseen = Lexicon::fit(["the cat flew"], 17)
            .features("the cat flew")
            .len();
        assert!(features.len() < unseen);
        assert!(
            Lexicon::fit(["abc"], 17)
                .features("")
                .iter()
                .all(|(_, v)| v.is_finite())
        );
    }

    #[test]
    fn of_many_rows_a_gram_must_be_in_some() {
        let rows: Vec<String> = (0..ROWS_MANY).map(|row| format!("word{row}")).collect();
        let lexicon = Lexicon::fit(rows.iter().map(String::as_str), 17);
        let of_its_own = |text: &str, bits| {
            let mut found = None;
            visit(text, bits, |gram, bucket| {
                if gram.to_string() == "`word77`" {
                    found = Some(bucket as usize);
                }
            });
            found.unwrap()
        };
        let few = Lexicon::fit(["word77"], 17);
        assert!(lexicon.idf()[of_its_own("word77", 17)] < few.idf()[of_its_own("word77", 17)]);
    }

    #[test]
    fn a_rare_gram_weighs_more_than_a_common_one() {
        let lexicon = Lexicon::fit(["the cat", "the dog", "the cow"], 17);
        let weight = |wanted: &str| {
            let mut found = 0.0;
            visit("the cat", 17, |gram, bucket| {
                if gram.to_string() == wanted {
                    found = lexicon.idf()[bucket as usize];
                }
            });
            found
        };
        assert!(weight("`cat`") > weight("`the`"));
    }

    proptest! {
        #[test]
        fn any_text_gives_finite_features_twice_the_same(text in "\\PC{0,200}") {
            let lexicon = Lexicon::fit([text.as_str()], 12);
            let features = lexicon.features(&text);
            prop_assert!(features.iter().all(|(bucket, value)| *bucket < 4096 && value.is_finite()));
            prop_assert_eq!(features, lexicon.features(&text));
        }
    }
}
