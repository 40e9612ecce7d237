//! `coterie drift`.

mod naming;

use clap::Args;
use serde::Serialize;

use super::{
    CliError, ConfigArgs,
    export::{in_order, moment},
    load, output,
};
use crate::{
    clock,
    config::{Config, Environment, Exposure},
    drift::{Alarm, Reference},
    ids::{OUT_OF_DOMAIN, RouterId},
    learning::{
        proposing::{self, Proposed, ProposingError, Suggestion},
        watch::{self, CaughtUp, Watch},
    },
    registry,
    router::Router,
    store::Store,
};

/// Examples of a proposal that are shown to a person.
const EXAMPLES_SHOWN: usize = 3;

#[derive(Args)]
pub(super) struct DriftArgs {
    /// Make a proposed category one: write its route, and label its questions for the next retraining. By its name, or by the
    /// digest that was shown of its questions. Several are made one category, with the name of the first.
    #[arg(long, value_name = "NAME|DIGEST", conflicts_with = "dismiss")]
    accept: Vec<String>,
    /// With `--accept`: no category of its own, but questions of one that there is; no route is written.
    #[arg(long, value_name = "CATEGORY", requires = "accept")]
    into: Option<String>,
    /// Say of a proposed category's questions that they belong nowhere, so that it is not proposed again. May be given several
    /// times.
    #[arg(long, value_name = "NAME|DIGEST")]
    dismiss: Vec<String>,
    /// Let an expert name what is proposed, and say what belongs to it.
    #[arg(long, value_name = "EXPERT")]
    name_by: Option<String>,
    /// From when refused questions are looked at: a moment, or how long ago.
    #[arg(long, value_name = "TIME", default_value = "90 days", value_parser = moment)]
    since: i64,
    /// Until when: with both moments as they were shown, the same is proposed again [default: now].
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<i64>,
    /// Who accepts or dismisses, for the record [default: the environment's USER].
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
    /// The router that is watched: that of the newest question, else the one in force.
    router: &'f RouterId,
    router_in_force: &'f RouterId,
    /// Questions that the tests have seen.
    questions: usize,
    alarms: &'f [Alarm],
    /// What the tests compare with; those that are not whole find nothing yet.
    references: &'f [Reference],
    /// The moments between which refused questions were looked at.
    since: String,
    until: String,
    /// Distinct refused texts that proposals were looked for in.
    refused: usize,
    /// Whether there are more, which are older.
    refused_more: bool,
    proposals: &'f [Suggestion],
    /// The route that was written.
    accepted: Option<String>,
    /// Questions that were labelled.
    labelled: Option<usize>,
}

/// What the tests say.
struct Watched {
    router: RouterId,
    alarms: Vec<Alarm>,
    references: Vec<Reference>,
    questions: usize,
}

/// What was made of a proposal.
#[derive(Default)]
struct Done {
    accepted: Option<String>,
    labelled: Option<usize>,
}

impl Done {
    fn labelled(labelled: usize) -> Self {
        Self {
            accepted: None,
            labelled: Some(labelled),
        }
    }
}

pub(super) async fn run(args: DriftArgs, environment: &Environment) -> Result<(), CliError> {
    in_order(Some(args.since), args.until)?;
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
    let watched = watched(config, store, &router).await?;
    let span = (args.since, args.until.unwrap_or_else(clock::now_ms));
    let mut proposed = proposing::look(store, &router, &config.catalogue, span)
        .await
        .map_err(CliError::failed)?;
    let done = act(args, config, &mut proposed, (store, by)).await?;
    let found = Found {
        router: &watched.router,
        router_in_force: router.id(),
        questions: watched.questions,
        alarms: &watched.alarms,
        references: &watched.references,
        since: clock::rfc3339_millis(span.0),
        until: clock::rfc3339_millis(span.1),
        refused: proposed.texts(),
        refused_more: proposed.is_cut,
        proposals: &proposed.suggestions,
        accepted: done.accepted,
        labelled: done.labelled,
    };
    if args.json {
        return output::json(&found).map_err(CliError::failed);
    }
    tell(&found, args);
    Ok(())
}

async fn watched(config: &Config, store: &Store, router: &Router) -> Result<Watched, CliError> {
    let now_ms = clock::now_ms();
    let questions = config.learning.questions_per_false_alarm;
    let watch = Watch::begin(store, questions, now_ms).await;
    let mut watch = watch.map_err(CliError::failed)?;
    let encoder = router.artefact().static_encoder.as_ref();
    let CaughtUp { alarms, error, .. } = watch.catch_up(store, encoder, now_ms).await;
    if let Some(error) = error {
        return Err(CliError::failed(error));
    }
    Ok(Watched {
        router: watch.router().unwrap_or(router.id()).clone(),
        alarms,
        references: watch.references(),
        questions: watch.questions(),
    })
}

/// Names what is proposed, accepts or dismisses.
async fn act(
    args: &DriftArgs,
    config: &Config,
    proposed: &mut Proposed,
    by: (&Store, &str),
) -> Result<Done, CliError> {
    // What is named already, or meant by its digest, need not wait until all others have their names.
    let meant = args.accept.split_first().or(args.dismiss.split_first());
    let known = meant.and_then(|(first, others)| proposed.join(first, others).ok());
    if let Some(expert) = &args.name_by {
        let places = known.map_or(0..proposed.suggestions.len(), |at| at..at + 1);
        naming::name(proposed, places, config, expert).await?;
    }
    let Some((first, others)) = meant else {
        return Ok(Done::default());
    };
    let at = match known {
        Some(at) => at,
        None => proposed.join(first, others).map_err(failed)?,
    };
    if !args.dismiss.is_empty() {
        let labelled = proposed.dismiss(at, by).await.map_err(failed)?;
        return Ok(Done::labelled(labelled));
    }
    if let Some(category) = &args.into {
        let labelled = proposed.add_to(category, at, &config.catalogue, by).await;
        return Ok(Done::labelled(labelled.map_err(failed)?));
    }
    let folder = config.routes_folder.as_deref();
    let accepted = proposed.accept(at, folder, by).await.map_err(failed)?;
    Ok(Done {
        accepted: Some(accepted.path.display().to_string()),
        labelled: Some(accepted.labelled),
    })
}

fn failed(error: ProposingError) -> CliError {
    match error {
        ProposingError::Unknown { .. }
        | ProposingError::NoRoute { .. }
        | ProposingError::NoFolder
        | ProposingError::Exists { .. } => CliError::usage(error),
        error => CliError::failed(error),
    }
}

fn tell(found: &Found<'_>, args: &DriftArgs) {
    output::line(&format!(
        "{} questions watched, {} alarms; router {}",
        found.questions,
        found.alarms.len(),
        found.router
    ));
    if found.router != found.router_in_force {
        output::line(&format!(
            "  it decided the newest question; router {}, which is in force now, has decided none since",
            found.router_in_force
        ));
    }
    for alarm in found.alarms {
        output::line(&format!("  {}", watch::in_words(alarm)));
    }
    let collecting = watch::references_in_words(found.references);
    if !collecting.is_empty() {
        output::line("collecting what is to be compared with, no change can be seen yet in");
    }
    for line in collecting {
        output::line(&format!("  {line}"));
    }
    tell_proposals(found);
    match (&found.accepted, found.labelled) {
        (Some(path), Some(labelled)) => output::line(&format!(
            "wrote {path} and labelled {labelled} questions; {}give it an expert in `mapping`, and run `coterie retrain`",
            if args.name_by.is_some() {
                ""
            } else {
                "say in it what belongs there, "
            }
        )),
        (None, Some(labelled)) => {
            let category = args.into.as_deref().unwrap_or(OUT_OF_DOMAIN);
            output::line(&format!("labelled {labelled} questions `{category}`"));
        }
        _ if !found.proposals.is_empty() => output::line(&format!(
            "`coterie drift --since {} --until {} --accept DIGEST` makes one of them a category, `--dismiss DIGEST` none",
            found.since, found.until
        )),
        _ => {}
    }
}

fn tell_proposals(found: &Found<'_>) {
    output::line(&format!(
        "{} categories proposed from {} refused questions",
        found.proposals.len(),
        found.refused
    ));
    if found.refused_more {
        output::line("  (the newest; `--until` looks at older ones)");
    }
    for suggestion in found.proposals {
        let proposal = &suggestion.proposal;
        let nearest = proposal.nearest.as_ref().map(|(category, _)| category);
        output::line(&format!(
            "  {}  {}  {} questions, asked {} times; nearest to {}; {}",
            suggestion.digest,
            proposal.name,
            proposal.size,
            proposal.times,
            nearest.map_or("none", String::as_str),
            proposal.terms.join(", ")
        ));
        if let Some(description) = &suggestion.description {
            output::line(&format!("      {description}"));
        }
        for example in proposal.examples.iter().take(EXAMPLES_SHOWN) {
            let line: String = example.chars().take(100).collect();
            output::line(&format!("      {}", line.escape_debug()));
        }
    }
}
