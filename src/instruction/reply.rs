//! What a reply of the LLM means: the marked answer and nothing else. What is not marked, or marked twice, is a failure and
//! never guessed at. Pure.

use serde::Deserialize;

use super::{Mode, menu::Menu, prompt::Means};
use crate::{chat::Completion, marks::marked};

/// The longest description that is taken, in characters: three sentences.
const DESCRIPTION_MAX: usize = 800;

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
            Self::Form => "unparsable",
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
    match mode {
        Mode::Logprob => likelihoods(menu, means, completion).map(Said::Likelihoods),
        Mode::Name => named(menu, &name(means, text)?).map(Said::Named),
        // Its end is where it stops; a local expert is begun for.
        Mode::Describe => {
            if completion.finish_reason() == Some("length") {
                return Err(Unusable::Form);
            }
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
        let same = first.among.iter().filter(|(token, _)| token.trim() == text);
        same.map(|(_, logprob)| *logprob).reduce(f64::max)
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
        let head = AnswerHead {
            id: "a".into(),
            model: "m".into(),
            created_s: 1,
        };
        head.completion(text, FinishReason::Stop, Usage::default())
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
        let completion = told(&[(" B", -0.2), ("The", -2.0), ("B", -3.0), ("A", -4.0)]);
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
