//! How many calls the encoder takes at once, so that texts to be embedded never keep a question from being routed.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError},
    time::timeout,
};

use super::EncoderError;

/// Calls of many texts at once: at some ten milliseconds a batch, more would be answered after their callers gave up.
const CALLS_MAX: usize = 32;

/// Questions to be routed at once: two batches of them.
const QUESTIONS_MAX: usize = 64;

/// All that can wait for the encoder's thread.
pub(super) const PLACES: usize = CALLS_MAX + QUESTIONS_MAX;

/// How long a question waits for a place. A burst is over by then; under a lasting load the default expert should
/// answer rather than nobody.
const QUESTION_WAIT_MAX: Duration = Duration::from_millis(500);

/// The right to one call, given back when dropped.
pub(super) type Place = OwnedSemaphorePermit;

/// The places of calls and, apart from them, those of questions.
pub(super) struct Places {
    calls: Arc<Semaphore>,
    questions: Arc<Semaphore>,
}

impl Places {
    pub(super) fn new() -> Self {
        Self {
            calls: Arc::new(Semaphore::new(CALLS_MAX)),
            questions: Arc::new(Semaphore::new(QUESTIONS_MAX)),
        }
    }

    /// A place for a call of many texts, or `Busy` at once.
    pub(super) fn call(&self) -> Result<Place, EncoderError> {
        Arc::clone(&self.calls)
            .try_acquire_owned()
            .map_err(|refused| match refused {
                TryAcquireError::NoPermits => EncoderError::Busy,
                TryAcquireError::Closed => EncoderError::Stopped,
            })
    }

    /// A place for a question; `Busy` if none comes free in [`QUESTION_WAIT_MAX`].
    pub(super) async fn question(&self) -> Result<Place, EncoderError> {
        let place = Arc::clone(&self.questions).acquire_owned();
        timeout(QUESTION_WAIT_MAX, place)
            .await
            .map_err(|_elapsed| EncoderError::Busy)?
            .map_err(|_closed| EncoderError::Stopped)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn calls_are_refused_at_once_and_leave_questions_their_places() {
        let places = Places::new();
        let calls: Vec<_> = (0..CALLS_MAX).map(|_| places.call().unwrap()).collect();
        assert!(matches!(places.call(), Err(EncoderError::Busy)));
        assert!(places.question().now_or_never().unwrap().is_ok());
        drop(calls);
        assert!(places.call().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_waits_for_a_place_but_not_for_ever() {
        let places = Places::new();
        let mut taken = Vec::new();
        for _ in 0..QUESTIONS_MAX {
            taken.push(places.question().await.unwrap());
        }
        assert!(matches!(places.question().await, Err(EncoderError::Busy)));
        let mut waiting = Box::pin(places.question());
        assert!(waiting.as_mut().now_or_never().is_none(), "it waits");
        taken.pop();
        assert!(waiting.await.is_ok());
    }
}
