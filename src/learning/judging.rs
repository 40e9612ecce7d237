//! Labelled rows and a router → what it says of each, as evaluations read it.

use std::{collections::BTreeMap, time::Instant};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;

use crate::{
    evaluate::{Judged, Tier as TierOf},
    ids::{CategoryId, OUT_OF_DOMAIN},
    instruction::{Instructed, tier::Tier},
    learning::gate::Latency,
    outcome::Tab,
    progress,
    risk::{CONFIDENCE_LEVEL, misroute_upper},
    router::{Router, RouterError, Standing, Verdict},
    train::labels::Labelled,
};

/// Rows that are judged at once: enough for the encoder to work in batches.
const ROWS_AT_ONCE: usize = 32;

/// Rows that are judged one at a time, to measure how long that takes: their 99th percentile is the sixth slowest.
const MEASURED_MAX: usize = 500;

/// Rows on which two routers are timed beside each other, and how often each.
const TIMED_MAX: usize = 200;
const TIMES: usize = 3;

/// Judges every row, in order. A sample that is spread evenly over the rows is judged one at a time, and measured; the
/// others are judged several at once.
///
/// # Errors
/// The router fails.
pub async fn judge(router: &Router, rows: Vec<Labelled>) -> Result<Vec<Judged>, RouterError> {
    let bar = progress::bar(rows.len() as u64, "judging the rows");
    let stride = rows.len().div_ceil(MEASURED_MAX).max(1);
    let (measured, others): (Vec<_>, Vec<_>) = rows
        .into_iter()
        .enumerate()
        .partition(|(at, _)| at % stride == 0);
    let mut judged: Vec<(usize, Judged)> = stream::iter(others)
        .map(|(at, row)| async move {
            let verdict = router.classify(&row.query).await?;
            Ok::<_, RouterError>((at, judgement(router, row, verdict, None)))
        })
        .buffered(ROWS_AT_ONCE)
        .inspect(|_| bar.inc(1))
        .try_collect()
        .await?;
    // The first decision of a process pays for what later ones find ready.
    if let Some((_, row)) = measured.first() {
        router.classify(&row.query).await?;
    }
    for (at, row) in measured {
        let started = Instant::now();
        let verdict = router.classify(&row.query).await?;
        let took_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        judged.push((at, judgement(router, row, verdict, Some(took_us))));
        bar.inc(1);
    }
    bar.finish_and_clear();
    judged.sort_by_key(|(at, _)| *at);
    Ok(judged.into_iter().map(|(_, judged)| judged).collect())
}

/// How often a router's last tier had its turn, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Turns {
    /// Rows that were put to the expert, or would have been.
    pub asked: usize,
    /// Their share of all rows.
    pub share: f64,
    /// What came of them, by result.
    pub results: BTreeMap<&'static str, usize>,
    /// Dollars, as far as they are known.
    pub usd: f64,
    /// What categories took that the router does not know; none where there are none.
    pub new: Option<Taken>,
}

/// What categories took that the router does not know, whose weights no labelled question has taught.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Taken {
    /// Rows that go to one.
    pub taken: usize,
    /// Of these, rows that do not belong to it.
    pub wrongly: usize,
    /// Rows that belong to none of them.
    pub others: usize,
    /// The share of such questions that they take is at most this, with a confidence of 95 %.
    pub wrongly_upper95: f64,
}

impl Turns {
    fn add(&mut self, instructed: &Instructed) {
        self.asked += 1;
        *self.results.entry(instructed.result).or_default() += 1;
        self.usd += instructed.cost_usd.unwrap_or(0.0);
    }
}

/// Counts what went to categories that only the last tier knows.
fn taken(router: &Router, tier: &Tier, judged: &[Judged]) -> Option<Taken> {
    let known = router.categories();
    let is_new =
        |category: &CategoryId| category.as_str() != OUT_OF_DOMAIN && !known.contains(category);
    tier.categories().find(|category| is_new(category))?;
    let to_new = |row: &&Judged| {
        let best = row.scores.first();
        row.routed && best.is_some_and(|best| is_new(&best.category))
    };
    let taken: Vec<&Judged> = judged.iter().filter(to_new).collect();
    let wrong = || taken.iter().filter(|row| !row.is_right());
    let others = judged.iter().filter(|row| !is_new(&row.label)).count();
    let of_others = wrong().filter(|row| !is_new(&row.label)).count();
    Some(Taken {
        taken: taken.len(),
        wrongly: wrong().count(),
        others,
        wrongly_upper95: misroute_upper(of_others, others, CONFIDENCE_LEVEL),
    })
}

/// The same by a router with its last tier, one row at a time: a local expert has no more than one seat. A row that the tier
/// fails at is judged by the router's word, as in a server.
///
/// # Errors
/// The router fails.
pub async fn judge_with(
    router: &Router,
    tier: &Tier,
    rows: Vec<Labelled>,
) -> Result<(Vec<Judged>, Turns), RouterError> {
    let mut turns = Turns::default();
    let bar = progress::bar(rows.len() as u64, "judging the rows");
    let mut judged = Vec::with_capacity(rows.len());
    for row in rows {
        let started = Instant::now();
        let verdict = router.classify(&row.query).await?;
        let (verdict, instructed) = tier
            .weigh(router, &row.query, verdict, &Tab::default())
            .await;
        if let Some(instructed) = &instructed {
            turns.add(instructed);
        }
        let took_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        judged.push(judgement(router, row, verdict, Some(took_us)));
        bar.inc(1);
    }
    bar.finish_and_clear();
    turns.share = turns.asked as f64 / judged.len().max(1) as f64;
    turns.new = taken(router, tier, &judged);
    Ok((judged, turns))
}

/// How long both routers take, in turns on the same rows, so that whatever else the machine does is shared alike; of each
/// row the least of several times. None without rows.
///
/// # Errors
/// A router fails.
pub async fn latency(
    champion: &Router,
    challenger: &Router,
    rows: &[Labelled],
) -> Result<Option<Latency>, RouterError> {
    let mut took_us: [Vec<u64>; 2] = Default::default();
    let stride = rows.len().div_ceil(TIMED_MAX).max(1);
    for (at, row) in rows.iter().step_by(stride).enumerate() {
        let mut least_us = [u64::MAX; 2];
        for turn in 0..TIMES {
            // Whoever goes second may find things warm.
            let first = (at + turn) % 2;
            for which in [first, 1 - first] {
                let router = [champion, challenger][which];
                let started = Instant::now();
                router.classify(&row.query).await?;
                let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
                least_us[which] = least_us[which].min(micros);
            }
        }
        for (took_us, least_us) in took_us.iter_mut().zip(least_us) {
            took_us.push(least_us);
        }
    }
    if rows.is_empty() {
        return Ok(None);
    }
    let [champion, challenger] = took_us.map(|mut took_us| {
        took_us.sort_unstable();
        [50, 99].map(|percent| took_us[(took_us.len() * percent).div_ceil(100) - 1])
    });
    Ok(Some(Latency {
        champion_p50_us: champion[0],
        champion_p99_us: champion[1],
        challenger_p50_us: challenger[0],
        challenger_p99_us: challenger[1],
    }))
}

/// What the router says, in the terms of the evaluation.
fn judgement(router: &Router, row: Labelled, verdict: Verdict, took_us: Option<u64>) -> Judged {
    let likeliest = verdict.scores.first();
    let is_category = likeliest.is_some_and(|score| score.category.as_str() != OUT_OF_DOMAIN);
    Judged {
        id: row.id,
        label: row.category,
        routed: is_category && verdict.standing == Standing::Confident,
        out_of_domain: verdict.out_of_domain,
        tier: verdict.tier.map(|tier| TierOf::new(tier.as_str())),
        features: spoke_for(router, &row.query.text, &verdict),
        scores: verdict.scores,
        took_us,
        text: row.query.text,
    }
}

/// What spoke for a likeliest class that is wrong: only mistakes are explained.
fn spoke_for(router: &Router, text: &str, verdict: &Verdict) -> Vec<String> {
    let explanation = verdict
        .tier
        .and_then(|tier| router.explain(text, &verdict.scores, tier));
    let features = explanation
        .map(|explanation| explanation.features_for)
        .unwrap_or_default();
    features.into_iter().map(|share| share.feature).collect()
}
