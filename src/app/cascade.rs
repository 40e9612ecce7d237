//! A cheaper expert first: its answer is held back whole until it is accepted; otherwise the category's own expert is
//! asked, and the client never sees a piece of what was rejected.

mod code;
mod judge;

use std::{slice, sync::Arc};

use futures_util::{StreamExt, stream};
use tokio::time::{Instant, timeout_at};

use crate::{
    chat::{Chunk, Completion, Usage},
    config::CascadeConfig,
    expert::{
        Answer, AnswerStream, Answered, Attempt, AttemptId, Call, ExpertError, Experts, Role,
    },
    heavy,
};
use code::CodeFault;
use judge::JudgeFault;

/// Most of an answer that is held back, in bytes of its JSON: far longer than an answer that a cheap expert gets right,
/// and little enough for every question under way to hold as much.
const HELD_BYTES_MAX: usize = 1 << 20;

/// How answers end that came to their own end.
const STOP: &str = "stop";

/// That of one that was cut at its longest.
const LENGTH: &str = "length";

/// Longest finish reason that is told of, in characters: it is a provider's text.
const FINISH_REASON_CHARS_MAX: usize = 32;

/// One question's cascade.
pub(super) struct Cascade<'a> {
    pub experts: &'a Arc<Experts>,
    pub config: &'a CascadeConfig,
    pub call: &'a Call,
}

/// Why a first answer is not taken.
#[derive(Debug, thiserror::Error)]
enum Rejection {
    #[error("it failed")]
    Failed(#[from] ExpertError),
    #[error("it and its checks took too long")]
    TooSlow,
    #[error("it is longer than what is held back")]
    TooLong,
    #[error("it calls a tool")]
    CallsTool,
    #[error("it did not end of itself (`{finish_reason}`)")]
    Unfinished { finish_reason: String },
    #[error("it has no text")]
    NoText,
    #[error("its likelihood is not known")]
    NoLikelihood,
    #[error("its mean log-probability is {found:.3}, below {least:.3}")]
    Unlikely { found: f64, least: f64 },
    #[error(transparent)]
    Code(#[from] CodeFault),
    #[error(transparent)]
    Judge(#[from] JudgeFault),
}

/// An answer that is held back.
struct Held {
    attempt: AttemptId,
    answer: HeldAnswer,
    text: String,
    calls_tool: bool,
    finish_reason: Option<String>,
    usage: Option<Usage>,
    mean_logprob: Option<f64>,
}

enum HeldAnswer {
    Whole(Completion),
    Stream(Vec<Chunk>),
}

impl Cascade<'_> {
    /// Asks the first expert and checks its answer; none where the category's own expert must be asked, whatever the
    /// reason. Each try, a judge's included, is in the call's attempts from its start.
    pub(super) async fn first(&self) -> Option<Answered> {
        let started = Instant::now();
        let deadline = started + self.config.within;
        let held = match timeout_at(deadline, self.hold()).await {
            Ok(held) => held,
            Err(_elapsed) => Err(Rejection::TooSlow),
        };
        let last = self.call.attempts.last();
        let at = held.as_ref().map_or(last, |held| Some(held.attempt));
        self.update(at, |attempt| {
            attempt.took = Some(started.elapsed());
            attempt.usage = held.as_ref().ok().and_then(|held| held.usage);
        });
        let accepted = match held {
            Ok(held) => timeout_at(deadline, self.check(&held))
                .await
                .unwrap_or(Err(Rejection::TooSlow))
                .map(|()| held),
            Err(rejection) => Err(rejection),
        };
        let result = accepted.as_ref().err().map_or("accepted", Rejection::kind);
        metrics::counter!("coterie_cascades_total", "first" => self.config.first.to_string(), "result" => result)
            .increment(1);
        match accepted {
            Ok(held) => Some(Answered {
                expert: self.config.first.clone(),
                attempt: held.attempt,
                answer: held.answer.release(),
            }),
            Err(rejection) => {
                self.reject(&rejection, at);
                None
            }
        }
    }

    /// Asks, and waits for the whole answer.
    async fn hold(&self) -> Result<Held, Rejection> {
        let first = slice::from_ref(&self.config.first);
        let call = self.call.aside(Role::First);
        let answered = self.experts.answer(first, &call).await?;
        match answered.answer {
            Answer::Whole(completion) => Held::whole(answered.attempt, completion),
            Answer::Stream(pieces) => Held::streamed(answered.attempt, pieces).await,
        }
    }

    /// Puts the answer to every check that is asked for, the cheapest first.
    async fn check(&self, held: &Held) -> Result<(), Rejection> {
        let accept = &self.config.accept;
        held.is_complete(self.call.request.sampling.answer_tokens_max)?;
        if held.text.trim().is_empty() {
            return Err(Rejection::NoText);
        }
        if let Some(least) = accept.likelihood_min {
            let found = held.mean_logprob.ok_or(Rejection::NoLikelihood)?;
            if found < least {
                return Err(Rejection::Unlikely { found, least });
            }
        }
        if accept.code_parses {
            let text = held.text.clone();
            heavy::on_another_thread(move || code::check(&text)).await?;
        }
        if let Some(judge) = &accept.judge {
            let request = judge::request(judge, &self.call.request, &held.text)?;
            let call = self.call.aside(Role::Judge).with(request);
            let answered = self.experts.answer(slice::from_ref(judge), &call).await;
            let answered = answered.map_err(JudgeFault::Failed)?;
            let (verdict, usage) = judge::verdict(answered.answer);
            self.update(Some(answered.attempt), |attempt| attempt.usage = usage);
            verdict?;
        }
        Ok(())
    }

    fn reject(&self, rejection: &Rejection, attempt: Option<AttemptId>) {
        let first = &self.config.first;
        tracing::debug!(expert = %first, kind = rejection.kind(), "the answer of {first} is not taken: {rejection}");
        self.update(attempt, |attempt| match rejection {
            Rejection::Failed(error) => attempt.error = Some(error.kind().to_owned()),
            _ => {
                attempt.rejected = Some(rejection.to_string());
                attempt.rejected_as = Some(rejection.kind());
            }
        });
    }

    fn update(&self, attempt: Option<AttemptId>, update: impl FnOnce(&mut Attempt)) {
        if let Some(attempt) = attempt {
            self.call.attempts.update(attempt, update);
        }
    }
}

impl Rejection {
    /// One word for metrics, and for what learns from the outcome: whether the answer itself was at fault, or the house.
    fn kind(&self) -> &'static str {
        match self {
            Self::Failed(_) => "failed",
            Self::TooSlow => "too_slow",
            Self::TooLong => "too_long",
            Self::CallsTool => "tool_call",
            Self::Unfinished { .. } => "unfinished",
            Self::NoText => "no_text",
            Self::NoLikelihood => "no_likelihood",
            Self::Unlikely { .. } => "unlikely",
            Self::Code(CodeFault::TooLong) => "code_too_long",
            Self::Code(_) => "code",
            Self::Judge(JudgeFault::Wrong) => "judged_wrong",
            Self::Judge(_) => "judge_failed",
        }
    }
}

impl Held {
    fn whole(attempt: AttemptId, completion: Completion) -> Result<Self, Rejection> {
        if completion.json().len() > HELD_BYTES_MAX {
            return Err(Rejection::TooLong);
        }
        Ok(Self {
            attempt,
            text: completion.text().unwrap_or_default().to_owned(),
            calls_tool: completion.calls_tool(),
            finish_reason: completion.finish_reason().map(str::to_owned),
            usage: completion.usage(),
            mean_logprob: completion.mean_logprob(),
            answer: HeldAnswer::Whole(completion),
        })
    }

    /// Whether it is an answer to its end: what is cut off or filtered may pass every other check, and what a tool is
    /// called with is read by none.
    fn is_complete(&self, answer_tokens_max: Option<u32>) -> Result<(), Rejection> {
        if self.calls_tool {
            return Err(Rejection::CallsTool);
        }
        match self.finish_reason.as_deref() {
            // Some providers name none with a whole answer.
            None | Some(STOP) => Ok(()),
            // Where the client sets the length whoever answers is cut there.
            Some(LENGTH) if answer_tokens_max.is_some() => Ok(()),
            Some(other) => Err(Rejection::Unfinished {
                finish_reason: other.chars().take(FINISH_REASON_CHARS_MAX).collect(),
            }),
        }
    }

    /// Reads a stream to its end.
    async fn streamed(attempt: AttemptId, mut pieces: AnswerStream) -> Result<Self, Rejection> {
        let (mut chunks, mut text) = (Vec::new(), String::new());
        let (mut usage, mut mean_logprob, mut bytes) = (None, None, 0);
        let (mut calls_tool, mut finish_reason) = (false, None);
        while let Some(chunk) = pieces.next().await.transpose()? {
            bytes += chunk.json().len();
            if bytes > HELD_BYTES_MAX {
                return Err(Rejection::TooLong);
            }
            text.push_str(chunk.text().unwrap_or_default());
            usage = chunk.usage().or(usage);
            mean_logprob = chunk.mean_logprob().or(mean_logprob);
            calls_tool |= chunk.calls_tool();
            finish_reason = chunk.finish_reason().map(str::to_owned).or(finish_reason);
            chunks.push(chunk);
        }
        Ok(Self {
            attempt,
            answer: HeldAnswer::Stream(chunks),
            text,
            calls_tool,
            finish_reason,
            usage,
            mean_logprob,
        })
    }
}

impl HeldAnswer {
    fn release(self) -> Answer {
        match self {
            Self::Whole(completion) => Answer::Whole(completion),
            Self::Stream(chunks) => {
                Answer::Stream(stream::iter(chunks.into_iter().map(Ok)).boxed())
            }
        }
    }
}
