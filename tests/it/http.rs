//! What clients see: errors in OpenAI's shape, keys, pass-through, and our own endpoints.

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::{
    coterie::{Coterie, chat},
    upstream::{Reply, Upstream},
};

const QUESTION: &str = "Write a Python function that adds two numbers.";

async fn coterie_over(upstream: &Upstream, more: &str) -> Coterie {
    let yaml = format!(
        "experts:\n\
         \x20 only: {{ kind: remote, base_url: '{0}', model: far }}\n\
         \x20 vectors: {{ kind: remote, base_url: '{0}', model: far-vectors, capabilities: [embeddings] }}\n\
         mapping: {{ default: only }}\n{more}",
        upstream.base_url()
    );
    Coterie::serve(&yaml).await
}

async fn over(reply: Reply) -> (Upstream, Coterie) {
    let upstream = Upstream::always(reply).await;
    let coterie = coterie_over(&upstream, "").await;
    (upstream, coterie)
}

async fn code_of(response: Response) -> Value {
    response.json::<Value>().await.unwrap()["error"]["code"].take()
}

/// Status, code and param that must come, then the path and the body that are sent.
const WRONG_REQUESTS: &str = r#"
400 invalid_value model /v1/chat/completions {"messages": [{"role": "user", "content": "hi"}]}
400 invalid_value messages /v1/chat/completions {"model": "coterie", "messages": []}
400 invalid_value messages /v1/chat/completions {"model": "coterie"}
400 invalid_value messages[0].content /v1/chat/completions {"model": "coterie", "messages": [{"role": "user", "content": []}]}
400 invalid_value body /v1/chat/completions [1]
400 invalid_value body /v1/completions "hi"
400 invalid_value body /v1/embeddings 5
400 invalid_value body /v1/feedback null
400 invalid_value stop /v1/chat/completions {"model": "coterie", "messages": [{"role": "user", "content": "hi"}], "stop": 7}
404 model_not_found model /v1/chat/completions {"model": "nobody", "messages": [{"role": "user", "content": "hi"}]}
404 model_not_found model /v1/chat/completions {"model": "coterie/poetry", "messages": [{"role": "user", "content": "hi"}]}
400 unsupported_value model /v1/chat/completions {"model": "vectors", "messages": [{"role": "user", "content": "hi"}]}
400 unsupported_value model /v1/route {"model": "vectors", "text": "hi"}
400 unsupported_value model /v1/chat/completions {"model": "all-MiniLM-L6-v2", "messages": [{"role": "user", "content": "hi"}]}
400 invalid_value prompt /v1/completions {"model": "coterie"}
400 invalid_value suffix /v1/completions {"model": "coterie", "prompt": "a", "suffix": "b"}
400 invalid_value input /v1/embeddings {"model": "coterie"}
400 invalid_value input /v1/embeddings {"model": "coterie", "input": [1, 2]}
400 invalid_value input /v1/embeddings {"model": "coterie", "input": ["a", ""]}
400 invalid_value dimensions /v1/embeddings {"model": "coterie", "input": "a", "dimensions": 3}
400 invalid_value encoding_format /v1/embeddings {"model": "coterie", "input": "a", "encoding_format": "hex"}
404 model_not_found model /v1/embeddings {"model": "nobody", "input": "a"}
400 unsupported_value model /v1/embeddings {"model": "only", "input": "a"}
400 unsupported_value model /v1/embeddings {"model": "coterie/coding", "input": "a"}
400 invalid_value messages /v1/route {}
400 invalid_value body /v1/route []
400 invalid_value text /v1/route {"text": 5}
400 invalid_value text /v1/route {"text": "a", "messages": [{"role": "user", "content": "hi"}]}
400 invalid_value id /v1/feedback {"score": 1}
400 invalid_value score /v1/feedback {"id": "x", "score": 2}
400 invalid_value category /v1/feedback {"id": "x", "category": "poetry"}
400 invalid_value expert /v1/feedback {"id": "x", "expert": "nobody"}
400 invalid_value expert /v1/feedback {"id": "x", "expert": "vectors"}
400 invalid_value expert /v1/feedback {"id": "x", "expert": "coterie"}
404 outcome_not_found id /v1/feedback {"id": "x", "score": 1}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn wrong_requests_are_refused_in_openais_shape() {
    let (upstream, coterie) = over(Reply::answer(["never asked"])).await;
    for case in WRONG_REQUESTS.trim().lines() {
        let [status, code, param, path, body] = case.splitn(5, ' ').collect::<Vec<_>>()[..] else {
            panic!("a case has five parts: {case}");
        };
        let body: Value = serde_json::from_str(body).unwrap();
        let response = coterie.post(path, &body).send().await.unwrap();
        assert_eq!(response.status().as_str(), status, "{case}");
        let told: Value = response.json().await.unwrap();
        let error = &told["error"];
        assert_eq!(
            (&error["code"], &error["param"]),
            (&json!(code), &json!(param)),
            "{case}: {told}"
        );
        assert!(
            error["message"].is_string() && error["type"].is_string(),
            "{told}"
        );
    }
    assert!(upstream.requests().is_empty(), "nobody was asked");
    assert!(coterie.stop().await.all().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_no_json_or_too_long_are_refused() {
    let upstream = Upstream::always(Reply::answer(["never asked"])).await;
    let coterie = coterie_over(
        &upstream,
        "server: { listen: '127.0.0.1:0', body_max: 1000 }\n",
    )
    .await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = coterie.url("/v1/chat/completions");
    let long = chat("coterie", &"x".repeat(2000), false).to_string();
    let streamed = reqwest::Body::wrap_stream(futures_util::stream::iter(
        (0..100).map(|_| Ok::<_, std::convert::Infallible>(vec![b' '; 100])),
    ));
    let cases = [
        (
            "{\"model\": ".into(),
            StatusCode::BAD_REQUEST,
            "invalid_json",
        ),
        (
            "[".repeat(900).into(),
            StatusCode::BAD_REQUEST,
            "invalid_json",
        ),
        (
            vec![0xff, 0xfe].into(),
            StatusCode::BAD_REQUEST,
            "invalid_json",
        ),
        (
            String::new().into(),
            StatusCode::BAD_REQUEST,
            "invalid_json",
        ),
        (long.into(), StatusCode::PAYLOAD_TOO_LARGE, "body_too_long"),
        (streamed, StatusCode::PAYLOAD_TOO_LARGE, "body_too_long"),
    ];
    for (body, status, code) in cases {
        let response = client
            .post(&url)
            .body::<reqwest::Body>(body)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), status);
        let told: Value = response.json().await.unwrap();
        assert_eq!(
            (&told["error"]["code"], &told["error"]["param"]),
            (&json!(code), &json!("body")),
            "{told}"
        );
    }
    coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_paths_and_methods_are_told_in_the_same_shape() {
    let (_upstream, coterie) = over(Reply::answer(["never asked"])).await;
    for (path, status, code) in [
        ("/v1/nothing", 404, "unknown_url"),
        ("/", 404, "unknown_url"),
        ("/v1/chat/completions", 405, "method_not_allowed"),
        ("/v1/models/nobody", 404, "model_not_found"),
        ("/v1/models/%ff", 404, "model_not_found"),
    ] {
        let response = coterie.get(path).send().await.unwrap();
        assert_eq!(response.status(), status, "{path}");
        assert_eq!(code_of(response).await, code);
    }
    coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_asked_for_once_any_is_configured() {
    let upstream = Upstream::always(Reply::answer(["Hello"])).await;
    let sha256 = hex::encode(Sha256::digest(b"open sesame"));
    let keys = format!(
        "server: {{ listen: '127.0.0.1:0', keys: [{{ name: team-a, sha256: {sha256} }}] }}\n"
    );
    let coterie = coterie_over(&upstream, &keys).await;
    for (key, code) in [
        (None, "missing_api_key"),
        (Some("Bearer sesame"), "invalid_api_key"),
        (Some("Basic x"), "missing_api_key"),
    ] {
        for path in ["/v1/models", "/v1/nothing"] {
            let mut request = coterie.get(path);
            if let Some(key) = key {
                request = request.header("authorization", key);
            }
            let response = request.send().await.unwrap();
            if path == "/v1/models" {
                assert_eq!(response.status(), 401);
                assert_eq!(code_of(response).await, code);
            } else {
                assert_ne!(response.status(), 200);
            }
        }
    }
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(
            coterie.get(path).send().await.unwrap().status(),
            200,
            "{path} needs no key"
        );
    }
    let request = coterie.post("/v1/chat/completions", &chat("only", "hi", false));
    assert_eq!(
        request
            .bearer_auth("open sesame")
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
    assert_eq!(
        coterie.stop().await.only().await.key_name.as_deref(),
        Some("team-a")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_fields_pass_through_both_ways() {
    let reply = json!({
        "id": "x", "object": "chat.completion", "created": 1, "model": "far", "house": {"a": [1, null]},
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi", "mood": "fine"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2, "details": {"cached": 1}},
    });
    let (upstream, coterie) = over(Reply::json(reply.clone())).await;
    let mut body = chat("only", "hi", false);
    body["vendor_option"] = json!({"deep": [true]});
    let told = coterie.told("/v1/chat/completions", &body).await;
    let mut expected = reply;
    expected["model"] = json!("only");
    assert_eq!(told, expected);
    body["model"] = json!("far");
    assert_eq!(upstream.requests()[0].body, body);
    coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_providers_refusal_is_passed_on_in_its_own_words() {
    let refusal = json!({"error": {"message": "filtered", "type": "policy", "param": null, "code": "content_filter"}});
    let (_upstream, coterie) = over(Reply::status(400, refusal.clone())).await;
    let response = coterie.ask("only", "hi").await;
    assert_eq!(response.status(), 400);
    assert_eq!(response.json::<Value>().await.unwrap(), refusal);
    coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_refuses_our_key_is_no_fault_of_the_client() {
    let (_upstream, coterie) =
        over(Reply::status(401, json!({"error": {"message": "bad key"}}))).await;
    let response = coterie.ask("only", "hi").await;
    assert_eq!(response.status(), 502);
    assert_eq!(code_of(response).await, "expert_refused_us");
    coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limit_tells_when_to_come_back() {
    let limited = || Reply::status(429, json!({}));
    for (reply, seconds, should_retry) in [
        (limited().header("retry-after", "7"), "7", None),
        (limited(), "1", None),
        (limited().header("retry-after", "61"), "61", Some("false")),
    ] {
        let (_upstream, coterie) = over(reply).await;
        let response = coterie.ask("only", "hi").await;
        let header = |name| response.headers().get(name)?.to_str().ok();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(header("retry-after"), Some(seconds));
        assert_eq!(header("x-should-retry"), should_retry);
        coterie.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_the_decision_and_why() {
    let (upstream, coterie) = over(Reply::answer(["never asked"])).await;
    let told = coterie.told("/v1/route", &json!({"text": QUESTION})).await;
    assert_eq!(
        (&told["category"], &told["expert"]),
        (&json!("coding"), &json!("only"))
    );
    assert_eq!(told["reason"]["kind"], "routed");
    let scores = told["scores"].as_array().unwrap();
    assert_eq!(scores.len(), 13);
    let sum: f64 = scores
        .iter()
        .map(|score| score["probability"].as_f64().unwrap())
        .sum();
    assert!((sum - 1.0).abs() < 1e-4, "{sum}");
    assert!(
        scores
            .windows(2)
            .all(|pair| pair[0]["probability"].as_f64() >= pair[1]["probability"].as_f64())
    );
    assert_eq!(told["features"]["question"], QUESTION);
    assert!(told["took_us"].as_u64().unwrap() > 0);
    let why = &told["explanation"];
    assert_eq!(why["winner"], "coding");
    assert_eq!(why["runner_up"], scores[1]["category"]);
    assert_eq!(why["tier"], told["tier"]);
    let margin =
        scores[0]["probability"].as_f64().unwrap() - scores[1]["probability"].as_f64().unwrap();
    assert!(
        (why["margin"].as_f64().unwrap() - margin).abs() < 1e-5,
        "{why}"
    );
    assert!(
        why["confidence_min"].as_f64() < told["confidence"].as_f64(),
        "{why}"
    );
    for (features, sign) in [("features_for", 1.0), ("features_against", -1.0)] {
        let shares = why[features].as_array().unwrap();
        assert!(!shares.is_empty(), "{why}");
        assert!(
            shares
                .iter()
                .all(|it| it["share"].as_f64().unwrap() * sign > 0.0),
            "{why}"
        );
    }

    for gibberish in ["asdfgh jkl qwer", "ajsdhf kajshdf kjahsdf lkjh"] {
        let told = coterie.told("/v1/route", &json!({"text": gibberish})).await;
        assert_eq!(
            (&told["category"], &told["reason"]["kind"]),
            (&json!("out_of_domain"), &json!("out_of_domain")),
            "{told:#}"
        );
    }
    let blank = json!({"text": "  "});
    let told = coterie.told("/v1/route", &blank).await;
    assert_eq!(
        (&told["category"], &told["reason"]["kind"]),
        (&json!("out_of_domain"), &json!("empty"))
    );
    let named = json!({"text": "hi", "model": "coterie/sql"});
    let told = coterie.told("/v1/route", &named).await;
    assert_eq!(
        (&told["category"], &told["reason"]["kind"]),
        (&json!("sql"), &json!("category_named"))
    );
    assert!(upstream.requests().is_empty());
    coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn feedback_can_be_given_as_soon_as_the_answer_has_come() {
    let (_upstream, coterie) = over(Reply::answer(["Hello"])).await;
    for _ in 0..20 {
        let response = coterie.ask("only", "hi").await;
        let id = response.headers()["x-coterie-outcome"]
            .to_str()
            .unwrap()
            .to_owned();
        response.bytes().await.unwrap();
        let feedback = json!({"id": id, "score": 0.5, "category": "coding", "expert": "only", "comment": "so so"});
        let response = coterie
            .post("/v1/feedback", &feedback)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
    }
    coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_encoder_takes_more_texts_than_it_reads_at_once() {
    let (_upstream, coterie) = over(Reply::answer(["never asked"])).await;
    let texts = |count: usize| (0..count).map(|at| at.to_string()).collect::<Vec<_>>();
    let embed = |input: Vec<String>| {
        let body = json!({"model": "coterie", "input": input, "encoding_format": "base64"});
        coterie.post("/v1/embeddings", &body).send()
    };
    let many = embed(texts(260)).await.unwrap();
    assert_eq!(many.headers()["content-type"], "application/json");
    let many: Value = many.json().await.unwrap();
    let last = embed(vec!["259".into()]).await.unwrap();
    let last: Value = last.json().await.unwrap();
    assert_eq!(many["data"].as_array().unwrap().len(), 260);
    assert_eq!(many["data"][259]["index"], 259);
    let length = |told: &Value| told.as_str().unwrap().len();
    assert_eq!(
        length(&many["data"][259]["embedding"]),
        length(&last["data"][0]["embedding"])
    );
    // Each is framed by two marks and has a piece at least.
    assert!(many["usage"]["prompt_tokens"].as_u64().unwrap() >= 3 * 260);
    let refused = embed(texts(2049)).await.unwrap();
    assert_eq!(refused.status(), 400);
    assert_eq!(code_of(refused).await, "invalid_value");
    coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_embedding_model_is_asked_under_its_id() {
    let reply = json!({"object": "list", "data": [{"index": 0, "embedding": [0.5]}], "model": "far-vectors"});
    let (upstream, coterie) = over(Reply::json(reply)).await;
    let body = json!({"model": "vectors", "input": [1, 2, 3], "user": "u"});
    let told = coterie.told("/v1/embeddings", &body).await;
    assert_eq!(
        (&told["model"], &told["data"][0]["embedding"]),
        (&json!("vectors"), &json!([0.5]))
    );
    let asked = &upstream.requests()[0];
    assert!(asked.path.ends_with("/embeddings"));
    assert_eq!(
        (&asked.body["model"], &asked.body["input"]),
        (&json!("far-vectors"), &json!([1, 2, 3]))
    );
    coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_and_readiness_name_what_is_in_force() {
    let (_upstream, coterie) = over(Reply::answer(["Hello"])).await;
    coterie.ask("only", "hi").await.bytes().await.unwrap();
    let metrics = coterie.read("/metrics").await;
    assert!(
        metrics.contains("coterie_expert_attempts_total{expert=\"only\""),
        "{metrics}"
    );
    assert!(metrics.contains("coterie_decisions_total"), "{metrics}");
    for line in metrics.lines() {
        if let Some(name) = line.strip_prefix("# TYPE ") {
            let name = name.split(' ').next().unwrap();
            assert!(metrics.contains(&format!("# HELP {name} ")), "{metrics}");
        }
    }
    let ready: Value = serde_json::from_str(&coterie.read("/readyz").await).unwrap();
    assert_eq!(ready["ready"], true);
    let experts = ready["experts"].as_array().unwrap();
    let ids: Vec<_> = experts.iter().map(|expert| &expert["expert"]).collect();
    assert_eq!(ids, ["only", "vectors"]);
    assert_eq!(experts[0]["endpoints"][0]["state"], "closed");
    assert_eq!(experts[0]["endpoints"][0]["under_way"], 0);
    assert!(
        metrics.contains("coterie_expert_circuit{expert=\"only\""),
        "{metrics}"
    );
    assert!(ready["router"].is_string());
    coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_costs_too_much_is_asked_of_nobody() {
    let upstream = Upstream::always(Reply::answer(["never asked"])).await;
    let yaml = format!(
        "experts: {{ only: {{ kind: remote, base_url: '{}', model: far, usd_in: 1, usd_out: 100 }} }}\n\
         mapping: {{ default: only, budget: {{ usd_per_question: 0.001 }} }}\n",
        upstream.base_url()
    );
    let coterie = Coterie::serve(&yaml).await;
    let response = coterie.ask("coterie", QUESTION).await;
    assert_eq!(response.status(), 400);
    let told: Value = response.json().await.unwrap();
    assert_eq!(
        (&told["error"]["code"], &told["error"]["param"]),
        (&json!("budget_exceeded"), &json!("max_tokens"))
    );
    assert!(upstream.requests().is_empty());
    assert!(coterie.stop().await.all().await.is_empty());
}
