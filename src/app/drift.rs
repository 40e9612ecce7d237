//! Watches what the router decides, and what becomes of it, while the server runs. It reads what the store has, now and
//! then, off the path of questions.

use std::{error::Error, sync::Arc, time::Duration};

use metrics::counter;
use tokio::{
    select,
    time::{Instant, sleep},
};
use tracing::warn;

use super::App;
use crate::{
    clock,
    drift::Alarm,
    learning::watch::{self, Watch},
    store::StoreError,
};

/// Time between two looks; a change shows after hundreds of questions.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);

/// Pages that one look reads: some tenths of a second. What is left is for the next ones.
const PAGES_MAX: usize = 5;

/// While there is something left, answers have the machine for so many times as long as a look took: of a million outcomes, all
/// are read within minutes, and of more than a core can look at, the watch is behind until there are fewer.
const LEFT_ALONE: u32 = 19;

/// Looks after which the tests are kept, though there was no alarm: what is read again after a crash is some minutes' worth.
const LOOKS_PER_KEEP: u32 = 10;

/// Where nothing was kept by the process before, the alarms of this time before the newest question are told all the same: it
/// may have ended before it told them. However long nothing ran meanwhile, no question came.
const TOLD_AGAIN_MS: i64 = 24 * 60 * 60 * 1000;

impl App {
    /// Tells of drift, in the log and in metrics, until the app closes.
    pub async fn watch_for_drift(self: Arc<Self>) {
        let started_ms = clock::now_ms();
        let mut watching = None;
        loop {
            let began = Instant::now();
            let looked = select! {
                () = self.cancel.cancelled() => return,
                looked = self.look_for_drift(&mut watching, started_ms) => looked,
            };
            let is_at_end = looked.unwrap_or_else(|error| {
                tell_unread(&error);
                true
            });
            let pause = if is_at_end {
                LOOK_INTERVAL
            } else {
                LOOK_INTERVAL.min(began.elapsed() * LEFT_ALONE)
            };
            select! {
                () = self.cancel.cancelled() => return,
                () = sleep(pause) => {}
            }
        }
    }

    /// Looks at some of what came; whether that was all.
    async fn look_for_drift(
        &self,
        watching: &mut Option<Watching>,
        started_ms: i64,
    ) -> Result<bool, StoreError> {
        let now_ms = clock::now_ms();
        let watching = match watching {
            Some(watching) => watching,
            none => none.insert(self.begin_watching(now_ms).await?),
        };
        let router = self.composition.router();
        let encoder = router.artefact().static_encoder.as_ref();
        let caught_up = watching
            .watch
            .read_on(&self.store, PAGES_MAX, encoder, now_ms)
            .await;
        let tells_from_ms = watching.tells_from_ms(started_ms);
        tell(&caught_up.alarms, tells_from_ms, started_ms);
        watching.is_caught_up |= caught_up.is_at_end;
        watching.looks += 1;
        // What was told is not to be told again, and what was not is not to be lost.
        let is_due = !caught_up.alarms.is_empty() || watching.looks >= LOOKS_PER_KEEP;
        if is_due && watching.is_caught_up {
            watching.looks = 0;
            if let Err(error) = watching.watch.keep(&self.store, now_ms).await {
                tell_unkept(&error);
            }
        }
        caught_up.error.map_or(Ok(caught_up.is_at_end), Err)
    }

    async fn begin_watching(&self, now_ms: i64) -> Result<Watching, StoreError> {
        let questions = self.config.learning.questions_per_false_alarm;
        if let Some(watch) = Watch::resume(&self.store, questions).await? {
            return Ok(Watching::that_goes_on(watch));
        }
        let watch = Watch::begin(&self.store, questions, now_ms).await?;
        Ok(Watching::that_begins(watch))
    }
}

/// The tests, and whether they have seen all that was there at the start.
struct Watching {
    watch: Watch,
    is_caught_up: bool,
    /// Since the tests were kept.
    looks: u32,
}

impl Watching {
    /// Whatever it notices is new.
    fn that_goes_on(watch: Watch) -> Self {
        Self {
            watch,
            is_caught_up: true,
            looks: 0,
        }
    }

    fn that_begins(watch: Watch) -> Self {
        Self {
            watch,
            is_caught_up: false,
            looks: LOOKS_PER_KEEP,
        }
    }

    /// Alarms that were noticed earlier were told by an earlier process; none: there are none such.
    fn tells_from_ms(&self, started_ms: i64) -> Option<i64> {
        let newest_ms = self.watch.newest_ms();
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

fn tell_unkept(error: &StoreError) {
    warn!(
        error = error as &dyn Error,
        "how far outcomes were watched for drift cannot be kept"
    );
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;
    use crate::{drift::Signal, store::Store};

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

    #[tokio::test]
    async fn who_begins_tells_of_late_alarms_and_who_goes_on_of_all() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("coterie.db"))
            .await
            .unwrap();
        let watch = Watch::begin(&store, 20_000.0, 1_000).await.unwrap();
        let begins = Watching::that_begins(watch.clone());
        let noticed = [1_000 - TOLD_AGAIN_MS - 1, 1_000, i64::MAX];
        assert_eq!(counted(&noticed, begins.tells_from_ms(1_000)), 2);
        // What waited for its scores, or was brought in, is of an earlier time and new all the same.
        let goes_on = Watching::that_goes_on(watch);
        assert_eq!(counted(&noticed, goes_on.tells_from_ms(1_000)), 3);
    }
}
