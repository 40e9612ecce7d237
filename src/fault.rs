//! A provider that fails as it is told: an OpenAI-compatible server whose model names select faults, for tests and for
//! whoever wants to see what a client or a gateway does when a provider breaks.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use coterie::fault::{FaultServer, Options};
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let server = FaultServer::start(listener, Options::default())?;
//! println!("{}/chat/completions, model `cut@5`", server.base_url());
//! # Ok(())
//! # }
//! ```
//!
//! The path of a request: [`wire`] reads it, [`book`] takes it down, [`name`] says what is to go wrong, [`plan`] makes a
//! reply of that, as data, and [`sender`] carries it out. It knows nothing of the rest of Coterie.

mod answer;
mod asked;
mod body;
mod book;
mod connection;
mod gzip;
mod kind;
mod name;
mod plan;
mod refusal;
mod reply;
mod sender;
mod wire;

use std::{io, net::SocketAddr, str::FromStr, sync::Arc, time::Duration};

use tokio::{net::TcpListener, runtime::Handle, task::JoinSet, time::sleep};

pub use book::Seen;
pub use kind::{FAULTS, Fault, Kind, Place};
pub use name::{Model, NameError, Prefill, RetryAfter, RetryForm, Text};

use connection::Shared;

/// Most connections at once; more wait in the system's backlog.
const CONNECTIONS_MAX: usize = 4096;

/// Pause after a failed accept: when descriptors run out, only time brings some back.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// How a fault server behaves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// What every wait is multiplied by.
    pub time_scale: TimeScale,
}

/// What waits are multiplied by: 0.01 makes a minute 0.6 s.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimeScale(f64);

impl TimeScale {
    /// The largest scale: a test that waits longer has been forgotten.
    const MAX: f64 = 100.0;

    /// `None` unless it is between 0 and 100.
    pub fn new(scale: f64) -> Option<Self> {
        (0.0..=Self::MAX).contains(&scale).then_some(Self(scale))
    }

    fn scaled(self, wait: Duration) -> Duration {
        wait.mul_f64(self.0)
    }
}

impl Default for TimeScale {
    fn default() -> Self {
        Self(1.0)
    }
}

/// A time scale that is no number between 0 and 100.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be a number between 0 and {}", TimeScale::MAX)]
pub struct TimeScaleError;

impl FromStr for TimeScale {
    type Err = TimeScaleError;

    fn from_str(scale: &str) -> Result<Self, TimeScaleError> {
        let scale = scale.parse().ok().and_then(Self::new);
        scale.ok_or(TimeScaleError)
    }
}

/// A running fault server; it ends, and cuts its connections, when it is dropped.
pub struct FaultServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    _accepting: JoinSet<()>,
}

impl FaultServer {
    /// Serves on a listener from now on.
    ///
    /// # Errors
    /// The listener has no address, or there is no runtime to serve in.
    pub fn start(listener: TcpListener, options: Options) -> io::Result<Self> {
        let runtime = Handle::try_current().map_err(io::Error::other)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::new(options.time_scale));
        let mut accepting = JoinSet::new();
        accepting.spawn_on(accept(listener, Arc::clone(&shared)), &runtime);
        Ok(Self {
            address,
            shared,
            _accepting: accepting,
        })
    }

    /// Where it listens; the port is real even where 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it is, up to and including `/v1`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// How many requests came for a model's name.
    pub fn count(&self, model: &str) -> u64 {
        self.shared.book(|book| book.count(model))
    }

    /// The requests that came for a model's name, oldest first. Of all names together, the newest few thousand are kept.
    pub fn requests(&self, model: &str) -> Vec<Seen> {
        self.shared.book(|book| book.requests(model))
    }

    /// Waits until a model's name has been asked for `times` in all.
    pub async fn asked(&self, model: &str, times: u64) {
        let mut arrivals = self.shared.arrivals.subscribe();
        let asked = arrivals.wait_for(|()| self.count(model) >= times);
        // It cannot close: the sender is as old as the server.
        drop(asked.await);
    }

    /// Forgets all requests: what strikes once strikes again.
    pub fn reset(&self) {
        self.shared.forget();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        if connections.len() >= CONNECTIONS_MAX {
            drop(connections.join_next().await);
        }
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = Arc::clone(&shared);
                connections.spawn(async move {
                    if let Err(error) = connection::serve(stream, shared).await {
                        tracing::debug!(%error, "a client left early");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_scale_is_a_number_between_0_and_100() {
        for (text, valid) in [
            ("0", true),
            ("0.01", true),
            ("100", true),
            ("-0.1", false),
            ("101", false),
            ("NaN", false),
            ("inf", false),
            ("fast", false),
        ] {
            assert_eq!(text.parse::<TimeScale>().is_ok(), valid, "{text}");
        }
    }

    #[test]
    fn waits_are_multiplied() {
        let scale: TimeScale = "0.01".parse().unwrap();
        let minute = Duration::from_secs(60);
        assert_eq!(scale.scaled(minute), Duration::from_millis(600));
        assert_eq!(TimeScale::default().scaled(minute), minute);
    }
}
