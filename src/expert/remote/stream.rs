//! The pieces of an answer out of a response's events.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use reqwest::Response;

use super::{
    broken,
    sse::{Decoder, Event},
    status,
    wire::chunks_of,
};
use crate::{
    causes::in_full,
    chat::{Chunk, Completion},
    expert::{AnswerStream, ExpertError},
    ids::ExpertId,
};

/// Longest event: far above any text, with room for a picture or a whole answer in one piece.
const EVENT_BYTES_MAX: usize = 16 << 20;

/// How long the end of the body may take after `[DONE]`. Only a body read to its end leaves a connection that can be
/// used again. It comes at once, or the provider does not mean to send it, and the reader has every chunk by then.
const END_AFTER_DONE: Duration = Duration::from_millis(200);

/// A whole answer as a stream.
pub(super) fn of_whole(completion: Completion) -> AnswerStream {
    stream::iter(chunks_of(completion).into_iter().map(Ok)).boxed()
}

/// The chunks of `expert`'s response, under its own name. Ends with the provider's `[DONE]`, or with the body once a
/// finish reason has come; anything else that ends it is an error. Dropping it closes the connection.
pub(super) fn of_events(expert: ExpertId, response: Response) -> AnswerStream {
    let reader = Reader {
        expert,
        response,
        decoder: Decoder::new(EVENT_BYTES_MAX),
        finished: false,
    };
    stream::try_unfold(reader, |mut reader| async move {
        let chunk = reader.next().await?;
        Ok(chunk.map(|chunk| (chunk, reader)))
    })
    .boxed()
}

struct Reader {
    expert: ExpertId,
    response: Response,
    decoder: Decoder,
    /// A finish reason has come.
    finished: bool,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<Chunk>, ExpertError> {
        loop {
            while let Some(event) = self
                .decoder
                .next_event()
                .map_err(|error| broken(error.to_string()))?
            {
                match Piece::read(&event) {
                    Piece::Chunk(chunk) => return Ok(Some(self.ours(chunk))),
                    Piece::Done => {
                        self.read_to_end().await;
                        return Ok(None);
                    }
                    Piece::Error(error) => return Err(error),
                    Piece::Malformed => self.count_malformed(&event),
                }
            }
            match self.response.chunk().await {
                Ok(Some(bytes)) => self.decoder.feed(&bytes),
                Ok(None) | Err(_) if self.finished => return Ok(None),
                Ok(None) => return Err(broken("the stream ended before the answer did".into())),
                Err(error) => return Err(broken(in_full(&error.without_url()))),
            }
        }
    }

    fn ours(&mut self, mut chunk: Chunk) -> Chunk {
        self.finished |= chunk.finish_reason().is_some();
        chunk.0.insert("model".into(), self.expert.as_str().into());
        chunk
    }

    async fn read_to_end(&mut self) {
        let rest = async { while let Ok(Some(_)) = self.response.chunk().await {} };
        // Whether it came or not, the answer is complete.
        let _ended = tokio::time::timeout(END_AFTER_DONE, rest).await;
    }

    /// Says that an event was skipped, without its text: it may hold some of the answer.
    fn count_malformed(&self, event: &Event) {
        let expert = &self.expert;
        let bytes = event.data.len();
        tracing::warn!(%expert, bytes, "skipped an event of {expert} that is no JSON object");
        metrics::counter!(
            "coterie_expert_malformed_events_total",
            "expert" => expert.to_string(),
        )
        .increment(1);
    }
}

/// What an event means.
enum Piece {
    Chunk(Chunk),
    Done,
    Error(ExpertError),
    Malformed,
}

impl Piece {
    fn read(event: &Event) -> Self {
        if event.data.trim_ascii() == b"[DONE]" {
            return Self::Done;
        }
        let Ok(chunk) = Chunk::parse(&event.data) else {
            return match event.name.as_str() {
                "error" => Self::Error(ExpertError::Failed {
                    detail: "it ended the stream with an error".into(),
                }),
                _ => Self::Malformed,
            };
        };
        status::error_in(&chunk.0).map_or(Self::Chunk(chunk), Self::Error)
    }
}
