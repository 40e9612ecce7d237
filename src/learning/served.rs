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

/// Words of both questions from which on they are long: two that fill in the same form share most of their words, and ask
/// different things all the same.
pub const LONG_WORDS_MIN: usize = 40;

/// How alike long questions must be.
pub const LONG_ALIKE_MIN: f64 = 0.98;

/// An outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct Served {
    /// The outcome.
    pub outcome_id: String,
    /// When it was asked, milliseconds since 1970 UTC.
    pub asked_at_ms: i64,
    /// Time from the question to the end.
    pub total: Duration,
    /// The name of the key that asked; none where the server has no keys.
    pub client: Option<String>,
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
    pub said: Vec<Said>,
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
    /// Why its answer was not taken, in one word; none where it was, where there was none, or where an earlier version of
    /// Coterie did not write the word down.
    pub rejected_as: Option<String>,
}

/// What feedback says of an answer: a score, or who should have given it.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// Who says it.
    pub by: Voice,
    /// 0 to 1; none where it only names an expert.
    pub score: Option<f64>,
    /// Who should have answered.
    pub expert: Option<ExpertId>,
}

/// Who says something. Two judges, or a judge and a client, are two voices, whatever their key.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Voice {
    /// The name of the key that gave it; none where the server has no keys.
    pub key: Option<String>,
    /// The judge that gave it: an expert with the version of its prompt; none: a client.
    pub judge: Option<String>,
}

/// Forgets what judges said, where they are not to be heard (`learning.without`).
pub fn leave_judges_out(served: &mut [Served]) {
    for outcome in served {
        outcome.said.retain(|said| said.by.judge.is_none());
    }
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

/// Whether two questions, as they were kept, are nearly the same.
///
/// What is kept of an ask that leans on something is the ask behind it, in lines of their own: two such texts share what they
/// lean on, whatever is asked. So texts of several lines are compared as wholes.
pub fn are_alike(one: &str, other: &str) -> bool {
    let has_lines = |text: &str| text.contains('\n');
    if has_lines(one) || has_lines(other) {
        return one == other;
    }
    let (one, other) = (words(one), words(other));
    let shared = one.intersection(&other).count();
    let all = one.len() + other.len() - shared;
    let alike_min = if all >= LONG_WORDS_MIN {
        LONG_ALIKE_MIN
    } else {
        ALIKE_MIN
    };
    all > 0 && shared as f64 / all as f64 >= alike_min
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
            client: None,
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
                rejected_as: None,
            }],
            answered_by: Some(ExpertId::new(expert)),
            first_token: Some(Duration::from_millis(100)),
            ending: "completed".into(),
            prompt_tokens: Some(10),
            said: Vec::new(),
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
    fn what_is_asked_behind_the_same_task_is_no_repeat() {
        let task = "You write the next chapter of a long novel about the sea, in the voice of its captain.";
        let behind = |before: &str, ask: &str| format!("{task}\n{before}\n{ask}");
        let chat = Some("chat");
        let first = behind("The storm came at night.", "continue");
        let second = behind("The storm went by noon.", "continue");
        assert_eq!(
            repeats(vec![asked(chat, &first, 0), asked(chat, &second, 5_000)]),
            [false, false]
        );
        assert_eq!(
            repeats(vec![asked(chat, &first, 0), asked(chat, &first, 5_000)]),
            [true, false],
            "the very same is asked anew"
        );
    }

    #[test]
    fn a_form_that_is_filled_in_otherwise_is_no_repeat() {
        let form: Vec<String> = (0..60).map(|at| format!("rule{at}")).collect();
        let filled = |with: &str| format!("{} {with}", form.join(" "));
        let chat = Some("chat");
        let (one, other) = (filled("a b c"), filled("x y z"));
        assert_eq!(
            repeats(vec![asked(chat, &one, 0), asked(chat, &other, 5_000)]),
            [false, false]
        );
        assert_eq!(
            repeats(vec![asked(chat, &one, 0), asked(chat, &one, 5_000)]),
            [true, false]
        );
    }

    #[test]
    fn judges_can_be_left_out() {
        let said = |judge: Option<&str>| Said {
            by: Voice {
                key: None,
                judge: judge.map(str::to_owned),
            },
            score: Some(0.5),
            expert: None,
        };
        let mut served = [Served {
            said: vec![said(None), said(Some("gpt answer-v1"))],
            ..Served::example("a")
        }];
        leave_judges_out(&mut served);
        assert_eq!(served[0].said, [said(None)]);
    }

    #[test]
    fn nothing_is_like_nothing() {
        assert!(!are_alike("", "?!"));
    }
}
