//! Bodies as JSON: bounded in size and in time, and every fault told in OpenAI's shape.

use std::time::{Duration, Instant};

use axum::{
    body::{Body, BodyDataStream},
    extract::{FromRequest, Request},
};
use futures_util::StreamExt;
use hyper::body::Body as _;
use serde_json::Value;
use tokio::time::timeout;

use super::{ApiError, ApiState};
use crate::heavy;

/// How long a client may take to send its body: a slow sender must not hold a connection for ever.
const BODY_READ_MAX: Duration = Duration::from_secs(30);

/// How much of a body that is too long is still read, and thrown away. A client that is refused while it sends sees a
/// broken connection instead of the reason; beyond this, it has to live with that.
const DISCARDED_BYTES_MAX: usize = 64 << 20;

/// Most lists and objects in each other that `serde_json` reads, and how it says that there are more.
const LEVELS_MAX: usize = 127;
const TOO_DEEP: &str = "recursion limit exceeded";

/// A JSON body, and the moment at which its request came.
pub(super) struct JsonBody {
    /// What was sent.
    pub(super) value: Value,
    /// When the request's head had been read.
    pub(super) at: Instant,
    bytes: usize,
}

impl JsonBody {
    /// Makes of it what it stands for; of a long one, others go on meanwhile.
    pub(super) fn read<T: Send>(self, parse: impl FnOnce(Value) -> T + Send) -> T {
        heavy::on(self.bytes, || parse(self.value))
    }
}

impl FromRequest<ApiState> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, ApiError> {
        let at = Instant::now();
        let bytes_max = state.app.config.server.body_bytes_max;
        let bytes = timeout(BODY_READ_MAX, read(request.into_body(), bytes_max))
            .await
            .map_err(|_elapsed| ApiError::BodyTooSlow {
                waited: BODY_READ_MAX,
            })??;
        let value = heavy::on(bytes.len(), || parse(&bytes))?;
        Ok(Self {
            value,
            at,
            bytes: bytes.len(),
        })
    }
}

fn parse(bytes: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(bytes).map_err(|error| {
        let detail = error.to_string();
        if detail.starts_with(TOO_DEEP) {
            ApiError::BodyTooDeep {
                levels_max: LEVELS_MAX,
            }
        } else {
            ApiError::NotJson { detail }
        }
    })
}

async fn read(body: Body, bytes_max: usize) -> Result<Vec<u8>, ApiError> {
    // What is told of the length is not believed beyond what is read anyway, and takes no memory before there is something in it.
    let told = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(told.min(bytes_max)).ok();
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| ApiError::BodyUnread {
            detail: error.to_string(),
        })?;
        if bytes.len() + piece.len() > bytes_max {
            discard(pieces).await;
            return Err(ApiError::BodyTooLong { bytes_max });
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

async fn discard(mut pieces: BodyDataStream) {
    let mut discarded_bytes = 0;
    while let Some(Ok(piece)) = pieces.next().await {
        discarded_bytes += piece.len();
        if discarded_bytes > DISCARDED_BYTES_MAX {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_that_is_too_deep_is_not_called_no_json() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(parse(nested(LEVELS_MAX).as_bytes()).is_ok());
        let refused = parse(nested(LEVELS_MAX + 1).as_bytes()).unwrap_err();
        assert!(matches!(refused, ApiError::BodyTooDeep { .. }), "{refused}");
        let refused = parse(b"[1").unwrap_err();
        assert!(matches!(refused, ApiError::NotJson { .. }), "{refused}");
    }
}
