//! The conversations of late.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Conversations that are remembered: a bound on memory and work. Of one that is older another question may count.
const CONVERSATIONS_MAX: usize = 1_024;

/// The latest conversations, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Recent(VecDeque<u64>);

impl Recent {
    /// Remembers a conversation; whether it is a new one.
    pub(super) fn insert(&mut self, conversation: u64) -> bool {
        if self.0.contains(&conversation) {
            return false;
        }
        if self.0.len() == CONVERSATIONS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(conversation);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_is_new_once_and_again_when_it_was_forgotten() {
        let mut recent = Recent::default();
        assert!(recent.insert(7));
        assert!(!recent.insert(7));
        for other in 0..CONVERSATIONS_MAX as u64 {
            recent.insert(1_000 + other);
        }
        assert_eq!(recent.0.len(), CONVERSATIONS_MAX);
        assert!(recent.insert(7));
    }
}
