//! Several endpoints of one expert: sessions stay where they were, others spread, and one that fails is left out.

use serde_json::json;

use crate::support::{
    coterie::{Coterie, chat},
    upstream::{Reply, Upstream},
};

async fn house(first: &Upstream, second: &Upstream) -> Coterie {
    Coterie::serve(&format!(
        "experts:\n\
         \x20 only:\n\
         \x20   kind: remote\n\
         \x20   base_url: '{}'\n\
         \x20   model: m\n\
         \x20   replicas: [{{ base_url: '{}' }}]\n\
         \x20   capabilities: [chat, embeddings]\n\
         \x20   retries: {{ backoff: 1ms }}\n\
         \x20   breaker: {{ failures: 2, open: 60s, open_max: 60s }}\n\
         mapping: {{ default: only }}\n",
        first.base_url(),
        second.base_url()
    ))
    .await
}

async fn ask(coterie: &Coterie, session: &str) {
    ask_sticking(coterie, session, "on").await;
}

/// `sticky`: whether the session may hold on to its category.
async fn ask_sticking(coterie: &Coterie, session: &str, sticky: &str) {
    let response = coterie
        .post("/v1/chat/completions", &chat("only", "Hi?", false))
        .header("x-session-id", session)
        .header("x-coterie-sticky", sticky)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    response.bytes().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_stays_with_its_endpoint_and_sessions_spread() {
    let (first, second) = (
        Upstream::always(Reply::answer(["a"])).await,
        Upstream::always(Reply::answer(["b"])).await,
    );
    let coterie = house(&first, &second).await;
    for session in 0..16 {
        let before = (first.requests().len(), second.requests().len());
        for sticky in ["on", "off", "on", "off"] {
            ask_sticking(&coterie, &format!("session-{session}"), sticky).await;
        }
        let after = (first.requests().len(), second.requests().len());
        let asked = (after.0 - before.0, after.1 - before.1);
        assert!(asked == (4, 0) || asked == (0, 4), "{asked:?}");
    }
    assert!(!first.requests().is_empty() && !second.requests().is_empty());
    coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_fails_is_left_out_and_nobody_notices() {
    let failing = Upstream::always(Reply::reset()).await;
    let healthy = Upstream::always(Reply::answer(["b"])).await;
    let coterie = house(&failing, &healthy).await;
    for session in 0..20 {
        ask(&coterie, &format!("session-{session}")).await;
    }
    assert_eq!(healthy.requests().len(), 20);
    assert_eq!(failing.requests().len(), 2, "then its breaker opened");
    let ready = coterie.read("/readyz").await;
    assert!(
        ready.contains("\"open\"") && ready.contains("\"closed\""),
        "{ready}"
    );
    coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn embeddings_go_to_another_endpoint_as_well() {
    let vectors = json!({"object": "list", "data": [{"index": 0, "embedding": [0.5]}]});
    let failing = Upstream::always(Reply::reset()).await;
    let healthy = Upstream::always(Reply::json(vectors)).await;
    let coterie = house(&failing, &healthy).await;
    for _ in 0..20 {
        let body = json!({"model": "only", "input": "Hi?"});
        let told = coterie.told("/v1/embeddings", &body).await;
        assert_eq!(told["data"][0]["embedding"], json!([0.5]), "{told}");
    }
    assert_eq!(healthy.requests().len(), 20);
    assert!(failing.requests().len() <= 2, "then its breaker opened");
    coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn embeddings_are_tried_again_where_there_is_one_endpoint() {
    let vectors = json!({"object": "list", "data": [{"index": 0, "embedding": [0.5]}]});
    let replies = [Reply::status(500, json!({})), Reply::json(vectors)];
    let upstream = Upstream::in_turn(replies).await;
    let coterie = Coterie::serve(&format!(
        "experts:\n\
         \x20 only: {{ kind: remote, base_url: '{}', model: m, capabilities: [chat, embeddings], retries: {{ backoff: 1ms }} }}\n\
         mapping: {{ default: only }}\n",
        upstream.base_url()
    ))
    .await;
    let body = json!({"model": "only", "input": "Hi?"});
    let told = coterie.told("/v1/embeddings", &body).await;
    assert_eq!(told["data"][0]["embedding"], json!([0.5]), "{told}");
    assert_eq!(upstream.requests().len(), 2);
    coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_without_an_id_goes_on_where_it_began() {
    let (first, second) = (
        Upstream::always(Reply::answer(["a"])).await,
        Upstream::always(Reply::answer(["b"])).await,
    );
    let coterie = house(&first, &second).await;
    for number in 0..16 {
        let before = (first.requests().len(), second.requests().len());
        let question = json!({"role": "user", "content": format!("What is {number}?")});
        let turns = [
            question,
            json!({"role": "assistant", "content": "A number."}),
            json!({"role": "user", "content": "And then?"}),
        ];
        for messages in [&turns[..1], &turns[..]] {
            let body = json!({"model": "only", "messages": messages});
            coterie.told("/v1/chat/completions", &body).await;
        }
        let after = (first.requests().len(), second.requests().len());
        let asked = (after.0 - before.0, after.1 - before.1);
        assert!(asked == (2, 0) || asked == (0, 2), "{asked:?}");
    }
    assert!(!first.requests().is_empty() && !second.requests().is_empty());
    coterie.stop().await;
}
