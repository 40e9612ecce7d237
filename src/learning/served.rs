//! An outcome as it tells how good experts' answers are: who was asked, how probably, and what became of it.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use crate::ids::{CategoryId, ExpertId};

/// How soon after the end of an answer its client must ask again for that to say something of the answer.
pub const ASKED_AGAIN_WITHIN: Duration = Duration::from_secs(60);

/// How alike two questions must be to be one that is asked again: shared words over all words of both (Jaccard's index).
pub const ALIKE_MIN: f64 = 0.8;

/// An outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct Served {
    /// The outcome.
    pub outcome_id: String,
    /// When it was asked, milliseconds since 1970 UTC.
    pub asked_at_ms: i64,
    /// Time from the question to the end.
    pub total: Duration,
    /// Which conversation it belongs to; none where nothing tells it.
    pub conversation: Option<String>,
    /// The text that was classified, as it was kept.
    pub question: Option<String>,
    /// The category acted on; none where the client named an expert.
    pub category: Option<CategoryId>,
    /// Why it went there, in one word.
    pub reason: String,
    /// The expert that was chosen.
    pub expert: ExpertId,
    /// Who was to be asked next.
    pub fallbacks: Vec<ExpertId>,
    /// Probability with which the expert was chosen; none where it was not written down.
    pub propensity: Option<f64>,
    /// Whether it is another one than the mapping's.
    pub explored: bool,
    /// Who else could have been chosen, where the mapping explored.
    pub others: Vec<ExpertId>,
    /// Who would have been asked but for a limit.
    pub passed_over: Vec<ExpertId>,
    /// Whether another expert was asked first, in case its answer would do.
    pub has_cascade: bool,
    /// Who was asked, in order.
    pub tries: Vec<Try>,
    /// The expert whose answer the client got.
    pub answered_by: Option<ExpertId>,
    /// Time from the question to the first token of the answer; none if none came.
    pub first_token: Option<Duration>,
    /// How it ended, in one word.
    pub ending: String,
    /// Tokens that were read for it.
    pub prompt_tokens: Option<u64>,
    /// What was said of the answer, in the order in which it was.
    pub scores: Vec<Score>,
    /// Whether the client asked nearly the same again at once ([`notice_repeats`]).
    pub asked_again: bool,
}

/// One expert's try at the question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Try {
    /// Who.
    pub expert: ExpertId,
    /// What for, in one word.
    pub role: String,
    /// The kind of its failure.
    pub error: Option<String>,
    /// Whether it answered, and the answer was not taken.
    pub was_rejected: bool,
}

/// A score out of feedback.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// The name of the key that gave it; none where the server has no keys.
    pub given_by: Option<String>,
    /// 0 to 1.
    pub score: f64,
}

/// Marks what was asked again: the next question of the same conversation came at once, and is nearly the same.
///
/// `served`: oldest first.
pub fn notice_repeats(served: &mut [Served]) {
    let mut last: HashMap<String, usize> = HashMap::new();
    for at in 0..served.len() {
        let Some(conversation) = served[at].conversation.clone() else {
            continue;
        };
        if let Some(before) = last.insert(conversation, at) {
            served[before].asked_again = is_repeated(&served[before], &served[at]);
        }
    }
}

fn is_repeated(before: &Served, after: &Served) -> bool {
    let (Some(one), Some(other)) = (&before.question, &after.question) else {
        return false;
    };
    let within = before.total + ASKED_AGAIN_WITHIN;
    let within_ms = i64::try_from(within.as_millis()).unwrap_or(i64::MAX);
    after.asked_at_ms.saturating_sub(before.asked_at_ms) <= within_ms && are_alike(one, other)
}

/// Whether two questions are nearly the same one.
pub fn are_alike(one: &str, other: &str) -> bool {
    let (one, other) = (words(one), words(other));
    let shared = one.intersection(&other).count() as f64;
    let all = one.union(&other).count() as f64;
    all > 0.0 && shared / all >= ALIKE_MIN
}

fn words(text: &str) -> HashSet<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

#[cfg(test)]
impl Served {
    /// An answer of `expert` that came whole.
    pub(crate) fn example(expert: &str) -> Self {
        Self {
            outcome_id: "a".into(),
            asked_at_ms: 0,
            total: Duration::from_secs(1),
            conversation: None,
            question: Some("How do I sort a list in Python?".into()),
            category: Some(CategoryId::new("coding")),
            reason: "routed".into(),
            expert: ExpertId::new(expert),
            fallbacks: Vec::new(),
            propensity: Some(1.0),
            explored: false,
            others: Vec::new(),
            passed_over: Vec::new(),
            has_cascade: false,
            tries: vec![Try {
                expert: ExpertId::new(expert),
                role: "answer".into(),
                error: None,
                was_rejected: false,
            }],
            answered_by: Some(ExpertId::new(expert)),
            first_token: Some(Duration::from_millis(100)),
            ending: "completed".into(),
            prompt_tokens: Some(10),
            scores: Vec::new(),
            asked_again: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(conversation: Option<&str>, question: &str, asked_at_ms: i64) -> Served {
        Served {
            conversation: conversation.map(str::to_owned),
            question: Some(question.into()),
            asked_at_ms,
            ..Served::example("general")
        }
    }

    fn repeats(mut served: Vec<Served>) -> Vec<bool> {
        notice_repeats(&mut served);
        served.iter().map(|it| it.asked_again).collect()
    }

    const SORT: &str = "How do I sort a list in Python?";

    #[test]
    fn the_same_question_at_once_is_asked_again() {
        let again = "how do i sort a list, in Python, please";
        let chat = Some("chat");
        assert_eq!(
            repeats(vec![asked(chat, SORT, 0), asked(chat, again, 61_000)]),
            [true, false],
            "a minute after the end"
        );
        assert_eq!(
            repeats(vec![asked(chat, SORT, 0), asked(chat, again, 61_001)]),
            [false, false]
        );
        let other = "And how do I sort it in Rust?";
        assert_eq!(
            repeats(vec![asked(chat, SORT, 0), asked(chat, other, 5_000)]),
            [false, false]
        );
        assert_eq!(
            repeats(vec![asked(None, SORT, 0), asked(None, SORT, 5_000)]),
            [false, false],
            "nothing tells that it is the same client"
        );
    }

    #[test]
    fn only_the_next_question_of_the_conversation_counts() {
        let served = vec![
            asked(Some("one"), SORT, 0),
            asked(Some("two"), SORT, 1_000),
            asked(Some("one"), "thanks, and what is a tuple then", 2_000),
            asked(Some("one"), SORT, 3_000),
            asked(Some("two"), SORT, 4_000),
        ];
        assert_eq!(repeats(served), [false, true, false, false, false]);
    }

    #[test]
    fn nothing_is_like_nothing() {
        assert!(!are_alike("", "?!"));
    }
}
