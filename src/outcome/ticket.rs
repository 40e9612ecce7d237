//! One question's outcome in the making; dropping it sends it off.

use crate::{
    chat::Completion,
    expert::{AnswerStream, Attempt, ExpertError},
    ids::ExpertId,
};

/// Stands for one question from its decision to its end.
pub struct Ticket;

impl Ticket {
    /// The outcome's id.
    pub fn id(&self) -> &str {
        todo!()
    }

    /// The log of attempts, written by whoever asks the experts.
    pub fn attempts(&mut self) -> &mut Vec<Attempt> {
        todo!()
    }

    /// Ends with the error that left the client without an answer.
    pub fn fail(self, error: &ExpertError) {
        todo!("{error}")
    }

    /// Ends with a whole answer, just before it is handed to the client.
    pub fn complete(self, expert: &ExpertId, completion: &Completion) {
        todo!("{expert} {completion:?}")
    }

    /// Follows a streamed answer to its end, whatever that is.
    pub fn watch(self, expert: ExpertId, answer: AnswerStream) -> AnswerStream {
        let _ = expert;
        answer
    }
}
