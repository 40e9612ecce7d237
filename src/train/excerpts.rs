//! Parts of questions, for the cheap tier to hear what a teacher says of them.
//!
//! A whole question tells which of its words it has, but not which of them its category hangs on; the teacher, asked about a
//! part of it, does (Tang et al. 2019, "Distilling task-specific knowledge from BERT into simple neural networks", who sample
//! n-grams for that). Words stay in their order, since the cheap tier knows pairs of them.

use std::ops::Range;

use rand::RngExt as _;

use super::seed::Seed;

/// Excerpts of a question.
const PER_QUESTION: usize = 2;

/// A question of fewer words is not cut: next to nothing would be left.
const WORDS_MIN: usize = 10;

/// Words of the shortest excerpt.
const EXCERPT_WORDS_MIN: usize = 5;

/// The part of a question's words that an excerpt has.
const SHARES: Range<f32> = 0.25..0.7;

/// Excerpts of a question, drawn by a seed; none of a short one.
pub(super) fn excerpts(question: &str, seed: Seed) -> Vec<&str> {
    let words = words(question);
    if words.len() < WORDS_MIN {
        return Vec::new();
    }
    let mut generator = seed.generator();
    let mut excerpt = || {
        let share = generator.random_range(SHARES);
        let count = part(words.len(), share).max(EXCERPT_WORDS_MIN);
        let first = generator.random_range(0..=words.len() - count);
        &question[words[first].start..words[first + count - 1].end]
    };
    (0..PER_QUESTION).map(|_| excerpt()).collect()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "some of a question's words"
)]
fn part(words: usize, share: f32) -> usize {
    (words as f32 * share) as usize
}

/// Where the words of a text are.
fn words(text: &str) -> Vec<Range<usize>> {
    let mut end = 0;
    let place = |word: &str| {
        let start = end + text[end..].find(word).unwrap_or_default();
        end = start + word.len();
        start..end
    };
    text.split_whitespace().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUESTION: &str = "Which of the  following is\nan example of an externality that a tax on fuel would correct?";

    #[test]
    fn excerpts_are_parts_of_the_question_in_its_own_words() {
        let count = |text: &str| text.split_whitespace().count();
        for seed in 0..200 {
            let excerpts = excerpts(QUESTION, Seed::new(seed));
            assert_eq!(excerpts.len(), PER_QUESTION);
            for excerpt in excerpts {
                assert!(QUESTION.contains(excerpt), "{excerpt}");
                assert!((EXCERPT_WORDS_MIN..count(QUESTION)).contains(&count(excerpt)));
                let cut = format!(" {} ", QUESTION.replace('\n', " "));
                let whole = format!(" {} ", excerpt.replace('\n', " "));
                assert!(cut.contains(&whole), "words are not cut: {excerpt}");
            }
        }
    }

    #[test]
    fn the_seed_decides_and_all_of_a_question_is_read() {
        let of = |seed| excerpts(QUESTION, Seed::new(seed));
        assert_eq!(of(3), of(3));
        assert_ne!(of(3), of(4));
        let all: String = (0..200).flat_map(of).collect();
        assert!(all.contains("Which") && all.contains("correct?"));
    }

    #[test]
    fn a_short_question_is_left_whole() {
        assert!(excerpts("Who wrote Hamlet, and when?", Seed::new(1)).is_empty());
        assert!(excerpts("", Seed::new(1)).is_empty());
        let (nine, ten) = ("a b c d e f g h i", "a b c d e f g h i j");
        assert!(excerpts(nine, Seed::new(1)).is_empty());
        assert_eq!(excerpts(ten, Seed::new(1)).len(), PER_QUESTION);
    }
}
