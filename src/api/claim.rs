//! What a request's headers say of its session, of what counts for it, and of the cache.

use std::time::Instant;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, header::CACHE_CONTROL, request::Parts},
};

use super::{ApiError, ApiState, auth::Caller};
use crate::{
    app::Asked,
    cache::CacheWish,
    chat::InvalidRequest,
    config::{Preference, Sticky},
    session::Claim,
};

const SESSION_ID: HeaderName = HeaderName::from_static("x-session-id");
const STICKY: HeaderName = HeaderName::from_static("x-coterie-sticky");
/// Also the field that is named where what it says is not allowed.
pub(super) const PREFER: HeaderName = HeaderName::from_static("x-coterie-prefer");

/// What the headers claim.
pub(super) struct Claims {
    /// Who asks, and in which session.
    session: Claim,
    /// What counts.
    prefer: Option<Preference>,
    /// Whether an answer that was given before will do.
    cache: CacheWish,
}

impl Claims {
    /// The same of a question whose first byte was read at a moment.
    pub(super) fn asked(self, at: Instant) -> Asked {
        Asked {
            at,
            claim: self.session,
            prefer: self.prefer,
            cache: self.cache,
        }
    }
}

impl FromRequestParts<ApiState> for Claims {
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
        let session = Claim {
            client: caller.and_then(|caller| caller.key_name.clone()),
            id: id
                .map(|id| id.as_bytes().to_vec())
                .filter(|id| !id.is_empty()),
            sticky,
        };
        let prefer = parts.headers.get(PREFER).map(preference).transpose()?;
        Ok(Self {
            session,
            prefer,
            cache: cache_wish(&parts.headers),
        })
    }
}

/// What `cache-control` says; of its directives `no-store` and `no-cache` mean something to a cache of answers.
fn cache_wish(headers: &HeaderMap) -> CacheWish {
    let directives = headers.get_all(CACHE_CONTROL).into_iter();
    let directives = directives.filter_map(|value| value.to_str().ok());
    let mut wish = CacheWish::Use;
    for directive in directives.flat_map(|value| value.split(',')) {
        match directive.trim().to_ascii_lowercase().as_str() {
            "no-store" => return CacheWish::Avoid,
            "no-cache" => wish = CacheWish::Refresh,
            _ => {}
        }
    }
    wish
}

fn preference(value: &HeaderValue) -> Result<Preference, InvalidRequest> {
    let word = value.to_str().ok().and_then(Preference::of);
    word.ok_or_else(|| {
        let message = "`x-coterie-prefer` must be `quality`, `balanced` or `economy`";
        InvalidRequest::at(PREFER.as_str(), message)
    })
}
