//! Threads that serve connections, each with a scheduler of its own.
//!
//! A connection stays on its lane, and what it asks goes to providers over connections that were made there: an answer does not
//! go from one thread to another, and none is woken for it. Of a scheduler whose threads take work from each other, a sixth
//! of the time went into waking them and putting them to sleep again. What would keep a lane's other connections waiting is
//! done elsewhere ([`super::endpoints`], [`crate::heavy`]).

use std::{
    io,
    sync::Arc,
    thread::{self, JoinHandle},
};

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

/// The lanes of a server: one for each core that it may use. Dropping them ends their threads.
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    stop: CancellationToken,
}

struct Lane {
    scheduler: Handle,
    /// Each connection on it holds another of these.
    taken: Place,
    thread: Option<JoinHandle<()>>,
}

/// A connection's place on a lane.
pub(super) type Place = Arc<()>;

impl Lanes {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system gives none.
    pub(super) fn start() -> io::Result<Self> {
        let mut all = Self {
            lanes: Vec::new(),
            stop: CancellationToken::new(),
        };
        for number in 0..thread::available_parallelism().map_or(1, usize::from) {
            all.lanes.push(Lane::start(number, all.stop.clone())?);
        }
        Ok(all)
    }

    /// The lane with the fewest connections, and a place on it.
    pub(super) fn place(&self) -> Option<(&Handle, Place)> {
        let taken = |lane: &&Lane| Arc::strong_count(&lane.taken);
        let emptiest = self.lanes.iter().min_by_key(taken)?;
        Some((&emptiest.scheduler, Arc::clone(&emptiest.taken)))
    }
}

impl Lane {
    fn start(number: usize, stop: CancellationToken) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let scheduler = runtime.handle().clone();
        let thread = thread::Builder::new()
            .name(format!("lane-{number}"))
            .spawn(move || runtime.block_on(stop.cancelled()))?;
        Ok(Self {
            scheduler,
            taken: Place::default(),
            thread: Some(thread),
        })
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        self.stop.cancel();
        for lane in &mut self.lanes {
            // A lane that panicked has said so.
            lane.thread.take().map(JoinHandle::join);
        }
    }
}
