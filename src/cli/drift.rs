//! `coterie drift`.

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::{CliError, ConfigArgs, load, output};
use crate::{
    clock,
    config::{Config, Environment, Exposure},
    drift::{Alarm, proposals::Proposal},
    ids::RouterId,
    learning::{
        proposing::{self, Proposed},
        watch::{self, Watch},
    },
    registry,
    store::Store,
};

/// Examples of a proposal that are shown to a person.
const EXAMPLES_SHOWN: usize = 3;

#[derive(Args)]
pub(super) struct DriftArgs {
    /// Make a proposed category one: write its route, and label its questions for the next retraining.
    #[arg(long, value_name = "NAME")]
    accept: Option<String>,
    /// How far back refused questions are looked at.
    #[arg(long, value_name = "TIME", default_value = "90 days", value_parser = humantime::parse_duration)]
    since: Duration,
    /// Who accepts, for the record [default: the environment's USER].
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Print what was found as one JSON document.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// What was found, for JSON.
#[derive(Serialize)]
struct Found<'f> {
    router: &'f RouterId,
    /// Questions that the tests have seen.
    questions: usize,
    alarms: &'f [Alarm],
    /// Distinct refused texts that proposals were looked for in.
    refused: usize,
    proposals: &'f [Proposal],
    /// The route that was written.
    accepted: Option<String>,
}

pub(super) async fn run(args: DriftArgs, environment: &Environment) -> Result<(), CliError> {
    let config = load(&args.config, environment, Exposure::Insecure)?;
    let store = Store::open(&config.store.path)
        .await
        .map_err(CliError::failed)?;
    let by = args.by.clone();
    let by = by.or_else(|| environment.get("USER").map(str::to_owned));
    let by = by.filter(|by| !by.is_empty());
    let told = Box::pin(look(
        &args,
        &config,
        &store,
        by.as_deref().unwrap_or("someone"),
    ))
    .await;
    let closed = store.close().await;
    told?;
    closed.map_err(CliError::failed)
}

async fn look(args: &DriftArgs, config: &Config, store: &Store, by: &str) -> Result<(), CliError> {
    let (router, _) = registry::open_promoted(config, store)
        .await
        .map_err(CliError::failed)?;
    let mut watch = Watch::new(&router, &config.learning);
    let alarms = watch
        .catch_up(store, &router)
        .await
        .map_err(CliError::failed)?;
    let since_ms = i64::try_from(args.since.as_millis()).unwrap_or(i64::MAX);
    let since_ms = clock::now_ms().saturating_sub(since_ms);
    let proposed = proposing::look(store, &router, &config.catalogue, since_ms)
        .await
        .map_err(CliError::failed)?;
    let accepted = match &args.accept {
        Some(name) => Some(accept(name, &proposed, config, (store, by)).await?),
        None => None,
    };
    let found = Found {
        router: router.id(),
        questions: watch.questions(),
        alarms: &alarms,
        refused: proposed.texts,
        proposals: &proposed.proposals,
        accepted,
    };
    if args.json {
        return output::json(&found).map_err(CliError::failed);
    }
    tell(&found);
    Ok(())
}

async fn accept(
    name: &str,
    proposed: &Proposed,
    config: &Config,
    by: (&Store, &str),
) -> Result<String, CliError> {
    let folder = config.routes_folder.as_deref();
    let path = proposed.accept(name, folder, by).await;
    let path = path.map_err(|error| match error {
        proposing::ProposingError::Unknown { .. } | proposing::ProposingError::NoFolder => {
            CliError::usage(error)
        }
        error => CliError::failed(error),
    })?;
    Ok(path.display().to_string())
}

fn tell(found: &Found<'_>) {
    output::line(&format!(
        "router {}: {} questions watched, {} alarms",
        found.router,
        found.questions,
        found.alarms.len()
    ));
    for alarm in found.alarms {
        output::line(&format!("  {}", watch::in_words(alarm)));
    }
    output::line(&format!(
        "{} categories proposed from {} refused questions",
        found.proposals.len(),
        found.refused
    ));
    for proposal in found.proposals {
        let nearest = proposal.nearest.as_ref().map(|(category, _)| category);
        output::line(&format!(
            "  {}  {} questions, asked {} times; nearest to {}; {}",
            proposal.name,
            proposal.size,
            proposal.times,
            nearest.map_or("none", String::as_str),
            proposal.terms.join(", ")
        ));
        for example in proposal.examples.iter().take(EXAMPLES_SHOWN) {
            let line: String = example.chars().take(100).collect();
            output::line(&format!("      {}", line.escape_debug()));
        }
    }
    match &found.accepted {
        Some(path) => output::line(&format!(
            "wrote {path}; say in it what belongs there, give it an expert in `mapping`, and run `coterie retrain`"
        )),
        None if !found.proposals.is_empty() => {
            output::line("`coterie drift --accept NAME` makes one of them a category");
        }
        None => {}
    }
}
