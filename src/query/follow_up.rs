//! Whether a turn can be understood by itself.
//!
//! The rule is about words, not meaning: a very short turn leans on what came before it, and so does one of moderate
//! length that takes up a thread ("and…", "what about…") or points at something it does not name ("those", "your
//! answer", "can it…"). Longer turns name what they are about. The words are English; in other languages only the
//! length decides.

/// Turns of at most this many words hardly ever stand alone ("why?", "and in French?", "sort them by name").
const SHORT_WORDS_MAX: usize = 5;

/// Turns of more words name their topic themselves, whatever else they point at.
const POINTING_WORDS_MAX: usize = 25;

/// Words that a pronoun needs before it to stand for one of them: an earlier one stands for something said before.
const PRONOUN_PLACES: usize = 3;

/// Words that take up a thread when a turn begins with one.
const OPENERS: &[&str] = &[
    "again", "also", "and", "but", "continue", "instead", "more", "no", "now", "ok", "okay", "or",
    "then", "yes",
];

/// The same in two words.
const OPENING_PAIRS: &[[&str; 2]] = &[["how", "about"], ["what", "about"], ["what", "if"]];

/// Words that point out of the turn wherever they stand. Chosen for being several times as frequent in follow-ups as in
/// questions that stand alone.
const POINTERS: &[&str] = &[
    "above",
    "again",
    "another",
    "both",
    "earlier",
    "former",
    "instead",
    "latter",
    "ones",
    "other",
    "others",
    "previous",
    "previously",
    "same",
    "their",
    "theirs",
    "them",
    "these",
    "those",
    "your",
];

/// Words that point out of the turn only where nothing in it can be meant, among the first [`PRONOUN_PLACES`]: "can it
/// be undone?", but not "write a function that…".
const PRONOUNS: &[&str] = &[
    "he", "her", "him", "his", "it", "its", "one", "she", "that", "they", "this",
];

/// Whether `turn` leans on what was said before it.
pub(super) fn leans_on_context(turn: &str) -> bool {
    let mut words = Vec::new();
    let mut count = 0;
    for word in turn
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
    {
        count += spoken_words(word);
        if count > POINTING_WORDS_MAX {
            return false;
        }
        words.push(word.to_lowercase());
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    count <= SHORT_WORDS_MAX || opens(&words) || points(&words)
}

fn points(words: &[&str]) -> bool {
    words.iter().any(|word| POINTERS.contains(word))
        || words
            .iter()
            .take(PRONOUN_PLACES)
            .any(|word| PRONOUNS.contains(word))
}

fn opens(words: &[&str]) -> bool {
    words.first().is_some_and(|first| OPENERS.contains(first))
        || OPENING_PAIRS.iter().any(|pair| words.starts_with(pair))
}

/// How many words a run of letters is: one, but in scripts that put no spaces between words, about one for every two
/// characters.
fn spoken_words(run: &str) -> usize {
    let unspaced = run.chars().filter(|c| is_unspaced(*c)).count();
    unspaced.div_ceil(2).max(1)
}

/// Thai, Lao, Khmer, Burmese, and Chinese characters and kana.
fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        | '\u{2e80}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follow_ups_lean_on_context() {
        let follow_ups = [
            "why?",
            "and in French?",
            "yes",
            "now the same with a left join",
            "What about the ones that were founded after the year 1990?",
            "Rewrite your previous response so that every sentence starts with the letter A.",
            "Does it still work on a machine with many cores and little memory?",
            "Among them, what is the maximum number of final tables made?",
            "But I have been pregnant for 20 weeks and I am allergic to many medicines",
            "なぜ?",
            "…",
        ];
        for turn in follow_ups {
            assert!(leans_on_context(turn), "{turn}");
        }
    }

    #[test]
    fn questions_that_name_their_topic_stand_alone() {
        let alone = [
            "What is the capital city of Australia?",
            "Write a function that reverses a linked list and prints it.",
            "Why does bread rise when it is left in a warm place?",
            "My card has not arrived in the post yet, where can I ask?",
            "素数ストリームを生成するRustコードを書く",
            "A retailer buys a jacket for 40 dollars and sells it for 55 dollars. This happens 12 times a day. What is \
             the profit that the retailer makes in a week of six days?",
        ];
        for turn in alone {
            assert!(!leans_on_context(turn), "{turn}");
        }
    }
}
