//! What was asked before a category was accepted, and nobody labelled: while there was no such category, nobody could have said that
//! a question is of it.

use std::collections::{BTreeSet, HashSet};

use super::{Candidate, Evidence, Origin, resolve::Row};
use crate::{
    ids::{CategoryId, OUT_OF_DOMAIN},
    query::Query,
    store::{Store, StoreError},
    train::router::Unlabelled,
};

/// Most questions that are looked at, the newest: some minutes of reading by the transformer, once.
pub const EARLIER_MAX: u32 = 5_000;

/// Questions that nobody labelled, and the categories that they may be of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Earlier {
    questions: Vec<Asked>,
    categories: Vec<CategoryId>,
}

/// A question of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// As it is classified.
    pub text: String,
    /// Its conversation, or what stands for it.
    pub conversation: String,
}

impl Earlier {
    /// Questions that may be of some categories.
    pub fn new(questions: Vec<Asked>, categories: Vec<CategoryId>) -> Self {
        Self {
            questions,
            categories,
        }
    }

    /// What was asked before the last of the categories was accepted that `rows` teach; nothing where none was accepted, or where all
    /// labels of that origin are left out. `evidence`: everything of which something was said.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn read(
        store: &Store,
        rows: &[Row],
        evidence: &[Evidence],
    ) -> Result<Self, StoreError> {
        let is_accepted =
            |row: &&Row| row.origin == Origin::Accepted && row.category.as_str() != OUT_OF_DOMAIN;
        let categories: BTreeSet<CategoryId> = rows
            .iter()
            .filter(is_accepted)
            .map(|row| row.category.clone())
            .collect();
        let statements = evidence.iter().flat_map(|it| &it.statements);
        let accepted = statements.filter(|it| {
            it.origin == Origin::Accepted && categories.contains(it.category.as_str())
        });
        let Some(until_ms) = accepted.map(|it| it.given_at_ms).max() else {
            return Ok(Self::default());
        };
        // Each text once; and none of which something was said when it was asked another time: who is not to know what was said of a
        // text must not have read it either.
        let text = |question: &str| Query::from_text(question).text;
        let mut known: HashSet<String> = evidence.iter().map(|it| text(&it.question)).collect();
        known.insert(String::new());
        let is_unsaid = |candidate: &Candidate| {
            candidate.asked_at_ms < until_ms && known.insert(text(&candidate.question))
        };
        let found = store.unlabelled(EARLIER_MAX, is_unsaid).await?;
        let questions = found.candidates.into_iter().map(|candidate| Asked {
            text: text(&candidate.question),
            conversation: candidate.conversation.unwrap_or(candidate.outcome_id),
        });
        let categories = categories.into_iter().collect();
        Ok(Self::new(questions.collect(), categories))
    }

    /// What may be learnt by whoever is to know nothing of some conversations.
    pub fn lacking(&self, is_held: impl Fn(&str) -> bool) -> Self {
        let questions = self.questions.iter();
        let others = questions.filter(|asked| !is_held(&asked.conversation));
        Self::new(others.cloned().collect(), self.categories.clone())
    }

    /// The questions.
    pub fn questions(&self) -> &[Asked] {
        &self.questions
    }

    /// As a training has it.
    pub fn unlabelled(&self) -> Unlabelled {
        let texts = self.questions.iter().map(|asked| {
            let query = Query::from_text(&asked.text);
            query.likelier_reading().to_owned()
        });
        Unlabelled {
            texts: texts.collect(),
            may_be: self.categories.clone(),
        }
    }
}
