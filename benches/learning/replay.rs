//! Questions through a running server, feedback, four retrainings.

use std::{path::PathBuf, time::Instant};

use axum::{Json, Router, routing::post};
use coterie::{
    app::App,
    evaluate::Evaluation,
    learning::{
        gate::Bounds,
        judging,
        retrain::{self, Options},
    },
    registry,
    store::Store,
    train::{in_force, labels::Labelled, router::Prepared},
};
use futures_util::{StreamExt as _, stream};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::json;
use tokio::net::TcpListener;

use crate::{
    house::{House, KEYS, key},
    rows::{Dealt, wrong},
};

const SEED: u64 = 1;

/// Share of the questions on which feedback is given, and the share of that which is wrong.
const FEEDBACK_SHARE: f64 = 1.0 / 3.0;
const NOISE: f64 = 0.1;

/// Percentages of the traffic after which it is retrained: each time about as much is learnt again as was known before.
const RETRAINED_AT: [usize; 4] = [12, 30, 60, 100];

/// By how much the accuracy in the end may be below that of a router that learnt the true labels.
const BELOW_TRUE_MAX: f64 = 0.015;

/// Questions at once.
const AT_ONCE: usize = 8;

/// A question that is asked, and what is said of it.
pub(crate) struct Asked {
    pub(crate) row: Labelled,
    pub(crate) feedback: Option<coterie::ids::CategoryId>,
    client: usize,
}

pub(crate) async fn run(files: &[PathBuf]) {
    let dealt = Dealt::new(files, SEED);
    let upstream = upstream().await;
    let house = House::new(&dealt.examples, "[sparse, static, transformer]", &upstream);
    let asked = asked(&dealt.traffic, &dealt.classes());
    let mut accuracies = Vec::new();
    let replaying = async |base: &str, app: &App| {
        println!(
            "| questions asked | labelled | router in force | accuracy on {} unseen rows | calibration error | retrained in | gate |",
            dealt.unseen.len()
        );
        println!("| --- | --- | --- | --- | --- | --- | --- |");
        accuracies.push(tell_in_force(&house, &dealt, (0, 0), "–", "").await);
        let mut done = 0;
        for share in RETRAINED_AT {
            let until = asked.len() * share / 100;
            ask_all(base, &asked[done..until]).await;
            done = until;
            let labelled = asked[..done]
                .iter()
                .filter(|it| it.feedback.is_some())
                .count();
            let started = Instant::now();
            let config = house.config();
            let store = Store::open(&config.store.path).await.unwrap();
            let options = Options {
                seed: 7,
                without: Vec::new(),
                bounds: Bounds::default(),
                promotes: true,
            };
            let retrained = retrain::retrain(&config, &store, &options).await.unwrap();
            store.close().await.unwrap();
            app.look_at_registry();
            let took = format!("{:.0} s", started.elapsed().as_secs_f64());
            let reason = &retrained.judgement.reason;
            let told = tell_in_force(&house, &dealt, (done, labelled), &took, reason);
            accuracies.push(told.await);
        }
    };
    Box::pin(house.serve(replaying)).await;
    let learnt: Vec<Labelled> = asked
        .iter()
        .filter(|asked| asked.feedback.is_some())
        .map(|asked| asked.row.clone())
        .collect();
    let rows = learnt.len();
    let by_truth = Box::pin(with_true_labels(&house, &dealt, learnt)).await;
    println!("trained on the true labels of the same {rows} rows: {by_truth:.3}");
    for pair in accuracies.windows(2) {
        assert!(pair[1] > pair[0], "it must climb each time: {accuracies:?}");
    }
    let last = accuracies[accuracies.len() - 1];
    assert!(
        last >= by_truth - BELOW_TRUE_MAX,
        "{last} beside {by_truth}"
    );
}

/// Traffic with what will be said of it.
pub(crate) fn asked(traffic: &[Labelled], classes: &[coterie::ids::CategoryId]) -> Vec<Asked> {
    let mut random = StdRng::seed_from_u64(SEED);
    let asked = traffic.iter().map(|row| {
        let has_feedback = random.random_bool(FEEDBACK_SHARE);
        let is_wrong = random.random_bool(NOISE);
        let said = if is_wrong {
            wrong(classes, &row.category, &mut random)
        } else {
            row.category.clone()
        };
        Asked {
            row: row.clone(),
            feedback: has_feedback.then_some(said),
            client: random.random_range(0..KEYS),
        }
    });
    asked.collect()
}

/// Prints how the router in force does, and returns its accuracy on the unseen rows.
async fn tell_in_force(
    house: &House,
    dealt: &Dealt,
    (asked, labelled): (usize, usize),
    took: &str,
    reason: &str,
) -> f64 {
    let router = registry::open(&house.config(), None).await.unwrap();
    let judged = judging::judge(&router, dealt.unseen.clone()).await.unwrap();
    let evaluation = Evaluation::of(&judged, router.id().clone()).unwrap();
    println!(
        "| {asked} | {labelled} | {} | {:.3} | {:.3} | {took} | {reason} |",
        router.id(),
        evaluation.accuracy,
        evaluation.ece
    );
    evaluation.accuracy
}

/// The accuracy on the unseen rows of what the true labels would have taught.
async fn with_true_labels(house: &House, dealt: &Dealt, rows: Vec<Labelled>) -> f64 {
    let router = Box::pin(taught(house, rows)).await;
    let judged = judging::judge(&router, dealt.unseen.clone()).await.unwrap();
    Evaluation::of(&judged, router.id().clone())
        .unwrap()
        .accuracy
}

/// The router that rows with their true labels teach beside the routes' examples; nobody promotes it.
pub(crate) async fn taught(house: &House, rows: Vec<Labelled>) -> coterie::router::Router {
    let config = house.config();
    let encoder = in_force::open_encoder(&config.router).await.unwrap();
    let mut job = in_force::job_of_routes(&config.router, &config.catalogue, &encoder);
    job.rows.extend(rows);
    let prepared = Prepared::new(job, &config.router.encoder, &encoder).unwrap();
    let folder = house.folder.path().join("true");
    prepared
        .train(&encoder, &config.router.artefacts, &folder)
        .await
        .unwrap();
    registry::open(&config, Some(&folder)).await.unwrap()
}

pub(crate) async fn ask_all(base: &str, asked: &[Asked]) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    stream::iter(asked)
        .for_each_concurrent(AT_ONCE, |asked| ask(&client, base, asked))
        .await;
}

async fn ask(client: &reqwest::Client, base: &str, asked: &Asked) {
    let text = &asked.row.query.text;
    let body = json!({"model": "coterie", "messages": [{"role": "user", "content": text}]});
    let answer = client
        .post(format!("{base}/v1/chat/completions"))
        .bearer_auth(key(asked.client))
        .json(&body)
        .send()
        .await
        .unwrap();
    let outcome = answer.headers()["x-coterie-outcome"]
        .to_str()
        .unwrap()
        .to_owned();
    answer.bytes().await.unwrap();
    let Some(category) = &asked.feedback else {
        return;
    };
    let given = client
        .post(format!("{base}/v1/feedback"))
        .bearer_auth(key(asked.client))
        .json(&json!({"id": outcome, "category": category}))
        .send()
        .await
        .unwrap();
    assert!(
        given.status().is_success(),
        "{}",
        given.text().await.unwrap()
    );
}

/// A provider that answers at once; lives as long as the process.
#[expect(clippy::disallowed_methods, reason = "it ends with the process")]
pub(crate) async fn upstream() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answer = || async {
        let choice = json!({
            "index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Yes."},
        });
        Json(
            json!({"id": "1", "object": "chat.completion", "created": 1, "model": "mock", "choices": [choice]}),
        )
    };
    let endpoints = Router::new().route("/v1/chat/completions", post(answer));
    tokio::spawn(async move { axum::serve(listener, endpoints).await.unwrap() });
    address
}
