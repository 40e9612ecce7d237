//! An answer as the named events of a dialect. Only an answer that reached its end is told to have one.

use std::convert::Infallible;

use axum::{
    body::{Body, Bytes},
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt, stream};

use super::error::{self, ApiError};
use crate::{
    dialect::{Event, Failure, Untellable, Writer},
    expert::{AnswerStream, ExpertError},
};

/// Streams an answer as `writer` writes it; `failure` tells in the dialect's terms what broke it off.
pub(super) fn respond<W: Writer>(
    pieces: AnswerStream,
    writer: W,
    failure: fn(&ApiError) -> Failure,
) -> Response {
    let events = Events {
        pieces,
        writer,
        failure,
    };
    let bytes = stream::unfold(Some(events), |events| async {
        let mut events = events?;
        let (bytes, go_on) = events.next().await;
        Some((Ok::<_, Infallible>(bytes), go_on.then_some(events)))
    });
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, Body::from_stream(bytes)).into_response()
}

struct Events<W> {
    pieces: AnswerStream,
    writer: W,
    failure: fn(&ApiError) -> Failure,
}

impl<W: Writer> Events<W> {
    /// What the next chunk that says anything brings, and whether more follows.
    async fn next(&mut self) -> (Bytes, bool) {
        loop {
            let (written, go_on) = match self.pieces.next().await {
                Some(Ok(chunk)) => (self.writer.chunk(&chunk), true),
                Some(Err(failure)) => return (self.break_off(failure), false),
                None => (self.writer.finish(), false),
            };
            match written {
                Ok(events) if events.is_empty() && go_on => {}
                Ok(events) => return (bytes(&events), go_on),
                Err(untellable) => return (self.break_off(broken(untellable)), false),
            }
        }
    }

    fn break_off(&mut self, failure: ExpertError) -> Bytes {
        let failure = ApiError::BrokeOff(failure);
        error::log(&failure);
        let event = self.writer.break_off(&(self.failure)(&failure));
        bytes(&[event])
    }
}

fn broken(untellable: Untellable) -> ExpertError {
    ExpertError::Broken {
        detail: untellable.to_string(),
    }
}

fn bytes(events: &[Event]) -> Bytes {
    let mut bytes = Vec::new();
    for event in events {
        bytes.extend_from_slice(b"event: ");
        bytes.extend_from_slice(event.name().as_bytes());
        bytes.extend_from_slice(b"\ndata: ");
        // Writing a JSON object with text keys into memory has no way to fail.
        if serde_json::to_writer(&mut bytes, &event.0).is_err() {
            bytes.extend_from_slice(b"{}");
        }
        bytes.extend_from_slice(b"\n\n");
    }
    bytes.into()
}
