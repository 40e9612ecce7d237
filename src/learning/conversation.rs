//! Conversations by number: rows of one are one witness, wherever rows are counted.

use crate::train::dataset;

/// The number of a conversation, from its name.
pub(super) fn number(name: &str) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = dataset::key(name);
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}
