//! What one client may use of one thing a minute, shared by all of its requests.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{
    Clock, OverQuota, Unit,
    bucket::{Bucket, Level, Short, TakingId},
};

/// A bucket for many at once.
#[derive(Debug)]
pub(super) struct Meter {
    unit: Unit,
    per_minute: u32,
    clock: Clock,
    bucket: Mutex<Bucket>,
}

/// What was taken of a bucket. Dropping it gives back what was not used: all of it unless somebody says otherwise.
#[derive(Debug)]
pub(super) struct Taken {
    meter: Arc<Meter>,
    id: TakingId,
    amount: u64,
    used: u64,
}

/// How one of a client's limits stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What is limited.
    pub unit: Unit,
    /// The limit, a minute.
    pub per_minute: u32,
    /// How full the bucket is.
    pub level: Level,
}

impl Meter {
    pub(super) fn new(unit: Unit, per_minute: u32, clock: Clock) -> Self {
        Self {
            unit,
            per_minute,
            clock,
            bucket: Mutex::new(Bucket::new(per_minute, clock())),
        }
    }

    /// Takes all that is wanted, in one step with the check whether it is there.
    pub(super) fn take(self: &Arc<Self>, wanted: u64) -> Result<Taken, OverQuota> {
        let now = (self.clock)();
        let mut bucket = self.bucket();
        match bucket.take(wanted, now) {
            Ok(id) => Ok(Taken {
                meter: Arc::clone(self),
                id,
                amount: wanted,
                used: 0,
            }),
            Err(Short::For(retry_in)) => Err(OverQuota::Spent {
                unit: self.unit,
                per_minute: self.per_minute,
                wanted,
                remaining: bucket.level(now).remaining,
                retry_in,
            }),
            Err(Short::Always) => Err(OverQuota::TooLarge {
                unit: self.unit,
                per_minute: self.per_minute,
                wanted,
            }),
        }
    }

    pub(super) fn standing(&self) -> Standing {
        Standing {
            unit: self.unit,
            per_minute: self.per_minute,
            level: self.bucket().level((self.clock)()),
        }
    }

    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        // Whoever panicked while holding it left numbers behind that are too high or too low for a minute at the most.
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    pub(super) fn amount(&self) -> u64 {
        self.amount
    }

    /// Puts what was used in place of what was taken.
    pub(super) fn settle(mut self, used: u64) {
        self.used = used;
    }

    /// Counts all that was taken as used.
    pub(super) fn keep(self) {
        let amount = self.amount;
        self.settle(amount);
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let now = (self.meter.clock)();
        let mut bucket = self.meter.bucket();
        bucket.settle(self.id, self.amount, self.used, now);
    }
}
