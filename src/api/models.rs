//! `GET /v1/models`: the composition, its categories, the experts and the embedding models.

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    http::Uri,
};
use serde::Serialize;

use super::{ApiError, ApiState};
use crate::composition::{MODEL_ALIAS, MODEL_NAME};

#[derive(Serialize)]
pub(super) struct Model {
    id: String,
    object: &'static str,
    created: i64,
    owned_by: &'static str,
}

#[derive(Serialize)]
pub(super) struct Models {
    object: &'static str,
    data: Vec<Model>,
}

/// All of them.
pub(super) async fn list(State(state): State<ApiState>) -> Json<Models> {
    Json(Models {
        object: "list",
        data: all(&state),
    })
}

/// One of them.
pub(super) async fn one(
    State(state): State<ApiState>,
    id: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Json<Model>, ApiError> {
    // What is no UTF-8 is nobody's id, and is told as it was sent.
    let id = id.map_or_else(
        |_unreadable| uri.path().replacen("/models/", "", 1),
        |Path(id)| id,
    );
    let found = all(&state).into_iter().find(|model| model.id == id);
    found.map(Json).ok_or(ApiError::UnknownModel { model: id })
}

fn all(state: &ApiState) -> Vec<Model> {
    let router = state.app.composition.router();
    let created = state.started_at_s;
    let model = |id: String, owned_by| Model {
        id,
        object: "model",
        created,
        owned_by,
    };
    let composition = [MODEL_NAME, MODEL_ALIAS].map(|name| model(name.to_owned(), "coterie"));
    let categories = router
        .categories()
        .iter()
        .map(|category| format!("{MODEL_NAME}/{category}"));
    let experts = state.app.experts.ids();
    composition
        .into_iter()
        .chain(categories.map(|id| model(id, "coterie")))
        .chain(experts.map(|id| model(id.to_string(), "expert")))
        .chain([model(router.encoder().name().to_owned(), "encoder")])
        .collect()
}
