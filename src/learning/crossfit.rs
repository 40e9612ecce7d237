//! What two routers say of rows that neither has seen, although both may have learnt from them.
//!
//! Of a row that a router learnt from, its stand-in is asked: trained just like it, on what it was told then, but without the
//! block of conversations that the row is in.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use super::{
    Evidence,
    challenger::{self, ChallengerError, Lessons},
    earlier::Earlier,
    judging,
    learnt::{EarlierThen, Learnt},
    resolve::Row,
    split::{Block, Split},
};
use crate::{
    catalogue::Catalogue,
    clock,
    config::Config,
    evaluate::Judged,
    router::{Router, RouterError},
    store::{Store, StoreError},
    train::{in_force, labels::Labelled},
};

/// The folder of stand-ins, beside the artefacts.
const STAND_INS: &str = "stand-ins";

/// How old the stand-ins must be of a retraining that was cut short, for another to clear them away.
const LEFT_BEHIND_AFTER: Duration = Duration::from_hours(24);

/// Why rows could not be judged.
#[derive(Debug, thiserror::Error)]
pub enum CrossfitError {
    /// A stand-in cannot be trained.
    #[error(transparent)]
    Challenger(#[from] ChallengerError),
    /// A router failed on a row.
    #[error(transparent)]
    Router(#[from] RouterError),
}

/// Share of what the champion learnt that may be gone from the store: a stand-in that lacks more knows too little to be taken
/// for it, and is too easy to beat.
const GONE_SHARE_MAX: f64 = 0.05;

/// The router in force, and what it learnt from.
pub struct Champion<'c> {
    /// The router.
    pub router: &'c Router,
    learnt: Learnt,
    /// The rows that it learnt from, as it learnt them, as far as they are still there.
    rows: Vec<Row>,
    /// What it learnt from beside them that nobody had labelled.
    earlier: Earlier,
    /// The routes whose examples it learnt from; none: those that there are now.
    routes: Option<Catalogue>,
}

impl<'c> Champion<'c> {
    /// Reads what a router learnt from beside its artefact. `rows`: what can be learnt from now; `evidence`: all that was said.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn new(router: &'c Router, rows: &[Row], evidence: &[Evidence]) -> io::Result<Self> {
        let learnt = Learnt::read(&router.artefact().folder)?;
        Ok(Self {
            router,
            rows: learnt.rows(rows, evidence),
            earlier: Earlier::default(),
            routes: learnt.catalogue(),
            learnt,
        })
    }

    /// The same, with what it learnt from that nobody had labelled.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn with_earlier(
        mut self,
        store: &Store,
        evidence: &[Evidence],
    ) -> Result<Self, StoreError> {
        if let Some(then) = self.learnt.earlier() {
            self.earlier = Earlier::again(store, then, evidence).await?;
        }
        Ok(self)
    }

    /// The digest of the routes' examples that it learnt from.
    fn routes_sha256(&self) -> &str {
        &self.router.artefact().manifest.training.routes_sha256
    }

    /// Whether enough is there of what it learnt for a stand-in.
    fn is_there(&self) -> bool {
        let told = [self.rows.len(), self.learnt.texts()];
        let given = self.learnt.earlier().map_or(0, EarlierThen::texts);
        let guessed = self.router.artefact().manifest.training.guessed;
        is_there(told, ([self.earlier.questions.len(), given], guessed))
    }
}

/// Of what was told and of what was given without a label: how many texts are there, and how many there were. Of the latter as large a
/// share of those that were learnt is taken to be gone as of all.
fn is_there(
    [rows, learnt]: [usize; 2],
    ([questions, given], guessed): ([usize; 2], usize),
) -> bool {
    let gone_share = match given {
        0 => 1.0,
        _ => given.saturating_sub(questions) as f64 / given as f64,
    };
    let gone = learnt.saturating_sub(rows) as f64 + gone_share * guessed as f64;
    gone <= GONE_SHARE_MAX * (learnt + guessed) as f64
}

/// What was said of the rows of all blocks.
#[derive(Default)]
pub struct Heard {
    /// Places of the rows in [`Split::rows`].
    pub rows: Vec<usize>,
    /// Of each row, by the champion or its stand-in.
    pub champion: Vec<Judged>,
    /// Of each row, by a stand-in of the challenger.
    pub challenger: Vec<Judged>,
    /// How many of the rows are of the newest block; they come last.
    pub newest: usize,
    /// Of how many rows the champion's stand-in was asked.
    pub by_stand_in: usize,
    /// How many rows the champion has seen and none could stand in for it: they are left out.
    pub left_out: usize,
}

/// Has both routers, or their stand-ins, judge every row of every block. `name`: the challenger's, for the folder of its
/// stand-ins.
///
/// Rows that the champion learnt from are left out where it was trained in another way than routers are now, or on much that
/// is gone, so that there is no stand-in for it. Routes that have changed since are no other way: it stands in who learnt from their
/// examples as they were.
///
/// # Errors
/// A stand-in cannot be trained, or a router fails.
pub async fn judge(
    config: &Config,
    champion: &Champion<'_>,
    split: &Split,
    (name, seed): (&str, u64),
) -> Result<Heard, CrossfitError> {
    let all = config.router.artefacts.join(STAND_INS);
    clear_left_behind(&all, clock::now_ms());
    let work = Work {
        config,
        champion,
        split,
        seed,
        // Another retraining of the same rows may be under way.
        folder: all.join(format!("{name}-{}", std::process::id())),
    };
    let mut heard = Heard::default();
    for block in &split.blocks {
        work.judge(block, &mut heard).await?;
    }
    // They can be made again; what is left is cleared away a day later.
    fs::remove_dir_all(&work.folder).ok();
    Ok(heard)
}

struct Work<'w> {
    config: &'w Config,
    champion: &'w Champion<'w>,
    split: &'w Split,
    seed: u64,
    folder: PathBuf,
}

impl Work<'_> {
    async fn judge(&self, block: &Block, heard: &mut Heard) -> Result<(), CrossfitError> {
        let routes = &self.config.catalogue;
        let lessons = Lessons {
            routes,
            rows: &block.lacking(&self.split.rows),
            earlier: &block.earlier_lacking(&self.split.earlier, &self.split.rows),
        };
        let challenger = self.stand_in(lessons).await?;
        let known = |at: &usize| self.champion.learnt.knows(&self.split.rows[*at]);
        let (known, new): (Vec<usize>, Vec<usize>) = block.judging.iter().partition(|at| known(at));
        let mut by_champion = self.said(self.champion.router, &new).await?;
        let champions = self.champion.routes.as_ref().unwrap_or(routes);
        let can_be = self.champion.is_there()
            && in_force::routes_sha256(champions) == self.champion.routes_sha256()
            && reads_alike(self.champion.router, &challenger);
        let mut stand_in = None;
        if can_be && !known.is_empty() {
            let lessons = Lessons {
                routes: champions,
                rows: &block.lacking(&self.champion.rows),
                earlier: &block.earlier_lacking(&self.champion.earlier, &self.split.rows),
            };
            let trained = self.stand_in(lessons).await?;
            stand_in = Some(trained).filter(|it| is_on_the_same(self.champion.router, it));
        }
        match stand_in {
            None => heard.left_out += known.len(),
            Some(stand_in) => {
                by_champion.extend(self.said(&stand_in, &known).await?);
                heard.by_stand_in += known.len();
            }
        }
        by_champion.sort_unstable_by_key(|(at, _)| *at);
        let rows: Vec<usize> = by_champion.iter().map(|(at, _)| *at).collect();
        let by_challenger = self.said(&challenger, &rows).await?;
        heard.newest = rows.len();
        heard.rows.extend(rows);
        let judged = |said: Vec<(usize, Judged)>| said.into_iter().map(|(_, judged)| judged);
        heard.champion.extend(judged(by_champion));
        heard.challenger.extend(judged(by_challenger));
        Ok(())
    }

    async fn stand_in(&self, lessons: Lessons<'_>) -> Result<Router, ChallengerError> {
        let folder = Box::pin(challenger::train(
            self.config,
            lessons,
            self.seed,
            &self.folder,
        ));
        let opened = challenger::open(folder.await?, self.champion.router, self.config);
        Box::pin(opened).await
    }

    async fn said(
        &self,
        router: &Router,
        rows: &[usize],
    ) -> Result<Vec<(usize, Judged)>, RouterError> {
        let labelled: Vec<Labelled> = rows
            .iter()
            .map(|at| challenger::labelled(&self.split.rows[*at]))
            .collect();
        let judged = judging::judge(router, labelled).await?;
        Ok(rows.iter().copied().zip(judged).collect())
    }
}

/// Whether both read the same of a text.
fn reads_alike(one: &Router, other: &Router) -> bool {
    let [one, other] = [one, other].map(|router| &router.artefact().manifest);
    one.features == other.features && one.encoder == other.encoder
}

/// Whether both were trained on top of the same router.
fn is_on_the_same(one: &Router, other: &Router) -> bool {
    one.artefact().manifest.parent == other.artefact().manifest.parent
}

/// Removes the stand-ins of retrainings that were cut short. One that cannot be removed is in nobody's way.
fn clear_left_behind(folder: &Path, now_ms: i64) {
    let now = UNIX_EPOCH + Duration::from_millis(now_ms.unsigned_abs());
    let clear = || -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let age = now.duration_since(entry.metadata()?.modified()?);
            if age.is_ok_and(|age| age > LEFT_BEHIND_AFTER) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    };
    clear().ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_stands_in_for_a_router_of_whose_rows_many_are_gone() {
        let is_there_of = |told| is_there(told, ([0, 0], 0));
        assert!(is_there_of([0, 0]), "who never learnt lacks nothing");
        assert!(is_there_of([100, 100]) && is_there_of([95, 100]));
        assert!(!is_there_of([94, 100]) && !is_there_of([0, 1]));
        // Of 100 that were guessed of 1,000, half are taken to be gone with half of these.
        assert!(is_there([900, 900], ([1_000, 1_000], 100)));
        assert!(is_there([900, 900], ([500, 1_000], 100)));
        assert!(!is_there([900, 900], ([499, 1_000], 100)));
        assert!(
            !is_there([900, 900], ([0, 0], 100)),
            "nobody knows what was given"
        );
    }
}
