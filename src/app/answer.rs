//! The path of one question, from the request to the beginning of its answer. `serve` and `ask` both walk it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::StreamExt;

use super::{App, caching::Caching, cancelled::UntilCancelled, cascade::Cascade};
use crate::{
    cache::{CacheUse, CacheWish},
    chat::{self, ChatRequest, Choices},
    composition::{Undecided, Wish},
    config::{Preference, Sticky},
    decision::{Decision, Explained, Reason},
    expert::{Affinity, Answer, Answered, Attempts, Call, ExpertError, Role},
    heavy,
    ids::ExpertId,
    instruction::{HEARD, Instructed},
    mapping::{Chance, Consent, Demand, Resting},
    outcome::{Ask, NoSlot, Reservations, Ticket},
    query::Query,
    quota::{Admitted, Estimate, OverQuota, Quota},
    session::{Claim, Held, Membership},
};

/// When a question came, and from whom.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The moment at which its first byte was read.
    pub at: Instant,
    /// Who asks, and in which session.
    pub claim: Claim,
    /// What counts for whoever asks; none leaves that to the mapping.
    pub prefer: Option<Preference>,
    /// Whether an answer that was given before will do.
    pub cache: CacheWish,
    /// Whether another expert than the mapping's may be tried out.
    pub explore: Consent,
}

/// An answer that has begun.
pub struct Reply {
    /// The id that feedback refers to.
    pub outcome_id: String,
    /// Where the question was sent and why.
    pub decision: Decision,
    /// Who answers.
    pub expert: ExpertId,
    /// What became of it at the cache; none where the cache has nothing to do with such a question.
    pub cache: Option<CacheUse>,
    /// Time from the request to the moment at which the first expert was asked.
    pub overhead: Duration,
    /// The answer; its ending is recorded by itself.
    pub answer: Answer,
}

/// Why a question is not answered.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The client has used up what it may use.
    #[error("{source}")]
    OverQuota {
        /// The field of the request that asks for the most of it.
        param: &'static str,
        /// What is used up.
        source: OverQuota,
    },
    /// There is no decision on it.
    #[error(transparent)]
    Undecided(#[from] Undecided),
    /// The outcome could not be promised a place in the record.
    #[error(transparent)]
    NoSlot(#[from] NoSlot),
    /// Every expert that was asked failed.
    #[error("{source}")]
    Expert {
        /// The record of the failure.
        outcome_id: String,
        /// The last failure.
        source: ExpertError,
    },
}

impl App {
    /// Decides, records and asks.
    ///
    /// # Errors
    /// Why there is no answer; unless the client's quota is used up, or there was no decision or no slot, the outcome is
    /// recorded.
    pub async fn answer(&self, request: ChatRequest, asked: Asked) -> Result<Reply, Refusal> {
        let quota = self.quota(&asked);
        let demand = Demand::of(&request);
        let admitted = match quota {
            Some(quota) => admit(quota, &request, &demand)?,
            None => Admitted::default(),
        };
        let slot = self.recorder.reserve().await?;
        let bytes = request.bytes();
        let (query, membership) = heavy::on(bytes, || {
            let query = Query::from_messages(&request.messages);
            (query, asked.claim.membership(&request))
        });
        let affinity = affinity(membership.as_ref());
        let membership = membership.filter(|_| asked.claim.sticky == Sticky::On);
        let tag = membership.as_ref().map(|it| self.sessions.tag(&it.key));
        let lot = lot(membership.as_ref()).unwrap_or_else(rand::random);
        let session = self.sticky(membership);
        let wish = self.wish(session.as_ref(), &request, &asked, quota);
        let wish = wish.drawing(rand::random()).by_lot(Some(lot));
        let ruled = self.composition.rule(&query, &request, demand, &wish);
        let (decision, reserved) = self.choose(ruled.await?, quota)?;
        count(&decision);
        if let Some(session) = session {
            self.keep(session, &decision, &asked);
        }
        let caching = heavy::on(bytes, || self.caching(&request, &asked, &decision));
        let ask = ask_of(&request, &query, asked.claim.client, tag);
        let reserved = Reservations {
            tokens: admitted.begin(),
            ..reserved
        };
        let ticket = slot
            .open(ask, decision.clone(), asked.at)
            .reserving(reserved);
        log_instruction(&ticket.attempts(), decision.instruction.as_ref());
        wish.tab.hand_over();
        self.show_to_shadow(ticket.id(), query, &decision);
        let choices = Choices::new(request.choices_wanted);
        let call = Call {
            session: affinity,
            attempts: ticket.attempts(),
            ..self.call(request, &decision, asked.at)
        };
        let asking = Instant::now();
        let answered = tokio::select! {
            answered = self.ask(&decision, &call, &caching) => answered,
            () = self.cancel.cancelled() => Err(ExpertError::ShuttingDown),
        };
        let overhead = asking.duration_since(asked.at);
        let outcome_id = ticket.id().to_owned();
        match answered {
            Ok(answered) => Ok(Reply {
                expert: answered.expert.clone(),
                cache: caching.used,
                answer: {
                    let role = call.attempts.role(answered.attempt);
                    let answered = caching.keep(self.cache.as_ref(), answered, role, &choices);
                    self.follow(ticket, answered, choices)
                },
                outcome_id,
                decision,
                overhead,
            }),
            Err(source) => {
                ticket.fail(&source);
                Err(Refusal::Expert { outcome_id, source })
            }
        }
    }

    /// Decides as [`answer`](Self::answer) would and tells why; nobody answers, and nothing is recorded or remembered but what the
    /// instruction tier was told.
    ///
    /// # Errors
    /// There is no decision.
    pub async fn explain(
        &self,
        request: &ChatRequest,
        asked: &Asked,
    ) -> Result<Explained, Undecided> {
        let membership = asked.claim.membership(request);
        let membership = membership.filter(|_| asked.claim.sticky == Sticky::On);
        let lot = lot(membership.as_ref());
        let session = self.sticky(membership);
        let quota = self.quota(asked);
        let wish = self.wish(session.as_ref(), request, asked, quota);
        let wish = Wish {
            today: self.today(quota),
            resting: self.resting(),
            ..wish.by_lot(lot)
        };
        self.composition.explain(request, &wish).await
    }

    /// Takes an answer that was given before, or asks whoever the decision names, a cascade's first expert before them.
    async fn ask(
        &self,
        decision: &Decision,
        call: &Call,
        caching: &Caching,
    ) -> Result<Answered, ExpertError> {
        if let Some(answered) = caching.hit(&call.attempts) {
            return Ok(answered);
        }
        if let Some(config) = &decision.grounds.cascade {
            let cascade = Cascade {
                experts: &self.experts,
                config,
                call,
            };
            if let Some(answered) = cascade.first().await {
                return Ok(answered);
            }
        }
        self.experts.answer(&decision.order(), call).await
    }

    /// The question on its way to experts, delivered as its route wants.
    fn call(&self, request: ChatRequest, decision: &Decision, asked_at: Instant) -> Call {
        let delivery = self.config.delivery.of(decision.category.as_ref());
        let total = delivery.timeouts.total;
        Call {
            deadline: total.map(|total| (asked_at + total).into()),
            ..Call::new(Arc::new(request), Arc::clone(delivery))
        }
    }

    /// Experts that are left alone for now.
    pub(super) fn resting(&self) -> Vec<Resting> {
        let resting = self.experts.resting().into_iter();
        resting
            .map(|(expert, retry_in)| Resting { expert, retry_in })
            .collect()
    }

    /// What the client may use.
    fn quota(&self, asked: &Asked) -> Option<&Quota> {
        let quota = self.quotas.of(asked.claim.client.as_deref());
        quota.map(Arc::as_ref)
    }

    /// The session that a question may stay with.
    fn sticky(&self, session: Option<Membership>) -> Option<Membership> {
        match self.config.router.sticky {
            Sticky::On => session,
            Sticky::Off => None,
        }
    }

    fn wish(
        &self,
        session: Option<&Membership>,
        request: &ChatRequest,
        asked: &Asked,
        quota: Option<&Quota>,
    ) -> Wish {
        let session = session.filter(|session| !session.begins);
        let held = session.and_then(|session| self.sessions.held(&session.key, asked.at));
        // Whoever answered before has read the conversation already, and another would answer in another voice.
        let has_answers = || {
            request
                .messages
                .iter()
                .any(|it| it.role == chat::Role::Assistant)
        };
        let chance = if asked.explore == Consent::Refused || held.is_some() || has_answers() {
            Chance::None
        } else {
            Chance::Told
        };
        // Only a session asks who is there before it is known who is wanted.
        let (today, resting) = match &held {
            Some(_) => (self.today(quota), self.resting()),
            None => Default::default(),
        };
        Wish {
            today,
            resting,
            held,
            prefer: asked.prefer,
            chance,
            lot: None,
            tab: Arc::new(self.tab(quota)),
        }
    }

    /// Remembers a category that the question was routed to; where the router was unsure, the session is as it was.
    fn keep(&self, session: Membership, decision: &Decision, asked: &Asked) {
        if let (Some(category), Reason::Routed | Reason::Stayed { .. }) =
            (&decision.category, &decision.reason)
        {
            let held = Held {
                category: category.clone(),
                probability: decision.confidence,
            };
            self.sessions.keep(session.key, held, asked.at);
        }
    }

    /// Ties the outcome to the answer, and the answer to the server's life.
    fn follow(&self, ticket: Ticket, answered: Answered, choices: Choices) -> Answer {
        ticket.attempts().answers(answered.attempt);
        match answered.answer {
            Answer::Whole(completion) => {
                ticket.complete(&completion);
                Answer::Whole(completion)
            }
            Answer::Stream(pieces) => {
                let pieces = ticket.watch(pieces, choices);
                Answer::Stream(UntilCancelled::new(pieces, self.cancel.clone()).boxed())
            }
        }
    }
}

/// By what an endpoint is chosen; none where nothing tells the session.
fn affinity(membership: Option<&Membership>) -> Option<Affinity> {
    membership.map(|session| Affinity {
        key: session.key.hash64(),
        begins: session.begins,
    })
}

/// By what a session is drawn for a canary; none where nothing tells the session.
fn lot(membership: Option<&Membership>) -> Option<u64> {
    membership.map(|session| session.key.hash64())
}

/// What is recorded of a question before its decision.
fn ask_of(
    request: &ChatRequest,
    query: &Query,
    key_name: Option<String>,
    session: Option<String>,
) -> Ask {
    Ask {
        key_name,
        model: request.model.clone(),
        streamed: request.stream,
        question: Some(query.likelier_reading().to_owned()),
        session,
    }
}

/// Takes what a request may use of its client's quota.
fn admit(quota: &Quota, request: &ChatRequest, demand: &Demand) -> Result<Admitted, Refusal> {
    let estimate = Estimate {
        prompt_tokens: demand.prompt_tokens,
        answer_tokens: demand.answers_tokens(),
    };
    quota.admit(estimate).map_err(|source| {
        let param = match source {
            OverQuota::TooLarge { per_minute, .. }
                if demand.prompt_tokens > u64::from(per_minute) =>
            {
                "messages"
            }
            _ => request.answer_tokens_field(),
        };
        Refusal::OverQuota { param, source }
    })
}

/// What was asked about the question is paid for with it.
fn log_instruction(attempts: &Attempts, instructed: Option<&Instructed>) {
    let Some(instructed) = instructed.filter(|instructed| instructed.was_asked()) else {
        return;
    };
    let attempt = attempts.begin(instructed.expert.clone(), Role::Route);
    attempts.update(attempt, |attempt| {
        attempt.sent = true;
        attempt.took = Some(Duration::from_micros(instructed.took_us));
        attempt.usage = instructed.usage;
        let failed = (instructed.result != HEARD).then(|| instructed.result.to_owned());
        // A reply that means nothing is paid for like any other.
        match instructed.usage {
            Some(_) => attempt.rejected = failed,
            None => attempt.error = failed,
        }
    });
}

fn count(decision: &Decision) {
    let category = decision
        .category
        .as_ref()
        .map_or("", |category| category.as_str());
    metrics::counter!(
        "coterie_decisions_total",
        "category" => category.to_owned(),
        "reason" => decision.reason.kind(),
    )
    .increment(1);
    if decision.grounds.explored {
        let expert = decision.expert.to_string();
        metrics::counter!("coterie_explored_total", "expert" => expert).increment(1);
    }
    for passed_over in &decision.grounds.passed_over {
        metrics::counter!(
            "coterie_experts_passed_over_total",
            "expert" => passed_over.expert.to_string(),
            "limit" => passed_over.limit.kind(),
        )
        .increment(1);
    }
    // Where nothing was classified, nothing was decided that takes time.
    if !decision.scores.is_empty() {
        metrics::histogram!("coterie_decision_seconds").record(decision.took);
    }
}
