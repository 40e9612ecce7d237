//! Between our objects and the provider's: pure.

use std::borrow::Cow;

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value, json};

use crate::chat::{Chunk, Completion};

/// A client's body on its way to the provider, serialised without a copy of it.
pub(super) struct Outgoing<'b> {
    body: Cow<'b, Map<String, Value>>,
    model: &'b str,
    stream: bool,
}

impl<'b> Outgoing<'b> {
    /// The body with the provider's name for the model.
    pub(super) fn plain(body: &'b Map<String, Value>, model: &'b str) -> Self {
        Self {
            body: Cow::Borrowed(body),
            model,
            stream: false,
        }
    }

    /// A body that was written anew for the provider.
    pub(super) fn written(body: Map<String, Value>, model: &'b str) -> Self {
        Self {
            body: Cow::Owned(body),
            model,
            stream: false,
        }
    }

    /// The same, asking for a stream that counts its tokens.
    pub(super) fn streaming(body: &'b Map<String, Value>, model: &'b str) -> Self {
        Self {
            body: Cow::Borrowed(body),
            model,
            stream: true,
        }
    }

    /// The bytes to send.
    #[expect(
        clippy::expect_used,
        reason = "JSON values have string keys, and writing into memory cannot fail"
    )]
    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a JSON object is JSON")
    }

    fn is_ours(&self, field: &str) -> bool {
        field == "model" || self.stream && matches!(field, "stream" | "stream_options")
    }

    fn stream_options(&self) -> Map<String, Value> {
        let mut options = match self.body.get("stream_options") {
            Some(Value::Object(options)) => options.clone(),
            _ => Map::new(),
        };
        options.insert("include_usage".into(), true.into());
        options
    }
}

impl Serialize for Outgoing<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("model", self.model)?;
        for (field, value) in self.body.iter().filter(|(field, _)| !self.is_ours(field)) {
            object.serialize_entry(field, value)?;
        }
        if self.stream {
            object.serialize_entry("stream", &true)?;
            object.serialize_entry("stream_options", &self.stream_options())?;
        }
        object.end()
    }
}

/// A whole answer in the chunks of a stream: one with every choice, one that counts the tokens.
pub(super) fn chunks_of(completion: Completion) -> Vec<Chunk> {
    let mut head = completion.object();
    head.insert("object".into(), "chat.completion.chunk".into());
    let usage = head.remove("usage").filter(|usage| !usage.is_null());
    if let Some(Value::Array(choices)) = head.get_mut("choices") {
        choices.iter_mut().for_each(message_to_delta);
    }
    let counting = usage.map(|usage| {
        let mut chunk = head.clone();
        chunk.insert("choices".into(), json!([]));
        chunk.insert("usage".into(), usage);
        chunk
    });
    [Some(head), counting]
        .into_iter()
        .flatten()
        .map(Chunk::from_object)
        .collect()
}

fn message_to_delta(choice: &mut Value) {
    let Some(choice) = choice.as_object_mut() else {
        return;
    };
    let mut delta = choice.remove("message").unwrap_or_else(|| json!({}));
    if let Some(Value::Array(calls)) = delta.get_mut("tool_calls") {
        // In a stream the pieces of a call find one another by its index.
        for (index, call) in calls.iter_mut().enumerate() {
            if let Some(call) = call.as_object_mut() {
                call.insert("index".into(), index.into());
            }
        }
    }
    choice.insert("delta".into(), delta);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(outgoing: &Outgoing<'_>) -> Value {
        serde_json::from_slice(&outgoing.to_json()).unwrap()
    }

    fn object(value: Value) -> Map<String, Value> {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_plain_body_changes_its_model_alone() {
        let body = object(json!({"model": "coterie", "stream": false, "house": {"a": [1]}}));
        assert_eq!(
            sent(&Outgoing::plain(&body, "gpt")),
            json!({"model": "gpt", "stream": false, "house": {"a": [1]}})
        );
    }

    #[test]
    fn a_stream_is_asked_to_count_whatever_the_client_said() {
        for (options, expected) in [
            (json!(null), json!({"include_usage": true})),
            (
                json!({"include_usage": false, "include_obfuscation": false}),
                json!({"include_usage": true, "include_obfuscation": false}),
            ),
        ] {
            let body = object(json!({"model": "coterie", "stream_options": options}));
            assert_eq!(
                sent(&Outgoing::streaming(&body, "gpt")),
                json!({"model": "gpt", "stream": true, "stream_options": expected})
            );
        }
    }

    #[test]
    fn a_whole_answer_becomes_chunks_that_say_the_same() {
        let whole = object(json!({
            "id": "a",
            "object": "chat.completion",
            "choices": [{
                "index": 0,
                "message": {"role": "assistant", "content": "hi", "tool_calls": [{"id": "c"}]},
                "finish_reason": "stop",
            }],
            "usage": {"prompt_tokens": 3, "completion_tokens": 1},
            "house": 1,
        }));
        let chunks = chunks_of(Completion::from_object(whole));
        let [answer, count] = chunks.as_slice() else {
            panic!("{chunks:?}")
        };
        assert_eq!(answer.text(), Some("hi"));
        assert!(answer.finishes());
        assert_eq!(answer.usage(), None);
        assert_eq!(answer.object()["house"], 1);
        assert_eq!(
            answer.object()["choices"][0]["delta"]["tool_calls"],
            json!([{"id": "c", "index": 0}])
        );
        assert!(count.only_counts());
        assert_eq!(count.object()["object"], "chat.completion.chunk");
    }
}
