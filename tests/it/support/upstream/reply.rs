//! What an upstream is told to reply.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Semaphore;

/// How a request is answered.
#[derive(Clone)]
pub(crate) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Body,
}

#[derive(Clone)]
pub(super) enum Body {
    /// The texts, whole or streamed, as the request asks.
    AsAsked(Vec<String>),
    Whole(Vec<u8>),
    Events(Vec<Part>),
    Silence,
    Reset,
}

impl Reply {
    /// A healthy answer in these pieces: whole or streamed, the tokens of a stream counted, as the request asks.
    pub(crate) fn answer<const N: usize>(pieces: [&str; N]) -> Self {
        Self::ok(Body::AsAsked(pieces.map(str::to_owned).into()))
    }

    /// A stream of these parts, whatever was asked for.
    pub(crate) fn stream(parts: impl IntoIterator<Item = Part>) -> Self {
        Self::ok(Body::Events(parts.into_iter().collect()))
    }

    /// A whole JSON body, whatever was asked for.
    pub(crate) fn json(body: Value) -> Self {
        Self::status(200, body)
    }

    /// A status with a JSON body.
    pub(crate) fn status(status: u16, body: Value) -> Self {
        Self::bytes(status, "application/json", body.to_string())
    }

    /// A status with any body.
    pub(crate) fn bytes(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            ..Self::ok(Body::Whole(body.into()))
        }
        .header("content-type", content_type)
    }

    /// Takes the request and never says anything.
    pub(crate) fn silence() -> Self {
        Self::ok(Body::Silence)
    }

    /// Takes the request and resets the connection.
    pub(crate) fn reset() -> Self {
        Self::ok(Body::Reset)
    }

    /// The same with one more header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn ok(body: Body) -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            body,
        }
    }
}

/// A piece of a streamed reply. A stream that ends without [`close`] or [`reset`] is a complete HTTP body.
#[derive(Clone)]
pub(crate) enum Part {
    /// An event with this object as its data, `model` filled in where it is a chunk without one.
    Event(Value),
    /// These bytes as they are.
    Raw(Vec<u8>),
    /// Waits for [`Hold::release`].
    Wait(Hold),
    /// Ends the connection in the middle of the body.
    Close,
    /// Resets the connection in the middle of the body.
    Reset,
    /// Says nothing more and keeps the connection.
    Silence,
}

/// A chunk with this delta.
pub(crate) fn delta(delta: Value) -> Part {
    chunk(json!([{"index": 0, "delta": delta, "finish_reason": null}]))
}

/// The chunk that opens an answer.
pub(crate) fn role() -> Part {
    delta(json!({"role": "assistant", "content": ""}))
}

/// A chunk that adds text.
pub(crate) fn text(text: &str) -> Part {
    delta(json!({"content": text}))
}

/// The chunk with the finish reason.
pub(crate) fn finish(reason: &str) -> Part {
    chunk(json!([{"index": 0, "delta": {}, "finish_reason": reason}]))
}

/// The chunk that counts tokens.
pub(crate) fn usage(prompt_tokens: u64, completion_tokens: u64) -> Part {
    let mut object = chunk_object(json!([]));
    object["usage"] = counted(prompt_tokens, completion_tokens);
    Part::Event(object)
}

/// Any object as an event.
pub(crate) fn event(object: Value) -> Part {
    Part::Event(object)
}

/// Any bytes in the body.
pub(crate) fn raw(bytes: impl Into<Vec<u8>>) -> Part {
    Part::Raw(bytes.into())
}

/// OpenAI's last event.
pub(crate) fn done() -> Part {
    raw("data: [DONE]\n\n")
}

/// The connection closes in the middle of the body.
pub(crate) fn close() -> Part {
    Part::Close
}

/// The connection is reset in the middle of the body.
pub(crate) fn reset() -> Part {
    Part::Reset
}

/// Nothing more comes.
pub(crate) fn silence() -> Part {
    Part::Silence
}

/// Stops a stream at a part until the test says to go on; every release lets one wait pass.
#[derive(Clone)]
pub(crate) struct Hold(Arc<Semaphore>);

impl Hold {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    /// The part at which the stream waits.
    pub(crate) fn wait(&self) -> Part {
        Part::Wait(self.clone())
    }

    pub(super) async fn released(&self) {
        self.0.acquire().await.unwrap().forget();
    }

    /// Lets one wait pass, now or when it begins.
    pub(crate) fn release(&self) {
        self.0.add_permits(1);
    }
}

fn chunk(choices: Value) -> Part {
    Part::Event(chunk_object(choices))
}

fn chunk_object(choices: Value) -> Value {
    json!({
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "system_fingerprint": "fp_upstream",
        "choices": choices,
    })
}

/// A healthy whole answer.
pub(super) fn completion(pieces: &[String], request: &Value) -> Value {
    json!({
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": request["model"],
        "system_fingerprint": "fp_upstream",
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": pieces.concat()},
            "finish_reason": "stop",
        }],
        "usage": counted(PROMPT_TOKENS, pieces.len() as u64),
    })
}

/// What every healthy answer counts as its prompt.
const PROMPT_TOKENS: u64 = 7;

fn counted(prompt_tokens: u64, completion_tokens: u64) -> Value {
    json!({
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    })
}

/// A healthy stream.
pub(super) fn healthy(pieces: &[String], request: &Value) -> Vec<Part> {
    let mut parts = vec![role()];
    parts.extend(pieces.iter().map(|piece| text(piece)));
    parts.push(finish("stop"));
    if request["stream_options"]["include_usage"] == true {
        parts.push(usage(PROMPT_TOKENS, pieces.len() as u64));
    }
    parts.push(done());
    parts
}

/// A chunk under the model name that was asked for, unless it has one.
pub(super) fn named(mut object: Value, request: &Value) -> Value {
    if object["object"] == "chat.completion.chunk" && object["model"].is_null() {
        object["model"] = request["model"].clone();
    }
    object
}
