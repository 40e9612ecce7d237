//! `coterie encoder`.

use std::{fmt::Write as _, ops::ControlFlow, path::PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use indicatif::ProgressBar;
use tokio::task::spawn_blocking;

use super::{CliError, ConfigArgs, output};
use crate::{
    config::{self, Environment},
    models,
    router::encoder::adapter::Bits,
    train::{
        distill::{self, DistillError},
        labels,
        tune::{self, Job, Options, Processor, Progress, Report, TuneError},
    },
};

/// Dimensions of a static encoder unless others are asked for: nearly all the variance in two thirds of the bytes.
const DIMENSIONS: usize = 256;

#[derive(Args)]
pub(super) struct EncoderArgs {
    #[command(subcommand)]
    command: EncoderCommand,
}

#[derive(Subcommand)]
enum EncoderCommand {
    /// Fine-tune a transformer on labelled questions. Work that was cut goes on when the same command is given again, and is
    /// shared by processes that are given it at the same time.
    Tune(TuneArgs),
    /// Make a static encoder out of a transformer: a table with a vector for each word piece, after `Model2Vec`.
    Distill(DistillArgs),
}

#[derive(Args)]
struct DistillArgs {
    /// The folder of the transformer; one that begins with `models/` is inside the model store.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// The folder to write the table and its tokenizer to.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// How long the vectors are to be.
    #[arg(long, value_name = "N", default_value_t = DIMENSIONS)]
    dimensions: usize,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Args)]
struct TuneArgs {
    /// The folder of the transformer to start from, such as models/all-MiniLM-L6-v2, which is inside the model store.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Labelled questions: a JSON object a line with `text` or `messages`, and `category`.
    #[arg(long, value_name = "F.jsonl", num_args = 1.., required = true)]
    labels: Vec<PathBuf>,
    /// The folder to write the tuned transformer to.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Passes over the rows.
    #[arg(long, value_name = "N", default_value_t = Options::default().epochs)]
    epochs: usize,
    /// The rank of the change of each linear map.
    #[arg(long, value_name = "N", default_value_t = Options::default().rank)]
    rank: usize,
    /// Tune all weights of the linear maps, rather than changes of low rank: more right, at half as much work again and more bytes.
    #[arg(long, conflicts_with = "rank")]
    all_weights: bool,
    /// With --all-weights: what each number's change takes, 4 bits or 2.
    #[arg(long, value_name = "N", default_value = "4", value_parser = bits, requires = "all_weights")]
    bits: Bits,
    /// Make each fit so often, from different random numbers, and average the weights; needs --all-weights.
    #[arg(long, value_name = "N", default_value_t = Options::default().average)]
    average: usize,
    /// Parts of the rows that are each scored by a model tuned on the others, for cheaper tiers to learn from; 0 for
    /// none.
    #[arg(long, value_name = "K", default_value_t = Options::default().folds)]
    folds: usize,
    /// On the CPU the same seed and rows give the same bytes.
    #[arg(long, value_name = "N", default_value_t = Options::default().seed)]
    seed: u64,
    /// Read each batch twice, with other dropout, and hold both readings to one answer: a little more right, at twice
    /// the work.
    #[arg(long)]
    twice: bool,
    /// What computes.
    #[arg(long, value_enum, default_value_t = Device::Cpu)]
    device: Device,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum Device {
    /// The processor.
    Cpu,
    /// The first NVIDIA GPU; needs a build with the feature `cuda`.
    Cuda,
}

pub(super) async fn run(args: EncoderArgs, environment: &Environment) -> Result<(), CliError> {
    match args.command {
        EncoderCommand::Tune(args) => tune(args, environment).await,
        EncoderCommand::Distill(args) => distill(args, environment).await,
    }
}

fn bits(word: &str) -> Result<Bits, String> {
    let count: u8 = word.parse().map_err(|_not| "give 2 or 4".to_owned())?;
    Bits::try_from(count)
}

/// Where the transformer is; the configuration is read only for one that is inside the model store.
fn resolved(
    model: PathBuf,
    config: &ConfigArgs,
    environment: &Environment,
) -> Result<PathBuf, CliError> {
    match model.to_str() {
        Some(reference) if models::inside_store(reference).is_some() => {
            let store = config::load_models(config.config.as_deref(), environment);
            Ok(models::resolve(
                &store.map_err(CliError::Config)?.dir,
                reference,
            ))
        }
        _ => Ok(model),
    }
}

async fn tune(args: TuneArgs, environment: &Environment) -> Result<(), CliError> {
    let rows = labels::read(&args.labels).map_err(CliError::usage)?;
    let job = Job {
        model: resolved(args.model, &args.config, environment)?,
        rows,
        out: args.out,
        options: Options {
            epochs: args.epochs,
            rank: args.rank,
            folds: args.folds,
            seed: args.seed,
            twice: args.twice,
            all_weights: args.all_weights,
            average: args.average,
            bits: args.bits,
        },
        processor: match args.device {
            Device::Cpu => Processor::Cpu,
            Device::Cuda => Processor::Cuda,
        },
    };
    let report = spawn_blocking(move || {
        let bar = crate::progress::bar(0, "");
        let report = tune::tune(&job, &mut |progress| show(&bar, progress));
        bar.finish_and_clear();
        report
    });
    let report = report.await.map_err(CliError::failed)?;
    let report = report.map_err(|error| match error {
        error if TuneError::is_usage(&error) => CliError::usage(error),
        error => CliError::failed(error),
    })?;
    if args.json {
        return output::json(&report).map_err(CliError::failed);
    }
    tell(&report);
    Ok(())
}

async fn distill(args: DistillArgs, environment: &Environment) -> Result<(), CliError> {
    let job = distill::Job {
        model: resolved(args.model, &args.config, environment)?,
        out: args.out,
        dimensions: args.dimensions,
    };
    let report = spawn_blocking(move || {
        let bar = crate::progress::bar(0, "");
        bar.set_message("word pieces");
        let report = distill::distill(&job, &mut |done, pieces| {
            bar.set_length(pieces as u64);
            bar.set_position(done as u64);
        });
        bar.finish_and_clear();
        report
    });
    let report = report.await.map_err(CliError::failed)?;
    let report = report.map_err(|error| match error {
        DistillError::Dimensions { .. } => CliError::usage(error),
        error => CliError::failed(error),
    })?;
    if args.json {
        return output::json(&report).map_err(CliError::failed);
    }
    output::line(&format!("pieces      {}", report.pieces));
    output::line(&format!(
        "dimensions  {}, with {:.1} % of the variance",
        report.dimensions,
        100.0 * report.variance_kept
    ));
    output::line(&format!("bytes       {}", report.bytes));
    output::line(&format!("took        {:.0} s", report.seconds));
    Ok(())
}

fn show(bar: &ProgressBar, progress: Progress) -> ControlFlow<()> {
    let Progress {
        fit,
        fits,
        member,
        members,
        loss,
        ..
    } = progress;
    let mut what = if fit + 1 == fits {
        "final fit".to_owned()
    } else {
        format!("fold {} of {}", fit + 1, fits - 1)
    };
    if members > 1 {
        let _ = write!(what, ", {} of {members} to average", member + 1);
    }
    bar.set_length(progress.steps as u64);
    bar.set_position(progress.step as u64);
    bar.set_message(format!("{what}, loss {loss:.3}"));
    ControlFlow::Continue(())
}

fn tell(report: &Report) {
    output::line(&format!("rows        {}", report.rows));
    output::line(&format!("categories  {}", report.categories.len()));
    if let Some(accuracy) = report.held_back_accuracy {
        output::line(&format!(
            "held back   {accuracy:.4} right, by models that had not seen the rows"
        ));
    }
    if let Some(loss) = report.fits.last().and_then(|fit| fit.losses.last()) {
        output::line(&format!("loss        {loss:.4} in the last epoch"));
    }
    output::line(&format!("took        {:.0} s", report.seconds));
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser;

    use super::*;
    use crate::train::tune::tiny;

    #[derive(Parser)]
    struct Call {
        #[command(flatten)]
        encoder: EncoderArgs,
    }

    /// Runs `coterie encoder` in a folder with a tiny model and labels of one category.
    async fn called(call: &[&str]) -> Result<(), CliError> {
        let folder = tempfile::tempdir().unwrap();
        tiny::write(&folder.path().join("base"));
        let labels = r#"{"text": "soup", "category": "cooking"}"#;
        fs::write(folder.path().join("labels.jsonl"), labels).unwrap();
        let call = call.iter().map(|word| match *word {
            "base" | "out" | "absent" | "labels.jsonl" => folder.path().join(word).into_os_string(),
            word => word.into(),
        });
        let call = ["encoder".into()].into_iter().chain(call);
        let store = folder.path().display().to_string();
        let environment = Environment::of([("COTERIE_MODELS_DIR".to_owned(), store)]);
        run(Call::try_parse_from(call).unwrap().encoder, &environment).await
    }

    #[tokio::test]
    async fn a_model_of_the_store_is_found_there() {
        let call = [
            "distill",
            "--model",
            "models/base",
            "--dimensions",
            "8",
            "--out",
            "out",
        ];
        called(&call).await.unwrap();
        let tune = [
            "tune",
            "--model",
            "models/base",
            "--labels",
            "labels.jsonl",
            "--out",
            "out",
        ];
        let error = called(&tune).await.unwrap_err();
        assert!(
            error.to_string().contains("cooking"),
            "it was read: {error}"
        );
    }

    #[tokio::test]
    async fn what_is_wrong_with_the_call_is_told_from_what_failed() {
        let tune = |model, labels| ["tune", "--model", model, "--labels", labels, "--out", "out"];
        let distill = |model, n| {
            [
                "distill",
                "--model",
                model,
                "--dimensions",
                n,
                "--out",
                "out",
            ]
        };
        let usage = [
            (tune("base", "absent"), "absent"),
            (tune("base", "labels.jsonl"), "cooking"),
            (distill("base", "17"), "1 to 16"),
        ];
        for (call, complaint) in usage {
            let error = called(&call).await.unwrap_err();
            assert_eq!(error.exit_code(), 2, "{error}");
            assert!(error.to_string().contains(complaint), "{error}");
        }
        for call in [tune("absent", "labels.jsonl"), distill("absent", "8")] {
            let error = called(&call).await.unwrap_err();
            assert_eq!(error.exit_code(), 1, "{error}");
            assert!(error.to_string().contains("config.json"), "{error}");
        }
    }
}
