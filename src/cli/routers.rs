//! `coterie routers`: the registry, and trials of its routers.

mod prune;
mod trials;

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::Value;

use super::{CliError, ConfigArgs, load, output};
use crate::{
    clock,
    config::{Config, Environment, Exposure},
    ids::RouterId,
    registry::{self, Promotion, Registered},
    router::artefact::{Artefact, ArtefactError},
    store::{Promoter, PromotionError, Store},
    trial::{Share, TrialKind},
};

#[derive(Args)]
pub(super) struct RoutersArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show the routers that were trained and judged, and which of them is in force.
    List {
        #[command(flatten)]
        config: ConfigArgs,
        /// Print the registry as one JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Put a router in force; a running server takes it up by itself.
    Promote {
        /// The router's id.
        id: String,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Put that router in force again that was so before the present one.
    Rollback {
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Delete the folders of routers that nobody goes back to; what was judged of them stays in the registry.
    Prune(prune::PruneArgs),
    /// Have a router decide beside the one in force, without effect; `coterie retrain --report` compares them.
    Shadow {
        /// The router's id.
        id: String,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Have a router decide for a share of the sessions, until it is promoted, stopped, or turns out worse.
    Canary {
        /// The router's id.
        id: String,
        /// Its share of the sessions, such as 10%.
        #[arg(long, value_name = "SHARE", value_parser = trials::share)]
        share: Share,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// End a trial: the router in force decides alone.
    Stop {
        /// Which.
        kind: trials::KindArg,
        #[command(flatten)]
        change: ChangeArgs,
    },
}

#[derive(Args)]
struct ChangeArgs {
    /// Who does it, for the record [default: the environment's USER].
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Why, for the record.
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    /// Print what was changed as one JSON document.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) async fn run(args: RoutersArgs, environment: &Environment) -> Result<(), CliError> {
    match args.command {
        Command::List { config, json } => {
            let config = load(&config, environment, Exposure::Insecure)?;
            list(&config, json).await
        }
        Command::Promote { id, change } => change.make(Some(RouterId::new(id)), environment).await,
        Command::Rollback { change } => change.make(None, environment).await,
        Command::Prune(args) => prune::run(args, environment).await,
        Command::Shadow { id, change } => {
            let begin = trials::Change::Begin {
                router: RouterId::new(id),
                kind: TrialKind::Shadow,
                share: None,
            };
            trials::make(begin, change, environment).await
        }
        Command::Canary { id, share, change } => {
            let begin = trials::Change::Begin {
                router: RouterId::new(id),
                kind: TrialKind::Canary,
                share: Some(share),
            };
            trials::make(begin, change, environment).await
        }
        Command::Stop { kind, change } => {
            trials::make(trials::Change::Stop(kind.into()), change, environment).await
        }
    }
}

impl ChangeArgs {
    fn by<'a>(&'a self, environment: &'a Environment) -> &'a str {
        let by = self.by.as_deref().or_else(|| environment.get("USER"));
        by.filter(|by| !by.is_empty()).unwrap_or("someone")
    }

    /// Promotes a router, or rolls back where there is none.
    async fn make(self, id: Option<RouterId>, environment: &Environment) -> Result<(), CliError> {
        let config = load(&self.config, environment, Exposure::Insecure)?;
        let store = Store::open(&config.store.path)
            .await
            .map_err(CliError::failed)?;
        let promoter = Promoter {
            by: self.by(environment),
            why: self.why.as_deref(),
            expected: None,
        };
        let openable = match &id {
            Some(id) => openable(&config, &store, id).await,
            None => openable_before(&config, &store).await,
        };
        if let Err(error) = openable {
            store.close().await.map_err(CliError::failed)?;
            return Err(error);
        }
        let made = match &id {
            Some(id) => store.promote(id, promoter).await,
            None => store.roll_back(promoter).await,
        };
        let closed = store.close().await;
        let promotion = made.map_err(refused)?;
        closed.map_err(CliError::failed)?;
        if config.router.artefact.is_some() {
            output::note(
                "warning: `router.artefact` names the router to use, so this has no effect until it is taken out of the configuration",
            );
        }
        if self.json {
            return output::json(&Change::of(&promotion)).map_err(CliError::failed);
        }
        output::line(&format!("{} is in force", name(promotion.router.as_ref())));
        Ok(())
    }
}

/// Whether the artefact of a registered router is where a server looks for it, and whole: a server would refuse any other and keep
/// what it has.
async fn openable(config: &Config, store: &Store, id: &RouterId) -> Result<(), CliError> {
    let read = read(config, store, id).await?;
    read.map_err(CliError::failed)
}

/// The same of the router that a roll-back goes to.
async fn openable_before(config: &Config, store: &Store) -> Result<(), CliError> {
    let Some(router) = store.rolls_back_to().await.map_err(CliError::failed)? else {
        return Ok(());
    };
    let read = read(config, store, &router).await?;
    read.map_err(|source| CliError::failed(GoneBefore { router, source }))
}

async fn read(
    config: &Config,
    store: &Store,
    id: &RouterId,
) -> Result<Result<(), ArtefactError>, CliError> {
    let Some(registered) = store.router(id).await.map_err(CliError::failed)? else {
        // What is made of it says so.
        return Ok(Ok(()));
    };
    let folder = registry::folder_of(config, &registered);
    let read = tokio::task::spawn_blocking(move || Artefact::read(&folder).map(drop));
    read.await.map_err(CliError::failed)
}

/// What a roll-back would go to is not there, or damaged.
#[derive(Debug, thiserror::Error)]
#[error(
    "nothing was changed, since router {router}, which was in force before, cannot be opened; `coterie routers list` shows the others, and `coterie routers promote ID` puts one in force"
)]
struct GoneBefore {
    router: RouterId,
    source: ArtefactError,
}

fn refused(error: PromotionError) -> CliError {
    match error {
        PromotionError::Unknown { .. }
        | PromotionError::InForce { .. }
        | PromotionError::NothingToRollBack => CliError::usage(error),
        PromotionError::Overtaken | PromotionError::Store(_) => CliError::failed(error),
    }
}

/// A router as people call it.
fn name(router: Option<&RouterId>) -> String {
    router.map_or_else(
        || "the router of the routes' examples".to_owned(),
        |id| format!("router {id}"),
    )
}

/// The registry, for JSON.
#[derive(Serialize)]
struct Listing<'l> {
    /// The router that was promoted last; null: the one that needs no registry.
    in_force: Option<&'l RouterId>,
    routers: Vec<Listed<'l>>,
    promotions: Vec<Change<'l>>,
    trials: Vec<trials::Listed<'l>>,
}

#[derive(Serialize)]
struct Listed<'l> {
    id: &'l RouterId,
    parent: Option<&'l RouterId>,
    registered_at: String,
    data_sha256: &'l str,
    folder: String,
    judgement: Option<Value>,
}

#[derive(Serialize)]
struct Change<'l> {
    number: i64,
    at: String,
    router: Option<&'l RouterId>,
    kind: &'l str,
    promoted_by: &'l str,
    why: Option<&'l str>,
}

impl<'l> Change<'l> {
    fn of(promotion: &'l Promotion) -> Self {
        Self {
            number: promotion.number,
            at: clock::rfc3339(promotion.at_ms),
            router: promotion.router.as_ref(),
            kind: promotion.kind.as_str(),
            promoted_by: &promotion.promoted_by,
            why: promotion.why.as_deref(),
        }
    }
}

impl<'l> Listed<'l> {
    fn of(router: &'l Registered) -> Self {
        let judgement = router.judgement.as_deref();
        Self {
            id: &router.id,
            parent: router.parent.as_ref(),
            registered_at: clock::rfc3339(router.registered_at_ms),
            data_sha256: &router.data_sha256,
            folder: router.folder.display().to_string(),
            judgement: judgement.and_then(|text| serde_json::from_str(text).ok()),
        }
    }
}

async fn list(config: &Config, as_json: bool) -> Result<(), CliError> {
    let store = Store::open(&config.store.path)
        .await
        .map_err(CliError::failed)?;
    let read = async {
        let trials = trials::seen(&store, config).await?;
        Ok((store.routers().await?, store.promotions().await?, trials))
    };
    let read: Result<_, crate::store::StoreError> = read.await;
    let closed = store.close().await;
    let (routers, promotions, trials) = read.map_err(CliError::failed)?;
    closed.map_err(CliError::failed)?;
    let in_force = promotions.last().and_then(|last| last.router.as_ref());
    if as_json {
        let listing = Listing {
            in_force,
            routers: routers.iter().map(Listed::of).collect(),
            promotions: promotions.iter().map(Change::of).collect(),
            trials: trials.iter().map(trials::Listed::from).collect(),
        };
        return output::json(&listing).map_err(CliError::failed);
    }
    tell(&routers, &promotions);
    trials::tell(&trials);
    Ok(())
}

/// Hexadecimal digits that are shown of the digest of what a router was trained on.
const DATA_DIGITS: usize = 12;

/// The figures of a judgement, the champion's and the challenger's.
fn figures(judgement: &Value) -> String {
    let checks = judgement["checks"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let figure = |(subject, name): (&str, &str)| {
        let check = checks.iter().find(|check| check["subject"] == subject)?;
        let [old, new] = ["champion", "challenger"].map(|who| check[who].as_f64());
        Some(format!("; {name} {:.3} → {:.3}", old?, new?))
    };
    let shown = [
        ("better", "measure"),
        ("settled", "settled"),
        ("calibration", "calibration error"),
        ("out_of_domain", "AUROC"),
    ];
    shown.into_iter().filter_map(figure).collect()
}

fn tell(routers: &[Registered], promotions: &[Promotion]) {
    let in_force = promotions.last().and_then(|last| last.router.as_ref());
    let mut last: BTreeMap<&RouterId, &Promotion> = BTreeMap::new();
    for promotion in promotions {
        if let Some(id) = &promotion.router {
            last.insert(id, promotion);
        }
    }
    for router in routers {
        let mark = if in_force == Some(&router.id) {
            "*"
        } else {
            " "
        };
        let judgement = Listed::of(router).judgement;
        let reason = judgement.as_ref().and_then(|it| it["reason"].as_str());
        let promoted = last.get(&router.id).map(|promotion| {
            format!(
                "{} by {} on {}; ",
                promotion.kind.as_str(),
                promotion.promoted_by,
                clock::rfc3339(promotion.at_ms)
            )
        });
        output::line(&format!(
            "{mark} {}  {}  {}{}",
            router.id,
            clock::rfc3339(router.registered_at_ms),
            promoted.unwrap_or_default(),
            reason.unwrap_or("not judged")
        ));
        output::line(&format!(
            "    against {}; rows {}{}",
            router.parent.as_ref().map_or("none", RouterId::as_str),
            router.data_sha256.get(..DATA_DIGITS).unwrap_or("unknown"),
            judgement.as_ref().map(figures).unwrap_or_default()
        ));
    }
    if in_force.is_none() {
        output::line(&format!("* {} is in force", name(None)));
    }
}
