//! What becomes of a question whose turn is not simply heard.

use std::{fs, path::Path, time::Duration};

use coterie::{
    config::{self, Exposure},
    expert::Experts,
    instruction::{Mode, When, tier::Tier},
    outcome::Tab,
    query::Query,
    registry,
};
use serde_json::{Value, json};

use super::{House, SURE, UNSURE, blend, blend_of, built_in, label, names, says, write_routes};
use crate::support::{
    coterie::{Coterie, environment, write_config},
    encoder::encoder_config,
    upstream::{Reply, Upstream},
};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_of_a_question_is_said_of_one_that_is_next_to_the_same() {
    let router = built_in().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("blend.json");
    blend_of(
        &router,
        (Mode::Describe, "describe-v1"),
        When::Always,
        &file,
    );
    let instruction = format!("mode: describe, when: always, blend: '{}'", file.display());
    let secret = "<instruction>Explain a clause of the contract with Acme.</instruction>";
    let house = House::serve(says(secret), &instruction).await;
    let first = house.route(SURE.0).await;
    assert_eq!(first["instruction"]["result"], "heard", "{first}");
    let near = house
        .route(&SURE.0.replace("and explain", "and explains"))
        .await;
    let of = &near["instruction"];
    assert_eq!(of["result"], "near", "{near}");
    // What it says of the categories counts; the words are another question's.
    assert_eq!(
        of["parts"][0]["said"],
        first["instruction"]["parts"][0]["said"]
    );
    assert_eq!(
        (&of["instruction"], &of["usage"]),
        (&Value::Null, &Value::Null)
    );
    let far = house.route(UNSURE[0]).await;
    assert_eq!(far["instruction"]["result"], "heard", "{far}");
    assert_eq!(house.scribe.requests().len(), 2);
    house.coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_questions_are_asked_about_at_once_than_may_be() {
    let instruction = "mode: name, when: alone, within: 3s, concurrent_max: 1";
    let house = House::serve(Reply::silence(), instruction).await;
    let (waiting, crowded) = tokio::join!(house.route(SURE.0), async {
        house.scribe.asked(1).await;
        house.route(UNSURE[0]).await
    });
    assert_eq!(waiting["instruction"]["result"], "timed_out", "{waiting}");
    assert_eq!(crowded["instruction"]["result"], "crowded", "{crowded}");
    assert_ne!(crowded["tier"], "instruction");
    assert_eq!(house.scribe.requests().len(), 1);
    house.coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_without_likelihoods_says_nothing() {
    let house = House::serve(says("A"), "mode: logprob, when: alone").await;
    let answer = house.coterie.ask("coterie", SURE.0).await;
    assert_eq!(answer.headers()["x-coterie-category"], SURE.1);
    let outcome = house.coterie.stop().await.only().await;
    let detail: Value = serde_json::from_str(&outcome.reason_detail).unwrap();
    let instruction = &detail["instruction"];
    assert_eq!(instruction["result"], "no_likelihoods", "{instruction}");
    assert_eq!(
        (&instruction["both"], &instruction["parts"]),
        (&Value::Null, &json!([]))
    );
    // It was paid for like any other.
    let attempts: Value = serde_json::from_str(&outcome.attempts).unwrap();
    assert_eq!(
        (&attempts[0]["role"], &attempts[0]["rejected"]),
        (&json!("route"), &json!("no_likelihoods")),
        "{attempts}"
    );
}

/// An encoder whose weights are none, which is found out when it is first needed.
fn write_broken_encoder(folder: &Path) {
    for file in fs::read_dir(encoder_config().model_dir).unwrap() {
        let file = file.unwrap().path();
        if file.extension().is_some_and(|it| it == "json") {
            fs::copy(&file, folder.join(file.file_name().unwrap())).unwrap();
        }
    }
    fs::write(folder.join("model.safetensors"), "no weights").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_description_that_no_encoder_reads_says_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["encoder", "routes"] {
        fs::create_dir(path(name)).unwrap();
    }
    write_broken_encoder(&path("encoder"));
    write_routes(&path("routes"));
    let scribe = Upstream::always(says("<instruction>Tune a violin.</instruction>")).await;
    // A router of words alone does without the encoder.
    let yaml = format!(
        "router:\n\x20 features: [sparse]\n\x20 routes: '{}'\n\x20 artefacts: '{}'\n\x20 encoder: {{ model: '{}' }}\n\
         \x20 instruction: {{ expert: scribe, mode: describe, when: alone, within: 20s }}\n\
         experts: {{ scribe: {{ kind: remote, base_url: '{}', model: scribe }} }}\nmapping: {{ default: scribe }}\n",
        path("routes").display(),
        path("routers").display(),
        path("encoder").display(),
        scribe.base_url(),
    );
    let coterie = Coterie::serve(&yaml).await;
    let told = coterie
        .told(
            "/v1/route",
            &json!({"text": "How do I tune a violin by ear?"}),
        )
        .await;
    let instruction = &told["instruction"];
    assert_eq!(instruction["result"], "encoder_failed", "{told}");
    assert!(
        instruction["detail"].as_str().unwrap().contains("encoder"),
        "{told}"
    );
    assert_eq!(
        (&told["tier"], scribe.requests().len()),
        (&json!("cheap"), 1)
    );
    coterie.stop().await;
}

/// The clock stands still and leaps to whatever is waited for first: as if the encoder took for ever.
#[tokio::test]
async fn an_encoder_that_takes_all_the_time_leaves_none_to_ask_in() {
    let router = built_in().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("blend.json");
    blend(&router, When::Unsure, &file);
    let scribe = Upstream::always(names(&label("legal"))).await;
    let yaml = format!(
        "router:\n\x20 artefacts: '{}/routers'\n\x20 instruction: {{ expert: scribe, mode: name, within: 20s, blend: '{}' }}\n\
         experts: {{ scribe: {{ kind: remote, base_url: '{}', model: scribe, capabilities: [chat] }} }}\nmapping: {{ default: scribe }}\n",
        env!("CARGO_TARGET_TMPDIR"),
        file.display(),
        scribe.base_url(),
    );
    let file = write_config(folder.path(), &yaml);
    let config = config::load(Some(&file), &environment(), Exposure::Guarded).unwrap();
    let router = registry::open(&config, None).await.unwrap();
    let experts = Experts::open(&config.experts, &config.delivery).unwrap();
    let tier = Tier::configured(&config, &experts, &router)
        .unwrap()
        .unwrap();
    let query = Query::from_text(UNSURE[0]);
    let verdict = router.classify(&query).await.unwrap();

    tokio::time::pause();
    let tab = Tab::default();
    let (weighed, instructed) = tier.weigh(&router, &query, verdict.clone(), &tab).await;
    tokio::time::resume();
    let instructed = instructed.unwrap();
    assert_eq!(instructed.result, "late", "{instructed:?}");
    assert!(!instructed.was_asked() && scribe.requests().is_empty());
    assert_eq!(weighed, verdict);

    tokio::time::sleep(Duration::from_millis(1)).await;
    let (_, instructed) = tier.weigh(&router, &query, verdict, &tab).await;
    assert_eq!(
        instructed.unwrap().result,
        "heard",
        "another time there is time"
    );
}
