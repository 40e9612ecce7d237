//! Answers that were given before to the very same question: kept in memory, bounded in bytes and in time.
//!
//! Only what is deterministic by its own word is kept (temperature 0, or a seed), only for the client that asked, and only
//! what came to its end. A question that would be put to another expert now is another question.

mod key;
mod recording;

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use moka::sync::Cache as Entries;

pub use key::CacheKey;
pub use recording::record;

use crate::{
    chat::{Chunk, Completion},
    expert::Answer,
    ids::ExpertId,
};

/// Longest answer that is kept, in bytes: one must not drive out hundreds.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Longest time for which an answer may be kept: nothing lives so long in memory, and the clock of the entries has an end.
pub const KEEP_MAX: Duration = Duration::from_hours(365 * 24);

/// What an entry takes beside its answer, in bytes: its key, and the cache's own housekeeping.
const ENTRY_BYTES: usize = 256;

/// What a chunk takes beside its JSON, in bytes.
const CHUNK_BYTES: usize = 24;

/// The answers that are kept.
#[derive(Clone, Debug)]
pub struct Cache {
    entries: Entries<CacheKey, Arc<Kept>>,
}

/// How much is kept, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    /// Most bytes of answers.
    pub bytes_max: u64,
    /// How long an answer is kept.
    pub keep: Duration,
}

/// What a client wants of the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheWish {
    /// An answer from it will do, and its own may be kept.
    #[default]
    Use,
    /// A fresh answer (`cache-control: no-cache`), which may be kept.
    Refresh,
    /// Neither (`cache-control: no-store`).
    Avoid,
}

/// What became of a question at the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheUse {
    /// Its answer was there.
    Hit,
    /// It was not, and is kept now if it comes to its end.
    Miss,
    /// The client did not want an answer from the cache.
    Bypass,
}

impl CacheUse {
    /// The word for it, in headers and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
        }
    }
}

/// An answer that is kept, and whose it is.
#[derive(Debug)]
pub struct Kept {
    /// Who gave it.
    pub expert: ExpertId,
    /// In the form in which it was asked for.
    pub answer: KeptAnswer,
    bytes: usize,
}

/// A kept answer, as JSON: as objects it would take several times as much.
#[derive(Debug)]
pub enum KeptAnswer {
    /// Whole.
    Whole(Vec<u8>),
    /// In the pieces in which it came.
    Stream(Vec<Vec<u8>>),
}

impl KeptAnswer {
    /// The bytes that it takes.
    fn bytes(&self) -> usize {
        match self {
            Self::Whole(json) => json.len(),
            Self::Stream(chunks) => chunks.iter().map(|json| json.len() + CHUNK_BYTES).sum(),
        }
    }

    /// The answer once more; none if it cannot be read, which it was when it was kept.
    pub fn answer(&self) -> Option<Answer> {
        match self {
            Self::Whole(json) => Completion::parse(json).ok().map(Answer::Whole),
            Self::Stream(chunks) => {
                let chunks: Result<Vec<_>, _> = chunks
                    .iter()
                    .map(|json| Chunk::parse(json.clone()))
                    .collect();
                let chunks = chunks.ok()?.into_iter().map(Ok);
                Some(Answer::Stream(stream::iter(chunks).boxed()))
            }
        }
    }
}

impl Cache {
    /// An empty cache.
    pub fn new(config: CacheConfig) -> Self {
        let weigh = |_key: &CacheKey, kept: &Arc<Kept>| {
            u32::try_from(kept.bytes + ENTRY_BYTES).unwrap_or(u32::MAX)
        };
        Self {
            entries: Entries::builder()
                .max_capacity(config.bytes_max)
                .weigher(weigh)
                .time_to_live(config.keep)
                .build(),
        }
    }

    /// The answer to a question, if it is kept.
    pub fn get(&self, key: &CacheKey) -> Option<Arc<Kept>> {
        self.entries.get(key)
    }

    /// Keeps an answer, unless it is too long.
    pub fn keep(&self, key: CacheKey, expert: ExpertId, answer: KeptAnswer) {
        let bytes = answer.bytes();
        if bytes <= ANSWER_BYTES_MAX {
            let kept = Kept {
                expert,
                answer,
                bytes,
            };
            self.entries.insert(key, Arc::new(kept));
        }
    }

    /// Bytes of all that is kept, as far as that is settled.
    pub fn bytes(&self) -> u64 {
        self.entries.weighted_size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> KeptAnswer {
        KeptAnswer::Whole(text.into())
    }

    fn key(name: u8) -> CacheKey {
        CacheKey::of_digest([name; 32])
    }

    #[test]
    fn it_keeps_to_its_bound_in_bytes() {
        let cache = Cache::new(CacheConfig {
            bytes_max: 20_000,
            keep: Duration::from_secs(60),
        });
        for name in 0..100 {
            cache.keep(key(name), ExpertId::new("e"), answer(&"x".repeat(1000)));
        }
        cache.entries.run_pending_tasks();
        assert!(cache.bytes() <= 20_000, "{}", cache.bytes());
        let left = (0..100).filter(|name| cache.get(&key(*name)).is_some());
        assert!((10..20).contains(&left.count()));
    }

    #[test]
    fn what_is_too_long_is_not_kept() {
        let cache = Cache::new(CacheConfig {
            bytes_max: 1 << 30,
            keep: Duration::from_secs(60),
        });
        let long = "x".repeat(ANSWER_BYTES_MAX + 1);
        cache.keep(key(1), ExpertId::new("e"), answer(&long));
        assert!(cache.get(&key(1)).is_none());
    }
}
