//! The path of one retraining: evidence → rows → a challenger → the gate → the registry; and outcomes → the mapping.

mod error;
mod mapping;

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
};

use serde::{Serialize, Serializer};

use super::{
    Evidence, Gathered, Origin,
    challenger::{self, Lessons},
    conversation,
    crossfit::{self, Champion, Heard},
    earlier::Earlier,
    gate::{self, Bounds, Itself, Judgement},
    judging,
    learnt::{LEARNT_FILE, Learnt},
    remap::Remapped,
    report::{self, Newest},
    resolve::{self, Account, Row},
    split::{self, Split},
};
pub use error::RetrainError;
pub use mapping::MappingError;

use crate::{
    causes, clock,
    config::Config,
    evaluate::{Evaluation, Judged},
    files::write_whole,
    ids::{CategoryId, OUT_OF_DOMAIN, RouterId},
    registry::{self, Promotion, Registered},
    router::Router,
    store::{Promoter, PromotionError, Store, StoreError},
    train::{dataset, labels::Labelled},
};

/// Most statements that are read, each source's newest in turn: some hundred bytes each, with the question.
pub const STATEMENTS_MAX: u32 = 200_000;

/// Most rows that a challenger is trained on, the newest; reading them with a transformer takes minutes.
pub const ROWS_MAX: usize = 20_000;

/// Rows to train on below which nothing is tried.
pub const ROWS_MIN: usize = 50;

/// The name under which retraining promotes.
const PROMOTER: &str = "retrain";

/// Why the same rows do not make another router.
const NOTHING_NEW: &str = "nothing new: the router in force was trained on these very rows";

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

/// What came of it; kept beside the artefact as [`JUDGEMENT_FILE`], but for what was put in force.
#[derive(Debug, Serialize)]
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
    pub learnt: usize,
    /// Questions that nobody labelled, and that it was trained on all the same, as of categories that were accepted.
    pub guessed: usize,
    /// Rows that both were judged on, each by routers that had not seen it.
    pub judged: usize,
    /// Of how many of these the champion's stand-in was asked, since the champion has seen them.
    pub judged_by_stand_in: usize,
    /// Rows that the champion has seen, and that none could be asked about in its place.
    pub left_out: usize,
    /// How both did on the newest of these rows; none where nothing was judged.
    pub newest: Option<Newest>,
    /// Whether it may replace the champion, and why.
    pub judgement: Judgement,
    /// How both, or those who stood in for them, did on these rows; none without rows.
    pub figures: Option<[Evaluation; 2]>,
    /// The folder of the challenger, with the report.
    pub folder: PathBuf,
    /// Whether it was put in force.
    pub promoted: bool,
    /// What became of the mapping.
    pub mapping: Remapped,
    /// Why a mapping that passed was not put in force, though it was to be. What became of the router stands all the same.
    #[serde(serialize_with = "in_words")]
    pub mapping_error: Option<MappingError>,
}

fn in_words<S: Serializer>(error: &Option<MappingError>, to: S) -> Result<S::Ok, S::Error> {
    let words = error.as_ref().map(|error| causes::in_full(error));
    words.serialize(to)
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
    let gathered = store.evidence(STATEMENTS_MAX).await?;
    let (rows, account) = rows(config, &gathered, &options.without);
    if rows.len() < ROWS_MIN {
        let (rows, left_out) = (rows.len(), account.left_out);
        return Err(RetrainError::TooFewRows { rows, left_out });
    }
    let split = Split {
        earlier: Earlier::read(store, &rows, &gathered.evidence).await?,
        ..split::split(rows, &examples(config))
    };
    let lessons = Lessons {
        routes: &config.catalogue,
        rows: &split.rows,
        earlier: &split.earlier,
    };
    let trained = challenger::train(config, lessons, options.seed, &config.router.artefacts);
    let folder = Box::pin(trained).await?;
    let challenger = Box::pin(challenger::open(folder, &champion, config)).await?;
    let mut retrained = Retrained {
        champion: champion.id().clone(),
        challenger: challenger.id().clone(),
        seed: options.seed,
        account,
        learnt: split.rows.len(),
        guessed: challenger.artefact().manifest.training.guessed,
        judged: 0,
        judged_by_stand_in: 0,
        left_out: 0,
        newest: None,
        figures: None,
        judgement: Judgement::refused(NOTHING_NEW.to_owned()),
        folder: challenger.artefact().folder.clone(),
        promoted: false,
        mapping: mapping::propose(config, store, &options.without).await?,
        mapping_error: None,
    };
    let settled = settled(store, &champion, &challenger).await?;
    if let Some(reason) = settled {
        retrained.judgement = Judgement::refused(reason);
    } else {
        let knowing = knowing(&champion, &split.rows, &gathered.evidence)?;
        let knowing = knowing.with_earlier(store, &gathered.evidence).await?;
        let compared = compare(config, (&knowing, &challenger), &split, options);
        retrained.hear(Box::pin(compared).await?, [&champion, &challenger]);
        let learnt = Learnt::of(&split.rows, &config.catalogue);
        let learnt = match retrained.guessed {
            0 => learnt,
            _ => learnt.with_earlier(&split.earlier),
        };
        keep(&retrained, &learnt)?;
        register(store, &retrained, &challenger).await?;
        if options.promotes && retrained.judgement.passed {
            promote(store, &retrained, opened_by.seen).await?;
            retrained.promoted = true;
        }
    }
    if options.promotes {
        retrained.mapping_error = mapping::promote(config, &mut retrained).err();
    }
    Ok(retrained)
}

impl Retrained {
    /// Takes in what was found.
    fn hear(&mut self, compared: Compared, [champion, challenger]: [&Router; 2]) {
        self.judged = compared.heard.rows.len();
        self.judged_by_stand_in = compared.heard.by_stand_in;
        self.left_out = compared.heard.left_out;
        self.newest = Some(Newest::of(&compared.heard));
        self.figures = figures(&compared.heard, champion, challenger);
        self.judgement = compared.judgement;
    }
}

/// Why nothing is to be judged; none where something is. What was said of the challenger then, its judgement and its report,
/// stays.
async fn settled(
    store: &Store,
    champion: &Router,
    challenger: &Router,
) -> Result<Option<String>, StoreError> {
    if challenger.id() == champion.id() {
        return Ok(Some(NOTHING_NEW.to_owned()));
    }
    let (promotions, trials) = (store.promotions().await?, store.trials().await?);
    let given_up = registry::given_up(challenger.id(), &promotions, &trials);
    Ok(given_up.map(|given_up| {
        let id = challenger.id();
        format!(
            "the same rows make router {id} again, and {given_up}; `coterie routers promote {id}` puts it in force all the same"
        )
    }))
}

/// A challenger beside the champion.
pub struct Compared {
    /// What was said of the rows by whoever had not seen them.
    pub heard: Heard,
    /// Whether the challenger may replace the champion.
    pub judgement: Judgement,
}

/// Judges a challenger that was trained on all rows beside the champion, each row by routers that have not seen it.
///
/// # Errors
/// A stand-in cannot be trained, or a router fails.
pub async fn compare(
    config: &Config,
    (champion, challenger): (&Champion<'_>, &Router),
    split: &Split,
    options: &Options,
) -> Result<Compared, RetrainError> {
    let named = (challenger.id().as_str(), options.seed);
    let heard = Box::pin(crossfit::judge(config, champion, split, named)).await?;
    let rows: Vec<&Row> = heard.rows.iter().map(|at| &split.rows[*at]).collect();
    let labelled = || -> Vec<Labelled> {
        let labelled = rows.iter().map(|row| challenger::labelled(row));
        labelled.collect()
    };
    let of_itself = judging::judge(challenger, labelled()).await?;
    let right = of_itself.iter().filter(|judged| judged.is_right()).count();
    let itself = Itself {
        latency: judging::latency(champion.router, challenger, &labelled()).await?,
        accuracy: (!rows.is_empty()).then(|| right as f64 / rows.len() as f64),
    };
    let rows = gate_rows(&rows, &heard, champion.router.categories());
    let bounds = Bounds {
        // Whoever adds a category wants a router that knows it, though no traffic speaks of it yet.
        needs_gain: options.bounds.needs_gain && has_same_categories(champion.router, challenger),
        ..options.bounds
    };
    let judgement = gate::judge(&rows, itself, &bounds, options.seed);
    Ok(Compared { heard, judgement })
}

fn has_same_categories(one: &Router, other: &Router) -> bool {
    let [one, other] =
        [one, other].map(|router| router.categories().iter().collect::<BTreeSet<_>>());
    one == other
}

fn knowing<'c>(
    champion: &'c Router,
    rows: &[Row],
    evidence: &[Evidence],
) -> Result<Champion<'c>, RetrainError> {
    Champion::new(champion, rows, evidence).map_err(|source| RetrainError::Learnt {
        router: champion.id().clone(),
        folder: champion.artefact().folder.clone(),
        source,
    })
}

/// The rows that are learnt from beside the routes' examples, oldest first, without what these origins say; and what became
/// of all that was said.
pub fn rows(config: &Config, gathered: &Gathered, without: &[Origin]) -> (Vec<Row>, Account) {
    let (mut rows, mut account) = resolve::by_config(gathered, config, without);
    // They come oldest first.
    account.surplus = rows.len().saturating_sub(ROWS_MAX);
    rows.drain(..account.surplus);
    let examples = examples(config);
    // The routes' files are their owner's word, whatever clients say.
    let known = rows.len();
    rows.retain(|row| {
        let told = examples.get(&row.text);
        told.is_none_or(|category| *category == row.category)
    });
    account.contradicted = known - rows.len();
    (rows, account)
}

/// The texts of the routes' examples.
fn examples(config: &Config) -> HashMap<String, CategoryId> {
    let examples = dataset::of_routes(&config.catalogue).into_iter();
    examples
        .map(|example| (example.query.text, example.category))
        .collect()
}

/// The rows as the gate has them; `known`: the champion's categories.
fn gate_rows(rows: &[&Row], heard: &Heard, known: &[CategoryId]) -> Vec<gate::Row> {
    let is_new = |judged: &Judged| {
        let said = judged.scores.first().map(|score| &score.category);
        said.is_some_and(|said| said.as_str() != OUT_OF_DOMAIN && !known.contains(said))
    };
    let older = rows.len() - heard.newest;
    rows.iter()
        .zip(heard.champion.iter().zip(&heard.challenger))
        .enumerate()
        .map(|(at, (row, (champion, challenger)))| gate::Row {
            label: row.category.clone(),
            conversation: conversation::number(&row.conversation),
            is_newest: at >= older,
            is_taken: is_new(challenger),
            champion: gate::Said::of(champion),
            challenger: gate::Said::of(challenger),
        })
        .collect()
}

fn figures(heard: &Heard, champion: &Router, challenger: &Router) -> Option<[Evaluation; 2]> {
    Some([
        Evaluation::of(&heard.champion, champion.id().clone()).ok()?,
        Evaluation::of(&heard.challenger, challenger.id().clone()).ok()?,
    ])
}

/// Writes what was learnt from, the judgement and the report beside the artefact.
fn keep(retrained: &Retrained, learnt: &Learnt) -> Result<(), RetrainError> {
    let write = |name: &str, bytes: &[u8]| {
        let path = retrained.folder.join(name);
        write_whole(&path, bytes).map_err(|source| RetrainError::Report { path, source })
    };
    write(LEARNT_FILE, &learnt.to_json()?)?;
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
