//! An error before a dialect gives it its shape.

/// What a client is told instead of an answer, or of the rest of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The HTTP status, as a number.
    pub status: u16,
    /// What happened, in a word of ours or the provider's.
    pub code: Option<String>,
    /// The field that is wrong.
    pub param: Option<String>,
    /// What is wrong and what to do.
    pub message: String,
    /// The outcome that it was recorded as.
    pub outcome_id: Option<String>,
}

impl Failure {
    /// The message, which names the field in any case.
    pub(super) fn sentence(&self) -> String {
        match &self.param {
            Some(param) if !self.message.contains(param) => format!("{param}: {}", self.message),
            _ => self.message.clone(),
        }
    }
}
