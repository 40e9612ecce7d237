//! `POST /v1/completions`, OpenAI's older form: a prompt instead of a conversation. It is asked as a conversation of
//! one turn and answered in its own shape.

use axum::{extract::State, response::Response};
use serde_json::{Map, Value, json};

use super::{ApiError, ApiState, answer, body::JsonBody, claim::Claims};
use crate::chat::{ChatRequest, InvalidRequest, content};

/// Fields that have no equal in a conversation; silently dropping them would answer another question.
const UNSUPPORTED: [&str; 4] = ["suffix", "echo", "best_of", "logprobs"];

/// Continues a prompt.
pub(super) async fn answer(
    State(state): State<ApiState>,
    claims: Claims,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let asked = claims.asked(body.at);
    let request = body.read(|value| ChatRequest::parse(as_conversation(value)?))?;
    answer::answer(&state, asked, request, Some(as_text_completion)).await
}

fn as_conversation(body: Value) -> Result<Value, InvalidRequest> {
    let Value::Object(mut body) = body else {
        return Ok(body);
    };
    for field in UNSUPPORTED {
        let asked_for = body
            .get(field)
            .is_some_and(|value| !matches!(value, Value::Null | Value::Bool(false)));
        if asked_for && !(field == "best_of" && body[field] == 1) {
            return Err(InvalidRequest::at(
                field,
                format!("`{field}` is not supported; use /v1/chat/completions"),
            ));
        }
    }
    let prompt = match body.remove("prompt") {
        Some(Value::String(prompt)) => prompt,
        Some(Value::Array(mut prompts)) if prompts.len() == 1 && prompts[0].is_string() => {
            prompts.remove(0).as_str().unwrap_or_default().to_owned()
        }
        Some(_) => {
            return Err(InvalidRequest::at(
                "prompt",
                "`prompt` must be one text; tokens and batches are not supported",
            ));
        }
        None => return Err(InvalidRequest::at("prompt", "`prompt` is missing")),
    };
    body.insert(
        "messages".into(),
        json!([{"role": "user", "content": prompt}]),
    );
    Ok(Value::Object(body))
}

/// Turns a chat object into a text object; `part` is where a choice keeps its text (`message` or `delta`).
fn as_text_completion(mut object: Map<String, Value>, part: &str) -> Map<String, Value> {
    object.insert("object".into(), "text_completion".into());
    for choice in object
        .get_mut("choices")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        let Value::Object(choice) = choice else {
            continue;
        };
        let said = choice.remove(part).unwrap_or_default();
        choice.insert("text".into(), content::text_of(&said["content"]).into());
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{AnswerHead, FinishReason, Usage};

    #[test]
    fn a_prompt_becomes_one_turn() {
        let body = json!({"model": "coterie", "prompt": ["Once"], "max_tokens": 3, "echo": false, "best_of": 1});
        let request = ChatRequest::parse(as_conversation(body).unwrap()).unwrap();
        assert_eq!(request.messages[0].text, "Once");
        assert_eq!(request.sampling.answer_tokens_max, Some(3));
    }

    #[test]
    fn what_cannot_be_asked_as_a_conversation_is_refused_by_name() {
        for (body, param) in [
            (json!({"prompt": "a", "suffix": "b"}), "suffix"),
            (json!({"prompt": "a", "best_of": 2}), "best_of"),
            (json!({"prompt": ["a", "b"]}), "prompt"),
            (json!({"prompt": [1, 2]}), "prompt"),
            (json!({}), "prompt"),
        ] {
            assert_eq!(as_conversation(body).unwrap_err().param, param);
        }
    }

    #[test]
    fn an_answer_takes_the_older_shape() {
        let head = AnswerHead {
            id: "a".into(),
            model: "general".into(),
            created_s: 1,
        };
        let usage = Usage {
            prompt_tokens: 1,
            completion_tokens: 1,
        };
        let whole = as_text_completion(
            head.completion("hi", FinishReason::Stop, usage).object(),
            "message",
        );
        assert_eq!(whole["object"], "text_completion");
        assert_eq!(whole["choices"][0]["text"], "hi");
        assert_eq!(whole["choices"][0]["finish_reason"], "stop");
        assert!(whole["choices"][0].get("message").is_none());
        let parts = json!({"content": [{"type": "text", "text": "hi"}]});
        let parts = json!({"choices": [{"index": 0, "delta": parts}]});
        for chunk in [head.text("hi").object(), parts.as_object().unwrap().clone()] {
            let written = as_text_completion(chunk, "delta");
            assert_eq!(written["choices"][0]["text"], "hi");
        }
    }
}
