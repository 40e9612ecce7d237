//! What a Response repeats of its request.

use serde_json::{Map, Value, json};

/// The fields of a Response that its request settled, with what holds where the request is silent.
#[derive(Clone, Debug, PartialEq)]
pub struct Echo(pub(super) Map<String, Value>);

/// Each of them, and what holds where the request does not say. A Response always has the first eight.
const REPEATED: [(&str, Silent); 13] = [
    ("instructions", Silent::Null),
    ("max_output_tokens", Silent::Null),
    ("metadata", Silent::Empty),
    ("parallel_tool_calls", Silent::True),
    ("temperature", Silent::Null),
    ("tool_choice", Silent::Auto),
    ("tools", Silent::EmptyList),
    ("top_p", Silent::Null),
    ("reasoning", Silent::Absent),
    ("text", Silent::Absent),
    ("user", Silent::Absent),
    ("safety_identifier", Silent::Absent),
    ("prompt_cache_key", Silent::Absent),
];

#[derive(Clone, Copy)]
enum Silent {
    Null,
    Empty,
    EmptyList,
    True,
    Auto,
    Absent,
}

impl Echo {
    /// What a Response repeats of this request.
    pub(super) fn of(body: &Map<String, Value>) -> Self {
        let mut echo = Map::new();
        for (name, silent) in REPEATED {
            let said = body.get(name).filter(|value| !value.is_null()).cloned();
            if let Some(value) = said.or_else(|| silent.value()) {
                echo.insert(name.into(), value);
            }
        }
        // What is not offered stands as OpenAI writes it where nobody asks for it.
        echo.insert("background".into(), false.into());
        echo.insert("previous_response_id".into(), Value::Null);
        echo.insert("store".into(), false.into());
        echo.insert("truncation".into(), "disabled".into());
        Self(echo)
    }
}

impl Silent {
    fn value(self) -> Option<Value> {
        Some(match self {
            Self::Null => Value::Null,
            Self::Empty => json!({}),
            Self::EmptyList => json!([]),
            Self::True => true.into(),
            Self::Auto => "auto".into(),
            Self::Absent => return None,
        })
    }
}
