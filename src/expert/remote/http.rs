//! HTTP/1.1 to one provider: no redirects, no proxies, and no task of its own.
//!
//! A connection is driven by whoever waits for what comes over it. A client that gives each connection a task hands every
//! piece of an answer from that task to the reader's, often from one thread to another, which costs more than the piece
//! itself. HTTP/2 would need such a task, and would let one answer wait for another's lost packet.

mod connection;
mod gunzip;
mod idle;
mod response;

use std::{error::Error, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request,
    body::Bytes,
    header::{
        ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT,
    },
    http::uri::PathAndQuery,
};
use tokio::time::timeout;
use url::{Position, Url};

use super::SetupError;
use connection::{Connection, Connector, Exchange};
use idle::Idle;
pub(super) use response::{BodyError, Response};

type BoxError = Box<dyn Error + Send + Sync>;

/// The way to one provider.
pub(super) struct Http {
    connector: Connector,
    /// What goes with every request.
    headers: HeaderMap,
    idle: Arc<Idle>,
}

/// Why a request was not answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    /// No connection came about in time.
    #[error("no connection within {within:?}")]
    Slow {
        /// How long was waited for it.
        within: Duration,
    },
    /// No connection came about.
    #[error("no connection")]
    Connect(#[source] BoxError),
    /// The connection broke, or what came over it is not HTTP.
    #[error("the connection broke")]
    Exchange(#[from] hyper::Error),
}

impl Http {
    /// The way to the host of `url`, with these headers in every request; connects to nothing yet, and never tries it for
    /// longer than `connect_max`.
    ///
    /// # Errors
    /// The URL has no host, or this system has no root certificates where they are needed.
    pub(super) fn new(
        url: &Url,
        mut headers: HeaderMap,
        connect_max: Duration,
    ) -> Result<Self, SetupError> {
        for (name, value) in COMMON {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let host = &url[Position::BeforeHost..Position::AfterPort];
        let host = HeaderValue::try_from(host).map_err(|_no_header| SetupError::BaseUrl)?;
        headers.insert(HOST, host);
        Ok(Self {
            connector: Connector::new(url, connect_max)?,
            headers,
            idle: Arc::default(),
        })
    }

    /// Sends JSON and waits for the head of the response, at most for `connect_max` for a connection. One that turns out to
    /// have been closed before anything was sent over it is replaced by another.
    ///
    /// # Errors
    /// No connection, or it broke.
    pub(super) async fn post(
        &self,
        path: &PathAndQuery,
        json: Vec<u8>,
        connect_max: Duration,
    ) -> Result<Response, HttpError> {
        let mut request = self.request(path, json);
        loop {
            let (connection, is_new) = match self.idle.take() {
                Some(kept) => (kept, false),
                None => (self.connect(connect_max).await?, true),
            };
            match connection.send(request).await {
                Exchange::Answered(connection, head) => {
                    return Ok(Response::new(head, connection, Arc::clone(&self.idle)));
                }
                Exchange::Unsent(unsent, _) if !is_new => request = *unsent,
                Exchange::Unsent(_, error) | Exchange::Failed(error) => return Err(error.into()),
            }
        }
    }

    fn request(&self, path: &PathAndQuery, json: Vec<u8>) -> Request<Full<Bytes>> {
        let mut request = Request::new(Bytes::from(json).into());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = path.clone().into();
        *request.headers_mut() = self.headers.clone();
        request
    }

    async fn connect(&self, connect_max: Duration) -> Result<Connection, HttpError> {
        // Boxed: what TLS keeps would make every question's future ten times as large.
        let connecting = Box::pin(self.connector.connect());
        match timeout(connect_max, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(HttpError::Slow {
                within: connect_max,
            }),
        }
    }
}

/// A compressed stream comes in lumps. What is compressed all the same is understood.
const COMMON: [(HeaderName, &str); 4] = [
    (ACCEPT, "*/*"),
    (ACCEPT_ENCODING, "identity"),
    (CONTENT_TYPE, "application/json"),
    (USER_AGENT, concat!("coterie/", env!("CARGO_PKG_VERSION"))),
];

#[cfg(test)]
mod tests;
