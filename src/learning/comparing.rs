//! The last router that was tried in shadow, compared with what decided: from the store through [`shadow`].

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    io,
};

use super::{
    Origin, conversation,
    gate::{self, Bounds, Itself},
    learnt::Learnt,
    resolve,
    retrain::STATEMENTS_MAX,
    shadow::{self, Comparison, Tally},
};
use crate::{
    config::Config,
    ids::{CategoryId, RouterId},
    query::Query,
    registry,
    router::artefact::Artefact,
    store::{Store, StoreError},
    train::dataset,
    trial::{Trial, TrialKind},
};

/// Most outcomes that are compared, the newest.
const OUTCOMES_MAX: usize = 100_000;

/// How to compare.
#[derive(Clone, Debug)]
pub struct Options {
    /// Decides how the gate's bootstrap draws.
    pub seed: u64,
    /// Origins of labels that do not count.
    pub without: Vec<Origin>,
    /// What the router in shadow has to keep to.
    pub bounds: Bounds,
}

/// Why nothing was compared.
#[derive(Debug, thiserror::Error)]
pub enum ComparingError {
    /// No router was ever tried in shadow.
    #[error(
        "no router was tried in shadow; `coterie routers shadow ID` tries one, `coterie routers list` shows which there are"
    )]
    NoShadow,
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What a router has learnt cannot be read.
    #[error("what router {router} has learnt cannot be read")]
    Learnt {
        /// The router.
        router: RouterId,
        /// Why not.
        source: io::Error,
    },
}

/// What somebody said that a question was about.
struct Labelled {
    category: CategoryId,
    conversation: u64,
    text: String,
}

/// Compares what the router that was tried in shadow last would have decided with what was decided. Nothing is trained, and
/// nothing is changed.
///
/// # Errors
/// No router was tried in shadow, or the store cannot be read.
pub async fn compare(
    config: &Config,
    store: &Store,
    options: &Options,
) -> Result<Comparison, ComparingError> {
    let trials = store.trials().await?;
    let last = trials.into_iter().rev();
    let trial = last.into_iter().find(|it| it.kind == TrialKind::Shadow);
    let trial = trial.ok_or(ComparingError::NoShadow)?;
    let learnt = learnt(config, store, &trial).await?;
    let (labels, known) = labels(config, store, options, &learnt).await?;
    let categories = Categories::of(config, store, &trial).await?;
    let read = read(store, &trial, &labels, &categories.added()).await?;
    let bounds = Bounds {
        needs_gain: options.bounds.needs_gain && !categories.differ(),
        ..options.bounds
    };
    let judgement = (!read.rows.is_empty())
        .then(|| gate::judge(&read.rows, Itself::default(), &bounds, options.seed));
    let name = (trial.number, trial.router);
    Ok(Comparison {
        learnt: known,
        ..read.tally.sum_up(name, read.is_cut, judgement)
    })
}

/// What the router in shadow has learnt from the traffic, and the one that decided when the trial began.
async fn learnt(
    config: &Config,
    store: &Store,
    trial: &Trial,
) -> Result<Vec<Learnt>, ComparingError> {
    let mut learnt = Vec::new();
    for router in trial.champion.iter().chain([&trial.router]) {
        if let Some(registered) = store.router(router).await? {
            let folder = registry::folder_of(config, &registered);
            let read = Learnt::read(&folder).map_err(|source| ComparingError::Learnt {
                router: router.clone(),
                source,
            });
            learnt.push(read?);
        }
    }
    Ok(learnt)
}

/// What both routers tell apart; the same where one of them is not to be found.
#[derive(Default)]
struct Categories {
    champion: BTreeSet<CategoryId>,
    shadow: BTreeSet<CategoryId>,
}

impl Categories {
    async fn of(config: &Config, store: &Store, trial: &Trial) -> Result<Self, StoreError> {
        let champion = match &trial.champion {
            Some(router) => told_apart(config, store, router).await?,
            None => None,
        };
        let both = champion.zip(told_apart(config, store, &trial.router).await?);
        Ok(both.map_or_else(Self::default, |(champion, shadow)| Self {
            champion,
            shadow,
        }))
    }

    /// Those that only the router in shadow knows.
    fn added(&self) -> BTreeSet<CategoryId> {
        self.shadow.difference(&self.champion).cloned().collect()
    }

    fn differ(&self) -> bool {
        self.champion != self.shadow
    }
}

/// What a router of the registry tells apart; none where it is not there or cannot be read.
async fn told_apart(
    config: &Config,
    store: &Store,
    router: &RouterId,
) -> Result<Option<BTreeSet<CategoryId>>, StoreError> {
    let Some(registered) = store.router(router).await? else {
        return Ok(None);
    };
    let folder = registry::folder_of(config, &registered);
    let read = tokio::task::spawn_blocking(move || Artefact::read(&folder)).await;
    let artefact = read.ok().and_then(Result::ok);
    Ok(artefact.map(|artefact| artefact.manifest.told_apart().cloned().collect()))
}

struct Read {
    tally: Tally,
    rows: Vec<gate::Row>,
    is_cut: bool,
}

/// Reads the outcomes, newest first, a page after the other. `added`: categories that only the router in shadow knows.
async fn read(
    store: &Store,
    trial: &Trial,
    labels: &HashMap<String, Labelled>,
    added: &BTreeSet<CategoryId>,
) -> Result<Read, StoreError> {
    let mut read = Read {
        tally: Tally::default(),
        rows: Vec::new(),
        is_cut: false,
    };
    // A text is one row, however often it was asked: the one that was asked last.
    let mut texts: HashSet<&str> = HashSet::new();
    let mut after: Option<String> = None;
    loop {
        let since_ms = trial.started_at_ms;
        let page = store
            .compared(&trial.router, since_ms, after.as_deref())
            .await?;
        let Some(last) = page.last() else {
            return Ok(read);
        };
        after = Some(last.outcome_id.clone());
        for row in &page {
            if read.tally.outcomes() == OUTCOMES_MAX {
                read.is_cut = true;
                return Ok(read);
            }
            read.tally.add(row);
            let label = labels.get(&row.outcome_id);
            if let Some(label) = label.filter(|it| !texts.contains(it.text.as_str())) {
                let said = (&label.category, label.conversation);
                if let Some(row) = shadow::gate_row(row, said, added) {
                    texts.insert(&label.text);
                    read.rows.push(row);
                }
            }
        }
    }
}

/// What was said of each outcome, as learning believes it, of texts that neither router has learnt; how many texts one of them
/// has: it would be judged by what it knows by heart.
async fn labels(
    config: &Config,
    store: &Store,
    options: &Options,
    learnt: &[Learnt],
) -> Result<(HashMap<String, Labelled>, usize), StoreError> {
    let gathered = store.evidence(STATEMENTS_MAX).await?;
    let (mut rows, _) = resolve::by_config(&gathered, config, &options.without);
    let examples = dataset::of_routes(&config.catalogue).into_iter();
    let examples: HashSet<String> = examples.map(|example| example.query.text).collect();
    let said = rows.len();
    rows.retain(|row| {
        !examples.contains(&row.text) && !learnt.iter().any(|learnt| learnt.knows(row))
    });
    let known = said - rows.len();
    let by_text: HashMap<&str, &resolve::Row> =
        rows.iter().map(|row| (row.text.as_str(), row)).collect();
    let labelled = gathered.evidence.into_iter().filter_map(|outcome| {
        let text = Query::from_text(&outcome.question).text;
        let row = by_text.get(text.as_str())?;
        let labelled = Labelled {
            category: row.category.clone(),
            conversation: conversation::number(&row.conversation),
            text,
        };
        Some((outcome.outcome_id, labelled))
    });
    Ok((labelled.collect(), known))
}
