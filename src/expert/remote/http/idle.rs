//! Connections that wait for their next request.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

use super::connection::Connection;

/// Connections kept open between answers: as many as a busy server has under way, and few enough for any file limit.
const CONNECTIONS_MAX: usize = 64;

/// How long a connection may be used again: load balancers commonly close theirs after 60 s, and what was given up on our
/// side first is never written to in vain. It is closed with the next answer that ends, or the next request.
const KEPT: Duration = Duration::from_secs(50);

/// Connections without a request, the one used last at the end.
#[derive(Default)]
pub(super) struct Idle(Mutex<Vec<(Instant, Connection)>>);

impl Idle {
    /// The connection that was used last and can be used again; rather one of this thread's, whose scheduler hears of what
    /// comes over it.
    pub(super) fn take(&self) -> Option<Connection> {
        let here = thread::current().id();
        loop {
            let (since, mut connection) = self.latest(here)?;
            if since.elapsed() < KEPT && connection.is_usable() {
                return Some(connection);
            }
        }
    }

    fn latest(&self, here: ThreadId) -> Option<(Instant, Connection)> {
        let mut connections = self.connections();
        let of_here = connections
            .iter()
            .rposition(|(_, connection)| connection.made_on() == here);
        let latest = of_here.or_else(|| connections.len().checked_sub(1))?;
        Some(connections.remove(latest))
    }

    /// Keeps a connection for the next request.
    pub(super) fn put(&self, connection: Connection) {
        let now = Instant::now();
        let mut connections = self.connections();
        let old = connections
            .iter()
            .take_while(|(since, _)| now.duration_since(*since) >= KEPT)
            .count();
        connections.drain(..old);
        if connections.len() < CONNECTIONS_MAX {
            connections.push((now, connection));
        }
    }

    fn connections(&self) -> MutexGuard<'_, Vec<(Instant, Connection)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
