//! Every fault that a provider can have, plain and streamed, with a fallback and without: what the client gets.
//!
//! The providers are Coterie's own fault server; waits are scaled down, and so are the clocks.

mod dialects;
mod table;

use std::collections::HashMap;

use coterie::{
    fault::{FaultServer, Options, TimeScale},
    store::StoredOutcome,
};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::coterie::{Coterie, chat};
use table::{Asked, By, Expected, HEALTHY, LONG_ROWS, REJECTS, REJECTS_AND_DIFFERS, ROWS, Row};

/// Waits that belong to a fault last a twentieth: twenty seconds are one.
const TIME_SCALE: f64 = 0.05;

/// Bytes in each piece of an answer that is huge.
const HUGE_PIECE_BYTES: usize = 16 * 1024;

/// Categories that may each have an expert of its own in one house.
const CATEGORIES: [&str; 12] = [
    "banking_support",
    "coding",
    "finance",
    "general_knowledge",
    "legal",
    "math",
    "medical",
    "multilingual",
    "reasoning",
    "science",
    "sql",
    "writing",
];

async fn faults() -> FaultServer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let time_scale = TimeScale::new(TIME_SCALE).unwrap();
    FaultServer::start(listener, Options { time_scale }).unwrap()
}

/// An expert whose clocks are shorter than what the faults wait for.
///
/// What is long rather than slow, and what stands in for others, has all the time that a busy machine may need.
fn expert(id: &str, faults: &FaultServer, model: &str, more: &str) -> String {
    let is_waited_for = model.starts_with("huge") || model.ends_with("#fallback");
    let (clock, total) = if is_waited_for {
        ("1min", "5min")
    } else {
        ("1s", "4s")
    };
    format!(
        "\x20 {id}: {{ kind: remote, base_url: '{}', model: '{model}', usd_in: 1, usd_out: 1000000, \
         timeouts: {{ first_token: {clock}, idle: {clock}, total: {total} }}, \
         retries: {{ backoff: 10ms, backoff_max: 2s, retry_after_max: 2s }}, \
         breaker: {{ failures: 1000, answers_min: 1000 }}{more} }}\n",
        faults.base_url()
    )
}

const TAKES_PREFILL: &str = ", prefill: continue_final_message";

/// A house in which each row's expert has a category and a fallback.
fn house(rows: &[Row], faults: &FaultServer) -> String {
    let fallbacks = [
        (HEALTHY, "healthy#fallback"),
        (REJECTS, "reject-prefill#fallback"),
        (REJECTS_AND_DIFFERS, "reject-prefill?text=other#fallback"),
    ];
    let mut experts: String = fallbacks
        .into_iter()
        .map(|(id, model)| expert(id, faults, model, TAKES_PREFILL))
        .collect();
    let mut mapping = String::new();
    for (at, (row, category)) in rows.iter().zip(CATEGORIES).enumerate() {
        experts += &expert(&format!("e{at}"), faults, row.model, "");
        let fallback = row.fallback;
        mapping += &format!("\x20 {category}: {{ expert: e{at}, fallbacks: [{fallback}] }}\n");
    }
    format!("experts:\n{experts}mapping:\n\x20 default: healthy\n{mapping}")
}

/// What a client got.
#[derive(Debug, PartialEq)]
struct Got {
    status: u16,
    text: String,
    finish_reason: Option<String>,
    is_done: bool,
    error: Option<Value>,
    usage: Vec<Value>,
    models: Vec<String>,
}

async fn ask(coterie: &Coterie, model: &str, stream: bool) -> Got {
    let mut body = chat(model, "Which trees?", stream);
    if stream {
        body["stream_options"] = json!({"include_usage": true});
    }
    let response = coterie.post("/v1/chat/completions", &body).send().await;
    let response = response.unwrap();
    let status = response.status().as_u16();
    let bytes = response.bytes().await.unwrap();
    let bytes = String::from_utf8(bytes.to_vec()).unwrap();
    if status == 200 && stream {
        streamed(&bytes)
    } else {
        plain(status, &serde_json::from_str(&bytes).unwrap())
    }
}

fn plain(status: u16, body: &Value) -> Got {
    let choice = &body["choices"][0];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Got {
        status,
        text: text(&choice["message"]["content"]).unwrap_or_default()
            + &text(&choice["message"]["tool_calls"][0]["function"]["arguments"])
                .unwrap_or_default(),
        finish_reason: text(&choice["finish_reason"]),
        is_done: status == 200,
        error: body.get("error").cloned(),
        usage: body.get("usage").into_iter().cloned().collect(),
        models: text(&body["model"]).into_iter().collect(),
    }
}

fn streamed(body: &str) -> Got {
    let mut got = plain(200, &Value::Null);
    got.is_done = false;
    for data in body.lines().filter_map(|line| line.strip_prefix("data: ")) {
        assert!(
            !got.is_done && got.error.is_none(),
            "more after the end: {data}"
        );
        if data == "[DONE]" {
            got.is_done = true;
            continue;
        }
        let chunk: Value = serde_json::from_str(data).unwrap();
        if let Some(error) = chunk.get("error") {
            got.error = Some(error.clone());
            continue;
        }
        got.usage
            .extend(chunk.get("usage").filter(|usage| !usage.is_null()).cloned());
        let choice = &chunk["choices"][0];
        let delta = &choice["delta"];
        let call = &delta["tool_calls"][0]["function"]["arguments"];
        got.text += delta["content"].as_str().unwrap_or_default();
        got.text += call.as_str().unwrap_or_default();
        if let Some(reason) = choice["finish_reason"].as_str() {
            got.finish_reason = Some(reason.to_owned());
        }
        let model = chunk["model"].as_str().unwrap().to_owned();
        if got.models.last() != Some(&model) {
            got.models.push(model);
        }
    }
    got
}

/// What a healthy provider answers, by the text that a model's name asks for.
struct Texts(HashMap<&'static str, Got>);

impl Texts {
    async fn of(coterie: &Coterie) -> Self {
        let mut texts = HashMap::new();
        for (name, model) in [
            ("trees", "trees"),
            ("accents", "accents"),
            ("tools", "tools"),
            ("other", "other"),
        ] {
            texts.insert(name, ask(coterie, model, false).await);
        }
        Self(texts)
    }

    /// Whether an answer is all of a text, with its end.
    fn is_whole(&self, name: &str, got: &Got) -> bool {
        let whole = &self.0[name];
        got.status == 200
            && got.text == whole.text
            && got.finish_reason == whole.finish_reason
            && got.is_done
            && got.error.is_none()
    }

    /// Whether its tokens are counted once and as those of the whole text are.
    fn is_counted(&self, name: &str, got: &Got) -> bool {
        got.usage == self.0[name].usage && got.usage.len() == 1
    }

    /// A text.
    fn text(&self, name: &str) -> &str {
        &self.0[name].text
    }

    /// The first words.
    fn first(&self, words: usize) -> String {
        let trees = self.0["trees"].text.split(' ').take(words);
        trees.collect::<Vec<_>>().join(" ")
    }
}

/// Whether so many tokens of an answer are counted, once.
fn counts(got: &Got, tokens: u64) -> bool {
    matches!(got.usage.as_slice(), [usage] if usage["completion_tokens"] == tokens)
}

fn has_code(got: &Got, code: &str) -> bool {
    got.error
        .as_ref()
        .is_some_and(|error| error["code"] == code)
}

/// Whether a row's expert `own` and its fallback gave the client what they should have.
fn is_right(row: &Row, own: &str, expected: Expected, got: &Got, texts: &Texts) -> bool {
    match expected {
        Expected::Whole(by) => {
            let is_named_and_counted = match by {
                By::Own => got.models == [own] && texts.is_counted(row.text, got),
                By::Fallback => got.models == [row.fallback] && texts.is_counted(row.text, got),
                By::Both(tokens) => got.models == [own, row.fallback] && counts(got, tokens),
            };
            texts.is_whole(row.text, got) && is_named_and_counted
        }
        Expected::Finished(reason, words) => {
            got.status == 200
                && got.is_done
                && got.error.is_none()
                && got.finish_reason.as_deref() == Some(reason)
                && got.text.trim_end() == texts.first(words)
                && got.models == [own]
                && counts(got, words as u64)
        }
        Expected::Told(status, code) => {
            got.status == status && got.text.is_empty() && has_code(got, code)
        }
        Expected::BrokeOff(words, code) => {
            got.status == 200
                && !got.is_done
                && got.text.trim_end() == texts.first(words)
                && has_code(got, code)
                && got.finish_reason.is_none()
                && got.usage.is_empty()
                && got.models == [own]
        }
        Expected::Long(bytes) => {
            // It counts pieces of this many bytes as tokens.
            let pieces = bytes.div_ceil(HUGE_PIECE_BYTES);
            got.status == 200
                && got.is_done
                && got.error.is_none()
                && got.finish_reason.as_deref() == Some("stop")
                && got.text.len() == pieces * HUGE_PIECE_BYTES
                && got.models == [own]
                && counts(got, pieces as u64)
        }
        Expected::Uncounted => {
            texts.is_whole(row.text, got) && got.usage.is_empty() && got.models == [own]
        }
        Expected::Other => {
            texts.is_whole("other", got)
                && texts.is_counted("other", got)
                && got.models == [row.fallback]
        }
    }
}

/// What is wrong with what a client got, if anything.
fn judge(row: &Row, own: &str, how: &str, got: &Got, is_right: bool) -> Option<String> {
    (!is_right).then(|| {
        let got = format!("{got:?}");
        let got: String = got.chars().take(1000).collect();
        format!("{} ({own}) {how}, got {got}", row.model)
    })
}

/// What a healthy provider answers.
async fn texts(faults: &FaultServer) -> Texts {
    let experts: String = [
        ("trees", "healthy"),
        ("accents", "healthy?text=accents"),
        ("tools", "tools"),
        ("other", "healthy?text=other"),
    ]
    .map(|(id, model)| expert(id, faults, model, ""))
    .concat();
    let house = format!("experts:\n{experts}mapping:\n\x20 default: trees\n");
    let coterie = Coterie::serve(&house).await;
    let texts = Texts::of(&coterie).await;
    coterie.stop().await;
    texts
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_has_its_right_end() {
    let faults = faults().await;
    let texts = texts(&faults).await;
    let mut wrong = Vec::new();
    for rows in ROWS.chunks(CATEGORIES.len()).chain([LONG_ROWS]) {
        let coterie = Coterie::serve(&house(rows, &faults)).await;
        for stream in [false, true] {
            for has_fallback in [false, true] {
                faults.reset();
                let asking = rows.iter().enumerate().map(async |(at, row)| {
                    let model = if has_fallback {
                        format!("coterie/{}", CATEGORIES[at])
                    } else {
                        format!("e{at}")
                    };
                    let got = ask(&coterie, &model, stream).await;
                    let (own, expected) = (format!("e{at}"), row.expected(stream, has_fallback));
                    let is_right = is_right(row, &own, expected, &got, &texts);
                    let how = format!(
                        "stream: {stream}, fallback: {has_fallback}: expected {expected:?}"
                    );
                    judge(row, &own, &how, &got, is_right)
                });
                wrong.extend(join_all(asking).await.into_iter().flatten());
            }
        }
        let outcomes = coterie.stop().await.all().await;
        assert_eq!(outcomes.len(), rows.len() * 4, "one outcome a question");
        wrong.extend(outcomes.iter().filter_map(misaccounted));
        let asked = outcomes.iter();
        wrong.extend(asked.filter_map(|outcome| misasked(rows, outcome)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong with the accounting of an outcome, if anything: whoever failed is not paid, and has its reason.
fn misaccounted(outcome: &StoredOutcome) -> Option<String> {
    let attempts: Vec<Value> = serde_json::from_str(&outcome.attempts).unwrap();
    let failed = attempts
        .iter()
        .filter(|attempt| !attempt["error"].is_null());
    let is_paid = |attempt: &Value| {
        attempt["cost_usd"].as_f64().is_some_and(|usd| usd > 0.0)
            || !attempt["completion_tokens"].is_null()
    };
    if failed.into_iter().any(is_paid) {
        return Some(format!("a failure is paid for: {attempts:?}"));
    }
    let last = attempts.last()?;
    let is_right = match outcome.ending.as_str() {
        "completed" => {
            outcome.answered_by.as_deref() == last["expert"].as_str() && last["error"].is_null()
        }
        _ => outcome.cost_usd.unwrap_or(0.0) == 0.0 && !last["error"].is_null(),
    };
    (!is_right).then(|| format!("{}: {attempts:?} {:?}", outcome.ending, outcome.cost_usd))
}

/// What is wrong with who was asked, if anything.
fn misasked(rows: &[Row], outcome: &StoredOutcome) -> Option<String> {
    let attempts: Vec<Value> = serde_json::from_str(&outcome.attempts).unwrap();
    let first = attempts.first()?["expert"].as_str()?;
    let at: usize = first.strip_prefix('e')?.parse().ok()?;
    let own = attempts.iter().filter(|it| it["expert"] == first).count();
    let is_right = match rows[at].asked {
        Asked::Any => true,
        Asked::Once => own == 1,
        Asked::Alone => own == 1 && attempts.len() == 1,
    };
    (!is_right).then(|| format!("{}: {attempts:?}", rows[at].model))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_another_expert_goes_on_with_is_accounted_to_that_expert() {
    let faults = faults().await;
    let experts =
        expert("frail", &faults, "cut@5", "") + &expert("sound", &faults, "healthy", TAKES_PREFILL);
    let yaml = format!(
        "experts:\n{experts}mapping:\n\x20 default: frail\n\x20 coding: {{ expert: frail, fallbacks: [sound] }}\n"
    );
    let coterie = Coterie::serve(&yaml).await;
    let got = ask(&coterie, "coterie/coding", true).await;
    assert_eq!(got.models, ["frail", "sound"]);
    let counted = &got.usage[0];
    assert_eq!(
        counted["completion_tokens"], 12,
        "of seventeen, five were said before"
    );
    let asked = faults.requests("healthy");
    let prefill = asked[0].body["messages"]
        .as_array()
        .unwrap()
        .last()
        .unwrap();
    assert_eq!(prefill["role"], "assistant");
    let outcome = coterie.stop().await.only().await;
    assert_eq!(outcome.answered_by.as_deref(), Some("sound"));
    assert_eq!(outcome.completion_tokens, Some(12));
    let attempts: Vec<Value> = serde_json::from_str(&outcome.attempts).unwrap();
    assert_eq!(attempts[0]["error"], "broken");
    assert_eq!(attempts[1]["role"], "continue");
    assert_eq!(outcome.cost_usd, attempts[1]["cost_usd"].as_f64());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_was_down_is_left_alone_and_noticed_when_it_is_back() {
    let faults = faults().await;
    let model = "down?for=20s";
    let frail = format!(
        "\x20 frail: {{ kind: remote, base_url: '{}', model: '{model}', retries: {{ max: 0 }}, \
         breaker: {{ failures: 3, open: 50ms, open_max: 100ms }} }}\n",
        faults.base_url()
    );
    let experts = frail + &expert("sound", &faults, "healthy", "");
    let yaml = format!(
        "experts:\n{experts}mapping:\n\x20 default: frail\n\x20 coding: {{ expert: frail, fallbacks: [sound] }}\n"
    );
    let coterie = Coterie::serve(&yaml).await;
    let mut questions = 0;
    loop {
        let got = ask(&coterie, "coterie/coding", false).await;
        assert_eq!(got.status, 200, "{got:?}");
        questions += 1;
        if got.models == ["frail"] {
            break;
        }
        assert!(questions < 100_000, "it was never noticed");
    }
    let asked = faults.count(model);
    assert!(
        asked < questions / 2,
        "{asked} of {questions} were let through"
    );
    let ready: Value = serde_json::from_str(&coterie.read("/readyz").await).unwrap();
    assert_eq!(ready["experts"][0]["endpoints"][0]["state"], "closed");
    let record = coterie.stop().await.all().await;
    let passed_over = record.iter().filter(|it| it.expert == "sound");
    assert!(
        passed_over.count() > 0,
        "the decision went straight to the fallback"
    );
}
