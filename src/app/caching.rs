//! One question at the cache of answers.

use std::{sync::Arc, time::Duration};

use metrics::counter;

use super::{App, Asked};
use crate::{
    cache::{self, Cache, CacheKey, CacheUse, CacheWish, Kept},
    chat::{ChatRequest, Choices},
    decision::Decision,
    expert::{Answered, Attempts, Role},
    ids::ExpertId,
};

/// What the cache has to do with a question: nothing, by default.
#[derive(Default)]
pub(super) struct Caching {
    /// What became of it; none where there is no cache, or nothing in it for such a question.
    pub(super) used: Option<CacheUse>,
    /// The answer that was at hand.
    kept: Option<Arc<Kept>>,
    /// Under which the answer is to be kept.
    key: Option<(CacheKey, ExpertId)>,
}

impl App {
    /// Looks for an answer that was given before.
    pub(super) fn caching(
        &self,
        request: &ChatRequest,
        asked: &Asked,
        decision: &Decision,
    ) -> Caching {
        let Some(cache) = &self.cache else {
            return Caching::default();
        };
        let client = asked.claim.client.as_deref();
        let first = decision.grounds.cascade.as_ref().map(|it| &it.first);
        let Some(key) = CacheKey::of(request, client, first.into_iter().chain([&decision.expert]))
        else {
            return Caching::default();
        };
        let kept = match asked.cache {
            CacheWish::Use => cache.get(&key),
            CacheWish::Refresh | CacheWish::Avoid => None,
        };
        let used = match (&kept, asked.cache) {
            (Some(_), _) => CacheUse::Hit,
            (None, CacheWish::Use) => CacheUse::Miss,
            (None, CacheWish::Refresh | CacheWish::Avoid) => CacheUse::Bypass,
        };
        counter!("coterie_cache_total", "result" => used.as_str()).increment(1);
        let keeps = kept.is_none() && asked.cache != CacheWish::Avoid;
        Caching {
            used: Some(used),
            kept,
            key: keeps.then(|| (key, decision.expert.clone())),
        }
    }
}

impl Caching {
    /// Sees to it that an answer is kept, where it is to be: the expert's own, or that of a cascade's first expert, accepted.
    /// Another's is not what the same question would get the next time.
    pub(super) fn keep(
        self,
        cache: Option<&Cache>,
        answered: Answered,
        role: Option<Role>,
        choices: &Choices,
    ) -> Answered {
        let (Some(cache), Some((key, expert))) = (cache, self.key) else {
            return answered;
        };
        if answered.expert != expert && role != Some(Role::First) {
            return answered;
        }
        let choices = choices.clone();
        let answer = cache::record(cache, key, &answered.expert, choices, answered.answer);
        Answered { answer, ..answered }
    }

    /// The answer that was at hand, in the log of attempts for what it is.
    pub(super) fn hit(&self, attempts: &Attempts) -> Option<Answered> {
        let kept = self.kept.as_ref()?;
        let answer = kept.answer.answer()?;
        let attempt = attempts.begin(kept.expert.clone(), Role::Cache);
        attempts.update(attempt, |attempt| attempt.took = Some(Duration::ZERO));
        Some(Answered {
            expert: kept.expert.clone(),
            attempt,
            answer,
        })
    }
}
