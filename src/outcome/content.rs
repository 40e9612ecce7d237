//! How much of people's words is kept: the one place that applies `store.content`.
//!
//! In two steps, because the cheap one must come first: text is cut or dropped where it comes in, on the path of the
//! question ([`admit`]), and masked on the way to the store, off that path ([`mask`]).

use tracing::error;

use crate::{
    config::ContentPolicy,
    outcome::{Outcome, redact::redact},
};

/// Most bytes kept of a question, of an answer and of a comment: some 8000 tokens of English. With the queue's bound
/// it keeps the text that waits for a failing store within 256 MiB.
pub(super) const TEXT_BYTES_MAX: usize = 32 * 1024;

/// What may enter the queue of a text: all that is kept of it, not yet masked.
pub(super) fn admit(policy: ContentPolicy, mut text: String) -> Option<String> {
    if policy == ContentPolicy::None {
        return None;
    }
    if text.len() > TEXT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        text.shrink_to_fit();
    }
    Some(text)
}

/// What is kept of one admitted text.
pub(super) fn kept(policy: ContentPolicy, text: String) -> Option<String> {
    match policy {
        ContentPolicy::None => None,
        ContentPolicy::Redacted => Some(redact(&text).into_owned()),
        ContentPolicy::Full => Some(text),
    }
}

/// What is kept of a text that comes from elsewhere than a question's path.
pub(crate) fn keep(policy: ContentPolicy, text: String) -> Option<String> {
    admit(policy, text).and_then(|text| kept(policy, text))
}

/// Masks the texts of a batch, on a thread for blocking work: a full batch of long answers takes a noticeable time.
pub(super) async fn mask(policy: ContentPolicy, outcomes: &mut [Outcome]) {
    if policy != ContentPolicy::Redacted {
        return;
    }
    let texts: Vec<_> = outcomes
        .iter_mut()
        .map(|outcome| {
            let instruction = outcome.decision.instruction.as_mut();
            let instruction = instruction.and_then(|it| it.instruction.take());
            (
                outcome.ask.question.take(),
                outcome.answer.take(),
                instruction,
            )
        })
        .collect();
    let kept = move |text: Option<String>| text.and_then(|text| kept(policy, text));
    let masked = tokio::task::spawn_blocking(move || -> Vec<_> {
        texts
            .into_iter()
            .map(|(question, answer, instruction)| {
                (kept(question), kept(answer), kept(instruction))
            })
            .collect()
    });
    match masked.await {
        Ok(masked) => {
            for (outcome, (question, answer, instruction)) in outcomes.iter_mut().zip(masked) {
                outcome.ask.question = question;
                outcome.answer = answer;
                if let Some(instructed) = &mut outcome.decision.instruction {
                    instructed.instruction = instruction;
                }
            }
        }
        // The outcomes are still whole but for their texts, and text that was not masked must not be kept.
        Err(error) => error!(
            error = &error as &dyn std::error::Error,
            "masking failed; {} outcomes are kept without their texts",
            outcomes.len()
        ),
    }
}
