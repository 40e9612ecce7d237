//! The one task that writes outcomes, and that deletes them when their time is over.

use std::{
    future,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use metrics::{counter, gauge};
use tokio::{
    select,
    sync::{mpsc, oneshot},
    time::{interval, sleep},
};
use tokio_util::sync::DropGuard;
use tracing::{error, info, warn};

use super::recorder::Shared;
use crate::{
    clock,
    outcome::{Outcome, content},
    store::{Pruned, Store, TooOld},
};

/// Most rows of one transaction: beyond this, a transaction's own cost no longer counts.
pub(super) const BATCH_MAX: usize = 256;

/// Wait after a first failed write; doubled after each further one.
const RETRY_WAIT_MIN: Duration = Duration::from_millis(100);

/// Longest wait between two tries: how soon after its repair a store is written again.
const RETRY_WAIT_MAX: Duration = Duration::from_secs(5);

/// Time between two prunes: outcomes outlive `store.keep` by this much at most.
const PRUNE_INTERVAL: Duration = Duration::from_secs(3600);

/// How long outcomes are kept; none: for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// All of them.
    pub keep: Option<Duration>,
    /// Those of which somebody said what they were about, where that is longer.
    pub keep_labelled: Option<Duration>,
}

impl Retention {
    /// What is too old at a moment; none where nothing ever is.
    fn too_old(self, now_ms: i64) -> Option<TooOld> {
        let ago = |keep: Duration| {
            now_ms.saturating_sub(i64::try_from(keep.as_millis()).unwrap_or(i64::MAX))
        };
        let before_ms = ago(self.keep?);
        let labelled_before_ms = self.keep_labelled.map_or(i64::MIN, ago);
        Some(TooOld {
            before_ms,
            labelled_before_ms: labelled_before_ms.min(before_ms),
        })
    }
}

/// What goes through the queue.
pub(super) enum Message {
    /// To be written.
    Outcome(Box<Outcome>),
    /// To be answered once everything that was sent before is written.
    Flush(oneshot::Sender<()>),
}

/// Writes what the recorder's tickets send. Made by [`Recorder::start`](super::Recorder::start).
#[must_use = "nothing is recorded unless it runs"]
pub struct Writer {
    queue: mpsc::Receiver<Message>,
    shared: Arc<Shared>,
    flush_interval: Duration,
    retention: Retention,
    /// Says that the writer has ended, however it does.
    _finished: DropGuard,
}

/// What is written in one transaction.
#[derive(Default)]
struct Batch {
    outcomes: Vec<Outcome>,
    flushes: Vec<oneshot::Sender<()>>,
}

impl Writer {
    pub(super) fn new(
        queue: mpsc::Receiver<Message>,
        shared: Arc<Shared>,
        flush_interval: Duration,
        retention: Retention,
    ) -> Self {
        let finished = shared.finished.clone().drop_guard();
        Self {
            queue,
            shared,
            flush_interval,
            retention,
            _finished: finished,
        }
    }

    /// Writes until the recorder is closed and everything is written, or the deadline of
    /// [`Recorder::close`](super::Recorder::close) is over. Spawn it on the app's tracker.
    pub async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let retention = self.retention;
        select! {
            () = self.write_all() => {}
            () = shared.abandoned.cancelled() => error!(
                outcomes = shared.unwritten.load(Ordering::Relaxed),
                "the deadline is over; outcomes that are not written are lost"
            ),
            () = prune_regularly(&shared.store, retention) => {}
        }
    }

    async fn write_all(&mut self) {
        while let Some(mut batch) = self.next_batch().await {
            self.write(&mut batch.outcomes).await;
            for written in batch.flushes {
                // Whoever asked may have stopped waiting.
                let _ = written.send(());
            }
        }
    }

    /// Waits for a message, then until its time is over, there are enough for a batch or somebody wants them written. In
    /// between it sleeps: to wake it for each message would cost more than the message.
    async fn next_batch(&mut self) -> Option<Batch> {
        let mut batch = Batch::default();
        batch.push(self.receive().await?);
        self.drain(&mut batch);
        if batch.can_wait() {
            select! {
                () = sleep(self.flush_interval) => {}
                () = self.shared.hurry.notified() => {}
                () = self.shared.closing.cancelled() => {}
            }
        }
        self.drain(&mut batch);
        let taken = batch.outcomes.len();
        self.shared.waiting.fetch_sub(taken, Ordering::Relaxed);
        Some(batch)
    }

    /// Takes what is there.
    fn drain(&mut self, batch: &mut Batch) {
        while batch.can_wait()
            && let Ok(message) = self.queue.try_recv()
        {
            batch.push(message);
        }
    }

    /// The next message; none once the recorder is closed, every ticket has ended and the queue is empty.
    async fn receive(&mut self) -> Option<Message> {
        select! {
            message = self.queue.recv() => message,
            () = self.shared.closing.cancelled(), if !self.queue.is_closed() => {
                // From here on slots that were taken can still be used, and no more are given.
                self.queue.close();
                self.queue.recv().await
            }
        }
    }

    /// Writes one batch, however often it takes.
    async fn write(&self, outcomes: &mut [Outcome]) {
        if outcomes.is_empty() {
            return;
        }
        content::mask(self.shared.content, outcomes).await;
        let mut wait = RETRY_WAIT_MIN;
        while let Err(error) = self.shared.store.write(outcomes).await {
            counter!("coterie_outcome_write_failures_total").increment(1);
            self.report(true);
            warn!(
                error = &error as &dyn std::error::Error,
                waiting = outcomes.len() + self.queue.len(),
                "outcomes cannot be written; next try in {wait:?}"
            );
            sleep(wait).await;
            wait = RETRY_WAIT_MAX.min(wait * 2);
        }
        self.shared
            .unwritten
            .fetch_sub(outcomes.len(), Ordering::Relaxed);
        counter!("coterie_outcomes_written_total").increment(outcomes.len() as u64);
        self.report(false);
    }

    fn report(&self, failing: bool) {
        #[expect(clippy::cast_precision_loss, reason = "the queue's bound is small")]
        gauge!("coterie_outcome_queue_length").set(self.queue.len() as f64);
        self.shared
            .failing
            .send_if_modified(|was| std::mem::replace(was, failing) != failing);
    }
}

impl Batch {
    fn push(&mut self, message: Message) {
        match message {
            Message::Outcome(outcome) => self.outcomes.push(*outcome),
            Message::Flush(written) => self.flushes.push(written),
        }
    }

    fn can_wait(&self) -> bool {
        self.outcomes.len() < BATCH_MAX && self.flushes.is_empty()
    }
}

/// Deletes outcomes that are too old, now and every [`PRUNE_INTERVAL`]; never returns.
async fn prune_regularly(store: &Store, retention: Retention) {
    let mut due = interval(PRUNE_INTERVAL);
    loop {
        due.tick().await;
        let Some(too_old) = retention.too_old(clock::now_ms()) else {
            return future::pending().await;
        };
        match store.prune(too_old).await {
            Ok(Pruned {
                deleted: 0,
                reduced: 0,
            }) => {}
            Ok(Pruned { deleted, reduced }) => info!(
                deleted,
                reduced,
                "deleted {deleted} outcomes that were older than store.keep, and left of {reduced} labelled ones what \
                 learning needs"
            ),
            Err(error) => warn!(
                error = &error as &dyn std::error::Error,
                "old outcomes cannot be deleted; next try in {PRUNE_INTERVAL:?}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labelled_outcomes_are_kept_for_the_longer_of_both_times() {
        let day = |days: u64| Duration::from_secs(86_400 * days);
        let at = |keep, keep_labelled| {
            Retention {
                keep,
                keep_labelled,
            }
            .too_old(100 * 86_400_000)
            .map(|it| {
                (
                    it.before_ms / 86_400_000,
                    it.labelled_before_ms / 86_400_000,
                )
            })
        };
        assert_eq!(at(Some(day(10)), Some(day(30))), Some((90, 70)));
        assert_eq!(at(Some(day(10)), Some(day(5))), Some((90, 90)));
        assert_eq!(at(Some(day(10)), Some(Duration::ZERO)), Some((90, 90)));
        assert_eq!(at(Some(day(10)), None), Some((90, i64::MIN / 86_400_000)));
        assert_eq!(at(None, Some(day(5))), None, "for ever");
    }
}
