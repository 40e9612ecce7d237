//! Where a request is handled: on its connection's lane, or where it keeps nobody waiting.

use std::convert::Infallible;

use axum::{Router, body::Body};
use futures_util::{
    FutureExt, TryFutureExt,
    future::{BoxFuture, Either, MapErr},
};
use hyper::{
    Request, Response,
    body::{Body as _, Incoming},
    service::Service,
};
use hyper_util::service::{TowerToHyperService, TowerToHyperServiceFuture};
use tokio::{runtime::Handle, task::JoinError};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::heavy;

/// Short requests with long answers, which take long to read and to write.
const LONG_ANSWERS: [&str; 2] = ["/v1/embeddings", "/metrics"];

/// All endpoints.
#[derive(Clone)]
pub(super) struct Endpoints {
    router: TowerToHyperService<Router>,
    /// Has threads that take over from one that is kept.
    elsewhere: Handle,
    /// The requests that are handled there.
    apart: TaskTracker,
}

type Answering = TowerToHyperServiceFuture<Router, Request<Incoming>>;
type Answered = Result<Response<Body>, JoinError>;

impl Endpoints {
    /// The endpoints of `router`; what may take long is handled on the caller's runtime.
    pub(super) fn new(router: Router) -> Self {
        Self {
            router: TowerToHyperService::new(router),
            elsewhere: Handle::current(),
            apart: TaskTracker::new(),
        }
    }

    /// Waits until nothing is handled elsewhere, once nothing can come any more.
    pub(super) async fn settled(&self) {
        self.apart.close();
        self.apart.wait().await;
    }
}

impl Service<Request<Incoming>> for Endpoints {
    type Response = Response<Body>;
    type Error = JoinError;
    type Future =
        Either<MapErr<Answering, fn(Infallible) -> JoinError>, BoxFuture<'static, Answered>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let bytes_max = request.body().size_hint().upper();
        let has_long_answer = LONG_ANSWERS.contains(&request.uri().path());
        let answering = self.router.call(request).map_err(never as fn(_) -> _);
        // A body whose length is not told may be of any.
        if !has_long_answer && bytes_max.is_some_and(|bytes| !heavy::is(bytes)) {
            return Either::Left(answering);
        }
        let task = self.apart.spawn_on(answering, &self.elsewhere);
        // Whoever leaves takes the request along.
        let task = AbortOnDropHandle::new(task);
        Either::Right(
            task.map(|ended| ended.and_then(|answered| answered))
                .boxed(),
        )
    }
}

fn never(error: Infallible) -> JoinError {
    match error {}
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use axum::{body::Bytes, routing::post};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        sync::mpsc,
        time::timeout,
    };

    use super::*;
    use crate::serve::{
        connections::{Connections, Patience},
        lanes::Lanes,
    };

    const HUNG: Duration = Duration::from_secs(20);
    const LONG_BYTES: usize = 200 << 10;

    /// A server of one endpoint, and a client.
    async fn house(router: Router) -> (Endpoints, Connections, TcpListener, TcpStream) {
        let endpoints = Endpoints::new(router);
        let lanes = Arc::new(Lanes::start().unwrap());
        let connections = Connections::new(lanes, endpoints.clone(), Patience::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await;
        (endpoints, connections, listener, client.unwrap())
    }

    async fn send(client: &mut TcpStream, path: &str, bytes: usize) {
        let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {bytes}\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        client.write_all(&vec![b'x'; bytes]).await.unwrap();
    }

    /// Tells when it comes and when it goes, and does not end.
    struct Guest(mpsc::Sender<&'static str>);

    impl Guest {
        async fn come(tell: mpsc::Sender<&'static str>) -> Self {
            tell.send("came").await.unwrap();
            Self(tell)
        }
    }

    impl Drop for Guest {
        fn drop(&mut self) {
            self.0.try_send("went").unwrap();
        }
    }

    fn endless() -> (Router, mpsc::Receiver<&'static str>) {
        let (tell, told) = mpsc::channel(2);
        let answer = move |_body: Bytes| async move {
            let _guest = Guest::come(tell).await;
            std::future::pending::<()>().await;
        };
        (Router::new().route("/", post(answer)), told)
    }

    #[tokio::test]
    async fn what_may_take_long_is_not_handled_on_a_lane() {
        let name = |_body: Bytes| async {
            let thread = std::thread::current();
            thread.name().unwrap_or_default().to_owned()
        };
        let router = Router::new()
            .route("/", post(name))
            .route(LONG_ANSWERS[0], post(name));
        let (_, mut connections, listener, mut client) = house(router).await;
        let asked = async {
            let mut told = String::new();
            for (path, bytes) in [("/", 10), ("/", LONG_BYTES), (LONG_ANSWERS[0], 10)] {
                send(&mut client, path, bytes).await;
            }
            let chunked = b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
            client.write_all(chunked).await.unwrap();
            client.read_to_string(&mut told).await.unwrap();
            let bodies = told.split("HTTP/1.1 200 OK").skip(1);
            let on_lane: Vec<bool> = bodies.map(|it| it.contains("\r\n\r\nlane-")).collect();
            assert_eq!(on_lane, [true, false, false, false], "{told}");
        };
        timeout(HUNG, connections.accept_until(&listener, asked))
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_client_that_leaves_takes_along_what_is_handled_elsewhere() {
        let (router, mut told) = endless();
        let (_, mut connections, listener, mut client) = house(router).await;
        let left = async {
            send(&mut client, "/", LONG_BYTES).await;
            assert_eq!(told.recv().await, Some("came"));
            drop(client);
            assert_eq!(told.recv().await, Some("went"));
        };
        timeout(HUNG, connections.accept_until(&listener, left))
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn once_connections_are_cut_nothing_is_handled_elsewhere() {
        let (router, mut told) = endless();
        let (endpoints, mut connections, listener, mut client) = house(router).await;
        let asked = async {
            send(&mut client, "/", LONG_BYTES).await;
            assert_eq!(told.recv().await, Some("came"));
        };
        connections.accept_until(&listener, asked).await;
        assert!(!connections.drain(Duration::from_millis(1)).await);
        connections.cut().await;
        timeout(HUNG, endpoints.settled()).await.unwrap();
        assert_eq!(told.try_recv(), Ok("went"));
    }
}
