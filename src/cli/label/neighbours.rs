//! Labels are taken over from labelled questions nearby.

use rayon::prelude::*;
use serde::Serialize;

use super::{
    super::{CliError, output},
    LabelArgs, is_new, said, texts,
};
use crate::{
    clock,
    config::{Config, RouterConfig},
    learning::{
        Candidate, Label, Origin,
        neighbours::{CANDIDATES_MAX, GIVEN_BY, SEED_MAX, Seed, Validated},
        resolve::Row,
        vectors,
    },
    store::{Replaced, Store, Waiting},
};

/// What was done.
#[derive(Debug, Serialize)]
struct Spread {
    /// Labelled questions that were compared with.
    seed: usize,
    /// Questions without a person's label that were looked at, each text once.
    looked_at: usize,
    /// Those that got a label.
    labelled: usize,
    /// The share of them, 0 to 1.
    share: f64,
    /// What the seed proves of such labels; none where it proves too little, so that none was given.
    validated: Option<Validated>,
    /// Labels of an earlier run that were taken back.
    taken_back: u64,
}

pub(super) async fn run(store: &Store, config: &Config, args: &LabelArgs) -> Result<(), CliError> {
    let (_, rows) = said(store, config).await.map_err(CliError::failed)?;
    let mut seen = texts(&rows);
    let waiting = store.unlabelled(CANDIDATES_MAX, |it| is_new(&mut seen, it));
    let Waiting { candidates, since } = waiting.await.map_err(CliError::failed)?;
    let looked_at = candidates.len();
    let (router, agree) = (config.router.clone(), args.agree);
    let spreading = tokio::task::spawn_blocking(move || spread(&candidates, rows, &router, agree));
    let found = spreading.await.map_err(CliError::failed)?;
    let (seed, validated, labels) = found.ok_or_else(|| {
        CliError::Failed("without a static encoder no questions can be compared".to_owned())
    })?;
    let replaced = store.replace_labels(&Origin::Neighbours, &since, &labels);
    let Replaced { taken_back, given } = replaced.await.map_err(CliError::failed)?;
    let done = Spread {
        seed,
        looked_at,
        labelled: given,
        share: given as f64 / looked_at.max(1) as f64,
        validated,
        taken_back,
    };
    if args.json {
        return output::json(&done).map_err(CliError::failed);
    }
    tell(&done, agree);
    Ok(())
}

/// The size of the seed, what it proves, and the labels that follow; none without vectors.
fn spread(
    candidates: &[Candidate],
    mut rows: Vec<Row>,
    router: &RouterConfig,
    agree: f64,
) -> Option<(usize, Option<Validated>, Vec<Label>)> {
    let encoder = vectors::open(router)?;
    // Rows come oldest first.
    rows.drain(..rows.len().saturating_sub(SEED_MAX));
    let texts: Vec<&str> = rows.iter().map(|row| row.text.as_str()).collect();
    let of_rows = vectors::of(Some(&encoder), &texts);
    let seed = Seed::new(rows, of_rows);
    let Some(validated) = seed.validate(agree) else {
        return Some((seed.len(), None, Vec::new()));
    };
    let given_at_ms = clock::now_ms();
    let texts: Vec<&str> = candidates.iter().map(|it| it.question.as_str()).collect();
    let of_candidates = vectors::of(Some(&encoder), &texts);
    let labels = candidates
        .par_iter()
        .zip(of_candidates.outer_iter().into_par_iter())
        .filter_map(|(candidate, vector)| {
            let nearby = seed.near(vector)?;
            Some(Label {
                outcome_id: candidate.outcome_id.clone(),
                given_at_ms,
                category: validated.taken(&nearby)?.to_string(),
                origin: Origin::Neighbours,
                given_by: GIVEN_BY.to_owned(),
            })
        });
    let labels = labels.collect();
    Some((seed.len(), Some(validated), labels))
}

fn tell(done: &Spread, agree: f64) {
    let Spread {
        seed,
        looked_at,
        labelled,
        share,
        ..
    } = done;
    match &done.validated {
        Some(proved) => output::line(&format!(
            "{labelled} of {looked_at} questions ({:.1} %) took their label over from {seed} labelled questions; of such labels {:.1} % are right, at least {:.1} % with 95 % confidence",
            share * 100.0,
            proved.precision * 100.0,
            proved.precision_lower * 100.0
        )),
        None => output::line(&format!(
            "none took its label over: {seed} labelled questions do not prove that {:.0} % of such labels would be right; label more with `coterie label`",
            agree * 100.0
        )),
    }
    if done.taken_back > 0 {
        output::line(&format!(
            "{} labels of an earlier run were taken back before",
            done.taken_back
        ));
    }
}
