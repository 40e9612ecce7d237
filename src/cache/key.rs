//! What makes two questions the same.

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::{chat::ChatRequest, ids::ExpertId};

/// Names one deterministic question of one client to those who would answer it. A digest: nothing of the question is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CacheKey([u8; 32]);

impl CacheKey {
    /// The key of a question that would be put to `experts`, in this order until one answers; none if its answer may differ
    /// from time to time.
    ///
    /// Every field of the request counts, in whatever order they stand.
    pub fn of<'e>(
        request: &ChatRequest,
        client: Option<&str>,
        experts: impl IntoIterator<Item = &'e ExpertId>,
    ) -> Option<Self> {
        let sampling = &request.sampling;
        if sampling.temperature != Some(0.0) && sampling.seed.is_none() {
            return None;
        }
        let mut digest = Sha256::new();
        part(&mut digest, &[u8::from(client.is_some())]);
        part(&mut digest, client.unwrap_or_default().as_bytes());
        for expert in experts {
            part(&mut digest, expert.as_str().as_bytes());
        }
        object(&mut digest, &request.body);
        Some(Self(digest.finalize().into()))
    }

    #[cfg(test)]
    pub(super) fn of_digest(digest: [u8; 32]) -> Self {
        Self(digest)
    }
}

/// Every part is preceded by its length, so that no two rows of parts look alike.
fn part(digest: &mut Sha256, bytes: &[u8]) {
    digest.update((bytes.len() as u64).to_le_bytes());
    digest.update(bytes);
}

fn object(digest: &mut Sha256, object: &Map<String, Value>) {
    let mut fields: Vec<_> = object.iter().collect();
    fields.sort_unstable_by_key(|(name, _)| *name);
    part(digest, b"{");
    part(digest, &fields.len().to_le_bytes());
    for (name, field) in fields {
        part(digest, name.as_bytes());
        value(digest, field);
    }
}

/// Each value is preceded by its kind.
fn value(digest: &mut Sha256, of: &Value) {
    match of {
        Value::Object(fields) => object(digest, fields),
        Value::Array(items) => {
            part(digest, b"[");
            part(digest, &items.len().to_le_bytes());
            for item in items {
                value(digest, item);
            }
        }
        Value::String(text) => {
            part(digest, b"\"");
            part(digest, text.as_bytes());
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            part(digest, b"#");
            part(digest, of.to_string().as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key(change: Value, client: Option<&str>, expert: &str) -> Option<CacheKey> {
        let mut body = json!({
            "model": "coterie",
            "messages": [{"role": "user", "content": "hi"}],
            "temperature": 0,
        });
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        let request = ChatRequest::parse(body).unwrap();
        let experts: Vec<_> = expert.split(' ').map(ExpertId::new).collect();
        CacheKey::of(&request, client, &experts)
    }

    #[test]
    fn only_what_is_deterministic_by_its_own_word_has_a_key() {
        for (change, has_key) in [
            (json!({}), true),
            (json!({"temperature": 0.5}), false),
            (json!({"temperature": 0.5, "seed": 7}), true),
            (json!({"temperature": null}), false),
        ] {
            assert_eq!(
                key(change.clone(), None, "e").is_some(),
                has_key,
                "{change}"
            );
        }
    }

    #[test]
    fn whatever_differs_makes_another_question() {
        let same = key(json!({"top_p": 1, "stop": "x"}), None, "e");
        assert_eq!(
            same,
            key(json!({"stop": "x", "top_p": 1}), None, "e"),
            "in any order"
        );
        let others = [
            key(json!({"top_p": 1}), None, "e"),
            key(json!({"top_p": 1, "stop": "x"}), Some("a"), "e"),
            key(json!({"top_p": 1, "stop": "x"}), Some(""), "e"),
            key(json!({"top_p": 1, "stop": "x"}), None, "f"),
            key(json!({"top_p": 1, "stop": "x"}), None, "f e"),
            key(json!({"top_p": 1, "stop": ["x"]}), None, "e"),
            key(json!({"top_p": 1, "stop": "x", "stream": true}), None, "e"),
            key(json!({"top_p": 1, "stop": "x", "house": "1"}), None, "e"),
            key(json!({"top_p": 1, "stop": "x", "house": 1}), None, "e"),
        ];
        for (at, other) in others.iter().enumerate() {
            assert_ne!(&same, other, "{at}");
            assert!(!others[..at].contains(other), "{at}");
        }
    }
}
