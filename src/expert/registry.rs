//! The experts by id.

use std::{collections::VecDeque, path::Path, sync::Arc, thread, time::Duration};

use metrics::gauge;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    Expert, ExpertError, Gate,
    gate::Limits,
    local::{self, LocalExpert},
    pool::{EndpointState, Pool},
    remote::{Clocks, Endpoint, RemoteExpert, SetupError},
    retry::Budget,
    seats::Concurrency,
};
#[cfg(test)]
use crate::config::{BreakerConfig, Timeouts};
use crate::{
    config::{
        Capability, DeliveryConfig, ExpertConfig, ExpertKind, Prefill, RemoteConfig, Retries,
    },
    ids::ExpertId,
};

/// The experts that are configured.
pub struct Experts {
    /// In the order of the configuration; few enough to be searched one by one.
    pub(super) members: Vec<Member>,
}

pub(super) struct Member {
    pub(super) id: ExpertId,
    pub(super) gate: Gate,
    pub(super) capabilities: Vec<Capability>,
    /// Most tokens of conversation and answer together; none: unknown.
    pub(super) context_tokens: Option<u32>,
    pub(super) retries: Retries,
    pub(super) retry_budget: Budget,
    pub(super) hedge_budget: Budget,
    pub(super) prefill: Prefill,
}

/// A remote model that turns texts into vectors.
pub struct Embedder<'e>(&'e Member);

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
    /// Opens every expert, to be asked as `delivery` has it: sets up the remote ones, which connects to nothing, and loads the
    /// local ones side by side. Blocks until all are there.
    ///
    /// # Errors
    /// The first expert, in the order of the configuration, that cannot be opened.
    pub fn open(
        configs: &[ExpertConfig],
        delivery: &DeliveryConfig,
    ) -> Result<Arc<Self>, OpenError> {
        let members = thread::scope(|scope| {
            let opening: Vec<_> = configs
                .iter()
                .map(|config| scope.spawn(|| Member::open(config, delivery)))
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
        Ok(Arc::new(Self { members }))
    }

    /// The ids of all experts, in the order of the configuration.
    pub fn ids(&self) -> impl Iterator<Item = &ExpertId> {
        self.members.iter().map(|member| &member.id)
    }

    /// How all experts fare, in the order of the configuration.
    pub fn all_health(&self) -> Vec<Health> {
        self.members.iter().map(Member::health).collect()
    }

    /// Experts that are left alone for a while, each with the time until it is tried again.
    pub fn resting(&self) -> Vec<(ExpertId, Duration)> {
        let resting = |member: &Member| Some((member.id.clone(), member.gate.closed_for()?));
        self.members.iter().filter_map(resting).collect()
    }

    /// The remote embedding model of this id.
    pub fn embedder(&self, id: &str) -> Option<Embedder<'_>> {
        let member = self.member(id)?;
        if !member.capabilities.contains(&Capability::Embeddings) {
            return None;
        }
        Some(Embedder(member))
    }

    /// Sets the gauges that are not kept up to date by events: what each endpoint's breaker does, and how many answers each
    /// expert may have under way.
    pub fn publish_gauges(&self) {
        for health in self.all_health() {
            let expert = health.expert.to_string();
            gauge!("coterie_expert_concurrent_max", "expert" => expert.clone())
                .set(health.concurrent_max as f64);
            for state in health.endpoints {
                let labels = [("expert", expert.clone()), ("endpoint", state.endpoint)];
                gauge!("coterie_expert_circuit", &labels).set(state.circuit.level());
            }
        }
    }

    /// Drops the experts and waits until the threads of the local ones have ended, without blocking the runtime.
    pub async fn shutdown(self: Arc<Self>) {
        let dropping = tokio::task::spawn_blocking(|| drop(self));
        if dropping.await.is_err() {
            tracing::warn!("a local expert's thread ended in a panic");
        }
    }

    /// Those of an order that hold conversations.
    pub(super) fn who_chat<'m>(&'m self, order: &[ExpertId]) -> VecDeque<&'m Member> {
        let chat = |id: &ExpertId| {
            self.member(id.as_str())
                .filter(|member| member.capabilities.contains(&Capability::Chat))
        };
        order.iter().filter_map(chat).collect()
    }

    pub(super) fn member(&self, id: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.id.as_str() == id)
    }
}

impl Embedder<'_> {
    /// Answers an OpenAI embeddings request, behind the expert's limits, by whichever of its endpoints does.
    ///
    /// # Errors
    /// What keeps the provider from answering.
    pub async fn embed(
        &self,
        body: &Map<String, Value>,
    ) -> Result<Map<String, Value>, ExpertError> {
        self.0.embed(body).await
    }
}

/// How an expert fares.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Health {
    /// Which.
    pub expert: ExpertId,
    /// Answers that may be under way at once, now.
    pub concurrent_max: usize,
    /// Each of its endpoints.
    pub endpoints: Vec<EndpointState>,
}

impl Member {
    fn open(config: &ExpertConfig, delivery: &DeliveryConfig) -> Result<Self, OpenError> {
        let (endpoints, concurrency) = match &config.kind {
            ExpertKind::Local { model_file } => {
                let expert: Arc<dyn Expert> = Arc::new(open_local(config, model_file)?);
                (vec![(String::new(), expert)], Concurrency::Fixed(1))
            }
            ExpertKind::Remote(remote) => {
                let concurrency = config
                    .concurrent_max
                    .map_or(Concurrency::Adaptive, Concurrency::Fixed);
                (open_remote(config, remote, delivery)?, concurrency)
            }
        };
        let limits = Limits {
            concurrency,
            queue_max: config.queue_max,
            timeouts: config.timeouts,
        };
        let pool = Pool::new(endpoints, config.breaker);
        Ok(Self {
            gate: Gate::new(config.id.clone(), pool, limits),
            id: config.id.clone(),
            capabilities: config.capabilities.clone(),
            context_tokens: config.context_tokens,
            retries: config.retries,
            retry_budget: Budget::new(),
            hedge_budget: Budget::empty(),
            prefill: config.prefill,
        })
    }

    fn health(&self) -> Health {
        Health {
            expert: self.id.clone(),
            concurrent_max: self.gate.concurrent_max(),
            endpoints: self.gate.states(),
        }
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

/// Each of an expert's endpoints, with the name by which people know it.
type Endpoints = Vec<(String, Arc<dyn Expert>)>;

fn open_remote(
    config: &ExpertConfig,
    remote: &RemoteConfig,
    delivery: &DeliveryConfig,
) -> Result<Endpoints, OpenError> {
    let usual = config.timeouts.connect;
    let clocks = Clocks {
        usual: config.timeouts,
        connect_max: delivery.connect_max().map_or(usual, |it| it.max(usual)),
    };
    let places = remote.places.iter();
    let opened = places.map(|place| {
        let endpoint = Endpoint {
            base_url: place.base_url.clone(),
            dialect: remote.dialect,
            model: remote.model.clone(),
            api_key: place.api_key.clone(),
        };
        let expert = RemoteExpert::new(config.id.clone(), endpoint, clocks);
        let expert = expert.map_err(|source| OpenError::Remote {
            expert: config.id.clone(),
            source,
        })?;
        Ok((place.base_url.to_string(), Arc::new(expert) as _))
    });
    opened.collect()
}

#[cfg(test)]
impl Member {
    /// A member for tests: an expert with clocks of ten seconds that takes as much at once as anybody asks.
    pub(super) fn scripted(id: &str, expert: Arc<dyn Expert>) -> Self {
        let second = Duration::from_secs(1);
        let limits = Limits {
            concurrency: Concurrency::Fixed(100),
            queue_max: 0,
            timeouts: Timeouts {
                connect: second,
                first_token: 10 * second,
                idle: 10 * second,
                total: 100 * second,
            },
        };
        let pool = Pool::new([(String::new(), expert)], BreakerConfig::default());
        let id = ExpertId::new(id);
        Self {
            gate: Gate::new(id.clone(), pool, limits),
            id,
            capabilities: vec![Capability::Chat],
            context_tokens: None,
            retries: Retries::default(),
            retry_budget: Budget::new(),
            hedge_budget: Budget::empty(),
            prefill: Prefill::None,
        }
    }
}
