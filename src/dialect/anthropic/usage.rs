//! Counts of tokens. Anthropic counts what was read from a cache and written to one beside the input tokens, chat
//! completions among the prompt tokens.

use serde_json::{Map, Value, json};

/// Anthropic's counts; all 0 where the expert counted nothing, because the dialect has no way to say that.
pub(super) fn from_chat(usage: Option<&Value>) -> Value {
    let count = |of: &str| usage.and_then(|usage| usage.pointer(of)?.as_u64());
    let read = count("/prompt_tokens_details/cached_tokens");
    let written = count("/prompt_tokens_details/cache_write_tokens");
    let prompt = count("/prompt_tokens").unwrap_or(0);
    let beside = read.unwrap_or(0) + written.unwrap_or(0);
    let mut counts = json!({
        "input_tokens": prompt.saturating_sub(beside),
        "output_tokens": count("/completion_tokens").unwrap_or(0),
    });
    for (name, tokens) in [
        ("cache_read_input_tokens", read),
        ("cache_creation_input_tokens", written),
    ] {
        if let Some(tokens) = tokens {
            counts[name] = tokens.into();
        }
    }
    if let Some(tokens) = count("/completion_tokens_details/reasoning_tokens") {
        counts["output_tokens_details"] = json!({"thinking_tokens": tokens});
    }
    counts
}

/// The counts of a stream so far: each event repeats those that it knows, and what it leaves out still holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts(Map<String, Value>);

impl Counts {
    /// Takes the counts of a `usage` object over.
    pub(super) fn saw(&mut self, usage: Option<&Value>) {
        let counts = usage.and_then(Value::as_object).into_iter().flatten();
        for (name, count) in counts.filter(|(_, count)| !count.is_null()) {
            self.0.insert(name.clone(), count.clone());
        }
    }

    /// Chat completions' counts; none where nothing was counted.
    pub(super) fn to_chat(&self) -> Option<Value> {
        let count = |name: &str| self.0.get(name).and_then(Value::as_u64);
        let (input, output) = (count("input_tokens")?, count("output_tokens")?);
        let read = count("cache_read_input_tokens").unwrap_or(0);
        let written = count("cache_creation_input_tokens").unwrap_or(0);
        let prompt = input + read + written;
        let mut usage = json!({
            "prompt_tokens": prompt,
            "completion_tokens": output,
            "total_tokens": prompt + output,
            "prompt_tokens_details": {"cached_tokens": read, "cache_write_tokens": written},
        });
        let thought = self
            .0
            .get("output_tokens_details")
            .and_then(|details| details.get("thinking_tokens")?.as_u64());
        if let Some(tokens) = thought {
            usage["completion_tokens_details"] = json!({"reasoning_tokens": tokens});
        }
        Some(usage)
    }
}
