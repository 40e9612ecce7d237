//! Who asks. Keys are known by their SHA-256 alone and compared in constant time.

use axum::{
    extract::{Request, State},
    http::{HeaderName, header::AUTHORIZATION},
    middleware::Next,
    response::Response,
};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{ApiError, ApiState};
use crate::config::ApiKey;

const ANTHROPIC_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Who asks, put beside every request that may go on.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// The key's name; none where the server has no keys.
    pub(super) key_name: Option<String>,
}

/// Lets a request on if its bearer token (else its `x-api-key`) is one of the keys, or if there are none.
pub(super) async fn require_key(
    State(state): State<ApiState>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let keys = &state.app.config.server.keys;
    let key_name = if keys.is_empty() {
        None
    } else {
        let token = bearer_token(&request).or_else(|| anthropic_key(&request));
        let token = token.ok_or(ApiError::MissingKey)?;
        Some(owner(keys, token).ok_or(ApiError::WrongKey)?.to_owned())
    };
    request.extensions_mut().insert(Caller { key_name });
    Ok(next.run(request).await)
}

fn bearer_token(request: &Request) -> Option<&str> {
    let (scheme, token) = request
        .headers()
        .get(AUTHORIZATION)?
        .to_str()
        .ok()?
        .split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Anthropic's clients send their key in a header of its own.
fn anthropic_key(request: &Request) -> Option<&str> {
    let key = request.headers().get(ANTHROPIC_KEY)?;
    key.to_str().ok().map(str::trim)
}

/// Compares with every key, so that the time taken tells nothing of which one came near.
fn owner<'k>(keys: &'k [ApiKey], token: &str) -> Option<&'k str> {
    let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
    keys.iter().fold(None, |found, key| {
        let same = bool::from(key.sha256.ct_eq(&digest));
        if same { Some(key.name.as_str()) } else { found }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;

    #[test]
    fn a_key_is_found_by_its_digest_alone() {
        let key = |name: &str, key: &str| ApiKey {
            name: name.into(),
            sha256: Sha256::digest(key).into(),
            limits: Limits::default(),
        };
        let keys = [key("team-a", "alpha"), key("team-b", "beta")];
        assert_eq!(owner(&keys, "beta"), Some("team-b"));
        assert_eq!(owner(&keys, "alpha"), Some("team-a"));
        assert_eq!(owner(&keys, "alpha "), None);
        assert_eq!(owner(&keys, ""), None);
    }
}
