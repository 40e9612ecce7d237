//! The output items of a Response.

use serde_json::{Value, json};

use crate::dialect::parts::{Call, Kind, Part};

/// An output item: a part of the answer, and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) id: String,
    pub(super) part: Part,
}

/// How far an item has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    InProgress,
    Completed,
    Incomplete,
}

impl Item {
    /// The item at `index` of the Response with this id.
    pub(super) fn new(response_id: &str, index: usize, part: Part) -> Self {
        let prefix = match part.kind() {
            Kind::Reasoning => "rs",
            Kind::Text | Kind::Refusal => "msg",
            Kind::Call => "fc",
        };
        let rest = response_id.strip_prefix("resp_").unwrap_or(response_id);
        Self {
            id: format!("{prefix}_{rest}_{index}"),
            part,
        }
    }

    /// The item without its content, as it begins.
    pub(super) fn begun(&self) -> Value {
        let mut item = self.shell(Status::InProgress);
        match &self.part {
            Part::Call(_) => item["arguments"] = "".into(),
            _ => item["content"] = json!([]),
        }
        item
    }

    /// The item with its content.
    pub(super) fn with_content(&self, status: Status) -> Value {
        let mut item = self.shell(status);
        match &self.part {
            Part::Call(call) => item["arguments"] = call.arguments.clone().into(),
            part => item["content"] = json!([content_part(part.kind(), part.text())]),
        }
        item
    }

    fn shell(&self, status: Status) -> Value {
        let status = status.as_str();
        match &self.part {
            Part::Reasoning(_) => {
                json!({"id": self.id, "type": "reasoning", "status": status, "summary": []})
            }
            Part::Text(_) | Part::Refusal(_) => {
                json!({"id": self.id, "type": "message", "status": status, "role": "assistant"})
            }
            Part::Call(Call { id, name, .. }) => {
                json!({"id": self.id, "type": "function_call", "status": status, "call_id": id, "name": name})
            }
        }
    }
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Incomplete => "incomplete",
        }
    }
}

/// The one part of an item's content.
pub(super) fn content_part(kind: Kind, text: &str) -> Value {
    match kind {
        Kind::Reasoning => json!({"type": "reasoning_text", "text": text}),
        Kind::Refusal => json!({"type": "refusal", "refusal": text}),
        Kind::Text | Kind::Call => {
            json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
        }
    }
}
