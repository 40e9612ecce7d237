//! What an answer says: the same words for the same name, each of them once, so that a reader sees what was lost and what
//! came twice. Pure.

use super::{
    asked::Asked,
    name::{Model, Prefill, Text},
};

const TREES: [&str; 24] = [
    "alder", "beech", "cedar", "dogwood", "elm", "fir", "ginkgo", "hazel", "ironwood", "juniper",
    "kapok", "larch", "maple", "nutmeg", "oak", "poplar", "quince", "rowan", "spruce", "teak",
    "upas", "viburnum", "willow", "yew",
];

const BIRDS: [&str; 24] = [
    "avocet", "bittern", "crane", "dunnock", "egret", "finch", "grebe", "heron", "ibis", "jackdaw",
    "kestrel", "linnet", "merlin", "nuthatch", "oriole", "plover", "quail", "robin", "siskin",
    "tern", "umbrella", "vireo", "wren", "yaffle",
];

const ACCENTS: [&str; 12] = [
    "åre",
    "bœuf",
    "ćma",
    "đak",
    "été",
    "über",
    "γάτα",
    "дом",
    "東京",
    "한글",
    "🦉",
    "👩‍💻",
];

/// The name of the tool that is called where the request offers none.
const TOOL_DEFAULT: &str = "note";

/// An answer before it takes a form.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// The completion's: names the fault, and which request for the model it is.
    pub(super) id: String,
    /// The model's name, as it was asked for.
    pub(super) model: String,
    /// What is sent, piece by piece; together the text, or the arguments of the tool's call.
    pub(super) tokens: Vec<String>,
    pub(super) prompt_tokens: u64,
    /// Those of this answer: where it goes on from a prefill, without those of the prefill.
    pub(super) completion_tokens: u64,
    /// The tool that is called; without one, the answer is text.
    pub(super) tool: Option<String>,
}

impl Answer {
    /// The answer to the `nth` request for a model.
    pub(super) fn new(asked: &Asked, model: &Model, nth: u64) -> Self {
        let mut tokens = tokens(model);
        if model.prefill == Prefill::Continue
            && let Some(begun) = &asked.prefill
        {
            tokens = behind(tokens, begun);
        }
        let tool = asked.tool.as_deref().unwrap_or(TOOL_DEFAULT);
        Self {
            id: format!("chatcmpl-{}-{nth}", model.fault),
            model: asked.model.clone(),
            prompt_tokens: asked.prompt_tokens,
            completion_tokens: tokens.len() as u64,
            tokens,
            tool: (model.text == Text::Tools).then(|| tool.to_owned()),
        }
    }

    /// The same without what comes after this many tokens.
    pub(super) fn first(mut self, tokens: usize) -> Self {
        self.tokens.truncate(tokens);
        self.completion_tokens = self.tokens.len() as u64;
        self
    }
}

/// All tokens that a model says.
fn tokens(model: &Model) -> Vec<String> {
    let words: &[&str] = match model.text {
        Text::Trees => &TREES,
        Text::Birds => &BIRDS,
        Text::Accents => &ACCENTS,
        Text::Tools => return arguments(model.tokens),
    };
    (0..model.tokens).map(|at| token(words, at)).collect()
}

/// The words in turn; from the second round on with the round's number.
fn token(words: &[&str], at: usize) -> String {
    let space = if at == 0 { "" } else { " " };
    let word = words[at % words.len()];
    match at / words.len() {
        0 => format!("{space}{word}"),
        round => format!("{space}{word}{}", round + 1),
    }
}

/// The words as the arguments of a tool: `{"words": "alder beech"}`.
fn arguments(tokens: usize) -> Vec<String> {
    let mut pieces: Vec<_> = (0..tokens).map(|at| token(&TREES, at)).collect();
    if let Some(first) = pieces.first_mut() {
        first.insert_str(0, r#"{"words": ""#);
    }
    if let Some(last) = pieces.last_mut() {
        last.push_str(r#""}"#);
    }
    pieces
}

/// The tokens that follow `begun`; all of them where they do not begin with it.
fn behind(tokens: Vec<String>, begun: &str) -> Vec<String> {
    let mut rest = begun;
    let mut said = 0;
    for token in &tokens {
        let Some(behind) = rest.strip_prefix(token.as_str()) else {
            break;
        };
        rest = behind;
        said += 1;
    }
    let Some(next) = tokens.get(said) else {
        return if rest.is_empty() { Vec::new() } else { tokens };
    };
    // What was begun may end within a token.
    let Some(end) = next.strip_prefix(rest).map(str::to_owned) else {
        return tokens;
    };
    let mut following = tokens.into_iter().skip(said + 1).collect::<Vec<_>>();
    following.insert(0, end);
    following
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn answer(name: &str, prefill: Option<&str>) -> Answer {
        let asked = Asked {
            model: name.to_owned(),
            prefill: prefill.map(str::to_owned),
            ..Asked::default()
        };
        Answer::new(&asked, &name.parse().unwrap(), 1)
    }

    fn says(name: &str, prefill: Option<&str>) -> String {
        answer(name, prefill).tokens.concat()
    }

    #[test]
    fn an_answer_has_as_many_tokens_as_asked_for() {
        for tokens in [0, 1, 2, 17, 100] {
            for text in ["trees", "birds", "accents", "tools"] {
                let answer = answer(&format!("healthy?tokens={tokens}&text={text}"), None);
                assert_eq!(answer.tokens.len(), tokens);
                assert_eq!(answer.completion_tokens, tokens as u64);
            }
        }
    }

    #[test]
    fn no_word_comes_twice() {
        for text in ["trees", "birds", "accents"] {
            let said = says(&format!("healthy?tokens=500&text={text}"), None);
            let words: HashSet<_> = said.split(' ').collect();
            assert_eq!(words.len(), 500, "{text}");
        }
    }

    #[test]
    fn the_words_are_always_the_same() {
        assert_eq!(says("healthy?tokens=3", None), "alder beech cedar");
        assert_eq!(says("cut?tokens=3#2", None), "alder beech cedar");
        assert_eq!(says("cut?tokens=2&text=other", None), "avocet bittern");
    }

    #[test]
    fn the_arguments_of_a_tool_are_json() {
        for tokens in [1, 2, 30] {
            let said = says(&format!("tools?tokens={tokens}"), None);
            let arguments: serde_json::Value = serde_json::from_str(&said).unwrap();
            assert!(arguments["words"].as_str().unwrap().starts_with("alder"));
        }
        assert_eq!(answer("tools", None).tool.as_deref(), Some("note"));
        assert_eq!(answer("healthy", None).tool, None);
    }

    #[test]
    fn an_answer_goes_on_from_what_was_begun() {
        for (begun, rest) in [
            ("", "alder beech cedar"),
            ("al", "der beech cedar"),
            ("alder", " beech cedar"),
            ("alder ", "beech cedar"),
            ("alder beech", " cedar"),
            ("alder beech cedar", ""),
            ("alder beech cedar yew", "alder beech cedar"),
            ("alder cedar", "alder beech cedar"),
            ("Alder", "alder beech cedar"),
        ] {
            assert_eq!(says("healthy?tokens=3", Some(begun)), rest, "{begun}");
        }
    }

    #[test]
    fn the_end_of_a_token_counts_as_one() {
        let answer = answer("healthy?tokens=3", Some("alder be"));
        assert_eq!(answer.tokens, ["ech", " cedar"]);
        assert_eq!(answer.completion_tokens, 2);
    }

    #[test]
    fn what_was_begun_can_be_ignored() {
        let name = "healthy?tokens=3&prefill=ignore";
        assert_eq!(says(name, Some("alder")), "alder beech cedar");
    }
}
