//! Anthropic's Messages and OpenAI's Responses over real sockets: the path is that of chat completions, the shapes are
//! their own.

mod clients;
mod upstream;

use reqwest::Response;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::{
    coterie::Coterie,
    upstream::{Part, Reply, Upstream, close, delta, done, event, finish, reset, role, text},
};

const MESSAGES: &str = "/v1/messages";
const RESPONSES: &str = "/v1/responses";

async fn over(upstream: &Upstream, more: &str) -> Coterie {
    let yaml = format!(
        "experts: {{ only: {{ kind: remote, base_url: '{}', model: far, usd_in: 1, usd_out: 2 }} }}\n\
         mapping: {{ default: only }}\n{more}",
        upstream.base_url()
    );
    Coterie::serve(&yaml).await
}

async fn alone(reply: Reply) -> (Upstream, Coterie) {
    let upstream = Upstream::always(reply).await;
    let coterie = over(&upstream, "").await;
    (upstream, coterie)
}

/// Many experts behind one Coterie, called `e0`, `e1` and so on: each server opens a router, which takes its time.
async fn over_each(
    replies: impl IntoIterator<Item = Reply>,
    more: &str,
) -> (Vec<Upstream>, Coterie) {
    let (mut upstreams, mut yaml) = (Vec::new(), String::from("experts:\n"));
    for (at, reply) in replies.into_iter().enumerate() {
        let upstream = Upstream::always(reply).await;
        let base_url = upstream.base_url();
        yaml +=
            &format!("  e{at}: {{ kind: remote, base_url: '{base_url}', model: far, {more} }}\n");
        upstreams.push(upstream);
    }
    let coterie = Coterie::serve(&format!("{yaml}mapping: {{ default: e0 }}\n")).await;
    (upstreams, coterie)
}

/// The same question in both dialects.
fn questions(stream: bool) -> [(&'static str, Value); 2] {
    questions_of("only", stream)
}

fn questions_of(model: &str, stream: bool) -> [(&'static str, Value); 2] {
    let message = json!({"role": "user", "content": "Hi?"});
    [
        (
            MESSAGES,
            json!({"model": model, "max_tokens": 9, "system": "Be brief.", "messages": [message], "stream": stream}),
        ),
        (
            RESPONSES,
            json!({"model": model, "max_output_tokens": 9, "instructions": "Be brief.", "input": [message], "stream": stream}),
        ),
    ]
}

async fn asked(coterie: &Coterie, (path, body): &(&str, Value)) -> Response {
    coterie.post(path, body).send().await.unwrap()
}

/// The objects of a stream's events, each under the name that its object has.
async fn events(response: Response) -> Vec<Value> {
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let body = response.text().await.unwrap();
    let events = body.split_terminator("\n\n").map(|event| {
        let (name, data) = event.split_once('\n').unwrap();
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(
            name.strip_prefix("event: "),
            data["type"].as_str(),
            "{event}"
        );
        data
    });
    events.collect()
}

fn names(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_in_parts_is_told_in_every_dialect() {
    let parts =
        |text: &str| json!({"role": "assistant", "content": [{"type": "text", "text": text}]});
    let message = json!({"index": 0, "message": parts("in parts"), "finish_reason": "stop"});
    let whole = Reply::json(json!({"id": "a", "object": "chat.completion", "choices": [message]}));
    let streamed = [parts("in "), parts("parts")].map(delta);
    let streamed = Reply::stream(streamed.into_iter().chain([finish("stop"), done()]));
    let (_upstreams, coterie) = over_each([whole, streamed], "").await;
    for (model, stream) in [("e0", false), ("e1", true)] {
        let [messages, responses] = questions_of(model, stream);
        let chat = json!({"model": model, "stream": stream, "messages": messages.1["messages"]});
        let prompt = json!({"model": model, "stream": stream, "prompt": "Hi?"});
        for (path, body) in [
            messages,
            responses,
            ("/v1/chat/completions", chat),
            ("/v1/completions", prompt),
        ] {
            let told = asked(&coterie, &(path, body)).await.text().await.unwrap();
            let said = if stream { "\"in \"" } else { "in parts" };
            assert!(told.contains(said), "{path}: {told}");
        }
    }
    let record = coterie.stop().await;
    for outcome in record.all().await {
        assert_eq!(outcome.answer.as_deref(), Some("in parts"));
        assert_eq!(outcome.ending, "completed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_walks_the_path_of_chat_completions() {
    let (upstream, coterie) = alone(Reply::answer(["Hel", "lo."])).await;
    let mut ids = Vec::new();
    for (at, question) in questions(false).into_iter().enumerate() {
        let response = asked(&coterie, &question).await;
        assert_eq!(response.status(), 200);
        let headers = response.headers().clone();
        for header in ["outcome", "confidence", "expert", "router", "overhead-us"] {
            assert!(
                headers.contains_key(format!("x-coterie-{header}")),
                "{header}"
            );
        }
        let told: Value = response.json().await.unwrap();
        let said = told
            .pointer("/content/0/text")
            .or(told.pointer("/output/0/content/0/text"));
        assert_eq!(said, Some(&json!("Hello.")), "{told}");
        assert_eq!(told["model"], "only");
        let sent = &upstream.requests()[at];
        assert!(sent.path.ends_with("/chat/completions"));
        assert_eq!(
            sent.body["messages"],
            json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi?"}])
        );
        assert_eq!(
            (&sent.body["model"], &sent.body["max_completion_tokens"]),
            (&json!("far"), &json!(9))
        );
        ids.push(headers["x-coterie-outcome"].to_str().unwrap().to_owned());
    }
    let outcomes = coterie.stop().await.all().await;
    assert_eq!(outcomes.len(), 2);
    for outcome in outcomes {
        assert_eq!(outcome.ending, "completed");
        assert!(ids.contains(&outcome.id));
        assert_eq!(outcome.question.as_deref(), Some("Be brief.\nHi?"));
        assert_eq!(outcome.answer.as_deref(), Some("Hello."));
        let tokens = (outcome.prompt_tokens, outcome.completion_tokens);
        assert_eq!(tokens, (Some(7), Some(2)));
        assert!(outcome.cost_usd.is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_the_dialects_own_last_event() {
    let (_upstream, coterie) = alone(Reply::answer(["Hel", "lo."])).await;
    let lasts = ["message_stop", "response.completed"];
    for (question, last) in questions(true).iter().zip(lasts) {
        let events = events(asked(&coterie, question).await).await;
        assert_eq!(names(&events).last(), Some(&last));
    }
    for outcome in coterie.stop().await.all().await {
        let tokens = (outcome.prompt_tokens, outcome.completion_tokens);
        assert_eq!(
            (outcome.ending.as_str(), tokens),
            ("completed", (Some(7), Some(2)))
        );
    }
}

/// Ways in which a stream breaks off.
fn breaks() -> Vec<Vec<Part>> {
    let said = || vec![role(), text("Hel")];
    let with = |part| {
        let mut parts = said();
        parts.push(part);
        parts
    };
    let error = json!({"error": {"message": "overloaded", "type": "server_error"}});
    vec![
        with(close()),
        with(reset()),
        said(),
        with(done()),
        with(event(error)),
    ]
}

/// Asserts that a stream's events tell a client that the answer is not all there.
#[track_caller]
fn assert_unfinished(path: &str, events: &[Value]) {
    let names = names(events);
    let last = events.last().unwrap();
    if path == MESSAGES {
        assert_eq!(names.last(), Some(&"error"), "{names:?}");
        let ends = ["message_stop", "message_delta"];
        assert!(!names.iter().any(|name| ends.contains(name)), "{names:?}");
        assert_eq!(last["error"]["type"], "api_error");
    } else {
        assert_eq!(names.last(), Some(&"response.failed"), "{names:?}");
        assert!(!names.contains(&"response.completed"), "{names:?}");
        assert_eq!(last["response"]["status"], "failed");
        assert_eq!(last["response"]["output"][0]["status"], "incomplete");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_broke_off_never_looks_finished() {
    let breaks = breaks();
    let count = breaks.len();
    let (_upstreams, coterie) = over_each(breaks.into_iter().map(Reply::stream), "").await;
    for at in 0..count {
        for question in questions_of(&format!("e{at}"), true) {
            let response = asked(&coterie, &question).await;
            let id = response.headers()["x-coterie-outcome"].clone();
            let events = events(response).await;
            assert_unfinished(question.0, &events);
            if question.0 == MESSAGES {
                assert_eq!(id, events.last().unwrap()["request_id"].as_str().unwrap());
            }
        }
    }
    let outcomes = coterie.stop().await.all().await;
    assert_eq!(outcomes.len(), 2 * count);
    assert!(
        outcomes
            .iter()
            .all(|outcome| outcome.ending == "expert_failed"),
        "{outcomes:#?}"
    );
}

/// Path, status, word and field that must come, then the body that is sent.
const WRONG_REQUESTS: &str = r#"
/v1/messages 400 invalid_request_error max_tokens {"model": "only", "messages": [{"role": "user", "content": "hi"}]}
/v1/messages 400 invalid_request_error messages.0.content.0.text {"model": "only", "max_tokens": 5, "messages": [{"role": "user", "content": [{"type": "text"}]}]}
/v1/messages 400 invalid_request_error body [1]
/v1/messages 404 not_found_error model {"model": "nobody", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
/v1/responses 400 invalid_value input {"model": "only"}
/v1/responses 400 invalid_value tools[0].type {"model": "only", "input": "hi", "tools": [{"type": "web_search"}]}
/v1/responses 400 invalid_value previous_response_id {"model": "only", "input": "hi", "previous_response_id": "resp_1"}
/v1/responses 400 invalid_value body "hi"
/v1/responses 404 model_not_found model {"model": "nobody", "input": "hi"}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn wrong_requests_are_refused_in_the_dialects_own_shape() {
    let (upstream, coterie) = alone(Reply::answer(["never asked"])).await;
    for case in WRONG_REQUESTS.trim().lines() {
        let [path, status, word, field, body] = case.splitn(5, ' ').collect::<Vec<_>>()[..] else {
            panic!("a case has five parts: {case}");
        };
        let body: Value = serde_json::from_str(body).unwrap();
        let response = asked(&coterie, &(path, body)).await;
        assert_eq!(response.status().as_str(), status, "{case}");
        let told: Value = response.json().await.unwrap();
        let error = &told["error"];
        assert!(
            error["message"].as_str().unwrap().contains(field),
            "{case}: {told}"
        );
        if path == MESSAGES {
            assert_eq!(
                (&told["type"], &error["type"]),
                (&json!("error"), &json!(word)),
                "{case}"
            );
        } else {
            assert_eq!(
                (&error["code"], &error["param"]),
                (&json!(word), &json!(field)),
                "{case}"
            );
        }
    }
    assert!(upstream.requests().is_empty(), "nobody was asked");
    assert!(coterie.stop().await.all().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_refuses_under_anthropics_path_speaks_anthropics_dialect() {
    let (_upstream, coterie) = alone(Reply::answer(["never asked"])).await;
    let kind_of = async |response: Response, status: u16| {
        assert_eq!(response.status(), status);
        let told: Value = response.json().await.unwrap();
        assert_eq!(told["type"], "error", "{told}");
        told["error"]["type"].as_str().unwrap().to_owned()
    };
    let no_json = coterie.post(MESSAGES, &json!({})).body("{\"model\": ");
    assert_eq!(
        kind_of(no_json.send().await.unwrap(), 400).await,
        "invalid_request_error"
    );
    let headers = coterie
        .post(MESSAGES, &json!({}))
        .header("x-coterie-sticky", "perhaps");
    assert_eq!(
        kind_of(headers.send().await.unwrap(), 400).await,
        "invalid_request_error"
    );
    let get = coterie.get(MESSAGES).send().await.unwrap();
    assert_eq!(kind_of(get, 405).await, "invalid_request_error");
    let below = coterie
        .post("/v1/messages/count_tokens", &json!({}))
        .send()
        .await
        .unwrap();
    assert_eq!(kind_of(below, 404).await, "not_found_error");
    let long = json!({"model": "only", "max_tokens": 5, "messages": [{"role": "user", "content": "x".repeat(9 << 20)}]});
    let long = coterie.post(MESSAGES, &long).send().await.unwrap();
    assert_eq!(kind_of(long, 413).await, "request_too_large");
    let beside = coterie
        .post("/v1/messages-of-others", &json!({}))
        .send()
        .await
        .unwrap();
    let told: Value = beside.json().await.unwrap();
    assert_eq!(
        told["error"]["code"], "unknown_url",
        "another path is not Anthropic's"
    );
    coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_expert_names_the_dialects_field() {
    let yaml = "experts: { only: { kind: local, model: models/smollm2-135m-instruct } }\nmapping: { default: only }\n";
    let coterie = Coterie::serve(yaml).await;
    let format = json!({"format": {"type": "json_schema", "name": "a", "schema": {}}});
    let body = json!({"model": "only", "input": "hi", "text": format});
    let told = coterie.told(RESPONSES, &body).await;
    assert_eq!(
        (&told["error"]["code"], &told["error"]["param"]),
        (&json!("unsupported_value"), &json!("text.format")),
        "{told}"
    );
    let body = json!({"model": "only", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}], "output_config": format});
    let told = coterie.told(MESSAGES, &body).await;
    let said = told["error"]["message"].as_str().unwrap();
    assert!(said.starts_with("output_config.format: "), "{told}");
    coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_and_a_limit_of_the_provider_are_told_in_the_dialect() {
    let refusal = json!({"error": {"message": "filtered", "type": "policy", "param": null, "code": "content_filter"}});
    let replies = [
        Reply::status(400, refusal.clone()),
        Reply::status(429, json!({})).header("retry-after", "7"),
    ];
    let (_upstreams, coterie) = over_each(replies, "").await;
    for question in questions_of("e0", true) {
        let response = asked(&coterie, &question).await;
        assert_eq!(response.status(), 400);
        assert!(response.headers().contains_key("x-coterie-outcome"));
        let told: Value = response.json().await.unwrap();
        assert_eq!(told["error"]["message"], "filtered");
        if question.0 == MESSAGES {
            assert_eq!(told["error"]["type"], "invalid_request_error");
            assert_eq!(told["error"]["details"]["error_code"], "content_filter");
            assert!(told["request_id"].is_string());
        } else {
            assert_eq!(told, refusal);
        }
    }
    for question in questions_of("e1", true) {
        let response = asked(&coterie, &question).await;
        assert_eq!(response.status(), 429);
        let wait = response.headers()["retry-after"].to_str().unwrap();
        assert!((1..=7).contains(&wait.parse().unwrap()), "{wait}");
    }
    coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_may_come_in_anthropics_header() {
    let upstream = Upstream::always(Reply::answer(["Hello."])).await;
    let coterie = over(&upstream, &keyed()).await;
    let (path, body) = &questions(false)[0];
    for (header, key, status) in [
        ("x-api-key", "open sesame", 200),
        ("authorization", "Bearer open sesame", 200),
        ("x-api-key", "sesame", 401),
        ("x-other", "open sesame", 401),
    ] {
        let response = coterie
            .post(path, body)
            .header(header, key)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), status, "{header}: {key}");
        let told: Value = response.json().await.unwrap();
        assert!(
            status == 200 || told["error"]["type"] == "authentication_error",
            "{told}"
        );
    }
    assert!(
        upstream
            .requests()
            .iter()
            .all(|sent| sent.header("x-api-key").is_none())
    );
    assert!(
        coterie
            .stop()
            .await
            .all()
            .await
            .iter()
            .all(|outcome| outcome.key_name.as_deref() == Some("team-a"))
    );
}

fn keyed() -> String {
    let sha256 = hex::encode(Sha256::digest(b"open sesame"));
    format!("server: {{ listen: '127.0.0.1:0', keys: [{{ name: team-a, sha256: {sha256} }}] }}\n")
}
