//! The judge grades answers, and compares those to one question.

use std::collections::HashMap;

use super::{Tally, Use, ask};
use crate::{
    cli::CliError,
    clock,
    learning::{
        agreement::{self, Agreement},
        judge::{self, Judge, Preferred, Question},
    },
    outcome::Feedback,
    store::{RecordedAnswer, Store},
};

/// From here on an answer counts as good, where judge and clients are compared.
const GOOD_MIN: f64 = 0.5;

/// Scores that are compared with clients', the newest.
const COMPARED_MAX: u32 = 100_000;

/// Answers among which pairs to one question are looked for, the newest.
const PAIRED_MAX: u32 = 20_000;

/// Grades recorded answers, the newest first.
pub(super) async fn grade(
    store: &Store,
    judge: &Judge,
    given_by: &str,
    limit: u32,
) -> Result<(Tally, Option<Agreement>), CliError> {
    let answers = store.ungraded(given_by, limit).await;
    let questions = answers
        .map_err(CliError::failed)?
        .into_iter()
        .map(|it| Question {
            body: judge::answer(&it.question, &it.answer),
            about: it.outcome_id,
        });
    let tally = ask(judge, questions.collect(), async |outcome_id, words| {
        let Some(score) = judge::score_of(words) else {
            return Ok(Use::Unparsable);
        };
        let feedback = Feedback {
            score: Some(score),
            ..feedback(outcome_id, given_by)
        };
        add(store, &feedback).await.map(|()| Use::Labelled)
    })
    .await?;
    let beside = store.scores_beside(given_by, COMPARED_MAX).await;
    let beside = beside.map_err(CliError::failed)?;
    let word = |score: f64| if score >= GOOD_MIN { "good" } else { "bad" };
    let pairs = beside.iter().map(|(one, other)| (word(*one), word(*other)));
    Ok((tally, agreement::agreement(pairs)))
}

/// Compares answers of different experts to one question, in both orders; only where both orders say the same does the
/// verdict count.
pub(super) async fn compare(
    store: &Store,
    judge: &Judge,
    given_by: &str,
    limit: u32,
) -> Result<Tally, CliError> {
    let answers = store.ungraded(given_by, PAIRED_MAX).await;
    let pairs = pairs(answers.map_err(CliError::failed)?, limit as usize);
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
    ask(judge, questions.collect(), async |(at, order), words| {
        let said = judge::preferred_of(words).map(|said| match order {
            Order::AsIs => said,
            Order::Swapped => said.swapped(),
        });
        let Some(before) = first_words.remove(&at) else {
            first_words.insert(at, said);
            return Ok(Use::Later);
        };
        let (Some(before), Some(said)) = (before, said) else {
            return Ok(Use::Unparsable);
        };
        if before != said {
            return Ok(Use::Inconsistent);
        }
        for feedback in verdict(&pairs[at], said, given_by) {
            add(store, &feedback).await?;
        }
        Ok(Use::Labelled)
    })
    .await
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

async fn add(store: &Store, feedback: &Feedback) -> Result<(), CliError> {
    store.add_feedback(feedback).await.map_err(CliError::failed)
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
