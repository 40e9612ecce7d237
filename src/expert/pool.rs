//! The endpoints of one expert: which of them a question goes to, and what was learned of it there.
//!
//! A question of a session goes where the session began, as long as that endpoint is healthy, so that the provider's prompt
//! cache stays warm; where that is not known, to the one that its key says (rendezvous hashing: Thaler and Ravishankar, 1998).
//! Others, and the first of a session, go to the less burdened of two that are drawn ("the power of two choices",
//! Mitzenmacher, 2001), by their peak-sensitive latency times what they have under way (peak EWMA, as in Finagle).

mod load;

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use moka::sync::Cache;
use rand::RngExt;
use serde::Serialize;
use tokio::time::Instant;

use super::{
    Affinity, Expert, ExpertError, Tried,
    breaker::{Breaker, Circuit, Pass, Took, Why},
    class::ErrorClass,
};
use crate::config::BreakerConfig;
use load::{Load, UnderWay};

/// How slow an answer a failure counts as, where the less burdened endpoint is looked for.
const FAILURE_COUNTS_AS: Duration = Duration::from_secs(10);

/// Sessions of which it is known where they began, the newest: a megabyte. Providers forget a prompt within the hour.
const HOMES_MAX: u64 = 16_384;
const HOME_KEPT: Duration = Duration::from_hours(1);

/// One expert's endpoints, at least one.
pub(super) struct Pool {
    endpoints: Vec<Arc<Endpoint>>,
    /// Where sessions began, by their keys: the places of endpoints.
    homes: Cache<u64, usize>,
}

/// One place where an expert answers.
struct Endpoint {
    name: String,
    expert: Arc<dyn Expert>,
    breaker: Breaker,
    load: Arc<Load>,
}

/// What one endpoint is doing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EndpointState {
    /// Its address; empty for an expert in this process.
    pub endpoint: String,
    /// Its breaker.
    #[serde(flatten)]
    pub circuit: Circuit,
    /// Answers under way.
    pub under_way: u32,
}

/// An endpoint that was chosen for a question, until it is known what became of it there. Dropped before, it has taught
/// nothing.
pub(super) struct Lease {
    endpoint: Arc<Endpoint>,
    pass: Option<Pass>,
    started: Instant,
    _under_way: UnderWay,
}

impl Pool {
    /// Joins endpoints, each with the name by which people know it.
    pub(super) fn new(
        endpoints: impl IntoIterator<Item = (String, Arc<dyn Expert>)>,
        breaker: BreakerConfig,
    ) -> Self {
        let endpoints = endpoints.into_iter().map(|(name, expert)| {
            Arc::new(Endpoint {
                name,
                expert,
                breaker: Breaker::new(breaker),
                load: Arc::default(),
            })
        });
        Self {
            endpoints: endpoints.collect(),
            homes: Cache::builder()
                .max_capacity(HOMES_MAX)
                .time_to_idle(HOME_KEPT)
                .build(),
        }
    }

    /// Time for which others are to be asked before it; none where one endpoint is as good as any.
    pub(super) fn closed_for(&self, now: Instant) -> Option<Duration> {
        self.soonest(|breaker| breaker.closed_for(now))
    }

    /// Time until a question would be let through somewhere; none where one would be now, if only because nobody else is
    /// left.
    pub(super) fn refuses_for(&self, now: Instant) -> Option<Duration> {
        self.soonest(|breaker| breaker.refuses_for(now))
    }

    /// The shortest of all endpoints' times; none where one has none.
    fn soonest(&self, wait: impl Fn(&Breaker) -> Option<Duration>) -> Option<Duration> {
        let mut soonest = None;
        for endpoint in &self.endpoints {
            let wait = wait(&endpoint.breaker)?;
            soonest = Some(soonest.map_or(wait, |soonest: Duration| soonest.min(wait)));
        }
        soonest
    }

    /// Chooses an endpoint: one where it was not tried, rather one that is not slow, rather the session's.
    ///
    /// # Errors
    /// None of them lets a question through now.
    pub(super) fn lease(
        &self,
        session: Option<Affinity>,
        tried: &Tried,
        now: Instant,
    ) -> Result<Lease, ExpertError> {
        let mut soonest = Duration::MAX;
        let mut order = self.by_preference(session, now);
        if order.len() > 1 {
            order.sort_by_key(|endpoint| {
                let is_open = endpoint.breaker.closed_for(now).is_some();
                (tried.contains(&endpoint.name), is_open)
            });
        }
        for endpoint in order {
            match endpoint.breaker.admit(now) {
                Ok(pass) => {
                    self.remember(session, endpoint);
                    return Ok(Lease {
                        endpoint: Arc::clone(endpoint),
                        pass: Some(pass),
                        started: now,
                        _under_way: endpoint.load.begin(),
                    });
                }
                Err(wait) => soonest = soonest.min(wait),
            }
        }
        Err(self.resting(soonest, now))
    }

    /// Why nobody is asked now.
    pub(super) fn resting(&self, retry_after: Duration, now: Instant) -> ExpertError {
        let circuits = self.endpoints.iter().map(|it| it.breaker.circuit(now));
        let why = circuits.filter_map(Circuit::why).next();
        ExpertError::CircuitOpen {
            retry_after,
            why: why.unwrap_or(Why::Failures),
        }
    }

    /// Whether there is an endpoint that lets a question through and at which it has not failed yet.
    pub(super) fn has_untried(&self, tried: &Tried, now: Instant) -> bool {
        self.endpoints.len() > 1
            && self.endpoints.iter().any(|endpoint| {
                endpoint.breaker.closed_for(now).is_none() && !tried.contains(&endpoint.name)
            })
    }

    /// What each endpoint is doing.
    pub(super) fn states(&self, now: Instant) -> Vec<EndpointState> {
        let state = |endpoint: &Arc<Endpoint>| EndpointState {
            endpoint: endpoint.name.clone(),
            circuit: endpoint.breaker.circuit(now),
            under_way: endpoint.load.under_way(),
        };
        self.endpoints.iter().map(state).collect()
    }

    /// Takes note of where a session began.
    fn remember(&self, session: Option<Affinity>, endpoint: &Arc<Endpoint>) {
        let Some(begun) = session.filter(|session| session.begins) else {
            return;
        };
        let place = self
            .endpoints
            .iter()
            .position(|it| Arc::ptr_eq(it, endpoint));
        if let Some(place) = place.filter(|_| self.endpoints.len() > 1) {
            self.homes.insert(begun.key, place);
        }
    }

    /// The endpoints in the order in which they are to be tried.
    fn by_preference(&self, session: Option<Affinity>, now: Instant) -> Vec<&Arc<Endpoint>> {
        let mut order: Vec<&Arc<Endpoint>> = self.endpoints.iter().collect();
        if order.len() == 1 {
            return order;
        }
        match session {
            Some(Affinity { key, begins: false }) => {
                order.sort_by_key(|endpoint| std::cmp::Reverse(weight(key, &endpoint.name)));
                let home = self.homes.get(&key).map(|place| &self.endpoints[place]);
                if let Some(home) = home {
                    order.sort_by_key(|endpoint| !Arc::ptr_eq(endpoint, home));
                }
            }
            Some(Affinity { begins: true, .. }) | None => draw_two(&mut order, now),
        }
        order
    }
}

/// Puts the less burdened of two healthy endpoints that are drawn first, the other second.
fn draw_two(order: &mut [&Arc<Endpoint>], now: Instant) {
    // Those whose turn would not come now only stand in the way of the draw.
    order.sort_by_key(|endpoint| endpoint.breaker.closed_for(now).is_some());
    let healthy = order.partition_point(|endpoint| endpoint.breaker.closed_for(now).is_none());
    if healthy < 2 {
        return;
    }
    let mut rng = rand::rng();
    for place in 0..2 {
        let drawn = rng.random_range(place..healthy);
        order.swap(place, drawn);
    }
    if order[1].load.cost(now) < order[0].load.cost(now) {
        order.swap(0, 1);
    }
}

fn weight(session: u64, endpoint: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (session, endpoint).hash(&mut hasher);
    hasher.finish()
}

impl Lease {
    /// The endpoint's name.
    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint.name
    }

    /// Whom to ask.
    pub(super) fn expert(&self) -> &dyn Expert {
        self.endpoint.expert.as_ref()
    }

    /// The answer began, or came whole; `as_what` the time until now tells of the endpoint, where it does.
    pub(super) fn began(&self, as_what: Option<fn(Duration) -> Took>) {
        let now = Instant::now();
        let took = now - self.started;
        self.endpoint.load.saw(took, now);
        if let Some(pass) = self.pass {
            let took = as_what.map(|of| of(took));
            self.endpoint.breaker.began(pass, took, now);
        }
    }

    /// The answer came to its end; whether that was news.
    pub(super) fn completed(&mut self) -> bool {
        let is_news = self.pass.take().is_some();
        if is_news {
            self.endpoint.breaker.completed(Instant::now());
        }
        is_news
    }

    /// There was no answer, or not all of one.
    pub(super) fn failed(&mut self, error: &ExpertError) {
        let Some(pass) = self.pass.take() else {
            return;
        };
        let (now, breaker) = (Instant::now(), &self.endpoint.breaker);
        let class = error.class();
        if class.blames_the_endpoint() {
            // What fails fast must not look fast.
            self.endpoint.load.saw(FAILURE_COUNTS_AS, now);
        }
        if let (ErrorClass::RateLimited | ErrorClass::Overloaded, Some(wait)) =
            (class, error.retry_after())
        {
            breaker.rest(pass, wait, now);
        } else if class.blames_the_endpoint() {
            breaker.failed(pass, now);
        } else {
            breaker.released(pass, now);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(pass) = self.pass.take() {
            self.endpoint.breaker.released(pass, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests;
