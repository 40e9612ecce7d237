//! What the house, or one of its clients, has spent today: counted from the store when the server starts, and from every outcome afterwards.
//!
//! A day is a day of UTC. What a question may cost is reserved with its decision, so that questions asked at once cannot
//! spend the same dollar; what it did cost takes the place of that when it has ended.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::mapping::Today;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// The count of a day's dollars.
#[derive(Debug)]
pub struct Spending(Mutex<Day>);

#[derive(Debug)]
struct Day {
    /// Days since 1970-01-01 UTC.
    number: i64,
    /// Dollars spent, and reserved by questions under way.
    usd: f64,
}

/// Dollars that a question under way may cost; released where it is dropped without having cost anything.
#[derive(Debug)]
pub struct Reserved {
    spending: Arc<Spending>,
    day: i64,
    usd: f64,
}

impl Spending {
    /// The first moment of the day that a moment is in; both in milliseconds since 1970 UTC.
    pub fn midnight_ms(now_ms: i64) -> i64 {
        day_of(now_ms) * DAY_MS
    }

    /// `usd` have been spent on the day that it is now.
    pub fn new(now_ms: i64, usd: f64) -> Self {
        Self(Mutex::new(Day {
            number: day_of(now_ms),
            usd,
        }))
    }

    /// What has been spent so far.
    pub fn today(&self, now_ms: i64) -> Today {
        self.day(now_ms).today(now_ms)
    }

    /// Counts dollars that were spent without being reserved.
    pub fn charge(&self, now_ms: i64, usd: f64) {
        self.day(now_ms).add(usd);
    }

    /// Lets `choose` see what is left, and reserves the dollars that it returns before anybody else sees it.
    ///
    /// # Errors
    /// What keeps `choose` from choosing; nothing is reserved then.
    pub fn admit<T, E>(
        self: &Arc<Self>,
        now_ms: i64,
        choose: impl FnOnce(Today) -> Result<(T, f64), E>,
    ) -> Result<(T, Reserved), E> {
        let mut day = self.day(now_ms);
        let (chosen, usd) = choose(day.today(now_ms))?;
        day.add(usd);
        let reserved = Reserved {
            spending: Arc::clone(self),
            day: day.number,
            usd,
        };
        Ok((chosen, reserved))
    }

    /// The day that it is now; a new one begins with nothing spent.
    fn day(&self, now_ms: i64) -> MutexGuard<'_, Day> {
        let mut day = self.lock();
        let number = day_of(now_ms);
        if number > day.number {
            *day = Day { number, usd: 0.0 };
        }
        day
    }

    fn lock(&self) -> MutexGuard<'_, Day> {
        // A sum of numbers is whole whatever happened to whoever held it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Day {
    fn today(&self, now_ms: i64) -> Today {
        let left_ms = (self.number + 1) * DAY_MS - now_ms;
        Today {
            usd_spent: self.usd,
            ends_in: Duration::from_millis(left_ms.max(0).unsigned_abs()),
            client: None,
        }
    }

    fn add(&mut self, usd: f64) {
        // Sums of fractions may end a hair below nothing.
        self.usd = (self.usd + usd).max(0.0);
    }
}

impl Reserved {
    /// How many dollars.
    pub fn usd(&self) -> f64 {
        self.usd
    }

    /// Puts what was spent in place of what was reserved.
    pub fn settle(mut self, usd: f64) {
        self.replace(usd);
        self.usd = 0.0;
    }

    /// Counts what was reserved as spent: the question was answered, and nobody told what that cost.
    pub fn keep(mut self) {
        self.usd = 0.0;
    }

    fn replace(&self, usd: f64) {
        let mut day = self.spending.lock();
        // A day that is over is counted no more.
        if day.number == self.day {
            day.add(usd - self.usd);
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if self.usd > 0.0 {
            self.replace(0.0);
        }
    }
}

fn day_of(now_ms: i64) -> i64 {
    now_ms.div_euclid(DAY_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = DAY_MS / 2;

    fn reserve(spending: &Arc<Spending>, now_ms: i64, usd: f64) -> Reserved {
        let choose = |_today| Ok::<_, ()>(((), usd));
        spending.admit(now_ms, choose).unwrap().1
    }

    #[test]
    fn what_is_reserved_counts_until_the_true_cost_is_known() {
        let spending = Arc::new(Spending::new(NOON, 1.0));
        let spent = || spending.today(NOON).usd_spent;
        let first = reserve(&spending, NOON, 0.5);
        assert_eq!(spent(), 1.5);
        first.settle(0.25);
        assert_eq!(spent(), 1.25);
        reserve(&spending, NOON, 0.5).keep();
        assert_eq!(spent(), 1.75);
        drop(reserve(&spending, NOON, 0.5));
        assert_eq!(spent(), 1.75);
    }

    #[test]
    fn who_cannot_choose_reserves_nothing() {
        let spending = Arc::new(Spending::new(NOON, 1.0));
        let refused = spending.admit(NOON, |today| Err::<((), f64), _>(today.usd_spent));
        assert_eq!(refused.unwrap_err(), 1.0);
        assert_eq!(spending.today(NOON).usd_spent, 1.0);
    }

    #[test]
    fn a_new_day_begins_with_nothing_spent() {
        let spending = Arc::new(Spending::new(NOON, 1.0));
        let yesterday = reserve(&spending, NOON, 0.5);
        let today = spending.today(DAY_MS + NOON);
        assert_eq!(today.usd_spent, 0.0);
        assert_eq!(today.ends_in, Duration::from_hours(12));
        yesterday.settle(2.0);
        assert_eq!(spending.today(DAY_MS + NOON).usd_spent, 0.0);
    }

    #[test]
    fn questions_asked_at_once_do_not_spend_the_same_dollar() {
        let spending = Arc::new(Spending::new(NOON, 0.0));
        let admitted = std::thread::scope(|scope| {
            let asking: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        let mut held = Vec::new();
                        for _ in 0..100 {
                            let choose = |today: Today| {
                                let fits = today.usd_spent + 1.0 <= 10.0;
                                if fits { Ok(((), 1.0)) } else { Err(()) }
                            };
                            held.extend(spending.admit(NOON, choose));
                        }
                        held
                    })
                })
                .collect();
            let held: Vec<_> = asking
                .into_iter()
                .flat_map(|asking| asking.join().unwrap())
                .collect();
            held.len()
        });
        assert_eq!(admitted, 10);
    }
}
