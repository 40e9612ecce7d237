//! Which session a question belongs to.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{
    chat::{ChatRequest, Role},
    config::Sticky,
    query,
};

/// What a client says of its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The name of the key that asks; none where the server has no keys.
    pub client: Option<String>,
    /// The session's id (`x-session-id`), as it came.
    pub id: Option<Vec<u8>>,
    /// Off: the question has nothing of the session but the endpoint at which the conversation is known.
    pub sticky: Sticky,
}

/// Names one session of one client. A digest: neither ids nor questions are kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionKey([u8; 32]);

/// A question's session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The session.
    pub key: SessionKey,
    /// Whether this question begins it: what is remembered under the key is then another conversation's.
    pub begins: bool,
}

impl Claim {
    /// The session of a question, whether or not it may stay with that; none if nothing tells it.
    ///
    /// The client's id names the session; without one the `user` field does. Without both, the conversation is known by its first
    /// human turn. Questions that begin alike are then told apart by nothing, so the first question of such a conversation
    /// never goes on with an earlier one.
    pub fn membership(&self, request: &ChatRequest) -> Option<Membership> {
        let client = self.client.as_deref();
        if let Some(id) = &self.id {
            let key = SessionKey::of("id", client, &[id]);
            return Some(Membership { key, begins: false });
        }
        let first = query::first_turn(&request.messages)?;
        let user = request.body.get("user").and_then(Value::as_str);
        if let Some(user) = user.filter(|user| !user.is_empty()) {
            let key = SessionKey::of("user", client, &[user.as_bytes()]);
            return Some(Membership { key, begins: false });
        }
        Some(Membership {
            key: SessionKey::of("conversation", client, &[first.as_bytes()]),
            begins: request
                .messages
                .iter()
                .all(|message| message.role != Role::Assistant),
        })
    }
}

impl SessionKey {
    /// Every part is preceded by its length, so that no two sessions look alike.
    fn of(kind: &str, client: Option<&str>, parts: &[&[u8]]) -> Self {
        let mut digest = Sha256::new();
        let mut part = |bytes: &[u8]| {
            digest.update((bytes.len() as u64).to_le_bytes());
            digest.update(bytes);
        };
        part(kind.as_bytes());
        part(&[u8::from(client.is_some())]);
        part(client.unwrap_or_default().as_bytes());
        for bytes in parts {
            part(bytes);
        }
        Self(digest.finalize().into())
    }

    /// A shorter name for it, to spread sessions by.
    pub fn hash64(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    pub(super) fn digest(&self) -> &[u8; 32] {
        &self.0
    }

    #[cfg(test)]
    pub(super) fn of_digest(digest: [u8; 32]) -> Self {
        Self(digest)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claim(client: &str, id: Option<&str>) -> Claim {
        Claim {
            client: Some(client.to_owned()),
            id: id.map(|id| id.as_bytes().to_vec()),
            sticky: Sticky::On,
        }
    }

    fn request(user: Option<&str>, turns: &[&str]) -> ChatRequest {
        let roles = ["user", "assistant"].into_iter().cycle();
        let messages: Vec<Value> = roles
            .zip(turns)
            .map(|(role, turn)| json!({"role": role, "content": turn}))
            .collect();
        ChatRequest::parse(json!({"model": "coterie", "user": user, "messages": messages})).unwrap()
    }

    #[test]
    fn an_id_names_a_session_of_one_client_whatever_is_asked() {
        let of = |client, id, turns| claim(client, Some(id)).membership(&request(None, turns));
        let session = of("a", "1", &["Why?"]);
        assert!(session.as_ref().is_some_and(|session| !session.begins));
        assert_eq!(session, of("a", "1", &["What is bread?"]));
        assert_ne!(session, of("b", "1", &["Why?"]));
        assert_ne!(session, of("a", "2", &["Why?"]));
    }

    #[test]
    fn without_an_id_the_user_names_it() {
        let of = |client, user, turns: &[&str]| {
            let membership = claim(client, None).membership(&request(user, turns));
            membership.unwrap()
        };
        let first = of("a", Some("ann"), &["What is bread?"]);
        assert!(!first.begins, "it may be sent without what came before");
        assert_eq!(first, of("a", Some("ann"), &["And wine?"]));
        assert_ne!(first, of("a", Some("bob"), &["And wine?"]));
        assert_ne!(first, of("b", Some("ann"), &["And wine?"]));
        let nobody = of("a", Some(""), &["And wine?"]);
        assert_eq!(nobody, of("a", None, &["And wine?"]));
    }

    #[test]
    fn without_an_id_and_a_user_the_first_turn_names_it() {
        let key = |client, turns: &[&str]| {
            let membership = claim(client, None).membership(&request(None, turns));
            membership.unwrap().key
        };
        let first = key("a", &["What is bread?"]);
        assert_eq!(first, key("a", &["What is bread?", "Food.", "And wine?"]));
        assert_ne!(first, key("b", &["What is bread?"]));
        assert_ne!(first, key("a", &["What is wine?"]));
    }

    #[test]
    fn a_first_question_begins_a_conversation_that_has_no_id() {
        let begins = |turns: &[&str]| {
            let membership = claim("a", None).membership(&request(None, turns));
            membership.unwrap().begins
        };
        assert!(begins(&["Hello!"]));
        assert!(!begins(&["Hello!", "Hello.", "Why?"]));
    }

    #[test]
    fn where_nobody_speaks_there_is_no_session() {
        assert_eq!(claim("a", None).membership(&request(None, &[" "])), None);
    }
}
