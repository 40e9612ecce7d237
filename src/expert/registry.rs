//! The experts by id, and the order in which they are tried for one question.

use std::{path::Path, sync::Arc, thread};

use metrics::counter;
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::{
    causes::in_full,
    chat::ChatRequest,
    config::{Capability, ExpertConfig, ExpertKind},
    expert::{
        Answer, Attempt, Expert, ExpertError, Gate,
        gate::Limits,
        local::{self, LocalExpert},
        remote::{Endpoint, RemoteExpert, SetupError},
    },
    ids::ExpertId,
};

/// The experts that are configured.
pub struct Experts {
    /// In the order of the configuration; few enough to be searched one by one.
    members: Vec<Member>,
}

struct Member {
    id: ExpertId,
    gate: Gate,
    capabilities: Vec<Capability>,
    /// The expert once more where it is remote: what embeds, if it can.
    remote: Option<Arc<RemoteExpert>>,
}

/// Who answers, and the answer.
pub struct Answered {
    /// The expert that began to answer.
    pub expert: ExpertId,
    /// Its answer, begun: the first token of a stream has come.
    pub answer: Answer,
}

/// A remote model that turns texts into vectors.
pub struct Embedder<'e> {
    gate: &'e Gate,
    remote: &'e RemoteExpert,
}

/// Why the experts cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A model in this process.
    #[error("expert `{expert}` cannot be loaded")]
    Local {
        /// Its id.
        expert: ExpertId,
        /// What is wrong with the model.
        source: local::LoadError,
    },
    /// An endpoint elsewhere.
    #[error("expert `{expert}` cannot be set up")]
    Remote {
        /// Its id.
        expert: ExpertId,
        /// What is wrong with the endpoint.
        source: SetupError,
    },
}

impl Experts {
    /// Opens every expert: sets up the remote ones, which connects to nothing, and loads the local ones side by side.
    /// Blocks until all are there.
    ///
    /// # Errors
    /// The first expert, in the order of the configuration, that cannot be opened.
    pub fn open(configs: &[ExpertConfig]) -> Result<Self, OpenError> {
        let members = thread::scope(|scope| {
            let opening: Vec<_> = configs
                .iter()
                .map(|config| scope.spawn(|| Member::open(config)))
                .collect();
            opening
                .into_iter()
                .map(|member| {
                    member
                        .join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                })
                .collect::<Result<_, _>>()
        })?;
        Ok(Self { members })
    }

    /// Asks `order`'s experts one after another until one begins to answer. Each try is in `attempts` from its start, so
    /// that it is known even if this future is dropped on the way. Nobody is asked twice.
    ///
    /// # Errors
    /// A refusal that is the request's own fault, at once. If all have failed: of those that said when to come back the
    /// soonest, else the last.
    pub async fn answer(
        &self,
        order: &[ExpertId],
        request: &Arc<ChatRequest>,
        attempts: &mut Vec<Attempt>,
    ) -> Result<Answered, ExpertError> {
        let mut told = NO_CHAT;
        for expert in order {
            let Some(gate) = self.chat_gate(expert) else {
                continue;
            };
            match attempt(gate, expert, request, attempts).await {
                Ok(answer) => {
                    let expert = expert.clone();
                    return Ok(Answered { expert, answer });
                }
                Err(error) if error.another_may_answer() => told = more_helpful(told, error),
                Err(error) => return Err(error),
            }
        }
        Err(told)
    }

    /// The ids of all experts, in the order of the configuration.
    pub fn ids(&self) -> impl Iterator<Item = &ExpertId> {
        self.members.iter().map(|member| &member.id)
    }

    /// An expert behind its limits.
    pub fn get(&self, id: &ExpertId) -> Option<&Gate> {
        self.member(id.as_str()).map(|member| &member.gate)
    }

    /// The remote embedding model of this id.
    pub fn embedder(&self, id: &str) -> Option<Embedder<'_>> {
        let member = self.member(id)?;
        if !member.capabilities.contains(&Capability::Embeddings) {
            return None;
        }
        Some(Embedder {
            gate: &member.gate,
            remote: member.remote.as_deref()?,
        })
    }

    /// Drops the experts and waits until the threads of the local ones have ended, without blocking the runtime.
    pub async fn shutdown(self) {
        let dropping = tokio::task::spawn_blocking(|| drop(self));
        if dropping.await.is_err() {
            tracing::warn!("a local expert's thread ended in a panic");
        }
    }

    fn chat_gate(&self, id: &ExpertId) -> Option<&Gate> {
        self.member(id.as_str())
            .filter(|member| member.capabilities.contains(&Capability::Chat))
            .map(|member| &member.gate)
    }

    fn member(&self, id: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.id.as_str() == id)
    }
}

impl Embedder<'_> {
    /// Answers an OpenAI embeddings request, behind the expert's limits.
    ///
    /// # Errors
    /// What keeps the provider from answering.
    pub async fn embed(&self, body: Map<String, Value>) -> Result<Map<String, Value>, ExpertError> {
        self.gate.run(self.remote.embed(body)).await
    }
}

/// What is told where nobody in the order answers conversations.
const NO_CHAT: ExpertError = ExpertError::Unsupported {
    what: "conversations",
    param: "model",
};

async fn attempt(
    gate: &Gate,
    expert: &ExpertId,
    request: &Arc<ChatRequest>,
    attempts: &mut Vec<Attempt>,
) -> Result<Answer, ExpertError> {
    let started = Instant::now();
    attempts.push(Attempt::begun(expert.clone()));
    let result = gate.answer(Arc::clone(request)).await;
    let failed = result.as_ref().err().map(ExpertError::kind);
    if let Some(attempt) = attempts.last_mut() {
        attempt.took = Some(started.elapsed());
        attempt.error = failed.map(str::to_owned);
    }
    counter!(
        "coterie_expert_attempts_total",
        "expert" => expert.to_string(),
        "result" => failed.unwrap_or("answered"),
    )
    .increment(1);
    if let Err(error) = &result {
        let cause = in_full(error);
        tracing::warn!(%expert, kind = error.kind(), "{expert} did not answer: {cause}");
    }
    result
}

/// Of two failures the one to tell: the sooner hint when to come back, else the later failure.
fn more_helpful(earlier: ExpertError, later: ExpertError) -> ExpertError {
    match (earlier.retry_after(), later.retry_after()) {
        (Some(first), Some(second)) if first < second => earlier,
        (Some(_), None) => earlier,
        _ => later,
    }
}

impl Member {
    fn open(config: &ExpertConfig) -> Result<Self, OpenError> {
        let (expert, remote): (Arc<dyn Expert>, _) = match &config.kind {
            ExpertKind::Local { model_file } => (Arc::new(open_local(config, model_file)?), None),
            ExpertKind::Remote {
                base_url,
                dialect,
                model,
                api_key,
            } => {
                let endpoint = Endpoint {
                    base_url: base_url.clone(),
                    dialect: *dialect,
                    model: model.clone(),
                    api_key: api_key.clone(),
                };
                let remote = Arc::new(open_remote(config, endpoint)?);
                (Arc::clone(&remote) as _, Some(remote))
            }
        };
        let limits = Limits {
            concurrent_max: match config.kind {
                ExpertKind::Local { .. } => 1,
                ExpertKind::Remote { .. } => config.concurrent_max,
            },
            queue_max: config.queue_max,
            timeouts: config.timeouts,
        };
        Ok(Self {
            gate: Gate::new(config.id.clone(), expert, limits),
            id: config.id.clone(),
            capabilities: config.capabilities.clone(),
            remote,
        })
    }
}

fn open_local(config: &ExpertConfig, model_file: &Path) -> Result<LocalExpert, OpenError> {
    // The gate lets one in at a time, but the worker notices only at its next token that a reader has left.
    let queue_max = config.queue_max.saturating_add(1);
    LocalExpert::load(
        config.id.clone(),
        model_file,
        config.context_tokens,
        queue_max,
    )
    .map_err(|source| OpenError::Local {
        expert: config.id.clone(),
        source,
    })
}

fn open_remote(config: &ExpertConfig, endpoint: Endpoint) -> Result<RemoteExpert, OpenError> {
    RemoteExpert::new(config.id.clone(), endpoint, config.timeouts.connect).map_err(|source| {
        OpenError::Remote {
            expert: config.id.clone(),
            source,
        }
    })
}

#[cfg(test)]
mod tests;
