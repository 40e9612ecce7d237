//! The judge grades answers, and compares those to one question.

use std::collections::{HashMap, HashSet};

use super::{Tally, Use, ask};
use crate::{
    cli::CliError,
    clock,
    learning::{
        agreement::{self, Agreement},
        judge::{self, Judge, Preferred, Question},
    },
    outcome::{Feedback, FeedbackError},
    store::{RecordedAnswer, Store, StoreError, Ungraded},
};

/// From here on an answer counts as good, where judge and clients are compared.
const GOOD_MIN: f64 = 0.5;

/// Words that are compared with clients', the newest.
const COMPARED_MAX: u32 = 100_000;

/// Answers among which pairs to one question are looked for, the newest.
const PAIRED_MAX: u32 = 20_000;

/// Grades recorded answers: half of them at most those to which clients gave scores, so that it is known how far they agree,
/// then the newest of all, and last what was not settled before.
pub(super) async fn grade(
    store: &Store,
    judge: &Judge,
    given_by: &str,
    limit: u32,
) -> Result<(Tally, Option<Agreement>), CliError> {
    let answers = ungraded(store, given_by, limit).await;
    let questions = answers
        .map_err(CliError::failed)?
        .into_iter()
        .map(|it| Question {
            body: judge::answer(&it.question, &it.answer),
            about: it.outcome_id,
        });
    let tally = ask(judge, questions.collect(), async |outcome_id, words| {
        let Some(score) = words.and_then(judge::score_of) else {
            leave(store, &outcome_id, given_by).await?;
            return Ok(Use::Unparsable);
        };
        let feedback = Feedback {
            score: Some(score),
            ..feedback(outcome_id, given_by)
        };
        add(store, &feedback).await
    })
    .await?;
    let beside = store.scores_beside(given_by, COMPARED_MAX).await;
    let beside = beside.map_err(CliError::failed)?;
    let word = |score: f64| if score >= GOOD_MIN { "good" } else { "bad" };
    let pairs = beside.iter().map(|(one, other)| (word(*one), word(*other)));
    Ok((tally, agreement::agreement(pairs)))
}

async fn ungraded(
    store: &Store,
    given_by: &str,
    limit: u32,
) -> Result<Vec<RecordedAnswer>, StoreError> {
    let half = limit.div_ceil(2);
    let mut answers = store.ungraded(given_by, Ungraded::Scored, half).await?;
    answers.extend(store.ungraded(given_by, Ungraded::Fresh, limit).await?);
    answers.extend(store.ungraded(given_by, Ungraded::Unsettled, limit).await?);
    let mut seen = HashSet::new();
    answers.retain(|it| seen.insert(it.outcome_id.clone()));
    answers.truncate(limit as usize);
    Ok(answers)
}

/// Compares answers of different experts to one question, in both orders; only where both orders say the same does the
/// verdict count.
pub(super) async fn compare(
    store: &Store,
    judge: &Judge,
    given_by: &str,
    limit: u32,
) -> Result<(Tally, Option<Agreement>), CliError> {
    let pairs = unpaired(store, given_by, limit as usize).await;
    let pairs = pairs.map_err(CliError::failed)?;
    let questions = pairs.iter().enumerate().flat_map(|(at, [one, other])| {
        let ask = |first: &RecordedAnswer, second: &RecordedAnswer, order| Question {
            body: judge::pair(&one.question, &first.answer, &second.answer),
            about: (at, order),
        };
        [
            ask(one, other, Order::AsIs),
            ask(other, one, Order::Swapped),
        ]
    });
    let mut first_words: HashMap<usize, Option<Preferred>> = HashMap::new();
    let tally = ask(judge, questions.collect(), async |(at, order), words| {
        let said = words.and_then(judge::preferred_of);
        let said = said.map(|said| match order {
            Order::AsIs => said,
            Order::Swapped => said.swapped(),
        });
        let Some(before) = first_words.remove(&at) else {
            first_words.insert(at, said);
            return Ok(Use::Later);
        };
        let verdict = match (before, said) {
            (Some(before), Some(said)) if before == said => verdict(&pairs[at], said, given_by),
            (before, said) => {
                for answer in &pairs[at] {
                    leave(store, &answer.outcome_id, given_by).await?;
                }
                let is_clear = before.is_some() && said.is_some();
                return Ok(if is_clear {
                    Use::Inconsistent
                } else {
                    Use::Unparsable
                });
            }
        };
        let mut used = Use::Labelled;
        for feedback in verdict {
            if add(store, &feedback).await? == Use::Gone {
                used = Use::Gone;
            }
        }
        Ok(used)
    })
    .await?;
    let beside = store.experts_beside(given_by, COMPARED_MAX).await;
    let beside = beside.map_err(CliError::failed)?;
    let beside = beside
        .iter()
        .map(|(client, judge)| (client.as_str(), judge.as_str()));
    Ok((tally, agreement::agreement(beside)))
}

/// Pairs among the newest answers about which the judge was not asked yet, then among those that it did not settle.
async fn unpaired(
    store: &Store,
    given_by: &str,
    pairs_max: usize,
) -> Result<Vec<[RecordedAnswer; 2]>, StoreError> {
    let fresh = store
        .ungraded(given_by, Ungraded::Fresh, PAIRED_MAX)
        .await?;
    let mut found = pairs(fresh, pairs_max);
    if found.len() < pairs_max {
        let again = store.ungraded(given_by, Ungraded::Unsettled, PAIRED_MAX);
        found.extend(pairs(again.await?, pairs_max - found.len()));
    }
    Ok(found)
}

/// In which order a pair is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    AsIs,
    Swapped,
}

/// Answers to the same question by different experts, each answer in one pair.
fn pairs(answers: Vec<RecordedAnswer>, pairs_max: usize) -> Vec<[RecordedAnswer; 2]> {
    let mut alone: HashMap<String, Vec<RecordedAnswer>> = HashMap::new();
    let mut pairs = Vec::new();
    for answer in answers {
        if pairs.len() == pairs_max {
            break;
        }
        let waiting = alone.entry(answer.question.clone()).or_default();
        match waiting.iter().position(|it| it.expert != answer.expert) {
            Some(at) => pairs.push([waiting.swap_remove(at), answer]),
            None => waiting.push(answer),
        }
    }
    pairs
}

/// What is written down of a pair: at both outcomes who should have answered; nobody where neither is better.
fn verdict(
    [one, other]: &[RecordedAnswer; 2],
    preferred: Preferred,
    given_by: &str,
) -> [Feedback; 2] {
    let better = match preferred {
        Preferred::First => Some(&one.expert),
        Preferred::Second => Some(&other.expert),
        Preferred::Neither => None,
    };
    let of = |it: &RecordedAnswer, beside: &RecordedAnswer| Feedback {
        expert: better.cloned(),
        comment: Some(format!("compared with {}", beside.outcome_id)),
        ..feedback(it.outcome_id.clone(), given_by)
    };
    [of(one, other), of(other, one)]
}

fn feedback(outcome_id: String, given_by: &str) -> Feedback {
    Feedback {
        outcome_id,
        given_at_ms: clock::now_ms(),
        judged_by: Some(given_by.to_owned()),
        ..Feedback::default()
    }
}

/// An outcome that was pruned meanwhile is no failure.
async fn add(store: &Store, feedback: &Feedback) -> Result<Use, CliError> {
    match store.add_feedback(feedback).await {
        Ok(()) => Ok(Use::Labelled),
        Err(FeedbackError::UnknownOutcome { .. }) => Ok(Use::Gone),
        Err(error) => Err(CliError::failed(error)),
    }
}

async fn leave(store: &Store, outcome_id: &str, given_by: &str) -> Result<(), CliError> {
    let left = store.leave_unsettled(outcome_id, given_by, clock::now_ms());
    left.await.map_err(CliError::failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(id: &str, question: &str, expert: &str) -> RecordedAnswer {
        RecordedAnswer {
            outcome_id: id.into(),
            question: question.into(),
            answer: "An answer.".into(),
            expert: expert.into(),
        }
    }

    #[test]
    fn answers_of_different_experts_to_one_question_are_paired_once() {
        let answers = vec![
            answer("a", "Why?", "gpt"),
            answer("b", "Why?", "gpt"),
            answer("c", "How?", "local"),
            answer("d", "Why?", "local"),
            answer("e", "Why?", "local"),
            answer("f", "Why?", "local"),
        ];
        let ids = |max| -> Vec<[String; 2]> {
            let pairs = pairs(answers.clone(), max).into_iter();
            pairs.map(|pair| pair.map(|it| it.outcome_id)).collect()
        };
        assert_eq!(ids(9), [["a", "d"], ["b", "e"]]);
        assert_eq!(ids(1), [["a", "d"]]);
    }

    #[test]
    fn a_verdict_names_the_better_at_both_outcomes() {
        let pair = [answer("a", "Why?", "gpt"), answer("b", "Why?", "local")];
        let better = verdict(&pair, Preferred::Second, "gpt pair-v1");
        assert!(
            better
                .iter()
                .all(|it| it.expert.as_deref() == Some("local"))
        );
        assert_eq!(better[0].comment.as_deref(), Some("compared with b"));
        assert!(
            verdict(&pair, Preferred::Neither, "x")
                .iter()
                .all(|it| it.expert.is_none())
        );
    }
}
