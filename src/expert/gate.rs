//! What stands before every expert: a limit of concurrent answers, a bounded queue, and its clocks.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, stream};
use metrics::{Gauge, gauge, histogram};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

use crate::{
    chat::{ChatRequest, Choices},
    config::Timeouts,
    expert::{Answer, AnswerStream, Expert, ExpertError},
    ids::ExpertId,
};

/// Chunks kept back while no token has come: roles, filter results and signs of life. An expert that sends more is
/// evidently at work, and its answer has begun.
const PRELUDE_CHUNKS_MAX: usize = 64;

/// The least and the most that a caller is told to wait for a full queue: less would be a busy loop, more a guess.
const RETRY_AFTER_S: (u64, u64) = (1, 60);

/// How much an expert may be asked at once, and how long it may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Answers under way at once, at least 1.
    pub concurrent_max: usize,
    /// Requests that may wait for a seat.
    pub queue_max: usize,
    /// The clocks; they run from the moment a seat is taken.
    pub timeouts: Timeouts,
}

/// An expert behind its limits.
pub struct Gate {
    id: ExpertId,
    expert: Arc<dyn Expert>,
    timeouts: Timeouts,
    concurrent_max: usize,
    seats: Arc<Semaphore>,
    queue: Semaphore,
    seat_time: Arc<MeanTime>,
}

impl Gate {
    /// Puts limits before an expert.
    pub fn new(id: ExpertId, expert: Arc<dyn Expert>, limits: Limits) -> Self {
        let concurrent_max = limits.concurrent_max.clamp(1, Semaphore::MAX_PERMITS);
        let queue_max = limits.queue_max.min(Semaphore::MAX_PERMITS);
        Self {
            id,
            expert,
            timeouts: limits.timeouts,
            concurrent_max,
            seats: Arc::new(Semaphore::new(concurrent_max)),
            queue: Semaphore::new(queue_max),
            seat_time: Arc::default(),
        }
    }

    /// Waits for a seat and asks the expert; returns when the answer is there or, of a stream, the first token is: until
    /// then another expert may still be asked in its place. The seat is held until a stream has ended or is dropped.
    ///
    /// # Errors
    /// `Busy` if the queue is full, `TimedOut` by the clocks, and what the expert says.
    pub async fn answer(&self, request: Arc<ChatRequest>) -> Result<Answer, ExpertError> {
        let seat = self.seat().await?;
        let choices = Choices::new(request.choices_wanted);
        let patience = if request.stream {
            self.timeouts.first_token
        } else {
            // The first token of a whole answer is not to be seen.
            self.timeouts.total
        };
        match seat.within(patience, self.begin(request)).await?? {
            Answer::Whole(completion) => Ok(Answer::Whole(completion)),
            Answer::Stream(pieces) => {
                histogram!("coterie_expert_first_token_seconds", "expert" => self.id.to_string())
                    .record(seat.taken.elapsed());
                Ok(Answer::Stream(clocked(
                    pieces,
                    seat,
                    self.timeouts.idle,
                    choices,
                )))
            }
        }
    }

    /// Does other work of the expert behind the same limits.
    ///
    /// # Errors
    /// `Busy` if the queue is full, `TimedOut` by the clock for the whole, and what the work says.
    pub async fn run<T>(
        &self,
        work: impl Future<Output = Result<T, ExpertError>>,
    ) -> Result<T, ExpertError> {
        let seat = self.seat().await?;
        seat.within(self.timeouts.total, work).await?
    }

    /// Asks the expert and reads a stream up to its first token.
    async fn begin(&self, request: Arc<ChatRequest>) -> Result<Answer, ExpertError> {
        let mut pieces = match self.expert.answer(request).await? {
            Answer::Stream(pieces) => pieces.fuse(),
            whole @ Answer::Whole(_) => return Ok(whole),
        };
        let mut prelude = Vec::new();
        while prelude.len() < PRELUDE_CHUNKS_MAX {
            let Some(chunk) = pieces.next().await.transpose()? else {
                break;
            };
            let begun = chunk.carries_token() || chunk.finishes();
            prelude.push(Ok(chunk));
            if begun {
                break;
            }
        }
        Ok(Answer::Stream(stream::iter(prelude).chain(pieces).boxed()))
    }

    async fn seat(&self) -> Result<Seat, ExpertError> {
        // A seat that comes free goes to whoever waits; this takes only one that nobody waits for.
        if let Ok(permit) = Arc::clone(&self.seats).try_acquire_owned() {
            return Ok(self.taken(permit));
        }
        let Ok(_place) = self.queue.try_acquire() else {
            return Err(self.busy());
        };
        let _waiting = Counted::one("coterie_expert_waiting", &self.id);
        let free = Arc::clone(&self.seats).acquire_owned();
        match timeout(self.timeouts.total, free).await {
            Ok(Ok(permit)) => Ok(self.taken(permit)),
            // It waited as long as a whole answer may take, and nothing was sent.
            _ => Err(self.busy()),
        }
    }

    fn taken(&self, permit: OwnedSemaphorePermit) -> Seat {
        Seat {
            taken: Instant::now(),
            total: self.timeouts.total,
            seat_time: Arc::clone(&self.seat_time),
            _permit: permit,
            _active: Counted::one("coterie_expert_active", &self.id),
        }
    }

    /// Tells to come back when, as answers go, the next seat comes free.
    fn busy(&self) -> ExpertError {
        let seats = u64::try_from(self.concurrent_max).unwrap_or(u64::MAX);
        let next_free_s = (self.seat_time.micros() / seats).div_ceil(1_000_000);
        let (least, most) = RETRY_AFTER_S;
        ExpertError::Busy {
            retry_after: Duration::from_secs(next_free_s.clamp(least, most)),
        }
    }
}

/// A begun stream that keeps to its clocks and keeps its seat. The time that the reader takes between two chunks is not
/// counted as idle, and neither is what an expert does once the answer is complete: it bounds that itself.
fn clocked(pieces: AnswerStream, seat: Seat, idle: Duration, choices: Choices) -> AnswerStream {
    stream::try_unfold((pieces, seat, choices), move |state| async move {
        let (mut pieces, seat, mut choices) = state;
        let patience = if choices.are_complete() {
            Duration::MAX
        } else {
            idle
        };
        let next = seat.within(patience, pieces.next()).await?.transpose()?;
        Ok(next.map(|chunk| {
            choices.saw(&chunk);
            (chunk, (pieces, seat, choices))
        }))
    })
    .boxed()
}

/// The right to be answered, for as long as it is held.
struct Seat {
    taken: Instant,
    /// How long it may be held.
    total: Duration,
    seat_time: Arc<MeanTime>,
    _permit: OwnedSemaphorePermit,
    _active: Counted,
}

impl Seat {
    /// Waits for `work`, at most for `patience` and not beyond the seat's time.
    async fn within<T>(
        &self,
        patience: Duration,
        work: impl Future<Output = T>,
    ) -> Result<T, ExpertError> {
        let left = self.total.saturating_sub(self.taken.elapsed());
        let (most, waited) = if patience < left {
            (patience, patience)
        } else {
            (left, self.total)
        };
        timeout(most, work)
            .await
            .map_err(|_elapsed| ExpertError::TimedOut { waited })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seat_time.add(self.taken.elapsed());
    }
}

/// A running mean in which the last eight or so count most; an estimate, so that a lost update does not matter.
#[derive(Default)]
struct MeanTime(AtomicU64);

impl MeanTime {
    fn micros(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, time: Duration) {
        let mean = self.micros();
        let time = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let next = if mean == 0 {
            time
        } else {
            mean - mean / 8 + time / 8
        };
        self.0.store(next, Ordering::Relaxed);
    }
}

/// Adds one to a gauge while it lives.
struct Counted(Gauge);

impl Counted {
    fn one(name: &'static str, expert: &ExpertId) -> Self {
        let gauge = gauge!(name, "expert" => expert.to_string());
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

#[cfg(test)]
mod tests;
