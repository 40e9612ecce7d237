//! The connections of a server: counted, bounded, and cut when their time is over.
//!
//! `axum::serve` detaches its connections; a client that reads nothing would then keep its question's outcome from
//! ever being recorded. Here every connection is a task that can be ended, and ending it drops what it holds.

use std::{error::Error, sync::Arc, time::Duration};

use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{endpoints::Endpoints, lanes::Lanes, patience::Impatient};

/// Most connections at once; more wait in the system's backlog. Each costs a task, two buffers and a descriptor.
const CONNECTIONS_MAX: usize = 4096;

/// Pause after a failed accept: when descriptors run out, only time brings some back.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// How long clients may keep a connection waiting.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For a request's head, the first one's and, on a connection that is kept, the next one's.
    pub(super) head: Duration,
    /// For a client that does not read what it is sent.
    pub(super) write: Duration,
}

impl Default for Patience {
    /// As long as clients commonly keep idle connections; as long as a network may be gone.
    fn default() -> Self {
        Self {
            head: Duration::from_secs(60),
            write: Duration::from_secs(30),
        }
    }
}

type BoxError = Box<dyn Error + Send + Sync>;

/// The open connections.
pub(super) struct Connections {
    lanes: Arc<Lanes>,
    endpoints: Endpoints,
    builder: http1::Builder,
    patience: Patience,
    graceful: Option<GracefulShutdown>,
    tasks: JoinSet<()>,
    seats: Arc<Semaphore>,
}

impl Connections {
    pub(super) fn new(lanes: Arc<Lanes>, endpoints: Endpoints, patience: Patience) -> Self {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(patience.head);
        Self {
            lanes,
            endpoints,
            builder,
            patience,
            graceful: Some(GracefulShutdown::new()),
            tasks: JoinSet::new(),
            seats: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        }
    }

    /// None yet, to the same endpoints; those of both together are bounded.
    pub(super) fn another(&self) -> Self {
        Self {
            lanes: Arc::clone(&self.lanes),
            endpoints: self.endpoints.clone(),
            builder: self.builder.clone(),
            patience: self.patience,
            graceful: Some(GracefulShutdown::new()),
            tasks: JoinSet::new(),
            seats: Arc::clone(&self.seats),
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
        let (Some(graceful), Some((lane, place))) = (&self.graceful, self.lanes.place()) else {
            return;
        };
        let watcher = graceful.watcher();
        let (builder, endpoints) = (self.builder.clone(), self.endpoints.clone());
        let patience = self.patience.write;
        let served = async move {
            // From here on the lane's scheduler hears of what comes over it.
            let stream = TcpStream::from_std(stream.into_std()?)?;
            let stream = TokioIo::new(Impatient::new(stream, patience));
            let connection = builder.serve_connection(stream, endpoints);
            watcher.watch(connection).await?;
            Ok::<_, BoxError>(())
        };
        let served = async move {
            if let Err(error) = served.await {
                tracing::debug!(error, "a connection ended early");
            }
            drop((seat, place));
        };
        self.tasks.spawn_on(served, lane);
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

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, routing::get};
    use futures_util::stream;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const SHORT: Duration = Duration::from_millis(50);
    const HUNG: Duration = Duration::from_secs(20);

    /// Connections to a server whose only answer never ends, and a client.
    async fn endless(patience: Patience) -> (Connections, TcpListener, TcpStream) {
        let piece = || Ok::<_, std::io::Error>(vec![b'x'; 1 << 16]);
        let answer = move || async move { Body::from_stream(stream::repeat_with(piece)) };
        let endpoints = Router::new().route("/", get(answer));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let lanes = Arc::new(Lanes::start().unwrap());
        let endpoints = Endpoints::new(endpoints);
        let connections = Connections::new(lanes, endpoints, patience);
        (connections, listener, client)
    }

    #[tokio::test]
    async fn a_client_that_sends_nothing_is_let_go() {
        let patience = Patience {
            head: SHORT,
            ..Patience::default()
        };
        let (mut connections, listener, mut client) = endless(patience).await;
        let mut answer = Vec::new();
        let closed = async { drop(client.read_to_end(&mut answer).await) };
        timeout(HUNG, connections.accept_until(&listener, closed))
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_client_that_reads_nothing_is_let_go() {
        let patience = Patience {
            write: SHORT,
            ..Patience::default()
        };
        let (mut connections, listener, mut client) = endless(patience).await;
        client
            .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        let begun = async { client.readable().await.unwrap() };
        connections.accept_until(&listener, begun).await;
        assert_eq!(connections.open(), 1);
        assert!(
            connections.drain(HUNG).await,
            "an answer without end ends with its reader"
        );
    }
}
