//! `coterie retrain`.

use clap::Args;

use super::{CliError, ConfigArgs, load, output};
use crate::{
    causes::in_full,
    config::{Config, Environment, Exposure},
    learning::{
        Origin,
        comparing::{self, ComparingError},
        gate::{Bounds, Ending},
        retrain::{self, Options, REPORT_FILE, RetrainError, Retrained},
    },
    store::Store,
};

#[derive(Args)]
pub(super) struct RetrainArgs {
    /// Train and judge, but leave the router in force where it is.
    #[arg(long)]
    dry_run: bool,
    /// Train nothing: compare what the router in shadow would have decided with what was decided.
    #[arg(long, conflicts_with = "dry_run")]
    report: bool,
    /// Leave out what these origins say, besides those of `learning.without`: any of person, imported, accepted, judge, feedback, neighbours.
    #[arg(long, value_name = "ORIGIN", value_delimiter = ',', value_parser = origin)]
    without: Vec<Origin>,
    /// Decides how a challenger's own rows are held back, and how the gate's bootstrap draws.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Print what was found as one JSON document.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) async fn run(args: RetrainArgs, environment: &Environment) -> Result<(), CliError> {
    let config = load(&args.config, environment, Exposure::Insecure)?;
    if args.report {
        return Box::pin(report(&args, &config)).await;
    }
    let store = Store::open(&config.store.path)
        .await
        .map_err(CliError::failed)?;
    let options = Options {
        seed: args.seed,
        without: args.without(&config),
        bounds: bounds(&config),
        promotes: !args.dry_run,
    };
    let retrained = Box::pin(retrain::retrain(&config, &store, &options)).await;
    let closed = store.close().await;
    let retrained = retrained.map_err(|error| match error {
        RetrainError::Pinned => CliError::usage(error),
        error => CliError::failed(error),
    })?;
    // What is in force by now is told whatever else went wrong.
    if args.json {
        output::json(&retrained).map_err(CliError::failed)?;
    } else {
        tell(&retrained, args.dry_run);
    }
    closed.map_err(CliError::failed)?;
    match &retrained.mapping_error {
        Some(error) => Err(CliError::Failed(format!(
            "the mapping that the outcomes speak for is not put in force: {}",
            in_full(error)
        ))),
        None => Ok(()),
    }
}

impl RetrainArgs {
    /// The origins that do not count, by the configuration and by the command line.
    fn without(&self, config: &Config) -> Vec<Origin> {
        [config.learning.without.as_slice(), &self.without].concat()
    }
}

/// What a challenger has to keep to.
fn bounds(config: &Config) -> Bounds {
    Bounds {
        misroute_max: config.router.misroute_max,
        measure: config.learning.measure,
        category_margin: config.learning.category_margin,
        ..Bounds::default()
    }
}

/// Compares the router in shadow with what decided.
async fn report(args: &RetrainArgs, config: &Config) -> Result<(), CliError> {
    let store = Store::open(&config.store.path)
        .await
        .map_err(CliError::failed)?;
    let options = comparing::Options {
        seed: args.seed,
        without: args.without(config),
        bounds: bounds(config),
    };
    let compared = comparing::compare(config, &store, &options).await;
    let closed = store.close().await;
    let compared = compared.map_err(|error| match error {
        ComparingError::NoShadow => CliError::usage(error),
        ComparingError::Store(_) | ComparingError::Learnt { .. } => CliError::failed(error),
    })?;
    closed.map_err(CliError::failed)?;
    if args.json {
        return output::json(&compared).map_err(CliError::failed);
    }
    output::line(compared.markdown().trim_end());
    Ok(())
}

fn tell(retrained: &Retrained, is_dry_run: bool) {
    let Retrained {
        champion,
        challenger,
        judgement,
        ..
    } = retrained;
    // Nothing was judged anew.
    if judgement.checks.is_empty() {
        output::line(&format!(
            "router {champion} stays in force; {}",
            judgement.reason
        ));
        tell_mapping(retrained, is_dry_run);
        return;
    }
    let guessed = match retrained.guessed {
        0 => String::new(),
        guessed => format!(" and {guessed} that nobody labelled"),
    };
    output::line(&format!(
        "router {challenger}, trained on {} rows{guessed}, against {champion}; {} were judged, each by routers that had not seen it",
        retrained.learnt, retrained.judged
    ));
    for check in &judgement.checks {
        let mark = match check.ending {
            Ending::Passed => "ok ",
            Ending::Failed => "NO ",
            Ending::Skipped => "-  ",
        };
        output::line(&format!("  {mark} {}", check.words));
    }
    for client in &retrained.account.clients_distrusted {
        output::line(&format!(
            "  !   the feedback of `{}` is not believed: {} of {} statements contradict the router where it was confident",
            client.client, client.contradictions, client.statements
        ));
    }
    let done = match (retrained.promoted, judgement.passed, is_dry_run) {
        (true, ..) => format!(
            "promoted: router {challenger} is in force; `coterie routers rollback` takes it back"
        ),
        (false, true, true) => {
            format!("it would be promoted; `coterie routers promote {challenger}` does so")
        }
        _ => format!("not promoted: router {champion} stays in force"),
    };
    output::line(&done);
    tell_mapping(retrained, is_dry_run);
    let report = retrained.folder.join(REPORT_FILE);
    output::line(&format!("report: {}", report.display()));
}

fn tell_mapping(retrained: &Retrained, is_dry_run: bool) {
    let mapping = &retrained.mapping;
    output::line(&format!("mapping: {}", mapping.reason));
    for change in &mapping.changes {
        output::line(&format!(
            "  {}: {} instead of {}",
            change.category, change.to, change.from
        ));
    }
    if mapping.promoted {
        output::line(
            "  it is in force: the mapping's file was changed; the one before it lies beside the report",
        );
    } else if retrained.mapping_error.is_some() {
        output::line("  it is not in force");
    } else if mapping.passed && is_dry_run {
        output::line("  it would be put into the mapping's file");
    } else if mapping.passed {
        output::line(
            "  write it into `mapping` in the configuration; what stands in a file of its own (`mapping.file`) is changed by itself",
        );
    }
}

fn origin(word: &str) -> Result<Origin, String> {
    match Origin::from_word(word.to_owned()) {
        Origin::Other(_) => {
            let known: Vec<_> = Origin::ALL.iter().rev().map(Origin::as_str).collect();
            Err(format!("write any of {}", known.join(", ")))
        }
        origin => Ok(origin),
    }
}
