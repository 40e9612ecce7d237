//! What becomes of a stream that breaks off after its first token: another expert goes on with it, or the client is told.
//!
//! An expert that takes a prefill continues from what was delivered, where that is enough to know it again. Where it is not,
//! or none takes one, or the provider will not have it, the answer is asked for anew and spliced on if it begins with what
//! was delivered. What the client sees is one answer with one id, in which nothing is said twice; from the splice on, the
//! chunks name the expert that goes on.

mod delivered;
mod joint;
mod prefill;

use std::{collections::VecDeque, sync::Arc};

use futures_util::{StreamExt, stream};
use metrics::counter;

use super::{
    Answer, AnswerStream, AttemptId, Call, ErrorClass, ExpertError, Experts, Next, Role,
    order::Begun, registry::Member,
};
use crate::{
    causes::in_full,
    chat::Chunk,
    config::{Prefill, StreamRecovery},
    heavy,
    ids::ExpertId,
};
use delivered::Delivered;
use joint::Joint;

/// One stream, and all that is needed to go on with it.
pub(super) struct Recovery {
    experts: Arc<Experts>,
    call: Call,
    /// Whose answer is being delivered.
    attempt: AttemptId,
    delivered: Delivered,
    /// How the chunks of whoever took over are joined to what was delivered before; none for the first expert's own.
    joint: Option<Joint>,
    /// What was held back of that answer and is to be sent now, in order.
    released: VecDeque<Chunk>,
}

struct State {
    recovery: Recovery,
    pieces: AnswerStream,
    /// Who may take over, in order.
    others: VecDeque<ExpertId>,
}

impl Recovery {
    pub(super) fn new(experts: Arc<Experts>, call: Call, attempt: AttemptId) -> Self {
        Self {
            delivered: Delivered::new(call.request.choices_wanted),
            experts,
            call,
            attempt,
            joint: None,
            released: VecDeque::new(),
        }
    }

    /// The pieces of `expert`'s answer, and of whoever goes on with it.
    pub(super) fn guard(
        self,
        expert: ExpertId,
        pieces: AnswerStream,
        mut others: VecDeque<ExpertId>,
    ) -> AnswerStream {
        // When nobody else is left, the one that broke off is asked once more: streams break for reasons of the moment.
        others.push_back(expert);
        // Boxed, so that it is not moved for each chunk.
        let state = Box::new(State {
            recovery: self,
            pieces,
            others,
        });
        stream::try_unfold(state, |mut state| async move {
            let chunk = state.next().await?;
            Ok(chunk.map(|chunk| (chunk, state)))
        })
        .boxed()
    }
}

impl State {
    async fn next(&mut self) -> Result<Option<Chunk>, ExpertError> {
        loop {
            if let Some(chunk) = self.recovery.released.pop_front() {
                return Ok(Some(chunk));
            }
            let error = match self.pieces.next().await {
                Some(Ok(chunk)) => match self.recovery.take_in(chunk) {
                    Ok(Some(chunk)) => return Ok(Some(chunk)),
                    Ok(None) => continue,
                    Err(diverged) => diverged,
                },
                None => match self.recovery.end() {
                    Ok(()) => return Ok(None),
                    Err(diverged) => diverged,
                },
                Some(Err(error)) => error,
            };
            self.pieces = self.recovery.take_over(error, &mut self.others).await?;
        }
    }
}

impl Recovery {
    /// What is to be sent next, now that a chunk has come.
    fn take_in(&mut self, chunk: Chunk) -> Result<Option<Chunk>, ExpertError> {
        let Some(joint) = &mut self.joint else {
            self.delivered.saw(&chunk);
            return Ok(Some(chunk));
        };
        for chunk in joint.fit(chunk)? {
            let chunk = self.delivered.under_one_head(chunk);
            self.delivered.saw(&chunk);
            self.released.push_back(chunk);
        }
        Ok(self.released.pop_front())
    }

    fn end(&self) -> Result<(), ExpertError> {
        self.joint.as_ref().map_or(Ok(()), Joint::end)
    }

    /// Looks for somebody who goes on.
    ///
    /// # Errors
    /// What broke the answer off, where nobody does.
    async fn take_over(
        &mut self,
        broke: ExpertError,
        others: &mut VecDeque<ExpertId>,
    ) -> Result<AnswerStream, ExpertError> {
        let (kind, cause) = (broke.kind(), in_full(&broke));
        self.call.attempts.update(self.attempt, |attempt| {
            attempt.error = Some(kind.to_owned());
        });
        let next = broke.class().next(self.call.delivery.policy_refusals);
        let is_recoverable = next != Next::TellCaller && self.delivered.is_recoverable();
        while is_recoverable && let Some(other) = others.pop_front() {
            let experts = Arc::clone(&self.experts);
            let Some(member) = experts.member(other.as_str()) else {
                continue;
            };
            // Whoever broke off is burdened with a share of questions once more, as by a retry.
            if others.is_empty() && !member.retry_budget.withdraw() {
                break;
            }
            if let Some(pieces) = self.ask(member).await {
                tracing::info!(expert = %member.id, kind, "{} goes on with an answer that broke off: {cause}", member.id);
                return Ok(pieces);
            }
        }
        count("none", "");
        tracing::warn!(
            kind,
            "an answer broke off and nobody went on with it: {cause}"
        );
        Err(broke)
    }

    /// Asks one expert to go on: from what was delivered if it can, else from the beginning.
    async fn ask(&mut self, member: &Member) -> Option<AnswerStream> {
        if let Some((call, joint)) = self.continuing(member).await {
            match member.ask(&call).await {
                Ok(begun) => return self.joined(begun, joint, "continue"),
                // It may take the question, if not its beginning.
                Err(error) if error.class() == ErrorClass::BadRequest => {}
                Err(_) => return None,
            }
        }
        let call = self.call.in_role(Role::Splice);
        let joint = Joint::splice(&self.delivered);
        let begun = member.ask(&call).await.ok()?;
        self.joined(begun, joint, "splice")
    }

    /// The question with what was delivered as the beginning of its answer, where the expert and the route take that.
    async fn continuing(&self, member: &Member) -> Option<(Call, Joint)> {
        if self.call.delivery.stream_recovery != StreamRecovery::Continue
            || member.prefill == Prefill::None
        {
            return None;
        }
        let text = self.delivered.plain_text();
        let text = text.filter(|text| joint::can_be_continued(text))?;
        let (prefill, tokens) = (member.prefill, self.delivered.tokens());
        let (request, begun) = (Arc::clone(&self.call.request), text.to_owned());
        let write = move || prefill::request(&request, prefill, &begun, tokens);
        let request = heavy::apart(self.call.request.bytes(), write).await?;
        let call = self.call.in_role(Role::Continue).with(Arc::new(request));
        Some((call, Joint::continued(text)))
    }

    fn joined(&mut self, begun: Begun, joint: Joint, how: &'static str) -> Option<AnswerStream> {
        let Answer::Stream(pieces) = begun.answer else {
            return None;
        };
        count(how, begun.expert.as_str());
        self.call.attempts.answers(begun.attempt);
        self.attempt = begun.attempt;
        self.joint = Some(joint);
        Some(pieces)
    }
}

fn count(how: &'static str, expert: &str) {
    counter!("coterie_stream_recoveries_total", "how" => how, "expert" => expert.to_owned())
        .increment(1);
}

#[cfg(test)]
mod tests;
