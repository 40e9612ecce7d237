//! What a router learnt from the traffic, beside its artefact: which questions it must not be judged on.

use std::{collections::BTreeSet, fs, io, path::Path};

use serde::{Deserialize, Serialize};

use super::resolve::Row;
use crate::train::dataset;

/// The file's name.
pub const LEARNT_FILE: &str = "learnt.json";

/// The texts and the conversations that a router learnt from, each by the beginning of its SHA-256; no text can be read from
/// it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learnt {
    texts: BTreeSet<String>,
    conversations: BTreeSet<String>,
}

impl Learnt {
    /// What rows teach.
    pub fn of(rows: &[Row]) -> Self {
        Self {
            texts: rows.iter().map(|row| digest(&row.text)).collect(),
            conversations: rows.iter().map(|row| digest(&row.conversation)).collect(),
        }
    }

    /// Reads what the router in a folder learnt; nothing, where the traffic never taught it.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn read(folder: &Path) -> io::Result<Self> {
        match fs::read(folder.join(LEARNT_FILE)) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// The file's content.
    ///
    /// # Errors
    /// None that serialising texts could have.
    pub fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }

    /// Whether the router learnt from this very text.
    pub fn has_text(&self, row: &Row) -> bool {
        self.texts.contains(&digest(&row.text))
    }

    /// Whether the router has seen the text, or another one of its conversation.
    pub fn knows(&self, row: &Row) -> bool {
        self.has_text(row) || self.conversations.contains(&digest(&row.conversation))
    }
}

fn digest(text: &str) -> String {
    hex::encode(dataset::key(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ids::CategoryId, learning::Origin};

    fn row(text: &str, conversation: &str) -> Row {
        Row {
            text: text.to_owned(),
            category: CategoryId::new("math"),
            origin: Origin::Person,
            client: None,
            asked_at_ms: 0,
            conversation: conversation.to_owned(),
        }
    }

    #[test]
    fn a_router_knows_what_it_learnt_from_and_what_was_asked_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Learnt::read(folder.path()).unwrap(), Learnt::default());
        let learnt = Learnt::of(&[row("a", "one"), row("b", "two")]);
        fs::write(folder.path().join(LEARNT_FILE), learnt.to_json().unwrap()).unwrap();
        let read = Learnt::read(folder.path()).unwrap();
        assert_eq!(read, learnt);
        assert!(read.knows(&row("a", "three")) && read.has_text(&row("a", "three")));
        assert!(read.knows(&row("c", "two")) && !read.has_text(&row("c", "two")));
        assert!(!read.knows(&row("c", "three")));
        fs::write(folder.path().join(LEARNT_FILE), "{").unwrap();
        assert!(Learnt::read(folder.path()).is_err());
    }
}
