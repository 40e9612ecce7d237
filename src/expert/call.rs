//! One question on its way to experts.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{Attempts, Role};
use crate::{
    chat::ChatRequest,
    config::{Delivery, StreamRecovery},
};

/// What is asked, and how the answer is to be brought. Copies share the log of attempts.
#[derive(Clone, Debug)]
pub struct Call {
    /// The question.
    pub request: Arc<ChatRequest>,
    /// What its route wants.
    pub delivery: Arc<Delivery>,
    /// Which of an expert's endpoints it would rather go to: questions of one session to the same; none: any.
    pub session: Option<Affinity>,
    /// When nobody waits for the answer any more; none: whenever it comes.
    pub deadline: Option<Instant>,
    /// What experts are asked for.
    pub role: Role,
    /// What was tried.
    pub attempts: Attempts,
    /// Where it failed already.
    pub tried: Tried,
}

/// The session of a question, as far as endpoints are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Affinity {
    /// Which one.
    pub key: u64,
    /// Whether this is its first question, of which nothing is in a provider's cache yet.
    pub begins: bool,
}

/// Endpoints at which a question failed; copies share them.
#[derive(Clone, Debug, Default)]
pub struct Tried(Arc<Mutex<Vec<String>>>);

impl Tried {
    /// Takes note of one.
    pub(super) fn add(&self, endpoint: &str) {
        let mut tried = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !tried.iter().any(|known| known == endpoint) {
            tried.push(endpoint.to_owned());
        }
    }

    /// Whether it failed there.
    pub(super) fn contains(&self, endpoint: &str) -> bool {
        let tried = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tried.iter().any(|known| known == endpoint)
    }
}

impl Call {
    /// A question that belongs to no session and can wait.
    pub fn new(request: Arc<ChatRequest>, delivery: Arc<Delivery>) -> Self {
        Self {
            request,
            delivery,
            session: None,
            deadline: None,
            role: Role::Answer,
            attempts: Attempts::default(),
            tried: Tried::default(),
        }
    }

    /// The same conversation, asked for another reason, of one expert alone and once: somebody else stands behind it, so
    /// that nothing is retried, what breaks off is not recovered, and nobody is asked beside it.
    pub fn aside(&self, role: Role) -> Self {
        Self {
            role,
            delivery: Arc::new(Delivery {
                stream_recovery: StreamRecovery::Error,
                retries_max: Some(0),
                hedge_share: None,
                ..*self.delivery
            }),
            ..self.clone()
        }
    }

    /// The same with another request.
    pub fn with(&self, request: Arc<ChatRequest>) -> Self {
        Self {
            request,
            ..self.clone()
        }
    }

    /// The same with another role.
    pub fn in_role(&self, role: Role) -> Self {
        Self {
            role,
            ..self.clone()
        }
    }

    /// Time until nobody waits any more.
    pub(super) fn left(&self, now: Instant) -> Duration {
        self.deadline.map_or(Duration::MAX, |deadline| {
            deadline.saturating_duration_since(now)
        })
    }
}
