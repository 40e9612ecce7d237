//! What a request asks for beyond text in answer to text: read in one place, for whoever chooses an expert and for the
//! experts that have to refuse.

use serde_json::Value;

use super::{ChatRequest, Role};

/// One thing that not every expert can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// More than one answer.
    Choices,
    /// To call tools that the request lists.
    Tools,
    /// To read the results of tools that were called before.
    ToolResults,
    /// Log probabilities of the answer's tokens.
    LogProbs,
    /// Tokens made likelier or less likely.
    LogitBias,
    /// An answer in a given format, JSON for one.
    Format,
    /// To read pictures, sound or files.
    OtherParts,
}

impl Need {
    /// Everything that a request asks for, each thing once.
    pub fn all_of(request: &ChatRequest) -> Vec<Self> {
        let field = |name: &str| request.body.get(name).unwrap_or(&Value::Null);
        let offers = |list: &str, choice: &str| is_filled(field(list)) && field(choice) != "none";
        let format = field("response_format");
        let has_results = request.messages.iter().any(|turn| turn.role == Role::Tool);
        let has_other_parts = request.messages.iter().any(|turn| turn.has_other_parts);
        [
            (field("n").as_u64().is_some_and(|n| n > 1), Self::Choices),
            (
                offers("tools", "tool_choice") || offers("functions", "function_call"),
                Self::Tools,
            ),
            (has_results, Self::ToolResults),
            (field("logprobs") == true, Self::LogProbs),
            (is_filled(field("logit_bias")), Self::LogitBias),
            (!format.is_null() && format["type"] != "text", Self::Format),
            (has_other_parts, Self::OtherParts),
        ]
        .into_iter()
        .filter_map(|(is_asked, need)| is_asked.then_some(need))
        .collect()
    }

    /// The field that asks for it.
    pub fn param(self) -> &'static str {
        match self {
            Self::Choices => "n",
            Self::Tools => "tools",
            Self::LogProbs => "logprobs",
            Self::LogitBias => "logit_bias",
            Self::Format => "response_format",
            Self::ToolResults | Self::OtherParts => "messages",
        }
    }

    /// What it is called in a message to a person.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Choices => "more than one answer",
            Self::Tools => "tools",
            Self::ToolResults => "results of tools",
            Self::LogProbs => "log probabilities",
            Self::LogitBias => "biased tokens",
            Self::Format => "answers in a given format",
            Self::OtherParts => "content other than text",
        }
    }
}

fn is_filled(value: &Value) -> bool {
    match value {
        Value::Array(items) => !items.is_empty(),
        Value::Object(entries) => !entries.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn needs(fields: Value) -> Vec<Need> {
        let mut body = json!({"model": "coterie", "messages": [{"role": "user", "content": "hi"}]});
        for (key, value) in fields.as_object().unwrap() {
            body[key] = value.clone();
        }
        Need::all_of(&ChatRequest::parse(body).unwrap())
    }

    #[test]
    fn every_need_is_read_from_its_field() {
        let picture = json!([{"role": "user", "content": [{"type": "image_url"}]}]);
        let result = json!([{"role": "tool", "content": "21 C"}]);
        for (fields, need) in [
            (json!({"n": 2}), Need::Choices),
            (json!({"tools": [{}]}), Need::Tools),
            (json!({"tools": [{}], "tool_choice": "auto"}), Need::Tools),
            (json!({"functions": [{}]}), Need::Tools),
            (json!({"messages": result}), Need::ToolResults),
            (json!({"logprobs": true}), Need::LogProbs),
            (json!({"logit_bias": {"5": 1}}), Need::LogitBias),
            (
                json!({"response_format": {"type": "json_object"}}),
                Need::Format,
            ),
            (
                json!({"response_format": {"type": "json_schema"}}),
                Need::Format,
            ),
            (json!({"response_format": "json"}), Need::Format),
            (json!({"messages": picture}), Need::OtherParts),
        ] {
            assert_eq!(needs(fields.clone()), [need], "{fields}");
        }
    }

    #[test]
    fn fields_that_change_nothing_need_nothing() {
        let idle = json!({
            "n": 1, "tools": [], "functions": null, "logprobs": false, "logit_bias": {}, "response_format": {"type": "text"},
        });
        assert_eq!(needs(idle), []);
        assert_eq!(needs(json!({"tools": [{}], "tool_choice": "none"})), []);
        assert_eq!(
            needs(json!({"functions": [{}], "function_call": "none"})),
            []
        );
    }
}
