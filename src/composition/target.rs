//! Model names: who is to answer under which.

use super::Undecided;
use crate::{
    config::{Capability, ExpertConfig},
    ids::{CategoryId, ExpertId},
    router::Router,
};

/// The model name under which the composition is served.
pub const MODEL_NAME: &str = "coterie";
/// Its other name, the one that peers use.
pub const MODEL_ALIAS: &str = "auto";

/// Who is to answer, by the model name that the client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `coterie`, `auto`: whoever the router and the mapping choose.
    Composition,
    /// `coterie/<category>`: whoever the mapping chooses for the category.
    Category(CategoryId),
    /// An expert's id.
    Expert(ExpertId),
}

/// The names of the configured experts.
pub(super) struct Names {
    /// Of those that answer conversations.
    experts: Vec<ExpertId>,
    /// Of those that do not.
    others: Vec<ExpertId>,
}

impl Names {
    pub(super) fn of(experts: &[ExpertConfig]) -> Self {
        let (chat, others): (Vec<_>, Vec<_>) = experts
            .iter()
            .partition(|expert| expert.capabilities.contains(&Capability::Chat));
        let ids = |experts: Vec<&ExpertConfig>| {
            let ids = experts.into_iter().map(|expert| expert.id.clone());
            ids.collect()
        };
        Self {
            experts: ids(chat),
            others: ids(others),
        }
    }

    /// Reads a model name; none if nothing is served under it. The categories are those of the `router`.
    pub(super) fn target(&self, router: &Router, model: &str) -> Option<Target> {
        if model == MODEL_NAME || model == MODEL_ALIAS {
            return Some(Target::Composition);
        }
        if let Some(category) = model
            .strip_prefix(MODEL_NAME)
            .and_then(|rest| rest.strip_prefix('/'))
        {
            let known = router
                .categories()
                .iter()
                .find(|known| known.as_str() == category);
            return known.cloned().map(Target::Category);
        }
        self.experts
            .iter()
            .find(|expert| expert.as_str() == model)
            .cloned()
            .map(Target::Expert)
    }

    /// Why nobody answers under a model name.
    pub(super) fn nobody(&self, router: &Router, model: &str) -> Undecided {
        let mut embed = self.others.iter().map(ExpertId::as_str);
        let embeds = model == router.encoder().name() || embed.any(|known| known == model);
        let model = model.to_owned();
        if embeds {
            Undecided::AnswersNothing { model }
        } else {
            Undecided::UnknownModel { model }
        }
    }
}
