//! `coterie map fit`.

mod comments;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::Args;
use sha2::{Digest as _, Sha256};

use super::{
    super::{CliError, output},
    rows::RowsArgs,
};
use crate::{
    config::{Environment, Prefer, Preference},
    files,
    ids::{CategoryId, ExpertId},
    mapping::{
        fit::{
            self, FitError, Options, Rules,
            models::Models,
            outcomes::{Outcomes, Texts},
            plots,
            report::Report,
            solve::Limits,
            written::SecondStage,
        },
        quality::{
            QualityModel,
            trial::Trial,
            worth::{self, PerQuestion},
        },
    },
    progress,
};

/// Hexadecimal digits of the digest in a quality model's name.
const DIGEST_DIGITS: usize = 12;

#[derive(Args)]
pub(super) struct FitArgs {
    /// Files with a JSON object a line, each with `id`, `prompt` and `scores`: {expert: score}.
    #[arg(long, required = true, num_args = 1.., value_name = "F.jsonl")]
    outcomes: Vec<PathBuf>,
    #[command(flatten)]
    rows: RowsArgs,
    /// The field of the rows that gives their category [default: what the router in force says of `prompt`].
    #[arg(long, value_name = "FIELD")]
    by: Option<String>,
    /// The experts to choose from [default: all that have scores].
    #[arg(long, value_delimiter = ',', value_name = "A,B,…")]
    experts: Vec<String>,
    /// Fit a quality model as well, which chooses question by question, and use it where that pays.
    #[arg(long)]
    per_question: bool,
    /// What is to count for a question where no budget says it [default: quality].
    #[arg(long, value_name = "quality|balanced|economy", value_parser = preference, requires = "per_question")]
    #[arg(conflicts_with_all = ["budget_active", "budget_usd"])]
    prefer: Option<Preference>,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    rules: RuleArgs,
    /// Decides which rows are held back together, and which are drawn in resamples.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Where to write the mapping.
    #[arg(long, value_name = "mapping.yaml")]
    out: PathBuf,
    /// Draw the frontiers into this folder, as SVG.
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
    /// Print the fit as one JSON document.
    #[arg(long)]
    json: bool,
}

/// What the mapping may need.
#[derive(Args)]
struct LimitArgs {
    /// Most billions of parameters of the expert that answers, weighted over categories.
    #[arg(long, value_name = "B", value_parser = budget)]
    budget_active: Option<f64>,
    /// Most billions of parameters of all experts that the mapping uses.
    #[arg(long, value_name = "B", value_parser = budget)]
    budget_resident: Option<f64>,
    /// Most dollars a question, weighted over categories.
    #[arg(long, value_name = "D", value_parser = budget)]
    budget_usd: Option<f64>,
    /// Most experts that the mapping uses.
    #[arg(long, value_name = "N", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    experts_max: Option<usize>,
}

/// Rules for single categories.
#[derive(Args)]
struct RuleArgs {
    /// This expert answers this category; may be given several times.
    #[arg(long, value_name = "CATEGORY=EXPERT", value_parser = pair)]
    pin: Vec<(String, String)>,
    /// This expert does not answer this category; may be given several times.
    #[arg(long, value_name = "CATEGORY=EXPERT", value_parser = pair)]
    forbid: Vec<(String, String)>,
    /// At least this score must be expected in this category; may be given several times.
    #[arg(long, value_name = "CATEGORY=S", value_parser = score)]
    score_min: Vec<(String, f64)>,
}

pub(super) async fn run(args: FitArgs, environment: &Environment) -> Result<(), CliError> {
    let experts = args
        .experts
        .iter()
        .map(|expert| ExpertId::new(expert.trim()))
        .collect();
    let texts = if args.per_question {
        Texts::Keep
    } else {
        Texts::Drop
    };
    // A fit takes minutes: that its result cannot be written is better known before.
    check_writable(&args.out)?;
    let outcomes = args
        .rows
        .read(
            &args.outcomes,
            args.by.clone(),
            (experts, texts),
            environment,
        )
        .await?;
    let models = args.rows.models(environment)?;
    let options = Options {
        weights: args.rows.weights.into(),
        limits: args.limits.limits(),
        rules: args.rules.rules(),
        prefer: args.prefer,
        price: None,
        seed: args.seed,
    };
    let per_question = args.per_question;
    // The fit keeps every core busy for seconds, for minutes question by question.
    let fitted =
        tokio::task::spawn_blocking(move || fitted(&outcomes, &models, options, per_question));
    let (mut report, per_question) = fitted.await.map_err(CliError::failed)??;
    if let Some(per_question) = per_question {
        let PerQuestion {
            worth,
            figures,
            model,
            ..
        } = per_question;
        if let Some(figures) = figures.filter(|_| worth.pays) {
            let stage = args.write_model(&model, worth.prefer)?;
            report.choose_per_question(stage, figures);
        }
        report.per_question = Some(worth);
    }
    let yaml = report.mapping.yaml(&args.comments(&report));
    files::write_whole(&args.out, yaml.as_bytes()).map_err(|error| unwritten(&args.out, &error))?;
    if let Some(folder) = &args.plots {
        draw(&report, folder)?;
    }
    if let Some(why) = report.mapping.unloadable() {
        output::note(&format!("warning: {why}"));
    }
    if args.json {
        return output::json(&report).map_err(CliError::failed);
    }
    output::line(report.table().trim_end());
    if let Some(worth) = &report.per_question {
        output::line("");
        output::line(worth.table().trim_end());
    }
    output::note(&format!("wrote {}", args.out.display()));
    Ok(())
}

/// The mapping of categories, and where it is wanted what choosing question by question is worth beside it.
fn fitted(
    outcomes: &Outcomes,
    models: &Models,
    options: Options,
    per_question: bool,
) -> Result<(Report, Option<PerQuestion>), CliError> {
    let report = fit_by_category(outcomes, models, &options)?;
    if !per_question {
        return Ok((report, None));
    }
    let per_question = fit_per_question(outcomes, models, &options)?;
    let Some(price) = &per_question.price else {
        return Ok((report, Some(per_question)));
    };
    let priced = Options {
        price: Some(price.clone()),
        ..options
    };
    let report = fit_by_category(outcomes, models, &priced)?;
    Ok((report, Some(per_question)))
}

fn fit_by_category(
    outcomes: &Outcomes,
    models: &Models,
    options: &Options,
) -> Result<Report, CliError> {
    let wait = progress::wait("fitting, and judging the fit on resamples");
    let fitted = fit::fit(outcomes, models, options);
    wait.finish_and_clear();
    fitted.map_err(unfitted)
}

fn fit_per_question(
    outcomes: &Outcomes,
    models: &Models,
    options: &Options,
) -> Result<PerQuestion, CliError> {
    let bar = progress::bar(Trial::STEPS as u64, "choosing question by question");
    let fitted = worth::fit(outcomes, models, options, &|| bar.inc(1));
    bar.finish_and_clear();
    fitted.map_err(CliError::failed)
}

impl FitArgs {
    /// Writes the quality model beside the mapping, before the mapping that names it. Its name says what it holds, so that
    /// the mapping that was there before keeps its own until it is replaced.
    fn write_model(&self, model: &QualityModel, prefer: Prefer) -> Result<SecondStage, CliError> {
        let bytes = model.to_bytes().map_err(CliError::failed)?;
        let mut digest = hex::encode(Sha256::digest(&bytes));
        digest.truncate(DIGEST_DIGITS);
        let path = self
            .out
            .with_extension(format!("quality-{digest}.safetensors"));
        files::write_whole(&path, &bytes).map_err(|error| unwritten(&path, &error))?;
        output::note(&format!("wrote {}", path.display()));
        let name = path.file_name().unwrap_or_default();
        Ok(SecondStage {
            quality: name.to_string_lossy().into_owned(),
            prefer,
        })
    }
}

impl LimitArgs {
    fn limits(&self) -> Limits {
        Limits {
            active_b: self.budget_active,
            resident_b: self.budget_resident,
            usd: self.budget_usd,
            experts: self.experts_max,
        }
    }
}

impl RuleArgs {
    fn rules(&self) -> Rules {
        let pairs = |pairs: &[(String, String)]| {
            let ids = pairs.iter().map(|(category, expert)| {
                (
                    CategoryId::new(category.as_str()),
                    ExpertId::new(expert.as_str()),
                )
            });
            ids.collect()
        };
        let scores = self
            .score_min
            .iter()
            .map(|(category, score)| (CategoryId::new(category.as_str()), *score));
        Rules {
            pins: pairs(&self.pin),
            forbidden: pairs(&self.forbid),
            scores_min: scores.collect(),
        }
    }
}

fn unfitted(error: FitError) -> CliError {
    if error.is_usage() {
        CliError::usage(error)
    } else {
        CliError::failed(error)
    }
}

fn draw(report: &Report, folder: &Path) -> Result<(), CliError> {
    fs::create_dir_all(folder).map_err(|error| unwritten(folder, &error))?;
    for (name, picture) in [
        ("frontier-active.svg", plots::active(report)),
        ("frontier-usd.svg", plots::usd(report)),
    ] {
        if let Some(svg) = picture.map_err(CliError::failed)? {
            let path = folder.join(name);
            fs::write(&path, svg).map_err(|error| unwritten(&path, &error))?;
            output::note(&format!("wrote {}", path.display()));
        }
    }
    Ok(())
}

fn check_writable(path: &Path) -> Result<(), CliError> {
    let tried = match path.is_dir() {
        true => Err(io::ErrorKind::IsADirectory.into()),
        false => files::make_room_for(path),
    };
    tried.map_err(|error| unwritten(path, &error))
}

fn unwritten(path: &Path, error: &io::Error) -> CliError {
    CliError::Failed(format!("{} cannot be written: {error}", path.display()))
}

fn budget(text: &str) -> Result<f64, String> {
    let budget = text
        .parse()
        .ok()
        .filter(|budget: &f64| budget.is_finite() && *budget >= 0.0);
    budget.ok_or_else(|| "write a number of at least 0".to_owned())
}

fn preference(word: &str) -> Result<Preference, String> {
    Preference::of(word).ok_or_else(|| "write quality, balanced or economy".to_owned())
}

/// The last `=` parts them: categories may have one in their name, experts hardly.
fn pair(text: &str) -> Result<(String, String), String> {
    let (category, expert) = text.rsplit_once('=').ok_or("write CATEGORY=EXPERT")?;
    Ok((category.trim().to_owned(), expert.trim().to_owned()))
}

fn score(text: &str) -> Result<(String, f64), String> {
    let (category, score) = text
        .rsplit_once('=')
        .ok_or("write CATEGORY=SCORE, such as math=0.7")?;
    let score = score
        .trim()
        .parse()
        .ok()
        .filter(|score: &f64| score.is_finite());
    Ok((
        category.trim().to_owned(),
        score.ok_or("the score must be a number")?,
    ))
}
