//! GGUF models of the llama and qwen2 families, run in this process through candle.
//!
//! One thread a model: a question waits in a bounded queue, its prompt is read in chunks, its answer goes to the reader
//! token by token. A reader that leaves stops the model at its next token or chunk. Knows nothing of routing or HTTP.
//!
//! All models share candle's one pool of threads, as many as the machine has cores, which wait for one another by
//! spinning. On a machine that is busy with other work, fewer are faster: `CANDLE_NUM_THREADS=1`.

mod choice;
mod error;
mod generator;
mod gguf;
mod likelihood;
mod model;
mod prefix;
mod reader;
mod sampler;
mod template;
#[cfg(test)]
mod tests;
mod text;
#[cfg(test)]
mod tiny;
mod tokenizer;
mod worker;

use std::{future::ready, path::Path, sync::Arc};

use futures_util::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use uuid::Uuid;

pub use self::{
    error::{LoadError, LoadFault},
    generator::ModelCard,
    model::Family,
    prefix::DECISIONS,
};

use self::{
    generator::Generator,
    reader::{Piece, Pieces},
    worker::Worker,
};
use super::{Answer, AnswerStream, Call, Expert, ExpertError};
use crate::{
    chat::{AnswerHead, ChatRequest, Chunk, Completion, Need},
    clock,
    ids::ExpertId,
};

/// A model in this process, ready to answer.
///
/// Dropping it breaks off the answer under way and waits for the thread, for a chunk of the prompt at the longest.
pub struct LocalExpert {
    id: ExpertId,
    card: ModelCard,
    worker: Worker,
}

impl LocalExpert {
    /// Loads a model file and starts its thread. Blocks for as long as that takes: a second or so a gigabyte.
    ///
    /// `context_tokens_max` lowers the context that the file states; `queue_max` questions may wait.
    ///
    /// # Errors
    /// The file cannot be used; the error names it, says why, and what to do.
    pub fn load(
        id: ExpertId,
        model_file: &Path,
        context_tokens_max: Option<u32>,
        queue_max: usize,
    ) -> Result<Self, LoadError> {
        let load = || {
            let (generator, card) = Generator::load(model_file, context_tokens_max)?;
            let worker = Worker::start(&id, generator, queue_max)?;
            Ok((card, worker))
        };
        let (card, worker) = load().map_err(|fault: LoadFault| fault.of(model_file))?;
        Ok(Self { id, card, worker })
    }

    /// What the file turned out to hold.
    pub fn card(&self) -> ModelCard {
        self.card
    }

    fn head(&self) -> AnswerHead {
        AnswerHead {
            id: format!("chatcmpl-{}", Uuid::new_v4().simple()),
            model: self.id.as_str().to_owned(),
            created_s: clock::now_ms() / 1000,
        }
    }
}

impl Expert for LocalExpert {
    /// An answer that streams comes back once its first text is there, so that a conversation that is too long fails
    /// here and not in the stream.
    fn answer<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Answer, ExpertError>> {
        async move {
            let request = &call.request;
            refuse_unsupported(request)?;
            let is_streamed = request.stream;
            let mut pieces = self.worker.ask(Arc::clone(request))?;
            if is_streamed {
                let first = next(&mut pieces).await?;
                return Ok(Answer::Stream(chunks(self.head(), first, pieces)));
            }
            let told = request.token_choices_told();
            whole(&self.head(), pieces, told).await.map(Answer::Whole)
        }
        .boxed()
    }
}

/// Refuses what would otherwise be silently ignored. Results of tools are text, which a model can read; the
/// log-probabilities of an answer are told where it is one of a few texts and comes whole.
fn refuse_unsupported(request: &ChatRequest) -> Result<(), ExpertError> {
    let tells_logprobs = !request.among.is_empty() && !request.stream;
    let mut needs = Need::all_of(request).into_iter();
    let is_met = |need: &Need| match need {
        Need::ToolResults => true,
        Need::LogProbs => tells_logprobs,
        _ => false,
    };
    match needs.find(|need| !is_met(need)) {
        Some(need) => Err(ExpertError::Unsupported {
            what: need.in_words(),
            param: need.param(),
        }),
        None => Ok(()),
    }
}

/// `told`: of how many tokens the log-probabilities are wanted in the place of each of the answer's.
async fn whole(
    head: &AnswerHead,
    mut pieces: Pieces,
    told: Option<usize>,
) -> Result<Completion, ExpertError> {
    let mut text = String::new();
    loop {
        match next(&mut pieces).await? {
            Piece::Text(more) => text.push_str(&more),
            Piece::End(ending) => {
                let completion = head.completion(&text, ending.reason, ending.usage);
                let completion = match told {
                    Some(most) => completion.with_token_choices(&ending.choices, most),
                    None => completion,
                };
                return Ok(completion.with_mean_logprob(ending.mean_logprob));
            }
        }
    }
}

fn chunks(head: AnswerHead, first: Piece, pieces: Pieces) -> AnswerStream {
    let opening = stream::once(ready(Ok(head.opening())));
    let chunks = all(first, pieces).flat_map(move |piece| stream::iter(to_chunks(&head, piece)));
    opening.chain(chunks).boxed()
}

/// All pieces of an answer, up to its end or an error.
fn all(first: Piece, pieces: Pieces) -> BoxStream<'static, Result<Piece, ExpertError>> {
    let rest = matches!(first, Piece::Text(_)).then_some(pieces);
    let rest = stream::unfold(rest, async |pieces| {
        let mut pieces = pieces?;
        let piece = next(&mut pieces).await;
        let goes_on = matches!(piece, Ok(Piece::Text(_)));
        Some((piece, goes_on.then_some(pieces)))
    });
    stream::once(ready(Ok(first))).chain(rest).boxed()
}

async fn next(pieces: &mut Pieces) -> Result<Piece, ExpertError> {
    pieces.recv().await.unwrap_or_else(|| {
        Err(ExpertError::Broken {
            detail: "the model stopped before its end".into(),
        })
    })
}

fn to_chunks(
    head: &AnswerHead,
    piece: Result<Piece, ExpertError>,
) -> Vec<Result<Chunk, ExpertError>> {
    match piece {
        Ok(Piece::Text(text)) => vec![Ok(head.text(&text))],
        Ok(Piece::End(ending)) => {
            let finish = head.finish(ending.reason);
            vec![
                Ok(finish.with_mean_logprob(ending.mean_logprob)),
                Ok(head.usage(ending.usage)),
            ]
        }
        Err(error) => vec![Err(error)],
    }
}
