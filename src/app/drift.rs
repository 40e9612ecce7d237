//! Watches what the router decides, and what becomes of it, while the server runs. It reads what the store has, now and
//! then, off the path of questions.

use std::{error::Error, sync::Arc, time::Duration};

use metrics::counter;
use tokio::{
    select,
    time::{MissedTickBehavior, interval},
};
use tracing::warn;

use super::App;
use crate::{
    clock,
    learning::watch::{self, Watch},
};

/// Time between two looks; a change shows after hundreds of questions.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);

impl App {
    /// Tells of drift, in the log and in metrics, until the app closes.
    pub async fn watch_for_drift(self: Arc<Self>) {
        let started_ms = clock::now_ms();
        let mut watched: Option<Watch> = None;
        let mut tick = interval(LOOK_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            select! {
                () = self.cancel.cancelled() => return,
                _ = tick.tick() => {}
            }
            let router = self.composition.router();
            let mut watch = match watched.take() {
                Some(watch) if watch.router() == router.id() => watch,
                _ => Watch::new(&router, &self.config.learning),
            };
            let caught_up = select! {
                () = self.cancel.cancelled() => return,
                caught_up = watch.catch_up(&self.store, &router) => caught_up,
            };
            watched = Some(watch);
            match caught_up {
                Ok(alarms) => {
                    // What an earlier process noticed was told by that.
                    for alarm in alarms.iter().filter(|it| it.noticed_ms >= started_ms) {
                        let signal = watch::signal_word(&alarm.signal);
                        counter!("coterie_drift_alarms_total", "signal" => signal).increment(1);
                        warn!(router = %router.id(), signal, "drift: {}", watch::in_words(alarm));
                    }
                }
                Err(error) => warn!(
                    error = &error as &dyn Error,
                    "outcomes cannot be read to watch for drift"
                ),
            }
        }
    }
}
