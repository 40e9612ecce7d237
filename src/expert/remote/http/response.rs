//! A response, whose body comes piece by piece.

use std::sync::Arc;

use futures_util::future::poll_fn;
use hyper::{
    body::{Bytes, Incoming},
    header::{CONTENT_ENCODING, HeaderMap},
};

use super::{
    connection::Connection,
    gunzip::{BadGzip, Gunzip},
    idle::Idle,
};

/// The head of a response, and its body to come. Dropping it before the body's end closes the connection.
pub(in super::super) struct Response {
    pub(in super::super) status: u16,
    pub(in super::super) headers: HeaderMap,
    body: Incoming,
    gunzip: Option<Gunzip>,
    /// Until the body's end.
    connection: Option<Connection>,
    idle: Arc<Idle>,
}

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub(in super::super) enum BodyError {
    /// The connection broke, or what came over it is not HTTP.
    #[error("the connection broke")]
    Exchange(#[from] hyper::Error),
    /// It is not compressed as its head says.
    #[error(transparent)]
    Gzip(#[from] BadGzip),
}

impl Response {
    pub(super) fn new(
        head: hyper::Response<Incoming>,
        connection: Connection,
        idle: Arc<Idle>,
    ) -> Self {
        let (head, body) = head.into_parts();
        let encoding = head.headers.get(CONTENT_ENCODING);
        let is_gzip = encoding.is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"gzip"));
        Self {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
            gunzip: is_gzip.then(Gunzip::default),
            connection: Some(connection),
            idle,
        }
    }

    /// The next piece of the body; none at its end, after which the connection serves others.
    ///
    /// # Errors
    /// The body broke off.
    pub(in super::super) async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            if let Some(gunzip) = &mut self.gunzip
                && let Some(piece) = gunzip.next()?
            {
                return Ok(Some(piece));
            }
            match (self.next_sent().await?, &mut self.gunzip) {
                (Some(piece), Some(gunzip)) => gunzip.feed(piece),
                (None, Some(gunzip)) => {
                    gunzip.end()?;
                    return Ok(None);
                }
                (piece, None) => return Ok(piece),
            }
        }
    }

    /// The next piece as it was sent.
    async fn next_sent(&mut self) -> Result<Option<Bytes>, hyper::Error> {
        while let Some(connection) = &mut self.connection {
            let frame = poll_fn(|cx| connection.poll_body(&mut self.body, cx)).await;
            match frame.transpose()? {
                // Trailers say nothing of an answer.
                Some(frame) => {
                    if let Ok(piece) = frame.into_data() {
                        return Ok(Some(piece));
                    }
                }
                None => self.let_go(),
            }
        }
        Ok(None)
    }

    fn let_go(&mut self) {
        if let Some(mut connection) = self.connection.take()
            && connection.is_usable()
        {
            self.idle.put(connection);
        }
    }
}
