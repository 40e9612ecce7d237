//! What a provider speaks: where it is asked and with which headers, what goes out, what an answer is. The translation
//! itself is pure and stands in [`crate::dialect`].

use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use super::{SetupError, sse::Event, stream::Piece, wire::Outgoing};
use crate::{
    chat::{ChatRequest, Completion, NotAChatObject},
    clock,
    config::Dialect,
    dialect::anthropic::upstream::{self, Meaning, MessageReader, NoEqual},
    expert::ExpertError,
};

const ANTHROPIC_KEY: HeaderName = HeaderName::from_static("x-api-key");
const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");

impl Dialect {
    /// Where conversations are answered, below the endpoint's address.
    pub(super) fn chat_path(self) -> &'static [&'static str] {
        match self {
            Self::Openai => &["chat", "completions"],
            Self::Anthropic => &["messages"],
        }
    }

    /// The headers that go with every request.
    pub(super) fn headers(self, key: Option<&SecretString>) -> Result<HeaderMap, SetupError> {
        let mut headers = HeaderMap::new();
        if self == Self::Anthropic {
            let version = HeaderValue::from_static(upstream::VERSION);
            headers.insert(ANTHROPIC_VERSION, version);
        }
        if let Some(key) = key.map(ExposeSecret::expose_secret) {
            let (name, key) = match self {
                Self::Openai => (AUTHORIZATION, format!("Bearer {key}")),
                Self::Anthropic => (ANTHROPIC_KEY, key.to_owned()),
            };
            let mut key =
                HeaderValue::try_from(key).map_err(|_secret_inside| SetupError::ApiKey)?;
            key.set_sensitive(true);
            headers.insert(name, key);
        }
        Ok(headers)
    }

    /// What a chat request is to the provider, which calls the model by this name.
    pub(super) fn outgoing<'b>(
        self,
        request: &'b ChatRequest,
        model: &'b str,
    ) -> Result<Outgoing<'b>, ExpertError> {
        match self {
            Self::Openai if request.stream => Ok(Outgoing::streaming(&request.body, model)),
            Self::Openai => Ok(Outgoing::plain(&request.body, model)),
            Self::Anthropic => {
                let written = upstream::messages_request(&request.body, model);
                let written = written
                    .map_err(|NoEqual { what, param }| ExpertError::Unsupported { what, param })?;
                Ok(Outgoing::written(written, model))
            }
        }
    }

    /// Reads a whole answer.
    pub(super) fn completion(self, bytes: &[u8]) -> Result<Completion, NotAChatObject> {
        match self {
            Self::Openai => Completion::parse(bytes),
            Self::Anthropic => {
                let message = serde_json::from_slice(bytes).unwrap_or_default();
                upstream::completion(&message, now_s())
                    .ok_or_else(|| NotAChatObject::new("it is no Message"))
            }
        }
    }

    /// Reads the events of one streamed answer.
    pub(super) fn incoming(self) -> Incoming {
        match self {
            Self::Openai => Incoming::Chunks,
            Self::Anthropic => Incoming::Message(Box::new(MessageReader::new(now_s()))),
        }
    }
}

/// How the events of a streamed answer are read.
pub(super) enum Incoming {
    /// Each is a chunk.
    Chunks,
    /// They are those of a Message.
    Message(Box<MessageReader>),
}

impl Incoming {
    /// What an event means.
    pub(super) fn read(&mut self, event: Event) -> Piece {
        let reader = match self {
            Self::Chunks => return Piece::read_chunk(event),
            Self::Message(reader) => reader,
        };
        match Piece::read(event) {
            Piece::Chunk(object) => match reader.read(&object.object()) {
                Meaning::Chunks(chunks) => Piece::Chunks(chunks),
                Meaning::Done => Piece::Done,
            },
            piece => piece,
        }
    }
}

fn now_s() -> i64 {
    clock::now_ms() / 1000
}
