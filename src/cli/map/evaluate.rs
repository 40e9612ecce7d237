//! `coterie map evaluate`.

use std::{
    fmt::Display,
    fs,
    path::{Path, PathBuf},
};

use clap::Args;
use serde::Serialize;

use super::{
    super::{CliError, output},
    from_store::{self, FromStoreArgs},
    rows::RowsArgs,
};
use crate::{
    config::Environment,
    ids::ExpertId,
    mapping::{
        Quality, QualityModel,
        evaluate::{self, pair},
        fit::{outcomes::Texts, written},
    },
};

#[derive(Args)]
pub(super) struct EvaluateArgs {
    /// The mapping's file [with --from-store also: the mapping in force].
    #[arg(
        long,
        value_name = "mapping.yaml",
        required_unless_present = "from_store"
    )]
    mapping: Option<PathBuf>,
    /// Files with a JSON object a line, each with `id`, `prompt` and `scores`: {expert: score}.
    #[arg(long, num_args = 1.., value_name = "F.jsonl", required_unless_present = "from_store")]
    outcomes: Vec<PathBuf>,
    /// Estimate what the mapping would have been worth from the outcomes in the store, although others served.
    #[arg(long, conflicts_with_all = ["outcomes", "by", "pair", "models"])]
    from_store: bool,
    #[command(flatten)]
    store: FromStoreArgs,
    #[command(flatten)]
    rows: RowsArgs,
    /// The field of the rows that gives their category [default: the one that the mapping was fitted by, as its file
    /// says, else what the router in force says of `prompt`].
    #[arg(long, value_name = "FIELD")]
    by: Option<String>,
    /// Evaluate the choice between two experts, the better one first: how well it tells which questions need that one.
    #[arg(long, value_name = "STRONG,WEAK", value_parser = experts)]
    pair: Option<(ExpertId, ExpertId)>,
    /// Print the evaluation as one JSON document.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: EvaluateArgs, environment: &Environment) -> Result<(), CliError> {
    if args.from_store {
        let found = from_store::run(
            args.mapping.as_deref(),
            &args.store,
            &args.rows.config,
            environment,
        );
        let found = Box::pin(found).await?;
        return tell(&found, &from_store::table(&found), args.json);
    }
    // The call without one has been refused.
    let file = args.mapping.unwrap_or_default();
    let (mapping, fitted_by) = written::read(&file).map_err(CliError::usage)?;
    let model = mapping.second_stage.as_ref();
    let model = model
        .map(|second_stage| read_model(&file.with_file_name(&second_stage.quality)))
        .transpose()?;
    let texts = if model.is_some() {
        Texts::Keep
    } else {
        Texts::Drop
    };
    let by = args.by.or(fitted_by);
    let outcomes = args
        .rows
        .read(&args.outcomes, by, (Vec::new(), texts), environment)
        .await?;
    if let Some(pair) = args.pair {
        let quality = model.as_ref().map(|model| model as &dyn Quality);
        let report = pair::evaluate(&mapping, quality, &outcomes, pair).map_err(CliError::usage)?;
        return tell(&report, &report.table(), args.json);
    }
    let models = args.rows.models(environment)?;
    let weights = args.rows.weights.into();
    let evaluation = tokio::task::spawn_blocking(move || {
        let quality = model.as_ref().map(|model| model as &dyn Quality);
        evaluate::evaluate(mapping, quality, &outcomes, (&models, weights))
    });
    let evaluation = evaluation
        .await
        .map_err(CliError::failed)?
        .map_err(CliError::usage)?;
    tell(&evaluation, &evaluation.table(), args.json)
}

fn read_model(path: &Path) -> Result<QualityModel, CliError> {
    let named = |error: &dyn Display| {
        CliError::Usage(format!("the quality model {}: {error}", path.display()))
    };
    let bytes = fs::read(path).map_err(|error| named(&error))?;
    QualityModel::from_bytes(&bytes).map_err(|error| named(&error))
}

fn tell(report: &impl Serialize, table: &str, json: bool) -> Result<(), CliError> {
    if json {
        return output::json(report).map_err(CliError::failed);
    }
    output::line(table.trim_end());
    Ok(())
}

fn experts(text: &str) -> Result<(ExpertId, ExpertId), String> {
    match text.split(',').map(str::trim).collect::<Vec<_>>()[..] {
        [strong, weak] if strong != weak => Ok((ExpertId::new(strong), ExpertId::new(weak))),
        _ => Err("write STRONG,WEAK: two experts".to_owned()),
    }
}
