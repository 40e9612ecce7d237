//! One connection, and how it comes about.

use std::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    thread::{self, ThreadId},
    time::Duration,
};

use futures_util::future::poll_fn;
use http_body_util::Full;
use hyper::{
    Request, Uri,
    body::{Body as _, Bytes, Frame, Incoming},
    client::conn::http1,
    service::Service,
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::{
    client::legacy::connect::HttpConnector, rt::TokioIo, service::TowerToHyperService,
};
use tokio::net::TcpStream;
use url::{Position, Url};

use super::{HttpError, SetupError};

/// How long a connection is silent before the other side is asked whether it is there, and between two such questions: a
/// model may think for minutes, and what stands between forgets a connection on which nothing is said.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Such questions without a reply after which the connection is given up.
const KEEPALIVE_TRIES: u32 = 3;

/// How long what was sent may be on its way: who does not take it is not there any more.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(30);

type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// The body of a request.
type Body = Full<Bytes>;

/// How connections to one host come about.
pub(super) struct Connector {
    /// Scheme, host and port.
    origin: Uri,
    transport: Transport,
}

enum Transport {
    /// No certificate is ever checked: a system without any can still reach a neighbour in clear text.
    Clear(TowerToHyperService<HttpConnector>),
    Tls(TowerToHyperService<HttpsConnector<HttpConnector>>),
}

impl Connector {
    /// Connects to the host of `url`, once it is asked to; gives each of its addresses a share of `connect_max`, the longest
    /// that anybody waits. Who waits for less gives up before.
    pub(super) fn new(url: &Url, connect_max: Duration) -> Result<Self, SetupError> {
        let host = &url[Position::BeforeHost..Position::AfterPort];
        let origin = Uri::builder()
            .scheme(url.scheme())
            .authority(host)
            .path_and_query("/")
            .build()
            .map_err(|_no_authority| SetupError::BaseUrl)?;
        let tcp = tcp(connect_max);
        let transport = if url.scheme() == "http" {
            Transport::Clear(TowerToHyperService::new(tcp))
        } else {
            let tls = HttpsConnectorBuilder::new()
                .try_with_platform_verifier()
                .map_err(|source| SetupError::Certificates {
                    source: source.into(),
                })?
                .https_only()
                .enable_http1()
                .wrap_connector(tcp);
            Transport::Tls(TowerToHyperService::new(tls))
        };
        Ok(Self { origin, transport })
    }

    pub(super) async fn connect(&self) -> Result<Connection, HttpError> {
        let stream = match &self.transport {
            Transport::Clear(tcp) => {
                let stream = tcp.call(self.origin.clone()).await;
                MaybeHttpsStream::Http(stream.map_err(|error| HttpError::Connect(error.into()))?)
            }
            Transport::Tls(tls) => {
                let stream = tls.call(self.origin.clone()).await;
                stream.map_err(HttpError::Connect)?
            }
        };
        let (sender, driver) = http1::handshake(stream).await?;
        Ok(Connection(Box::new(Inner {
            sender,
            driver: Some(driver),
            made_on: thread::current().id(),
        })))
    }
}

fn tcp(connect_max: Duration) -> HttpConnector {
    let mut tcp = HttpConnector::new();
    // Small requests must not wait for the acknowledgement of what was sent before.
    tcp.set_nodelay(true);
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(connect_max));
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.set_keepalive_interval(Some(KEEPALIVE));
    tcp.set_keepalive_retries(Some(KEEPALIVE_TRIES));
    #[cfg(target_os = "linux")]
    tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX));
    tcp
}

/// A connection, over which one request goes at a time. It is boxed because it is large and handed around.
pub(super) struct Connection(Box<Inner>);

struct Inner {
    sender: http1::SendRequest<Body>,
    /// None once it has ended: only when it is dropped a request that waits for it is told.
    driver: Option<http1::Connection<Stream, Body>>,
    made_on: ThreadId,
}

/// What became of a request.
pub(super) enum Exchange {
    /// The head of its response is there.
    Answered(Connection, hyper::Response<Incoming>),
    /// The connection had been closed before: nothing of it was sent.
    Unsent(Box<Request<Body>>, hyper::Error),
    Failed(hyper::Error),
}

impl Inner {
    /// Writes and reads whatever can be; wakes the task when there is more of it.
    fn drive(&mut self, cx: &mut Context<'_>) {
        // What is wrong is told to whoever waits for the response or its body.
        if let Some(driver) = &mut self.driver
            && Pin::new(driver).poll(cx).is_ready()
        {
            self.driver = None;
        }
    }
}

impl Connection {
    /// The thread whose scheduler wakes whoever waits for it.
    pub(super) fn made_on(&self) -> ThreadId {
        self.0.made_on
    }

    /// Whether another request can go over it, as far as is known without waiting.
    pub(super) fn is_usable(&mut self) -> bool {
        let inner = &mut self.0;
        inner.drive(&mut Context::from_waker(Waker::noop()));
        inner.driver.is_some() && inner.sender.is_ready()
    }

    /// Sends a request and waits for the head of its response.
    pub(super) async fn send(mut self, request: Request<Body>) -> Exchange {
        let inner = &mut self.0;
        let mut sending = pin!(inner.sender.try_send_request(request));
        let answered = poll_fn(|cx| {
            inner.drive(cx);
            sending.as_mut().poll(cx)
        });
        match answered.await {
            Ok(response) => Exchange::Answered(self, response),
            Err(mut error) => match error.take_message() {
                Some(request) => Exchange::Unsent(Box::new(request), error.into_error()),
                None => Exchange::Failed(error.into_error()),
            },
        }
    }

    /// The next frame of a response's body.
    pub(super) fn poll_body(
        &mut self,
        body: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        self.0.drive(cx);
        Pin::new(body).poll_frame(cx)
    }
}
