//! The names under which sessions are recorded.

use std::fmt;

use sha2::{Digest as _, Sha256};

use super::SessionKey;

/// Bytes of a key: as many as of the digest that it is mixed with.
pub const TAG_KEY_BYTES: usize = 32;

/// Bytes of a tag: no two of some millions of sessions will share one.
const TAG_BYTES: usize = 8;

/// What the names depend on beside the sessions. Who does not have it can tell from a name neither who asked nor what.
#[derive(Clone)]
pub struct TagKey([u8; TAG_KEY_BYTES]);

impl TagKey {
    /// Takes random bytes.
    pub fn new(bytes: [u8; TAG_KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// The name of a session, the same wherever the key is.
    pub fn tag(&self, session: &SessionKey) -> String {
        // Both parts have a length that never changes, so that no other pair is hashed alike.
        let digest = Sha256::new()
            .chain_update(self.0)
            .chain_update(session.digest())
            .finalize();
        hex::encode(&digest[..TAG_BYTES])
    }
}

impl fmt::Debug for TagKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TagKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_one_name_wherever_the_key_is_and_another_where_it_is_not() {
        let session = |n| SessionKey::of_digest([n; 32]);
        let key = TagKey::new([7; TAG_KEY_BYTES]);
        let name = key.tag(&session(1));
        assert_eq!(name.len(), 2 * TAG_BYTES);
        assert_eq!(name, TagKey::new([7; TAG_KEY_BYTES]).tag(&session(1)));
        assert_ne!(name, key.tag(&session(2)));
        assert_ne!(name, TagKey::new([8; TAG_KEY_BYTES]).tag(&session(1)));
        assert!(!format!("{key:?}").contains('7'));
    }
}
