//! Which questions are one, asked with other options or with none: rows that are held back must have no twin among those learnt
//! from.

use std::{collections::HashMap, sync::LazyLock};

use regex::Regex;

/// Where the first option of a question begins: `A.`, `(a)`, `1)` at the beginning of a line.
static OPTIONS: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\n\s*\(?[Aa1][.):]+ ").ok());

/// What a question asks, without its options, in small letters and digits alone; the text as it is where that leaves nothing.
pub(super) fn stem(text: &str) -> String {
    let options = OPTIONS.as_ref().and_then(|options| options.find(text));
    let asked = options.map_or(text, |options| &text[..options.start()]);
    let words = asked.split(|letter: char| !letter.is_alphanumeric());
    let words: Vec<String> = words
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    if words.is_empty() {
        return text.to_owned();
    }
    words.join(" ")
}

/// For each text the number of its question, counted from 0 in the order in which they first come.
pub(super) fn questions<'t>(texts: impl IntoIterator<Item = &'t str>) -> Vec<usize> {
    let mut numbers = HashMap::new();
    let number_of = |text| {
        let next = numbers.len();
        *numbers.entry(stem(text)).or_insert(next)
    };
    texts.into_iter().map(number_of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_and_form_do_not_make_another_question() {
        let bare = "What is the powerhouse of the cell?";
        let same = [
            "What is the powerhouse of the cell?\nA. nucleus\nB. mitochondrion",
            "what is the  powerhouse of the cell\n(a) nucleus\n(b) ribosome",
            "What is the powerhouse of the cell?\n 1) nucleus\n 2) ribosome",
        ];
        for text in same {
            assert_eq!(stem(text), stem(bare), "{text}");
        }
        let others = [
            "What is the powerhouse of the town?",
            "What is the powerhouse of the cell?\nAnswer in a word.",
        ];
        for text in others {
            assert_ne!(stem(text), stem(bare), "{text}");
        }
    }

    #[test]
    fn what_has_no_words_is_itself() {
        assert_ne!(stem("???"), stem("!!!"));
        assert_ne!(stem("\nA. yes"), stem("\nA. no"));
        assert_eq!(stem("Привет, мир"), "привет мир");
    }

    #[test]
    fn questions_are_numbered_as_they_come() {
        let texts = ["Why?", "How?\nA. so", "why", "How?"];
        assert_eq!(questions(texts), [0, 1, 0, 1]);
    }
}
