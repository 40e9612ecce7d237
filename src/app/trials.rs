//! Keeps a running server to the trials in the store: opens the routers that are tried beside the one in force, and ends a
//! canary whose outcomes are worse.
//!
//! A router that cannot be opened leaves all as it is: the router in force decides.

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use metrics::{counter, gauge};
use tokio::{
    select,
    time::{MissedTickBehavior, interval},
};
use tracing::{info, warn};

use super::{App, retry::Retry, shadow::Shadow};
use crate::{
    clock,
    composition::Canary,
    registry::{self, TakeError},
    router::Router,
    store::StoreError,
    trial::{self, CanaryWatch, Comparison, Ended, Ending, Subject, Trial, TrialKind},
};

/// Time between two looks at the trials, each of which costs the reading of a row or two.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Time between two looks at what became of a canary's questions.
const JUDGE_INTERVAL: Duration = Duration::from_secs(10);

/// The trials that a server keeps to, of each kind.
pub struct FollowedTrials([Followed; TrialKind::ALL.len()]);

/// What the store said of trials of one kind.
struct Followed {
    kind: TrialKind,
    /// The trial that is under way, whether or not its router could be opened.
    trial: Option<Trial>,
    is_open: bool,
    /// When its router is tried again; none where it was opened.
    retry: Option<Retry>,
}

impl App {
    /// Takes up the trials that are under way. Before the first question, so that a session that a canary has goes on with it
    /// through a restart.
    pub async fn take_up_trials(&self) -> FollowedTrials {
        let mut followed = FollowedTrials(TrialKind::ALL.map(|kind| Followed {
            kind,
            trial: None,
            is_open: false,
            retry: None,
        }));
        if self.config.router.artefact.is_none() {
            self.look_at_trials(&mut followed, false).await;
        }
        followed
    }

    /// Keeps to the trials until the app closes; returns at once where the configuration names the router.
    pub async fn follow_trials(self: Arc<Self>, mut followed: FollowedTrials) {
        if self.config.router.artefact.is_some() {
            return;
        }
        let mut tick = interval(LOOK_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let was_asked = select! {
                () = self.cancel.cancelled() => return,
                () = self.trials_look.notified() => true,
                _ = tick.tick() => false,
            };
            self.look_at_trials(&mut followed, was_asked).await;
        }
    }

    async fn look_at_trials(&self, followed: &mut FollowedTrials, was_asked: bool) {
        let open = match self.store.open_trials().await {
            Ok(open) => open,
            Err(error) => {
                warn!(error = &error as &dyn Error, "the trials cannot be read");
                return;
            }
        };
        for followed in &mut followed.0 {
            let wanted = open.iter().find(|trial| trial.kind == followed.kind);
            let seen = followed.trial.as_ref().map(|trial| trial.number);
            if wanted.map(|trial| trial.number) != seen {
                self.follow_trial(wanted, followed).await;
            } else if let Some(trial) = wanted
                && followed.is_due(Instant::now(), was_asked)
            {
                self.try_to_take_up(trial, followed).await;
            }
        }
    }

    /// Has what became of a canary's questions looked at now.
    pub fn look_at_canary(&self) {
        self.canary_look.notify_one();
    }

    async fn follow_trial(&self, wanted: Option<&Trial>, followed: &mut Followed) {
        if let Some(before) = followed.trial.take()
            && followed.is_open
        {
            self.leave(&before);
        }
        followed.trial = wanted.cloned();
        followed.is_open = false;
        followed.retry = None;
        if let Some(trial) = wanted {
            self.try_to_take_up(trial, followed).await;
        }
    }

    async fn try_to_take_up(&self, trial: &Trial, followed: &mut Followed) {
        let kind = followed.kind;
        let started = Instant::now();
        match self.open_tried(trial).await {
            Ok(router) => {
                self.take_up(trial, router);
                followed.is_open = true;
                followed.retry = None;
                show(trial, 1.0);
                count(kind, "taken");
                info!(
                    router = %trial.router, trial = trial.number, kind = kind.as_str(),
                    share = trial.share.map(trial::Share::get), by = %trial.started_by, took = ?started.elapsed(),
                    "router {} is tried as {kind}", trial.router
                );
            }
            Err(error) => {
                let retry = Retry::after(followed.retry, Instant::now());
                followed.retry = Some(retry);
                count(kind, "refused");
                warn!(
                    router = %trial.router, trial = trial.number, kind = kind.as_str(),
                    error = &error as &dyn Error, retry_after = ?retry.pause(),
                    "the router that is to be tried as {kind} cannot be opened; all questions stay with the router in force"
                );
            }
        }
    }

    async fn open_tried(&self, trial: &Trial) -> Result<Arc<Router>, TakeError> {
        let in_force = self.composition.router();
        let opening = registry::open_beside(&self.config, &self.store, &trial.router, &in_force);
        Ok(Arc::new(Box::pin(opening).await?))
    }

    fn take_up(&self, trial: &Trial, router: Arc<Router>) {
        let trial = trial.clone();
        match trial.kind {
            TrialKind::Canary => {
                let canary = Canary { trial, router };
                self.composition.begin_canary(canary);
            }
            TrialKind::Shadow => {
                let (shadow, worker) = Shadow::new(router, self.store.clone());
                self.spawn(worker.run(self.cancel.clone()));
                self.shadow.store(Some(Arc::new(shadow)));
            }
        }
    }

    fn leave(&self, trial: &Trial) {
        match trial.kind {
            TrialKind::Canary => self.composition.end_canary(trial.number),
            TrialKind::Shadow => self.shadow.store(None),
        }
        show(trial, 0.0);
        count(trial.kind, "ended");
        info!(
            router = %trial.router, trial = trial.number, kind = trial.kind.as_str(),
            "router {} is not tried as {} any more", trial.router, trial.kind
        );
    }

    /// Ends a canary whose outcomes are worse; looks at them again and again until the app closes.
    pub async fn judge_canary(self: Arc<Self>) {
        let mut watched: Option<CanaryWatch> = None;
        let mut tick = interval(JUDGE_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            select! {
                () = self.cancel.cancelled() => return,
                () = self.canary_look.notified() => {}
                _ = tick.tick() => {}
            }
            let Some(canary) = self.composition.canary() else {
                watched = None;
                continue;
            };
            let mut watch = match watched.take() {
                Some(watch) if watch.trial() == canary.trial.number => watch,
                _ => CanaryWatch::new(&canary.trial),
            };
            let judged = select! {
                () = self.cancel.cancelled() => return,
                judged = self.judge(&canary.trial, &mut watch) => judged,
            };
            watched = Some(watch);
            if let Err(error) = judged {
                warn!(
                    error = &error as &dyn Error,
                    "what became of the canary's questions cannot be read, or its end not be written"
                );
            }
        }
    }

    async fn judge(&self, trial: &Trial, watch: &mut CanaryWatch) -> Result<(), StoreError> {
        let was_full = watch.is_full();
        watch.catch_up(&self.store, clock::now_ms()).await?;
        tell(watch.comparison());
        if watch.is_full() && !was_full {
            warn!(
                router = %trial.router, trial = trial.number,
                "the canary was compared long enough, and no more outcomes are; promote or stop it"
            );
        }
        let Some(worse) = watch.comparison().worse() else {
            return Ok(());
        };
        let ended = Ended {
            at_ms: clock::now_ms(),
            by: trial::CANARY.to_owned(),
            ending: Ending::Worse,
            why: Some(worse.to_string()),
        };
        let is_first = self.store.end_trial(trial.number, &ended).await?;
        // Reading took a while: another canary may decide by now.
        self.composition.end_canary(trial.number);
        self.trials_look.notify_one();
        if is_first {
            counter!("coterie_canary_rollbacks_total").increment(1);
            warn!(
                router = %trial.router, trial = trial.number,
                "the canary is rolled back, and the router in force decides for all: {worse}"
            );
        }
        Ok(())
    }
}

impl Followed {
    /// Whether a router that could not be opened is to be tried again.
    fn is_due(&self, now: Instant, was_asked: bool) -> bool {
        self.retry.is_some_and(|retry| retry.is_due(now, was_asked))
    }
}

/// Shows of a router whether it is tried.
fn show(trial: &Trial, is_tried: f64) {
    gauge!("coterie_trial", "kind" => trial.kind.as_str(), "router" => trial.router.to_string())
        .set(is_tried);
}

fn count(kind: TrialKind, result: &'static str) {
    counter!("coterie_trial_changes_total", "kind" => kind.as_str(), "result" => result)
        .increment(1);
}

fn tell(comparison: &Comparison) {
    for subject in Subject::ALL {
        let figures = comparison.figures(subject);
        gauge!("coterie_canary_outcomes", "test" => subject.as_str()).set(figures.outcomes as f64);
        if let Some(difference) = figures.difference {
            gauge!("coterie_canary_difference", "test" => subject.as_str()).set(difference.mean);
        }
    }
}
