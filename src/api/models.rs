//! `GET /v1/models`: the composition, its categories, the experts and the embedding models.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{Path, State, rejection::PathRejection},
    http::Uri,
};
use serde::Serialize;

use super::{ApiError, ApiState, auth::Caller};
use crate::{
    composition::{MODEL_ALIAS, MODEL_NAME},
    ids::{CategoryId, ExpertId, MappingId},
};

/// A model, with OpenAI's fields and what the mapping makes of it.
#[derive(Serialize)]
pub(super) struct Model {
    id: String,
    object: &'static str,
    created: i64,
    owned_by: &'static str,
    #[serde(flatten)]
    mapped: Mapped,
}

/// What the mapping in force makes of a model name, for a short question in plain text.
#[derive(Serialize)]
#[serde(untagged)]
enum Mapped {
    /// The composition: the mapping, and who answers what no category covers.
    Whole {
        mapping: MappingId,
        experts: Vec<ExpertId>,
    },
    /// A category: who answers it, in order, a cascade's first expert before the others.
    Category { experts: Vec<ExpertId> },
    /// An expert: the categories that it answers first, and those for which it stands by.
    Expert {
        categories: Vec<CategoryId>,
        fallback_of: Vec<CategoryId>,
    },
    /// Nothing: the mapping does not choose it.
    Nothing {},
}

#[derive(Serialize)]
pub(super) struct Models {
    object: &'static str,
    data: Vec<Model>,
}

/// All of them.
pub(super) async fn list(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
) -> Json<Models> {
    Json(Models {
        object: "list",
        data: all(&state, &caller),
    })
}

/// One of them.
pub(super) async fn one(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    id: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Json<Model>, ApiError> {
    // What is no UTF-8 is nobody's id, and is told as it was sent.
    let id = id.map_or_else(
        |_unreadable| uri.path().replacen("/models/", "", 1),
        |Path(id)| id,
    );
    let found = all(&state, &caller)
        .into_iter()
        .find(|model| model.id == id);
    found.map(Json).ok_or(ApiError::UnknownModel { model: id })
}

/// All of them, as the limits of whoever asks are now.
fn all(state: &ApiState, caller: &Caller) -> Vec<Model> {
    let composition = &state.app.composition;
    let (router, mapping) = (composition.router(), composition.mapping());
    let quota = state.app.quotas.of(caller.key_name.as_deref());
    let today = state.app.today(quota.map(Arc::as_ref));
    let created = state.started_at_s;
    let model = |id: &str, owned_by, mapped| Model {
        id: id.to_owned(),
        object: "model",
        created,
        owned_by,
        mapped,
    };
    let orders: Vec<Order<'_>> = router
        .categories()
        .iter()
        .map(|category| Order {
            category,
            first: mapping.listed_first(category, today),
            experts: mapping.listed(Some(category), today),
        })
        .collect();
    let whole = [MODEL_NAME, MODEL_ALIAS].map(|name| {
        let mapped = Mapped::Whole {
            mapping: mapping.id().clone(),
            experts: mapping.listed(None, today),
        };
        model(name, "coterie", mapped)
    });
    let categories = orders.iter().map(|order| {
        let mapped = Mapped::Category {
            experts: order.asked(),
        };
        let name = format!("{MODEL_NAME}/{}", order.category);
        model(&name, "coterie", mapped)
    });
    let experts = state.app.experts.ids();
    whole
        .into_iter()
        .chain(categories)
        .chain(experts.map(|id| model(id.as_str(), "expert", of_expert(id, &orders))))
        .chain([model(
            router.encoder().name(),
            "encoder",
            Mapped::Nothing {},
        )])
        .collect()
}

/// Who is asked about a category.
struct Order<'o> {
    category: &'o CategoryId,
    /// A cascade's first expert, whose answer may be taken.
    first: Option<ExpertId>,
    /// The category's own, in order.
    experts: Vec<ExpertId>,
}

impl Order<'_> {
    /// Everyone once, in order.
    fn asked(&self) -> Vec<ExpertId> {
        let others = self.experts.iter();
        let others = others.filter(|expert| self.first.as_ref() != Some(expert));
        self.first.iter().chain(others).cloned().collect()
    }
}

/// The categories whose order an expert is in. A cascade's first expert answers them, and so does the one behind it.
fn of_expert(expert: &ExpertId, orders: &[Order<'_>]) -> Mapped {
    let (mut categories, mut fallback_of) = (Vec::new(), Vec::new());
    for order in orders {
        let category = order.category.clone();
        let place = order.experts.iter().position(|asked| asked == expert);
        if order.first.as_ref() == Some(expert) || place == Some(0) {
            categories.push(category);
        } else if place.is_some() {
            fallback_of.push(category);
        }
    }
    Mapped::Expert {
        categories,
        fallback_of,
    }
}
