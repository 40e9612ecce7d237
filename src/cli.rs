//! The command line: one file a command. Answers go to standard output, everything else to standard error.

mod ask;
mod asking;
mod check;
mod drift;
mod encoder;
mod evaluate;
mod export;
mod fault_server;
mod import;
mod instruct;
mod label;
mod map;
mod models;
mod output;
mod retrain;
mod route;
mod routers;
mod serve;
mod signals;
mod train;

use std::{
    io::{stderr, stdout},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};

use crate::{
    causes::in_full,
    config::{self, Config, Environment, Exposure, Mistakes},
    telemetry::{self, LogFormat},
};

/// A composition of experts behind one OpenAI-compatible endpoint.
///
/// Coterie works out what a question is about, sends it to the expert model that answers such questions best for the
/// money, streams the answer back, and writes down what happened.
#[derive(Parser)]
#[command(name = "coterie", version, max_term_width = 100, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// What to log to standard error: error, warn, info, debug, or `tracing` directives. The
    /// environment's `COTERIE_LOG` sets the same.
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,
    /// Write log lines as JSON objects.
    #[arg(long, global = true)]
    log_json: bool,
}

const EXIT_CODES: &str =
    "Exit codes: 0 fine, 1 the work failed, 2 the call or the configuration is wrong.";

#[derive(Subcommand)]
enum Command {
    /// Serve the composition over HTTP until SIGTERM or Ctrl-C.
    Serve(serve::ServeArgs),
    /// Ask one question, through the same path as `serve`, and stream the answer to the terminal.
    Ask(ask::AskArgs),
    /// Show where questions would go, and why, without asking anyone.
    Route(route::RouteArgs),
    /// Train a router on labelled questions and on the examples of routes.
    Train(train::TrainArgs),
    /// Say how good the router is, from questions whose category is known.
    Evaluate(evaluate::EvaluateArgs),
    /// Choose which expert answers which category, from scores and under budgets; say what a mapping is worth.
    Map(map::MapArgs),
    /// Say what questions were about: on a screen, by an expert that judges, or by labelled questions nearby.
    Label(label::LabelArgs),
    /// Train a router on what was said of the traffic, judge it beside the one in force, and promote it if it is better.
    Retrain(retrain::RetrainArgs),
    /// Say what has changed in the questions and their answers, and propose categories for what was refused.
    Drift(drift::DriftArgs),
    /// Show the trained routers, put one in force, or go back to the one before.
    Routers(routers::RoutersArgs),
    /// Write the log of outcomes, with what was said of them, to where larger engines read it.
    Export(export::ExportArgs),
    /// Bring exported outcomes in again; what is there is left as it is.
    Import(import::ImportArgs),
    /// Check the configuration, the routes and what they need; report every mistake with its place.
    Check(check::CheckArgs),
    /// Write down what questions demand, and learn what the word of an expert that says so is worth.
    Instruct(instruct::InstructArgs),
    /// Make encoders of your own: fine-tune a transformer on labelled questions.
    Encoder(encoder::EncoderArgs),
    /// Show, download and verify the models that the experts and the router need.
    Models {
        #[command(flatten)]
        config: ConfigArgs,
        #[command(flatten)]
        args: models::ModelsArgs,
    },
    /// Serve a provider whose models' names select faults, for tests of what stands in front of it (docs/faults.md).
    #[command(hide = true)]
    FaultServer(fault_server::FaultServerArgs),
}

/// Where the configuration is.
#[derive(Args)]
struct ConfigArgs {
    /// The configuration file [default: config/coterie.yaml, else the one built in].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Why a command did not do its work.
#[derive(Debug, thiserror::Error)]
enum CliError {
    /// The configuration is wrong; every mistake is listed.
    #[error("{0}")]
    Config(Mistakes),
    /// The call is wrong.
    #[error("{0}")]
    Usage(String),
    /// The work failed.
    #[error("{0}")]
    Failed(String),
}

impl CliError {
    /// Work that failed, with every cause: errors do not repeat their sources.
    fn failed(error: impl std::error::Error) -> Self {
        Self::Failed(in_full(&error))
    }

    /// A call that is wrong, with every cause.
    fn usage(error: impl std::error::Error) -> Self {
        Self::Usage(in_full(&error))
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) | Self::Config(_) => 2,
        }
    }
}

/// Runs the command that the process was called with.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let environment = Environment::from_process();
    let ended = set_up_log(&cli, &environment).and_then(|()| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(CliError::failed)?;
        runtime.block_on(dispatch(cli.command, &environment))
    });
    ended.unwrap_or_else(|error| {
        output::complain(&error.to_string());
        ExitCode::from(error.exit_code())
    })
}

/// A server tells what it does; the other commands have an answer to show, and tell only what goes wrong.
fn set_up_log(cli: &Cli, environment: &Environment) -> Result<(), CliError> {
    let by_default = if matches!(cli.command, Command::Serve(_)) {
        "info"
    } else {
        "warn"
    };
    let given = cli
        .log
        .as_deref()
        .or_else(|| environment.get("COTERIE_LOG"));
    let filter = given.unwrap_or(by_default);
    let format = if cli.log_json {
        LogFormat::Json
    } else {
        LogFormat::Text
    };
    telemetry::log_to_stderr(filter, format).map_err(|error| {
        CliError::Usage(format!(
            "the log filter `{filter}` cannot be read ({error}); write error, warn, info, debug or `coterie=debug`"
        ))
    })
}

async fn dispatch(command: Command, environment: &Environment) -> Result<ExitCode, CliError> {
    match command {
        Command::Serve(args) => serve::run(args, environment).await?,
        Command::Ask(args) => ask::run(args, environment).await?,
        Command::Route(args) => route::run(args, environment).await?,
        Command::Train(args) => train::run(args, environment).await?,
        Command::Evaluate(args) => evaluate::run(args, environment).await?,
        Command::Label(args) => Box::pin(label::run(args, environment)).await?,
        Command::Retrain(args) => Box::pin(retrain::run(args, environment)).await?,
        Command::Drift(args) => Box::pin(drift::run(args, environment)).await?,
        Command::Routers(args) => routers::run(args, environment).await?,
        Command::Map(args) => Box::pin(map::run(args, environment)).await?,
        Command::Export(args) => export::run(args, environment).await?,
        Command::Import(args) => return import::run(args, environment).await,
        Command::Check(args) => {
            return check::run(&args, environment, &mut stdout(), &mut stderr())
                .map_err(CliError::failed);
        }
        Command::Instruct(args) => Box::pin(instruct::run(args, environment)).await?,
        Command::Encoder(args) => encoder::run(args, environment).await?,
        Command::FaultServer(args) => fault_server::run(args).await?,
        Command::Models { config, args } => {
            let models = config::load_models(config.config.as_deref(), environment);
            let models = models.map_err(CliError::Config)?;
            models::run(args, &models, &mut output::line)
                .await
                .map_err(|error| {
                    if error.is_usage() {
                        CliError::Usage(error.to_string())
                    } else {
                        CliError::failed(error)
                    }
                })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn load(
    args: &ConfigArgs,
    environment: &Environment,
    exposure: Exposure,
) -> Result<Config, CliError> {
    config::load(args.config.as_deref(), environment, exposure).map_err(CliError::Config)
}
