//! A router in shadow: it decides on what the router in force has decided on, off the request path, and what it says is
//! written down and has no other effect.
//!
//! A question costs its path a copy of its text into a bounded queue; when that is full, the question is left out.

use std::{error::Error, sync::Arc, time::Duration};

use metrics::counter;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::App;
use crate::{
    clock,
    decision::{Decision, Reason},
    query::Query,
    router::Router,
    store::Store,
    trial::ShadowDecision,
};

/// Questions that wait for the router in shadow, of some kilobytes each.
const QUEUE_MAX: usize = 1024;

/// Decisions that are written in one transaction.
const BATCH_MAX: usize = 256;

/// Wait before the next batch: the writer of outcomes comes first.
const PAUSE: Duration = Duration::from_millis(100);

/// How long the last batch may take to be written when the app closes.
const LAST_WRITE_MAX: Duration = Duration::from_secs(2);

/// The way of questions to a router in shadow.
pub(super) struct Shadow {
    queue: mpsc::Sender<Shown>,
}

/// Decides on what comes, until nobody can send any more.
pub(super) struct Worker {
    router: Arc<Router>,
    store: Store,
    queue: mpsc::Receiver<Shown>,
}

/// A question that was decided on.
struct Shown {
    outcome_id: String,
    query: Query,
}

impl App {
    /// Has the router in shadow decide on a question as well, where there is one and the router in force decided on the
    /// question. Never waits.
    pub(super) fn show_to_shadow(&self, outcome_id: &str, query: Query, decision: &Decision) {
        let shadow = self.shadow.load();
        let Some(shadow) = shadow.as_ref() else {
            return;
        };
        if matches!(decision.reason, Reason::CategoryNamed | Reason::ExpertNamed)
            || decision.router != *self.composition.router().id()
        {
            return;
        }
        let shown = Shown {
            outcome_id: outcome_id.to_owned(),
            query,
        };
        if shadow.queue.try_send(shown).is_err() {
            count("dropped", 1);
        }
    }
}

impl Shadow {
    pub(super) fn new(router: Arc<Router>, store: Store) -> (Self, Worker) {
        let (sender, queue) = mpsc::channel(QUEUE_MAX);
        let worker = Worker {
            router,
            store,
            queue,
        };
        (Self { queue: sender }, worker)
    }
}

impl Worker {
    /// Runs until its trial has ended and the queue is empty, or until it is cancelled: then what waits is left out.
    pub(super) async fn run(mut self, cancel: CancellationToken) {
        let mut batch = Vec::new();
        while let Some(Some(shown)) = cancel.run_until_cancelled(self.queue.recv()).await {
            let is_whole = cancel
                .run_until_cancelled(self.decide_all(shown, &mut batch))
                .await
                .is_some();
            if !is_whole {
                break;
            }
            self.write(&mut batch).await;
            if cancel.run_until_cancelled(sleep(PAUSE)).await.is_none() {
                break;
            }
        }
        if timeout(LAST_WRITE_MAX, self.write(&mut batch))
            .await
            .is_err()
        {
            warn!(
                "the last decisions of the router in shadow were not written in {LAST_WRITE_MAX:?}"
            );
        }
        count("dropped", self.queue.len());
    }

    /// Decides on a question and on those that wait behind it, one after the other, so that the encoder that the router
    /// shares with the one in force has at most one more text to read at a time.
    async fn decide_all(&mut self, first: Shown, batch: &mut Vec<ShadowDecision>) {
        let mut next = Some(first);
        while let Some(shown) = next {
            batch.extend(self.decide(shown).await);
            next = if batch.len() < BATCH_MAX {
                self.queue.try_recv().ok()
            } else {
                None
            };
        }
    }

    async fn decide(&self, shown: Shown) -> Option<ShadowDecision> {
        let started = Instant::now();
        let verdict = match self.router.classify(&shown.query).await {
            Ok(verdict) => verdict,
            Err(error) => {
                count("failed", 1);
                debug!(error = &error as &dyn Error, "the router in shadow failed");
                return None;
            }
        };
        let took_us = i64::try_from(started.elapsed().as_micros()).unwrap_or(i64::MAX);
        let has_text = !verdict.scores.is_empty();
        Some(ShadowDecision {
            router: self.router.id().clone(),
            outcome_id: shown.outcome_id,
            decided_at_ms: clock::now_ms(),
            strangeness: has_text.then(|| f64::from(verdict.out_of_domain)),
            reason: Reason::of(&verdict).kind(),
            scores: verdict.scores,
            took_us,
        })
    }

    async fn write(&self, batch: &mut Vec<ShadowDecision>) {
        if batch.is_empty() {
            return;
        }
        match self.store.write_shadow(batch).await {
            Ok(()) => count("decided", batch.len()),
            Err(error) => {
                count("failed", batch.len());
                warn!(
                    error = &error as &dyn Error,
                    "decisions of the router in shadow cannot be written"
                );
            }
        }
        batch.clear();
    }
}

fn count(result: &'static str, decisions: usize) {
    counter!("coterie_shadow_decisions_total", "result" => result).increment(decisions as u64);
}
