//! Every question that got a decision leaves exactly one outcome, whatever ends it.

use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::support::{
    coterie::{Coterie, chat},
    upstream::{Hold, Reply, Upstream, close, done, event, finish, role, silence, text, usage},
};

/// Two experts, the second the first one's fallback for coding; short clocks where a test waits for them.
fn pair(first: &Upstream, second: &Upstream) -> String {
    format!(
        "experts:\n\
         \x20 first: {{ kind: remote, base_url: '{}', model: one, usd_in: 1, usd_out: 2,\n\
         \x20            timeouts: {{ first_token: 300ms, idle: 300ms, total: 20s }} }}\n\
         \x20 second: {{ kind: remote, base_url: '{}', model: two }}\n\
         mapping: {{ default: first, coding: {{ expert: first, fallbacks: [second] }} }}\n",
        first.base_url(),
        second.base_url()
    )
}

/// A column that holds a JSON list.
fn list(column: &str) -> Vec<Value> {
    serde_json::from_str(column).unwrap()
}

async fn alone(reply: Reply) -> (Upstream, Coterie) {
    let upstream = Upstream::always(reply).await;
    let coterie = Coterie::serve(&pair(&upstream, &upstream)).await;
    (upstream, coterie)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_answer_is_completed_with_its_tokens_and_cost() {
    let (_upstream, coterie) = alone(Reply::answer(["Hello", " there"])).await;
    let response = coterie.ask("first", "Hi?").await;
    assert_eq!(response.status(), 200);
    let id = response.headers()["x-coterie-outcome"]
        .to_str()
        .unwrap()
        .to_owned();
    response.bytes().await.unwrap();
    let outcome = coterie.stop().await.only().await;
    assert_eq!(
        (outcome.id.as_str(), outcome.ending.as_str()),
        (id.as_str(), "completed")
    );
    assert_eq!(outcome.answered_by.as_deref(), Some("first"));
    let (read, written) = (
        outcome.prompt_tokens.unwrap(),
        outcome.completion_tokens.unwrap(),
    );
    assert!(read > 0 && written > 0);
    let usd = (read as f64 + 2.0 * written as f64) / 1e6;
    assert!((outcome.cost_usd.unwrap() - usd).abs() < 1e-12);
    assert_eq!(outcome.question.as_deref(), Some("Hi?"));
    assert_eq!(outcome.answer.as_deref(), Some("Hello there"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_answer_is_completed() {
    let (_upstream, coterie) = alone(Reply::answer(["Hello", " there"])).await;
    let body = coterie
        .ask_streamed("coterie", "Write a Python function that adds two numbers.")
        .await;
    assert!(body.text().await.unwrap().ends_with("data: [DONE]\n\n"));
    let outcome = coterie.stop().await.only().await;
    assert_eq!(outcome.ending, "completed");
    assert_eq!(outcome.category.as_deref(), Some("coding"));
    assert!(outcome.first_token_us.is_some() && outcome.prompt_tokens.is_some());
    assert_eq!(outcome.propensity, Some(1.0));
    assert_eq!(
        list(&outcome.scores).len(),
        13,
        "the scores of every category are kept"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_in_mid_stream_is_recorded_and_its_expert_is_told() {
    let hold = Hold::new();
    let reply = Reply::stream([
        role(),
        text("Hel"),
        hold.wait(),
        text("lo"),
        finish("stop"),
        done(),
    ]);
    let (upstream, coterie) = alone(reply).await;
    let mut body = coterie.ask_streamed("second", "Hi?").await.bytes_stream();
    body.next().await.unwrap().unwrap();
    drop(body);
    upstream.client_left().await;
    let outcome = coterie.stop().await.only().await;
    assert_eq!(outcome.ending, "client_left");
    assert!(outcome.first_token_us.is_some());
    assert_eq!(outcome.completion_tokens, None, "nobody counted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_before_the_answer_is_recorded() {
    let (upstream, coterie) = alone(Reply::silence()).await;
    {
        let asking = coterie
            .post("/v1/chat/completions", &chat("second", "Hi?", false))
            .send();
        tokio::select! {
            _ = asking => panic!("nothing answers"),
            () = upstream.asked(1) => {}
        }
        // Here the request is dropped, and its connection closes.
    }
    upstream.client_left().await;
    let outcome = coterie.stop().await.only().await;
    assert_eq!(outcome.ending, "client_left");
    assert_eq!(outcome.first_token_us, None);
    assert_eq!(list(&outcome.attempts).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expert_that_fails_is_recorded_and_told() {
    let (_upstream, coterie) =
        alone(Reply::status(500, json!({"error": {"message": "on fire"}}))).await;
    let response = coterie.ask("first", "Hi?").await;
    assert_eq!(response.status(), 502);
    assert!(response.headers().contains_key("x-coterie-outcome"));
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["error"]["code"], "expert_failed");
    let outcome = coterie.stop().await.only().await;
    assert_eq!(
        (outcome.ending.as_str(), outcome.error.as_deref()),
        ("expert_failed", Some("failed"))
    );
    assert_eq!(outcome.answered_by, None);
    assert_eq!(outcome.cost_usd, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_off_never_looks_finished() {
    let (_upstream, coterie) = alone(Reply::stream([role(), text("Hel"), close()])).await;
    let body = coterie
        .ask_streamed("first", "Hi?")
        .await
        .text()
        .await
        .unwrap();
    assert!(
        body.contains("Hel") && body.contains(r#""error""#),
        "{body}"
    );
    assert!(!body.contains("[DONE]"), "{body}");
    let outcome = coterie.stop().await.only().await;
    assert_eq!(
        (outcome.ending.as_str(), outcome.error.as_deref()),
        ("expert_failed", Some("broken"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expert_that_never_begins_is_timed_out() {
    let (_upstream, coterie) = alone(Reply::silence()).await;
    let response = coterie.ask_streamed("first", "Hi?").await;
    assert_eq!(response.status(), 504);
    let outcome = coterie.stop().await.only().await;
    assert_eq!(
        (outcome.ending.as_str(), outcome.error.as_deref()),
        ("timed_out", Some("timed_out"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expert_that_falls_silent_is_timed_out() {
    let (_upstream, coterie) = alone(Reply::stream([role(), text("Hel"), silence()])).await;
    let body = coterie
        .ask_streamed("first", "Hi?")
        .await
        .text()
        .await
        .unwrap();
    assert!(
        body.contains("expert_timeout") && !body.contains("[DONE]"),
        "{body}"
    );
    assert_eq!(coterie.stop().await.only().await.ending, "timed_out");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_answer_that_falls_silent_is_not_waited_for_to_the_end_of_all_time() {
    let (_upstream, coterie) = alone(Reply::stream([role(), text("Hel"), silence()])).await;
    let response = coterie.ask("first", "Hi?").await;
    assert_eq!(response.status(), 504);
    let told = response.text().await.unwrap();
    assert!(told.contains("300ms"), "not the 20 s of the whole: {told}");
    assert_eq!(coterie.stop().await.only().await.ending, "timed_out");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fallback_answers_unseen_and_both_attempts_are_kept() {
    let first = Upstream::always(Reply::status(401, json!({}))).await;
    let second = Upstream::always(Reply::answer(["fine"])).await;
    let coterie = Coterie::serve(&pair(&first, &second)).await;
    let response = coterie.ask("coterie/coding", "Sort a list.").await;
    assert_eq!(response.headers()["x-coterie-expert"], "second");
    let body: Value = response.json().await.unwrap();
    assert_eq!(
        (&body["model"], &body["choices"][0]["message"]["content"]),
        (&json!("second"), &json!("fine"))
    );
    let outcome = coterie.stop().await.only().await;
    assert_eq!(
        (outcome.expert.as_str(), outcome.answered_by.as_deref()),
        ("first", Some("second"))
    );
    let attempts = list(&outcome.attempts);
    assert_eq!(attempts.len(), 2);
    assert_eq!(
        (&attempts[0]["expert"], &attempts[0]["error"]),
        (&json!("first"), &json!("authentication"))
    );
    assert_eq!(
        (&attempts[1]["expert"], &attempts[1]["error"]),
        (&json!("second"), &json!(null))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_lets_an_answer_finish() {
    let hold = Hold::new();
    let parts = [
        role(),
        text("Hel"),
        hold.wait(),
        text("lo"),
        finish("stop"),
        usage(3, 2),
        done(),
    ];
    let (_upstream, coterie) = alone(Reply::stream(parts)).await;
    let mut body = coterie.ask_streamed("second", "Hi?").await.bytes_stream();
    body.next().await.unwrap().unwrap();
    let stopping = coterie.begin_stop();
    hold.release();
    let mut rest = Vec::new();
    while let Some(bytes) = body.next().await {
        rest.extend_from_slice(&bytes.unwrap());
    }
    assert!(rest.ends_with(b"data: [DONE]\n\n"));
    assert_eq!(stopping.ended().await.only().await.ending, "completed");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_an_answer_finishes_a_balancer_and_new_questions_hear_of_the_shutdown() {
    let hold = Hold::new();
    let parts = [role(), text("Hel"), hold.wait(), finish("stop"), done()];
    let (upstream, coterie) = alone(Reply::stream(parts)).await;
    let mut body = coterie.ask_streamed("second", "Hi?").await.bytes_stream();
    body.next().await.unwrap().unwrap();
    let ready = coterie.get("/readyz");
    let question = |path: &str, body: &Value| coterie.post(path, body);
    let chat = question("/v1/chat/completions", &chat("second", "Hi?", false));
    let route = question("/v1/route", &json!({"text": "Hi?"}));
    let feedback = question("/v1/feedback", &json!({"id": "nobody", "score": 1}));
    let stopping = coterie.begin_stop();
    loop {
        let response = match ready.try_clone().unwrap().send().await {
            Ok(response) => response,
            // An idle connection was closed just now.
            Err(error) if !error.is_connect() => continue,
            Err(error) => panic!("nobody answers: {error}"),
        };
        let status = response.status();
        let told: Value = response.json().await.unwrap();
        assert_eq!(told["ready"], status == 200);
        if status == 503 {
            break;
        }
    }
    for refused in [chat, route] {
        let response = refused.send().await.unwrap();
        assert_eq!(response.status(), 503);
        assert!(response.headers().contains_key("retry-after"));
        let told: Value = response.json().await.unwrap();
        assert_eq!(told["error"]["code"], "shutting_down");
    }
    assert_eq!(feedback.send().await.unwrap().status(), 404, "it is taken");
    assert_eq!(upstream.requests().len(), 1);
    hold.release();
    while let Some(bytes) = body.next().await {
        bytes.unwrap();
    }
    assert_eq!(stopping.ended().await.only().await.ending, "completed");
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_ends_an_answer_that_outlives_the_grace() {
    let hold = Hold::new();
    let upstream =
        Upstream::always(Reply::stream([role(), text("Hel"), hold.wait(), done()])).await;
    let yaml = format!(
        "{}server: {{ listen: '127.0.0.1:0', grace: 200ms }}\n",
        pair(&upstream, &upstream)
    );
    let coterie = Coterie::serve(&yaml).await;
    let body = coterie.ask_streamed("second", "Hi?").await;
    let stopping = coterie.begin_stop();
    let text = body.text().await.unwrap();
    assert!(
        text.contains("shutting_down") && !text.contains("[DONE]"),
        "{text}"
    );
    assert_eq!(stopping.ended().await.only().await.ending, "shutdown");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_without_a_decision_leaves_no_outcome() {
    let (_upstream, coterie) = alone(Reply::answer(["Hello"])).await;
    assert_eq!(coterie.ask("nobody", "Hi?").await.status(), 404);
    let routed = coterie
        .post("/v1/route", &json!({"text": "Hi?"}))
        .send()
        .await
        .unwrap();
    assert_eq!(routed.status(), 200);
    assert!(coterie.stop().await.all().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_choices_is_not_the_whole_answer() {
    let choice = |index: u32, delta: Value, reason: Value| {
        event(json!({"choices": [{"index": index, "delta": delta, "finish_reason": reason}]}))
    };
    let parts = [
        choice(0, json!({"content": "A"}), Value::Null),
        choice(1, json!({"content": "B"}), Value::Null),
        choice(0, json!({}), json!("stop")),
        choice(1, json!({"content": "half of"}), Value::Null),
        close(),
    ];
    let (_upstream, coterie) = alone(Reply::stream(parts)).await;
    let mut two = chat("second", "Hi?", true);
    two["n"] = json!(2);
    let response = coterie
        .post("/v1/chat/completions", &two)
        .send()
        .await
        .unwrap();
    let body = response.text().await.unwrap();
    assert!(
        body.contains("expert_broken") && !body.contains("[DONE]"),
        "{body}"
    );
    let outcome = coterie.stop().await.only().await;
    assert_eq!(
        (outcome.ending.as_str(), outcome.answer.as_deref()),
        ("expert_failed", Some("A"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_provider_does_behind_a_complete_answer_does_not_spoil_it() {
    let error = || event(json!({"error": {"message": "too late"}}));
    for untidy in [
        vec![silence()],
        vec![error(), close()],
        vec![close()],
        vec![done()],
        vec![],
    ] {
        let parts = [role(), text("Hello"), finish("stop")]
            .into_iter()
            .chain(untidy);
        let (_upstream, coterie) = alone(Reply::stream(parts)).await;
        let body = coterie
            .ask_streamed("first", "Hi?")
            .await
            .text()
            .await
            .unwrap();
        assert!(
            body.ends_with("data: [DONE]\n\n") && !body.contains("error"),
            "{body}"
        );
        let outcome = coterie.stop().await.only().await;
        assert_eq!(
            (outcome.ending.as_str(), outcome.error),
            ("completed", None)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_choices_is_none() {
    let (_upstream, coterie) = alone(Reply::json(
        json!({"object": "chat.completion", "choices": []}),
    ))
    .await;
    let response = coterie.ask("first", "Hi?").await;
    assert_eq!(response.status(), 502);
    assert_eq!(
        coterie.stop().await.only().await.error.as_deref(),
        Some("broken")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_waits_when_the_server_stops_is_told_so() {
    let upstream = Upstream::always(Reply::silence()).await;
    let yaml = format!(
        "{}server: {{ listen: '127.0.0.1:0', grace: 200ms }}\n",
        pair(&upstream, &upstream)
    );
    let coterie = Coterie::serve(&yaml).await;
    let asking = coterie
        .post("/v1/chat/completions", &chat("second", "Hi?", false))
        .send();
    let (response, outcome) = tokio::join!(asking, async {
        upstream.asked(1).await;
        coterie.stop().await.only().await
    });
    let response = response.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["x-coterie-outcome"], outcome.id);
    assert_eq!(
        response.json::<Value>().await.unwrap()["error"]["code"],
        "shutting_down"
    );
    assert_eq!(outcome.ending, "shutdown");
}
