//! Bodies as JSON: bounded in size and in time, and every fault told in OpenAI's shape.

use std::time::{Duration, Instant};

use axum::{
    body::Bytes,
    extract::{FromRequest, Request, rejection::BytesRejection},
};
use serde_json::Value;
use tokio::time::timeout;

use super::{ApiError, ApiState};

/// How long a client may take to send its body: a slow sender must not hold a connection for ever.
const BODY_READ_MAX: Duration = Duration::from_secs(30);

/// A JSON body, and the moment at which its request came.
pub(super) struct JsonBody {
    /// What was sent.
    pub(super) value: Value,
    /// When the request's head had been read.
    pub(super) at: Instant,
}

impl FromRequest<ApiState> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, ApiError> {
        let at = Instant::now();
        let bytes = timeout(BODY_READ_MAX, Bytes::from_request(request, state))
            .await
            .map_err(|_elapsed| ApiError::BodyTooSlow {
                waited: BODY_READ_MAX,
            })?
            .map_err(|rejection| unread(&rejection, state.app.config.server.body_bytes_max))?;
        let value = serde_json::from_slice(&bytes).map_err(|error| ApiError::NotJson {
            detail: error.to_string(),
        })?;
        Ok(Self { value, at })
    }
}

fn unread(rejection: &BytesRejection, bytes_max: usize) -> ApiError {
    match rejection {
        BytesRejection::FailedToBufferBody(
            axum::extract::rejection::FailedToBufferBody::LengthLimitError(_),
        ) => ApiError::BodyTooLong { bytes_max },
        _ => ApiError::BodyUnread {
            detail: rejection.to_string(),
        },
    }
}
