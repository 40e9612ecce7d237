//! The key by which sessions are tagged.

use crate::{
    session::{TAG_KEY_BYTES, TagKey},
    store::{Store, StoreError},
};

impl Store {
    /// The key of the tags under which sessions are recorded: the same as long as there is the store.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn session_tag_key(&self) -> Result<TagKey, StoreError> {
        let key: Result<Vec<u8>, sqlx::Error> = sqlx::query_scalar("SELECT key FROM session_tags")
            .fetch_one(&self.pool)
            .await;
        let key = key.map_err(|source| self.failed(source))?;
        <[u8; TAG_KEY_BYTES]>::try_from(key.as_slice())
            .map(TagKey::new)
            .map_err(|source| self.failed(sqlx::Error::Decode(source.into())))
    }
}
