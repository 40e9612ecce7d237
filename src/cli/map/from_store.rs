//! `coterie map evaluate --from-store`: what a mapping or a router that has not served would have been worth.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, ValueEnum};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::super::{CliError, ConfigArgs, load};
use crate::{
    clock, composition,
    config::{Capability, Config, Environment, Exposure},
    ids::{CategoryId, ExpertId},
    learning::{
        Origin,
        reward::Implicit,
        served::{self, Served},
        untried::{self, Hindsight, Target},
    },
    mapping::Mapping,
    off_policy::{CONFIDENCE_LEVEL, Estimate},
    progress,
    query::Query,
    registry,
    router::{Router, RouterError, Standing},
    store::{Newest, Store},
};

/// Most outcomes that are read, the newest: a kilobyte or two each.
const OUTCOMES_MAX: u32 = 200_000;

/// Questions that are routed at once: enough for the encoder to work in batches.
const ROWS_AT_ONCE: usize = 32;

#[derive(Args)]
pub(super) struct FromStoreArgs {
    /// Also ask what the router in this folder would have made of the questions, instead of the one that decided.
    #[arg(long, value_name = "DIR", requires = "from_store")]
    router: Option<PathBuf>,
    /// How old the outcomes may be.
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = humantime::parse_duration)]
    since: Duration,
    /// Go by what was said of answers alone, not by what happened to them.
    #[arg(long, requires = "from_store")]
    scores_only: bool,
    /// Leave out what judges say of answers, as `learning.without` does.
    #[arg(long, value_enum, requires = "from_store")]
    without: Option<Without>,
}

/// Whose word of answers can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Without {
    /// Experts that were asked to judge.
    Judge,
}

pub(super) async fn run(
    mapping: Option<&Path>,
    args: &FromStoreArgs,
    config: &ConfigArgs,
    environment: &Environment,
) -> Result<Hindsight, CliError> {
    let config = load(config, environment, Exposure::Insecure)?;
    let mapping = open_mapping(&config, mapping)?;
    let (mut served, is_cut) = read(&config, args.since).await?;
    if args.without == Some(Without::Judge) || config.learning.without.contains(&Origin::Judge) {
        served::leave_judges_out(&mut served);
    }
    let router = match &args.router {
        Some(folder) => {
            let router = registry::open(&config, Some(folder)).await;
            Some(router.map_err(CliError::failed)?)
        }
        None => None,
    };
    let categories = match &router {
        Some(router) => route(router, &served).await.map_err(CliError::failed)?,
        None => Vec::new(),
    };
    let implicit = if args.scores_only {
        Implicit::LeftOut
    } else {
        Implicit::Counts
    };
    let router = router.map(|router| router.id().clone());
    let found = tokio::task::spawn_blocking(move || {
        let experts = chat_experts(&config);
        let target = Target {
            mapping: &mapping,
            router,
            categories: &categories,
            experts: &experts,
        };
        untried::hindsight(&served, &target, implicit)
    });
    let mut found = found.await.map_err(CliError::failed)?;
    if is_cut {
        let cut = format!("there is more than is read: the newest {OUTCOMES_MAX} outcomes count");
        found.warnings.push(cut);
    }
    Ok(found)
}

fn open_mapping(config: &Config, file: Option<&Path>) -> Result<Mapping, CliError> {
    let mapping = match file {
        Some(file) => config
            .mapping_source
            .judge_file(file)
            .map_err(CliError::Config)?,
        None => config.mapping.clone(),
    };
    Ok(composition::open_mapping(mapping, &config.experts))
}

fn chat_experts(config: &Config) -> Vec<ExpertId> {
    let experts = config.experts.iter();
    let chat = experts.filter(|expert| expert.capabilities.contains(&Capability::Chat));
    chat.map(|expert| expert.id.clone()).collect()
}

/// The outcomes of late, and whether there are more than are read.
async fn read(config: &Config, since: Duration) -> Result<(Vec<Served>, bool), CliError> {
    let store = Store::open(&config.store.path)
        .await
        .map_err(CliError::failed)?;
    let since_ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    let since_ms = clock::now_ms().saturating_sub(since_ms);
    let newest = store.served_since(since_ms, OUTCOMES_MAX).await;
    let closed = store.close().await;
    let Newest { mut served, is_cut } = newest.map_err(CliError::failed)?;
    closed.map_err(CliError::failed)?;
    served::notice_repeats(&mut served);
    Ok((served, is_cut))
}

/// The category that a router would act on, for every outcome whose text was kept.
async fn route(
    router: &Router,
    served: &[Served],
) -> Result<Vec<Option<Option<CategoryId>>>, RouterError> {
    let bar = progress::bar(served.len() as u64, "routing the questions");
    let categories = stream::iter(served)
        .map(|outcome| async move {
            let Some(question) = &outcome.question else {
                return Ok(None);
            };
            let verdict = router.classify(&Query::from_text(question)).await?;
            let likeliest = verdict.scores.into_iter().next();
            let routed = likeliest.filter(|_| verdict.standing == Standing::Confident);
            Ok(Some(routed.map(|score| score.category)))
        })
        .buffered(ROWS_AT_ONCE)
        .inspect(|_| bar.inc(1))
        .try_collect()
        .await;
    bar.finish_and_clear();
    categories
}

/// What was found, for a person.
///
/// The doubly robust estimate comes first: it is right where either the propensities or the model of the rewards are. The
/// self-normalised one beside it needs the propensities, and was never less exact in simulations: where the two differ by
/// more than their intervals, something is wrong with the propensities.
pub(super) fn table(found: &Hindsight) -> String {
    let mut table = String::new();
    let mut line = |name: &str, what: String| {
        // Writing to a text cannot fail.
        writeln!(table, "{name:<20}{what}").ok();
    };
    line("mapping", found.mapping.to_string());
    if let Some(router) = &found.router {
        line("router", router.to_string());
    }
    let target = &found.target;
    line(
        "outcomes",
        format!(
            "{} read; {} say something of the choice of experts, {} of them with a reward",
            found.outcomes, found.questions, target.rows
        ),
    );
    line("left out", left_out(found));
    line(
        "as before",
        format!("{:.1} % of the choices", found.unchanged * 100.0),
    );
    line("", String::new());
    line(
        "mean reward",
        format!("with a {:.0} % interval", CONFIDENCE_LEVEL * 100.0),
    );
    line("what served", estimate(found.served));
    line("doubly robust", estimate(target.doubly_robust));
    line("self-normalised", estimate(target.self_normalised));
    line("inverse propensity", estimate(target.inverse_propensity));
    line(
        "effective outcomes",
        format!(
            "{:.0}; the heaviest has {:.1} % of all weight",
            target.effective_rows,
            target.largest_share * 100.0
        ),
    );
    if !found.can_tell {
        line("", String::new());
        line("WARNING", "the outcomes cannot tell:".to_owned());
    }
    for warning in &found.warnings {
        line("", warning.clone());
    }
    table
}

fn left_out(found: &Hindsight) -> String {
    let left_out = &found.left_out;
    let counts = [
        (left_out.expert_named, "whose expert was named"),
        (left_out.cascade, "with a cascade"),
        (left_out.certain, "for which nobody else could be asked"),
        (left_out.unread, "whose text was not kept"),
        (left_out.refused, "that the mapping would refuse"),
    ];
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let counts: Vec<String> = counts
        .map(|(count, why)| format!("{count} {why}"))
        .collect();
    if counts.is_empty() {
        return "none".to_owned();
    }
    counts.join(", ")
}

fn estimate(estimate: Option<Estimate>) -> String {
    match estimate {
        Some(Estimate { value, low, high }) => format!("{value:.4}  ({low:.4} to {high:.4})"),
        None => "unknown".to_owned(),
    }
}
