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

/// What the judge did not settle that is looked through, to be asked again last.
const UNSETTLED_MAX: u32 = 20_000;

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
        let given_at_ms = clock::now_ms();
        let named = words.and_then(|words| judge::category_of(catalogue, words));
        let Some(category) = named else {
            let left = store.leave_unsettled(&outcome_id, given_by, given_at_ms);
            left.await.map_err(CliError::failed)?;
            return Ok(Use::Unparsable);
        };
        let label = Label {
            outcome_id,
            given_at_ms,
            category: category.to_owned(),
            origin: Origin::Judge,
            given_by: given_by.to_owned(),
        };
        let added = store.add_labels(&[label]).await.map_err(CliError::failed)?;
        let is_gone = added.iter().all(Option::is_none);
        Ok(if is_gone { Use::Gone } else { Use::Labelled })
    })
    .await?;
    let gathered = store.evidence(STATEMENTS_MAX).await;
    let evidence = gathered.map_err(CliError::failed)?.evidence;
    Ok((tally, agreement::with_people(&evidence, given_by)))
}

/// What the judge is asked about: half of it at most what people have labelled, so that it is known how far it agrees with
/// them, then the newest of the rest, and last what it did not settle before. No text twice, nor one that it has judged
/// already.
async fn candidates(
    store: &Store,
    given_by: &str,
    limit: u32,
) -> Result<Vec<Candidate>, StoreError> {
    let evidence = store.evidence(STATEMENTS_MAX).await?.evidence;
    let is_judged = |outcome: &&Evidence| {
        let mut by = outcome.statements.iter().map(|it| it.given_by.as_deref());
        by.any(|by| by == Some(given_by))
    };
    let judged = evidence.iter().filter(is_judged);
    let mut seen: HashSet<String> = judged.map(|outcome| outcome.question.clone()).collect();
    let mut unsettled = store.unsettled(given_by, UNSETTLED_MAX).await?;
    unsettled.retain(|it| seen.insert(it.question.clone()));
    let mut is_new = |it: &Candidate| seen.insert(it.question.clone());
    let mut labelled = store
        .unjudged(given_by, People::Spoke, limit, &mut is_new)
        .await?;
    let others = store
        .unjudged(given_by, People::Silent, limit, &mut is_new)
        .await?;
    let half = labelled.len().min(limit.div_ceil(2) as usize);
    let more = labelled.split_off(half);
    let mut candidates = [labelled, others, more, unsettled].concat();
    candidates.truncate(limit as usize);
    Ok(candidates)
}
