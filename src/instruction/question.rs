//! A question while it is weighed: until when all must be done that is done about it, and its vector once that is needed.

use std::time::Duration;

use tokio::{
    sync::OnceCell,
    time::{Instant, timeout_at},
};
use tracing::debug;

use crate::{
    causes::in_full,
    router::encoder::{Encoder, EncoderError, Reading},
};

/// Until when something must be done.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    /// Then.
    pub at: Instant,
    /// How long that was, when it began.
    pub within: Duration,
}

impl Deadline {
    /// So much from now on.
    pub fn after(within: Duration) -> Self {
        Self {
            at: Instant::now() + within,
            within,
        }
    }

    pub(super) fn is_over(self) -> bool {
        Instant::now() >= self.at
    }
}

/// A question that may be put to the LLM.
pub(super) struct Question<'q> {
    pub text: &'q str,
    pub encoder: &'q Encoder,
    pub deadline: Deadline,
    vector: OnceCell<Option<Vec<f32>>>,
}

impl<'q> Question<'q> {
    pub(super) fn new(text: &'q str, encoder: &'q Encoder, deadline: Deadline) -> Self {
        Self {
            text,
            encoder,
            deadline,
            vector: OnceCell::new(),
        }
    }

    /// Its vector, read once; none where the encoder fails or takes too long, and the question is not compared with others.
    pub(super) async fn vector(&self) -> Option<&Vec<f32>> {
        let read = || {
            let reading = self.encoder.embed_question(self.text.to_owned());
            read_by(self.deadline, reading)
        };
        self.vector.get_or_init(read).await.as_ref()
    }
}

async fn read_by(
    deadline: Deadline,
    reading: impl Future<Output = Result<Reading, EncoderError>>,
) -> Option<Vec<f32>> {
    match timeout_at(deadline.at, reading).await {
        Ok(Ok(reading)) => Some(reading.vector),
        Ok(Err(error)) => {
            let error = in_full(&error);
            debug!("the question is not compared with others: {error}");
            None
        }
        Err(_elapsed) => {
            debug!(
                "the question is not compared with others: the encoder took longer than {:?}",
                deadline.within
            );
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_encoder_is_not_waited_for_longer_than_until_the_deadline() {
        let deadline = Deadline::after(Duration::from_millis(300));
        assert!(!deadline.is_over());
        assert_eq!(read_by(deadline, std::future::pending()).await, None);
        assert!(deadline.is_over());
    }
}
