//! An expert that writes cards.

use std::sync::Arc;

use super::{ask, prompt::Means, reply::Unusable, writing};
use crate::{
    chat::ChatRequest,
    config::{Delivery, ExpertConfig},
    expert::{Answer, Call, ExpertError, Experts, Role},
    ids::ExpertId,
};

/// An expert that writes cards.
pub struct Scribe {
    experts: Arc<Experts>,
    expert: ExpertId,
    delivery: Arc<Delivery>,
    means: Means,
}

/// Why there is no card.
#[derive(Debug, thiserror::Error)]
pub enum NoCard {
    /// The expert failed.
    #[error(transparent)]
    Expert(#[from] ExpertError),
    /// Its reply is none.
    #[error(transparent)]
    Unusable(#[from] Unusable),
}

impl Scribe {
    /// One of the experts.
    pub fn new(experts: Arc<Experts>, expert: &ExpertConfig, delivery: Arc<Delivery>) -> Self {
        Self {
            experts,
            expert: expert.id.clone(),
            delivery,
            means: ask::means(expert),
        }
    }

    /// Writes the card of what some questions have in common.
    ///
    /// # Errors
    /// The expert fails, or its reply is no card.
    pub async fn card(&self, questions: &[String]) -> Result<String, NoCard> {
        let mut body = writing::question(questions, self.means);
        body["model"] = self.expert.as_str().into();
        let request = ChatRequest::parse(body).map_err(|invalid| ExpertError::Model {
            detail: invalid.to_string(),
        })?;
        let call = Call::new(Arc::new(request), Arc::clone(&self.delivery)).in_role(Role::Route);
        let answered = self
            .experts
            .answer(std::slice::from_ref(&self.expert), &call)
            .await?;
        match answered.answer {
            Answer::Whole(completion) => Ok(writing::card_of(&completion, self.means)?),
            Answer::Stream(_) => Err(Unusable::Form.into()),
        }
    }
}
