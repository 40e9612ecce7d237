//! Carries outcomes to the store: a bounded queue whose slots are taken before the expert is asked, and one writer.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    chat::Usage,
    config::{ContentPolicy, ExpertConfig, ExpertKind},
    decision::Decision,
    ids::ExpertId,
    outcome::{
        Ask, Feedback, FeedbackError, Outcome, Retention, Ticket, Writer, content,
        writer::{BATCH_MAX, Message},
    },
    store::Store,
};

/// Most questions under way or waiting to be written. Far above what experts answer at once, so that it fills only
/// while the store cannot be written; then it is what bounds the memory.
const QUEUE_MAX: usize = 4096;

/// Longest wait for a slot before a question is turned away: enough for the writer to get over a checkpoint, short
/// enough for the client to hear soon that it must come back later.
const SLOT_WAIT_MAX: Duration = Duration::from_secs(2);

/// Longest wait for the writer to write what was sent before; it needs milliseconds unless the store fails.
const FLUSH_WAIT_MAX: Duration = Duration::from_secs(5);

/// How outcomes are recorded.
#[derive(Debug)]
pub struct RecorderOptions {
    /// How much of questions and answers is kept.
    pub content: ContentPolicy,
    /// How long outcomes are kept; none: for ever.
    pub retention: Retention,
    /// Longest time that an outcome waits to be written: what `kill -9` can lose.
    pub flush_interval: Duration,
    /// What each expert's tokens cost; an expert that is absent has unknown costs.
    pub prices: HashMap<ExpertId, Prices>,
    /// Cancelled when answers under way are given up: what is dropped from then on ends as `Shutdown`.
    pub shutdown: CancellationToken,
}

/// Dollars per million tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prices {
    /// For tokens read.
    pub usd_in: f64,
    /// For tokens written.
    pub usd_out: f64,
}

impl Prices {
    /// What an expert's tokens cost, where that is known: a local expert costs nothing unless the file says otherwise.
    pub fn of(expert: &ExpertConfig) -> Option<Self> {
        let unless_given = match expert.kind {
            ExpertKind::Local { .. } => Some(0.0),
            ExpertKind::Remote(_) => None,
        };
        Some(Self {
            usd_in: expert.usd_in.or(unless_given)?,
            usd_out: expert.usd_out.or(unless_given)?,
        })
    }

    /// What an answer costs.
    #[expect(
        clippy::cast_precision_loss,
        reason = "exact up to 2^53 tokens, and dollars are rounded anyway"
    )]
    pub fn cost_usd(&self, usage: Usage) -> f64 {
        (usage.prompt_tokens as f64 * self.usd_in + usage.completion_tokens as f64 * self.usd_out)
            / 1e6
    }
}

/// The way to the writer.
#[derive(Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Message>,
    shared: Arc<Shared>,
}

/// What the recorder, its tickets and its writer have in common.
pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) content: ContentPolicy,
    pub(super) prices: HashMap<ExpertId, Prices>,
    /// Answers under way are given up.
    pub(super) shutdown: CancellationToken,
    /// No more outcomes come; the writer ends when it has written all.
    pub(super) closing: CancellationToken,
    /// Time is up; the writer ends now.
    pub(super) abandoned: CancellationToken,
    /// The writer has ended.
    pub(super) finished: CancellationToken,
    /// Outcomes that are certain and not yet in the store.
    pub(super) unwritten: AtomicUsize,
    /// Outcomes in the queue.
    pub(super) waiting: AtomicUsize,
    /// Tells the writer that it has slept long enough.
    pub(super) hurry: Notify,
    /// Whether the writer's last try failed.
    pub(super) failing: watch::Sender<bool>,
}

impl Shared {
    /// Sends an outcome through its slot.
    pub(super) fn send(&self, slot: mpsc::OwnedPermit<Message>, outcome: Outcome) {
        let waiting = self.waiting.fetch_add(1, Ordering::Relaxed) + 1;
        slot.send(Message::Outcome(Box::new(outcome)));
        if waiting == BATCH_MAX {
            self.hurry.notify_one();
        }
    }
}

/// A place in the queue. Dropping it without opening it leaves no outcome.
pub struct Slot {
    permit: mpsc::OwnedPermit<Message>,
    shared: Arc<Shared>,
}

impl Slot {
    /// From here on exactly one outcome is certain.
    pub fn open(self, ask: Ask, decision: Decision, asked: Instant) -> Ticket {
        Ticket::new(self.permit, self.shared, ask, decision, asked)
    }
}

/// No slot of the queue came free in time: the question must not be answered.
#[derive(Debug, thiserror::Error)]
#[error("the record of outcomes is full; try again later")]
pub struct NoSlot;

/// Outcomes still wait to be written, after a fair time.
#[derive(Debug, thiserror::Error)]
#[error("the record of outcomes is behind; try again later")]
pub struct Behind;

/// The recorder was closed before everything was written.
#[derive(Debug, thiserror::Error)]
#[error("{outcomes} outcomes were not recorded before the deadline")]
pub struct Unrecorded {
    /// How many are lost.
    pub outcomes: usize,
}

impl Recorder {
    /// A recorder, and its writer for the caller to run. Nothing is written until [`Writer::run`] is polled.
    pub fn start(store: Store, options: RecorderOptions) -> (Self, Writer) {
        let (queue, messages) = mpsc::channel(QUEUE_MAX);
        let shared = Arc::new(Shared {
            store,
            content: options.content,
            prices: options.prices,
            shutdown: options.shutdown,
            closing: CancellationToken::new(),
            abandoned: CancellationToken::new(),
            finished: CancellationToken::new(),
            unwritten: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            hurry: Notify::new(),
            failing: watch::Sender::new(false),
        });
        let writer = Writer::new(
            messages,
            Arc::clone(&shared),
            options.flush_interval,
            options.retention,
        );
        (Self { queue, shared }, writer)
    }

    /// Takes a slot: before a question is decided on, so that whatever gets a decision can be recorded.
    ///
    /// # Errors
    /// No slot came free in time, or the recorder is closed.
    pub async fn reserve(&self) -> Result<Slot, NoSlot> {
        let permit = timeout(SLOT_WAIT_MAX, self.queue.clone().reserve_owned())
            .await
            .map_err(|_elapsed| NoSlot)?
            .map_err(|_closed| NoSlot)?;
        let shared = Arc::clone(&self.shared);
        Ok(Slot { permit, shared })
    }

    /// Has everything written that was sent before, and waits for it.
    ///
    /// # Errors
    /// It was not written in time, or the writer has ended.
    pub async fn flush(&self) -> Result<(), Behind> {
        let (written, when_written) = oneshot::channel();
        let flush = async {
            self.queue.send(Message::Flush(written)).await.ok()?;
            self.shared.hurry.notify_one();
            when_written.await.ok()
        };
        match timeout(FLUSH_WAIT_MAX, flush).await {
            Ok(Some(())) => Ok(()),
            Ok(None) | Err(_) => Err(Behind),
        }
    }

    /// Attaches feedback to an outcome, which may still wait to be written.
    ///
    /// # Errors
    /// There is no such outcome, the feedback is not valid, or the store cannot be written.
    pub async fn feedback(&self, mut feedback: Feedback) -> Result<(), FeedbackError> {
        let policy = self.shared.content;
        feedback.comment = feedback
            .comment
            .and_then(|comment| content::admit(policy, comment))
            .and_then(|comment| content::kept(policy, comment));
        match self.shared.store.add_feedback(&feedback).await {
            Err(FeedbackError::UnknownOutcome { .. }) => {
                self.flush().await?;
                self.shared.store.add_feedback(&feedback).await
            }
            taken => taken,
        }
    }

    /// Whether the writer's last try failed, and a notice when that changes. Outcomes wait meanwhile; none is lost.
    pub fn failing(&self) -> watch::Receiver<bool> {
        self.shared.failing.subscribe()
    }

    /// Takes no more questions, waits until every ticket has ended and every outcome is written, and closes the store.
    ///
    /// # Errors
    /// That took longer than `within`; what was not written by then is lost.
    pub async fn close(&self, within: Duration) -> Result<(), Unrecorded> {
        let shared = &self.shared;
        shared.closing.cancel();
        if timeout(within, shared.finished.cancelled()).await.is_err() {
            shared.abandoned.cancel();
        }
        if let Err(error) = shared.store.close().await {
            warn!(
                error = &error as &dyn std::error::Error,
                "the store's log stays beside its file until the next start"
            );
        }
        match shared.unwritten.load(Ordering::Relaxed) {
            0 => Ok(()),
            outcomes => Err(Unrecorded { outcomes }),
        }
    }
}
