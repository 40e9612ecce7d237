//! Sessions over a real socket: what stays, what leaves, and who sees it.

use std::path::Path;

use reqwest::RequestBuilder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::{
    coterie::{Coterie, chat},
    upstream::{Reply, Upstream},
};

const QUERY: &str =
    "Write a SQL query that lists the name of every customer with more than ten orders.";
const FOLLOW_UP: &str = "what about the second?";
const MEDICINE: &str = "What causes high blood pressure, and which medicines are used to treat it?";

/// Two experts: `small` holds short conversations alone and answers SQL.
async fn serve(upstream: &Upstream, more: &str) -> Coterie {
    let yaml = format!(
        "experts:\n\
         \x20 large: {{ kind: remote, base_url: '{0}', model: far }}\n\
         \x20 small: {{ kind: remote, base_url: '{0}', model: near, context_tokens: 200, capabilities: [chat] }}\n\
         mapping: {{ default: large, sql: small }}\n{more}",
        upstream.base_url()
    );
    Coterie::serve(&yaml).await
}

/// A server with two clients, `alpha` and `beta`.
fn keys() -> String {
    let key = |name: &str| {
        let digest = hex::encode(Sha256::digest(name));
        format!("{{ name: {name}, sha256: '{digest}' }}")
    };
    format!(
        "server: {{ listen: '127.0.0.1:0', keys: [{}, {}] }}\n",
        key("alpha"),
        key("beta")
    )
}

/// A server whose sessions stay where they are, or do not.
fn sticky(switch: &str) -> String {
    let routes = Path::new(env!("CARGO_MANIFEST_DIR")).join("routes");
    format!(
        "router: {{ sticky: {switch}, artefacts: '{}/routers', routes: '{}' }}\n",
        env!("CARGO_TARGET_TMPDIR"),
        routes.display()
    )
}

fn in_session(request: RequestBuilder, id: &str) -> RequestBuilder {
    request.header("x-session-id", id)
}

/// Asks one question that is sent alone, and says what became of it: category and stickiness.
async fn asked(request: RequestBuilder) -> (String, Option<String>) {
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    let header = |name: &str| {
        let value = response.headers().get(name)?;
        Some(value.to_str().unwrap().to_owned())
    };
    (
        header("x-coterie-category").unwrap(),
        header("x-coterie-session"),
    )
}

fn question(coterie: &Coterie, text: &str) -> RequestBuilder {
    coterie.post("/v1/chat/completions", &chat("coterie", text, false))
}

async fn explained(request: RequestBuilder) -> Value {
    request.send().await.unwrap().json().await.unwrap()
}

fn dry_run(coterie: &Coterie, body: &Value) -> RequestBuilder {
    coterie.post("/v1/route", body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follow_up_that_is_sent_alone_stays_with_its_session() {
    let upstream = Upstream::always(Reply::answer(["SELECT 1"])).await;
    let coterie = serve(&upstream, "").await;
    let first = asked(in_session(question(&coterie, QUERY), "s1")).await;
    assert_eq!(first, ("sql".into(), None));
    let body = json!({"text": FOLLOW_UP});
    let told = explained(in_session(dry_run(&coterie, &body), "s1")).await;
    assert_eq!(told["session"]["previous"], "sql", "{told:#}");
    assert_eq!(told["session"]["stayed"], true, "{told:#}");
    assert_eq!(told["session"]["why"], "margin", "{told:#}");
    let second = asked(in_session(question(&coterie, FOLLOW_UP), "s1")).await;
    assert_eq!(second, ("sql".into(), Some("stayed".into())));
    let elsewhere = asked(in_session(question(&coterie, FOLLOW_UP), "s2")).await;
    assert_ne!(elsewhere.0, "sql");
    let record = coterie.stop().await.all().await;
    assert_eq!(record[1].reason, "stayed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_user_that_a_request_names_keeps_a_session_as_an_id_does() {
    let upstream = Upstream::always(Reply::answer(["SELECT 1"])).await;
    let coterie = serve(&upstream, "").await;
    let ask = |text, user| {
        let mut body = chat("coterie", text, false);
        body["user"] = json!(user);
        coterie.post("/v1/chat/completions", &body)
    };
    assert_eq!(asked(ask(QUERY, "ann")).await, ("sql".into(), None));
    let another = asked(ask(FOLLOW_UP, "bob")).await;
    assert_eq!(another.1, None);
    assert_ne!(another.0, "sql");
    let same = asked(ask(FOLLOW_UP, "ann")).await;
    assert_eq!(same, ("sql".into(), Some("stayed".into())));
    // An id goes before the user, and is none even where it has the same name.
    let by_id = asked(in_session(ask(FOLLOW_UP, "ann"), "ann")).await;
    assert_eq!(by_id.1, None);
    assert_ne!(by_id.0, "sql");
    coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_nowhere_by_itself_stays_where_it_leans_and_an_order_does_not() {
    let upstream = Upstream::always(Reply::answer(["SELECT 1"])).await;
    let coterie = serve(&upstream, "").await;
    for (ask, category) in [
        ("now make it faster", "sql"),
        ("and in French?", "sql"),
        ("why?", "sql"),
        ("explain that again", "sql"),
        ("turn off the lights in the kitchen", "out_of_domain"),
        ("set a timer for ten minutes", "out_of_domain"),
        ("play some jazz", "out_of_domain"),
    ] {
        asked(in_session(question(&coterie, QUERY), ask)).await;
        let (found, session) = asked(in_session(question(&coterie, ask), ask)).await;
        let stayed = if category == "sql" { "stayed" } else { "left" };
        assert_eq!(
            (found.as_str(), session.as_deref()),
            (category, Some(stayed)),
            "{ask}"
        );
    }
    coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_topic_leaves_the_session_and_takes_it_along() {
    let upstream = Upstream::always(Reply::answer(["yes"])).await;
    let coterie = serve(&upstream, "").await;
    asked(in_session(question(&coterie, QUERY), "s")).await;
    let switched = asked(in_session(question(&coterie, MEDICINE), "s")).await;
    assert_eq!(switched, ("medical".into(), Some("left".into())));
    let back = asked(in_session(question(&coterie, FOLLOW_UP), "s")).await;
    assert_eq!(back, ("medical".into(), Some("stayed".into())));
    coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_never_share_a_session() {
    let upstream = Upstream::always(Reply::answer(["yes"])).await;
    let coterie = serve(&upstream, &keys()).await;
    let ask = |key, text| in_session(question(&coterie, text), "s").bearer_auth(key);
    asked(ask("alpha", QUERY)).await;
    assert_eq!(asked(ask("beta", FOLLOW_UP)).await.1, None);
    let owner = asked(ask("alpha", FOLLOW_UP)).await;
    assert_eq!(owner, ("sql".into(), Some("stayed".into())));
    coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stickiness_can_be_switched_off_by_a_request() {
    let upstream = Upstream::always(Reply::answer(["yes"])).await;
    let coterie = serve(&upstream, "").await;
    asked(in_session(question(&coterie, QUERY), "s")).await;
    let with = |sticky: &'static str| {
        in_session(question(&coterie, FOLLOW_UP), "s").header("x-coterie-sticky", sticky)
    };
    assert_eq!(asked(with("off")).await.1, None);
    assert_eq!(asked(with("on")).await.1.as_deref(), Some("stayed"));
    let wrong = with("perhaps").send().await.unwrap();
    assert_eq!(wrong.status(), 400);
    let told: Value = wrong.json().await.unwrap();
    assert_eq!(told["error"]["param"], "x-coterie-sticky");
    coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stickiness_can_be_switched_off_for_all() {
    let upstream = Upstream::always(Reply::answer(["yes"])).await;
    for (switch, stays) in [("on", true), ("off", false)] {
        let coterie = serve(&upstream, &sticky(switch)).await;
        let first = asked(in_session(question(&coterie, QUERY), "s")).await;
        assert_eq!(first, ("sql".into(), None));
        let body = json!({"text": FOLLOW_UP});
        let told = explained(in_session(dry_run(&coterie, &body), "s")).await;
        assert_eq!(told["session"].is_object(), stays, "{switch}: {told:#}");
        let (category, session) = asked(in_session(question(&coterie, FOLLOW_UP), "s")).await;
        assert_eq!(told["category"], category, "{switch}: {told:#}");
        assert_eq!(category == "sql", stays, "{switch}: {category}");
        assert_eq!(session.as_deref(), stays.then_some("stayed"), "{switch}");
        let record = coterie.stop().await.all().await;
        assert_eq!(record[1].reason == "stayed", stays, "{switch}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_leaves_where_its_expert_cannot_serve() {
    let upstream = Upstream::always(Reply::answer(["yes"])).await;
    let coterie = serve(&upstream, "").await;
    asked(in_session(question(&coterie, QUERY), "s")).await;
    let tools = json!({"text": FOLLOW_UP, "tools": [{"type": "function"}]});
    let told = explained(in_session(dry_run(&coterie, &tools), "s")).await;
    assert_eq!(told["session"]["why"], "expert", "{told:#}");
    assert_eq!(told["session"]["stayed"], false);
    assert_eq!(told["expert"], "large");
    // The same ask stays or leaves by nothing but how long the conversation is.
    for (times, why, expert) in [(1, "margin", "small"), (100, "expert", "large")] {
        let body = json!({"messages": [
            {"role": "system", "content": "Answer in one sentence. ".repeat(times)},
            {"role": "user", "content": FOLLOW_UP},
        ]});
        let told = explained(in_session(dry_run(&coterie, &body), "s")).await;
        assert_eq!(told["session"]["previous"], "sql", "{told:#}");
        assert_eq!(told["session"]["why"], why, "{told:#}");
        assert_eq!(told["session"]["stayed"], why == "margin", "{told:#}");
        assert_eq!(told["category"] == "sql", why == "margin", "{told:#}");
        assert_eq!(told["expert"], expert, "{told:#}");
    }
    coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_without_an_id_is_known_by_how_it_began() {
    let upstream = Upstream::always(Reply::answer(["SELECT 1"])).await;
    let coterie = serve(&upstream, "").await;
    asked(question(&coterie, QUERY)).await;
    let conversation = json!({"messages": [
        {"role": "user", "content": QUERY},
        {"role": "assistant", "content": "SELECT 1"},
        {"role": "user", "content": FOLLOW_UP},
    ]});
    let told = explained(dry_run(&coterie, &conversation)).await;
    assert_eq!(told["session"]["previous"], "sql", "{told:#}");
    assert_eq!(told["category"], "sql", "{told:#}");
    let again = explained(dry_run(&coterie, &json!({"text": QUERY}))).await;
    assert_eq!(again["session"], Value::Null, "it begins a conversation");
    coterie.stop().await;
}
