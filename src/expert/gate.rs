//! What stands before every expert: a limit of concurrent answers, a bounded queue that sheds who would wait in vain, its
//! clocks, and the choice of an endpoint.

mod begin;
mod clocked;

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt;
use metrics::{Gauge, counter, gauge, histogram};
use serde_json::{Map, Value};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout, timeout_at},
};

use super::{
    Affinity, Answer, AttemptId, Call, Crowd, ExpertError, Tried,
    breaker::Took,
    pool::{EndpointState, Lease, Pool},
    quantile::{Recent, Unanswered},
    seats::{Concurrency, Seats, Taken},
};
use crate::{chat::Choices, config::Timeouts, ids::ExpertId};
use begin::begin;
use clocked::Clocked;

/// The least and the most that a caller is told to wait for a full queue: less would be a busy loop, more a guess.
const RETRY_AFTER_S: (u64, u64) = (1, 60);

/// A wait that nobody sees the end of, for clocks that are set beyond all time.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// How much an expert may be asked at once, and how long it may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Answers under way at once.
    pub concurrency: Concurrency,
    /// Requests that may wait for a seat.
    pub queue_max: usize,
    /// The clocks; they run from the moment a seat is taken.
    pub timeouts: Timeouts,
}

/// An expert behind its limits.
pub struct Gate {
    id: ExpertId,
    pool: Pool,
    timeouts: Timeouts,
    seats: Arc<Seats>,
    queue: Semaphore,
    queue_max: usize,
    seat_time: Arc<MeanTime>,
    first_tokens: Recent,
    whole_answers: Recent,
}

impl Gate {
    /// Puts limits before an expert.
    pub(super) fn new(id: ExpertId, pool: Pool, limits: Limits) -> Self {
        let queue_max = limits.queue_max.min(Semaphore::MAX_PERMITS);
        Self {
            id,
            pool,
            timeouts: limits.timeouts,
            seats: Seats::new(limits.concurrency),
            queue: Semaphore::new(queue_max),
            queue_max,
            seat_time: Arc::default(),
            first_tokens: Recent::default(),
            whole_answers: Recent::default(),
        }
    }

    /// Waits for a seat and asks the expert; returns when the answer is there or, of a stream, the first token is: until
    /// then another expert may still be asked in its place. The seat is held until a stream has ended or is dropped. From the
    /// moment at which there is a seat and an endpoint, the attempt is one that was sent.
    ///
    /// # Errors
    /// `Busy` if the queue is full or longer than the question can wait, `CircuitOpen` while it is left alone, `TimedOut`
    /// by the clocks, and what the expert says.
    pub(super) async fn answer(
        &self,
        call: &Call,
        attempt: AttemptId,
    ) -> Result<Answer, ExpertError> {
        let admitted = self.admit(call.deadline, call.session, &call.tried).await;
        let (seat, mut lease) = admitted?;
        call.attempts.sent(attempt);
        let timeouts = call.delivery.timeouts.over(self.timeouts);
        let is_streamed = call.request.stream;
        let patience = if is_streamed {
            timeouts.first_token
        } else {
            // The first token of a whole answer is not to be seen.
            timeouts.total
        };
        let recent = self.recent(is_streamed);
        let unanswered = Unanswered::since(seat.taken, recent);
        let begun = seat.within(patience, begin(lease.expert(), call)).await;
        unanswered.ended();
        match begun.and_then(|begun| begun) {
            Ok(answer) => {
                lease.began(Some(if is_streamed {
                    Took::FirstToken
                } else {
                    Took::Whole
                }));
                Ok(self.begun(answer, Held { seat, lease }, timeouts.idle, call))
            }
            Err(error) => {
                call.tried.add(lease.endpoint());
                lease.failed(&error);
                self.seats.went_wrong(error.class(), Instant::now());
                Err(error)
            }
        }
    }

    /// Turns texts into vectors, behind the same limits.
    ///
    /// # Errors
    /// As of [`answer`](Self::answer); the clock is the one for the whole.
    pub(super) async fn embed(
        &self,
        body: &Map<String, Value>,
        tried: &Tried,
    ) -> Result<Map<String, Value>, ExpertError> {
        let (seat, lease) = self.admit(None, None, tried).await?;
        let work = lease.expert().embed(body);
        let embedded = seat.within(self.timeouts.total, work).await;
        let embedded = embedded.and_then(|embedded| embedded);
        let mut held = Held { seat, lease };
        match &embedded {
            Ok(_) => {
                // Few texts take a moment, thousands take long.
                held.lease.began(None);
                held.completed();
            }
            Err(error) => {
                tried.add(held.lease.endpoint());
                held.failed(error);
            }
        }
        embedded
    }

    /// Time for which others are to be asked before it; none where it is as good as any.
    pub(super) fn closed_for(&self) -> Option<Duration> {
        self.pool.closed_for(Instant::now())
    }

    /// Whether it is left alone for being slow, and for nothing else.
    pub(super) fn is_slow(&self) -> bool {
        let now = Instant::now();
        self.pool.closed_for(now).is_some() && self.pool.refuses_for(now).is_none()
    }

    /// Whether another endpoint of the expert may do better.
    pub(super) fn has_untried(&self, tried: &Tried) -> bool {
        self.pool.has_untried(tried, Instant::now())
    }

    /// What each of its endpoints is doing.
    pub(super) fn states(&self) -> Vec<EndpointState> {
        self.pool.states(Instant::now())
    }

    /// How many answers may be under way at once, now.
    pub(super) fn concurrent_max(&self) -> usize {
        self.seats.limit()
    }

    /// How long nineteen in twenty of the last answers took to begin; none while too few are known.
    pub(super) fn p95(&self, streamed: bool) -> Option<Duration> {
        self.recent(streamed).p95()
    }

    fn recent(&self, streamed: bool) -> &Recent {
        if streamed {
            &self.first_tokens
        } else {
            &self.whole_answers
        }
    }

    /// A seat, and an endpoint to ask.
    async fn admit(
        &self,
        deadline: Option<Instant>,
        session: Option<Affinity>,
        tried: &Tried,
    ) -> Result<(Seat, Lease), ExpertError> {
        // Nobody waits for a seat at an expert that would not be asked then.
        let now = Instant::now();
        if let Some(retry_after) = self.pool.refuses_for(now) {
            return Err(self.pool.resting(retry_after, now));
        }
        let seat = self.seat(deadline).await?;
        let lease = self.pool.lease(session, tried, Instant::now())?;
        Ok((seat, lease))
    }

    fn begun(&self, answer: Answer, mut held: Held, idle: Duration, call: &Call) -> Answer {
        let took = held.seat.taken.elapsed();
        match answer {
            Answer::Whole(completion) => {
                self.whole_answers.add(took);
                held.completed();
                Answer::Whole(completion)
            }
            Answer::Stream(pieces) => {
                self.first_tokens.add(took);
                histogram!("coterie_expert_first_token_seconds", "expert" => self.id.to_string())
                    .record(took);
                let choices = Choices::new(call.request.choices_wanted);
                Answer::Stream(Clocked::new(pieces, held, idle, choices).boxed())
            }
        }
    }

    async fn seat(&self, deadline: Option<Instant>) -> Result<Seat, ExpertError> {
        // A seat that comes free goes to whoever waits; this takes only one that nobody waits for.
        if let Ok(taken) = self.seats.try_take() {
            return Ok(self.taken(taken, deadline));
        }
        let Ok(_place) = self.queue.try_acquire() else {
            return Err(self.busy(Crowd::Full, self.wait_at(self.queue_max + 1)));
        };
        // Who would only be told in the end that it took too long is told now, and somebody else has the place.
        let wait = self.expected_wait();
        if !self.is_in_time(wait, deadline) {
            return Err(self.shed(wait));
        }
        let _waiting = Counted::one("coterie_expert_waiting", &self.id);
        let patience = deadline.map_or(FOR_EVER, |it| it.saturating_duration_since(Instant::now()));
        match timeout(patience.min(self.timeouts.total), self.seats.take()).await {
            // What was expected may not have come about: then the seat is for whoever has the time.
            Ok(Ok(_)) if self.others_wait() && !self.is_in_time(Duration::ZERO, deadline) => {
                Err(self.shed(self.expected_wait()))
            }
            Ok(Ok(taken)) => Ok(self.taken(taken, deadline)),
            // It waited as long as a whole answer may take, and nothing was sent.
            _ => Err(self.busy(Crowd::TooSlow, self.expected_wait())),
        }
    }

    /// Whether somebody waits for a seat beside the one who asks.
    fn others_wait(&self) -> bool {
        self.queue.available_permits() + 1 < self.queue_max
    }

    /// Whether there is an answer in time after a wait, as answers go. By a deadline it has to be there, not only its seat.
    fn is_in_time(&self, wait: Duration, deadline: Option<Instant>) -> bool {
        let Some(deadline) = deadline else {
            return wait <= self.timeouts.total;
        };
        let answer = Duration::from_micros(self.seat_time.micros());
        wait + answer <= deadline.saturating_duration_since(Instant::now())
    }

    /// Turns away who would wait so long for a seat, and in vain: as long it is until those ahead are answered.
    fn shed(&self, wait: Duration) -> ExpertError {
        counter!("coterie_expert_shed_total", "expert" => self.id.to_string()).increment(1);
        self.busy(Crowd::TooSlow, wait)
    }

    fn taken(&self, taken: Taken, deadline: Option<Instant>) -> Seat {
        Seat {
            taken: Instant::now(),
            total: self.timeouts.total,
            deadline,
            seat_time: Arc::clone(&self.seat_time),
            seats: Arc::clone(&self.seats),
            _taken: taken,
            _active: Counted::one("coterie_expert_active", &self.id),
        }
    }

    /// How long, as answers go, whoever stands last in the queue waits for a seat.
    fn expected_wait(&self) -> Duration {
        self.wait_at(self.queue_max - self.queue.available_permits())
    }

    /// The same of a place in the queue, the first of which is 1.
    fn wait_at(&self, place: usize) -> Duration {
        let rounds = u64::try_from(place.div_ceil(self.seats.limit().max(1))).unwrap_or(u64::MAX);
        Duration::from_micros(self.seat_time.micros().saturating_mul(rounds))
    }

    /// Tells to come back when there is room.
    fn busy(&self, crowd: Crowd, room_in: Duration) -> ExpertError {
        let (least, most) = RETRY_AFTER_S;
        let seconds = room_in.as_micros().div_ceil(1_000_000);
        let seconds = u64::try_from(seconds).unwrap_or(most);
        ExpertError::Busy {
            retry_after: Duration::from_secs(seconds.clamp(least, most)),
            crowd,
        }
    }
}

/// What an answer under way holds.
struct Held {
    seat: Seat,
    lease: Lease,
}

impl Held {
    fn completed(&mut self) {
        if self.lease.completed() {
            self.seat.seats.went_well();
        }
    }

    fn failed(&mut self, error: &ExpertError) {
        self.lease.failed(error);
        self.seat.seats.went_wrong(error.class(), Instant::now());
    }
}

/// The right to be answered, for as long as it is held.
struct Seat {
    taken: Instant,
    /// How long it may be held.
    total: Duration,
    /// When nobody waits any more for what happens on it.
    deadline: Option<Instant>,
    seat_time: Arc<MeanTime>,
    seats: Arc<Seats>,
    _taken: Taken,
    _active: Counted,
}

impl Seat {
    /// Waits for `work`, at most for `patience`, not beyond the seat's time, and not beyond the deadline.
    async fn within<T>(
        &self,
        patience: Duration,
        work: impl Future<Output = T>,
    ) -> Result<T, ExpertError> {
        let now = Instant::now();
        let due = self.due(now, patience);
        // A clock that has struck has struck, also for what would be there at once.
        if due.at <= now {
            return Err(due.error());
        }
        timeout_at(due.at, work)
            .await
            .map_err(|_elapsed| due.error())
    }

    /// When a clock strikes for somebody who waits since a moment, at most for `patience`.
    fn due(&self, since: Instant, patience: Duration) -> Due {
        let of_seat = self.taken.checked_add(self.total).map(|at| Due {
            at,
            clock: Clock::Expert { waits: self.total },
        });
        let of_wait = since.checked_add(patience).map(|at| Due {
            at,
            clock: Clock::Expert { waits: patience },
        });
        let of_question = self.deadline.map(|at| Due {
            at,
            clock: Clock::Question {
                waits: at.saturating_duration_since(self.taken),
            },
        });
        // Of two that strike at once the first counts.
        let clocks = [of_question, of_seat, of_wait].into_iter().flatten();
        clocks.min_by_key(|due| due.at).unwrap_or(Due {
            at: since + FOR_EVER,
            clock: Clock::Expert { waits: FOR_EVER },
        })
    }
}

/// When patience ends, and whose.
#[derive(Clone, Copy)]
struct Due {
    at: Instant,
    clock: Clock,
}

#[derive(Clone, Copy)]
enum Clock {
    /// What is waited for one expert.
    Expert { waits: Duration },
    /// What the question waits, whoever is asked.
    Question { waits: Duration },
}

impl Due {
    fn error(self) -> ExpertError {
        match self.clock {
            Clock::Expert { waits } => ExpertError::TimedOut { waited: waits },
            Clock::Question { waits } => ExpertError::OutOfTime { waited: waits },
        }
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
