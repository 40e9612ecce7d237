//! The `content` of an answer: a text, or, as some providers send it, a list of parts of which some are texts.

use std::borrow::Cow;

use serde_json::Value;

/// The text of a content, or of a piece of one: of a list its text parts, one after the other.
pub(crate) fn text_of(content: &Value) -> Cow<'_, str> {
    match content {
        Value::String(text) => text.into(),
        Value::Array(parts) => parts
            .iter()
            .filter_map(part_text)
            .collect::<String>()
            .into(),
        _ => "".into(),
    }
}

/// Whether a content is there and says anything but text.
pub(crate) fn has_more_than_text(content: &Value) -> bool {
    match content {
        Value::Null | Value::String(_) => false,
        Value::Array(parts) => parts.iter().any(|part| part_text(part).is_none()),
        _ => true,
    }
}

fn part_text(part: &Value) -> Option<&str> {
    let kind = part.get("type")?.as_str()?;
    matches!(kind, "text" | "output_text").then(|| part.get("text")?.as_str())?
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_are_read_wherever_they_are() {
        let part = |text: &str| json!({"type": "text", "text": text});
        let picture = json!({"type": "image_url", "image_url": {"url": "data:"}});
        for (content, text, has_more) in [
            (json!("a"), "a", false),
            (json!(null), "", false),
            (json!([]), "", false),
            (json!([part("a"), part(" b")]), "a b", false),
            (json!([{"type": "output_text", "text": "a"}]), "a", false),
            (json!([part("a"), picture, part("b")]), "ab", true),
            (json!(["a"]), "", true),
            (json!([{"type": "text"}]), "", true),
            (json!({"text": "a"}), "", true),
        ] {
            assert_eq!(
                (text_of(&content).as_ref(), has_more_than_text(&content)),
                (text, has_more),
                "{content}"
            );
        }
    }
}
