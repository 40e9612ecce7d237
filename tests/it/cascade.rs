//! Cascades: a cheap expert first, held back until its answer is accepted.

use coterie::store::StoredOutcome;
use serde_json::{Value, json};

use crate::support::{
    coterie::{Coterie, chat},
    upstream::{Part, Reply, Upstream, close, delta, finish, role, text, usage},
};

const RIGHT: &str = "```python\nx = [1]\n```";
const WRONG: &str = "```python\nx = [1\n```";
const BY_CODE: &str = "accept: { code_parses: true }";
const BY_JUDGE: &str = "accept: { judge: judge }";

/// Three providers, and a house in which coding questions go to the cheap one first.
struct House {
    cheap: Upstream,
    strong: Upstream,
    judge: Upstream,
    coterie: Coterie,
}

impl House {
    async fn serve<const N: usize>(cheap: [Reply; N], judge: Vec<Reply>, cascade: &str) -> Self {
        let cheap = Upstream::in_turn(cheap).await;
        let judge = Upstream::in_turn(judge).await;
        let strong = Upstream::always(Reply::answer(["Strong", "."])).await;
        let expert = |id: &str, upstream: &Upstream, usd: u32| {
            let base_url = upstream.base_url();
            format!(
                "\x20 {id}: {{ kind: remote, base_url: '{base_url}', model: {id}, usd_in: {usd}, usd_out: {usd} }}\n"
            )
        };
        let yaml = format!(
            "experts:\n{}{}{}mapping:\n\x20 default: strong\n\x20 cascade:\n\x20   coding: {{ first: cheap, {cascade} }}\n",
            expert("cheap", &cheap, 1),
            expert("strong", &strong, 100),
            expert("judge", &judge, 10),
        );
        let coterie = Coterie::serve(&yaml).await;
        Self {
            cheap,
            strong,
            judge,
            coterie,
        }
    }

    /// Who answers a coding question, and what the client is streamed.
    async fn ask(&self) -> (String, String) {
        let response = self
            .coterie
            .ask_streamed("coterie/coding", "How do I make a list?")
            .await;
        let expert = response.headers()["x-coterie-expert"]
            .to_str()
            .unwrap()
            .to_owned();
        let body = response.text().await.unwrap();
        assert!(body.ends_with("data: [DONE]\n\n"), "{body}");
        (expert, body)
    }

    /// Asks a question whose first answer must not be seen.
    async fn ask_in_vain(&self) {
        let (expert, body) = self.ask().await;
        assert_eq!(expert, "strong");
        assert!(body.contains("Strong"), "{body}");
        let is_seen = body.contains("cheap") || body.contains("python");
        assert!(!is_seen, "{body}");
    }

    /// What the list of models says of one.
    async fn listed(&self, model: &str) -> Value {
        let path = format!("/v1/models/{model}");
        serde_json::from_str(&self.coterie.read(&path).await).unwrap()
    }

    /// How often the cheap expert, the judge and the strong one were asked.
    fn asked(&self) -> [usize; 3] {
        [&self.cheap, &self.judge, &self.strong].map(|upstream| upstream.requests().len())
    }

    /// Every outcome with its attempts, oldest first.
    async fn recorded(self) -> Vec<(StoredOutcome, Vec<Value>)> {
        let outcomes = self.coterie.stop().await.all().await;
        outcomes
            .into_iter()
            .map(|outcome| {
                assert_eq!(
                    (outcome.expert.as_str(), outcome.ending.as_str()),
                    ("strong", "completed")
                );
                let attempts: Vec<Value> = serde_json::from_str(&outcome.attempts).unwrap();
                assert_eq!(attempts[0]["expert"], "cheap");
                assert_eq!(attempts[0]["role"], "first");
                (outcome, attempts)
            })
            .collect()
    }
}

fn counted(answer: &str, prompt_tokens: u64, completion_tokens: u64) -> Reply {
    let usage = usage(prompt_tokens, completion_tokens);
    streamed([text(answer), finish("stop"), usage])
}

fn streamed<const N: usize>(parts: [Part; N]) -> Reply {
    Reply::stream([role()].into_iter().chain(parts))
}

fn never() -> Reply {
    Reply::status(500, json!({}))
}

/// Tokens read and written, and what all of that cost.
#[track_caller]
fn assert_spent(outcome: &StoredOutcome, tokens: (i64, i64), usd: f64) {
    let found = (outcome.prompt_tokens, outcome.completion_tokens);
    assert_eq!(found, (Some(tokens.0), Some(tokens.1)));
    assert_usd(outcome.cost_usd, usd);
}

#[track_caller]
fn assert_usd(found: Option<f64>, usd: f64) {
    let found = found.unwrap();
    assert!((found - usd).abs() < 1e-12, "{found}");
}

#[tokio::test]
async fn models_list_who_is_asked_first_before_the_categorys_own_expert() {
    let house = House::serve(
        [Reply::answer([RIGHT])],
        vec![Reply::answer(["yes"])],
        BY_CODE,
    )
    .await;
    let coding = house.listed("coterie/coding").await;
    assert_eq!(coding["experts"], json!(["cheap", "strong"]));
    let math = house.listed("coterie/math").await;
    assert_eq!(math["experts"], json!(["strong"]));
    let cheap = house.listed("cheap").await;
    assert_eq!(cheap["categories"], json!(["coding"]));
    let strong = house.listed("strong").await;
    let categories = strong["categories"].as_array().unwrap();
    assert!(categories.contains(&json!("coding")), "{strong}");
}

#[tokio::test(flavor = "multi_thread")]
async fn code_that_parses_is_the_clients_and_nothing_is_seen_of_what_does_not() {
    let answers = [counted(RIGHT, 3, 5), counted(WRONG, 3, 5)];
    let house = House::serve(answers, vec![never()], BY_CODE).await;
    let (expert, body) = house.ask().await;
    assert_eq!((expert.as_str(), house.asked()), ("cheap", [1, 0, 0]));
    assert!(body.contains("x = [1]"), "{body}");
    house.ask_in_vain().await;
    assert_eq!(house.asked(), [2, 0, 1]);
    let recorded = house.recorded().await;

    let (accepted, attempts) = &recorded[0];
    assert_eq!(accepted.answered_by.as_deref(), Some("cheap"));
    assert_spent(accepted, (3, 5), 8e-6);
    assert_eq!(
        (attempts.len(), &attempts[0]["rejected"]),
        (1, &Value::Null)
    );

    let (rejected, attempts) = &recorded[1];
    assert_eq!(rejected.answered_by.as_deref(), Some("strong"));
    assert_eq!(rejected.answer.as_deref(), Some("Strong."));
    assert_spent(rejected, (10, 7), 8e-6 + 9e-4);
    assert_eq!(attempts[0]["rejected"], "its python does not parse");
    assert_eq!(attempts[0]["rejected_as"], "code");
    for (attempt, tokens, usd) in [(0, (3, 5), 8e-6), (1, (7, 2), 9e-4)] {
        let attempt = &attempts[attempt];
        assert_eq!(attempt["prompt_tokens"], tokens.0);
        assert_eq!(attempt["completion_tokens"], tokens.1);
        assert_usd(attempt["cost_usd"].as_f64(), usd);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_judge_decides_with_one_word() {
    let verdicts = vec![Reply::answer(["Yes", "."]), Reply::answer(["no"])];
    let house = House::serve([counted("A cheap list.", 3, 5)], verdicts, BY_JUDGE).await;
    let (expert, body) = house.ask().await;
    assert_eq!((expert.as_str(), house.asked()), ("cheap", [1, 1, 0]));
    assert!(body.contains("A cheap list."), "{body}");
    let judged = &house.judge.requests()[0].body;
    let prompt = judged["messages"][1]["content"].as_str().unwrap();
    for part in ["How do I make a list?", "A cheap list."] {
        assert!(prompt.contains(part), "{prompt}");
    }
    house.ask_in_vain().await;
    assert_eq!(house.asked(), [2, 2, 1]);

    let recorded = house.recorded().await;
    // The judge reads 7 tokens and writes 2, then 1, at ten times the price.
    let (accepted, attempts) = &recorded[0];
    assert_spent(accepted, (10, 7), 8e-6 + 9e-5);
    assert_eq!(attempts[1]["role"], "judge");
    let (rejected, attempts) = &recorded[1];
    assert_spent(rejected, (17, 8), 8e-6 + 8e-5 + 9e-4);
    let said = "the judge says that it is not right";
    assert_eq!(
        (attempts.len(), &attempts[0]["rejected"]),
        (3, &json!(said))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_judge_that_fails_or_rambles_accepts_nothing() {
    let rambling = Reply::answer(["Well, yes and no"]);
    let house = House::serve(
        [counted("A cheap list.", 3, 5)],
        vec![Reply::reset(), never(), rambling],
        BY_JUDGE,
    )
    .await;
    for _ in 0..3 {
        house.ask_in_vain().await;
    }
    let recorded = house.recorded().await;
    let rejected: Vec<_> = recorded
        .iter()
        .map(|(_, attempts)| &attempts[0]["rejected"])
        .collect();
    let failed = "the judge failed";
    assert_eq!(
        rejected,
        [failed, failed, "the judge said neither yes nor no"]
    );
    let mut kinds = recorded
        .iter()
        .map(|(_, attempts)| &attempts[0]["rejected_as"]);
    assert!(kinds.all(|kind| kind == "judge_failed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_expert_that_fails_breaks_off_or_is_too_slow_is_replaced_unseen() {
    let answers = [
        never(),
        streamed([text("cheap"), close()]),
        counted("", 3, 0),
        Reply::silence(),
    ];
    let within = format!("within: 2s, {BY_CODE}");
    let house = House::serve(answers, vec![never()], &within).await;
    for _ in 0..4 {
        house.ask_in_vain().await;
    }
    let recorded = house.recorded().await;
    let why: Vec<_> = recorded
        .iter()
        .map(|(_, attempts)| {
            json!([
                attempts.len(),
                attempts[0]["error"],
                attempts[0]["rejected"]
            ])
        })
        .collect();
    assert_eq!(
        why,
        [
            json!([2, "failed", null]),
            json!([2, "broken", null]),
            json!([2, null, "it has no text"]),
            json!([2, null, "it and its checks took too long"]),
        ]
    );
}

/// A plain answer with a message and how it ended.
fn whole(message: Value, finish_reason: Option<&str>) -> Reply {
    let choice = json!({"index": 0, "message": message, "finish_reason": finish_reason});
    Reply::json(
        json!({"id": "a", "object": "chat.completion", "created": 1, "model": "cheap", "choices": [choice]}),
    )
}

/// The call of a tool beside text that passes.
fn called() -> Value {
    let call = json!({"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    json!({"role": "assistant", "content": RIGHT, "tool_calls": [call]})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_answer_that_calls_a_tool_or_did_not_end_of_itself_is_not_taken() {
    let answers = [
        streamed([delta(called()), finish("stop")]),
        streamed([text(RIGHT), finish("tool_calls")]),
        streamed([text(RIGHT), finish("length")]),
        streamed([text(RIGHT), finish("content_filter")]),
    ];
    let house = House::serve(answers, vec![never()], BY_CODE).await;
    for _ in 0..4 {
        house.ask_in_vain().await;
    }
    let recorded = house.recorded().await;
    let why = recorded
        .iter()
        .map(|(_, attempts)| attempts[0]["rejected_as"].clone());
    let why: Vec<Value> = why.collect();
    assert_eq!(why, ["tool_call", "unfinished", "unfinished", "unfinished"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_answer_that_calls_a_tool_is_cut_or_too_long_is_not_taken() {
    let said = |text: &str| json!({"role": "assistant", "content": text});
    let long = format!("{RIGHT}\n{}", "x".repeat(1 << 20));
    let answers = [
        whole(called(), Some("stop")),
        whole(said(RIGHT), Some("length")),
        whole(said(RIGHT), Some("content_filter")),
        whole(said(&long), Some("stop")),
        whole(said(RIGHT), Some("stop")),
    ];
    let house = House::serve(answers, vec![never()], BY_CODE).await;
    for expert in ["strong", "strong", "strong", "strong", "cheap"] {
        let response = house.coterie.ask("coterie/coding", "A list?").await;
        assert_eq!(response.headers()["x-coterie-expert"], expert);
        response.bytes().await.unwrap();
    }
    let recorded = house.recorded().await;
    let why = recorded
        .iter()
        .map(|(_, attempts)| attempts[0]["rejected_as"].clone());
    let why: Vec<Value> = why.collect();
    let unfinished = || json!("unfinished");
    assert_eq!(
        why,
        [
            json!("tool_call"),
            unfinished(),
            unfinished(),
            json!("too_long"),
            Value::Null
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_answer_is_checked_as_well_and_other_categories_are_not() {
    let cheap = Reply::answer(["```json\n", "{\"a\": 1,}", "\n```"]);
    let house = House::serve([cheap], vec![never()], BY_CODE).await;
    let response = house.coterie.ask("coterie/coding", "Some JSON?").await;
    assert_eq!(response.headers()["x-coterie-expert"], "strong");
    let answer: Value = response.json().await.unwrap();
    assert_eq!(answer["choices"][0]["message"]["content"], "Strong.");
    let response = house.coterie.ask_streamed("coterie/legal", "May I?").await;
    assert_eq!(response.headers()["x-coterie-expert"], "strong");
    response.bytes().await.unwrap();
    assert_eq!(house.asked(), [1, 0, 2]);
    let outcomes = house.coterie.stop().await.all().await;
    let attempts: Vec<Value> = serde_json::from_str(&outcomes[0].attempts).unwrap();
    assert_eq!(attempts[0]["rejected"], "its json does not parse");
    let detail: Value = serde_json::from_str(&outcomes[0].reason_detail).unwrap();
    assert_eq!(detail["mapping"]["cascade"]["first"], "cheap");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_experts_own_likelihood_accepts_its_answer_or_not() {
    let strong = Upstream::always(Reply::answer(["Strong."])).await;
    let yaml = format!(
        "experts:
  small: {{ kind: local, model: models/smollm2-135m-instruct }}
  strong: {{ kind: remote, base_url: '{}', model: strong }}
mapping:
  default: strong
  cascade:
    coding: {{ first: small, accept: {{ likelihood_min: -50 }} }}
    sql: {{ first: small, accept: {{ likelihood_min: 0 }} }}
",
        strong.base_url()
    );
    let coterie = Coterie::serve(&yaml).await;
    for (model, expert) in [("coterie/coding", "small"), ("coterie/sql", "strong")] {
        let mut body = chat(model, "How do I sort a list?", true);
        body["max_tokens"] = json!(4);
        let response = coterie
            .post("/v1/chat/completions", &body)
            .send()
            .await
            .unwrap();
        assert_eq!(response.headers()["x-coterie-expert"], expert);
        response.bytes().await.unwrap();
    }
    let outcomes = coterie.stop().await.all().await;
    let rejected = |at: usize| {
        let attempts: Vec<Value> = serde_json::from_str(&outcomes[at].attempts).unwrap();
        attempts[0]["rejected"].as_str().map(str::to_owned)
    };
    assert_eq!(rejected(0), None);
    let why = rejected(1).unwrap();
    assert!(why.starts_with("its mean log-probability is -"), "{why}");
}
