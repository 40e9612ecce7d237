//! Bind, serve, drain, shut down in order.
//!
//! The order of shutting down: not ready, so that new questions are refused → wait for answers up to `server.grace` → stop
//! accepting → cancel the rest (they end as `shutdown`) → write what was recorded → close SQLite → join the models' threads,
//! then those that serve.

mod connections;
mod endpoints;
mod lanes;
mod patience;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::net::TcpListener;

use crate::{
    api,
    app::{App, AppError},
    config::{Config, Exposure},
    telemetry,
};
use connections::{Connections, Patience};
use endpoints::Endpoints;
use lanes::Lanes;

/// How long cancelled answers may take to say so to their clients, and refusals to be read, before their connections are
/// cut.
const CANCELLED_MAX: Duration = Duration::from_secs(2);

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Anyone who reaches the address could ask.
    #[error(
        "{listen} can be reached from other machines, and no key is configured. Configure `server.keys`, listen on \
         127.0.0.1, or pass --insecure to let everyone in"
    )]
    OpenToAll {
        /// The address asked for.
        listen: SocketAddr,
    },
    /// The address is taken or not ours.
    #[error("cannot listen on {listen}: {source}")]
    Bind {
        /// The address asked for.
        listen: SocketAddr,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The system gives no threads that would serve.
    #[error("the threads that serve connections cannot be started: {source}")]
    NoThreads {
        /// The system's reason.
        source: std::io::Error,
    },
    /// A part cannot be opened.
    #[error(transparent)]
    App(#[from] AppError),
}

/// A server that listens but does not yet serve.
pub struct Server {
    app: Arc<App>,
    lanes: Lanes,
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Opens the parts and binds.
    ///
    /// # Errors
    /// What keeps the server from starting; nothing is bound then.
    pub async fn bind(config: Config, exposure: Exposure) -> Result<Self, ServeError> {
        let listen = config.server.listen;
        if !listen.ip().is_loopback()
            && config.server.keys.is_empty()
            && exposure == Exposure::Guarded
        {
            return Err(ServeError::OpenToAll { listen });
        }
        let lanes = Lanes::start().map_err(|source| ServeError::NoThreads { source })?;
        let app = App::open(config).await?;
        let bound = TcpListener::bind(listen).await.and_then(|listener| {
            let address = listener.local_addr()?;
            Ok((listener, address))
        });
        match bound {
            Ok((listener, address)) => Ok(Self {
                app,
                lanes,
                listener,
                address,
            }),
            Err(source) => {
                app.close().await;
                Err(ServeError::Bind { listen, source })
            }
        }
    }

    /// Where it listens; the port is real even where 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The parts behind it.
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Serves until `stop` resolves, then shuts down in order.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let ready = Arc::new(AtomicBool::new(true));
        let metrics = telemetry::metrics();
        self.app
            .spawn(telemetry::keep_up(metrics.clone(), self.app.cancel.clone()));
        self.app.spawn(Arc::clone(&self.app).follow_mapping());
        self.app.spawn(Arc::clone(&self.app).follow_registry());
        let trials = Box::pin(self.app.take_up_trials()).await;
        self.app.spawn(Arc::clone(&self.app).follow_trials(trials));
        self.app.spawn(Arc::clone(&self.app).judge_canary());
        self.app.spawn(Arc::clone(&self.app).watch_for_drift());
        self.app.spawn(Arc::clone(&self.app).warm_up());
        self.app.spawn(Arc::clone(&self.app).follow_rewards());
        let state = api::Shared::new(Arc::clone(&self.app), metrics, Arc::clone(&ready));
        let lanes = Arc::new(self.lanes);
        let endpoints = Endpoints::new(api::endpoints(state));
        let mut connections =
            Connections::new(Arc::clone(&lanes), endpoints.clone(), Patience::default());
        connections.accept_until(&self.listener, stop).await;

        ready.store(false, Ordering::Relaxed);
        let grace = self.app.config.server.grace;
        tracing::info!(
            open = connections.open(),
            ?grace,
            "no new questions; waiting for answers under way"
        );
        // Whoever comes meanwhile hears that this server stops, a balancer by `/readyz`, instead of nothing.
        let mut late = connections.another();
        let mut all_done = false;
        let drained = async { all_done = connections.drain(grace).await };
        late.accept_until(&self.listener, drained).await;
        drop(self.listener);
        if !all_done {
            tracing::warn!(
                open = connections.open(),
                "answers outlived the grace; cancelling them"
            );
            self.app.cancel.cancel();
        }
        tokio::join!(connections.drain(CANCELLED_MAX), late.drain(CANCELLED_MAX));
        connections.cut().await;
        late.cut().await;
        endpoints.settled().await;
        drop((connections, late, endpoints));
        self.app.close().await;
        // What the app still did for answers that had begun may have been done on them.
        drop(lanes);
        tracing::info!("stopped");
    }
}
