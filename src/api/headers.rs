//! The headers that say what became of a question, and what a client should do next.

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::app::Reply;

/// The id that feedback refers to.
pub(super) const OUTCOME: HeaderName = HeaderName::from_static("x-coterie-outcome");
/// Whether OpenAI's and Anthropic's clients should ask once more by themselves.
pub(super) const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
const CATEGORY: HeaderName = HeaderName::from_static("x-coterie-category");
const CONFIDENCE: HeaderName = HeaderName::from_static("x-coterie-confidence");
const EXPERT: HeaderName = HeaderName::from_static("x-coterie-expert");
const ROUTER: HeaderName = HeaderName::from_static("x-coterie-router");
const SESSION: HeaderName = HeaderName::from_static("x-coterie-session");
const CACHE: HeaderName = HeaderName::from_static("x-coterie-cache");
const OVERHEAD: HeaderName = HeaderName::from_static("x-coterie-overhead-us");

/// The headers of one answer.
pub(super) fn of(reply: &Reply) -> HeaderMap {
    let decision = &reply.decision;
    let mut headers = HeaderMap::with_capacity(8);
    let mut put = |name: HeaderName, value: &str| {
        // Ids come from the configuration, which allows only characters that a header can carry.
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    put(OUTCOME, &reply.outcome_id);
    if let Some(category) = &decision.category {
        put(CATEGORY, category.as_str());
    }
    put(CONFIDENCE, &format!("{:.4}", decision.confidence));
    put(EXPERT, reply.expert.as_str());
    put(ROUTER, decision.router.as_str());
    if let Some(session) = &decision.session {
        put(SESSION, if session.stayed { "stayed" } else { "left" });
    }
    if let Some(cache) = reply.cache {
        put(CACHE, cache.as_str());
    }
    put(OVERHEAD, &reply.overhead.as_micros().to_string());
    headers
}
