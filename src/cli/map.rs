//! `coterie map`: the mapping of categories to experts, fitted and judged on outcomes.

mod evaluate;
mod fit;
mod from_store;
mod rows;

use clap::{Args, Subcommand};

use super::CliError;
use crate::config::Environment;

#[derive(Args)]
pub(super) struct MapArgs {
    #[command(subcommand)]
    command: MapCommand,
}

#[derive(Subcommand)]
enum MapCommand {
    /// Choose the expert of each category from scores, under budgets, and say what that is worth.
    Fit(Box<fit::FitArgs>),
    /// Say what a mapping is worth on scores that it was not fitted on, or on the outcomes of what served.
    Evaluate(Box<evaluate::EvaluateArgs>),
}

pub(super) async fn run(args: MapArgs, environment: &Environment) -> Result<(), CliError> {
    match args.command {
        MapCommand::Fit(args) => fit::run(*args, environment).await,
        MapCommand::Evaluate(args) => Box::pin(evaluate::run(*args, environment)).await,
    }
}
