//! What sessions were last routed to: bounded in number and in time, in memory alone.

use std::{
    collections::HashMap,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{Held, SessionKey, TagKey};

/// Most sessions that are remembered, of a hundred bytes or so each. The least recent go first.
const SESSIONS_MAX: usize = 65_536;

/// How long a session is remembered after its last question: whoever comes back later has something new in mind.
const IDLE_MAX: Duration = Duration::from_secs(60 * 60);

/// The sessions of one server.
///
/// They live in two generations. What is written goes into the young one; when that is full it becomes the old one, and
/// the old one is dropped. So every session that was active among the last half of [`SESSIONS_MAX`] writes is there, and
/// no list has to be kept of the order in which they were.
#[derive(Debug)]
pub struct Sessions {
    generation_max: usize,
    tags: TagKey,
    generations: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<SessionKey, Entry>,
    old: HashMap<SessionKey, Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    held: Held,
    at: Instant,
}

impl Sessions {
    /// None yet. `tags`: by what they are named where they are recorded.
    pub fn new(tags: TagKey) -> Self {
        Self::with_room_for(SESSIONS_MAX, tags)
    }

    fn with_room_for(sessions: usize, tags: TagKey) -> Self {
        Self {
            generation_max: (sessions / 2).max(1),
            tags,
            generations: Mutex::default(),
        }
    }

    /// A name under which a session may be recorded: it tells nothing of who asked what.
    pub fn tag(&self, key: &SessionKey) -> String {
        self.tags.tag(key)
    }

    /// What a session was last routed to; none if it is new or was idle for too long.
    pub fn held(&self, key: &SessionKey, now: Instant) -> Option<Held> {
        let generations = self.lock();
        let entry = generations
            .young
            .get(key)
            .or_else(|| generations.old.get(key))?;
        let is_fresh = now.saturating_duration_since(entry.at) <= IDLE_MAX;
        is_fresh.then(|| entry.held.clone())
    }

    /// Remembers what a session was routed to.
    pub fn keep(&self, key: SessionKey, held: Held, now: Instant) {
        let mut generations = self.lock();
        let is_known = generations.young.contains_key(&key);
        if !is_known && generations.young.len() >= self.generation_max {
            generations.old = mem::take(&mut generations.young);
        }
        generations.young.insert(key, Entry { held, at: now });
    }

    /// Nothing that holds the lock can leave half a change behind, whatever became of its thread.
    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ids::CategoryId, session::TAG_KEY_BYTES};

    fn tags() -> TagKey {
        TagKey::new([7; TAG_KEY_BYTES])
    }

    fn key(n: u8) -> SessionKey {
        SessionKey::of_digest([n; 32])
    }

    fn held(category: &str) -> Held {
        Held {
            category: CategoryId::new(category),
            probability: 0.9,
        }
    }

    #[test]
    fn a_session_keeps_its_tag_through_a_restart() {
        let (before, after) = (Sessions::new(tags()), Sessions::new(tags()));
        assert_eq!(before.tag(&key(1)), after.tag(&key(1)));
    }

    #[test]
    fn a_session_keeps_what_it_was_last_routed_to() {
        let (sessions, now) = (Sessions::new(tags()), Instant::now());
        assert_eq!(sessions.held(&key(1), now), None);
        sessions.keep(key(1), held("sql"), now);
        sessions.keep(key(1), held("travel"), now);
        assert_eq!(sessions.held(&key(1), now), Some(held("travel")));
        assert_eq!(sessions.held(&key(2), now), None);
    }

    #[test]
    fn an_idle_session_is_forgotten_and_an_active_one_is_not() {
        let (sessions, start) = (Sessions::new(tags()), Instant::now());
        sessions.keep(key(1), held("sql"), start);
        let later = start + IDLE_MAX;
        assert!(sessions.held(&key(1), later).is_some());
        let too_late = later + Duration::from_millis(1);
        assert_eq!(sessions.held(&key(1), too_late), None);
        sessions.keep(key(1), held("sql"), later);
        assert!(sessions.held(&key(1), too_late).is_some());
    }

    #[test]
    fn sessions_are_bounded_and_the_least_recent_go_first() {
        let (sessions, now) = (Sessions::with_room_for(8, tags()), Instant::now());
        for n in 0..100 {
            sessions.keep(key(n), held("sql"), now);
            sessions.keep(key(200), held("travel"), now);
            let generations = sessions.lock();
            assert!(generations.young.len() + generations.old.len() <= 8);
        }
        assert!(sessions.held(&key(99), now).is_some());
        assert!(sessions.held(&key(96), now).is_some());
        assert_eq!(sessions.held(&key(80), now), None);
        assert_eq!(sessions.held(&key(200), now), Some(held("travel")));
    }
}
