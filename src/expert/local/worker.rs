//! The thread that a model runs on, and the queue before it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::sync::mpsc::{self, error::TrySendError};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use super::{
    error::LoadFault,
    generator::{Generator, Unfinished},
    reader::{PieceSender, Pieces, Waiting, pieces},
};
use crate::{
    chat::ChatRequest,
    expert::{Crowd, ExpertError},
    ids::ExpertId,
};

/// What an answer is taken to cost before any has been timed.
const ANSWER_TIME_GUESS: Duration = Duration::from_secs(5);

/// The shortest and the longest wait that a caller is sent away with.
const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// A model on its own thread. Dropping it stops the answer under way at its next token, and joins the thread.
pub(super) struct Worker {
    /// None once it is closing down.
    jobs: Option<mpsc::Sender<Job>>,
    closing: CancellationToken,
    pace: Arc<Pace>,
    thread: Option<JoinHandle<()>>,
}

/// One question that waits for the model.
struct Job {
    request: Arc<ChatRequest>,
    pieces: PieceSender,
}

/// How long answers take, on average with the newest counting most.
struct Pace {
    answer_ms: AtomicU64,
}

impl Worker {
    /// Starts the thread; `queue_max` questions may wait (at least one).
    pub(super) fn start(
        id: &ExpertId,
        generator: Generator,
        queue_max: usize,
    ) -> Result<Self, LoadFault> {
        let (jobs, queue) = mpsc::channel(queue_max.max(1));
        let closing = CancellationToken::new();
        let pace = Arc::new(Pace::guess());
        let waiting = Waiting::new(closing.clone())?;
        let thread = thread::Builder::new()
            .name(format!("expert-{id}"))
            .spawn({
                let pace = Arc::clone(&pace);
                move || work(generator, queue, &waiting, &pace)
            })
            .map_err(|source| LoadFault::Thread { source })?;
        Ok(Self {
            jobs: Some(jobs),
            closing,
            pace,
            thread: Some(thread),
        })
    }

    /// Puts a question into the queue.
    ///
    /// # Errors
    /// `Busy` where the queue is full.
    pub(super) fn ask(&self, request: Arc<ChatRequest>) -> Result<Pieces, ExpertError> {
        let stopped = || ExpertError::Model {
            detail: "its thread has stopped; the log says why".into(),
        };
        let jobs = self.jobs.as_ref().ok_or_else(stopped)?;
        let (sender, pieces) = pieces();
        let job = Job {
            request,
            pieces: sender,
        };
        jobs.try_send(job).map_err(|refused| match refused {
            TrySendError::Full(_) => ExpertError::Busy {
                retry_after: self.pace.retry_after(),
                crowd: Crowd::Full,
            },
            TrySendError::Closed(_) => stopped(),
        })?;
        Ok(pieces)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.closing.cancel();
        drop(self.jobs.take());
        if let Some(Err(_panic)) = self.thread.take().map(JoinHandle::join) {
            error!("the thread of a local expert ended in a panic");
        }
    }
}

/// Answers one question after another until the queue is closed.
fn work(mut generator: Generator, mut queue: mpsc::Receiver<Job>, waiting: &Waiting, pace: &Pace) {
    while let Some(job) = queue.blocking_recv() {
        answer(&mut generator, job, waiting, pace);
    }
}

fn answer(generator: &mut Generator, job: Job, waiting: &Waiting, pace: &Pace) {
    let reader = waiting.reader(job.pieces);
    if reader.has_left() {
        return reader.abandon();
    }
    let started = Instant::now();
    // A panic inside the model must cost one answer, not the expert.
    let outcome = catch_unwind(AssertUnwindSafe(|| generator.answer(&job.request, &reader)));
    match outcome {
        Ok(Ok(ending)) => {
            pace.note(started.elapsed());
            reader.finish(Ok(ending));
        }
        Ok(Err(Unfinished::Failed(error))) => reader.finish(Err(error)),
        Ok(Err(Unfinished::ReaderGone)) => {
            debug!("a reader left a local expert before the answer's end");
            reader.abandon();
        }
        Err(_panic) => {
            generator.forget();
            error!("the model code of a local expert panicked");
            reader.finish(Err(ExpertError::Model {
                detail: "it panicked; the log says where".into(),
            }));
        }
    }
}

impl Pace {
    fn guess() -> Self {
        Self {
            answer_ms: AtomicU64::new(millis(ANSWER_TIME_GUESS)),
        }
    }

    fn note(&self, took: Duration) {
        let before = self.answer_ms.load(Ordering::Relaxed);
        let after = (3 * before + millis(took)) / 4;
        self.answer_ms.store(after, Ordering::Relaxed);
    }

    /// A place in a full queue comes free when the answer under way ends, which takes one answer's time at the most.
    fn retry_after(&self) -> Duration {
        Duration::from_millis(self.answer_ms.load(Ordering::Relaxed))
            .clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4)
}
