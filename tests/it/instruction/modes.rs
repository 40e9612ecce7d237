//! Every way to ask, through a whole server: the decision, the dry run, what a person is shown, and the outcome.

use serde_json::{Value, json};

use super::{House, PLAN, Plan, SURE, UNSURE, blend_of, built_in, catalogue, label, says};
use crate::support::{
    coterie::Coterie,
    upstream::{Recorded, Reply},
};
use coterie::{
    ids::CategoryId,
    instruction::{Mode, When, menu::Menu},
    store::StoredOutcome,
};

/// What the built-in cards say of legal questions.
fn legal_card() -> String {
    let cards = catalogue().cards;
    let card = &cards.categories[&CategoryId::new("legal")].instruction;
    card.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A reply of one letter, with how likely each of some is.
fn tells(likeliest: &[(String, f64)]) -> Reply {
    let top: Vec<Value> = likeliest
        .iter()
        .map(|(token, logprob)| json!({"token": token, "logprob": logprob, "bytes": null}))
        .collect();
    let first = &likeliest[0];
    Reply::json(json!({
        "id": "r", "object": "chat.completion", "created": 1, "model": "scribe",
        "choices": [{
            "index": 0, "message": {"role": "assistant", "content": first.0}, "finish_reason": "length",
            "logprobs": {"content": [{"token": first.0, "logprob": first.1, "bytes": null, "top_logprobs": top}]},
        }],
        "usage": {"prompt_tokens": 300, "completion_tokens": 1, "total_tokens": 301},
    }))
}

fn letter(category: &str) -> String {
    let menu = Menu::of(&catalogue());
    let mut entries = menu.entries().iter();
    let at = entries.position(|entry| entry.category.as_str() == category);
    menu.letters()[at.unwrap()].clone()
}

/// What one outcome tells of who was asked what it demands: the attempt, and what came of it.
fn recorded(outcome: &StoredOutcome) -> (Value, Value) {
    let attempts: Value = serde_json::from_str(&outcome.attempts).unwrap();
    let detail: Value = serde_json::from_str(&outcome.reason_detail).unwrap();
    (attempts[0].clone(), detail["instruction"].clone())
}

/// A house of `plan` whose expert decides alone says that a question of code is legal: what a dry run tells, what was asked, and
/// what the outcome of a question that is answered tells.
async fn told_alone(reply: Reply, mode: &str, plan: Plan<'_>) -> (Value, Recorded, Value) {
    let instruction = format!("mode: {mode}, when: alone");
    let house = House::planned(reply, &instruction, plan).await;
    let told = house.route(UNSURE[0]).await;
    let answer = house.coterie.ask("coterie", SURE.0).await;
    assert_eq!(answer.headers()["x-coterie-category"], "legal", "{told}");
    let shown = house.coterie.run(&["route", SURE.0, "--explain"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    for line in [
        "tier        instruction",
        "by router   coding ",
        "by expert   legal ",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
    let asked = house.scribe.requests()[0].clone();
    let outcome = house.coterie.stop().await.only().await;
    assert_eq!(outcome.category.as_deref(), Some("legal"));
    let (attempt, instruction) = recorded(&outcome);
    assert_eq!(
        (&attempt["role"], &attempt["expert"], &attempt["error"]),
        (&json!("route"), &json!("scribe"), &Value::Null),
        "{attempt}"
    );
    for of in [&told["instruction"], &instruction] {
        assert_eq!(
            (&of["result"], &of["mode"]),
            (&json!("heard"), &json!(mode))
        );
        assert_eq!(
            (&of["when"], &of["both"]["category"]),
            (&json!("alone"), &json!("legal"))
        );
        assert_eq!(of["both"]["confidence_min"], 0.5);
    }
    assert_eq!(
        instruction["router"]["scores"][0]["category"], SURE.1,
        "{instruction}"
    );
    (told, asked, instruction)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_description_is_compared_with_the_cards() {
    let card = legal_card();
    let reply = says(&format!("<instruction>{card}</instruction>"));
    let (told, asked, recorded) = told_alone(reply, "describe", PLAN).await;
    assert_eq!(asked.body["stop"], json!(["</instruction>"]));
    for of in [&told["instruction"], &recorded] {
        assert_eq!(of["instruction"], card.as_str());
        let nearest = &of["nearest"][0];
        assert_eq!(
            (&nearest["of"], &nearest["id"]),
            (&json!("category"), &json!("legal"))
        );
        assert!(nearest["cosine"].as_f64().unwrap() > 0.99, "{of}");
        assert!(of["parts"][0]["said"].as_f64().unwrap() > 0.99, "{of}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_letters_their_likelihoods_count() {
    let reply = tells(&[
        (letter("legal"), -0.1),
        (letter("coding"), -3.0),
        ("The".into(), -4.0),
    ]);
    let (told, asked, recorded) = told_alone(reply, "logprob", PLAN).await;
    assert_eq!(
        (
            &asked.body["logprobs"],
            &asked.body["top_logprobs"],
            &asked.body["max_tokens"]
        ),
        (&json!(true), &json!(20), &json!(1))
    );
    for of in [&told["instruction"], &recorded] {
        assert_eq!(of["prompt"], "letter-v1");
        let said = |category: &str| {
            let mut parts = of["parts"].as_array().unwrap().iter();
            let part = parts.find(|part| part["category"] == category);
            part.unwrap()["said"].as_f64().unwrap()
        };
        assert!((said("legal") - said("coding") - 2.9).abs() < 1e-6, "{of}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_in_json_keeps_to_a_schema() {
    let plan = Plan {
        capabilities: "[chat, json]",
        ..PLAN
    };
    let reply = says(&json!({"category": label("legal")}).to_string());
    let (told, asked, _) = told_alone(reply, "name", plan).await;
    assert_eq!(told["instruction"]["prompt"], "name-json-v1");
    let schema = &asked.body["response_format"]["json_schema"];
    assert_eq!(schema["strict"], true);
    let names = schema["schema"]["properties"]["category"]["enum"]
        .as_array()
        .unwrap();
    assert!(names.contains(&json!(label("legal"))), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_routers_confidence_and_that_of_both_have_thresholds_of_their_own() {
    let router = built_in().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("blend.json");
    blend_of(&router, (Mode::Logprob, "letter-v1"), When::Unsure, &file);
    let sure = tells(&[(letter("legal"), -0.05), (letter("coding"), -4.0)]);
    let instruction = format!("mode: logprob, blend: '{}'", file.display());
    let house = House::serve(sure, &instruction).await;
    let told = house.route(UNSURE[0]).await;
    let of = &told["instruction"];
    let confidence = |value: &Value| value.as_f64().unwrap();
    let (router, both) = (&of["router"], &of["both"]);
    assert_eq!(told["category"], "legal", "{told}");
    assert_eq!(
        (&router["routes"], &both["category"]),
        (&json!(false), &json!("legal"))
    );
    // The blend's threshold is what it was learnt to be, the router's its own.
    assert!(
        (confidence(&both["confidence_min"]) - 0.6).abs() < 1e-6,
        "{of}"
    );
    assert!(confidence(&both["confidence"]) >= 0.6, "{of}");
    assert_eq!(told["confidence"], both["confidence"]);
    assert_eq!(
        router["confidence_min"],
        told["explanation"]["confidence_min"]
    );
    assert_ne!(router["confidence_min"], both["confidence_min"]);
    let own = &router["scores"][0];
    assert!(
        confidence(&own["probability"]) < confidence(&router["confidence_min"]),
        "{of}"
    );
    // What is explained by words is the router's own word.
    assert_eq!(told["explanation"]["winner"], own["category"], "{told}");
    assert_ne!(told["explanation"]["tier"], "instruction");
    let shown = house.coterie.run(&["route", UNSURE[0], "--explain"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    let router_min = confidence(&router["confidence_min"]);
    for line in [
        "reason      the word of both together is enough".to_owned(),
        format!("by the router, which routes from {router_min:.3}"),
        format!("; enough from {router_min:.3}\nby both     legal "),
        "; enough from 0.600\n".to_owned(),
    ] {
        assert!(shown.contains(&line), "{line}: {shown}");
    }
    house.coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_in_this_process_tells_how_likely_it_finds_each_category() {
    let serve = async |mode: &str| {
        Coterie::serve(&format!(
            "router:\n\x20 artefacts: '{}/routers'\n\x20 instruction: {{ expert: small, mode: {mode}, when: alone, within: 120s }}\n\
             experts: {{ small: {{ kind: local, model: models/smollm2-135m-instruct }} }}\nmapping: {{ default: small }}\n",
            env!("CARGO_TARGET_TMPDIR"),
        ))
        .await
    };
    let coterie = serve("logprob").await;
    let told = coterie.told("/v1/route", &json!({"text": SURE.0})).await;
    let of = &told["instruction"];
    assert_eq!(
        (&of["result"], &of["prompt"], &told["tier"]),
        (
            &json!("heard"),
            &json!("likelihood-v1"),
            &json!("instruction")
        ),
        "{told}"
    );
    // One class or another is the likeliest of all, by logarithms of probabilities.
    let parts = of["parts"].as_array().unwrap();
    let said: Vec<f64> = parts
        .iter()
        .map(|part| part["said"].as_f64().unwrap())
        .collect();
    assert!(
        said.iter().all(|said| *said < 0.0) && said.is_sorted_by(|a, b| a >= b),
        "{of}"
    );
    let mass: f64 = said.iter().map(|said| said.exp()).sum();
    assert!(mass > 0.3 && mass < 1.0001, "{of}");
    assert_eq!(of["both"]["category"], parts[0]["category"]);
    assert!(of["usage"]["prompt_tokens"].as_u64().unwrap() > 100, "{of}");
    let body = json!({"model": "coterie", "max_tokens": 1, "messages": [{"role": "user", "content": UNSURE[0]}]});
    coterie.told("/v1/chat/completions", &body).await;
    let outcome = coterie.stop().await.only().await;
    let (attempt, instruction) = recorded(&outcome);
    assert_eq!(
        (&attempt["role"], &attempt["expert"], &instruction["result"]),
        (&json!("route"), &json!("small"), &json!("heard")),
        "{attempt} {instruction}"
    );

    // It names what it finds likeliest.
    let coterie = serve("name").await;
    let named = coterie.told("/v1/route", &json!({"text": SURE.0})).await;
    assert_eq!(
        named["instruction"]["both"]["category"], of["both"]["category"],
        "{named}"
    );
    coterie.stop().await;
}
