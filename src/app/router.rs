//! Keeps the router in force the one that was promoted last: looks at the registry again and again, opens a promoted
//! router beside the one in force, and swaps them.
//!
//! A router that cannot be opened leaves the one in force where it is. The one that was replaced stays open, so that a
//! roll-back to it is only a swap.

use std::{
    error::Error,
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use metrics::{counter, gauge};
use tokio::{
    select,
    time::{MissedTickBehavior, interval},
};
use tracing::{info, warn};

use super::App;
use crate::{
    ids::RouterId,
    registry::{self, Promotion, TakeError},
    router::Router,
    train::in_force,
};

/// Time between two looks at the registry, each of which costs the reading of one row.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Time until a router that could not be opened is tried again, and the most that it grows to by doubling: what kept it from
/// being opened may pass, such as a copy that is still under way.
const RETRY_AFTER: Duration = Duration::from_secs(5);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// What the registry said, and what is open because of it.
struct Followed {
    /// The last promotion that was acted on, or given up for now.
    seen: i64,
    /// When its router is tried again, and after how long once more; none where it was opened.
    retry: Option<(Instant, Duration)>,
    /// The name in the registry of the router in force; none: the one that needs no registry.
    in_force: Option<RouterId>,
    /// The router that was in force before, with its name.
    before: Option<(Option<RouterId>, Arc<Router>)>,
}

impl App {
    /// Keeps the router up with the registry until the app closes; returns at once where the configuration names one.
    pub async fn follow_registry(self: Arc<Self>) {
        if self.config.router.artefact.is_some() {
            return;
        }
        let mut followed = Followed {
            seen: self.opened_by.seen,
            retry: None,
            in_force: self.opened_by.router.clone(),
            before: None,
        };
        let mut tick = interval(LOOK_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let was_asked = select! {
                () = self.cancel.cancelled() => return,
                () = self.registry_look.notified() => true,
                _ = tick.tick() => false,
            };
            match self.store.promotion().await {
                Ok(Some(promotion)) => {
                    if followed.is_due(&promotion, was_asked) {
                        self.take_promoted(promotion, &mut followed).await;
                    }
                }
                Ok(None) => {}
                Err(error) => warn!(error = &error as &dyn Error, "the registry cannot be read"),
            }
        }
    }

    /// Has the registry and the trials looked at now.
    pub fn look_at_registry(&self) {
        self.registry_look.notify_one();
        self.trials_look.notify_one();
    }

    async fn take_promoted(&self, promotion: Promotion, followed: &mut Followed) {
        let old = self.composition.router();
        let started = Instant::now();
        match self.opened(&promotion, &old, followed).await {
            Ok(new) => {
                let new_id = new.id().clone();
                self.composition.replace_router(new);
                let name = mem::replace(&mut followed.in_force, promotion.router);
                followed.retry = None;
                followed.before = Some((name, Arc::clone(&old)));
                show(old.id(), 0.0);
                show(&new_id, 1.0);
                counter!("coterie_router_changes_total", "result" => "taken").increment(1);
                info!(
                    router = %new_id, before = %old.id(), promotion = promotion.number,
                    by = %promotion.promoted_by, took = ?started.elapsed(), "router {new_id} is in force"
                );
            }
            Err(error) => {
                let retry_after = followed.put_off();
                counter!("coterie_router_changes_total", "result" => "refused").increment(1);
                warn!(
                    router = %old.id(), promotion = promotion.number, error = &error as &dyn Error, ?retry_after,
                    "router {} stays in force; the promoted one cannot be opened", old.id()
                );
            }
        }
    }

    async fn opened(
        &self,
        promotion: &Promotion,
        old: &Router,
        followed: &Followed,
    ) -> Result<Arc<Router>, TakeError> {
        if let Some((name, router)) = &followed.before
            && *name == promotion.router
        {
            return Ok(Arc::clone(router));
        }
        let router = match &promotion.router {
            Some(id) => Box::pin(registry::open_beside(&self.config, &self.store, id, old)).await?,
            None => {
                let (config, catalogue) = (&self.config.router, &self.config.catalogue);
                Box::pin(in_force::at_start_beside(config, catalogue, old)).await?
            }
        };
        Ok(Arc::new(router))
    }

    /// Shows which router is in force.
    pub(super) fn publish_router(&self) {
        show(self.composition.router().id(), 1.0);
    }
}

impl Followed {
    /// Whether a promotion is to be acted on: it is new, or its router is to be tried again.
    fn is_due(&mut self, promotion: &Promotion, was_asked: bool) -> bool {
        if promotion.number != self.seen {
            self.seen = promotion.number;
            self.retry = None;
            return promotion.router != self.in_force;
        }
        let is_time = |(at, _)| was_asked || Instant::now() >= at;
        self.retry.is_some_and(is_time)
    }

    /// Its router cannot be opened now; how long until it is tried again.
    fn put_off(&mut self) -> Duration {
        let after = match self.retry {
            Some((_, last)) => (2 * last).min(RETRY_AFTER_MAX),
            None => RETRY_AFTER,
        };
        self.retry = Some((Instant::now() + after, after));
        after
    }
}

/// Says of a router whether it is in force.
fn show(id: &RouterId, in_force: f64) {
    gauge!("coterie_router_in_force", "router" => id.to_string()).set(in_force);
}
