//! What clients may use: told in headers, refused in the words that their libraries know, settled when answers end.

use futures_util::{StreamExt, future::join_all};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::support::{
    coterie::{Coterie, chat},
    upstream::{Hold, Reply, Upstream, close, done, finish, role, text, usage},
};

/// A server whose clients have these keys, each with its limits, and whose experts cost a dollar for a thousand tokens.
async fn serve(upstream: &Upstream, keys: &[(&str, &str)], more: &str) -> Coterie {
    let keys: String = keys
        .iter()
        .map(|(name, limits)| {
            let sha256 = hex::encode(Sha256::digest(name));
            format!("    - {{ name: {name}, sha256: {sha256}, limits: {{ {limits} }} }}\n")
        })
        .collect();
    let keys = if keys.is_empty() {
        String::new()
    } else {
        format!("  keys:\n{keys}")
    };
    let base_url = upstream.base_url();
    let yaml = format!(
        "experts:\n\
         \x20 only: {{ kind: remote, base_url: '{base_url}', model: far, usd_in: 1000, usd_out: 1000 }}\n\
         \x20 vectors: {{ kind: remote, base_url: '{base_url}', model: v, usd_in: 1000, capabilities: [embeddings] }}\n\
         mapping: {{ default: only }}\n\
         server:\n\
         \x20 listen: '127.0.0.1:0'\n\
         {keys}{more}"
    );
    Coterie::serve(&yaml).await
}

/// A question whose answer may have so many tokens.
fn question(answer_tokens_max: u32, stream: bool) -> Value {
    let mut question = chat("only", "Hi?", stream);
    question["max_tokens"] = json!(answer_tokens_max);
    question
}

async fn post(coterie: &Coterie, path: &str, key: &str, body: &Value) -> Response {
    let request = coterie.post(path, body).bearer_auth(key);
    request.send().await.unwrap()
}

async fn ask(coterie: &Coterie, key: &str, body: &Value) -> Response {
    post(coterie, "/v1/chat/completions", key, body).await
}

fn header<'r>(response: &'r Response, name: &str) -> Option<&'r str> {
    response.headers().get(name)?.to_str().ok()
}

fn number(response: &Response, name: &str) -> u64 {
    let value = header(response, name);
    value
        .and_then(|value| value.parse().ok())
        .unwrap_or_else(|| panic!("{name}: {value:?}"))
}

/// The longest wait that the clients of OpenAI and Anthropic take from `retry-after`, in seconds.
const WAIT_S_MAX: u64 = 60;

/// Whether a refusal keeps those clients from asking again at once, where they would.
#[track_caller]
fn assert_clients_wait(refused: &Response) {
    let is_long = number(refused, "retry-after") > WAIT_S_MAX;
    let told = header(refused, "x-should-retry");
    assert_eq!(told, is_long.then_some("false"));
}

async fn error_of(response: Response) -> Value {
    response.json::<Value>().await.unwrap()["error"].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn feedback_counts_as_a_request() {
    let upstream = Upstream::always(Reply::answer(["Hello"])).await;
    let coterie = serve(&upstream, &[("ann", "requests_per_minute: 2")], "").await;
    let answer = ask(&coterie, "ann", &question(5, false)).await;
    let outcome = header(&answer, "x-coterie-outcome").unwrap().to_owned();
    let says = async |body: Value| post(&coterie, "/v1/feedback", "ann", &body).await;
    let wrong = says(json!({"id": outcome, "score": 2})).await;
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
    let given = says(json!({"id": outcome, "score": 1})).await;
    assert_eq!(given.status(), StatusCode::OK);
    assert_eq!(number(&given, "x-ratelimit-remaining-requests"), 0);
    let refused = says(json!({"id": outcome, "score": 0})).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!((1..=60).contains(&number(&refused, "retry-after")));
    assert_eq!(error_of(refused).await["code"], "rate_limit_exceeded");
    coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_key_has_an_account_of_its_own() {
    let upstream = Upstream::always(Reply::answer(["Hello"])).await;
    let keys = [
        ("ann", "requests_per_minute: 2"),
        ("bob", ""),
        ("eve", "tokens_per_minute: 100000"),
    ];
    let more = "  limits: { requests_per_minute: 1 }\n";
    let coterie = serve(&upstream, &keys, more).await;
    for (key, answers) in [("ann", 2), ("bob", 1)] {
        for left in (0..answers).rev() {
            let answer = ask(&coterie, key, &question(5, false)).await;
            assert_eq!(answer.status(), StatusCode::OK);
            assert_eq!(number(&answer, "x-ratelimit-limit-requests"), answers);
            assert_eq!(number(&answer, "x-ratelimit-remaining-requests"), left);
            let reset = header(&answer, "x-ratelimit-reset-requests").unwrap();
            assert!(reset.ends_with('s'), "{reset}");
            assert_eq!(header(&answer, "x-ratelimit-limit-tokens"), None);
        }
        let refused = ask(&coterie, key, &question(5, false)).await;
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(number(&refused, "x-ratelimit-remaining-requests"), 0);
        assert!((1..=60).contains(&number(&refused, "retry-after")));
        assert_clients_wait(&refused);
        let error = error_of(refused).await;
        assert_eq!(error["code"], "rate_limit_exceeded");
        assert_eq!(error["type"], "requests");
    }
    let answer = ask(&coterie, "eve", &question(5, false)).await;
    assert_eq!(number(&answer, "x-ratelimit-limit-requests"), 1);
    assert_eq!(number(&answer, "x-ratelimit-limit-tokens"), 100_000);
    assert!(number(&answer, "x-ratelimit-remaining-tokens") >= 100_000 - 8);
    let metrics = coterie.read("/metrics").await;
    let counted = r#"coterie_quota_refusals_total{key="ann",kind="requests"} 1"#;
    assert!(metrics.contains(counted), "{metrics}");
    assert_eq!(upstream.requests().len(), 4);
    let outcomes = coterie.stop().await.all().await;
    assert_eq!(outcomes.len(), 4, "what is refused leaves none");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_limits_nothing_is_told_and_without_keys_all_share() {
    let upstream = Upstream::always(Reply::answer(["Hello"])).await;
    let coterie = serve(&upstream, &[], "").await;
    let answer = coterie.ask("only", "Hi?").await;
    assert_eq!(header(&answer, "x-ratelimit-limit-requests"), None);
    coterie.stop().await;
    let coterie = serve(&upstream, &[], "  limits: { requests_per_minute: 1 }\n").await;
    let lists = coterie.get("/v1/models").send().await.unwrap();
    assert_eq!(header(&lists, "x-ratelimit-limit-requests"), None);
    let unknown = coterie.ask("nobody", "Hi?").await;
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    assert_eq!(
        number(&unknown, "x-ratelimit-remaining-requests"),
        1,
        "nobody was asked"
    );
    assert_eq!(coterie.ask("only", "Hi?").await.status(), StatusCode::OK);
    let refused = coterie.ask("only", "Hi?").await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_come_at_once_cannot_exceed_the_tokens() {
    let hold = Hold::new();
    let parts = [
        role(),
        text("Hi"),
        hold.wait(),
        finish("stop"),
        usage(1, 1),
        done(),
    ];
    let upstream = Upstream::always(Reply::stream(parts)).await;
    // Each takes 499 tokens of an answer and one of the question, so two fit.
    let coterie = serve(&upstream, &[("ann", "tokens_per_minute: 1000")], "").await;
    let question = question(499, true);
    let answers = join_all((0..20).map(|_| ask(&coterie, "ann", &question))).await;
    let (begun, refused): (Vec<_>, Vec<_>) = answers
        .into_iter()
        .partition(|answer| answer.status() == StatusCode::OK);
    assert_eq!((begun.len(), refused.len()), (2, 18));
    for refused in refused {
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(error_of(refused).await["type"], "tokens");
    }
    // Whichever of them the provider holds first.
    begun.iter().for_each(|_| hold.release());
    for answer in begun {
        answer.bytes().await.unwrap();
    }
    assert_eq!(upstream.requests().len(), 2);
    coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_answer_settles_to_what_it_used() {
    let hold = Hold::new();
    let parts = [
        role(),
        text("Hi"),
        hold.wait(),
        finish("stop"),
        usage(30, 20),
        done(),
    ];
    let upstream = Upstream::always(Reply::stream(parts)).await;
    let coterie = serve(&upstream, &[("ann", "tokens_per_minute: 1000")], "").await;
    let question = question(699, true);
    let first = ask(&coterie, "ann", &question).await;
    let remaining = number(&first, "x-ratelimit-remaining-tokens");
    assert!((300..900).contains(&remaining), "{remaining}");
    let refused = ask(&coterie, "ann", &question).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    hold.release();
    first.bytes().await.unwrap();
    let second = ask(&coterie, "ann", &question).await;
    assert_eq!(second.status(), StatusCode::OK);
    hold.release();
    second.bytes().await.unwrap();
    coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_settles_to_what_it_got() {
    let hold = Hold::new();
    let parts = [role(), text("Hi"), hold.wait(), finish("stop"), done()];
    let upstream = Upstream::always(Reply::stream(parts)).await;
    let coterie = serve(&upstream, &[("ann", "tokens_per_minute: 1000")], "").await;
    let question = question(899, true);
    let mut body = ask(&coterie, "ann", &question).await.bytes_stream();
    body.next().await.unwrap().unwrap();
    let refused = ask(&coterie, "ann", &question).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    drop(body);
    upstream.client_left().await;
    let second = ask(&coterie, "ann", &question).await;
    assert_eq!(second.status(), StatusCode::OK);
    hold.release();
    second.bytes().await.unwrap();
    coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_before_the_first_token_pays() {
    let hold = Hold::new();
    let keys = [
        ("ann", "tokens_per_minute: 1000"),
        ("bob", "usd_per_day: 1.5"),
    ];
    for (key, limits) in keys {
        let upstream = Upstream::always(Reply::stream([role(), hold.wait(), done()])).await;
        let coterie = serve(&upstream, &[(key, limits)], "").await;
        let question = question(899, true);
        tokio::select! {
            answer = ask(&coterie, key, &question) => panic!("{answer:?}"),
            () = upstream.asked(1) => {}
        }
        upstream.client_left().await;
        let refused = ask(&coterie, key, &question).await;
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS, "{key}");
        assert_eq!(upstream.requests().len(), 1);
        let outcome = coterie.stop().await.only().await;
        assert_eq!(outcome.ending, "client_left");
        assert_eq!(outcome.cost_usd, None, "nobody knows");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_off_late_is_paid_for_as_far_as_it_came() {
    // About eight hundred tokens in one chunk.
    let late = [role(), text(&"x".repeat(2400)), close()];
    let upstream = Upstream::always(Reply::stream(late)).await;
    let keys = [
        ("ann", "tokens_per_minute: 1000"),
        ("bob", "usd_per_day: 1.5"),
    ];
    let more = "delivery: { stream_recovery: error }\n";
    let coterie = serve(&upstream, &keys, more).await;
    for (key, used_up) in [("ann", "tokens"), ("bob", "insufficient_quota")] {
        let answer = ask(&coterie, key, &question(899, true)).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let told = answer.text().await.unwrap();
        assert!(!told.contains("[DONE]"), "{told}");
        let refused = ask(&coterie, key, &question(899, true)).await;
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS, "{key}");
        assert_eq!(error_of(refused).await["type"], used_up);
    }
    coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_names_the_field_because_of_which_it_is_too_much() {
    let upstream = Upstream::always(Reply::answer(["Hello"])).await;
    let coterie = serve(&upstream, &[("ann", "tokens_per_minute: 1000")], "").await;
    let long = "x".repeat(3003);
    for (messages, field, tokens, param) in [
        ("Hi?", "max_tokens", 1000, "max_tokens"),
        (
            "Hi?",
            "max_completion_tokens",
            1000,
            "max_completion_tokens",
        ),
        (long.as_str(), "max_completion_tokens", 5, "messages"),
    ] {
        let mut question = chat("only", messages, false);
        question[field] = json!(tokens);
        let refused = ask(&coterie, "ann", &question).await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
        assert_eq!(error_of(refused).await["param"], param);
    }
    coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_listed_as_the_dollars_of_the_asking_key_allow() {
    let upstream = Upstream::always(Reply::answer(["Hello"])).await;
    // A short question is taken to cost a dollar.
    let keys = [("ann", "usd_per_day: 0.5"), ("bob", "usd_per_day: 1.5")];
    let coterie = serve(&upstream, &keys, "").await;
    for (key, experts) in [("ann", json!([])), ("bob", json!(["only"]))] {
        for path in ["/v1/models/coterie", "/v1/models"] {
            let told = coterie.get(path).bearer_auth(key).send().await.unwrap();
            let told: Value = told.json().await.unwrap();
            let model = told["data"].get(0).unwrap_or(&told);
            assert_eq!(
                (&model["id"], &model["experts"]),
                (&json!("coterie"), &experts)
            );
        }
    }
    coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_costs_no_tokens_and_what_can_never_pass_is_told_so() {
    let upstream = Upstream::in_turn([
        Reply::status(400, json!({"error": {"message": "no"}})),
        Reply::answer(["Hello"]),
    ])
    .await;
    let keys = [("ann", "tokens_per_minute: 1000, requests_per_minute: 3")];
    let coterie = serve(&upstream, &keys, "").await;
    let too_large = ask(&coterie, "ann", &question(1000, false)).await;
    assert_eq!(too_large.status(), StatusCode::BAD_REQUEST);
    assert_eq!(number(&too_large, "x-ratelimit-remaining-requests"), 3);
    let error = error_of(too_large).await;
    assert_eq!(error["code"], "tokens_per_minute_exceeded");
    assert_eq!(error["param"], "max_tokens");
    let failed = ask(&coterie, "ann", &question(900, false)).await;
    assert_eq!(failed.status(), StatusCode::BAD_REQUEST);
    assert_eq!(number(&failed, "x-ratelimit-remaining-requests"), 2);
    let answer = ask(&coterie, "ann", &question(900, false)).await;
    assert_eq!(answer.status(), StatusCode::OK);
    coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_days_dollars_are_the_keys_own_also_after_a_restart() {
    let parts = [role(), text("Hi"), finish("stop"), usage(400, 600), done()];
    let upstream = Upstream::always(Reply::stream(parts)).await;
    let folder = TempDir::new().unwrap();
    let keys = [("ann", "usd_per_day: 2.5"), ("bob", "usd_per_day: 2.5")];
    let path = folder.path().display();
    let store = format!("store: {{ url: 'sqlite://{path}/coterie.db' }}\n");
    // About a dollar each, and a dollar in truth.
    let question = question(1000, true);
    let coterie = serve(&upstream, &keys, &store).await;
    for _ in 0..2 {
        let answer = ask(&coterie, "ann", &question).await;
        assert_eq!(answer.status(), StatusCode::OK);
        answer.bytes().await.unwrap();
    }
    let refused = ask(&coterie, "ann", &question).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    coterie.begin_stop().closed().await;

    let coterie = serve(&upstream, &keys, &store).await;
    let refused = ask(&coterie, "ann", &question).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!((1..=24 * 60 * 60).contains(&number(&refused, "retry-after")));
    assert_clients_wait(&refused);
    let error = error_of(refused).await;
    assert_eq!(error["type"], "insufficient_quota");
    assert_eq!(error["code"], "insufficient_quota");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("$0.500000 are left of the $2.50 that you may spend"));
    let answer = ask(&coterie, "bob", &question).await;
    assert_eq!(answer.status(), StatusCode::OK);
    answer.bytes().await.unwrap();
    let metrics = coterie.read("/metrics").await;
    for counted in [
        r#"coterie_key_spent_today_usd{key="ann"} 2"#,
        r#"coterie_key_spent_today_usd{key="bob"} 1"#,
        r#"coterie_quota_refusals_total{key="ann",kind="dollars"} 2"#,
    ] {
        assert!(metrics.contains(counted), "{metrics}");
    }
    coterie.begin_stop().closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_dialects_share_the_account_and_have_names_of_their_own() {
    let upstream = Upstream::always(Reply::answer(["Hello"])).await;
    let keys = [("ann", "requests_per_minute: 2, tokens_per_minute: 10000")];
    let coterie = serve(&upstream, &keys, "").await;
    let messages =
        json!({"model": "only", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi?"}]});
    let answer = post(&coterie, "/v1/messages", "ann", &messages).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let named = |name: &str| format!("anthropic-ratelimit-{name}");
    assert_eq!(number(&answer, &named("requests-limit")), 2);
    assert_eq!(number(&answer, &named("requests-remaining")), 1);
    assert_eq!(number(&answer, &named("tokens-limit")), 10_000);
    let reset = header(&answer, "anthropic-ratelimit-tokens-reset").unwrap();
    assert!(reset.ends_with('Z') && reset.contains('T'), "{reset}");
    assert_eq!(header(&answer, "x-ratelimit-limit-requests"), None);

    let responses = json!({"model": "only", "input": "Hi?", "max_output_tokens": 20_000});
    let too_large = post(&coterie, "/v1/responses", "ann", &responses).await;
    assert_eq!(number(&too_large, "x-ratelimit-remaining-requests"), 1);
    assert_eq!(error_of(too_large).await["param"], "max_output_tokens");
    let responses = json!({"model": "only", "input": "Hi?"});
    let answer = post(&coterie, "/v1/responses", "ann", &responses).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(number(&answer, "x-ratelimit-remaining-requests"), 0);

    let refused = post(&coterie, "/v1/messages", "ann", &messages).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(number(&refused, "retry-after") >= 1);
    let error = error_of(refused).await;
    assert_eq!(error["type"], "rate_limit_error");
    assert_eq!(error["details"]["error_code"], "rate_limit_exceeded");
    coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn embeddings_count_by_their_input() {
    let vectors = json!({
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}],
        "usage": {"prompt_tokens": 10, "total_tokens": 10},
    });
    let upstream = Upstream::always(Reply::json(vectors)).await;
    let keys = [("ann", "requests_per_minute: 3, tokens_per_minute: 1000")];
    let coterie = serve(&upstream, &keys, "").await;
    let embed = async |model: &str, bytes: usize| {
        let body = json!({"model": model, "input": ["x".repeat(bytes)]});
        post(&coterie, "/v1/embeddings", "ann", &body).await
    };
    let too_large = embed("vectors", 3001).await;
    assert_eq!(too_large.status(), StatusCode::BAD_REQUEST);
    assert_eq!(error_of(too_large).await["param"], "input");
    for model in ["vectors", "vectors", "coterie"] {
        // Some 700 by their length; far fewer were counted each time.
        let answer = embed(model, 2100).await;
        assert_eq!(answer.status(), StatusCode::OK, "{model}");
        assert!(number(&answer, "x-ratelimit-remaining-tokens") >= 1000 - 300);
    }
    let refused = embed("vectors", 5).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(error_of(refused).await["type"], "requests");
    assert_eq!(upstream.requests().len(), 2);
    coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_texts_to_embed_is_told_before_it_counts() {
    let upstream = Upstream::always(Reply::answer(["never asked"])).await;
    let coterie = serve(&upstream, &[("ann", "requests_per_minute: 1")], "").await;
    let embed = async |dimensions: u32| {
        let body = json!({"model": "coterie", "input": "a", "dimensions": dimensions});
        post(&coterie, "/v1/embeddings", "ann", &body).await
    };
    let wrong = embed(3).await;
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
    assert_eq!(number(&wrong, "x-ratelimit-remaining-requests"), 1);
    assert_eq!(embed(384).await.status(), StatusCode::OK);
    coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn embeddings_with_a_price_count_in_dollars() {
    let vectors = json!({"data": [], "usage": {"prompt_tokens": 250, "total_tokens": 250}});
    let upstream = Upstream::in_turn([
        Reply::status(400, json!({"error": {"message": "no"}})),
        Reply::json(vectors),
        Reply::json(json!({"data": []})),
    ])
    .await;
    let coterie = serve(&upstream, &[("ann", "usd_per_day: 1.5")], "").await;
    let embed = async |bytes: usize| {
        let body = json!({"model": "vectors", "input": "x".repeat(bytes)});
        post(&coterie, "/v1/embeddings", "ann", &body).await
    };
    let too_dear = embed(6000).await;
    assert_eq!(too_dear.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_clients_wait(&too_dear);
    assert_eq!(error_of(too_dear).await["code"], "insufficient_quota");
    // Each is taken to cost a dollar: one fails, one costs a quarter, and of one nobody knows.
    for (status, usd) in [(400, "0"), (200, "0.25"), (200, "1.25")] {
        let answer = embed(3000).await;
        assert_eq!(answer.status().as_u16(), status);
        let metrics = coterie.read("/metrics").await;
        for who in [
            r#"coterie_key_spent_today_usd{key="ann"}"#,
            "coterie_spent_today_usd",
        ] {
            assert!(metrics.contains(&format!("{who} {usd}\n")), "{metrics}");
        }
    }
    let refused = embed(3000).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(upstream.requests().len(), 3);
    coterie.stop().await;
}
