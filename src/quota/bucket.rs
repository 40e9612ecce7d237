//! A token bucket of which takings can be given back. Pure: whoever asks brings the time.
//!
//! `governor` takes for good: it can neither give back nor take more than a bucket holds, and a request settles to what it
//! used, which is known at its end alone.
//!
//! Whatever is given back late must not let a burst through: a client could hold takings back for minutes and give them back
//! at once. So the bucket goes on as if the request had taken from the beginning no more than it used in the end. It keeps
//! what is missing from it as debts, one for each taking that is open. Time pays the newest debts first, and what is given
//! back pays those of its own time and before, as far as time has not paid them.

use std::time::{Duration, Instant};

/// What rounding may cost, in tokens: who waits as long as it was told finds what it was promised.
const ROUNDING_TOKENS: f64 = 1e-6;

/// Takings that are known apart. Beyond, the oldest is taken for one with the next, and gives less back than it could.
const OPEN_MAX: usize = 4096;

/// The most that may be owed, in minutes' worth of tokens: more is rather a miscount, which must not shut a client out for
/// ever.
const OWED_MINUTES_MAX: f64 = 60.0;

const MINUTE: Duration = Duration::from_secs(60);

/// A bucket that holds a minute's tokens and is filled continuously.
#[derive(Debug)]
pub(super) struct Bucket {
    capacity: f64,
    tokens_per_second: f64,
    /// What is missing, the oldest first. All but the last belong to open takings, be they paid or not.
    debts: Vec<Debt>,
    /// Until when time has been counted.
    at: Instant,
    next: TakingId,
}

#[derive(Debug)]
struct Debt {
    of: TakingId,
    tokens: f64,
    is_open: bool,
}

/// Which of a bucket's takings; later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TakingId(u64);

/// Why a bucket gives nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Short {
    /// It will hold enough after this time, if nobody else takes of it.
    For(Duration),
    /// It never holds so much.
    Always,
}

/// How full a bucket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// Whole tokens in it.
    pub remaining: u64,
    /// Time until it is full, if nobody takes of it.
    pub full_in: Duration,
}

impl Bucket {
    /// A full bucket of so many tokens a minute.
    pub(super) fn new(per_minute: u32, now: Instant) -> Self {
        let capacity = f64::from(per_minute);
        Self {
            capacity,
            tokens_per_second: capacity / MINUTE.as_secs_f64(),
            debts: Vec::new(),
            at: now,
            next: TakingId(0),
        }
    }

    /// Takes so many tokens, or none.
    pub(super) fn take(&mut self, tokens: u64, now: Instant) -> Result<TakingId, Short> {
        self.pass(now);
        let tokens = tokens as f64;
        if tokens > self.capacity {
            return Err(Short::Always);
        }
        let lacking = self.missing() + tokens - self.capacity;
        if lacking > ROUNDING_TOKENS {
            return Err(Short::For(self.time_for(lacking)));
        }
        Ok(self.owe(tokens, true))
    }

    /// Ends a taking that has used `used` of the tokens that it had `taken`, or more.
    pub(super) fn settle(&mut self, taking: TakingId, taken: u64, used: u64, now: Instant) {
        self.pass(now);
        self.give_back(taking, taken.saturating_sub(used) as f64);
        self.close(taking);
        if used > taken {
            let more = (used - taken) as f64;
            let room = OWED_MINUTES_MAX * self.capacity - self.missing();
            self.owe(more.min(room.max(0.0)), false);
        }
    }

    /// How full it is.
    pub(super) fn level(&mut self, now: Instant) -> Level {
        self.pass(now);
        let missing = self.missing();
        let remaining = (self.capacity - missing + ROUNDING_TOKENS).max(0.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and the capacity, which is a u32, and whole tokens are meant"
        )]
        let remaining = remaining as u64;
        Level {
            remaining,
            full_in: self.time_for(missing),
        }
    }

    /// Counts the time until now: it pays the newest debts. Readings of the clock that overtook each other count once.
    fn pass(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at);
        self.at += passed;
        self.pay(
            self.debts.len(),
            passed.as_secs_f64() * self.tokens_per_second,
        );
    }

    /// What is given back pays the debts of its time and before, the newest first.
    fn give_back(&mut self, taking: TakingId, tokens: f64) {
        let until = self.debts.partition_point(|debt| debt.of <= taking);
        self.pay(until, tokens);
    }

    /// Pays the last of the debts before `until`, with what is left over the one before it, and so on.
    fn pay(&mut self, until: usize, mut tokens: f64) {
        for debt in self.debts[..until].iter_mut().rev() {
            let paid = tokens.min(debt.tokens);
            debt.tokens -= paid;
            tokens -= paid;
            if tokens <= 0.0 {
                break;
            }
        }
    }

    /// The sum of the debts; above the capacity where more was used than had been taken.
    fn missing(&self) -> f64 {
        self.debts.iter().map(|debt| debt.tokens).sum()
    }

    fn owe(&mut self, tokens: f64, is_open: bool) -> TakingId {
        let of = self.next;
        self.next = TakingId(of.0 + 1);
        let before = self.debts.pop_if(|last| !last.is_open);
        self.debts.push(Debt {
            of,
            tokens: tokens + before.map_or(0.0, |before| before.tokens),
            is_open,
        });
        if self.debts.len() > OPEN_MAX {
            let oldest = self.debts.remove(0);
            self.debts[0].tokens += oldest.tokens;
        }
        of
    }

    /// Nothing more is given back of a taking: what is left of its debt is taken for one with the next, so that there are
    /// no more debts than open takings.
    fn close(&mut self, taking: TakingId) {
        let Ok(at) = self.debts.binary_search_by_key(&taking, |debt| debt.of) else {
            return; // It is taken for one with another.
        };
        if at + 1 < self.debts.len() {
            let debt = self.debts.remove(at);
            self.debts[at].tokens += debt.tokens;
        } else {
            self.debts[at].is_open = false;
        }
    }

    fn time_for(&self, tokens: f64) -> Duration {
        let seconds = (tokens / self.tokens_per_second).max(0.0);
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests;
