//! The mistakes that the router was surest of: mostly wrong labels, or categories that overlap.

use serde::Serialize;

use super::Judged;
use crate::ids::CategoryId;

/// Mistakes that are told: as many as a person reads.
const MISTAKES_MAX: usize = 20;

/// A row whose likeliest class is not its label.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mistake {
    /// The row's own name, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What it is.
    pub label: CategoryId,
    /// What the router took it for.
    pub predicted: CategoryId,
    /// How sure it was of that.
    pub confidence: f32,
    /// Whether it was routed there; otherwise the default expert answers.
    pub routed: bool,
    /// What spoke for it, strongest first.
    pub features: Vec<String>,
    /// The text that was classified.
    pub text: String,
}

/// The mistakes of greatest confidence; of equal ones the first in the files.
pub(super) fn most_confident(rows: &[Judged]) -> Vec<Mistake> {
    let mut wrong: Vec<&Judged> = rows.iter().filter(|row| !row.is_right()).collect();
    wrong.sort_by(|a, b| b.confidence().total_cmp(&a.confidence()));
    wrong.truncate(MISTAKES_MAX);
    wrong
        .into_iter()
        .map(|row| Mistake {
            id: row.id.clone(),
            label: row.label.clone(),
            predicted: row.predicted(),
            confidence: row.confidence(),
            routed: row.routed,
            features: row.features.clone(),
            text: row.text.clone(),
        })
        .collect()
}
