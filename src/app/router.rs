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

use super::{App, retry::Retry};
use crate::{
    ids::RouterId,
    registry::{self, OpenedBy, Promotion, TakeError},
    router::Router,
    train::in_force,
};

/// Time between two looks at the registry, each of which costs the reading of one row.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// What the registry said, and what is open because of it.
struct Followed {
    /// The last promotion that was acted on, or given up for now.
    seen: i64,
    /// When its router is tried again; none where it was opened.
    retry: Option<Retry>,
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
        let mut followed = Followed::new(&self.opened_by, Instant::now());
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
                    if followed.is_due(&promotion, Instant::now(), was_asked) {
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
    /// From the start on. What was passed over then is tried again.
    fn new(opened_by: &OpenedBy, now: Instant) -> Self {
        Self {
            seen: opened_by.seen,
            retry: opened_by.passed_over.then(|| Retry::after(None, now)),
            in_force: opened_by.router.clone(),
            before: None,
        }
    }

    /// Whether a promotion is to be acted on: it is new, or its router is to be tried again.
    fn is_due(&mut self, promotion: &Promotion, now: Instant, was_asked: bool) -> bool {
        if promotion.number != self.seen {
            self.seen = promotion.number;
            self.retry = None;
            return promotion.router != self.in_force;
        }
        self.retry.is_some_and(|retry| retry.is_due(now, was_asked))
    }

    /// Its router cannot be opened now; how long until it is tried again.
    fn put_off(&mut self) -> Duration {
        let retry = Retry::after(self.retry, Instant::now());
        self.retry = Some(retry);
        retry.pause()
    }
}

/// Says of a router whether it is in force.
fn show(id: &RouterId, in_force: f64) {
    gauge!("coterie_router_in_force", "router" => id.to_string()).set(in_force);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::PromotionKind;

    fn promotion(number: i64) -> Promotion {
        Promotion {
            number,
            at_ms: 0,
            router: Some(RouterId::new("b")),
            kind: PromotionKind::Promote,
            replaces: None,
            promoted_by: "ann".to_owned(),
            why: None,
        }
    }

    fn opened_by(passed_over: bool) -> OpenedBy {
        OpenedBy {
            seen: 3,
            router: Some(RouterId::new(if passed_over { "a" } else { "b" })),
            passed_over,
        }
    }

    #[test]
    fn a_router_that_was_passed_over_at_the_start_is_tried_again() {
        let now = Instant::now();
        let mut followed = Followed::new(&opened_by(true), now);
        assert!(!followed.is_due(&promotion(3), now, false));
        assert!(followed.is_due(&promotion(3), now, true), "on SIGHUP");
        let later = now + Duration::from_secs(10);
        assert!(followed.is_due(&promotion(3), later, false));
    }

    #[test]
    fn a_router_that_was_opened_at_the_start_is_not_opened_again() {
        let now = Instant::now();
        let mut followed = Followed::new(&opened_by(false), now);
        assert!(!followed.is_due(&promotion(3), now, true));
        assert!(
            !followed.is_due(&promotion(4), now, true),
            "the same router"
        );
        let mut followed = Followed::new(&opened_by(true), now);
        assert!(followed.is_due(&promotion(4), now, false));
    }
}
