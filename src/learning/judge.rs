//! An expert that labels: what it is asked, and what its replies mean.
//!
//! The words are in `judge/prompts/`; each file has a version in its name, which every label tells, and is never changed:
//! other words are another version.

mod asking;
mod prompt;
mod verdict;

pub use asking::{Asked, Bounds, Judge, Question};
pub use prompt::{answer, category, pair};
pub use verdict::{Preferred, category_of, preferred_of, score_of};

use crate::ids::ExpertId;

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

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

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
