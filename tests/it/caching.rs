//! The cache of answers, over real sockets: what is kept, for whom, and what is not.

use serde_json::{Value, json};

use crate::support::{
    coterie::{Coterie, chat},
    upstream::{Reply, Upstream, close, finish, role, text, usage},
};

const CACHE: &str = "cache: { max: 1 MiB }\n";

fn house(upstream: &Upstream, more: &str) -> String {
    format!(
        "experts:\n\x20 only: {{ kind: remote, base_url: '{}', model: m, usd_in: 1, usd_out: 1 }}\n\
         mapping: {{ default: only }}\n\
         delivery: {{ stream_recovery: error }}\n{more}",
        upstream.base_url()
    )
}

fn body(change: &Value) -> Value {
    let mut body = chat("only", "Which trees?", false);
    body["temperature"] = json!(0);
    for (name, value) in change.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

/// What the cache did, and the body that came.
async fn ask(coterie: &Coterie, change: Value, headers: &[(&str, &str)]) -> (String, String) {
    let mut request = coterie.post("/v1/chat/completions", &body(&change));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    let used = response.headers().get("x-coterie-cache");
    let used = used
        .map_or("none", |used| used.to_str().unwrap())
        .to_owned();
    (used, response.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_question_is_answered_from_the_cache_and_costs_nothing() {
    let upstream = Upstream::always(Reply::answer(["Alder, ", "beech."])).await;
    let coterie = Coterie::serve(&house(&upstream, CACHE)).await;
    for stream in [false, true] {
        let change = json!({"stream": stream});
        let (first, told) = ask(&coterie, change.clone(), &[]).await;
        let (second, told_again) = ask(&coterie, change, &[]).await;
        assert_eq!((first.as_str(), second.as_str()), ("miss", "hit"));
        assert_eq!(told, told_again, "to the letter");
    }
    assert_eq!(upstream.requests().len(), 2);
    let metrics = coterie.read("/metrics").await;
    assert!(
        metrics.contains("coterie_cache_total{result=\"hit\"}"),
        "{metrics}"
    );

    let outcomes = coterie.stop().await.all().await;
    let hit = outcomes
        .iter()
        .find(|outcome| outcome.attempts.contains("\"cache\""))
        .unwrap();
    assert_eq!(
        (hit.ending.as_str(), hit.cost_usd),
        ("completed", Some(0.0))
    );
    assert_eq!(hit.answered_by.as_deref(), Some("only"));
    assert_eq!(hit.answer.as_deref(), Some("Alder, beech."));
    let attempts: Vec<Value> = serde_json::from_str(&hit.attempts).unwrap();
    assert_eq!((attempts.len(), &attempts[0]["role"]), (1, &json!("cache")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_differ_or_shall_not_be_kept_is_asked_for() {
    let upstream = Upstream::always(Reply::answer(["Alder."])).await;
    let coterie = Coterie::serve(&house(&upstream, CACHE)).await;
    for (change, headers, used) in [
        (json!({"temperature": 1}), &[][..], "none"),
        (json!({}), &[("cache-control", "no-store")], "bypass"),
        (json!({}), &[], "miss"),
        (
            json!({}),
            &[("cache-control", "private, no-store")],
            "bypass",
        ),
        (json!({}), &[("cache-control", "no-cache")], "bypass"),
        (json!({"house": 1}), &[], "miss"),
        (json!({}), &[], "hit"),
    ] {
        assert_eq!(ask(&coterie, change, headers).await.0, used);
    }
    assert_eq!(upstream.requests().len(), 6);
    coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_off_unless_it_is_configured() {
    let upstream = Upstream::always(Reply::answer(["Alder."])).await;
    let coterie = Coterie::serve(&house(&upstream, "")).await;
    for _ in 0..2 {
        assert_eq!(ask(&coterie, json!({}), &[]).await.0, "none");
    }
    assert_eq!(upstream.requests().len(), 2);
    coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_broke_off_is_not_kept() {
    let cut = Reply::stream([role(), text("Alder"), close()]);
    let whole = Reply::stream([role(), text("Alder."), finish("stop"), usage(1, 1)]);
    let upstream = Upstream::in_turn([cut, whole]).await;
    let coterie = Coterie::serve(&house(&upstream, CACHE)).await;
    let streamed = json!({"stream": true});
    let (used, told) = ask(&coterie, streamed.clone(), &[]).await;
    assert!(used == "miss" && !told.contains("[DONE]"), "{told}");
    let (used, told) = ask(&coterie, streamed.clone(), &[]).await;
    assert!(used == "miss" && told.contains("[DONE]"), "{told}");
    assert_eq!(ask(&coterie, streamed, &[]).await.0, "hit");
    coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_cascade_accepted_is_kept_under_its_own_name() {
    let right = Reply::answer(["```python\nx = [1]\n```"]);
    let wrong = Reply::answer(["```python\nx = [1\n```"]);
    let cheap = Upstream::in_turn([right, wrong]).await;
    let strong = Upstream::always(Reply::answer(["Strong."])).await;
    let expert = |id: &str, upstream: &Upstream| {
        let base_url = upstream.base_url();
        format!("\x20 {id}: {{ kind: remote, base_url: '{base_url}', model: {id} }}\n")
    };
    let coterie = Coterie::serve(&format!(
        "experts:\n{}{}mapping:\n\x20 default: strong\n\x20 cascade:\n\
         \x20   coding: {{ first: cheap, accept: {{ code_parses: true }} }}\n{CACHE}",
        expert("cheap", &cheap),
        expert("strong", &strong),
    ))
    .await;
    for (seed, used, expert) in [
        (1, "miss", "cheap"),
        (1, "hit", "cheap"),
        (2, "miss", "strong"),
        (2, "hit", "strong"),
    ] {
        let change = json!({"model": "coterie/coding", "seed": seed});
        let response = coterie.post("/v1/chat/completions", &body(&change));
        let response = response.send().await.unwrap();
        let header = |name| response.headers()[name].to_str().unwrap();
        assert_eq!(
            (header("x-coterie-cache"), header("x-coterie-expert")),
            (used, expert)
        );
        let told: Value = response.json().await.unwrap();
        assert_eq!(told["model"], expert);
    }
    assert_eq!((cheap.requests().len(), strong.requests().len()), (2, 1));
    coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fallbacks_answer_is_not_kept() {
    let broken = Upstream::always(Reply::status(500, json!({}))).await;
    let spare = Upstream::always(Reply::answer(["Alder."])).await;
    let (broken_url, spare_url) = (broken.base_url(), spare.base_url());
    let coterie = Coterie::serve(&format!(
        "experts:\n\
         \x20 first: {{ kind: remote, base_url: '{broken_url}', model: a, retries: {{ max: 0 }} }}\n\
         \x20 spare: {{ kind: remote, base_url: '{spare_url}', model: b }}\n\
         mapping: {{ default: first, coding: {{ expert: first, fallbacks: [spare] }} }}\n{CACHE}"
    ))
    .await;
    for _ in 0..2 {
        let change = json!({"model": "coterie/coding"});
        assert_eq!(ask(&coterie, change, &[]).await.0, "miss");
    }
    assert_eq!(spare.requests().len(), 2);
    coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_never_gets_what_was_answered_to_another() {
    let upstream = Upstream::always(Reply::answer(["Alder."])).await;
    // SHA-256 of `a` and of `b`.
    let keys = "server:\n\x20 listen: '127.0.0.1:0'\n\x20 keys:\n\
        \x20   - { name: a, sha256: 'ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb' }\n\
        \x20   - { name: b, sha256: '3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d' }\n";
    let coterie = Coterie::serve(&house(&upstream, &format!("{CACHE}{keys}"))).await;
    for (key, used) in [("a", "miss"), ("b", "miss"), ("a", "hit")] {
        let bearer = format!("Bearer {key}");
        let (found, _) = ask(&coterie, json!({}), &[("authorization", &bearer)]).await;
        assert_eq!(found, used, "{key}");
    }
    coterie.stop().await;
}
