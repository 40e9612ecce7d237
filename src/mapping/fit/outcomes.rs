//! Outcomes to fit a mapping on: what each expert scored on each question.
//!
//! A JSON object a line: `{"id", "prompt", "category", …, "scores": {expert: score}, "cost_usd"?: {expert: usd}}`. Other
//! fields are let be, blank lines skipped; an expert that a line does not name, or names with `null`, was not tried on its
//! question. Lines with the same `id` and `prompt` are one question, whose scores are put together; an expert has one there.

mod column;
mod line;
mod read;

use std::{collections::BTreeMap, io, path::PathBuf};

use self::column::Column;
pub use self::{
    line::LineError,
    read::{Options, Texts, read},
};
use crate::ids::{CategoryId, ExpertId};

/// Questions with what experts scored on them: a matrix of rows by experts, in which scores may be missing.
#[derive(Clone, Debug, Default)]
pub struct Outcomes {
    experts: Vec<ExpertId>,
    unscored: Vec<ExpertId>,
    categories: Vec<CategoryId>,
    rows: Vec<Row>,
    prompts: Vec<Box<str>>,
    scores: Vec<Column>,
    costs_usd: Vec<Column>,
}

/// What is kept of every question.
#[derive(Clone, Copy, Debug)]
struct Row {
    /// Index of its category.
    category: u32,
    /// Bytes of its prompt.
    prompt_bytes: u32,
    /// Equal for equal prompts, or equal ids where there is no prompt.
    question: u64,
}

impl Outcomes {
    /// The experts that were scored, in the order asked for, else by name.
    pub fn experts(&self) -> &[ExpertId] {
        &self.experts
    }

    /// The experts that rows name without any score, by name: nothing can be said of them, so they are none of
    /// [`Self::experts`].
    pub fn unscored(&self) -> &[ExpertId] {
        &self.unscored
    }

    /// The categories, by name.
    pub fn categories(&self) -> &[CategoryId] {
        &self.categories
    }

    /// How many questions there are.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// The category of a row, as an index of [`Self::categories`].
    pub fn category(&self, row: usize) -> usize {
        self.rows[row].category as usize
    }

    /// What an expert scored on a row's question; none if it was not tried.
    pub fn score(&self, row: usize, expert: usize) -> Option<f64> {
        self.scores[expert].get(row)
    }

    /// The rows that an expert was scored on, with what it scored.
    pub fn scores(&self, expert: usize) -> impl Iterator<Item = (usize, f64)> {
        self.scores[expert].iter()
    }

    /// The rows whose costs are known of an expert, with what its answer cost, in dollars.
    pub fn costs_usd(&self, expert: usize) -> impl Iterator<Item = (usize, f64)> {
        self.costs_usd[expert].iter()
    }

    /// A row's prompt; empty where texts were not kept.
    pub fn prompt(&self, row: usize) -> &str {
        self.prompts.get(row).map_or("", |prompt| prompt)
    }

    /// Bytes of a row's prompt.
    pub fn prompt_bytes(&self, row: usize) -> usize {
        self.rows[row].prompt_bytes as usize
    }

    /// A digest of what was asked: rows with the same prompt share it, and belong into the same part of any split.
    pub fn question(&self, row: usize) -> u64 {
        self.rows[row].question
    }

    /// How many rows each expert was scored on.
    pub fn rows_scored(&self) -> Vec<usize> {
        self.scores.iter().map(Column::count).collect()
    }

    /// How many rows each expert was not tried on, where there are some.
    pub fn missing(&self) -> BTreeMap<ExpertId, usize> {
        let missing = self
            .rows_scored()
            .into_iter()
            .map(|scored| self.rows() - scored);
        let of_experts = self.experts.iter().cloned().zip(missing);
        of_experts.filter(|(_, missing)| *missing > 0).collect()
    }

    /// The same rows under other categories, such as those that a router predicts: one name a row, in their order.
    pub fn with_categories(mut self, names: &[CategoryId]) -> Self {
        let mut categories = names.to_vec();
        categories.sort_unstable();
        categories.dedup();
        for (row, name) in self.rows.iter_mut().zip(names) {
            let at = categories.binary_search(name).unwrap_or_default();
            row.category = u32::try_from(at).unwrap_or_default();
        }
        self.categories = categories;
        self
    }
}

/// Why outcomes cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum OutcomesError {
    /// The file cannot be opened.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file has no rows.
    #[error("{} holds no rows; write a JSON object a line, with `id`, `prompt` and `scores`", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A line is no outcome.
    #[error("{}:{line}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        source: LineError,
    },
    /// An expert that was asked for has no score at all.
    #[error("no row has a score of `{expert}`; scored are {}", known.join(", "))]
    UnknownExpert {
        /// Who was asked for.
        expert: ExpertId,
        /// The first of those that have scores, by name.
        known: Vec<String>,
    },
    /// No row has a score.
    #[error("no row has a score; `scores` must hold a number for each expert that was tried")]
    NoScores,
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write as _;

    use super::*;

    /// Outcomes of lines, by `category`, texts kept.
    pub(crate) fn outcomes(lines: &[impl AsRef<str>]) -> Outcomes {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for line in lines {
            writeln!(file, "{}", line.as_ref()).unwrap();
        }
        let options = Options {
            by: Some("category".into()),
            texts: Texts::Keep,
            ..Options::default()
        };
        read(&[file.path().to_owned()], &options).unwrap()
    }
}
