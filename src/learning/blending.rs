//! What the word of an LLM is worth beside the router's, learnt on labelled questions that the router has not seen.

use std::{
    collections::{BTreeMap, HashSet},
    io,
    path::Path,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::{
    decision::Score,
    files,
    ids::{CategoryId, OUT_OF_DOMAIN},
    instruction::{
        When,
        ask::{Asker, Failure},
        blend::{
            Blend, Bounds,
            fit::{self, Row, TooFew},
        },
        near::near_min,
        question::Deadline,
    },
    progress,
    risk::{self, CONFIDENCE_LEVEL},
    router::{Router, RouterError, Standing, Verdict, encoder::EncoderError},
    train::labels::Labelled,
};

/// Rows that are classified at once.
const ROWS_AT_ONCE: usize = 32;

/// Failures in a row after which nobody is asked any more: what is paid for is not to be paid for in vain.
const FAILURES_MAX: usize = 20;

/// Rows whose pairs say how alike two questions must be.
const PAIRED_MAX: usize = 3_000;

/// How the LLM is asked.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether it is asked about all questions, or about those of which the router is least sure.
    pub when: When,
    /// The share of these, above 0 and at most 1.
    pub share: f64,
    /// How long it may take for one; longer than in a server, since nobody waits.
    pub within: Duration,
    /// How long a server waits.
    pub within_online: Duration,
    /// Questions that it is asked about at once.
    pub concurrent: usize,
    /// Share of routed questions that may be misrouted.
    pub misroute_max: f64,
}

/// What was learnt, and from what.
#[derive(Debug)]
pub struct Blended {
    /// What was learnt.
    pub blend: Blend,
    /// Rows that were put to the LLM.
    pub asked: usize,
    /// Of these, what became of those that it said nothing of, by kind.
    pub failed: BTreeMap<&'static str, usize>,
    /// Of these, those of which it said something, but later than a server waits.
    pub late: usize,
}

/// Why nothing was learnt.
#[derive(Debug, thiserror::Error)]
pub enum BlendingError {
    /// The router failed.
    #[error(transparent)]
    Router(#[from] RouterError),
    /// The encoder failed.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    /// Too few rows are put to the LLM to learn from, whatever it says; nobody was asked.
    #[error(
        "of {rows} labelled questions that a server would ask about, {asked} are put to the expert, and {} are the least to \
         learn from; {remedy}",
        fit::ROWS_MIN
    )]
    TooFewAsked {
        /// Rows, those left out that are never put to it.
        rows: usize,
        /// Rows that would be put to the LLM.
        asked: usize,
        /// How many rows, or which share, would do.
        remedy: String,
    },
    /// Too few rows were left.
    #[error("of {asked} questions of which the router is least sure, the expert said something of too few{}", told(.last))]
    TooFew {
        /// Rows that were put to the LLM.
        asked: usize,
        /// The last failure.
        last: Option<String>,
        /// How few.
        source: TooFew,
    },
}

fn told(failure: &Option<String>) -> String {
    failure
        .as_ref()
        .map(|failure| format!("; the last time: {failure}"))
        .unwrap_or_default()
}

/// A row, and what the router says of it.
struct Classified {
    row: Labelled,
    verdict: Verdict,
}

impl Classified {
    /// Whether the category is right that the row goes to; none where it goes to none.
    fn is_routed_right(&self) -> Option<bool> {
        let best = self.verdict.scores.first()?;
        let is_routed = self.verdict.standing == Standing::Confident;
        is_routed.then(|| best.category == self.row.category)
    }

    /// Whether a server would ask nobody about it: there is nothing in it, or the detector finds it strange.
    fn is_left_out(&self) -> bool {
        let is_category = |score: &Score| score.category.as_str() != OUT_OF_DOMAIN;
        let is_strange = self.verdict.standing == Standing::OutOfDomain;
        self.verdict
            .scores
            .first()
            .is_none_or(|best| is_strange && is_category(best))
    }
}

/// Learns what the LLM's word is worth on the rows of which the router is least sure.
///
/// # Errors
/// The router or the encoder fails, or too few rows are left.
pub async fn learn(
    router: &Router,
    asker: &Asker,
    rows: Vec<Labelled>,
    options: &Options,
) -> Result<Blended, BlendingError> {
    let classified = classified(router, rows).await?;
    let below = below(&classified, options.share);
    let is_asked =
        |it: &Classified| options.when == When::Always || confidence(&it.verdict) < below;
    let rows = classified.len();
    enough(
        classified.iter().filter(|it| is_asked(it)).count(),
        rows,
        options,
    )?;
    let near_min = alike(router, &classified).await?;
    let (asked, others): (Vec<Classified>, Vec<Classified>) =
        classified.into_iter().partition(is_asked);
    let count = asked.len();
    let Replies {
        rows,
        failures,
        late,
    } = replies(router, asker, asked, options).await;
    let mut failed = BTreeMap::new();
    for failure in &failures {
        *failed.entry(failure.kind()).or_default() += 1;
    }
    let fitted = fit::fit(&rows).map_err(|source| BlendingError::TooFew {
        asked: count,
        last: failures.last().map(ToString::to_string),
        source,
    })?;
    let settled: Vec<bool> = others
        .iter()
        .filter_map(Classified::is_routed_right)
        .collect();
    let bounds = Bounds {
        below,
        confidence_min: confidence_min(&fitted.held_back, &settled, options.misroute_max),
        near_min,
    };
    let of = asker.learnt(router.id(), options.when);
    Ok(Blended {
        blend: Blend::new(of, bounds, fitted),
        asked: count,
        failed,
        late,
    })
}

/// Whether enough rows are put to the LLM to learn from, if it says something of each.
fn enough(asked: usize, rows: usize, options: &Options) -> Result<(), BlendingError> {
    if asked >= fit::ROWS_MIN {
        return Ok(());
    }
    let least = fit::ROWS_MIN as f64;
    // In hundredths, rounded up: what is rounded down would be too little again.
    let share = (100.0 * least / rows as f64).ceil() / 100.0;
    let remedy = match options.when {
        When::Always => format!("give {least} or more"),
        _ if share > 1.0 => format!("give {:.0} or more", (least / options.share).ceil()),
        _ => format!(
            "with `--share {}` give {:.0} or more, or write `--share {share}` or more",
            options.share,
            (least / options.share).ceil()
        ),
    };
    Err(BlendingError::TooFewAsked {
        rows,
        asked,
        remedy,
    })
}

/// From which probability on a question that was put to the LLM is routed. The promise is about all that is routed: what the
/// router settles goes where it goes whatever that threshold is, and comes before all others.
fn confidence_min(asked: &[(f32, bool)], settled: &[bool], misroute_max: f64) -> Option<f32> {
    let settled = settled.iter().map(|is_right| (f32::INFINITY, *is_right));
    let routed: Vec<(f32, bool)> = asked.iter().copied().chain(settled).collect();
    let threshold = risk::threshold_for(&routed, misroute_max, CONFIDENCE_LEVEL)?;
    Some(threshold.confidence_min).filter(|least| least.is_finite())
}

/// Writes what was learnt to a file, in place of what is there.
///
/// # Errors
/// The file cannot be written.
pub fn write(blend: &Blend, path: &Path) -> io::Result<()> {
    let text = serde_json::to_string_pretty(blend)? + "\n";
    files::write_whole(path, text.as_bytes())
}

/// How alike two questions must be to be about the same, from pairs of all of them: of those alone that the LLM is asked about there
/// are hardly ever enough pairs to prove anything.
async fn alike(router: &Router, rows: &[Classified]) -> Result<Option<f32>, EncoderError> {
    let mut seen = HashSet::new();
    let distinct = rows.iter().filter(|it| seen.insert(&it.row.query.text));
    let some: Vec<&Labelled> = distinct.map(|it| &it.row).take(PAIRED_MAX).collect();
    let texts: Vec<String> = some.iter().map(|row| row.query.text.clone()).collect();
    let vectors = router.encoder().vectors(&texts).await?;
    let labels = some.iter().map(|row| row.category.clone());
    let questions: Vec<(Vec<f32>, CategoryId)> = vectors.into_iter().zip(labels).collect();
    Ok(near_min(&questions))
}

async fn classified(router: &Router, rows: Vec<Labelled>) -> Result<Vec<Classified>, RouterError> {
    let bar = progress::bar(rows.len() as u64, "asking the router");
    let classified = stream::iter(rows)
        .map(|row| async move {
            let verdict = router.classify(&row.query).await?;
            Ok::<_, RouterError>(Classified { row, verdict })
        })
        .buffered(ROWS_AT_ONCE)
        .inspect(|_| bar.inc(1))
        .try_collect::<Vec<_>>()
        .await?;
    bar.finish_and_clear();
    Ok(classified
        .into_iter()
        .filter(|it| !it.is_left_out())
        .collect())
}

/// The confidence below which that share of the rows lies.
fn below(rows: &[Classified], share: f64) -> f32 {
    let mut confidences: Vec<f32> = rows.iter().map(|it| confidence(&it.verdict)).collect();
    confidences.sort_by(f32::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a count of rows"
    )]
    let at = (share.clamp(0.0, 1.0) * confidences.len() as f64).floor() as usize;
    confidences.get(at).copied().unwrap_or(1.0)
}

fn confidence(verdict: &Verdict) -> f32 {
    verdict.scores.first().map_or(0.0, |best| best.probability)
}

/// What the LLM says of rows.
#[derive(Default)]
struct Replies {
    rows: Vec<Row>,
    failures: Vec<Failure>,
    /// Rows of which it said something later than a server waits.
    late: usize,
}

/// Asks the LLM about each row, until it fails too often in a row.
async fn replies(
    router: &Router,
    asker: &Asker,
    rows: Vec<Classified>,
    options: &Options,
) -> Replies {
    let bar = progress::bar(rows.len() as u64, "asking the expert");
    let said = stream::iter(rows)
        .map(|it| async move {
            let menu = asker.menu_for(&it.verdict.scores, None);
            let question = it.row.query.likelier_reading();
            let (started, deadline) = (Instant::now(), Deadline::after(options.within));
            let (heard, _) = asker.ask(question, &menu, router.encoder(), deadline).await;
            let took = started.elapsed();
            let row = heard.map(|heard| Row {
                evidence: heard.evidence(&menu),
                scores: it.verdict.scores,
                right: it.row.category,
            });
            (row, took)
        })
        .buffered(options.concurrent.max(1))
        .inspect(|_| bar.inc(1));
    let (mut replies, mut in_a_row) = (Replies::default(), 0);
    let mut said = std::pin::pin!(said);
    while let Some((row, took)) = said.next().await {
        match row {
            Ok(row) => {
                in_a_row = 0;
                replies.late += usize::from(took > options.within_online);
                replies.rows.push(row);
            }
            Err(failure) => {
                in_a_row += 1;
                replies.failures.push(failure);
            }
        }
        if in_a_row == FAILURES_MAX {
            break;
        }
    }
    bar.finish_and_clear();
    replies
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many rows of a confidence, of which so many are wrong.
    fn rows(confidence: f32, count: usize, wrong: usize) -> Vec<(f32, bool)> {
        (0..count).map(|at| (confidence, at >= wrong)).collect()
    }

    #[test]
    fn how_many_questions_or_which_share_would_do_is_told_before_anybody_is_asked() {
        let options = |when, share| Options {
            when,
            share,
            within: Duration::from_secs(1),
            within_online: Duration::from_secs(1),
            concurrent: 1,
            misroute_max: 0.05,
        };
        let told = |asked, rows, options| enough(asked, rows, &options).unwrap_err().to_string();
        let unsure = |share| options(When::Unsure, share);
        assert_eq!(
            told(15, 150, unsure(0.1)),
            "of 150 labelled questions that a server would ask about, 15 are put to the expert, and 40 are the least to \
             learn from; with `--share 0.1` give 400 or more, or write `--share 0.27` or more"
        );
        assert!(told(3, 30, unsure(0.1)).ends_with("; give 400 or more"));
        assert!(told(30, 30, options(When::Always, 0.1)).ends_with("; give 40 or more"));
        assert!(enough(40, 400, &unsure(0.1)).is_ok());
    }

    #[test]
    fn what_the_router_settles_counts_at_every_threshold() {
        let settled = |count, wrong| -> Vec<bool> { (0..count).map(|at| at >= wrong).collect() };
        let asked = [rows(0.9, 200, 4), rows(0.6, 200, 120)].concat();
        assert_eq!(confidence_min(&asked, &settled(2000, 40), 0.05), Some(0.9));
        // Half of what it is sure of is wrong, and the router has used up what may be.
        let bad = rows(0.95, 400, 200);
        assert_eq!(confidence_min(&bad, &settled(9000, 400), 0.05), None);
        assert_eq!(confidence_min(&asked, &settled(2000, 200), 0.05), None);
    }
}
