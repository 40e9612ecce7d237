//! Experts that speak Anthropic's dialect.

use serde_json::{Value, json};

use super::{asked, events, names, over_each, questions};
use crate::support::{
    coterie::Coterie,
    upstream::{Part, Reply, Upstream, close, raw, reset},
};

/// A Coterie whose one expert speaks Anthropic's dialect.
async fn over_anthropic(reply: Reply) -> (Upstream, Coterie) {
    let upstream = Upstream::always(reply).await;
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "sk-sesame").unwrap();
    let yaml = format!(
        "experts: {{ only: {{ kind: remote, dialect: anthropic, base_url: '{}', model: claude, usd_in: 1, usd_out: 2,\n\
         \x20                api_key: {{ file: '{}' }} }} }}\n\
         mapping: {{ default: only }}\n",
        upstream.base_url(),
        key.display()
    );
    (upstream, Coterie::serve(&yaml).await)
}

fn named(name: &str, mut object: Value) -> Part {
    object["type"] = name.into();
    raw(format!("event: {name}\ndata: {object}\n\n"))
}

/// The events of a Message up to its last words.
fn message_events() -> Vec<Part> {
    let usage = json!({"input_tokens": 5, "cache_read_input_tokens": 2, "output_tokens": 1});
    let message = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": [], "usage": usage});
    let text = |text: &str| json!({"index": 0, "delta": {"type": "text_delta", "text": text}});
    vec![
        named("message_start", json!({"message": message})),
        named("ping", json!({})),
        named(
            "content_block_start",
            json!({"index": 0, "content_block": {"type": "text", "text": ""}}),
        ),
        named("content_block_delta", text("Hel")),
        named("content_block_delta", text("lo.")),
    ]
}

fn message_end() -> Vec<Part> {
    let ended = json!({"delta": {"stop_reason": "end_turn", "stop_sequence": null}, "usage": {"output_tokens": 2}});
    vec![
        named("content_block_stop", json!({"index": 0})),
        named("message_delta", ended),
        named("message_stop", json!({})),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expert_that_speaks_anthropics_dialect_is_asked_and_read_in_it() {
    let message = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude",
        "content": [{"type": "text", "text": "Hello."}, {"type": "tool_use", "id": "t1", "name": "now", "input": {}}],
        "stop_reason": "tool_use", "stop_sequence": null,
        "usage": {"input_tokens": 5, "cache_read_input_tokens": 2, "output_tokens": 2},
    });
    let (upstream, coterie) = over_anthropic(Reply::json(message)).await;
    let body = json!({
        "model": "only", "max_tokens": 9, "stop": "END",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi?"}],
        "tools": [{"type": "function", "function": {"name": "now", "parameters": {"type": "object"}}}],
    });
    let told = coterie.told("/v1/chat/completions", &body).await;
    assert_eq!(told["model"], "only");
    let choice = &told["choices"][0];
    assert_eq!(
        (&choice["message"]["content"], &choice["finish_reason"]),
        (&json!("Hello."), &json!("tool_calls"))
    );
    assert_eq!(
        choice["message"]["tool_calls"][0]["function"],
        json!({"name": "now", "arguments": "{}"})
    );
    assert_eq!(told["usage"]["prompt_tokens"], 7);
    let sent = &upstream.requests()[0];
    assert_eq!(sent.path, "/v1/messages");
    assert_eq!(sent.header("x-api-key"), Some("sk-sesame"));
    assert_eq!(sent.header("anthropic-version"), Some("2023-06-01"));
    assert_eq!(sent.header("authorization"), None);
    let expected = json!({
        "model": "claude", "max_tokens": 9, "system": "Be brief.", "stop_sequences": ["END"],
        "messages": [{"role": "user", "content": "Hi?"}],
        "tools": [{"name": "now", "input_schema": {"type": "object"}}],
    });
    assert_eq!(sent.body, expected);
    let outcome = coterie.stop().await.only().await;
    assert_eq!(
        (outcome.prompt_tokens, outcome.completion_tokens),
        (Some(7), Some(2))
    );
    assert!(outcome.cost_usd.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_in_anthropics_dialect_is_a_stream_in_every_dialect() {
    let parts = [message_events(), message_end()].concat();
    let (upstream, coterie) = over_anthropic(Reply::stream(parts)).await;
    let chat = coterie
        .ask_streamed("only", "Hi?")
        .await
        .text()
        .await
        .unwrap();
    assert!(chat.ends_with("data: [DONE]\n\n"), "{chat}");
    let [messages, responses] = questions(true);
    let events_of_message = events(asked(&coterie, &messages).await).await;
    assert_eq!(
        names(&events_of_message),
        [
            "message_start",
            "ping",
            "content_block_start",
            "content_block_delta",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop",
        ]
    );
    let events_of_response = events(asked(&coterie, &responses).await).await;
    assert_eq!(
        names(&events_of_response).last(),
        Some(&"response.completed")
    );
    assert!(
        upstream
            .requests()
            .iter()
            .all(|sent| sent.body["stream"] == true)
    );
    for outcome in coterie.stop().await.all().await {
        assert_eq!(
            (outcome.ending.as_str(), outcome.answer.as_deref()),
            ("completed", Some("Hello."))
        );
        assert_eq!(
            (outcome.prompt_tokens, outcome.completion_tokens),
            (Some(7), Some(2))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_in_anthropics_dialect_that_broke_off_never_looks_finished() {
    let error = json!({"error": {"type": "overloaded_error", "message": "Overloaded"}});
    let ends = [
        close(),
        reset(),
        named("error", error),
        // Without a reason to stop.
        named("message_stop", json!({})),
    ];
    let replies = ends
        .clone()
        .map(|end| Reply::stream([message_events(), vec![end]].concat()));
    let (_upstreams, coterie) = over_each(replies, "dialect: anthropic").await;
    for at in 0..ends.len() {
        let chat = coterie.ask_streamed(&format!("e{at}"), "Hi?").await;
        let chat = chat.text().await.unwrap();
        assert!(
            !chat.contains("[DONE]") && chat.contains("\"error\""),
            "{at}: {chat}"
        );
    }
    for outcome in coterie.stop().await.all().await {
        assert_eq!(outcome.ending, "expert_failed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_anthropics_dialect_cannot_say_and_what_it_refuses_is_told_by_field() {
    let refusal = json!({"type": "error", "error": {"type": "invalid_request_error", "message": "no"}, "request_id": "r"});
    let (upstream, coterie) = over_anthropic(Reply::status(400, refusal)).await;
    let mut body = json!({"model": "only", "messages": [{"role": "user", "content": "Hi?"}], "frequency_penalty": 1});
    let told = coterie.told("/v1/chat/completions", &body).await;
    assert_eq!(
        (&told["error"]["code"], &told["error"]["param"]),
        (&json!("unsupported_value"), &json!("frequency_penalty"))
    );
    assert!(upstream.requests().is_empty());
    body["frequency_penalty"] = 0.into();
    let response = coterie
        .post("/v1/chat/completions", &body)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 400);
    let told: Value = response.json().await.unwrap();
    let expected =
        json!({"message": "no", "type": "invalid_request_error", "param": null, "code": null});
    assert_eq!(told, json!({"error": expected}));
    coterie.stop().await;
}
