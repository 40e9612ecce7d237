//! An answer as server-sent events. A stream that did not reach its end never closes with `[DONE]`.

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
    expert::{AnswerStream, ExpertError},
};

const DONE: &[u8] = b"data: [DONE]\n\n";

/// Streams the chunks that `shown` lets through, then `[DONE]`, or an error event where the answer broke off.
pub(super) fn respond(
    pieces: AnswerStream,
    shown: impl FnMut(Chunk) -> Option<Chunk> + Send + 'static,
) -> Response {
    let events = stream::unfold(Some((pieces, shown)), |state| async {
        let (mut pieces, mut shown) = state?;
        let write = |piece, bytes: &mut Vec<u8>| write(piece, &mut shown, bytes);
        let (events, go_on) = next_batch(&mut pieces, write).await;
        Some((
            Ok::<_, Infallible>(events),
            go_on.then_some((pieces, shown)),
        ))
    });
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, Body::from_stream(events)).into_response()
}

/// Writes a piece, or the end; whether more may follow.
fn write(
    piece: Option<Result<Chunk, ExpertError>>,
    shown: &mut impl FnMut(Chunk) -> Option<Chunk>,
    bytes: &mut Vec<u8>,
) -> bool {
    match piece {
        Some(Ok(chunk)) => {
            if let Some(chunk) = shown(chunk) {
                event(chunk.json(), bytes);
            }
            true
        }
        Some(Err(failure)) => {
            let failure = ApiError::BrokeOff(failure);
            error::log(&failure);
            event(&error::body(&failure).to_string(), bytes);
            false
        }
        None => {
            bytes.extend_from_slice(DONE);
            false
        }
    }
}

/// Writes an event; its JSON is on one line.
fn event(json: &str, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(b"data: ");
    bytes.extend_from_slice(json.as_bytes());
    bytes.extend_from_slice(b"\n\n");
}
