//! Remote experts over real sockets, from the registry down: what goes to a provider, what comes back, and every way in
//! which a provider can fail.

use std::{sync::Arc, time::Duration};

use coterie::{
    chat::{ChatRequest, Chunk},
    config::{
        BreakerConfig, Capability, Delivery, DeliveryConfig, Dialect, ExpertConfig, ExpertKind,
        Prefill, RemoteConfig, RemotePlace, Retries, StreamRecovery, Timeouts,
    },
    expert::{Answer, AnswerStream, Answered, Attempt, Call, ExpertError, Experts},
    ids::ExpertId,
};
use futures_util::StreamExt;
use metrics_exporter_prometheus::PrometheusBuilder;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::support::upstream::{
    Hold, Reply, Upstream, close, delta, done, event, finish, raw, reset, role, silence, text,
    usage,
};

const KEY: &str = "sk-sesame";

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(60);

/// Runs out in a test that waits for it.
const SHORT: Duration = Duration::from_millis(50);

fn expert(id: &str, upstream: &Upstream) -> ExpertConfig {
    ExpertConfig {
        id: ExpertId::new(id),
        kind: ExpertKind::Remote(RemoteConfig {
            dialect: Dialect::Openai,
            model: "provider-model".into(),
            places: vec![RemotePlace {
                base_url: upstream.base_url(),
                api_key: Some(SecretString::from(KEY)),
            }],
        }),
        params_b: None,
        usd_in: None,
        usd_out: None,
        context_tokens: None,
        capabilities: vec![Capability::Chat],
        concurrent_max: Some(4),
        queue_max: 4,
        timeouts: Timeouts {
            connect: LONG,
            first_token: LONG,
            idle: LONG,
            total: LONG,
        },
        retries: Retries {
            max: 0,
            retry_after_max: Duration::ZERO,
            ..Retries::default()
        },
        breaker: BreakerConfig {
            failures: 1000,
            answers_min: 1000,
            ..BreakerConfig::default()
        },
        prefill: Prefill::None,
    }
}

/// The experts, asked in the order in which they are given.
fn open(configs: &[ExpertConfig]) -> Arc<Experts> {
    Experts::open(configs, &DeliveryConfig::default()).unwrap()
}

fn one(upstream: &Upstream) -> Arc<Experts> {
    open(&[expert("far", upstream)])
}

fn request(fields: Value) -> Arc<ChatRequest> {
    let mut body = json!({
        "model": "coterie",
        "messages": [{"role": "user", "content": "hi"}],
    });
    for (name, value) in fields.as_object().unwrap() {
        body[name] = value.clone();
    }
    Arc::new(ChatRequest::parse(body).unwrap())
}

fn plain() -> Arc<ChatRequest> {
    request(json!({}))
}

fn streamed() -> Arc<ChatRequest> {
    request(json!({"stream": true}))
}

async fn ask(
    experts: &Arc<Experts>,
    request: Arc<ChatRequest>,
) -> (Result<Answered, ExpertError>, Vec<Attempt>) {
    let order: Vec<_> = experts.ids().cloned().collect();
    let delivery = Delivery {
        stream_recovery: StreamRecovery::Error,
        ..Delivery::default()
    };
    let call = Call::new(request, Arc::new(delivery));
    let result = experts.answer(&order, &call).await;
    (result, call.attempts.snapshot().0)
}

async fn pieces(experts: &Arc<Experts>) -> AnswerStream {
    match ask(experts, streamed()).await.0.map(|it| it.answer) {
        Ok(Answer::Stream(pieces)) => pieces,
        Ok(Answer::Whole(completion)) => panic!("{completion:?}"),
        Err(error) => panic!("{error:?}"),
    }
}

async fn failure(experts: &Arc<Experts>, request: Arc<ChatRequest>) -> ExpertError {
    match ask(experts, request).await.0 {
        Ok(answered) => panic!("{} answered", answered.expert),
        Err(error) => error,
    }
}

/// The chunks of a healthy stream.
async fn chunks(experts: &Arc<Experts>) -> Vec<Chunk> {
    pieces(experts).await.map(Result::unwrap).collect().await
}

/// The text of a stream, and the error that ended it.
async fn text_and_error(experts: &Arc<Experts>) -> (String, Option<ExpertError>) {
    let mut pieces = pieces(experts).await;
    let mut text = String::new();
    while let Some(piece) = pieces.next().await {
        match piece {
            Ok(chunk) => text += chunk.text().unwrap_or_default(),
            Err(error) => {
                assert!(pieces.next().await.is_none(), "an error is the last item");
                return (text, Some(error));
            }
        }
    }
    (text, None)
}

fn kind((text, error): &(String, Option<ExpertError>)) -> (&str, Option<&'static str>) {
    (text, error.as_ref().map(ExpertError::kind))
}

#[tokio::test]
async fn a_plain_answer_passes_whole_both_ways_but_for_the_models_name() {
    let answer = json!({
        "id": "x",
        "model": "provider-model-2024",
        "choices": [{"message": {"content": "hi", "house": 1}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "house": {"cached": 1}},
        "house": [1],
    });
    let upstream = Upstream::always(Reply::json(answer.clone())).await;
    let experts = one(&upstream);
    let asked = request(json!({"temperature": 0.5, "house": {"a": [1, null]}}));

    let (answered, _) = ask(&experts, Arc::clone(&asked)).await;
    let Answer::Whole(completion) = answered.ok().unwrap().answer else {
        panic!("a stream")
    };
    let mut expected = answer;
    expected["model"] = "far".into();
    assert_eq!(Value::Object(completion.object()), expected);

    let sent = &upstream.requests()[0];
    let mut expected = Value::Object(asked.body.clone());
    expected["model"] = "provider-model".into();
    assert_eq!(sent.body, expected);
    assert_eq!(sent.path, "/v1/chat/completions");
    assert_eq!(sent.header("content-type"), Some("application/json"));
    assert!(sent.header("user-agent").unwrap().starts_with("coterie/"));
}

#[tokio::test]
async fn a_streamed_answer_passes_whole_both_ways_but_for_the_models_name() {
    let upstream = Upstream::always(Reply::stream([
        role(),
        delta(json!({"content": "hi", "house": 1})),
        finish("stop"),
        usage(3, 1),
        done(),
    ]))
    .await;
    let experts = one(&upstream);
    let asked = request(json!({"stream": true, "house": 1, "stream_options": {"house": 2}}));
    let (answered, _) = ask(&experts, asked).await;
    let Answer::Stream(pieces) = answered.ok().unwrap().answer else {
        panic!("a whole answer")
    };
    let chunks: Vec<_> = pieces.map(Result::unwrap).collect().await;
    let chunks: Vec<_> = chunks.into_iter().map(|chunk| chunk.object()).collect();

    assert_eq!(chunks.len(), 4);
    assert_eq!(chunks[1]["choices"][0]["delta"]["house"], 1);
    assert_eq!(chunks[3]["usage"]["total_tokens"], 4);
    for chunk in chunks {
        assert_eq!(chunk["model"], "far");
        assert_eq!(chunk["system_fingerprint"], "fp_upstream");
    }
    let sent = &upstream.requests()[0].body;
    assert_eq!(sent["house"], 1);
    assert_eq!(sent["stream"], true);
    assert_eq!(
        sent["stream_options"],
        json!({"house": 2, "include_usage": true})
    );
}

#[tokio::test]
async fn the_key_goes_to_the_provider_and_nowhere_else() {
    let upstream = Upstream::in_turn([Reply::answer(["hi"]), Reply::reset()]).await;
    let config = expert("far", &upstream);
    let experts = open(std::slice::from_ref(&config));
    ask(&experts, plain()).await.0.ok().unwrap();
    let error = failure(&experts, plain()).await;

    let bearer = format!("Bearer {KEY}");
    assert_eq!(
        upstream.requests()[0].header("authorization"),
        Some(bearer.as_str())
    );
    let printed = format!("{config:?} {error:?} {error}");
    assert!(!printed.contains("sesame"), "{printed}");
}

#[tokio::test]
async fn a_connection_is_used_for_one_stream_after_another() {
    let upstream = Upstream::always(Reply::answer(["a", "b"])).await;
    let experts = one(&upstream);
    for _ in 0..5 {
        assert_eq!(kind(&text_and_error(&experts).await), ("ab", None));
    }
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn tokens_come_as_they_are_sent() {
    let hold = Hold::new();
    let upstream = Upstream::always(Reply::stream([
        role(),
        text("a"),
        hold.wait(),
        text("b"),
        finish("stop"),
        done(),
    ]))
    .await;
    let experts = one(&upstream);
    let mut pieces = pieces(&experts).await;
    pieces.next().await.unwrap().unwrap();
    let first = pieces.next().await.unwrap().unwrap();
    assert_eq!(first.text(), Some("a"), "while the rest is held back");
    hold.release();
    let rest: Vec<_> = pieces.map(Result::unwrap).collect().await;
    assert_eq!(rest[0].text(), Some("b"));
}

#[tokio::test]
async fn a_failure_before_the_first_token_goes_to_the_next_expert() {
    let faults = [
        Reply::reset(),
        Reply::status(500, json!({"error": {"message": "oops"}})),
        Reply::status(429, json!({})),
        Reply::status(401, json!({})),
        Reply::stream([role(), close()]),
        Reply::stream([role(), reset()]),
        Reply::stream([role(), event(json!({"error": {"message": "no"}}))]),
        Reply::stream([]),
        Reply::json(json!({"error": {"message": "no"}})),
        Reply::bytes(200, "application/json", "<html>"),
    ];
    let kinds = [
        "unreachable",
        "failed",
        "rate_limited",
        "authentication",
        "broken",
        "broken",
        "failed",
        "broken",
        "failed",
        "broken",
    ];
    let faulty = Upstream::in_turn(faults).await;
    let healthy = Upstream::always(Reply::answer(["hi"])).await;
    let experts = open(&[expert("faulty", &faulty), expert("healthy", &healthy)]);
    for kind in kinds {
        let (answered, attempts) = ask(&experts, streamed()).await;
        assert_eq!(answered.ok().unwrap().expert.as_str(), "healthy");
        let tries: Vec<_> = attempts
            .iter()
            .map(|attempt| (attempt.expert.as_str(), attempt.error.as_deref()))
            .collect();
        assert_eq!(tries, [("faulty", Some(kind)), ("healthy", None)]);
        assert!(attempts.iter().all(|attempt| attempt.took.is_some()));
    }
}

#[tokio::test]
async fn nobody_listening_is_unreachable() {
    let gone = Upstream::always(Reply::silence()).await;
    let config = expert("far", &gone);
    drop(gone);
    let experts = open(&[config]);
    assert_eq!(failure(&experts, plain()).await.kind(), "unreachable");
}

/// An address where connections are never made: nobody takes them, and the few that may wait do already.
async fn never_connects() -> (url::Url, Vec<tokio::net::TcpStream>) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(connected) =
        tokio::time::timeout(4 * SHORT, tokio::net::TcpStream::connect(address)).await
    {
        waiting.push(connected.unwrap());
    }
    // Not closed: that would refuse connections instead.
    std::mem::forget(listener);
    (format!("http://{address}/v1").parse().unwrap(), waiting)
}

#[tokio::test]
async fn a_route_may_wait_less_long_for_a_connection() {
    let (base_url, _waiting) = never_connects().await;
    let answering = Upstream::always(Reply::answer(["hi"])).await;
    let mut config = expert("far", &answering);
    if let ExpertKind::Remote(remote) = &mut config.kind {
        remote.places[0].base_url = base_url;
    }
    let mut impatient = Delivery::default();
    impatient.timeouts.connect = Some(SHORT);
    let call = Call::new(plain(), Arc::new(impatient));
    let experts = open(&[config]);
    // The expert itself would wait for a minute.
    let error = experts.answer(&[ExpertId::new("far")], &call).await.err();
    assert_eq!(error.unwrap().kind(), "unreachable");
}

#[tokio::test]
async fn a_refusal_is_told_at_once_in_the_providers_words() {
    let body = json!({"error": {"message": "filtered", "code": "content_filter", "house": 1}});
    let strict = Upstream::always(Reply::status(400, body.clone())).await;
    let other = Upstream::always(Reply::answer(["hi"])).await;
    let experts = open(&[expert("strict", &strict), expert("other", &other)]);
    match failure(&experts, plain()).await {
        ExpertError::Refused {
            status, body: told, ..
        } => assert_eq!((status, told), (400, body)),
        error => panic!("{error:?}"),
    }
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn a_rate_limit_tells_when_to_come_back() {
    let limited = Reply::status(429, json!({})).header("Retry-After", "7");
    let upstream = Upstream::always(limited).await;
    let error = failure(&one(&upstream), plain()).await;
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Upstream::always(Reply::answer(["hi"])).await;
    let moved = Reply::status(307, json!({})).header("location", elsewhere.base_url().as_str());
    let upstream = Upstream::always(moved).await;
    let error = failure(&one(&upstream), plain()).await;
    assert!(error.to_string().contains("base_url"), "{error}");
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test]
async fn a_stream_that_breaks_off_says_so() {
    for (end, error) in [
        (vec![close()], "broken"),
        (vec![reset()], "broken"),
        (vec![], "broken"),
        (vec![done()], "broken"),
        (
            vec![event(json!({"error": {"message": "no luck"}}))],
            "failed",
        ),
        (vec![raw("event: error\ndata: overloaded\n\n")], "failed"),
    ] {
        let parts = [role(), text("a")].into_iter().chain(end);
        let upstream = Upstream::always(Reply::stream(parts)).await;
        let told = text_and_error(&one(&upstream)).await;
        assert_eq!(kind(&told), ("a", Some(error)));
    }
}

#[tokio::test]
async fn a_stream_is_complete_with_a_finish_reason() {
    for end in [
        vec![finish("stop")],
        vec![finish("stop"), close()],
        vec![finish("stop"), done(), close()],
        vec![finish("stop"), done(), silence()],
    ] {
        let parts = [role(), text("a")].into_iter().chain(end);
        let upstream = Upstream::always(Reply::stream(parts)).await;
        let told = text_and_error(&one(&upstream)).await;
        assert_eq!(kind(&told), ("a", None));
    }
}

#[test]
fn a_malformed_event_is_skipped_and_counted() {
    let parts = [
        role(),
        raw(": a comment\n\ndata: {\"choices\": [{\"del\n\n"),
        text("a"),
        raw("data: 7\n\n"),
        finish("stop"),
        done(),
    ];
    let recorder = PrometheusBuilder::new().build_recorder();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let told = metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let upstream = Upstream::always(Reply::stream(parts)).await;
            text_and_error(&one(&upstream)).await
        })
    });
    assert_eq!(kind(&told), ("a", None));
    let page = recorder.handle().render();
    for line in [
        r#"coterie_expert_malformed_events_total{expert="far"} 2"#,
        r#"coterie_expert_first_token_seconds_count{expert="far"} 1"#,
        r#"coterie_expert_active{expert="far"} 0"#,
    ] {
        assert!(page.contains(line), "no {line} in\n{page}");
    }
}

#[tokio::test]
async fn a_provider_that_does_not_stream_is_streamed() {
    let whole = json!({
        "id": "x",
        "choices": [{"message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1},
    });
    let upstream = Upstream::always(Reply::json(whole)).await;
    let chunks = chunks(&one(&upstream)).await;
    assert_eq!(chunks[0].text(), Some("hi"));
    assert_eq!(chunks[0].object()["model"], "far");
    assert!(chunks[1].only_counts());
}

#[tokio::test]
async fn silence_is_timed_out_wherever_it_begins() {
    let silent = Upstream::always(Reply::silence()).await;
    let mut config = expert("far", &silent);
    config.timeouts.first_token = SHORT;
    let error = failure(&open(&[config]), streamed()).await;
    assert!(matches!(error, ExpertError::TimedOut { waited } if waited == SHORT));
    silent.client_left().await;

    let mut config = expert("far", &silent);
    config.timeouts.total = SHORT;
    let error = failure(&open(&[config]), plain()).await;
    assert!(matches!(error, ExpertError::TimedOut { waited } if waited == SHORT));

    let stalling = Upstream::always(Reply::stream([role(), text("a"), silence()])).await;
    let mut config = expert("far", &stalling);
    config.timeouts.idle = SHORT;
    let told = text_and_error(&open(&[config])).await;
    assert_eq!(kind(&told), ("a", Some("timed_out")));
    stalling.client_left().await;
}

#[tokio::test]
async fn a_dropped_stream_closes_the_providers_connection() {
    let upstream = Upstream::always(Reply::stream([role(), text("a"), silence()])).await;
    let experts = one(&upstream);
    drop(pieces(&experts).await);
    upstream.client_left().await;
}

#[tokio::test]
async fn a_dropped_question_closes_the_providers_connection() {
    let upstream = Upstream::always(Reply::silence()).await;
    let experts = one(&upstream);
    tokio::select! {
        _ = ask(&experts, plain()) => panic!("silence answered"),
        () = upstream.asked(1) => {}
    }
    upstream.client_left().await;
}

#[tokio::test]
async fn a_full_queue_is_busy_until_an_answer_ends() {
    let hold = Hold::new();
    let slow = Reply::stream([text("a"), hold.wait(), finish("stop"), done()]);
    let upstream = Upstream::always(slow).await;
    let mut config = expert("far", &upstream);
    config.concurrent_max = Some(1);
    config.queue_max = 1;
    let experts = open(&[config]);

    let first = pieces(&experts).await;
    let mut second = Box::pin(pieces(&experts));
    assert!(futures_util::poll!(&mut second).is_pending());
    let error = failure(&experts, streamed()).await;
    assert!(matches!(error, ExpertError::Busy { retry_after, .. } if !retry_after.is_zero()));

    hold.release();
    assert_eq!(first.count().await, 2);
    hold.release();
    assert_eq!(second.await.count().await, 2);
    assert_eq!(upstream.requests().len(), 2, "what was busy was not sent");
}

#[tokio::test]
async fn embeddings_pass_whole_both_ways_but_for_the_models_name() {
    let answer =
        json!({"object": "list", "data": [{"embedding": [0.5]}], "model": "p", "house": 1});
    let upstream = Upstream::in_turn([
        Reply::json(answer.clone()),
        Reply::status(429, json!({})),
        Reply::json(json!({"object": "list"})),
    ])
    .await;
    let mut config = expert("far", &upstream);
    config.capabilities = vec![Capability::Embeddings];
    let experts = open(&[config, expert("chatty", &upstream)]);
    assert!(experts.embedder("chatty").is_none());
    let embedder = experts.embedder("far").unwrap();
    let body = json!({"model": "far", "input": ["a"], "house": 2});
    let body = body.as_object().unwrap();

    let mut expected = answer;
    expected["model"] = "far".into();
    let told = embedder.embed(body).await.unwrap();
    assert_eq!(Value::Object(told), expected);
    assert_eq!(
        upstream.requests()[0].body,
        json!({"model": "provider-model", "input": ["a"], "house": 2})
    );
    assert_eq!(upstream.requests()[0].path, "/v1/embeddings");
    for kind in ["rate_limited", "broken"] {
        let error = embedder.embed(body).await.unwrap_err();
        assert_eq!(error.kind(), kind);
    }
}
