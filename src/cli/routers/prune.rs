//! `coterie routers prune`: the folders of routers that nobody goes back to. What was judged of them stays in the registry.

use std::{
    collections::{BTreeMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
};

use clap::Args;
use serde::Serialize;

use super::output;
use crate::{
    cli::{CliError, ConfigArgs, load},
    config::{Config, Environment, Exposure},
    ids::RouterId,
    registry::{self, Promotion, Registered},
    router::artefact::MANIFEST_FILE,
    store::{Store, StoreError},
    trial::Trial,
};

#[derive(Args)]
pub(super) struct PruneArgs {
    /// How many of the newest routers to keep, beside those that are in force, were so before it in the order of roll-backs, or are
    /// being tried.
    #[arg(long, default_value_t = 10, value_name = "N")]
    keep: usize,
    /// Only tell what would be deleted.
    #[arg(long)]
    dry_run: bool,
    /// Print what was deleted as one JSON document.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// A folder that was deleted, or would be.
#[derive(Serialize)]
struct Deleted {
    router: RouterId,
    folder: String,
    bytes: u64,
}

/// What was done.
#[derive(Serialize)]
struct Pruned {
    deleted: Vec<Deleted>,
    /// Registered routers whose folder stays.
    kept: usize,
    bytes: u64,
    dry_run: bool,
}

pub(super) async fn run(args: PruneArgs, environment: &Environment) -> Result<(), CliError> {
    let config = load(&args.config, environment, Exposure::Insecure)?;
    let registry = read(&config).await?;
    let (keep, dry_run) = (args.keep, args.dry_run);
    let pruned = tokio::task::spawn_blocking(move || registry.prune(&config, keep, dry_run));
    let pruned = pruned.await.map_err(CliError::failed)??;
    if args.json {
        return output::json(&pruned).map_err(CliError::failed);
    }
    for deleted in &pruned.deleted {
        output::line(&format!(
            "{}  {}  {}",
            deleted.router,
            indicatif::HumanBytes(deleted.bytes),
            deleted.folder
        ));
    }
    output::line(&format!(
        "{} routers {}, {}; {} are kept",
        pruned.deleted.len(),
        if dry_run {
            "would be deleted"
        } else {
            "deleted"
        },
        indicatif::HumanBytes(pruned.bytes),
        pruned.kept
    ));
    Ok(())
}

/// The registry as it was read.
struct Registry {
    routers: Vec<Registered>,
    promotions: Vec<Promotion>,
    trials: Vec<Trial>,
}

async fn read(config: &Config) -> Result<Registry, CliError> {
    let store = Store::open(&config.store.path)
        .await
        .map_err(CliError::failed)?;
    let read = async {
        Ok(Registry {
            routers: store.routers().await?,
            promotions: store.promotions().await?,
            trials: store.trials().await?,
        })
    };
    let read: Result<_, StoreError> = read.await;
    let closed = store.close().await;
    let registry = read.map_err(CliError::failed)?;
    closed.map_err(CliError::failed)?;
    Ok(registry)
}

impl Registry {
    /// The routers that somebody may ask for again.
    fn wanted(&self, keep: usize) -> HashSet<&RouterId> {
        let by_number: BTreeMap<i64, &Promotion> =
            self.promotions.iter().map(|it| (it.number, it)).collect();
        let mut wanted = HashSet::new();
        let mut next = self.promotions.last();
        while let Some(promotion) = next {
            wanted.extend(&promotion.router);
            // Each replaces an older one, so that this ends.
            let before = promotion
                .replaces
                .filter(|number| *number < promotion.number);
            next = before.and_then(|number| by_number.get(&number).copied());
        }
        for trial in self.trials.iter().filter(|trial| trial.ended.is_none()) {
            wanted.insert(&trial.router);
            wanted.extend(&trial.champion);
        }
        let mut newest: Vec<&Registered> = self.routers.iter().collect();
        newest.sort_by_key(|router| std::cmp::Reverse(router.registered_at_ms));
        wanted.extend(newest.iter().take(keep).map(|router| &router.id));
        wanted
    }

    fn prune(&self, config: &Config, keep: usize, dry_run: bool) -> Result<Pruned, CliError> {
        let wanted = self.wanted(keep);
        let configured = config.router.artefact.as_deref();
        let mut pruned = Pruned {
            deleted: Vec::new(),
            kept: 0,
            bytes: 0,
            dry_run,
        };
        for router in &self.routers {
            let folder = registry::folder_of(config, router);
            if !folder.join(MANIFEST_FILE).exists() {
                continue;
            }
            if wanted.contains(&router.id) || configured == Some(folder.as_path()) {
                pruned.kept += 1;
                continue;
            }
            let deleted = delete(&folder, dry_run).map_err(|source| {
                let path = folder.clone();
                CliError::failed(Undeleted { path, source })
            })?;
            pruned.bytes += deleted;
            pruned.deleted.push(Deleted {
                router: router.id.clone(),
                folder: folder.display().to_string(),
                bytes: deleted,
            });
        }
        Ok(pruned)
    }
}

/// Deletes a folder of files, its manifest first: what is left of it, should it be cut off, is no router. How many bytes there are.
fn delete(folder: &Path, dry_run: bool) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        bytes += entry?.metadata()?.len();
    }
    if !dry_run {
        fs::remove_file(folder.join(MANIFEST_FILE))?;
        fs::remove_dir_all(folder)?;
    }
    Ok(bytes)
}

/// A folder could not be deleted; those before it were.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be deleted", path.display())]
struct Undeleted {
    path: PathBuf,
    source: io::Error,
}
