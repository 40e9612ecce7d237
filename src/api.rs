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
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use axum::{
    Router, middleware,
    routing::{get, post},
};
use metrics_exporter_prometheus::PrometheusHandle;

use crate::{app::App, clock, expert::ExpertError};
use error::ApiError;

/// What the handlers share. Every request clones it, so that it is behind one count.
pub type ApiState = Arc<Shared>;

/// The parts of [`ApiState`].
pub struct Shared {
    app: Arc<App>,
    metrics: PrometheusHandle,
    ready: Arc<AtomicBool>,
    started: Instant,
    started_at_s: i64,
}

impl Shared {
    /// Everything that the endpoints need; `ready` turns false when the server begins to shut down: no question is taken
    /// from then on.
    pub fn new(app: Arc<App>, metrics: PrometheusHandle, ready: Arc<AtomicBool>) -> ApiState {
        Arc::new(Self {
            app,
            metrics,
            ready,
            started: Instant::now(),
            started_at_s: clock::now_ms() / 1000,
        })
    }

    /// Refuses a question once the server shuts down: it would be cut off in the middle.
    fn refuse_unless_ready(&self) -> Result<(), ApiError> {
        if self.ready.load(Ordering::Relaxed) {
            Ok(())
        } else {
            Err(ExpertError::ShuttingDown.into())
        }
    }
}

/// Every endpoint. Each layer is paid for by every request, with a copy of all that is below it.
pub fn endpoints(state: ApiState) -> Router {
    let mut limited = Router::new()
        .route("/v1/chat/completions", post(chat::answer))
        .route("/v1/completions", post(completions::answer))
        .route("/v1/messages", post(messages::answer))
        .route("/v1/responses", post(responses::answer))
        .route("/v1/embeddings", post(embeddings::embed))
        .route("/v1/feedback", post(feedback::give));
    if !state.app.quotas.are_none() {
        limited = limited.route_layer(middleware::from_fn_with_state(state.clone(), quota::note));
    }
    let for_callers = limited
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*id}", get(models::one))
        .route("/v1/route", post(route::decide))
        .route_layer(middleware::from_fn_with_state(
            state.clone(),
            auth::require_key,
        ));
    Router::new()
        .merge(for_callers)
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .fallback(error::no_such_endpoint)
        .method_not_allowed_fallback(error::wrong_method)
        .layer(middleware::from_fn(dialect::tell_in_its_own))
        .with_state(state)
}
