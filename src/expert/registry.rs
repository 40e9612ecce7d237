//! The experts by id, and the order in which they are tried for one question.

use crate::{
    chat::ChatRequest,
    config::ExpertConfig,
    expert::{Answer, Attempt, ExpertError},
    ids::ExpertId,
};

/// The experts that are configured.
pub struct Experts;

/// Who answers, and the answer.
pub struct Answered {
    /// The expert that began to answer.
    pub expert: ExpertId,
    /// Its answer, begun: the first token of a stream has come.
    pub answer: Answer,
}

impl Experts {
    /// Opens every expert that answers conversations; loads the local models.
    pub fn open(configs: &[ExpertConfig]) -> Result<Self, ExpertError> {
        todo!("{configs:?}")
    }

    /// Asks `order`'s experts one after another until one begins to answer; logs each try in `attempts`.
    pub async fn answer(
        &self,
        order: &[ExpertId],
        request: &ChatRequest,
        attempts: &mut Vec<Attempt>,
    ) -> Result<Answered, ExpertError> {
        todo!("{order:?} {request:?} {attempts:?}")
    }
}
