//! `coterie train`.

use std::{
    collections::{BTreeSet, HashSet},
    ffi::OsStr,
    path::PathBuf,
};

use clap::Args;

use super::{CliError, ConfigArgs, asking, load, output};
use crate::{
    clock,
    config::{Config, Environment, Exposure},
    ids::{CategoryId, is_category_name},
    learning::{
        challenger,
        retrain::{self, STATEMENTS_MAX},
        teaching,
    },
    outcome::Spending,
    registry,
    router::artefact::{self, Figures, Manifest, Source, TierReport},
    store::Store,
    train::{
        dataset::{self, Dataset},
        in_force,
        labels::{self, Labelled},
        router::{Job, Prepared, Unlabelled},
        shipped,
    },
};

/// Fewer rows than this in a category are warned of: cross-validation needs some to hold back.
const ROWS_FEW: usize = 8;

#[derive(Args)]
pub(super) struct TrainArgs {
    /// Files with a JSON object a line, each with `text` or `messages`, and the `category` that is right (or
    /// `out_of_domain`). Later rows win over earlier ones.
    #[arg(long, num_args = 1.., value_name = "F.jsonl")]
    labels: Vec<PathBuf>,
    /// Further files of that kind, of other questions than will be asked: the cheap tier learns from them, but the full tier, the
    /// calibration, thresholds and figures are of the other rows alone.
    #[arg(long, num_args = 1.., value_name = "F.jsonl")]
    further: Vec<PathBuf>,
    /// Train on the examples of the routes in this folder as well.
    #[arg(long, value_name = "DIR")]
    routes: Option<PathBuf>,
    /// Train on what was said of questions in the store as well, as `coterie retrain` does: without what `learning.without`
    /// leaves out, and without texts that stand in the files.
    #[arg(long, conflicts_with = "teacher")]
    from_store: bool,
    /// Where to write the router.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Put a tuned encoder (`coterie encoder tune`) into the full tier, and learn from it in the cheap one.
    #[arg(long, value_name = "DIR")]
    tuned: Option<PathBuf>,
    /// The static encoder (`coterie encoder distill`) [default: the configured one, else
    /// that of the router that is built in].
    #[arg(long = "static", value_name = "DIR")]
    static_encoder: Option<PathBuf>,
    /// Decides which rows are held back together.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Have the instruction tier label questions of the log that nobody labelled, and learn from what it is sure of.
    #[arg(long, value_enum)]
    teacher: Option<Teacher>,
    /// Questions that the teacher is asked about at the most, the newest.
    #[arg(long, value_name = "N", default_value_t = 2000, requires = "teacher")]
    teacher_max: u32,
    /// A public set that rows come from, for the router's manifest; may be given several times.
    #[arg(long = "source", value_name = "NAME=LICENCE", value_parser = source)]
    sources: Vec<Source>,
    /// Print the router's manifest as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Who says what questions of the log were about.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Teacher {
    /// The expert of `router.instruction`, with the router in force.
    Instruction,
}

pub(super) async fn run(args: TrainArgs, environment: &Environment) -> Result<(), CliError> {
    if args.has_no_rows() {
        return Err(CliError::Usage(
            "there is nothing to train on; give --labels, --routes or both, --from-store, or --teacher instruction"
                .into(),
        ));
    }
    artefact::free(&args.out).map_err(CliError::usage)?;
    let mut config = load(&args.config, environment, Exposure::Insecure)?;
    let (mut rows, routes_sha256) = Box::pin(rows(&args, &mut config)).await?;
    let further = further_rows(&args, &rows)?;
    let further_origins = origins(&further);
    rows.extend(further);
    let encoder = in_force::open_encoder(&config.router)
        .await
        .map_err(CliError::failed)?;
    let job = Job {
        rows,
        seed: args.seed,
        features: config.router.features.clone(),
        static_encoder: args
            .static_encoder
            .or_else(|| config.router.static_encoder.clone())
            .or_else(|| shipped::unpack(&config.router.artefacts).ok()),
        tuned: args.tuned,
        routes_sha256,
        sources: args.sources,
        base: None,
        seen: Vec::new(),
        given: if args.from_store {
            challenger::given()
        } else {
            Vec::new()
        },
        unlabelled: Unlabelled::default(),
        further: further_origins,
        created_at_ms: clock::now_ms(),
    };
    let prepared =
        Prepared::new(job, &config.router.encoder, &encoder).map_err(CliError::failed)?;
    warn_of_odd_rows(prepared.dataset());
    warn_of_few_rows(prepared.dataset());
    let training = Box::pin(prepared.train(&encoder, &config.router.artefacts, &args.out));
    let manifest = training.await.map_err(CliError::failed)?;
    if args.json {
        return output::json(&manifest).map_err(CliError::failed);
    }
    tell(&manifest, &args.out);
    Ok(())
}

impl TrainArgs {
    fn has_no_rows(&self) -> bool {
        let has_files = !self.labels.is_empty() || self.routes.is_some();
        !has_files && !self.from_store && self.teacher.is_none()
    }
}

/// The rows of everything but the further files, and the digest of the routes' examples among them.
async fn rows(args: &TrainArgs, config: &mut Config) -> Result<(Vec<Labelled>, String), CliError> {
    let mut rows = Vec::new();
    let mut routes_sha256 = String::new();
    if let Some(folder) = &args.routes {
        let catalogue = crate::config::load_routes(folder).map_err(CliError::Config)?;
        routes_sha256 = in_force::routes_sha256(&catalogue);
        rows.extend(dataset::of_routes(&catalogue));
    }
    if !args.labels.is_empty() {
        rows.extend(labels::read(&args.labels).map_err(CliError::usage)?);
    }
    if args.from_store {
        let said = said(config, &rows).await?;
        rows.extend(said);
    }
    if let Some(Teacher::Instruction) = args.teacher {
        if let Some(instruction) = &mut config.router.instruction {
            instruction.within = asking::UNHURRIED;
        }
        rows.extend(taught(config, args.teacher_max).await?);
    }
    Ok((rows, routes_sha256))
}

/// What was said of questions in the store, but for those that stand in `files`: what a file says, its owner says of this very
/// text.
async fn said(config: &Config, files: &[Labelled]) -> Result<Vec<Labelled>, CliError> {
    let path = &config.store.path;
    if !path.exists() {
        let what = format!(
            "there is no store at {}: nothing was said yet",
            path.display()
        );
        return Err(CliError::Failed(what));
    }
    let store = Store::open(path).await.map_err(CliError::failed)?;
    let gathered = store.evidence(STATEMENTS_MAX).await;
    let closed = store.close().await;
    let gathered = gathered.map_err(CliError::failed)?;
    closed.map_err(CliError::failed)?;
    let (rows, account) = retrain::rows(config, &gathered, &config.learning.without);
    let told: HashSet<&str> = files
        .iter()
        .map(|row| row.query.likelier_reading())
        .collect();
    let mut said: Vec<Labelled> = rows.iter().map(challenger::labelled).collect();
    said.retain(|row| !told.contains(row.query.likelier_reading()));
    output::note(&format!(
        "{} rows are from the store: something was said of {} outcomes, and `coterie retrain` would learn {} of their texts",
        said.len(),
        account.outcomes,
        rows.len()
    ));
    Ok(said)
}

/// Those of the further files that are not among the other `rows`: what is said of a question that is asked, its own label decides.
fn further_rows(args: &TrainArgs, rows: &[Labelled]) -> Result<Vec<Labelled>, CliError> {
    if args.further.is_empty() {
        return Ok(Vec::new());
    }
    // Rows are told apart by the names of their files; those of the store are named by who said it.
    let names = origins(rows);
    let same = |file: &&PathBuf| {
        let name = file.file_name();
        args.labels.iter().any(|labels| labels.file_name() == name)
            || names.iter().any(|known| name == Some(OsStr::new(known)))
    };
    if let Some(file) = args.further.iter().find(same) {
        return Err(CliError::Usage(format!(
            "{} has the name of a file of --labels, or of an origin in the store; give it another one",
            file.display()
        )));
    }
    let asked: HashSet<&str> = rows
        .iter()
        .map(|row| row.query.likelier_reading())
        .collect();
    let mut further = labels::read(&args.further).map_err(CliError::usage)?;
    further.retain(|row| !asked.contains(row.query.likelier_reading()));
    Ok(further)
}

/// The names of the files that rows are from.
fn origins(rows: &[Labelled]) -> Vec<String> {
    let names: BTreeSet<&str> = rows
        .iter()
        .filter_map(|row| row.origin.as_deref())
        .collect();
    names.into_iter().map(str::to_owned).collect()
}

/// What the instruction tier says of questions that nobody labelled; what it said before counts as well.
async fn taught(config: &Config, rows_max: u32) -> Result<Vec<Labelled>, CliError> {
    let router = registry::open(config, None)
        .await
        .map_err(CliError::failed)?;
    let tier = asking::tier(config, &router).await?.ok_or_else(|| {
        CliError::Usage("the configuration has no `router.instruction` to be a teacher".into())
    })?;
    let store = Store::open(&config.store.path)
        .await
        .map_err(CliError::failed)?;
    let midnight_ms = Spending::midnight_ms(clock::now_ms());
    let spent_usd = store.spent_on_instructions_usd_since(midnight_ms).await;
    let tier = tier.having_spent(spent_usd.map_err(CliError::failed)?);
    let taught = teaching::label(&store, &router, &tier, rows_max).await;
    let taught = taught.map_err(CliError::failed)?;
    let gathered = store
        .evidence(STATEMENTS_MAX)
        .await
        .map_err(CliError::failed)?;
    store.close().await.map_err(CliError::failed)?;
    output::note(&format!(
        "the teacher was asked about {} questions, is sure of {}, and cost ${:.4}",
        taught.asked, taught.labelled, taught.usd
    ));
    if taught.left > 0 {
        output::note(&format!(
            "{} questions are left: more than `router.instruction.usd_per_day` has today",
            taught.left
        ));
    }
    Ok(teaching::rows(&gathered.evidence, &tier.given_by()))
}

/// What else the rows are that may not be meant.
fn warn_of_odd_rows(dataset: &Dataset) {
    if dataset.blank > 0 {
        output::note(&format!(
            "warning: {} rows have nothing in them to learn from and were left out",
            dataset.blank
        ));
    }
    let is_odd = |category: &&CategoryId| !is_category_name(category.as_str());
    let odd: Vec<&CategoryId> = dataset.categories.iter().filter(is_odd).collect();
    if let Some(first) = odd.first() {
        output::note(&format!(
            "warning: {} categories, `{first}` the first of them, can have no route and so no expert: a route is named with a to z, 0 to 9 and `_`",
            odd.len()
        ));
    }
}

fn warn_of_few_rows(dataset: &Dataset) {
    let few: Vec<String> = dataset
        .categories
        .iter()
        .zip(dataset.of(&dataset.asked()).sizes())
        .filter(|(_, rows)| *rows < ROWS_FEW)
        .map(|(category, rows)| format!("{category} ({rows})"))
        .collect();
    if !few.is_empty() {
        output::note(&format!(
            "warning: few rows in {}; figures and thresholds will mean little",
            few.join(", ")
        ));
    }
    if dataset.conflicts > 0 {
        output::note(&format!(
            "warning: {} texts have several categories; the most frequent one was taken, of equals the last",
            dataset.conflicts
        ));
    }
}

fn tell(manifest: &Manifest, out: &std::path::Path) {
    output::line(&format!("router      {} in {}", manifest.id, out.display()));
    let training = &manifest.training;
    output::line(&format!(
        "rows        {} in {} classes",
        training.rows,
        manifest.categories.len()
    ));
    if training.further > 0 {
        output::line(&format!(
            "further     {} of them, which are in no figure",
            training.further
        ));
    }
    let tier = |name: &str, report: &Option<TierReport>| {
        if let Some(report) = report {
            let figures = &report.figures;
            output::line(&format!(
                "{name:<11} accuracy {:.3}, calibration error {:.3}",
                figures.accuracy, figures.ece
            ));
        }
    };
    tier("cheap tier", &manifest.cheap);
    tier("full tier", &manifest.full);
    let cascade = &manifest.cascade;
    output::line(&format!(
        "cascade     accuracy {:.3}, calibration error {:.3}; the cheap tier settles {:.0} %",
        cascade.figures.accuracy,
        cascade.figures.ece,
        cascade.cheap_share * 100.0
    ));
    for routed in &manifest.thresholds {
        output::line(&format!(
            "routed      {:.1} % misrouted at most: from {:.3}, which is {:.0} % of the rows ({:.2} % of these misrouted, at most {:.2} %)",
            routed.misroute_max * 100.0,
            routed.confidence_min,
            routed.coverage * 100.0,
            routed.misrouted * 100.0,
            routed.misroute_upper95 * 100.0
        ));
    }
    for (file, figures) in &training.by_file {
        let tier = |tier: &Option<Figures>| {
            tier.map_or("none".to_owned(), |figures| {
                format!("{:.3}", figures.accuracy)
            })
        };
        output::line(&format!(
            "{file}: {} rows, accuracy {:.3}, in domain {:.3} (cheap tier {}, which settles {:.0} %, full tier {})",
            figures.rows,
            figures.cascade.accuracy,
            figures.cascade.in_domain_accuracy,
            tier(&figures.cheap),
            figures.cheap_share * 100.0,
            tier(&figures.full),
        ));
    }
    output::line(if training.held_back > 0 {
        "            (on rows held back from what judges them)"
    } else {
        "            (on the very rows that it was trained on: there are too few to hold any back)"
    });
}

fn source(text: &str) -> Result<Source, String> {
    let (name, licence) = text.split_once('=').ok_or("write NAME=LICENCE")?;
    Ok(Source {
        name: name.trim().to_owned(),
        licence: licence.trim().to_owned(),
    })
}
