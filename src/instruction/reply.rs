//! What a reply of the LLM means: the marked answer and nothing else. What is not marked, or marked twice, is a failure and
//! never guessed at. Pure.

use serde::Deserialize;

use super::{Mode, menu::Menu, prompt::Means};
use crate::{chat::Completion, marks::marked};

/// The longest description that is taken, in characters: three sentences.
const DESCRIPTION_MAX: usize = 800;

/// Words of a question that a description may well have in common with it.
const REPEATED_WORDS_MIN: usize = 4;

/// Words that a description must have beside those of a question that it repeats.
const ADDED_WORDS_MIN: usize = 5;

/// The share of all probability that letters must have, where an endpoint is asked for one: else it was about to say something
/// else, and what is left for letters is noise.
const LETTERS_MIN: f64 = 0.5;

/// What an LLM says of one question.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// The log-probability of each entry of the menu; they add up to 1 as probabilities.
    Likelihoods(Vec<f64>),
    /// The entry that it names.
    Named(usize),
    /// What the question demands.
    Instruction(String),
}

impl Said {
    /// What the question demands, where that was asked for.
    pub fn instruction(&self) -> Option<&str> {
        match self {
            Self::Instruction(instruction) => Some(instruction),
            Self::Likelihoods(_) | Self::Named(_) => None,
        }
    }
}

/// Why a reply means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// What was asked for does not stand between tags, once.
    #[error("the reply is not in the form asked for")]
    Form,
    /// It ends before its end.
    #[error("the reply was cut off before its end")]
    CutOff,
    /// It is the question, where what the question demands was asked for.
    #[error("the reply repeats the question instead of saying what it demands")]
    Repeats,
    /// A card has too few sentences.
    #[error("the reply is not two or three sentences")]
    Short,
    /// It names something that was not offered.
    #[error("the reply names a category that was not offered")]
    NotOffered,
    /// It tells no log-probabilities, or of none of the letters.
    #[error("the reply does not tell how likely the categories are")]
    NoLikelihoods,
}

impl Unusable {
    /// One word for metrics and outcomes.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Form | Self::CutOff | Self::Repeats | Self::Short => "unparsable",
            Self::NotOffered => "not_offered",
            Self::NoLikelihoods => "no_likelihoods",
        }
    }
}

/// Reads what a completion says of a question that was asked in a mode.
///
/// # Errors
/// It says nothing that was asked for.
pub fn read(
    mode: Mode,
    menu: &Menu,
    means: Means,
    completion: &Completion,
) -> Result<Said, Unusable> {
    let text = completion.text().unwrap_or_default();
    // One letter is asked for as one token, and a name of the list is all that a local expert can say.
    let is_free = mode == Mode::Describe || mode == Mode::Name && means != Means::Local;
    if is_free && completion.is_cut_off() {
        return Err(Unusable::CutOff);
    }
    match mode {
        Mode::Logprob => likelihoods(menu, means, completion).map(Said::Likelihoods),
        Mode::Name => named(menu, &name(means, text)?).map(Said::Named),
        // Its end is where it stops; a local expert is begun for.
        Mode::Describe => {
            let begun = if means == Means::Local {
                "<instruction>"
            } else {
                ""
            };
            let ended = if text.contains("</instruction>") {
                ""
            } else {
                "</instruction>"
            };
            description(&format!("{begun}{text}{ended}"), "instruction").map(Said::Instruction)
        }
    }
}

/// Whether a description is little more than the question itself.
pub(super) fn repeats(description: &str, question: &str) -> bool {
    let words = |text: &str| -> Vec<String> {
        let words = text.split(|letter: char| !letter.is_alphanumeric());
        words
            .filter(|word| !word.is_empty())
            .map(str::to_lowercase)
            .collect()
    };
    let (description, question) = (words(description), words(question));
    question.len() >= REPEATED_WORDS_MIN
        && description.len() <= question.len() + ADDED_WORDS_MIN
        && description
            .windows(question.len())
            .any(|run| run == question)
}

/// The name that a reply gives, as it was asked for it: a local expert says nothing else.
fn name(means: Means, text: &str) -> Result<String, Unusable> {
    match means {
        Means::Local => Ok(text.trim().to_owned()),
        Means::Json => field(text),
        Means::Words => marked(text, "category")
            .map(str::to_owned)
            .ok_or(Unusable::Form),
    }
}

/// The sentences between tags, on one line.
pub(super) fn description(reply: &str, tag: &str) -> Result<String, Unusable> {
    let text = marked(reply, tag).ok_or(Unusable::Form)?;
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let is_fine = (1..=DESCRIPTION_MAX).contains(&text.chars().count())
        && text.chars().any(char::is_alphabetic)
        && !text.chars().any(char::is_control);
    if is_fine {
        Ok(text)
    } else {
        Err(Unusable::Form)
    }
}

/// The one field of a JSON object.
fn field(text: &str) -> Result<String, Unusable> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Reply {
        category: String,
    }
    let reply: Reply = serde_json::from_str(text).map_err(|_no_json| Unusable::Form)?;
    Ok(reply.category)
}

fn named(menu: &Menu, name: &str) -> Result<usize, Unusable> {
    let mut entries = menu.entries().iter();
    let at = entries.position(|entry| entry.label == name);
    at.ok_or(Unusable::NotOffered)
}

/// How likely each entry is: a local expert tells of all names, an endpoint of the likeliest tokens, of which some are
/// letters. What it does not tell of is no likelier than the least likely token that it does.
fn likelihoods(menu: &Menu, means: Means, completion: &Completion) -> Result<Vec<f64>, Unusable> {
    let tokens = completion.token_choices().ok_or(Unusable::NoLikelihoods)?;
    let first = tokens.first().ok_or(Unusable::NoLikelihoods)?;
    let told = |text: &str| {
        // "E" and " E" are two tokens and one answer.
        let same = first.among.iter().filter(|(token, _)| token.trim() == text);
        let mass = same.map(|(_, logprob)| logprob.exp()).reduce(|a, b| a + b);
        mass.map(f64::ln)
    };
    let texts: Vec<String> = match means {
        Means::Local => menu
            .entries()
            .iter()
            .map(|entry| entry.label.clone())
            .collect(),
        Means::Json | Means::Words => menu.letters(),
    };
    let logprobs: Vec<Option<f64>> = texts.iter().map(|text| told(text)).collect();
    if logprobs.iter().all(Option::is_none) {
        return Err(Unusable::NoLikelihoods);
    }
    let offered = logprobs.iter().flatten();
    let mass: f64 = offered.map(|logprob| logprob.exp()).sum();
    if means != Means::Local && mass < LETTERS_MIN {
        return Err(Unusable::Form);
    }
    let least = first.among.iter().map(|(_, logprob)| *logprob);
    let least = least.fold(f64::INFINITY, f64::min);
    let logprobs: Vec<f64> = logprobs.into_iter().map(|it| it.unwrap_or(least)).collect();
    if logprobs.iter().any(|logprob| !logprob.is_finite()) {
        return Err(Unusable::NoLikelihoods);
    }
    Ok(normalised(&logprobs))
}

/// Logarithms less what makes their exponentials add up to 1.
pub(super) fn normalised(logarithms: &[f64]) -> Vec<f64> {
    let highest = logarithms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mass: f64 = logarithms.iter().map(|it| (it - highest).exp()).sum();
    logarithms
        .iter()
        .map(|it| it - highest - mass.ln())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        chat::{AnswerHead, FinishReason, TokenChoice, Usage},
        instruction::menu,
    };

    fn menu() -> Menu {
        Menu::of(&menu::tests::catalogue(&["law", "math"]))
    }

    fn said(text: &str) -> Completion {
        ended(text, FinishReason::Stop)
    }

    fn ended(text: &str, reason: FinishReason) -> Completion {
        let head = AnswerHead {
            id: "a".into(),
            model: "m".into(),
            created_s: 1,
        };
        head.completion(text, reason, Usage::default())
    }

    fn told(among: &[(&str, f64)]) -> Completion {
        let among: Vec<(String, f64)> = among
            .iter()
            .map(|(token, it)| ((*token).into(), *it))
            .collect();
        let choice = TokenChoice {
            token: among[0].0.clone(),
            logprob: among[0].1,
            among,
        };
        said("A").with_token_choices(&[choice], 20)
    }

    #[test]
    fn only_a_category_that_is_offered_and_marked_once_is_named() {
        let of = |text| read(Mode::Name, &menu(), Means::Words, &said(text));
        assert_eq!(
            of("It is law.\n<category> math </category>"),
            Ok(Said::Named(1))
        );
        assert_eq!(of("<category>none of these</category>"), Ok(Said::Named(2)));
        for form in [
            "",
            "law",
            "The category is law",
            "<category>law",
            "<category>law</category> or <category>math</category>",
            "<category><category>law</category>",
        ] {
            assert_eq!(of(form), Err(Unusable::Form), "{form}");
        }
        for other in [
            "<category>Law</category>",
            "<category>gpt</category>",
            "<category>law, math</category>",
        ] {
            assert_eq!(of(other), Err(Unusable::NotOffered), "{other}");
        }
    }

    #[test]
    fn a_reply_that_was_cut_off_says_nothing_whatever_stands_in_it() {
        let of = |mode, means, text| {
            let completion = ended(text, FinishReason::Length);
            read(mode, &menu(), means, &completion)
        };
        let named = "It should go to <category>law</category> and";
        assert_eq!(of(Mode::Name, Means::Words, named), Err(Unusable::CutOff));
        let json = r#"{"category": "law"}"#;
        assert_eq!(of(Mode::Name, Means::Json, json), Err(Unusable::CutOff));
        let described = "<instruction>Explain a rule of";
        assert_eq!(
            of(Mode::Describe, Means::Words, described),
            Err(Unusable::CutOff)
        );
        assert_eq!(of(Mode::Name, Means::Local, "law"), Ok(Said::Named(0)));
    }

    #[test]
    fn a_description_that_is_the_question_is_none() {
        let question = "How do I tune a violin by ear?";
        assert!(repeats("How do I tune a violin by ear", question));
        assert!(repeats(
            "It demands: how do I tune a violin, by ear!",
            question
        ));
        let said =
            "Explain how to tune a violin by ear; it takes knowledge of intervals and practice.";
        assert!(!repeats(said, question));
        assert!(!repeats("Why not?", "Why not?"), "too few words to tell");
    }

    #[test]
    fn json_is_read_as_json_and_in_no_other_way() {
        let of = |text| read(Mode::Name, &menu(), Means::Json, &said(text));
        assert_eq!(of(r#"{"category": "law"}"#), Ok(Said::Named(0)));
        assert_eq!(of(r#"{"category": "art"}"#), Err(Unusable::NotOffered));
        for form in [
            "law",
            r#"{"category": 1}"#,
            r#"{"categories": "law"}"#,
            "<category>law</category>",
        ] {
            assert_eq!(of(form), Err(Unusable::Form), "{form}");
        }
    }

    #[test]
    fn letters_that_are_not_told_of_are_no_likelier_than_the_least_that_is() {
        // Half of the probability is for each way to write a B.
        let half = -0.2 - 2.0_f64.ln();
        let completion = told(&[(" B", half), ("B", half), ("The", -2.0), ("A", -4.0)]);
        let Ok(Said::Likelihoods(logprobs)) =
            read(Mode::Logprob, &menu(), Means::Words, &completion)
        else {
            panic!("it tells of two letters");
        };
        let mass: f64 = logprobs.iter().map(|it| it.exp()).sum();
        assert!((mass - 1.0).abs() < 1e-9, "{logprobs:?}");
        assert!(
            (logprobs[1] - logprobs[0] - 3.8).abs() < 1e-9,
            "{logprobs:?}"
        );
        assert!((logprobs[0] - logprobs[2]).abs() < 1e-9, "{logprobs:?}");
    }

    #[test]
    fn without_likelihoods_of_letters_nothing_is_said() {
        let all = told(&[(" math", -0.2), (" law", -2.0), (" none of these", -4.0)]);
        let Ok(Said::Likelihoods(logprobs)) = read(Mode::Logprob, &menu(), Means::Local, &all)
        else {
            panic!("a local expert tells of names");
        };
        assert!(
            logprobs[1] > logprobs[0] && logprobs[0] > logprobs[2],
            "{logprobs:?}"
        );
        for completion in [said("A"), told(&[("The", -0.1), ("law", -3.0)])] {
            let read = read(Mode::Logprob, &menu(), Means::Words, &completion);
            assert_eq!(read, Err(Unusable::NoLikelihoods));
        }
    }

    #[test]
    fn a_description_is_what_stands_between_tags_or_was_begun_and_stopped() {
        let of = |means, text| read(Mode::Describe, &menu(), means, &said(text));
        let instruction = Ok(Said::Instruction("Explain a rule of law.".into()));
        assert_eq!(
            of(
                Means::Words,
                "<instruction>Explain a\nrule of law.</instruction>"
            ),
            instruction
        );
        assert_eq!(
            of(Means::Words, "<instruction>Explain a rule of law."),
            instruction
        );
        assert_eq!(of(Means::Local, " Explain a rule of law."), instruction);
        for form in [
            "Explain a rule of law.",
            "<instruction></instruction>",
            "<instruction>…</instruction>",
        ] {
            assert_eq!(of(Means::Words, form), Err(Unusable::Form), "{form}");
        }
        let long = format!("<instruction>{}", "word ".repeat(200));
        assert_eq!(of(Means::Words, &long), Err(Unusable::Form));
    }
}
