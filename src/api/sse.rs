//! An answer as server-sent events. A stream that did not reach its end never closes with `[DONE]`.

use axum::{
    body::{Body, Bytes},
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt, stream};
use serde_json::{Map, Value};

use super::error::{self, ApiError};
use crate::{chat::Chunk, expert::AnswerStream};

const DONE: Bytes = Bytes::from_static(b"data: [DONE]\n\n");

/// Streams the chunks that `shown` lets through, then `[DONE]`, or an error event where the answer broke off.
pub(super) fn respond(
    pieces: AnswerStream,
    shown: impl FnMut(Chunk) -> Option<Map<String, Value>> + Send + 'static,
) -> Response {
    let events = stream::unfold(Some(Events { pieces, shown }), |state| async {
        let mut events = state?;
        let (event, go_on) = events.next().await;
        Some((
            Ok::<_, std::convert::Infallible>(event),
            go_on.then_some(events),
        ))
    });
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, Body::from_stream(events)).into_response()
}

struct Events<F> {
    pieces: AnswerStream,
    shown: F,
}

impl<F: FnMut(Chunk) -> Option<Map<String, Value>>> Events<F> {
    /// The next event, and whether another follows.
    async fn next(&mut self) -> (Bytes, bool) {
        loop {
            match self.pieces.next().await {
                Some(Ok(chunk)) => {
                    if let Some(object) = (self.shown)(chunk) {
                        return (event(&object), true);
                    }
                }
                Some(Err(failure)) => {
                    let failure = ApiError::BrokeOff(failure);
                    error::log(&failure);
                    return (event(&error::body(&failure)), false);
                }
                None => return (DONE, false),
            }
        }
    }
}

fn event(object: &impl serde::Serialize) -> Bytes {
    let mut bytes = b"data: ".to_vec();
    // Writing a JSON object with text keys into memory has no way to fail.
    if serde_json::to_writer(&mut bytes, object).is_err() {
        bytes.extend_from_slice(b"{}");
    }
    bytes.extend_from_slice(b"\n\n");
    bytes.into()
}
