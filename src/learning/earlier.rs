//! What was asked before a category was accepted, and nobody labelled: while there was no such category, nobody could have said that
//! a question is of it.

use std::collections::{BTreeSet, HashSet};

use super::{Candidate, Evidence, Origin, learnt::EarlierThen, resolve::Row};
use crate::{
    ids::{CategoryId, OUT_OF_DOMAIN},
    query::Query,
    store::{Store, StoreError},
    train::router::Unlabelled,
};

/// Most questions that are looked at, the newest: some minutes of reading by the transformer, once.
pub const EARLIER_MAX: u32 = 5_000;

/// Questions that nobody had labelled, and the categories that they may be of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Earlier {
    /// Each text once.
    pub questions: Vec<Asked>,
    /// What was accepted.
    pub categories: Vec<CategoryId>,
    /// When the last of these was, milliseconds since 1970 UTC.
    pub until_ms: i64,
}

/// A question of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// As it is classified.
    pub text: String,
    /// Its conversation, or what stands for it.
    pub conversation: String,
    /// When it was asked, milliseconds since 1970 UTC: the last time that is known.
    pub asked_at_ms: i64,
}

impl Asked {
    fn of(candidate: Candidate) -> Self {
        Self {
            text: text(&candidate.question),
            conversation: candidate.conversation.unwrap_or(candidate.outcome_id),
            asked_at_ms: candidate.asked_at_ms,
        }
    }
}

fn text(question: &str) -> String {
    Query::from_text(question).text
}

impl Earlier {
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
        let accepted = rows.iter().filter(is_accepted);
        let categories: BTreeSet<CategoryId> = accepted.map(|row| row.category.clone()).collect();
        let statements = evidence.iter().flat_map(|it| &it.statements);
        let accepted = statements.filter(|it| {
            it.origin == Origin::Accepted && categories.contains(it.category.as_str())
        });
        let Some(until_ms) = accepted.map(|it| it.given_at_ms).max() else {
            return Ok(Self::default());
        };
        // None of which something was said when it was asked another time: who is not to know what was said of a text must not have
        // read it either.
        let mut known: HashSet<String> = evidence.iter().map(|it| text(&it.question)).collect();
        known.insert(String::new());
        let is_unsaid = |candidate: &Candidate| known.insert(text(&candidate.question));
        let found = store.unlabelled_before(until_ms, EARLIER_MAX, is_unsaid);
        Ok(Self {
            questions: found.await?.into_iter().map(Asked::of).collect(),
            categories: categories.into_iter().collect(),
            until_ms,
        })
    }

    /// What a router was given then, as far as it is still there, whatever was said of it since.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn again(
        store: &Store,
        then: &EarlierThen,
        evidence: &[Evidence],
    ) -> Result<Self, StoreError> {
        let mut found: HashSet<String> = HashSet::new();
        let mut is_again = |text: String| then.holds(&text) && found.insert(text);
        let mut questions: Vec<Asked> = Vec::new();
        for outcome in evidence {
            let text = text(&outcome.question);
            if outcome.asked_at_ms < then.until_ms && is_again(text.clone()) {
                questions.push(Asked {
                    text,
                    conversation: outcome.conversation().to_owned(),
                    asked_at_ms: outcome.asked_at_ms,
                });
            }
        }
        let missing = then.texts().saturating_sub(questions.len());
        let missing = u32::try_from(missing).map_or(EARLIER_MAX, |it| it.min(EARLIER_MAX));
        let is_wanted = |candidate: &Candidate| is_again(text(&candidate.question));
        let others = store.unlabelled_before(then.until_ms, missing, is_wanted);
        questions.extend(others.await?.into_iter().map(Asked::of));
        Ok(Self {
            questions,
            categories: then.categories.clone(),
            until_ms: then.until_ms,
        })
    }

    /// What may be learnt by whoever is to know only some of it.
    #[must_use]
    pub fn only(&self, is_known: impl Fn(&Asked) -> bool) -> Self {
        let questions = self.questions.iter();
        Self {
            questions: questions.filter(|asked| is_known(asked)).cloned().collect(),
            categories: self.categories.clone(),
            until_ms: self.until_ms,
        }
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
