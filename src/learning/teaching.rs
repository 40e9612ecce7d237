//! The instruction tier as a teacher: it says what questions of the log were about that nobody labelled, and the cheap tiers
//! learn that, so that they know it without asking.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    clock,
    ids::{CategoryId, OUT_OF_DOMAIN},
    instruction::{OVER_BUDGET, tier::Tier},
    learning::{Candidate, Evidence, Label, Origin},
    outcome::Tab,
    progress,
    query::Query,
    router::{Router, RouterError, Standing},
    store::{People, Store, StoreError},
    train::labels::Labelled,
};

/// Failures in a row after which a teacher is given up.
const FAILURES_MAX: usize = 10;

/// How long to wait where the expert is left alone after failures, or has no seat, before it is asked again.
const RETRY_IN: Duration = Duration::from_secs(5);

/// Why a teacher does not teach.
#[derive(Debug, thiserror::Error)]
pub enum TeachingError {
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The router failed.
    #[error(transparent)]
    Router(#[from] RouterError),
    /// It is not asked beside this router.
    #[error(
        "nothing was learnt of the teacher's word beside the router in force; run `coterie instruct fit` first"
    )]
    NotFitted,
    /// Its word counts nothing beside this router.
    #[error(
        "`coterie instruct fit` found no probability from which few enough of the teacher's words would be wrong, so that it is sure of \
         nothing; fit it with more labelled questions, or with another expert"
    )]
    NothingProven,
    /// It fails again and again.
    #[error("the teacher failed {FAILURES_MAX} times in a row, the last time: {last}")]
    Failing {
        /// The last failure.
        last: String,
    },
}

/// What a teacher says of a question.
enum Word {
    /// It is sure of a category, or that it belongs to none.
    Sure(String),
    /// It is not.
    Unsure,
    /// It could not be asked, or said nothing that means anything.
    Failed(String),
    /// It may cost no more today.
    OverBudget,
}

/// What a teacher did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Taught {
    /// Questions that it was asked about.
    pub asked: usize,
    /// Of these, questions of which it is sure, and that are labelled now.
    pub labelled: usize,
    /// Dollars that it cost, as far as that is known.
    pub usd: f64,
    /// Questions that wait until it may cost something again.
    pub left: usize,
}

/// Labels the newest outcomes that nobody labelled, at most so many, with what the tier is sure of. What it was asked about
/// before it is not asked again.
///
/// # Errors
/// The store or the router fails; what was labelled until then stays.
pub async fn label(
    store: &Store,
    router: &Router,
    tier: &Tier,
    rows_max: u32,
) -> Result<Taught, TeachingError> {
    if !tier.is_fitted_for(router) {
        return Err(TeachingError::NotFitted);
    }
    if !tier.is_proven() {
        return Err(TeachingError::NothingProven);
    }
    let given_by = tier.given_by();
    let is_wanted = |candidate: &Candidate| tier.wants(router, &candidate.scores);
    let waiting = store.unjudged(&given_by, People::Silent, rows_max, is_wanted);
    let waiting = waiting.await?;
    let bar = progress::bar(waiting.len() as u64, "asking the teacher");
    let mut taught = Taught::default();
    let mut failures = 0;
    for (at, candidate) in waiting.iter().enumerate() {
        let (word, usd) = word(router, tier, candidate).await?;
        bar.inc(1);
        taught.usd += usd;
        match word {
            Word::OverBudget => {
                taught.left = waiting.len() - at;
                break;
            }
            Word::Failed(last) => {
                // It is asked about that another time.
                failures += 1;
                if failures == FAILURES_MAX {
                    return Err(TeachingError::Failing { last });
                }
                continue;
            }
            Word::Sure(_) | Word::Unsure => failures = 0,
        }
        taught.asked += 1;
        let (id, now_ms) = (&candidate.outcome_id, clock::now_ms());
        if let Word::Sure(category) = word {
            taught.labelled += 1;
            let label = Label {
                outcome_id: id.clone(),
                given_at_ms: now_ms,
                category,
                origin: Origin::Judge,
                given_by: given_by.clone(),
            };
            store.add_labels(&[label]).await?;
        } else {
            store.leave_unsettled(id, &given_by, now_ms).await?;
        }
    }
    bar.finish_and_clear();
    Ok(taught)
}

/// What it says, and the dollars that it cost.
async fn word(
    router: &Router,
    tier: &Tier,
    candidate: &Candidate,
) -> Result<(Word, f64), RouterError> {
    let query = Query::from_text(&candidate.question);
    let verdict = router.classify(&query).await?;
    let (verdict, instructed) = tier.weigh(router, &query, verdict, &Tab::default()).await;
    let Some(instructed) = instructed else {
        // The router was not sure then, and is now; or the question is too strange to be asked about.
        return Ok((Word::Unsure, 0.0));
    };
    let usd = instructed.cost_usd.unwrap_or(0.0);
    if instructed.result == OVER_BUDGET {
        return Ok((Word::OverBudget, usd));
    }
    if instructed.parts.is_empty() {
        if !instructed.was_asked() {
            sleep(RETRY_IN).await;
        }
        let why = instructed.detail;
        let why = why.unwrap_or_else(|| instructed.result.to_owned());
        return Ok((Word::Failed(why), usd));
    }
    let best = verdict.scores.first();
    let word = match (verdict.standing, best) {
        (Standing::Confident, Some(best)) => Word::Sure(best.category.to_string()),
        (Standing::OutOfDomain, Some(_)) => Word::Sure(OUT_OF_DOMAIN.to_owned()),
        _ => Word::Unsure,
    };
    Ok((word, usd))
}

/// The rows that a teacher has given, and that no person contradicts.
pub fn rows(evidence: &[Evidence], given_by: &str) -> Vec<Labelled> {
    let taught = evidence.iter().filter_map(|evidence| {
        let mut statements = evidence.statements.iter();
        let by_a_person = statements.clone().any(|it| it.origin > Origin::Judge);
        let word =
            statements.find(|it| it.given_by.as_deref() == Some(given_by) && !by_a_person)?;
        Some(Labelled {
            id: Some(evidence.outcome_id.clone()),
            query: Query::from_text(&evidence.question),
            category: CategoryId::new(word.category.as_str()),
            origin: None,
        })
    });
    taught.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learning::Statement;

    #[test]
    fn what_a_person_contradicts_is_not_taught() {
        let said = |origin, given_by: &str, category: &str| Statement {
            category: category.into(),
            origin,
            given_by: Some(given_by.into()),
            given_at_ms: 1,
        };
        let evidence = |id: &str, statements| Evidence {
            outcome_id: id.into(),
            asked_at_ms: 1,
            conversation: None,
            question: format!("Question {id}?"),
            routed_to: None,
            statements,
        };
        let evidence = [
            evidence("a", vec![said(Origin::Judge, "coder likelihood-v1", "law")]),
            evidence("b", vec![said(Origin::Judge, "gpt category-v1", "law")]),
            evidence(
                "c",
                vec![
                    said(Origin::Judge, "coder likelihood-v1", "law"),
                    said(Origin::Person, "ann", "math"),
                ],
            ),
        ];
        let rows = rows(&evidence, "coder likelihood-v1");
        assert_eq!(rows.len(), 1);
        assert_eq!(
            (rows[0].query.text.as_str(), rows[0].category.as_str()),
            ("Question a?", "law")
        );
    }
}
