//! The pieces of an answer out of a response's events.

use std::{collections::VecDeque, time::Duration};

use futures_util::{StreamExt, stream};
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    broken,
    dialect::Incoming,
    http::Response,
    sse::{Decoder, Event, EventTooLong},
    status,
    wire::chunks_of,
};
use crate::{
    causes::in_full,
    chat::{Choices, Chunk, Completion},
    expert::{AnswerStream, ExpertError},
    ids::ExpertId,
};

/// Longest event: far above any text, with room for a picture or a whole answer in one piece.
const EVENT_BYTES_MAX: usize = 16 << 20;

/// How long the end of the body may take after `[DONE]`. Only a body read to its end leaves a connection that can be
/// used again. It comes at once, or the provider does not mean to send it, and the reader has every chunk by then.
const END_AFTER_DONE: Duration = Duration::from_millis(200);

/// How long the count of tokens and `[DONE]` may take once the answer is complete: they come at once or not at all.
const AFTER_FINISH_MAX: Duration = Duration::from_secs(1);

/// A whole answer as a stream.
pub(super) fn of_whole(completion: Completion) -> AnswerStream {
    stream::iter(chunks_of(completion).into_iter().map(Ok)).boxed()
}

/// The chunks of `expert`'s response, under its own name. Ends once every choice has ended, whatever the
/// provider does then; anything else that ends it is an error, a `[DONE]` before that included. Dropping it closes the connection.
pub(super) fn of_events(
    expert: ExpertId,
    incoming: Incoming,
    response: Response,
    choices: Choices,
) -> AnswerStream {
    // Boxed, so that it is not moved for each chunk.
    let reader = Box::new(Reader {
        expert,
        incoming,
        read: VecDeque::new(),
        response,
        decoder: Decoder::new(EVENT_BYTES_MAX),
        choices,
        counted: false,
        early_count: None,
        has_ended: false,
        complete_at: None,
    });
    stream::try_unfold(reader, |mut reader| async move {
        let chunk = reader.next().await?;
        Ok(chunk.map(|chunk| (chunk, reader)))
    })
    .boxed()
}

struct Reader {
    expert: ExpertId,
    incoming: Incoming,
    /// Chunks of the last event that were not given out yet: as few as one event brings.
    read: VecDeque<Chunk>,
    response: Response,
    decoder: Decoder,
    choices: Choices,
    /// Whether the tokens of the whole answer were counted: once is enough.
    counted: bool,
    /// A count that came before the answer was complete.
    early_count: Option<Chunk>,
    has_ended: bool,
    /// When the answer was complete.
    complete_at: Option<Instant>,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<Chunk>, ExpertError> {
        if self.has_ended {
            return Ok(None);
        }
        let next = self.read_next().await?;
        if next.is_some() {
            return Ok(next);
        }
        // Nothing came that counts the whole answer: what came before must do.
        self.has_ended = true;
        let count = self.early_count.take().filter(|_| !self.counted);
        Ok(count.map(|count| self.ours(count)))
    }

    async fn read_next(&mut self) -> Result<Option<Chunk>, ExpertError> {
        loop {
            if self.choices.are_complete() && self.counted && self.read.is_empty() {
                self.read_to_end().await;
                return Ok(None);
            }
            if let Some(chunk) = self.read.pop_front() {
                return Ok(Some(self.ours(chunk)));
            }
            if let Some(event) =
                self.decoder
                    .next_event()
                    .map_err(|EventTooLong { bytes_max }| ExpertError::TooLong {
                        bytes_max,
                        in_what: "in one event",
                    })?
            {
                let bytes = event.data.len();
                match self.incoming.read(event) {
                    Piece::Chunk(chunk) if chunk.only_counts() && !self.choices.are_complete() => {
                        self.early_count = Some(chunk);
                    }
                    Piece::Chunk(chunk) => return Ok(Some(self.ours(chunk))),
                    Piece::Chunks(chunks) => self.read.extend(chunks),
                    Piece::Done if self.choices.are_complete() => {
                        self.read_to_end().await;
                        return Ok(None);
                    }
                    Piece::Done => {
                        return Err(broken("it said to be done before the answer was".into()));
                    }
                    Piece::Error(error) if self.choices.are_complete() => {
                        tracing::warn!(expert = %self.expert, %error, "an error behind a complete answer is left out");
                        return Ok(None);
                    }
                    Piece::Error(error) => return Err(error),
                    Piece::Malformed => self.count_malformed(bytes),
                }
                continue;
            }
            if self.choices.are_complete() {
                let until = *self.complete_at.get_or_insert_with(Instant::now) + AFTER_FINISH_MAX;
                match timeout_at(until, self.response.next()).await {
                    Ok(Ok(Some(bytes))) => self.decoder.feed(&bytes),
                    _ => return Ok(None),
                }
            } else {
                let bytes = self.response.next().await;
                let bytes = bytes.map_err(|error| broken(in_full(&error)))?;
                let cut = || broken("the stream ended before the answer did".into());
                self.decoder.feed(&bytes.ok_or_else(cut)?);
            }
        }
    }

    fn ours(&mut self, chunk: Chunk) -> Chunk {
        self.choices.saw(&chunk);
        self.counted |= self.choices.are_complete() && chunk.usage().is_some();
        chunk.named(&self.expert)
    }

    async fn read_to_end(&mut self) {
        let rest = async { while let Ok(Some(_)) = self.response.next().await {} };
        // Whether it came or not, the answer is complete.
        let _ended = timeout(END_AFTER_DONE, rest).await;
    }

    /// Says that an event was skipped, without its text: it may hold some of the answer.
    fn count_malformed(&self, bytes: usize) {
        let expert = &self.expert;
        tracing::warn!(%expert, bytes, "skipped an event of {expert} that is no part of an answer");
        metrics::counter!(
            "coterie_expert_malformed_events_total",
            "expert" => expert.to_string(),
        )
        .increment(1);
    }
}

/// What an event means.
pub(super) enum Piece {
    Chunk(Chunk),
    /// Of an event that is no chunk itself.
    Chunks(Vec<Chunk>),
    Done,
    Error(ExpertError),
    Malformed,
}

impl Piece {
    pub(super) fn read(event: Event) -> Self {
        if event.data.trim_ascii() == b"[DONE]" {
            return Self::Done;
        }
        let is_error = event.name == "error";
        let Ok(chunk) = Chunk::parse(event.data) else {
            return if is_error {
                Self::Error(ExpertError::Failed {
                    detail: "it ended the stream with an error".into(),
                    retry_after: None,
                })
            } else {
                Self::Malformed
            };
        };
        if is_error {
            return Self::Error(status::error_itself(&chunk.object()));
        }
        let error = chunk.has_error().then(|| status::error_in(&chunk.object()));
        error.flatten().map_or(Self::Chunk(chunk), Self::Error)
    }

    /// The same where every piece of an answer has choices, be they none, or a count of tokens.
    pub(super) fn read_chunk(event: Event) -> Self {
        let chunk = match Self::read(event) {
            Self::Chunk(chunk) if !chunk.is_of_an_answer() => chunk,
            piece => return piece,
        };
        // Hardly any has to be taken apart for this.
        let object = chunk.object();
        match status::error_in(&object) {
            Some(error) => Self::Error(error),
            None if object.contains_key("choices") => Self::Chunk(chunk),
            None => Self::Malformed,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::Dialect;

    fn read(dialect: Dialect, name: &str, data: &Value) -> &'static str {
        let event = Event {
            name: name.into(),
            data: data.to_string().into_bytes(),
        };
        match dialect.incoming().read(event) {
            Piece::Chunk(_) | Piece::Chunks(_) => "chunk",
            Piece::Done => "done",
            Piece::Error(error) => error.kind(),
            Piece::Malformed => "malformed",
        }
    }

    #[test]
    fn an_error_is_known_in_every_form_and_what_is_no_chunk_is_skipped() {
        let choice = json!({"index": 0, "delta": {"content": "hi"}});
        for (name, data, meaning) in [
            ("", json!({"choices": [choice]}), "chunk"),
            (
                "",
                json!({"choices": [], "prompt_filter_results": []}),
                "chunk",
            ),
            (
                "",
                json!({"usage": {"prompt_tokens": 1, "completion_tokens": 1}}),
                "chunk",
            ),
            ("", json!({"error": {"message": "boom"}}), "failed"),
            ("error", json!({"message": "boom", "code": 500}), "failed"),
            (
                "error",
                json!({"message": "slow down", "code": 429}),
                "rate_limited",
            ),
            (
                "error",
                json!({"error": {"type": "overloaded_error"}}),
                "overloaded",
            ),
            ("error", json!("boom"), "failed"),
            (
                "",
                json!({"object": "error", "message": "boom", "code": 503}),
                "overloaded",
            ),
            ("", json!({"status": "thinking"}), "malformed"),
            ("", json!({}), "malformed"),
            ("", json!([choice]), "malformed"),
        ] {
            assert_eq!(read(Dialect::Openai, name, &data), meaning, "{name} {data}");
        }
    }

    #[test]
    fn the_events_of_a_message_have_no_choices_and_are_none_the_worse() {
        let text = json!({"type": "text_delta", "text": "hi"});
        let delta = json!({"type": "content_block_delta", "index": 0, "delta": text});
        assert_eq!(
            read(Dialect::Anthropic, "content_block_delta", &delta),
            "chunk"
        );
        let ping = json!({"type": "ping"});
        assert_eq!(read(Dialect::Anthropic, "ping", &ping), "chunk");
        let error = json!({"type": "error", "error": {"type": "overloaded_error", "message": "x"}});
        assert_eq!(read(Dialect::Anthropic, "error", &error), "overloaded");
    }
}
