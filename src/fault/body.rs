//! An answer's two forms, a stream of events and a JSON document, taken apart at the borders of tokens: pure.

use serde_json::{Value, json};

use super::answer::Answer;

/// When every answer was created: the same bytes for the same question.
const CREATED: u64 = 1_700_000_000;

/// Stands for the text while a document is written around it.
const PLACE: &str = "{text}";

/// The bytes of an answer. All together are what a healthy provider sends.
#[derive(Clone, Debug)]
pub(super) struct Body {
    /// What comes before the first token.
    pub(super) opening: Vec<u8>,
    pub(super) tokens: Vec<Vec<u8>>,
    /// What comes after the last one.
    pub(super) closing: Vec<u8>,
}

/// How an answer ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    /// The finish reason; none where the answer does not reach its end.
    pub(super) finish: Option<&'static str>,
    /// Whether a stream says `[DONE]`.
    pub(super) done: bool,
}

impl Ending {
    /// The end of a healthy answer.
    pub(super) fn healthy(answer: &Answer) -> Self {
        let finish = match answer.tool {
            Some(_) => "tool_calls",
            None => "stop",
        };
        Self {
            finish: Some(finish),
            done: true,
        }
    }
}

impl Body {
    /// Server-sent events; `usage` asks for the one that counts the tokens.
    pub(super) fn stream(answer: &Answer, ending: Ending, usage: bool) -> Self {
        let mut closing = Vec::new();
        if let Some(finish) = ending.finish {
            closing.extend(event(&chunk(answer, json!({}), Some(finish))));
            if usage {
                closing.extend(usage_event(answer, answer.completion_tokens));
            }
        }
        if ending.done {
            closing.extend(b"data: [DONE]\n\n");
        }
        let tokens = answer.tokens.iter().map(|token| token_event(answer, token));
        Self {
            opening: event(&chunk(answer, opening(answer), None)),
            tokens: tokens.collect(),
            closing,
        }
    }

    /// A whole completion.
    pub(super) fn document(answer: &Answer, ending: Ending) -> Self {
        let message = match &answer.tool {
            None => json!({"role": "assistant", "content": PLACE}),
            Some(name) => json!({"role": "assistant", "content": null, "tool_calls": [{
                "id": call_id(answer),
                "type": "function",
                "function": {"name": name, "arguments": PLACE},
            }]}),
        };
        let document = json!({
            "id": answer.id,
            "object": "chat.completion",
            "created": CREATED,
            "model": answer.model,
            "choices": [{"index": 0, "message": message, "finish_reason": ending.finish}],
            "usage": usage(answer, answer.completion_tokens),
        });
        let (opening, closing) = around(&document.to_string());
        let tokens = answer.tokens.iter().map(|token| escaped(token));
        Self {
            opening,
            tokens: tokens.collect(),
            closing,
        }
    }

    /// Its length in bytes.
    pub(super) fn len(&self) -> u64 {
        let tokens = self.tokens.iter().map(Vec::len).sum::<usize>();
        (self.opening.len() + tokens + self.closing.len()) as u64
    }

    /// The same document with its usage told twice.
    pub(super) fn counted_twice(mut self, answer: &Answer) -> Self {
        self.closing.pop();
        let again = usage(answer, answer.completion_tokens);
        self.closing
            .extend(format!(r#","usage":{again}}}"#).bytes());
        self
    }
}

/// The event that adds a token.
pub(super) fn token_event(answer: &Answer, token: &str) -> Vec<u8> {
    event(&chunk(answer, delta(answer, token), None))
}

/// The event that adds a token, in two parts: the token's text belongs between them.
pub(super) fn token_event_around(answer: &Answer) -> (Vec<u8>, Vec<u8>) {
    let chunk = chunk(answer, delta(answer, PLACE), None);
    let (mut before, mut after) = around(&chunk.to_string());
    before.splice(0..0, *b"data: ");
    after.extend(b"\n\n");
    (before, after)
}

/// The event that counts the tokens.
pub(super) fn usage_event(answer: &Answer, completion_tokens: u64) -> Vec<u8> {
    let mut object = chunk(answer, json!({}), None);
    object["choices"] = json!([]);
    object["usage"] = usage(answer, completion_tokens);
    event(&object)
}

/// An object as an event.
pub(super) fn event(object: &Value) -> Vec<u8> {
    format!("data: {object}\n\n").into_bytes()
}

fn chunk(answer: &Answer, delta: Value, finish: Option<&str>) -> Value {
    json!({
        "id": answer.id,
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": answer.model,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    })
}

fn opening(answer: &Answer) -> Value {
    match &answer.tool {
        None => json!({"role": "assistant", "content": ""}),
        Some(name) => json!({"role": "assistant", "content": null, "tool_calls": [{
            "index": 0,
            "id": call_id(answer),
            "type": "function",
            "function": {"name": name, "arguments": ""},
        }]}),
    }
}

fn delta(answer: &Answer, token: &str) -> Value {
    match answer.tool {
        None => json!({"content": token}),
        Some(_) => json!({"tool_calls": [{"index": 0, "function": {"arguments": token}}]}),
    }
}

fn call_id(answer: &Answer) -> String {
    answer.id.replacen("chatcmpl", "call", 1)
}

fn usage(answer: &Answer, completion_tokens: u64) -> Value {
    json!({
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": answer.prompt_tokens + completion_tokens,
    })
}

/// A document without its text. The text's place is the last that looks like one: model and tool, whose names are the
/// client's, come before it.
fn around(document: &str) -> (Vec<u8>, Vec<u8>) {
    let (before, after) = document.rsplit_once(PLACE).unwrap_or((document, ""));
    (before.into(), after.into())
}

/// A text as it stands between the quotes of a JSON string.
fn escaped(text: &str) -> Vec<u8> {
    let quoted = Value::from(text).to_string();
    let inner = quoted.get(1..quoted.len() - 1).unwrap_or_default();
    inner.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(tool: Option<&str>) -> Answer {
        Answer {
            id: "chatcmpl-healthy-1".to_owned(),
            model: "healthy#{text}".to_owned(),
            tokens: ["a \"b\"".to_owned(), " c\n".to_owned()].into(),
            prompt_tokens: 5,
            completion_tokens: 2,
            tool: tool.map(str::to_owned),
        }
    }

    fn whole(body: &Body) -> String {
        let bytes = [&body.opening, &body.tokens.concat(), &body.closing];
        let bytes = bytes.map(Vec::as_slice).concat();
        assert_eq!(bytes.len() as u64, body.len());
        String::from_utf8(bytes).unwrap()
    }

    fn document(answer: &Answer) -> Value {
        let body = Body::document(answer, Ending::healthy(answer));
        serde_json::from_str(&whole(&body)).unwrap()
    }

    #[test]
    fn a_document_holds_the_text_the_usage_and_the_model() {
        let document = document(&answer(None));
        assert_eq!(document["model"], "healthy#{text}");
        let choice = &document["choices"][0];
        assert_eq!(choice["message"]["content"], "a \"b\" c\n");
        assert_eq!(choice["finish_reason"], "stop");
        assert_eq!(
            document["usage"],
            json!({"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7})
        );
    }

    #[test]
    fn a_document_holds_the_call_of_a_tool() {
        let document = document(&answer(Some("{text}")));
        let choice = &document["choices"][0];
        assert_eq!(choice["finish_reason"], "tool_calls");
        let call = &choice["message"]["tool_calls"][0];
        assert_eq!(call["id"], "call-healthy-1");
        assert_eq!(call["function"]["name"], "{text}");
        assert_eq!(call["function"]["arguments"], "a \"b\" c\n");
    }

    #[test]
    fn a_stream_has_an_event_for_each_token_and_ends_with_done() {
        let answer = answer(None);
        let body = Body::stream(&answer, Ending::healthy(&answer), true);
        let text = whole(&body);
        let events: Vec<_> = text
            .split_terminator("\n\n")
            .map(|event| event.strip_prefix("data: ").unwrap())
            .collect();
        let (done, objects) = events.split_last().unwrap();
        assert_eq!(*done, "[DONE]");
        let objects: Vec<Value> = objects
            .iter()
            .map(|object| serde_json::from_str(object).unwrap())
            .collect();
        assert_eq!(objects.len(), 5);
        assert_eq!(objects[0]["choices"][0]["delta"]["role"], "assistant");
        assert_eq!(objects[2]["choices"][0]["delta"]["content"], " c\n");
        assert_eq!(objects[3]["choices"][0]["finish_reason"], "stop");
        assert_eq!(objects[4]["usage"]["total_tokens"], 7);
    }

    #[test]
    fn an_event_can_be_opened_at_its_text() {
        let answer = answer(None);
        let (before, after) = token_event_around(&answer);
        let around = [before.as_slice(), b"x", &after].concat();
        assert_eq!(around, token_event(&answer, "x"));
    }

    #[test]
    fn usage_can_stand_in_a_document_twice() {
        let answer = answer(None);
        let body = Body::document(&answer, Ending::healthy(&answer)).counted_twice(&answer);
        let text = whole(&body);
        assert_eq!(text.matches("\"usage\"").count(), 2);
        assert!(serde_json::from_str::<Value>(&text).is_ok());
    }
}
