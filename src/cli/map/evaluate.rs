//! `coterie map evaluate`.

use std::path::PathBuf;

use clap::Args;

use super::{
    super::{CliError, output},
    rows::RowsArgs,
};
use crate::{
    config::Environment,
    mapping::{evaluate, fit::written},
};

#[derive(Args)]
pub(super) struct EvaluateArgs {
    /// The mapping's file.
    #[arg(long, value_name = "mapping.yaml")]
    mapping: PathBuf,
    #[command(flatten)]
    rows: RowsArgs,
    /// The field of the rows that gives their category [default: the one that the mapping was fitted by, as its file
    /// says, else what the router in force says of `prompt`].
    #[arg(long, value_name = "FIELD")]
    by: Option<String>,
    /// Print the evaluation as one JSON document.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: EvaluateArgs, environment: &Environment) -> Result<(), CliError> {
    let (mapping, fitted_by) = written::read(&args.mapping).map_err(CliError::usage)?;
    let outcomes = args
        .rows
        .read(args.by.or(fitted_by), Vec::new(), environment)
        .await?;
    let models = args.rows.models(environment)?;
    let weights = args.rows.weights.into();
    let evaluation = tokio::task::spawn_blocking(move || {
        evaluate::evaluate(mapping, &outcomes, &models, weights)
    });
    let evaluation = evaluation
        .await
        .map_err(CliError::failed)?
        .map_err(CliError::usage)?;
    if args.json {
        return output::json(&evaluation).map_err(CliError::failed);
    }
    output::line(evaluation.table().trim_end());
    Ok(())
}
