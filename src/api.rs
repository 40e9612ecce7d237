//! The HTTP face: OpenAI's endpoints, Anthropic's and our own. The only module that knows status codes; the only place where
//! `axum::Router` is named.

mod answer;
mod auth;
mod batch;
mod body;
mod chat;
mod claim;
mod completions;
mod dialect;
mod embeddings;
mod error;
mod events;
mod feedback;
mod headers;
mod health;
mod messages;
mod models;
mod quota;
mod responses;
mod route;
mod sse;

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

use axum::{
    Router, middleware,
    routing::{get, post},
};
use metrics_exporter_prometheus::PrometheusHandle;
use tower_http::catch_panic::CatchPanicLayer;

use crate::{app::App, clock};
use error::ApiError;

/// What the handlers share.
#[derive(Clone)]
pub struct ApiState {
    app: Arc<App>,
    metrics: PrometheusHandle,
    ready: Arc<AtomicBool>,
    started: Instant,
    started_at_s: i64,
}

impl ApiState {
    /// Everything that the endpoints need; `ready` turns false when the server begins to shut down: no question is taken
    /// from then on.
    pub fn new(app: Arc<App>, metrics: PrometheusHandle, ready: Arc<AtomicBool>) -> Self {
        Self {
            app,
            metrics,
            ready,
            started: Instant::now(),
            started_at_s: clock::now_ms() / 1000,
        }
    }
}

/// Every endpoint.
pub fn endpoints(state: ApiState) -> Router {
    let if_open = middleware::from_fn_with_state(state.clone(), health::refuse_unless_ready);
    let mut limited = Router::new()
        .route("/chat/completions", post(chat::answer))
        .route("/completions", post(completions::answer))
        .route("/messages", post(messages::answer))
        .route("/responses", post(responses::answer))
        .route("/embeddings", post(embeddings::embed))
        .route_layer(if_open.clone())
        .route("/feedback", post(feedback::give));
    if !state.app.quotas.are_none() {
        limited = limited.route_layer(middleware::from_fn_with_state(state.clone(), quota::note));
    }
    let v1 = limited
        .route("/models", get(models::list))
        .route("/models/{*id}", get(models::one))
        .route("/route", post(route::decide).route_layer(if_open))
        .layer(middleware::from_fn_with_state(
            state.clone(),
            auth::require_key,
        ));
    Router::new()
        .nest("/v1", v1)
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .fallback(error::no_such_endpoint)
        .method_not_allowed_fallback(error::wrong_method)
        .layer(CatchPanicLayer::custom(error::panicked))
        .layer(middleware::from_fn(dialect::tell_in_its_own))
        .with_state(state)
}
