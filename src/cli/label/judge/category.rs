//! The judge names categories.

use std::collections::HashSet;

use super::{Tally, Use, ask};
use crate::{
    cli::CliError,
    clock,
    config::Config,
    learning::{
        Candidate, Evidence, Label, Origin,
        agreement::{self, Agreement},
        judge::{self, Judge, Question},
        retrain::STATEMENTS_MAX,
    },
    store::{People, Store, StoreError},
};

pub(super) async fn run(
    store: &Store,
    config: &Config,
    judge: &Judge,
    (given_by, limit): (&str, u32),
) -> Result<(Tally, Option<Agreement>), CliError> {
    let candidates = candidates(store, given_by, limit).await;
    let catalogue = &config.catalogue;
    let questions = candidates
        .map_err(CliError::failed)?
        .into_iter()
        .map(|it| Question {
            body: judge::category(catalogue, &it.question),
            about: it.outcome_id,
        });
    let tally = ask(judge, questions.collect(), async |outcome_id, words| {
        let Some(category) = judge::category_of(catalogue, words) else {
            return Ok(Use::Unparsable);
        };
        let label = Label {
            outcome_id,
            given_at_ms: clock::now_ms(),
            category: category.to_owned(),
            origin: Origin::Judge,
            given_by: given_by.to_owned(),
        };
        let added = store.add_labels(&[label]).await;
        added.map(|_| Use::Labelled).map_err(CliError::failed)
    })
    .await?;
    let evidence = store.evidence(STATEMENTS_MAX).await;
    let evidence = evidence.map_err(CliError::failed)?;
    Ok((tally, agreement::with_people(&evidence, given_by)))
}

/// What the judge is asked about: half of it at most what people have labelled, so that it is known how far it agrees with
/// them, then the newest of the rest. No text that it has judged already.
async fn candidates(
    store: &Store,
    given_by: &str,
    limit: u32,
) -> Result<Vec<Candidate>, StoreError> {
    let mut candidates = store
        .unjudged(given_by, People::First, limit.div_ceil(2))
        .await?;
    candidates.extend(store.unjudged(given_by, People::Last, limit).await?);
    let evidence = store.evidence(STATEMENTS_MAX).await?;
    let is_judged = |outcome: &&Evidence| {
        let mut by = outcome.statements.iter().map(|it| it.given_by.as_deref());
        by.any(|by| by == Some(given_by))
    };
    let judged = evidence.iter().filter(is_judged);
    let mut seen: HashSet<String> = judged.map(|outcome| outcome.question.clone()).collect();
    candidates.retain(|it| seen.insert(it.question.clone()));
    candidates.truncate(limit as usize);
    Ok(candidates)
}
