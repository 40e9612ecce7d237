//! What a request's body asks for: pure.

use serde_json::Value;

/// A chat request, as far as an answer depends on it.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// The model's name, as it came.
    pub(super) model: String,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
    /// Words of all messages.
    pub(super) prompt_tokens: u64,
    /// The text of the last message, if it is the assistant's.
    pub(super) prefill: Option<String>,
    /// The first tool that is offered.
    pub(super) tool: Option<String>,
}

impl Asked {
    /// `None` where the body names no model.
    pub(super) fn of(body: &Value) -> Option<Self> {
        let no_messages = Vec::new();
        let messages = body["messages"].as_array().unwrap_or(&no_messages);
        let words = messages.iter().map(|message| words(&message["content"]));
        let last = messages.last();
        Some(Self {
            model: body["model"].as_str()?.to_owned(),
            stream: body["stream"] == true,
            include_usage: body["stream_options"]["include_usage"] == true,
            prompt_tokens: words.sum(),
            prefill: last
                .filter(|message| message["role"] == "assistant")
                .map(|message| texts(&message["content"]).collect()),
            tool: body["tools"][0]["function"]["name"]
                .as_str()
                .map(str::to_owned),
        })
    }
}

/// The texts of a message's content: a string, or parts of which some are texts.
fn texts(content: &Value) -> impl Iterator<Item = &str> {
    let parts = content.as_array().into_iter().flatten();
    let parts = parts.filter_map(|part| part["text"].as_str());
    content.as_str().into_iter().chain(parts)
}

fn words(content: &Value) -> u64 {
    texts(content)
        .map(|text| text.split_whitespace().count() as u64)
        .sum()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_are_counted_in_strings_and_parts() {
        let body = json!({"model": "healthy", "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": "data:,"}},
            ]},
            {"role": "assistant", "content": null},
        ]});
        let asked = Asked::of(&body).unwrap();
        assert_eq!(asked.prompt_tokens, 5);
        assert_eq!(asked.prefill.as_deref(), Some(""));
        assert!(!asked.stream && !asked.include_usage);
        assert!(asked.tool.is_none());
    }

    #[test]
    fn a_prefill_is_the_last_message_alone() {
        let turns = |roles: [&str; 2]| {
            let messages = roles.map(|role| json!({"role": role, "content": "word"}));
            Asked::of(&json!({"model": "healthy", "messages": messages})).unwrap()
        };
        assert_eq!(turns(["assistant", "user"]).prefill, None);
        assert_eq!(
            turns(["user", "assistant"]).prefill.as_deref(),
            Some("word")
        );
    }

    #[test]
    fn a_stream_its_usage_and_a_tool_are_read() {
        let body = json!({
            "model": "tools", "stream": true, "stream_options": {"include_usage": true},
            "tools": [{"type": "function", "function": {"name": "find"}}],
        });
        let asked = Asked::of(&body).unwrap();
        assert!(asked.stream && asked.include_usage);
        assert_eq!(asked.tool.as_deref(), Some("find"));
    }

    #[test]
    fn a_body_without_a_model_asks_for_nothing() {
        for body in [json!({}), json!([]), json!({"model": 1}), json!("model")] {
            assert!(Asked::of(&body).is_none(), "{body}");
        }
    }
}
