//! How many answers an expert works on at once: as many as the configuration says, or as many as prove to go well.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::{
    sync::{AcquireError, OwnedSemaphorePermit, Semaphore, TryAcquireError},
    time::{Duration, Instant},
};

use super::class::ErrorClass;

/// Where an adaptive limit begins: polite to a provider whose limits are unknown.
const ADAPTIVE_START: usize = 16;

/// The most that an adaptive limit grows to: beyond that it bounds nothing that a provider's own limits do not.
const ADAPTIVE_MAX: usize = 1024;

/// What is left of an adaptive limit after a sign of overload, in tenths.
const CUT_TENTHS: usize = 7;

/// Signs of one overload come together; a limit is cut once for all that come within this time.
const CUT_PAUSE: Duration = Duration::from_secs(1);

/// How many answers may be under way at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concurrency {
    /// As many as this, at least one.
    Fixed(usize),
    /// As many as go well: one more for each full round of answers, fewer at each sign of overload. That is additive
    /// increase and multiplicative decrease (Chiu and Jain, 1989), as `AIMDLimit` in Netflix's concurrency-limits.
    Adaptive,
}

/// The seats of one expert.
#[derive(Debug)]
pub(super) struct Seats {
    free: Arc<Semaphore>,
    adaptive: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limit: usize,
    taken: usize,
    /// Seats that are to go once they come free.
    surplus: usize,
    /// How much of the next seat has been earned.
    earned: f64,
    cut_at: Option<Instant>,
}

/// A seat, as long as it is held.
#[derive(Debug)]
pub(super) struct Taken {
    seats: Arc<Seats>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Seats {
    pub(super) fn new(concurrency: Concurrency) -> Arc<Self> {
        let (limit, adaptive) = match concurrency {
            Concurrency::Fixed(limit) => (limit.clamp(1, Semaphore::MAX_PERMITS), false),
            Concurrency::Adaptive => (ADAPTIVE_START, true),
        };
        Arc::new(Self {
            free: Arc::new(Semaphore::new(limit)),
            adaptive,
            state: Mutex::new(State {
                limit,
                taken: 0,
                surplus: 0,
                earned: 0.0,
                cut_at: None,
            }),
        })
    }

    /// A seat that nobody waits for, if there is one.
    pub(super) fn try_take(self: &Arc<Self>) -> Result<Taken, TryAcquireError> {
        let permit = Arc::clone(&self.free).try_acquire_owned()?;
        Ok(self.taken(permit))
    }

    /// Waits for a seat; those who wait get theirs in turn.
    pub(super) async fn take(self: &Arc<Self>) -> Result<Taken, AcquireError> {
        let permit = Arc::clone(&self.free).acquire_owned().await?;
        Ok(self.taken(permit))
    }

    /// How many there are.
    pub(super) fn limit(&self) -> usize {
        self.state().limit
    }

    /// An answer went well.
    pub(super) fn went_well(&self) {
        if !self.adaptive {
            return;
        }
        let mut state = self.state();
        // A limit that is not used says nothing of what would go well beyond it.
        if state.limit >= ADAPTIVE_MAX || state.taken * 2 < state.limit {
            return;
        }
        state.earned += 1.0 / state.limit as f64;
        if state.earned < 1.0 {
            return;
        }
        state.earned = 0.0;
        state.limit += 1;
        if state.surplus > 0 {
            state.surplus -= 1;
        } else {
            self.free.add_permits(1);
        }
    }

    /// An answer failed.
    pub(super) fn went_wrong(&self, class: ErrorClass, now: Instant) {
        let is_overload = matches!(
            class,
            ErrorClass::RateLimited | ErrorClass::Overloaded | ErrorClass::TimedOut
        );
        if !self.adaptive || !is_overload {
            return;
        }
        let mut state = self.state();
        if state.cut_at.is_some_and(|cut| now < cut + CUT_PAUSE) {
            return;
        }
        state.cut_at = Some(now);
        state.earned = 0.0;
        let kept = state.limit * CUT_TENTHS / 10;
        let gone = state.limit - kept.max(1);
        state.limit -= gone;
        state.surplus += gone - self.free.forget_permits(gone);
    }

    fn taken(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Taken {
        self.state().taken += 1;
        Taken {
            seats: Arc::clone(self),
            permit: Some(permit),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut state = self.seats.state();
        state.taken -= 1;
        if state.surplus > 0
            && let Some(permit) = self.permit.take()
        {
            state.surplus -= 1;
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(seats: &Arc<Seats>) -> Vec<Taken> {
        std::iter::from_fn(|| seats.try_take().ok()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn an_adaptive_limit_grows_while_it_is_used_and_answers_go_well() {
        let seats = Seats::new(Concurrency::Adaptive);
        for _ in 0..1000 {
            seats.went_well();
        }
        assert_eq!(seats.limit(), ADAPTIVE_START, "nobody needed more");
        let held = all(&seats);
        assert_eq!(held.len(), ADAPTIVE_START);
        for _ in 0..=ADAPTIVE_START {
            seats.went_well();
        }
        assert_eq!(seats.limit(), ADAPTIVE_START + 1);
        assert_eq!(all(&seats).len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_sign_of_overload_cuts_it_once_and_taken_seats_go_when_they_come_free() {
        let seats = Seats::new(Concurrency::Adaptive);
        let held = all(&seats);
        let now = Instant::now();
        for _ in 0..5 {
            seats.went_wrong(ErrorClass::RateLimited, now);
        }
        assert_eq!(seats.limit(), 11);
        drop(held);
        assert_eq!(all(&seats).len(), 11);
        for round in 1..100 {
            seats.went_wrong(ErrorClass::TimedOut, now + round * CUT_PAUSE);
        }
        assert_eq!(all(&seats).len(), 1, "one seat is always left");
    }

    #[tokio::test(start_paused = true)]
    async fn a_fixed_limit_stays_and_a_fault_that_is_no_overload_cuts_nothing() {
        let fixed = Seats::new(Concurrency::Fixed(3));
        fixed.went_wrong(ErrorClass::Overloaded, Instant::now());
        assert_eq!(all(&fixed).len(), 3);
        let adaptive = Seats::new(Concurrency::Adaptive);
        adaptive.went_wrong(ErrorClass::BrokenStream, Instant::now());
        assert_eq!(adaptive.limit(), ADAPTIVE_START);
    }
}
