//! `coterie evaluate`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use clap::Args;
use serde::Serialize;

use super::{CliError, ConfigArgs, asking, load, output};
use crate::{
    config::{Environment, Exposure},
    evaluate::{Evaluation, plots},
    ids::{CategoryId, OUT_OF_DOMAIN},
    learning::judging::{self, Turns},
    registry,
    router::Router,
    train::labels::{self, Labelled},
};

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
    /// Evaluate the router with its last tier, the expert of `router.instruction`, which is asked about each row as in a server.
    #[arg(long)]
    instruction: bool,
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
    let router = registry::open(&config, args.router.as_deref())
        .await
        .map_err(CliError::failed)?;
    let router = &router;
    let (judged, turns) = if args.instruction {
        let tier = asking::tier(&config, router).await?;
        let tier = tier.ok_or_else(|| {
            CliError::Usage("the configuration has no `router.instruction`".into())
        })?;
        if !tier.is_fitted_for(router) {
            return Err(CliError::Failed(format!(
                "the instruction tier is left alone beside router {}: what its expert's word is worth was not learnt for it; \
                 run `coterie instruct fit`, or leave `--instruction` out",
                router.id()
            )));
        }
        let known: Vec<CategoryId> = router
            .categories()
            .iter()
            .chain(tier.categories())
            .cloned()
            .collect();
        warn_of_unknown_labels(&rows, &known, router);
        let judged = judging::judge_with(router, &tier, rows).await;
        judged.map(|(judged, turns)| (judged, Some(turns)))
    } else {
        warn_of_unknown_labels(&rows, router.categories(), router);
        let judged = judging::judge(router, rows).await;
        judged.map(|judged| (judged, None))
    }
    .map_err(CliError::failed)?;
    let evaluation = Evaluation::of(&judged, router.id().clone()).map_err(CliError::usage)?;
    if args.json {
        let told = Told {
            evaluation: &evaluation,
            instruction: turns.as_ref(),
        };
        output::json(&told).map_err(CliError::failed)?;
    } else {
        output::line(evaluation.table().trim_end());
        if let Some(turns) = &turns {
            output::line(&in_words(turns));
        }
    }
    match args.plots {
        Some(folder) => draw(&evaluation, &folder),
        None => Ok(()),
    }
}

/// What is printed as JSON.
#[derive(Serialize)]
struct Told<'e> {
    #[serde(flatten)]
    evaluation: &'e Evaluation,
    #[serde(skip_serializing_if = "Option::is_none")]
    instruction: Option<&'e Turns>,
}

fn in_words(turns: &Turns) -> String {
    let results: Vec<String> = turns
        .results
        .iter()
        .map(|(result, times)| format!("{result} {times}"))
        .collect();
    let asked = format!(
        "{:<22}{:<8}put to the expert, {} rows: {}",
        "asked",
        format!("{:.3}", turns.share),
        turns.asked,
        results.join(", ")
    );
    let Some(new) = &turns.new else { return asked };
    format!(
        "{asked}\n{:<22}{:<8}rows go to categories that the router does not know, {} wrongly; at most {:.3} of other questions \
         with 95 % confidence",
        "new categories", new.taken, new.wrongly, new.wrongly_upper95
    )
}

/// Labels that the router cannot give are mostly misspelt, or the router is another one than was meant.
fn warn_of_unknown_labels(rows: &[Labelled], known: &[CategoryId], router: &Router) {
    let unknown = unknown_labels(rows, known);
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
