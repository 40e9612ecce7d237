//! How much an ask leans on what came before it: the probability, from words alone, that it keeps to the topic.
//!
//! Two things tell a follow-up. It repeats words of what came before, which a new topic hardly does (lexical cohesion, as
//! in M. Hearst's `TextTiling`, 1997), or it points out of itself: it takes up a thread ("and…", "what about…"), names
//! something by a pronoun ("those", "make it…"), or speaks of the conversation ("your last answer"). A logistic
//! function joins the signs.
//!
//! Its weights were fitted to 231 follow-ups and 310 changes of topic and rounded. In five-fold cross-validation, with
//! each database in one fold, it tells the two apart in 94 % of the cases; length, openers and pronouns without
//! cohesion do so in 75 %. What the router says of the ask was tried as a further sign and did not help: fragments such as
//! "how many are there?" are confidently classified, and wrongly.
//!
//! The words are English. In other languages only repeated words and the number of words decide.

/// Log odds of an ask that shows no sign.
const BASE: f32 = -2.5;

/// Log odds of an ask all of whose words have been said before.
const COHESION: f32 = 9.4;

/// Words that an ask is taken to repeat before any is counted, so that an ask of few words or none ("why?") leans by
/// itself, and one of many does not.
const REPEATED_PRIOR: f32 = 0.4;

/// Log odds of an ask that takes up a thread.
const OPENS: f32 = 2.0;

/// Log odds of an ask that points out of itself or speaks of the conversation.
const POINTS: f32 = 3.0;

/// Log odds of a short ask with a pronoun that stands for nothing in it.
const PRONOUN: f32 = 1.0;

/// Asks of more words name what they point at.
const POINTING_WORDS_MAX: usize = 25;

/// Asks of more words have room for what their pronouns stand for.
const PRONOUN_WORDS_MAX: usize = 10;

/// Words among which, or at the end, a pronoun stands for something said before: in between it stands for one of them, or
/// joins a clause.
const PRONOUN_PLACES: usize = 3;

/// Letters of a word that are compared: "singer" repeats "singers".
const STEM_LETTERS: usize = 5;

/// Letters of a word that can be repeated: shorter ones are hardly ever a topic's.
const WORD_LETTERS_MIN: usize = 3;

/// Words among which a change of topic is announced.
const CHANGE_PLACES: usize = 6;

/// Words that take up a thread when an ask begins with one.
const OPENERS: &[&str] = &[
    "again", "also", "and", "but", "continue", "instead", "more", "no", "now", "ok", "okay", "or",
    "then", "yes",
];

/// The same in two words.
const OPENING_PAIRS: &[[&str; 2]] = &[["how", "about"], ["what", "about"], ["what", "if"]];

/// Words that point out of an ask wherever they stand. Chosen for being several times as frequent in follow-ups as in
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
];

/// Words that point out of a short ask.
const PRONOUNS: &[&str] = &[
    "he", "her", "him", "his", "it", "its", "one", "she", "that", "they", "this",
];

/// Words that name a part of the conversation, behind one of [`DETERMINERS`] with one word between them at most ("your
/// own answer").
const SAID: &[&str] = &[
    "answer",
    "answers",
    "code",
    "example",
    "explanation",
    "last",
    "list",
    "reply",
    "response",
    "solution",
];

/// See [`SAID`].
const DETERMINERS: &[&str] = &["this", "your"];

/// How a change of topic is announced. Such an ask leans on nothing, whatever else it says.
const CHANGES: &[[&str; 2]] = &[
    ["another", "topic"],
    ["change", "topic"],
    ["different", "question"],
    ["different", "topic"],
    ["new", "question"],
    ["new", "topic"],
    ["switch", "topics"],
    ["unrelated", "question"],
];

/// Words of any topic, sorted: to repeat one says nothing.
const COMMON: &[&str] = &[
    "about", "after", "all", "also", "and", "any", "are", "been", "before", "between", "but",
    "can", "could", "did", "does", "down", "each", "find", "for", "from", "get", "give", "had",
    "has", "have", "her", "here", "his", "how", "into", "its", "just", "let", "list", "make",
    "many", "may", "might", "more", "most", "much", "not", "now", "off", "only", "other", "our",
    "out", "over", "own", "please", "same", "she", "should", "show", "some", "such", "tell",
    "than", "that", "the", "their", "them", "then", "there", "these", "they", "this", "those",
    "under", "was", "were", "what", "when", "where", "which", "who", "whom", "whose", "why",
    "will", "with", "would", "you", "your",
];

/// The probability, 0 to 1, that `ask` keeps to the topic of what was said `before` it. Where nothing is known of that
/// (`before` is empty), what the ask itself shows decides.
pub(super) fn of(ask: &str, before: &str) -> f32 {
    let words: Vec<String> = runs(ask).map(str::to_lowercase).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if announces_a_change(&words) {
        return 0.0;
    }
    let sign = |is_there: bool, log_odds: f32| if is_there { log_odds } else { 0.0 };
    let length: usize = words.iter().map(|word| spoken_words(word)).sum();
    let log_odds = BASE
        + COHESION * cohesion(ask, before)
        + sign(opens(&words), OPENS)
        + sign(length <= POINTING_WORDS_MAX && points(&words), POINTS)
        + sign(
            length <= PRONOUN_WORDS_MAX && has_open_pronoun(&words),
            PRONOUN,
        );
    1.0 / (1.0 + (-log_odds).exp())
}

/// The share of an ask's words that were said before, 0 to 1.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of words, far below where f32 loses any"
)]
fn cohesion(ask: &str, before: &str) -> f32 {
    let (ask, before) = (taken_apart(ask), taken_apart(before));
    let (stems, said) = (stems(&ask), stems(&before));
    let repeated = stems
        .iter()
        .filter(|stem| said.binary_search(stem).is_ok())
        .count();
    (repeated as f32 + REPEATED_PRIOR) / (stems.len() as f32 + 1.0)
}

fn announces_a_change(words: &[&str]) -> bool {
    first(words, CHANGE_PLACES)
        .windows(2)
        .any(|pair| CHANGES.iter().any(|change| pair == change))
}

fn opens(words: &[&str]) -> bool {
    words.first().is_some_and(|first| OPENERS.contains(first))
        || OPENING_PAIRS.iter().any(|pair| words.starts_with(pair))
}

fn points(words: &[&str]) -> bool {
    contains(words, POINTERS)
        || words
            .iter()
            .enumerate()
            .filter(|(_, word)| DETERMINERS.contains(word))
            .any(|(at, _)| contains(first(&words[at..], 3), SAID))
}

fn has_open_pronoun(words: &[&str]) -> bool {
    let last = words.last().is_some_and(|last| PRONOUNS.contains(last));
    last || contains(first(words, PRONOUN_PLACES), PRONOUNS)
}

/// Whether any of the words is one of those wanted, which are sorted.
fn contains(words: &[&str], wanted: &[&str]) -> bool {
    words.iter().any(|word| wanted.binary_search(word).is_ok())
}

fn first<'s, 'w>(words: &'s [&'w str], count: usize) -> &'s [&'w str] {
    &words[..words.len().min(count)]
}

/// The text in small letters. Names in code and schemas are taken apart: `singerID` and `singer_id` have a singer.
fn taken_apart(text: &str) -> String {
    let mut apart = String::with_capacity(text.len() + 16);
    let mut before = ' ';
    for c in text.chars() {
        if before.is_lowercase() && c.is_uppercase() {
            apart.push(' ');
        }
        apart.extend(c.to_lowercase());
        before = c;
    }
    apart
}

/// The beginnings of the words in a text that can belong to a topic, each once, sorted.
fn stems(apart: &str) -> Vec<&str> {
    let mut stems: Vec<_> = runs(apart)
        .filter(|word| word.chars().nth(WORD_LETTERS_MIN - 1).is_some())
        .filter(|word| COMMON.binary_search(word).is_err())
        .map(|word| match word.char_indices().nth(STEM_LETTERS) {
            Some((end, _)) => &word[..end],
            None => word,
        })
        .collect();
    stems.sort_unstable();
    stems.dedup();
    stems
}

/// The runs of letters and digits in `text`.
fn runs(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|run| !run.is_empty())
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

    const LIKELY: f32 = 0.5;

    #[test]
    fn lists_that_are_searched_are_sorted() {
        for list in [COMMON, POINTERS, PRONOUNS, SAID] {
            assert!(list.is_sorted(), "{list:?}");
        }
    }

    const SINGERS: &str = "Database concert: singer(Singer_ID, Name, Age); stadium(Stadium_ID, Capacity)\n\
                           Which singers are older than forty?";

    #[test]
    fn asks_that_point_back_lean_whatever_came_before() {
        let follow_ups = [
            "why?",
            "and in French?",
            "yes",
            "now the same with a left join",
            "What about the ones that were founded after the year 1990?",
            "Rewrite your last answer so that every sentence starts with the letter A.",
            "Among them, what is the maximum number of final tables made?",
            "Can you parallelize it?",
            "なぜ?",
            "…",
        ];
        for ask in follow_ups {
            assert!(of(ask, "") > LIKELY, "{ask}: {}", of(ask, ""));
        }
    }

    #[test]
    fn asks_that_name_their_topic_stand_alone() {
        let alone = [
            "What is the capital city of Australia?",
            "Write a function that reverses a linked list and prints it.",
            "Why does bread rise when it is left in a warm place?",
            "My card has not arrived in the post yet, where can I ask?",
            "flip a coin now",
            "素数ストリームを生成するRustコードを書く",
            "A retailer buys a jacket for 40 dollars and sells it for 55 dollars. This happens 12 times a day. What is \
             the profit that the retailer makes in a week of six days?",
        ];
        for ask in alone {
            assert!(of(ask, SINGERS) < LIKELY, "{ask}: {}", of(ask, SINGERS));
        }
    }

    #[test]
    fn an_ask_that_repeats_words_keeps_to_their_topic() {
        for ask in [
            "What is the capacity of each stadium?",
            "Show the average age of the singer in every concert.",
        ] {
            assert!(of(ask, SINGERS) > 0.9, "{ask}: {}", of(ask, SINGERS));
            assert!(of(ask, "") < LIKELY, "{ask}: {}", of(ask, ""));
        }
    }

    #[test]
    fn common_words_are_not_repeated_words() {
        let before = "What would you show me about this, and which of those should there be?";
        let ask = "What should you show about bread, and which of the ovens would make it rise?";
        assert!((of(ask, before) - of(ask, "")).abs() < 1e-6);
    }

    #[test]
    fn an_announced_change_of_topic_leans_on_nothing() {
        for ask in [
            "New topic: which singers are older?",
            "Let's change topic, what about stadiums?",
        ] {
            assert_eq!(of(ask, SINGERS), 0.0, "{ask}");
        }
    }
}
