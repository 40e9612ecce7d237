//! What two routers say of rows that neither has seen, although both may have learnt from them.
//!
//! Of a row that a router learnt from, its stand-in is asked: trained just like it, but without the block of conversations
//! that the row is in.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use super::{
    challenger::{self, ChallengerError},
    judging,
    learnt::Learnt,
    resolve::Row,
    split::{Block, Split},
};
use crate::{
    clock,
    config::Config,
    evaluate::Judged,
    router::{Router, RouterError},
    train::labels::Labelled,
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

/// The router in force, and what it learnt from.
#[derive(Clone, Copy)]
pub struct Champion<'c> {
    /// The router.
    pub router: &'c Router,
    /// Its rows.
    pub learnt: &'c Learnt,
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
}

/// Has both routers, or their stand-ins, judge every row of every block. `name`: the challenger's, for the folder of its
/// stand-ins.
///
/// Rows that the champion learnt from are left out where it was trained in another way than routers are now, so that there is
/// no stand-in for it.
///
/// # Errors
/// A stand-in cannot be trained, or a router fails.
pub async fn judge(
    config: &Config,
    champion: Champion<'_>,
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
        folder: all.join(name),
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
    champion: Champion<'w>,
    split: &'w Split,
    seed: u64,
    folder: PathBuf,
}

impl Work<'_> {
    async fn judge(&self, block: &Block, heard: &mut Heard) -> Result<(), CrossfitError> {
        let challenger = self.stand_in(&self.split.without(block)).await?;
        let known = |at: &usize| self.champion.learnt.knows(&self.split.rows[*at]);
        let (known, new): (Vec<usize>, Vec<usize>) = block.judging.iter().partition(|at| known(at));
        let mut by_champion = self.said(self.champion.router, &new).await?;
        if !known.is_empty() && is_trained_alike(self.champion.router, &challenger) {
            let mut rows = self.split.without(block);
            rows.retain(|row| self.champion.learnt.has_text(row));
            let stand_in = self.stand_in(&rows).await?;
            by_champion.extend(self.said(&stand_in, &known).await?);
            heard.by_stand_in += known.len();
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

    async fn stand_in(&self, rows: &[Row]) -> Result<Router, ChallengerError> {
        let folder = Box::pin(challenger::train(
            self.config,
            rows,
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

/// Whether both differ in nothing but the rows that the traffic gave.
fn is_trained_alike(one: &Router, other: &Router) -> bool {
    let [one, other] = [one, other].map(|router| &router.artefact().manifest);
    one.training.routes_sha256 == other.training.routes_sha256
        && one.features == other.features
        && one.parent == other.parent
        && one.encoder == other.encoder
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
