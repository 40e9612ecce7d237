//! `coterie routers shadow | canary | stop`, and what `list` tells of trials.

use clap::ValueEnum;
use serde::Serialize;

use super::{ChangeArgs, openable, output};
use crate::{
    cli::{CliError, load},
    clock,
    config::{Config, Environment, Exposure},
    ids::RouterId,
    store::{NewTrial, Store, StoreError, TrialError},
    trial::{CanaryWatch, Figures, Share, Subject, Trial, TrialKind},
};

/// What is to become of a trial.
pub(super) enum Change {
    /// It begins.
    Begin {
        router: RouterId,
        kind: TrialKind,
        share: Option<Share>,
    },
    /// It ends.
    Stop(TrialKind),
}

/// A kind of trial, as an argument.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum KindArg {
    /// The router that decides beside the one in force.
    Shadow,
    /// The router that decides for a share of the sessions.
    Canary,
}

impl From<KindArg> for TrialKind {
    fn from(kind: KindArg) -> Self {
        match kind {
            KindArg::Shadow => Self::Shadow,
            KindArg::Canary => Self::Canary,
        }
    }
}

/// A canary's share: `10%` or `0.1`.
pub(super) fn share(text: &str) -> Result<Share, String> {
    let text = text.trim();
    let number = match text.strip_suffix('%') {
        Some(percent) => percent.trim_end().parse::<f64>().map(|it| it / 100.0),
        None => text.parse::<f64>(),
    };
    number
        .ok()
        .and_then(Share::new)
        .ok_or_else(|| "write a share between 0 and 1, such as 10% or 0.1".to_owned())
}

/// Makes the change in the store; a running server sees it.
pub(super) async fn make(
    change: Change,
    args: ChangeArgs,
    environment: &Environment,
) -> Result<(), CliError> {
    let config = load(&args.config, environment, Exposure::Insecure)?;
    let store = Store::open(&config.store.path)
        .await
        .map_err(CliError::failed)?;
    let by = args.by(environment);
    let why = args.why.as_deref();
    let made = match &change {
        Change::Begin {
            router,
            kind,
            share,
        } => {
            let new = NewTrial {
                router,
                kind: *kind,
                share: *share,
                by,
                why,
            };
            begin(&config, &store, new).await
        }
        Change::Stop(kind) => store.stop_trial(*kind, by, why).await.map_err(refused),
    };
    let closed = store.close().await;
    let trial = made?;
    closed.map_err(CliError::failed)?;
    if config.router.artefact.is_some() {
        output::note(
            "warning: `router.artefact` names the router to use, so no router is tried until it is taken out of the configuration",
        );
    }
    if args.json {
        return output::json(&Listed::of(&trial, None)).map_err(CliError::failed);
    }
    output::line(&told(&trial));
    Ok(())
}

/// A router that no server could open is not tried.
async fn begin(config: &Config, store: &Store, new: NewTrial<'_>) -> Result<Trial, CliError> {
    openable(config, store, new.router).await?;
    store.begin_trial(new).await.map_err(refused)
}

fn refused(error: TrialError) -> CliError {
    match error {
        TrialError::Unknown { .. }
        | TrialError::InForce { .. }
        | TrialError::UnderWay { .. }
        | TrialError::NotUnderWay { .. } => CliError::usage(error),
        TrialError::Store(_) => CliError::failed(error),
    }
}

/// A trial for a person.
fn told(trial: &Trial) -> String {
    let share = trial.share.map(|share| {
        format!(
            " for {} % of the sessions",
            (1000.0 * share.get()).round() / 10.0
        )
    });
    let began = format!(
        "router {} as {}{}, since {} by {}",
        trial.router,
        trial.kind,
        share.unwrap_or_default(),
        clock::rfc3339(trial.started_at_ms),
        trial.started_by
    );
    match &trial.ended {
        None => began,
        Some(ended) => {
            let why = ended.why.as_deref().map(|why| format!(": {why}"));
            format!(
                "{began}; {} on {} by {}{}",
                ended.ending.as_str(),
                clock::rfc3339(ended.at_ms),
                ended.by,
                why.unwrap_or_default()
            )
        }
    }
}

/// A trial with what its outcomes say.
pub(super) struct Seen {
    trial: Trial,
    compared: Option<[(Subject, Figures); 2]>,
}

/// All trials, oldest first; of the canary that is under way, what its outcomes say so far.
pub(super) async fn seen(store: &Store, config: &Config) -> Result<Vec<Seen>, StoreError> {
    let mut seen = Vec::new();
    for trial in store.trials().await? {
        let is_judged = trial.kind == TrialKind::Canary && trial.ended.is_none();
        let compared = if is_judged && config.router.artefact.is_none() {
            let mut watch = CanaryWatch::new(&trial);
            watch.catch_up(store, clock::now_ms()).await?;
            let figures = |subject| (subject, watch.comparison().figures(subject));
            Some(Subject::ALL.map(figures))
        } else {
            None
        };
        seen.push(Seen { trial, compared });
    }
    Ok(seen)
}

/// Trials that are under way, and the last one that ended of each kind.
pub(super) fn tell(seen: &[Seen]) {
    for kind in TrialKind::ALL {
        let last = seen.iter().rev().find(|it| it.trial.kind == kind);
        let Some(Seen { trial, compared }) = last else {
            continue;
        };
        let when = if trial.ended.is_some() {
            "tried last"
        } else {
            "tried now"
        };
        output::line(&format!("{when}: {}", told(trial)));
        for (subject, figures) in compared.iter().flatten() {
            let what = match subject {
                Subject::Happened => "what happened",
                Subject::Said => "what was said",
            };
            output::line(&format!("  {what}: {figures}"));
        }
    }
}

/// A trial, for JSON.
#[derive(Serialize)]
pub(super) struct Listed<'l> {
    number: i64,
    router: &'l RouterId,
    kind: TrialKind,
    share: Option<Share>,
    champion: Option<&'l RouterId>,
    started_at: String,
    started_by: &'l str,
    why: Option<&'l str>,
    ended_at: Option<String>,
    ended_by: Option<&'l str>,
    ending: Option<&'l str>,
    ended_why: Option<&'l str>,
    /// What the outcomes of a canary that is under way say; null for any other trial.
    compared: Option<Compared>,
}

/// What a canary's outcomes say beside the others'.
#[derive(Clone, Copy, Serialize)]
pub(super) struct Compared {
    happened: Figures,
    said: Figures,
}

impl<'l> Listed<'l> {
    fn of(trial: &'l Trial, compared: Option<Compared>) -> Self {
        let ended = trial.ended.as_ref();
        Self {
            number: trial.number,
            router: &trial.router,
            kind: trial.kind,
            share: trial.share,
            champion: trial.champion.as_ref(),
            started_at: clock::rfc3339(trial.started_at_ms),
            started_by: &trial.started_by,
            why: trial.why.as_deref(),
            ended_at: ended.map(|ended| clock::rfc3339(ended.at_ms)),
            ended_by: ended.map(|ended| ended.by.as_str()),
            ending: ended.map(|ended| ended.ending.as_str()),
            ended_why: ended.and_then(|ended| ended.why.as_deref()),
            compared,
        }
    }
}

impl<'l> From<&'l Seen> for Listed<'l> {
    fn from(seen: &'l Seen) -> Self {
        let compared = seen
            .compared
            .map(|[(_, happened), (_, said)]| Compared { happened, said });
        Self::of(&seen.trial, compared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_written_as_percent_or_as_a_number() {
        assert_eq!(share("10%").unwrap().get().to_bits(), 0.1_f64.to_bits());
        assert_eq!(share(" 0.5 ").unwrap().get().to_bits(), 0.5_f64.to_bits());
        for wrong in ["", "0%", "100%", "10", "-1%", "some", "NaN"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
    }
}
