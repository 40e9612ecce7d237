//! Keeps an answer on its way to the client.

use futures_util::{StreamExt, stream};

use super::{ANSWER_BYTES_MAX, Cache, CacheKey, KeptAnswer};
use crate::{
    chat::{Choices, Chunk},
    expert::{Answer, AnswerStream},
    ids::ExpertId,
};

/// The answer itself; it is kept once it has come to its end.
pub fn record(
    cache: &Cache,
    key: CacheKey,
    expert: &ExpertId,
    choices: Choices,
    answer: Answer,
) -> Answer {
    match answer {
        Answer::Whole(completion) => {
            let json = completion.json().as_bytes().to_vec();
            cache.keep(key, expert.clone(), KeptAnswer::Whole(json));
            Answer::Whole(completion)
        }
        Answer::Stream(pieces) => {
            let recording = Recording {
                cache: cache.clone(),
                key,
                expert: expert.clone(),
                choices,
                chunks: Some(Vec::new()),
                bytes: 0,
            };
            Answer::Stream(recorded(pieces, recording))
        }
    }
}

struct Recording {
    cache: Cache,
    key: CacheKey,
    expert: ExpertId,
    choices: Choices,
    /// None once it is too long, or another expert went on with it.
    chunks: Option<Vec<Vec<u8>>>,
    bytes: usize,
}

fn recorded(pieces: AnswerStream, recording: Recording) -> AnswerStream {
    stream::try_unfold(
        (pieces, Some(recording)),
        |(mut pieces, mut recording)| async move {
            match pieces.next().await.transpose()? {
                Some(chunk) => {
                    if let Some(recording) = &mut recording {
                        recording.saw(&chunk);
                    }
                    Ok(Some((chunk, (pieces, recording))))
                }
                None => {
                    if let Some(recording) = recording.take() {
                        recording.finish();
                    }
                    Ok(None)
                }
            }
        },
    )
    .boxed()
}

impl Recording {
    fn saw(&mut self, chunk: &Chunk) {
        self.choices.saw(chunk);
        let Some(chunks) = &mut self.chunks else {
            return;
        };
        let json = chunk.json().as_bytes();
        self.bytes += json.len();
        if self.bytes > ANSWER_BYTES_MAX || !chunk.is_named(&self.expert) {
            self.chunks = None;
        } else {
            chunks.push(json.to_vec());
        }
    }

    fn finish(self) {
        if let Some(chunks) = self.chunks
            && self.choices.are_complete()
        {
            self.cache
                .keep(self.key, self.expert, KeptAnswer::Stream(chunks));
        }
    }
}
