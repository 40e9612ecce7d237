//! Keeps what is known of experts' answers up with the store, for exploration by Thompson sampling: reads the newest outcomes
//! again and again, and puts what they say in force in one step. Off the request path: making the tables of one expert takes
//! some hundred microseconds.

use std::{error::Error, sync::Arc, time::Duration};

use metrics::gauge;
use tokio::{
    select,
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};
use tracing::warn;

use super::App;
use crate::{
    clock,
    learning::{Origin, reward::Implicit, served, tallies},
    mapping::{Posteriors, explore::Policy},
};

/// Time between two looks at the store.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// How old outcomes may be that count: experts change, and so does what is asked of them.
const LOOK_BACK: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Most outcomes that count, the newest: some ten megabytes while they are read.
const OUTCOMES_MAX: u32 = 20_000;

impl App {
    /// Keeps what is known of experts' answers up with the store until the app closes, as long as the mapping in force needs
    /// it.
    pub async fn follow_rewards(self: Arc<Self>) {
        let mut tick = interval(LOOK_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            select! {
                () = self.cancel.cancelled() => return,
                () = self.rewards_look.notified() => {}
                _ = tick.tick() => {}
            }
            let explores = self.composition.mapping().explores();
            if explores.is_some_and(|explore| explore.policy() == Policy::Thompson) {
                self.take_rewards().await;
            }
        }
    }

    /// Has the store read for rewards now.
    pub fn look_at_rewards(&self) {
        self.rewards_look.notify_one();
    }

    async fn take_rewards(&self) {
        let look_back_ms = i64::try_from(LOOK_BACK.as_millis()).unwrap_or(i64::MAX);
        let since_ms = clock::now_ms() - look_back_ms;
        let mut served = match self.store.served_since(since_ms, OUTCOMES_MAX).await {
            Ok(newest) => newest.served,
            Err(error) => {
                warn!(error = &error as &dyn Error, "rewards cannot be read");
                return;
            }
        };
        let hears_judges = !self.config.learning.without.contains(&Origin::Judge);
        let client_share_max = self.config.learning.client_share_max;
        let known = spawn_blocking(move || {
            if !hears_judges {
                served::leave_judges_out(&mut served);
            }
            served::notice_repeats(&mut served);
            let tallies = tallies::tallies(&served, Implicit::Counts, client_share_max);
            let rewards: f64 = tallies.values().map(|tally| tally.rows).sum();
            (Posteriors::of(&tallies), rewards)
        });
        match known.await {
            Ok((posteriors, rewards)) => {
                self.composition.replace_posteriors(posteriors);
                gauge!("coterie_exploration_rewards").set(rewards);
            }
            Err(panic) => warn!("rewards could not be added up: {panic}"),
        }
    }
}
