//! A begun stream that keeps to its clocks and keeps its seat.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::{Stream, StreamExt};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{Due, Held};
use crate::{
    chat::{Choices, Chunk},
    expert::{AnswerStream, ExpertError},
};

/// The pieces of a stream, or an error in their place once a clock has struck; none once it has ended, so that the seat is
/// free. Idle is the time between tokens, whatever else comes: a chunk that says nothing is a sign of a proxy's life. The time
/// that the reader takes between two chunks is not counted, and neither is what an expert does once the answer is complete:
/// it bounds that itself.
pub(super) struct Clocked(Option<UnderWay>);

struct UnderWay {
    pieces: AnswerStream,
    held: Held,
    idle: Duration,
    choices: Choices,
    /// When the reader began to wait for the next chunk; none while it does something else.
    waits_since: Option<Instant>,
    /// How long it had waited before for chunks that said nothing, since the last that said something.
    waited: Duration,
    /// Wakes the reader when the next chunk is due, or before: to set it for each would cost more than the chunk.
    alarm: Pin<Box<Sleep>>,
}

impl Clocked {
    pub(super) fn new(pieces: AnswerStream, held: Held, idle: Duration, choices: Choices) -> Self {
        let alarm = sleep_until(held.seat.due(Instant::now(), idle).at);
        Self(Some(UnderWay {
            pieces,
            held,
            idle,
            choices,
            waits_since: None,
            waited: Duration::ZERO,
            alarm: Box::pin(alarm),
        }))
    }
}

impl Stream for Clocked {
    type Item = Result<Chunk, ExpertError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(under_way) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let next = ready!(under_way.poll(cx));
        if !matches!(next, Some(Ok(_))) {
            self.0 = None;
        }
        Poll::Ready(next)
    }
}

impl UnderWay {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Chunk, ExpertError>>> {
        let now = Instant::now();
        let due = self.due(self.waits_since.unwrap_or(now));
        // A clock that struck before the reader came back has struck, also for what would be there at once. Nothing speaks
        // against the endpoint then.
        if self.waits_since.is_none() && due.at <= now {
            return Poll::Ready(self.broke(due.error(), false));
        }
        if let Poll::Ready(next) = self.pieces.poll_next_unpin(cx) {
            let waits_since = self.waits_since.take();
            // Whoever comes back after the clock has struck was late itself: when the chunk came is not known.
            let waited = waits_since
                .filter(|_| now < due.at)
                .map(|since| now - since);
            return Poll::Ready(match next {
                Some(Ok(chunk)) => Some(Ok(self.saw(chunk, waited.unwrap_or_default()))),
                Some(Err(error)) => self.broke(error, true),
                None => {
                    self.held.completed();
                    None
                }
            });
        }
        self.waits_since.get_or_insert(now);
        ready!(self.poll_alarm(due.at, cx));
        Poll::Ready(self.broke(due.error(), true))
    }

    fn due(&self, waits_since: Instant) -> Due {
        let patience = if self.choices.are_complete() {
            Duration::MAX
        } else {
            self.idle
        };
        let since = waits_since.checked_sub(self.waited);
        self.held.seat.due(since.unwrap_or(waits_since), patience)
    }

    /// Waits for a moment. The alarm may ring before it, if it was set for an earlier chunk.
    fn poll_alarm(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        while Instant::now() < at {
            if self.alarm.is_elapsed() || self.alarm.deadline() > at {
                self.alarm.as_mut().reset(at);
            }
            ready!(self.alarm.as_mut().poll(cx));
        }
        Poll::Ready(())
    }

    fn saw(&mut self, chunk: Chunk, waited: Duration) -> Chunk {
        self.choices.saw(&chunk);
        if chunk.carries_token() || chunk.finishes() || chunk.usage().is_some() {
            self.waited = Duration::ZERO;
        } else {
            self.waited += waited;
        }
        if self.choices.are_complete() {
            self.held.completed();
        }
        chunk
    }

    fn broke(
        &mut self,
        error: ExpertError,
        blames_the_endpoint: bool,
    ) -> Option<Result<Chunk, ExpertError>> {
        // The answer is there; what would have followed it is not worth an error.
        if self.choices.are_complete() {
            return None;
        }
        if blames_the_endpoint {
            self.held.failed(&error);
        }
        Some(Err(error))
    }
}
