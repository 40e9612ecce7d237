//! What a day may cost: counted over restarts, and what happens when it is spent.

use reqwest::StatusCode;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    coterie::Coterie,
    upstream::{Reply, Upstream, finish, role, text, usage},
};

/// A dear expert and, where `cheap` has one, a cheap one; all outcomes in one file.
fn house(dear: &Upstream, cheap: Option<&Upstream>, folder: &TempDir) -> String {
    let cheap = cheap.map_or_else(String::new, |cheap| {
        let base_url = cheap.base_url();
        format!("\x20 cheap: {{ kind: remote, base_url: '{base_url}', model: c, usd_in: 0, usd_out: 0 }}\n")
    });
    format!(
        "experts:\n\
         \x20 dear: {{ kind: remote, base_url: '{}', model: d, usd_in: 1000, usd_out: 1000 }}\n{cheap}\
         mapping: {{ default: dear, budget: {{ usd_per_day: 2.5 }} }}\n\
         store: {{ url: 'sqlite://{}/coterie.db' }}\n",
        dear.base_url(),
        folder.path().display()
    )
}

/// Answers whose tokens cost a dollar.
async fn dollar_a_question() -> Upstream {
    Upstream::always(Reply::stream([
        role(),
        text("Hi"),
        finish("stop"),
        usage(400, 600),
    ]))
    .await
}

async fn answered_by(coterie: &Coterie) -> String {
    let response = coterie.ask_streamed("coterie/coding", "Why?").await;
    assert_eq!(response.status(), StatusCode::OK);
    let expert = response.headers()["x-coterie-expert"]
        .to_str()
        .unwrap()
        .to_owned();
    // To the end: the outcome is on its way.
    response.bytes().await.unwrap();
    expert
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_exceed_the_day_is_answered_more_cheaply_also_after_a_restart() {
    let (dear, folder) = (dollar_a_question().await, tempfile::tempdir().unwrap());
    let cheap = Upstream::always(Reply::answer(["Hello"])).await;
    let yaml = house(&dear, Some(&cheap), &folder);
    let coterie = Coterie::serve(&yaml).await;
    assert_eq!(answered_by(&coterie).await, "dear");
    coterie.begin_stop().closed().await;

    let coterie = Coterie::serve(&yaml).await;
    assert!(
        coterie
            .read("/metrics")
            .await
            .contains("coterie_spent_today_usd 1\n")
    );
    // Some dollar for 1 000 tokens of an answer: another fits, a third would not.
    assert_eq!(answered_by(&coterie).await, "dear");
    assert_eq!(answered_by(&coterie).await, "cheap");
    let question = serde_json::json!({"text": "Why?", "model": "coterie/coding"});
    let decided = coterie.told("/v1/route", &question).await;
    let passed_over = &decided["mapping"]["passed_over"][0];
    assert_eq!(passed_over["expert"], "dear");
    assert_eq!(passed_over["limit"], "usd_per_day");
    assert_eq!(passed_over["usd_left"], 0.5);
    coterie.begin_stop().closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_slow_first_expert_cost_hides_nothing_of_what_the_other_did() {
    let (dear, folder) = (dollar_a_question().await, tempfile::tempdir().unwrap());
    let late = Upstream::always(Reply::silence()).await;
    let yaml = format!(
        "experts:\n\
         \x20 dear: {{ kind: remote, base_url: '{}', model: d, usd_in: 1000, usd_out: 1000 }}\n\
         \x20 late: {{ kind: remote, base_url: '{}', model: l, usd_in: 0.001, usd_out: 0.001 }}\n\
         mapping:\n\
         \x20 default: dear\n\
         \x20 cascade: {{ coding: {{ first: late, accept: {{ code_parses: true }}, within: 200ms }} }}\n\
         store: {{ url: 'sqlite://{}/coterie.db' }}\n",
        dear.base_url(),
        late.base_url(),
        folder.path().display()
    );
    let coterie = Coterie::serve(&yaml).await;
    let question = serde_json::json!({"model": "coterie/coding", "stream": true, "max_tokens": 1,
        "messages": [{"role": "user", "content": "Why?"}]});
    let asked = coterie.post("/v1/chat/completions", &question);
    let answer = asked.send().await.unwrap().text().await.unwrap();
    assert!(answer.ends_with("data: [DONE]\n\n"), "{answer}");
    assert_eq!(late.requests().len(), 1);
    let spent = "coterie_spent_today_usd 1\n";
    assert!(coterie.read("/metrics").await.contains(spent));
    coterie.begin_stop().closed().await;

    let coterie = Coterie::serve(&yaml).await;
    assert!(coterie.read("/metrics").await.contains(spent));
    coterie.begin_stop().closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_cheaper_expert_is_left_the_client_hears_when_to_come_back() {
    let (dear, folder) = (dollar_a_question().await, tempfile::tempdir().unwrap());
    let coterie = Coterie::serve(&house(&dear, None, &folder)).await;
    for _ in 0..2 {
        assert_eq!(answered_by(&coterie).await, "dear");
    }
    for model in ["coterie", "coterie/coding", "dear"] {
        let refused = coterie.ask(model, "Why?").await;
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS, "{model}");
        let wait: u64 = refused.headers()["retry-after"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!((1..=24 * 60 * 60).contains(&wait), "{wait}");
        let told: Value = refused.json().await.unwrap();
        assert_eq!(told["error"]["code"], "daily_budget_exceeded");
        let message = told["error"]["message"].as_str().unwrap();
        assert!(
            message.contains("$0.500000 are left of the $2.50"),
            "{message}"
        );
    }
    assert_eq!(dear.requests().len(), 2);
    coterie.begin_stop().closed().await;
}
