//! `coterie evaluate`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use clap::Args;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{CliError, ConfigArgs, load, output};
use crate::{
    composition::Composition,
    config::{Environment, Exposure},
    evaluate::{Evaluation, Judged, Tier, plots},
    ids::{CategoryId, OUT_OF_DOMAIN},
    progress,
    router::{Router, RouterError, Standing, Verdict},
    train::labels::{self, Labelled},
};

/// Rows that are judged at once: enough for the encoder to work in batches.
const ROWS_AT_ONCE: usize = 32;

/// Rows that are judged one at a time, to measure how long that takes: their 99th percentile is the sixth slowest.
const MEASURED_MAX: usize = 500;

/// Unknown labels that are named.
const UNKNOWN_SHOWN: usize = 10;

#[derive(Args)]
pub(super) struct EvaluateArgs {
    /// Files with a JSON object a line, each with `text` or `messages`, and the `category` that is right (or
    /// `out_of_domain`).
    #[arg(long, required = true, num_args = 1.., value_name = "F.jsonl")]
    labels: Vec<PathBuf>,
    /// Evaluate the router in this folder instead of the one in force.
    #[arg(long, value_name = "DIR")]
    router: Option<PathBuf>,
    /// Draw the reliability diagram and the risk–coverage curve into this folder, as SVG.
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
    /// Print the evaluation as one JSON document.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) async fn run(args: EvaluateArgs, environment: &Environment) -> Result<(), CliError> {
    let rows = labels::read(&args.labels).map_err(CliError::usage)?;
    let config = load(&args.config, environment, Exposure::Insecure)?;
    let composition = Composition::open(&config, args.router.as_deref())
        .await
        .map_err(CliError::failed)?;
    let router = composition.router();
    warn_of_unknown_labels(&rows, router);
    let judged = judge(router, rows).await.map_err(CliError::failed)?;
    let evaluation = Evaluation::of(&judged, router.id().clone()).map_err(CliError::usage)?;
    if args.json {
        output::json(&evaluation).map_err(CliError::failed)?;
    } else {
        output::line(evaluation.table().trim_end());
    }
    match args.plots {
        Some(folder) => draw(&evaluation, &folder),
        None => Ok(()),
    }
}

/// Labels that the router cannot give are mostly misspelt, or the router is another one than was meant.
fn warn_of_unknown_labels(rows: &[Labelled], router: &Router) {
    let unknown = unknown_labels(rows, router.categories());
    if unknown.is_empty() {
        return;
    }
    let mut named: Vec<String> = unknown
        .iter()
        .take(UNKNOWN_SHOWN)
        .map(|(label, rows)| format!("{:?} ({rows} rows)", label.as_str()))
        .collect();
    if unknown.len() > UNKNOWN_SHOWN {
        named.push(format!("{} more", unknown.len() - UNKNOWN_SHOWN));
    }
    output::note(&format!(
        "warning: {} of {} rows have labels that router {} does not know, and count as wrong: {}",
        unknown.values().sum::<usize>(),
        rows.len(),
        router.id(),
        named.join(", ")
    ));
}

/// Labels that are not among the categories that a router tells apart, with how many rows have them.
fn unknown_labels<'r>(
    rows: &'r [Labelled],
    categories: &[CategoryId],
) -> BTreeMap<&'r CategoryId, usize> {
    let mut unknown = BTreeMap::new();
    for row in rows {
        if row.category.as_str() != OUT_OF_DOMAIN && !categories.contains(&row.category) {
            *unknown.entry(&row.category).or_default() += 1;
        }
    }
    unknown
}

/// Judges every row, in order. A sample that is spread evenly over the rows is judged one at a time, and measured; the
/// others are judged several at once.
async fn judge(router: &Router, rows: Vec<Labelled>) -> Result<Vec<Judged>, RouterError> {
    let bar = progress::bar(rows.len() as u64, "judging the rows");
    let stride = rows.len().div_ceil(MEASURED_MAX).max(1);
    let (measured, others): (Vec<_>, Vec<_>) = rows
        .into_iter()
        .enumerate()
        .partition(|(at, _)| at % stride == 0);
    let mut judged: Vec<(usize, Judged)> = stream::iter(others)
        .map(|(at, row)| async move {
            let verdict = router.classify(&row.query).await?;
            Ok::<_, RouterError>((at, judgement(router, row, verdict, None)))
        })
        .buffered(ROWS_AT_ONCE)
        .inspect(|_| bar.inc(1))
        .try_collect()
        .await?;
    // The first decision of a process pays for what later ones find ready.
    if let Some((_, row)) = measured.first() {
        router.classify(&row.query).await?;
    }
    for (at, row) in measured {
        let started = Instant::now();
        let verdict = router.classify(&row.query).await?;
        let took_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        judged.push((at, judgement(router, row, verdict, Some(took_us))));
        bar.inc(1);
    }
    bar.finish_and_clear();
    judged.sort_by_key(|(at, _)| *at);
    Ok(judged.into_iter().map(|(_, judged)| judged).collect())
}

/// What the router says, in the terms of the evaluation.
fn judgement(router: &Router, row: Labelled, verdict: Verdict, took_us: Option<u64>) -> Judged {
    let likeliest = verdict.scores.first();
    let is_category = likeliest.is_some_and(|score| score.category.as_str() != OUT_OF_DOMAIN);
    Judged {
        id: row.id,
        label: row.category,
        routed: is_category && verdict.standing == Standing::Confident,
        out_of_domain: verdict.out_of_domain,
        tier: verdict.tier.map(|tier| Tier::new(tier.as_str())),
        features: spoke_for(router, &row.query.text, &verdict),
        scores: verdict.scores,
        took_us,
        text: row.query.text,
    }
}

/// What spoke for a likeliest class that is wrong: only mistakes are explained.
fn spoke_for(router: &Router, text: &str, verdict: &Verdict) -> Vec<String> {
    let explanation = verdict
        .tier
        .and_then(|tier| router.explain(text, &verdict.scores, tier));
    let features = explanation
        .map(|explanation| explanation.features_for)
        .unwrap_or_default();
    features.into_iter().map(|share| share.feature).collect()
}

fn draw(evaluation: &Evaluation, folder: &Path) -> Result<(), CliError> {
    let written = |path: &Path, error: std::io::Error| {
        CliError::Failed(format!("{} cannot be written: {error}", path.display()))
    };
    fs::create_dir_all(folder).map_err(|error| written(folder, error))?;
    let pictures = [
        ("reliability.svg", plots::reliability(evaluation)),
        ("risk-coverage.svg", plots::risk_coverage(evaluation)),
    ];
    for (name, picture) in pictures {
        let path = folder.join(name);
        fs::write(&path, picture.map_err(CliError::failed)?)
            .map_err(|error| written(&path, error))?;
        output::note(&format!("wrote {}", path.display()));
    }
    Ok(())
}
