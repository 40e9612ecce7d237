//! A question with the beginning of its answer.

use serde_json::{Value, json};

use crate::{chat::ChatRequest, config::Prefill};

/// The request with `text` as what the assistant has said so far, in the form that the expert takes, and with room for as
/// many tokens less as were delivered. None where it cannot be asked so.
pub(super) fn request(
    request: &ChatRequest,
    prefill: Prefill,
    text: &str,
    tokens: u64,
) -> Option<ChatRequest> {
    let mut body = request.body.clone();
    // Providers will not have a prefill that ends in white space.
    let mut message = json!({"role": "assistant", "content": text.trim_end()});
    match prefill {
        Prefill::None => return None,
        Prefill::LastMessage => {}
        Prefill::Prefix => message["prefix"] = true.into(),
        Prefill::ContinueFinalMessage => {
            body.insert("continue_final_message".into(), true.into());
            body.insert("add_generation_prompt".into(), false.into());
        }
    }
    let messages = body.get_mut("messages")?.as_array_mut()?;
    if messages
        .last()
        .is_some_and(|last| last["role"] == "assistant")
    {
        // The client gave a prefill itself; ours goes on with it.
        let last = messages.last_mut()?;
        let own = last.get("content").and_then(Value::as_str)?;
        message["content"] = format!("{own}{}", text.trim_end()).into();
        *last = message;
    } else {
        messages.push(message);
    }
    for field in ["max_tokens", "max_completion_tokens"] {
        if let Some(most) = body.get(field).and_then(Value::as_u64) {
            body.insert(field.into(), most.saturating_sub(tokens).max(1).into());
        }
    }
    ChatRequest::parse(Value::Object(body)).ok()
}
