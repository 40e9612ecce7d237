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
};

/// Time between two looks at the registry, each of which costs the reading of one row.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// What the registry said, and what is open because of it.
struct Followed {
    /// The last promotion that was seen, whether or not its router could be opened.
    seen: i64,
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
            in_force: self.opened_by.router.clone(),
            before: None,
        };
        let mut tick = interval(LOOK_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            select! {
                () = self.cancel.cancelled() => return,
                () = self.registry_look.notified() => {}
                _ = tick.tick() => {}
            }
            match self.store.promotion().await {
                Ok(Some(promotion)) if promotion.number != followed.seen => {
                    followed.seen = promotion.number;
                    if promotion.router != followed.in_force {
                        self.take_promoted(promotion, &mut followed).await;
                    }
                }
                Ok(_) => {}
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
                counter!("coterie_router_changes_total", "result" => "refused").increment(1);
                warn!(
                    router = %old.id(), promotion = promotion.number, error = &error as &dyn Error,
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
            None => Box::pin(registry::without_registry(&self.config, None)).await?,
        };
        Ok(Arc::new(router))
    }

    /// Shows which router is in force.
    pub(super) fn publish_router(&self) {
        show(self.composition.router().id(), 1.0);
    }
}

/// Says of a router whether it is in force.
fn show(id: &RouterId, in_force: f64) {
    gauge!("coterie_router_in_force", "router" => id.to_string()).set(in_force);
}
