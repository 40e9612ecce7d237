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
    drift::Alarm,
    learning::watch::{self, CaughtUp, Watch},
    store::StoreError,
};

/// Time between two looks; a change shows after hundreds of questions.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);

/// Of what was noticed before the start, the alarms of this time before the newest question are told again: the process
/// before may have ended before it told them. However long nothing ran meanwhile, no question came.
const TOLD_AGAIN_MS: i64 = 24 * 60 * 60 * 1000;

impl App {
    /// Tells of drift, in the log and in metrics, until the app closes.
    pub async fn watch_for_drift(self: Arc<Self>) {
        let started_ms = clock::now_ms();
        let mut watching = Watching::default();
        let mut tick = interval(LOOK_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            select! {
                () = self.cancel.cancelled() => return,
                _ = tick.tick() => {}
            }
            let looked = select! {
                () = self.cancel.cancelled() => return,
                looked = self.look_for_drift(&mut watching) => looked,
            };
            match looked {
                Ok(caught_up) => {
                    let tells_from_ms = watching.tells_from_ms(started_ms);
                    tell(&caught_up.alarms, tells_from_ms, started_ms);
                    watching.is_caught_up |= caught_up.error.is_none();
                    if let Some(error) = caught_up.error {
                        tell_unread(&error);
                    }
                }
                Err(error) => tell_unread(&error),
            }
        }
    }

    async fn look_for_drift(&self, watching: &mut Watching) -> Result<CaughtUp, StoreError> {
        let now_ms = clock::now_ms();
        let router = self.composition.router();
        let encoder = router.artefact().static_encoder.as_ref();
        let watch = match &mut watching.watch {
            Some(watch) => watch,
            none => {
                let questions = self.config.learning.questions_per_false_alarm;
                none.insert(Watch::begin(&self.store, questions, now_ms).await?)
            }
        };
        Ok(watch.catch_up(&self.store, encoder, now_ms).await)
    }
}

/// The tests, and whether they have seen all that was there at the start.
#[derive(Default)]
struct Watching {
    watch: Option<Watch>,
    is_caught_up: bool,
}

impl Watching {
    /// Alarms that were noticed earlier were told by an earlier process; none: there are none such.
    fn tells_from_ms(&self, started_ms: i64) -> Option<i64> {
        let newest_ms = self.watch.as_ref().and_then(Watch::newest_ms);
        (!self.is_caught_up).then(|| told_again_from_ms(newest_ms, started_ms))
    }
}

fn told_again_from_ms(newest_ms: Option<i64>, started_ms: i64) -> i64 {
    let newest_ms = newest_ms.unwrap_or(started_ms).min(started_ms);
    newest_ms.saturating_sub(TOLD_AGAIN_MS)
}

fn tell(alarms: &[Alarm], from_ms: Option<i64>, started_ms: i64) {
    let is_told = |alarm: &&Alarm| from_ms.is_none_or(|from_ms| alarm.noticed_ms >= from_ms);
    for alarm in alarms.iter().filter(is_told) {
        let signal = watch::signal_word(&alarm.signal);
        counter!("coterie_drift_alarms_total", "signal" => signal).increment(1);
        let router = alarm.router.as_ref().map(tracing::field::display);
        let earlier = from_ms.is_some() && alarm.noticed_ms < started_ms;
        warn!(router, signal, earlier, "drift: {}", watch::in_words(alarm));
    }
}

fn tell_unread(error: &StoreError) {
    warn!(
        error = error as &dyn Error,
        "outcomes cannot be read to watch for drift"
    );
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;
    use crate::drift::Signal;

    /// How many are counted of alarms that were noticed at these times.
    fn counted(noticed_ms: &[i64], from_ms: Option<i64>) -> usize {
        let recorder = PrometheusBuilder::new().build_recorder();
        let alarms: Vec<Alarm> = noticed_ms
            .iter()
            .map(|noticed_ms| Alarm {
                signal: Signal::Novelty,
                router: None,
                since_ms: 0,
                noticed_ms: *noticed_ms,
                before: 0.0,
                after: 1.0,
                rows_before: 1,
                rows_after: 1,
            })
            .collect();
        metrics::with_local_recorder(&recorder, || tell(&alarms, from_ms, 1_000));
        let rendered = recorder.handle().render();
        let counts = rendered.lines().filter_map(|line| {
            line.strip_prefix("coterie_drift_alarms_total{signal=\"novelty\"} ")
        });
        counts.map(|count| count.parse::<usize>().unwrap()).sum()
    }

    #[test]
    fn what_was_noticed_just_before_a_stop_is_told_by_the_next_process() {
        let start = 10 * TOLD_AGAIN_MS;
        let stopped = start - 7 * TOLD_AGAIN_MS;
        for newest in [start - 5, stopped] {
            let from_ms = told_again_from_ms(Some(newest), start);
            let noticed = [newest - TOLD_AGAIN_MS - 1, newest - 1, newest];
            assert_eq!(counted(&noticed, Some(from_ms)), 2);
        }
        // A clock that is ahead takes nothing from what is told.
        let ahead = told_again_from_ms(Some(start + 1), start);
        assert_eq!(ahead, told_again_from_ms(Some(start), start));
    }

    #[test]
    fn after_the_start_everything_is_told() {
        let watching = Watching {
            watch: None,
            is_caught_up: true,
        };
        // What waited for its scores, or was brought in, is of an earlier time and new all the same.
        assert_eq!(counted(&[0, 1, i64::MAX], watching.tells_from_ms(1_000)), 3);
    }
}
