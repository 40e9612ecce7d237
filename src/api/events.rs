//! An answer as the named events of a dialect. Only an answer that reached its end is told to have one.

use std::convert::Infallible;

use axum::{
    body::Body,
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use futures_util::stream;

use super::{
    batch::next_batch,
    error::{self, ApiError},
};
use crate::{
    chat::Chunk,
    dialect::{Event, Failure, Untellable, Writer},
    expert::{AnswerStream, ExpertError},
};

/// Streams the answer of an outcome as `writer` writes it; `failure` tells in the dialect's terms what broke it off.
pub(super) fn respond<W: Writer>(
    pieces: AnswerStream,
    outcome_id: String,
    writer: W,
    failure: fn(&ApiError) -> Failure,
) -> Response {
    let told = Told {
        writer,
        failure,
        outcome_id,
    };
    let bytes = stream::unfold(Some((pieces, told)), |state| async {
        let (mut pieces, mut told) = state?;
        let write = |piece, bytes: &mut Vec<u8>| told.write(piece, bytes);
        let (bytes, go_on) = next_batch(&mut pieces, write).await;
        Some((Ok::<_, Infallible>(bytes), go_on.then_some((pieces, told))))
    });
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, Body::from_stream(bytes)).into_response()
}

/// How the pieces of an answer are told.
struct Told<W> {
    writer: W,
    failure: fn(&ApiError) -> Failure,
    outcome_id: String,
}

impl<W: Writer> Told<W> {
    /// Writes what a piece or the end brings; whether more may follow.
    fn write(&mut self, piece: Option<Result<Chunk, ExpertError>>, bytes: &mut Vec<u8>) -> bool {
        let (written, goes_on) = match piece {
            Some(Ok(chunk)) => (self.writer.chunk(&chunk), true),
            Some(Err(failure)) => {
                self.break_off(failure, bytes);
                return false;
            }
            None => (self.writer.finish(), false),
        };
        match written {
            Ok(events) => {
                append(&events, bytes);
                goes_on
            }
            Err(untellable) => {
                self.break_off(broken(untellable), bytes);
                false
            }
        }
    }

    fn break_off(&mut self, failure: ExpertError, bytes: &mut Vec<u8>) {
        let failure = ApiError::BrokeOff(failure);
        error::log(&failure);
        let event = self.writer.break_off(&Failure {
            outcome_id: Some(self.outcome_id.clone()),
            ..(self.failure)(&failure)
        });
        append(&[event], bytes);
    }
}

fn broken(untellable: Untellable) -> ExpertError {
    ExpertError::Broken {
        detail: untellable.to_string(),
    }
}

fn append(events: &[Event], bytes: &mut Vec<u8>) {
    for event in events {
        bytes.extend_from_slice(b"event: ");
        bytes.extend_from_slice(event.name().as_bytes());
        bytes.extend_from_slice(b"\ndata: ");
        // Writing a JSON object with text keys into memory has no way to fail.
        if serde_json::to_writer(&mut *bytes, &event.0).is_err() {
            bytes.extend_from_slice(b"{}");
        }
        bytes.extend_from_slice(b"\n\n");
    }
}
