//! The beginning of an answer: up to here another expert may be asked in the place of this one.

use futures_util::{StreamExt, stream};
use serde_json::json;

use crate::{
    config::PolicyRefusals,
    expert::{Answer, Call, Expert, ExpertError, Refused},
};

/// Chunks kept back while no token has come: roles, filter results and signs of life. An expert that sends more is
/// evidently at work, and its answer has begun.
pub(super) const PRELUDE_CHUNKS_MAX: usize = 64;

/// What providers call the end of an answer that was not to be given.
const CONTENT_FILTER: &str = "content_filter";

/// Asks the expert and reads a stream up to its first token.
pub(super) async fn begin(expert: &dyn Expert, call: &Call) -> Result<Answer, ExpertError> {
    let reroutes = call.delivery.policy_refusals == PolicyRefusals::Reroute;
    let mut pieces = match expert.answer(call).await? {
        Answer::Stream(pieces) => pieces.fuse(),
        Answer::Whole(completion) => {
            let says_nothing = completion.text().is_none();
            if reroutes && says_nothing && is_filtered(completion.finish_reason()) {
                return Err(refused());
            }
            return Ok(Answer::Whole(completion));
        }
    };
    let mut prelude = Vec::new();
    while prelude.len() < PRELUDE_CHUNKS_MAX {
        let Some(chunk) = pieces.next().await.transpose()? else {
            break;
        };
        if reroutes && !chunk.carries_token() && is_filtered(chunk.finish_reason()) {
            return Err(refused());
        }
        let begun = chunk.carries_token() || chunk.finishes();
        prelude.push(Ok(chunk));
        if begun {
            break;
        }
    }
    Ok(Answer::Stream(stream::iter(prelude).chain(pieces).boxed()))
}

fn is_filtered(finish_reason: Option<&str>) -> bool {
    finish_reason == Some(CONTENT_FILTER)
}

/// An answer that ends before it begins, as the refusal that it is.
fn refused() -> ExpertError {
    let message = "the provider's policy lets it say nothing";
    let error = json!({"message": message, "type": "invalid_request_error", "param": null, "code": CONTENT_FILTER});
    ExpertError::Refused {
        status: 400,
        body: json!({"error": error}),
        why: Refused::ByPolicy,
    }
}
