//! The order in which experts are tried for one question, and how often each.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use metrics::counter;
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep};

use super::{
    Answer, AttemptId, Call, ErrorClass, ExpertError, Experts, Next, Tried, Why,
    recovery::Recovery,
    registry::Member,
    retry::{after_pause, wait_here},
};
use crate::{
    causes::in_full,
    config::{Delivery, StreamRecovery},
    ids::ExpertId,
};

/// Who answers, and the answer.
pub struct Answered {
    /// The expert that began to answer.
    pub expert: ExpertId,
    /// Its attempt.
    pub attempt: AttemptId,
    /// Its answer, begun: the first token of a stream has come.
    pub answer: Answer,
}

/// An answer that an attempt began.
pub(super) struct Begun {
    pub(super) expert: ExpertId,
    pub(super) attempt: AttemptId,
    pub(super) answer: Answer,
}

/// What is told where nobody in the order answers conversations.
const NO_CHAT: ExpertError = ExpertError::Unsupported {
    what: "conversations",
    param: "model",
};

/// Endpoints of one expert to which a question is handed on after failures: enough for a few that are down at once.
const ENDPOINT_TRIES_MAX: u32 = 3;

/// A failure, and whose it is.
struct Failure<'m> {
    member: Option<&'m Member>,
    error: ExpertError,
}

impl Experts {
    /// Asks `order`'s experts one after another until one begins to answer, each as often as its retries allow; those that
    /// are left alone for being slow come last. A stream that breaks off later goes on as the route's `stream_recovery` says. Each try is in the call's attempts from its
    /// start, so that it is known even if this future is dropped on the way.
    ///
    /// # Errors
    /// What the caller is to know at once. If all have failed: of those that said when to come back the soonest, else the
    /// last that may pass, else the last.
    pub async fn answer(
        self: &Arc<Self>,
        order: &[ExpertId],
        call: &Call,
    ) -> Result<Answered, ExpertError> {
        let mut members = self.who_chat(order);
        // Slow is better than nothing, and anything is better than slow.
        members
            .make_contiguous()
            .sort_by_key(|member| member.gate.is_slow());
        let mut told = Failure {
            member: None,
            error: NO_CHAT,
        };
        let mut context_above = 0;
        while let Some(member) = members.pop_front() {
            if !member.reads_more_than(context_above) {
                continue;
            }
            let hedge = members.front().copied();
            let hedge = hedge.filter(|hedge| hedge.reads_more_than(context_above));
            let (asked, hedged) = self.ask_or_hedge(member, hedge, call).await;
            if hedged && let Some(hedge) = members.pop_front() {
                // It had its turn. Where it answers, the first may still go on with what breaks off.
                members.extend(
                    asked
                        .is_ok()
                        .then_some(member)
                        .filter(|it| it.id != hedge.id),
                );
            }
            match asked {
                Ok(begun) => return Ok(self.answered(begun, members, call)),
                Err(error) => {
                    match error.class().next(call.delivery.policy_refusals) {
                        Next::TellCaller => return Err(error),
                        Next::LongerContext => {
                            context_above = context_above.max(member.context_of(&error));
                        }
                        Next::RetryHere | Next::AnotherExpert => {}
                    }
                    let member = Some(member);
                    told = more_helpful(told, Failure { member, error });
                }
            }
            if call.left(Instant::now()).is_zero() {
                break;
            }
        }
        let begun = self.last_resort(told, call).await?;
        Ok(self.answered(begun, members, call))
    }

    /// Nobody else can be asked: whoever said to come back soon is asked once more, then.
    async fn last_resort(&self, told: Failure<'_>, call: &Call) -> Result<Begun, ExpertError> {
        let (Some(member), Some(wait)) = (told.member, told.error.retry_after()) else {
            return Err(told.error);
        };
        // A pause that the provider wants ends, whoever heard of it first. A full queue or an outage may not.
        let is_the_providers = match &told.error {
            ExpertError::CircuitOpen { why, .. } => *why == Why::AskedTo,
            error => error.class() != ErrorClass::Resting,
        };
        let retries_max = call.delivery.retries_max.unwrap_or(member.retries.max);
        let is_short = wait <= member.retries.retry_after_max;
        let wait = after_pause(&member.retries, wait, 0);
        let is_worth_it = is_short && wait < call.left(Instant::now()) && retries_max > 0;
        if !is_the_providers || !is_worth_it || !member.retry_budget.withdraw() {
            return Err(told.error);
        }
        member.count_retry();
        sleep(wait).await;
        member.attempt(call).await
    }

    fn answered(
        self: &Arc<Self>,
        begun: Begun,
        others: VecDeque<&Member>,
        call: &Call,
    ) -> Answered {
        let (expert, attempt) = (begun.expert.clone(), begun.attempt);
        let answer = match begun.answer {
            Answer::Stream(pieces) if call.delivery.stream_recovery != StreamRecovery::Error => {
                let others = others.iter().map(|member| member.id.clone()).collect();
                let recovery = Recovery::new(Arc::clone(self), call.clone(), begun.attempt);
                Answer::Stream(recovery.guard(begun.expert, pieces, others))
            }
            answer => answer,
        };
        Answered {
            expert,
            attempt,
            answer,
        }
    }
}

impl Member {
    /// Asks the expert, and asks again where its failure and its budget allow.
    pub(super) async fn ask(&self, call: &Call) -> Result<Begun, ExpertError> {
        self.retry_budget.deposit(self.retries.budget);
        let mut tries_before = 0;
        loop {
            let error = match self.attempt(call).await {
                Ok(begun) => return Ok(begun),
                Err(error) => error,
            };
            let wait = self.wait_for_another_try(&error, &call.tried, &call.delivery, tries_before);
            let wait = wait.filter(|wait| *wait < call.left(Instant::now()));
            self.wait_or_give_up(wait, error).await?;
            tries_before += 1;
        }
    }

    /// Turns texts into vectors, and tries again likewise.
    pub(super) async fn embed(
        &self,
        body: &Map<String, Value>,
    ) -> Result<Map<String, Value>, ExpertError> {
        self.retry_budget.deposit(self.retries.budget);
        let (tried, delivery) = (Tried::default(), Delivery::default());
        let mut tries_before = 0;
        loop {
            let error = match self.gate.embed(body, &tried).await {
                Ok(embedded) => return Ok(embedded),
                Err(error) => error,
            };
            let wait = self.wait_for_another_try(&error, &tried, &delivery, tries_before);
            self.wait_or_give_up(wait, error).await?;
            tries_before += 1;
        }
    }

    /// How long to wait before the expert is asked again after a failure; none where that is no use.
    fn wait_for_another_try(
        &self,
        error: &ExpertError,
        tried: &Tried,
        delivery: &Delivery,
        tries_before: u32,
    ) -> Option<Duration> {
        let class = error.class();
        // Another endpoint of the same model is the same expert, without a wait.
        if class.blames_the_endpoint()
            && self.gate.has_untried(tried)
            && tries_before < ENDPOINT_TRIES_MAX
        {
            return Some(Duration::ZERO);
        }
        let retries_max = delivery.retries_max.unwrap_or(self.retries.max);
        let is_for_here = class.next(delivery.policy_refusals) == Next::RetryHere;
        if !is_for_here || tries_before >= retries_max {
            return None;
        }
        wait_here(&self.retries, error, tries_before)
    }

    /// Waits before another try, if there is to be one and the budget pays for it.
    async fn wait_or_give_up(
        &self,
        wait: Option<Duration>,
        error: ExpertError,
    ) -> Result<(), ExpertError> {
        let Some(wait) = wait.filter(|_| self.retry_budget.withdraw()) else {
            return Err(error);
        };
        self.count_retry();
        if !wait.is_zero() {
            sleep(wait).await;
        }
        Ok(())
    }

    /// Asks the expert once.
    pub(super) async fn attempt(&self, call: &Call) -> Result<Begun, ExpertError> {
        let started = Instant::now();
        let attempt = call.attempts.begin(self.id.clone(), call.role);
        let result = self.gate.answer(call, attempt).await;
        let failed = result.as_ref().err().map(ExpertError::kind);
        call.attempts.update(attempt, |attempt| {
            attempt.took = Some(started.elapsed());
            attempt.error = failed.map(str::to_owned);
        });
        counter!(
            "coterie_expert_attempts_total",
            "expert" => self.id.to_string(),
            "result" => failed.unwrap_or("answered"),
        )
        .increment(1);
        if let Err(error) = &result {
            self.log(error);
        }
        Ok(Begun {
            expert: self.id.clone(),
            attempt,
            answer: result?,
        })
    }

    fn log(&self, error: &ExpertError) {
        let (expert, kind, cause) = (&self.id, error.kind(), in_full(error));
        if error.class() == ErrorClass::Resting {
            // The failures that led to it were told.
            tracing::debug!(%expert, kind, "{expert} was not asked: {cause}");
        } else {
            tracing::warn!(%expert, kind, "{expert} did not answer: {cause}");
        }
    }

    fn count_retry(&self) {
        counter!("coterie_expert_retries_total", "expert" => self.id.to_string()).increment(1);
    }

    /// Whether it may hold a conversation that was too long for one that reads so many tokens. What is not known may.
    fn reads_more_than(&self, context_tokens: u32) -> bool {
        self.context_tokens
            .is_none_or(|tokens| tokens > context_tokens)
    }

    /// What a conversation that was too long for this expert is longer than, in tokens.
    fn context_of(&self, error: &ExpertError) -> u32 {
        match error {
            ExpertError::ContextTooLong { context_tokens, .. } => {
                u32::try_from(*context_tokens).unwrap_or(u32::MAX)
            }
            _ => self.context_tokens.unwrap_or(0),
        }
    }
}

/// Of two failures the one to tell: the sooner hint when to come back, else what may pass, else the later failure.
fn more_helpful<'m>(earlier: Failure<'m>, later: Failure<'m>) -> Failure<'m> {
    let may_pass = |failure: &Failure<'_>| {
        let class = failure.error.class();
        !matches!(class, ErrorClass::Unable | ErrorClass::ContextTooLong)
    };
    if may_pass(&earlier) && !may_pass(&later) {
        return earlier;
    }
    match (earlier.error.retry_after(), later.error.retry_after()) {
        (Some(first), Some(second)) if first < second => earlier,
        (Some(_), None) => earlier,
        _ => later,
    }
}

#[cfg(test)]
mod tests;
