//! One question's outcome in the making; dropping it sends it off.

use std::{
    mem,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc::OwnedPermit;
use uuid::Uuid;

use super::{content, recorder::Shared, writer::Message};
use crate::{
    chat::{Choices, Chunk, Completion, Usage},
    clock,
    config::ContentPolicy,
    decision::Decision,
    expert::{AnswerStream, Attempt, AttemptId, Attempts, ExpertError, Role},
    ids::ExpertId,
    mapping::BYTES_PER_TOKEN,
    outcome::{Ask, Ending, Outcome, Reservations, Sum, Used},
};

/// Stands for one question from its decision to its end. Whatever ends it, one outcome goes to the writer.
pub struct Ticket {
    id: String,
    asked: Instant,
    shared: Arc<Shared>,
    /// Leaves with the outcome.
    opened: Option<Opened>,
    attempts: Attempts,
    /// What the question may use; settled when it has ended.
    reserved: Reservations,
    /// Tokens of the answer that were handed on, about.
    tokens_streamed: u64,
    first_token: Option<Duration>,
    /// Of the answer that the client gets, and whose attempt counted it.
    usage: Option<Usage>,
    counted_by: Option<AttemptId>,
    answer: Option<String>,
    error: Option<&'static str>,
    /// None until something ends it: then it was the client, by leaving, or the server, by shutting down.
    ending: Option<Ending>,
}

/// What was known when the ticket was opened, and the slot that makes the outcome certain.
struct Opened {
    slot: OwnedPermit<Message>,
    asked_at_ms: i64,
    ask: Ask,
    decision: Decision,
}

impl Ticket {
    pub(super) fn new(
        slot: OwnedPermit<Message>,
        shared: Arc<Shared>,
        mut ask: Ask,
        mut decision: Decision,
        asked: Instant,
    ) -> Self {
        ask.question = ask
            .question
            .and_then(|question| content::admit(shared.content, question));
        if let Some(instructed) = &mut decision.instruction {
            // It tells of the question what the question says.
            let instruction = instructed.instruction.take();
            instructed.instruction = instruction.and_then(|it| content::admit(shared.content, it));
        }
        shared.unwritten.fetch_add(1, Ordering::Relaxed);
        let waited_ms = i64::try_from(asked.elapsed().as_millis()).unwrap_or(i64::MAX);
        Self {
            id: Uuid::now_v7().to_string(),
            asked,
            shared,
            opened: Some(Opened {
                slot,
                asked_at_ms: clock::now_ms().saturating_sub(waited_ms),
                ask,
                decision,
            }),
            attempts: Attempts::default(),
            reserved: Reservations::default(),
            tokens_streamed: 0,
            first_token: None,
            usage: None,
            counted_by: None,
            answer: None,
            error: None,
            ending: None,
        }
    }

    /// Holds on to what the question may use until it is known what it did use.
    pub fn reserving(mut self, reserved: Reservations) -> Self {
        self.reserved = reserved;
        self
    }

    /// The outcome's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The log of attempts, written by whoever asks the experts; it knows whose answer the client gets.
    pub fn attempts(&self) -> Attempts {
        self.attempts.clone()
    }

    /// Ends with the error that left the client without an answer.
    pub fn fail(mut self, error: &ExpertError) {
        self.broke(error);
    }

    /// Ends with a whole answer, just before it is handed to the client.
    pub fn complete(mut self, completion: &Completion) {
        self.first_token = Some(self.asked.elapsed());
        self.usage = completion.usage();
        self.counted_by = self.attempts.answering();
        self.answer = completion
            .text()
            .and_then(|text| content::admit(self.shared.content, text.to_owned()));
        self.ending = Some(Ending::Completed);
    }

    /// Follows a streamed answer to its end, whatever that is. The outcome is sent before the stream's last `None`, so a
    /// client that has read to the end can give feedback at once.
    pub fn watch(self, answer: AnswerStream, choices: Choices) -> AnswerStream {
        Box::pin(Watched {
            ticket: Some(self),
            choices,
            answer,
        })
    }

    /// Takes note of a failure, unless the answer was complete before it or the server gave it up itself.
    fn broke(&mut self, error: &ExpertError) {
        if self.ending.is_some() || matches!(error, ExpertError::ShuttingDown) {
            return;
        }
        self.error = Some(error.kind());
        if let Some(answering) = self.attempts.answering() {
            self.attempts.update(answering, |attempt| {
                attempt.error.get_or_insert_with(|| error.kind().to_owned());
            });
        }
        self.ending = Some(match error {
            ExpertError::TimedOut { .. } | ExpertError::OutOfTime { .. } => Ending::TimedOut,
            _ => Ending::ExpertFailed,
        });
    }

    /// Takes note of a chunk that is about to be handed on.
    fn saw(&mut self, chunk: &Chunk) {
        if chunk.carries_token() {
            self.first_token.get_or_insert_with(|| self.asked.elapsed());
            self.tokens_streamed += tokens_about(chunk);
        }
        if self.shared.content != ContentPolicy::None
            && let Some(text) = chunk.text()
        {
            let answer = self.answer.get_or_insert_default();
            let room = content::TEXT_BYTES_MAX.saturating_sub(answer.len());
            answer.push_str(&text[..text.floor_char_boundary(room)]);
        }
        if let Some(usage) = chunk.usage() {
            self.usage = Some(usage);
            self.counted_by = self.attempts.answering();
        }
    }

    /// Takes note that the client has all of the answer: it may leave without waiting for the count of tokens.
    fn completed(&mut self) {
        self.ending = Some(Ending::Completed);
    }

    fn cost_usd(&self, expert: &ExpertId, usage: Option<Usage>) -> Option<f64> {
        Some(self.shared.prices.get(expert)?.cost_usd(usage?))
    }

    /// Completes the attempts by what their tokens cost, adds up all that was paid for, and settles what was reserved.
    /// Everyone is paid to whom the question was sent, for an unknown count where nobody told it: what others are paid is
    /// known all the same. Who failed is paid nothing, unless the client has a part of that answer.
    fn settle(&mut self, attempts: &mut [Attempt], answering: Option<AttemptId>) -> Spent {
        let mut spent = Spent::nothing();
        let answering = answering.map(AttemptId::index);
        for (index, attempt) in attempts.iter_mut().enumerate() {
            let is_the_answer = answering == Some(index);
            if attempt.role == Role::Cache {
                attempt.cost_usd = Some(0.0);
                spent = spent.and(Spent::on_what_was_kept());
                continue;
            }
            if is_the_answer {
                let counted_by = self.counted_by.map(AttemptId::index);
                attempt.usage = self.usage.filter(|_| counted_by == Some(index));
            }
            if attempt.failed() {
                attempt.usage = None;
                if is_the_answer && self.tokens_streamed > 0 {
                    spent = spent.and(Spent::on(None, None));
                }
                continue;
            }
            attempt.cost_usd = self.cost_usd(&attempt.expert, attempt.usage);
            if is_the_answer || attempt.sent {
                spent = spent.and(Spent::on(attempt.usage, attempt.cost_usd));
            }
        }
        let reserved = mem::take(&mut self.reserved);
        reserved.settle(spent.used(self.tokens_streamed));
        spent
    }

    fn default_ending(&self) -> Ending {
        if self.shared.shutdown.is_cancelled() {
            Ending::Shutdown
        } else {
            Ending::ClientLeft
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let Some(opened) = self.opened.take() else {
            return;
        };
        let (mut attempts, answering) = self.attempts.snapshot();
        let spent = self.settle(&mut attempts, answering);
        let answered_by = answering.and_then(|it| attempts.get(it.index()));
        let outcome = Outcome {
            cost_usd: spent.usd.known,
            ending: self.ending.unwrap_or_else(|| self.default_ending()),
            id: mem::take(&mut self.id),
            asked_at_ms: opened.asked_at_ms,
            ask: opened.ask,
            decision: opened.decision,
            answered_by: answered_by.map(|attempt| attempt.expert.clone()),
            attempts,
            first_token: self.first_token,
            total: self.asked.elapsed(),
            usage: spent.usage,
            error: self.error.map(str::to_owned),
            answer: self.answer.take(),
        };
        self.shared.send(opened.slot, outcome);
    }
}

/// Tokens in a chunk that carries some: providers send one at a time, or several at once.
fn tokens_about(chunk: &Chunk) -> u64 {
    let text = chunk.text().unwrap_or_default();
    (text.len() / BYTES_PER_TOKEN).max(1) as u64
}

/// What was spent on a question.
#[derive(Clone, Copy)]
struct Spent {
    is_something: bool,
    /// Of the answers that were counted.
    usage: Option<Usage>,
    /// The sum of the usage; of an answer from the cache 0, although it has no usage.
    tokens: Sum<u64>,
    usd: Sum<f64>,
}

impl Spent {
    fn nothing() -> Self {
        Self {
            is_something: false,
            usage: None,
            tokens: Sum::empty(),
            usd: Sum::empty(),
        }
    }

    fn on(usage: Option<Usage>, cost_usd: Option<f64>) -> Self {
        Self {
            is_something: true,
            usage,
            tokens: Sum::of(usage.map(Usage::tokens)),
            usd: Sum::of(cost_usd),
        }
    }

    /// On an answer that was at hand.
    fn on_what_was_kept() -> Self {
        Self {
            tokens: Sum::of(Some(0)),
            ..Self::on(None, Some(0.0))
        }
    }

    fn used(self, tokens_streamed: u64) -> Used {
        Used {
            is_something: self.is_something,
            usd: self.usd,
            tokens: self.tokens,
            tokens_streamed,
        }
    }

    fn and(self, more: Self) -> Self {
        let add = |a: Usage, b: Usage| Usage {
            prompt_tokens: a.prompt_tokens.saturating_add(b.prompt_tokens),
            completion_tokens: a.completion_tokens.saturating_add(b.completion_tokens),
        };
        Self {
            is_something: self.is_something || more.is_something,
            usage: Sum::of(self.usage).and(Sum::of(more.usage), add).known,
            tokens: self.tokens.and(more.tokens, u64::saturating_add),
            usd: self.usd.and(more.usd, |a, b| a + b),
        }
    }
}

/// A streamed answer and the ticket that it ends; dropped together when nobody reads on.
struct Watched {
    ticket: Option<Ticket>,
    choices: Choices,
    answer: AnswerStream,
}

impl Stream for Watched {
    type Item = Result<Chunk, ExpertError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = ready!(self.answer.poll_next_unpin(context));
        let this = &mut *self;
        if let Some(ticket) = &mut this.ticket {
            match &item {
                Some(Ok(chunk)) => {
                    ticket.saw(chunk);
                    this.choices.saw(chunk);
                    if this.choices.are_complete() {
                        ticket.completed();
                    }
                    return Poll::Ready(item);
                }
                Some(Err(error)) => ticket.broke(error),
                None => ticket.completed(),
            }
            // Nothing more can happen: the outcome is on its way before the client has the end.
            this.ticket = None;
        }
        Poll::Ready(item)
    }
}

#[cfg(test)]
mod tests;
