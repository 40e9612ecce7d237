//! An expert that labels: what it is asked, and what its replies mean.
//!
//! The words are in `judge/prompts/`; each file has a version in its name, which every label tells, and is never changed:
//! other words are another version.

mod asking;
mod prompt;
mod verdict;

pub use asking::{Asked, Bounds, CUT_OFF, Judge, Question};
pub(super) use prompt::draw;
pub use prompt::{REPLY_TOKENS, answer, category, pair};
pub use verdict::{Preferred, category_of, preferred_of, score_of};

use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::{catalogue::Catalogue, config::ExpertKind, ids::ExpertId};

/// Digits of the digest in a judge's name: enough for any two of the few lists of categories that a house ever has to differ.
const DIGEST_DIGITS: usize = 8;

/// What a judge is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// What a question is about.
    Category,
    /// How good an answer is.
    Answer,
    /// Which of two answers is better.
    Pair,
}

impl Prompt {
    /// Its name with its version.
    pub fn version(self) -> &'static str {
        match self {
            Self::Category => "category-v1",
            Self::Answer => "answer-v1",
            Self::Pair => "pair-v1",
        }
    }

    /// By whom a label is that an expert gives to it.
    pub fn given_by(self, expert: &ExpertId) -> String {
        format!("{expert} {}", self.version())
    }

    /// What is said to the judge: the instructions, and the message that has the data.
    fn words(self) -> (&'static str, &'static str) {
        let words = match self {
            Self::Category => include_str!("judge/prompts/category-v1.txt"),
            Self::Answer => include_str!("judge/prompts/answer-v1.txt"),
            Self::Pair => include_str!("judge/prompts/pair-v1.txt"),
        };
        words.split_once("---\n").unwrap_or(("", words))
    }
}

/// By whom a category is named that an expert names: with a digest of the categories that it was offered and of the model
/// behind it, so that what was judged among others, or by another, is judged again.
pub fn of_categories(expert: &ExpertId, kind: &ExpertKind, catalogue: &Catalogue) -> String {
    let model = match kind {
        ExpertKind::Local { model_file } => model_file.to_string_lossy().into_owned(),
        ExpertKind::Remote(remote) => remote.model.clone(),
    };
    let mut categories = prompt::categories(catalogue);
    categories.sort_unstable();
    let mut digest = hex::encode(Sha256::digest(json!([model, categories]).to_string()));
    digest.truncate(DIGEST_DIGITS);
    format!("{} {digest}", Prompt::Category.given_by(expert))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{catalogue::Route, ids::CategoryId};

    #[test]
    fn a_category_is_named_anew_where_other_categories_or_models_are() {
        let route = |category: &str, description: &str| Route {
            category: CategoryId::new(category),
            description: description.into(),
            examples: Vec::new(),
            negatives: Vec::new(),
        };
        let named = |model: &str, routes: Vec<Route>| {
            let kind = ExpertKind::Local {
                model_file: model.into(),
            };
            let catalogue = Catalogue {
                routes,
                out_of_domain: Vec::new(),
                ..Catalogue::default()
            };
            of_categories(&ExpertId::new("gpt"), &kind, &catalogue)
        };
        let law = || route("law", "Courts.");
        let first = named("small.gguf", vec![law()]);
        assert!(first.starts_with("gpt category-v1 "), "{first}");
        assert_eq!(first.len(), "gpt category-v1 ".len() + DIGEST_DIGITS);
        assert_eq!(first, named("small.gguf", vec![law()]));
        let math = || route("math", "Sums.");
        let both = named("small.gguf", vec![law(), math()]);
        assert_eq!(both, named("small.gguf", vec![math(), law()]));
        let others = [
            both,
            named("large.gguf", vec![law()]),
            named("small.gguf", vec![route("law", "Courts, contracts.")]),
        ];
        assert!(others.iter().all(|other| *other != first), "{others:?}");
    }

    #[test]
    fn a_version_keeps_its_words() {
        // Labels tell the version by which they were given: other words need a file of their own and a number of theirs.
        for (prompt, digest) in [
            (Prompt::Category, "8450dac11b660420"),
            (Prompt::Answer, "1041ebf3ab44df30"),
            (Prompt::Pair, "ba370d3044e86300"),
        ] {
            let (system, user) = prompt.words();
            assert!(!system.is_empty() && !user.is_empty());
            let found = hex::encode(Sha256::digest(format!("{system}{user}")));
            assert_eq!(&found[..16], digest, "{prompt:?}");
        }
    }

    #[test]
    fn a_label_tells_who_gave_it_and_by_which_words() {
        let expert = ExpertId::new("gpt");
        assert_eq!(Prompt::Category.given_by(&expert), "gpt category-v1");
    }
}
