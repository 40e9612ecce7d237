//! The connections of a server: counted, bounded, and cut when their time is over.
//!
//! `axum::serve` detaches its connections; a client that reads nothing would then keep its question's outcome from
//! ever being recorded. Here every connection is a task that can be ended, and ending it drops what it holds.

use std::{sync::Arc, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{sleep, timeout},
};

/// Most connections at once; more wait in the system's backlog. Each costs a task, two buffers and a descriptor.
const CONNECTIONS_MAX: usize = 4096;

/// How long a client may take to send a request's head.
const HEAD_READ_MAX: Duration = Duration::from_secs(15);

/// Pause after a failed accept: when descriptors run out, only time brings some back.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// The open connections.
pub(super) struct Connections {
    endpoints: TowerToHyperService<Router>,
    builder: auto::Builder<TokioExecutor>,
    graceful: Option<GracefulShutdown>,
    tasks: JoinSet<()>,
    seats: Arc<Semaphore>,
}

impl Connections {
    pub(super) fn new(endpoints: Router) -> Self {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_READ_MAX);
        builder.http2().timer(TokioTimer::new());
        Self {
            endpoints: TowerToHyperService::new(endpoints),
            builder,
            graceful: Some(GracefulShutdown::new()),
            tasks: JoinSet::new(),
            seats: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        }
    }

    /// How many are open.
    pub(super) fn open(&self) -> usize {
        self.tasks.len()
    }

    /// Accepts and serves until `stop` resolves.
    pub(super) async fn accept_until(
        &mut self,
        listener: &TcpListener,
        stop: impl Future<Output = ()>,
    ) {
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => return,
                Some(_) = self.tasks.join_next() => {}
                (stream, seat) = accept(listener, &self.seats) => self.serve(stream, seat),
            }
        }
    }

    fn serve(&mut self, stream: TcpStream, seat: Option<OwnedSemaphorePermit>) {
        // Small events must not wait for the acknowledgement of the ones before.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        let Some(graceful) = &self.graceful else {
            return;
        };
        let connection = self
            .builder
            .serve_connection(TokioIo::new(stream), self.endpoints.clone())
            .into_owned();
        let connection = graceful.watch(connection);
        self.tasks.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error, "a connection ended early");
            }
            drop(seat);
        });
    }

    /// Tells clients to leave after the answers under way and waits for that; false if time ran out.
    pub(super) async fn drain(&mut self, most: Duration) -> bool {
        let graceful = self.graceful.take();
        let done = timeout(most, async {
            if let Some(graceful) = graceful {
                graceful.shutdown().await;
            }
            while self.tasks.join_next().await.is_some() {}
        });
        done.await.is_ok()
    }

    /// Cuts what is still open and waits until it has let go of what it held.
    pub(super) async fn cut(&mut self) {
        self.tasks.shutdown().await;
    }
}

/// The next connection, once there is a seat for it.
async fn accept(
    listener: &TcpListener,
    seats: &Arc<Semaphore>,
) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed; were it, the connection would be served without a count.
    let seat = Arc::clone(seats).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, seat),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_RETRY).await;
            }
        }
    }
}
