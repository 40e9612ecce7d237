//! Other experts into the text of a mapping's file: comments, budgets and whatever else stands there stay as they are.

use super::Change;
use crate::{
    config::{MappingConfig, MappingSource, Mistakes},
    mapping::fit::written::scalar,
};

/// Why a mapping's file is left as it is.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// What would be written is no mapping.
    #[error("the changed file would not be a mapping:\n{0}")]
    Mistaken(Mistakes),
    /// What would be written says something else than it should.
    #[error(
        "the file is not written as `coterie map fit` writes it, so that it has to be changed by hand"
    )]
    Unforeseen,
}

/// The text of a mapping's file with other experts, checked to say just what `wanted` says.
///
/// # Errors
/// The file is written in a way that this cannot change.
pub fn edited(
    text: &str,
    changes: &[Change],
    (source, wanted): (&MappingSource, &MappingConfig),
) -> Result<String, EditError> {
    let mut entries: Vec<String> = entries(text);
    for change in changes {
        let key = change.category.as_str();
        let line = entry(change, wanted);
        match entries.iter_mut().find(|entry| is_of(entry, key)) {
            Some(known) => *known = line,
            None => entries.push(line),
        }
    }
    let text = entries.concat();
    let read = source.judge(text.as_bytes()).map_err(EditError::Mistaken)?;
    let is_the_same = read.default == wanted.default
        && read.default_fallbacks == wanted.default_fallbacks
        && read.categories.len() == wanted.categories.len()
        && wanted
            .categories
            .iter()
            .all(|(category, assigned)| read.assigned(category) == Some(assigned));
    is_the_same.then_some(text).ok_or(EditError::Unforeseen)
}

/// The text cut before each line that begins a key at the left edge; a comment belongs to what stands above it.
fn entries(text: &str) -> Vec<String> {
    let mut entries = vec![String::new()];
    for line in text.split_inclusive('\n') {
        let begins = line.starts_with(|first: char| !first.is_whitespace() && first != '#');
        if begins {
            entries.push(String::new());
        }
        if let Some(last) = entries.last_mut() {
            last.push_str(line);
            if !line.ends_with('\n') {
                last.push('\n');
            }
        }
    }
    entries
}

fn is_of(entry: &str, key: &str) -> bool {
    let rest = entry.strip_prefix(&scalar(key));
    rest.is_some_and(|rest| rest.trim_start().starts_with(':'))
}

fn entry(change: &Change, wanted: &MappingConfig) -> String {
    let assigned = wanted.assigned(&change.category).into_iter();
    let fallbacks: Vec<String> = assigned
        .flat_map(|assigned| &assigned.fallbacks)
        .map(|expert| scalar(expert.as_str()))
        .collect();
    format!(
        "{}: {{ expert: {}, fallbacks: [{}] }}\n",
        scalar(change.category.as_str()),
        scalar(change.to.as_str()),
        fallbacks.join(", ")
    )
}
