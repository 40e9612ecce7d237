//! What a request's headers say of its session, of what counts for it, of the cache and of exploration.

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
    mapping::Consent,
    session::Claim,
};

const SESSION_ID: HeaderName = HeaderName::from_static("x-session-id");
const EXPLORE: HeaderName = HeaderName::from_static("x-coterie-explore");
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
    /// Whether another expert than the mapping's may be tried out.
    explore: Consent,
}

impl Claims {
    /// The same of a question whose first byte was read at a moment.
    pub(super) fn asked(self, at: Instant) -> Asked {
        Asked {
            at,
            claim: self.session,
            prefer: self.prefer,
            cache: self.cache,
            explore: self.explore,
        }
    }
}

impl FromRequestParts<ApiState> for Claims {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        state.refuse_unless_ready()?;
        let sticky = if is_on(&parts.headers, &STICKY)? {
            Sticky::On
        } else {
            Sticky::Off
        };
        let explore = if is_on(&parts.headers, &EXPLORE)? {
            Consent::Given
        } else {
            Consent::Refused
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
            explore,
        })
    }
}

/// Whether a header that can be `on` or `off` is not off.
fn is_on(headers: &HeaderMap, name: &HeaderName) -> Result<bool, InvalidRequest> {
    match headers.get(name).map(|value| value.as_bytes()) {
        None | Some(b"on") => Ok(true),
        Some(b"off") => Ok(false),
        Some(_) => {
            let message = format!("`{name}` must be `on` or `off`");
            Err(InvalidRequest::at(name.as_str(), message))
        }
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
