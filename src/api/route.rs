//! `POST /v1/route`: the decision and its reasons, without an answer. Takes what chat takes, or `{"text": …}`.

use axum::{Json, extract::State};

use super::{ApiError, ApiState, body::JsonBody, claim::SessionClaim};
use crate::{app::Asked, composition, decision::Explained};

/// Decides, and tells why.
pub(super) async fn decide(
    State(state): State<ApiState>,
    SessionClaim(claim): SessionClaim,
    body: JsonBody,
) -> Result<Json<Explained>, ApiError> {
    let request = composition::dry_run(body.value)?;
    let asked = Asked { at: body.at, claim };
    Ok(Json(state.app.explain(&request, &asked).await?))
}
