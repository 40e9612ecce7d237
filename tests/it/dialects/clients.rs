//! The official Python clients of both dialects, as a user's program would use them.

use std::{path::Path, process::Command};

use serde_json::{Value, json};

use super::keyed;
use crate::support::{
    coterie::Coterie,
    upstream::{Reply, Upstream, close, delta, done, finish, role, text, usage},
};

fn call(index: u64, id: &str, name: &str, arguments: &str) -> Value {
    json!({"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": arguments}})
}

fn whole(message: &Value, reason: &str) -> Reply {
    Reply::json(json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "far",
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
    }))
}

/// What the experts of the script do, by their names.
fn scripted() -> [(&'static str, Reply); 7] {
    let bonn = r#"{"city":"Bonn"}"#;
    let called = json!({"role": "assistant", "content": "I look.", "tool_calls": [call(0, "c1", "weather", bonn)]});
    let refusal = json!({"error": {"message": "filtered", "type": "policy", "param": null, "code": "content_filter"}});
    let pieces = bonn.split_inclusive(':').map(|piece| {
        delta(json!({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}))
    });
    let streamed = [
        role(),
        text("I look."),
        delta(json!({"tool_calls": [call(0, "c1", "weather", "")]})),
    ]
    .into_iter()
    .chain(pieces)
    .chain([
        delta(json!({"tool_calls": [call(1, "c2", "now", "")]})),
        finish("tool_calls"),
        usage(7, 2),
        done(),
    ]);
    [
        ("text", Reply::answer(["Hel", "lo."])),
        ("tools", whole(&called, "tool_calls")),
        ("tools-streamed", Reply::stream(streamed)),
        ("cut", Reply::stream([role(), text("Hel"), close()])),
        ("refuses", Reply::status(400, refusal)),
        (
            "limited",
            Reply::status(429, json!({})).header("retry-after", "7"),
        ),
        (
            "long",
            whole(&json!({"role": "assistant", "content": "Hel"}), "length"),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "tests may read the environment")]
async fn the_official_clients_of_both_dialects_work_as_they_stand() {
    let python = std::env::var("COTERIE_TEST_PYTHON").expect(
        "COTERIE_TEST_PYTHON names a Python with `anthropic` and `openai`; scripts/test sets it",
    );
    let (mut upstreams, mut yaml) = (Vec::new(), String::from("experts:\n"));
    for (name, reply) in scripted() {
        let upstream = Upstream::always(reply).await;
        let expert = format!(
            "kind: remote, base_url: '{}', model: far, capabilities: [chat, tools, images]",
            upstream.base_url()
        );
        yaml += &format!("  {name}: {{ {expert} }}\n");
        upstreams.push(upstream);
    }
    let coterie = Coterie::serve(&format!("{yaml}mapping: {{ default: text }}\n{}", keyed())).await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/sdk/dialects.py");
    let base = coterie.url("");
    let driven = tokio::task::spawn_blocking(move || {
        Command::new(python)
            .arg(script)
            .args([base.as_str(), "open sesame"])
            .output()
    });
    let driven = driven.await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&driven.stdout);
    assert!(
        driven.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&driven.stderr)
    );
    assert!(said.contains("ok 16 at once"), "{said}");
    coterie.stop().await;
}
