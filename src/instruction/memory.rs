//! What was said of questions before: of the same question, and of one that is next to the same.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use moka::sync::Cache;

use super::ask::Heard;

/// Questions that are remembered.
const QUESTIONS_MAX: u64 = 4096;

/// For how long: a model behind an endpoint may be replaced.
const KEEP: Duration = Duration::from_secs(24 * 60 * 60);

/// Questions among which one that is next to the same is looked for, the newest: comparing a vector with so many takes less
/// than a millisecond.
const NEAR_MAX: usize = 512;

/// A question that others may be next to.
struct Near {
    vector: Vec<f32>,
    heard: Arc<Heard>,
    since: Instant,
}

pub(super) struct Memory {
    same: Cache<String, Arc<Heard>>,
    near: Mutex<VecDeque<Near>>,
}

impl Memory {
    pub(super) fn new() -> Self {
        Self {
            same: Cache::builder()
                .max_capacity(QUESTIONS_MAX)
                .time_to_live(KEEP)
                .build(),
            near: Mutex::default(),
        }
    }

    /// What was said of this very question.
    pub(super) fn same(&self, question: &str) -> Option<Arc<Heard>> {
        self.same.get(question)
    }

    /// What was said of the question whose vector is most like this one's, a cosine of at least `least`. Vectors have length 1.
    pub(super) fn near(&self, vector: &[f32], least: f32) -> Option<Arc<Heard>> {
        let near = self.lock();
        let fresh = near.iter().filter(|it| it.since.elapsed() < KEEP);
        let alike = fresh.map(|it| (cosine(&it.vector, vector), &it.heard));
        let (most, heard) = alike.max_by(|a, b| a.0.total_cmp(&b.0))?;
        (most >= least).then(|| Arc::clone(heard))
    }

    /// Remembers what was said of a question; `vector`: where it may be said of others that are next to it as well.
    pub(super) fn keep(&self, question: &str, vector: Option<Vec<f32>>, heard: &Arc<Heard>) {
        self.same.insert(question.to_owned(), Arc::clone(heard));
        let Some(vector) = vector else { return };
        let mut near = self.lock();
        if near.len() == NEAR_MAX {
            near.pop_front();
        }
        near.push_back(Near {
            vector,
            heard: Arc::clone(heard),
            since: Instant::now(),
        });
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Near>> {
        self.near.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of vectors of length 1.
pub(super) fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instruction::reply::Said;

    fn heard(named: usize) -> Arc<Heard> {
        Arc::new(Heard {
            said: Said::Named(named),
            nearness: Vec::new(),
            nearest: Vec::new(),
        })
    }

    #[test]
    fn the_same_question_is_remembered_and_one_that_is_near_enough() {
        let memory = Memory::new();
        assert!(memory.same("Why?").is_none());
        memory.keep("Why?", Some(vec![1.0, 0.0]), &heard(1));
        memory.keep("How?", Some(vec![0.0, 1.0]), &heard(2));
        memory.keep("Who?", None, &heard(3));
        assert_eq!(memory.same("Why?").unwrap().said, Said::Named(1));
        assert_eq!(memory.near(&[0.6, 0.8], 0.75).unwrap().said, Said::Named(2));
        assert!(memory.near(&[0.6, 0.8], 0.85).is_none());
    }

    #[test]
    fn the_oldest_makes_room() {
        let memory = Memory::new();
        memory.keep("first", Some(vec![1.0, 0.0]), &heard(1));
        for at in 0..NEAR_MAX {
            memory.keep(&at.to_string(), Some(vec![0.0, 1.0]), &heard(2));
        }
        assert_eq!(memory.lock().len(), NEAR_MAX);
        assert!(memory.near(&[1.0, 0.0], 0.9).is_none());
    }
}
