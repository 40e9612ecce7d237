//! The path of one retraining: evidence → rows → a challenger → the gate → the registry.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{
    Origin,
    challenger::{self, ChallengerError},
    gate::{self, Bounds, Judgement},
    judging, report,
    resolve::{self, Account, Row, Rules},
    split::{self, Split},
};
use crate::{
    clock,
    config::Config,
    evaluate::{Evaluation, Judged},
    ids::{CategoryId, RouterId},
    registry::{self, OpenError, Promotion, Registered},
    router::{Router, RouterError},
    store::{Promoter, PromotionError, Store, StoreError},
    train::{dataset, labels::Labelled},
};

/// Most statements that are read, the newest: some hundred bytes each, with the question.
pub const STATEMENTS_MAX: u32 = 200_000;

/// Most rows that a challenger is trained on, the newest; reading them with a transformer takes minutes.
pub const SEEN_MAX: usize = 20_000;

/// Rows to train on below which nothing is tried.
pub const SEEN_MIN: usize = 50;

/// The name under which retraining promotes.
const PROMOTER: &str = "retrain";

/// The judgement, beside the artefact that it is about.
pub const JUDGEMENT_FILE: &str = "judgement.json";

/// The same for a person to read.
pub const REPORT_FILE: &str = "report.md";

/// The picture in it.
pub const PICTURE_FILE: &str = "report.svg";

/// How to retrain.
#[derive(Clone, Debug)]
pub struct Options {
    /// Decides what is held back with what.
    pub seed: u64,
    /// Origins of labels that do not count.
    pub without: Vec<Origin>,
    /// What the challenger has to keep to.
    pub bounds: Bounds,
    /// Whether a challenger that passes is put in force.
    pub promotes: bool,
}

/// Why nothing was decided.
#[derive(Debug, thiserror::Error)]
pub enum RetrainError {
    /// There is too little to learn from.
    #[error(
        "there are {rows} labelled questions to train on, and {SEEN_MIN} are needed; send feedback with a `category` (POST /v1/feedback), or label questions with `coterie label`"
    )]
    TooFewRows {
        /// Rows to train on.
        rows: usize,
    },
    /// A promotion would change nothing.
    #[error(
        "`router.artefact` names the router to use, so that no promotion would have an effect; take it out of the configuration, or use --dry-run"
    )]
    Pinned,
    /// The router in force cannot be opened.
    #[error(transparent)]
    Champion(#[from] OpenError),
    /// No challenger can be trained.
    #[error(transparent)]
    Challenger(#[from] ChallengerError),
    /// A router failed on a row.
    #[error(transparent)]
    Router(#[from] RouterError),
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It passed, and was not put in force.
    #[error(transparent)]
    Promotion(#[from] PromotionError),
    /// The report cannot be written.
    #[error("{} cannot be written", path.display())]
    Report {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The picture cannot be drawn.
    #[error(transparent)]
    Picture(#[from] crate::plot::PlotError),
    /// The report cannot be written as JSON.
    #[error("the judgement cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

/// What came of it; kept beside the artefact as [`JUDGEMENT_FILE`], but for the promotion.
#[derive(Clone, Debug, Serialize)]
pub struct Retrained {
    /// The router that was in force.
    pub champion: RouterId,
    /// The router that was trained.
    pub challenger: RouterId,
    /// The seed of it.
    pub seed: u64,
    /// What became of the evidence.
    pub account: Account,
    /// Rows that the challenger was trained on, beside the routes' examples.
    pub seen: usize,
    /// Rows that both were judged on.
    pub unseen: usize,
    /// Whether it may replace the champion, and why.
    pub judgement: Judgement,
    /// How both did on the unseen rows; none without rows.
    pub figures: Option<[Evaluation; 2]>,
    /// The folder of the challenger, with the report.
    pub folder: PathBuf,
    /// Whether it was put in force.
    pub promoted: bool,
}

/// Trains a challenger on what was said of outcomes, judges it beside the router in force on rows that neither has seen,
/// and puts it in force if it passes the gate and is to be promoted.
///
/// # Errors
/// [`RetrainError`] says what is wrong; a challenger that does not pass is none.
pub async fn retrain(
    config: &Config,
    store: &Store,
    options: &Options,
) -> Result<Retrained, RetrainError> {
    if config.router.artefact.is_some() && options.promotes {
        return Err(RetrainError::Pinned);
    }
    let (champion, opened_by) = Box::pin(registry::open_promoted(config, store)).await?;
    let (split, account) = rows(config, store, options).await?;
    if split.seen.len() < SEEN_MIN {
        let rows = split.seen.len();
        return Err(RetrainError::TooFewRows { rows });
    }
    let folder = Box::pin(challenger::train(config, &split.seen, options.seed)).await?;
    let router = Box::pin(challenger::open(folder.clone(), &champion, config)).await?;
    let judged = both(&champion, &router, &split.unseen).await?;
    let latency = judging::latency(&champion, &router, &labelled(&split.unseen)).await?;
    let judgement = judge(&split.unseen, &judged, latency, options);
    let mut retrained = Retrained {
        champion: champion.id().clone(),
        challenger: router.id().clone(),
        seed: options.seed,
        account,
        seen: split.seen.len(),
        unseen: split.unseen.len(),
        figures: figures(&judged, &champion, &router),
        judgement,
        folder,
        promoted: false,
    };
    keep(&retrained)?;
    register(store, &retrained, &router).await?;
    if options.promotes && retrained.judgement.passed {
        promote(store, &retrained, opened_by.seen).await?;
        retrained.promoted = true;
    }
    Ok(retrained)
}

async fn rows(
    config: &Config,
    store: &Store,
    options: &Options,
) -> Result<(Split, Account), StoreError> {
    let evidence = store.evidence(STATEMENTS_MAX).await?;
    let categories: Vec<CategoryId> = config
        .catalogue
        .routes
        .iter()
        .map(|route| route.category.clone())
        .collect();
    let rules = Rules {
        without: &options.without,
        categories: &categories,
        client_share_max: config.learning.client_share_max,
    };
    let (rows, account) = resolve::resolve(&evidence, &rules);
    let examples: HashSet<String> = dataset::of_routes(&config.catalogue)
        .into_iter()
        .map(|example| example.query.text)
        .collect();
    let mut split = split::split(rows, &examples);
    // Rows come oldest first.
    let surplus = split.seen.len().saturating_sub(SEEN_MAX);
    split.seen.drain(..surplus);
    Ok((split, account))
}

/// What the champion and the challenger say of each row.
async fn both(
    champion: &Router,
    challenger: &Router,
    rows: &[Row],
) -> Result<[Vec<Judged>; 2], RouterError> {
    Ok([
        judging::judge(champion, labelled(rows)).await?,
        judging::judge(challenger, labelled(rows)).await?,
    ])
}

fn labelled(rows: &[Row]) -> Vec<Labelled> {
    rows.iter().map(challenger::labelled).collect()
}

fn judge(
    unseen: &[Row],
    [champion, challenger]: &[Vec<Judged>; 2],
    latency: Option<gate::Latency>,
    options: &Options,
) -> Judgement {
    let rows: Vec<gate::Row> = unseen
        .iter()
        .zip(champion.iter().zip(challenger))
        .map(|(row, (champion, challenger))| gate::Row {
            label: row.category.clone(),
            conversation: conversation(&row.conversation),
            champion: gate::Said::of(champion),
            challenger: gate::Said::of(challenger),
        })
        .collect();
    gate::judge(&rows, latency, &options.bounds, options.seed)
}

/// A number for a conversation.
fn conversation(name: &str) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = dataset::key(name);
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

fn figures(
    [champion, challenger]: &[Vec<Judged>; 2],
    old: &Router,
    new: &Router,
) -> Option<[Evaluation; 2]> {
    Some([
        Evaluation::of(champion, old.id().clone()).ok()?,
        Evaluation::of(challenger, new.id().clone()).ok()?,
    ])
}

/// Writes the judgement and the report beside the artefact.
fn keep(retrained: &Retrained) -> Result<(), RetrainError> {
    let write = |name: &str, bytes: &[u8]| {
        let path = retrained.folder.join(name);
        fs::write(&path, bytes).map_err(|source| RetrainError::Report { path, source })
    };
    write(JUDGEMENT_FILE, &serde_json::to_vec_pretty(retrained)?)?;
    if let Some(picture) = report::picture(retrained)? {
        write(PICTURE_FILE, picture.as_bytes())?;
    }
    write(REPORT_FILE, report::markdown(retrained).as_bytes())
}

async fn register(
    store: &Store,
    retrained: &Retrained,
    router: &Router,
) -> Result<(), RetrainError> {
    let manifest = &router.artefact().manifest;
    let registered = Registered {
        id: retrained.challenger.clone(),
        folder: absolute(&retrained.folder)?,
        parent: Some(retrained.champion.clone()),
        registered_at_ms: clock::now_ms(),
        data_sha256: manifest.training.data_sha256.clone(),
        judgement: Some(serde_json::to_string(&retrained.judgement)?),
    };
    Ok(store.register(&registered).await?)
}

/// A server may run elsewhere than the command that trains.
fn absolute(folder: &Path) -> Result<PathBuf, RetrainError> {
    fs::canonicalize(folder).map_err(|source| RetrainError::Report {
        path: folder.to_owned(),
        source,
    })
}

async fn promote(
    store: &Store,
    retrained: &Retrained,
    seen: i64,
) -> Result<Promotion, PromotionError> {
    let promoter = Promoter {
        by: PROMOTER,
        why: Some(&retrained.judgement.reason),
        expected: Some(seen),
    };
    store.promote(&retrained.challenger, promoter).await
}
