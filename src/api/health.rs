//! Health and metrics.

use std::sync::atomic::Ordering;

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::ApiState;

/// The process lives.
pub(super) async fn live() -> &'static str {
    "ok\n"
}

/// Whether questions are taken, and by whom they would be answered.
pub(super) async fn ready(State(state): State<ApiState>) -> Response {
    let ready = state.ready.load(Ordering::Relaxed);
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = json!({
        "ready": ready,
        "router": state.app.composition.router().id(),
        "mapping": state.app.composition.mapping().id(),
        "experts": state.app.experts.all_health(),
        "uptime_s": state.started.elapsed().as_secs(),
        "version": env!("CARGO_PKG_VERSION"),
    });
    (status, Json(body)).into_response()
}

/// Prometheus' text format.
pub(super) async fn metrics(State(state): State<ApiState>) -> Response {
    state.app.publish_gauges();
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4")],
        state.metrics.render(),
    )
        .into_response()
}
