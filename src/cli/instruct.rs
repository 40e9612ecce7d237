//! `coterie instruct`.

mod fit;
mod generate;

use clap::{Args, Subcommand};

use super::CliError;
use crate::{
    config::{Config, Environment},
    instruction::InstructionConfig,
};

#[derive(Args)]
pub(super) struct InstructArgs {
    #[command(subcommand)]
    command: InstructCommand,
}

#[derive(Subcommand)]
enum InstructCommand {
    /// Have an expert write the instruction cards that are missing or older than what they were made from.
    Generate(generate::GenerateArgs),
    /// Learn what the word of `router.instruction`'s expert is worth beside the router's, from labelled questions.
    Fit(fit::FitArgs),
}

pub(super) async fn run(args: InstructArgs, environment: &Environment) -> Result<(), CliError> {
    match args.command {
        InstructCommand::Generate(args) => generate::run(args, environment).await,
        InstructCommand::Fit(args) => fit::run(args, environment).await,
    }
}

/// What the configuration says of the instruction tier.
fn configured(config: &Config) -> Result<&InstructionConfig, CliError> {
    config.router.instruction.as_ref().ok_or_else(|| {
        CliError::Usage(
            "the configuration names no expert that is asked what questions demand; write `router.instruction: { expert: … }`"
                .into(),
        )
    })
}
