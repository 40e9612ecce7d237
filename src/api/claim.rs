//! In which session a request says that it is.

use axum::{
    extract::FromRequestParts,
    http::{HeaderName, request::Parts},
};

use super::{ApiError, ApiState, auth::Caller};
use crate::{chat::InvalidRequest, config::Sticky, session::Claim};

const SESSION_ID: HeaderName = HeaderName::from_static("x-session-id");
const STICKY: HeaderName = HeaderName::from_static("x-coterie-sticky");

/// The caller's claim, read from the headers.
pub(super) struct SessionClaim(pub(super) Claim);

impl FromRequestParts<ApiState> for SessionClaim {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &ApiState) -> Result<Self, ApiError> {
        let sticky = match parts.headers.get(STICKY).map(|value| value.as_bytes()) {
            None | Some(b"on") => Sticky::On,
            Some(b"off") => Sticky::Off,
            Some(_) => {
                let message = "`x-coterie-sticky` must be `on` or `off`";
                return Err(InvalidRequest::at(STICKY.as_str(), message).into());
            }
        };
        let id = parts.headers.get(SESSION_ID);
        let caller = parts.extensions.get::<Caller>();
        Ok(Self(Claim {
            client: caller.and_then(|caller| caller.key_name.clone()),
            id: id
                .map(|id| id.as_bytes().to_vec())
                .filter(|id| !id.is_empty()),
            sticky,
        }))
    }
}
