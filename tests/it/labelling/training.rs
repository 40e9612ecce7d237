//! `coterie train --from-store`: a router from what was said of questions, as a retraining would learn it.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use coterie::{
    learning::{Label, Origin},
    outcome::Feedback,
};
use serde_json::{Value, json};

use super::{House, neighbours::questions, text};
use crate::support::coterie::write_config;

/// The routers of a house that read words alone.
fn reading_words_alone(house: &House) {
    let folder = house.folder.path();
    let routes = Path::new(env!("CARGO_MANIFEST_DIR")).join("routes");
    let yaml = format!(
        "experts: {{ gpt: {{ kind: remote, base_url: 'http://127.0.0.1:9/v1', model: far }} }}\n\
         mapping: {{ default: gpt }}\n\
         router: {{ features: [sparse], artefacts: '{}', routes: '{}' }}\n",
        folder.join("routers").display(),
        routes.display()
    );
    write_config(folder, &yaml);
}

async fn accepted(house: &House, labels: &[(&str, &str)]) {
    let labels: Vec<_> = labels
        .iter()
        .map(|(id, category)| Label {
            outcome_id: (*id).to_owned(),
            given_at_ms: 2,
            category: (*category).to_owned(),
            origin: Origin::Accepted,
            given_by: "ann".to_owned(),
        })
        .collect();
    house.store.add_labels(&labels).await.unwrap();
}

async fn told_by_clients(house: &House, questions: &[String], category: &str) {
    for question in questions {
        let feedback = Feedback {
            outcome_id: question.clone(),
            category: Some(category.to_owned()),
            ..Feedback::default()
        };
        house.store.add_feedback(&feedback).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_of_questions_in_the_store_is_trained_on_beside_files_which_count() {
    let house = House::without_experts().await;
    reading_words_alone(&house);
    let [legal, math] = ["legal", "math"].map(|of| questions(of, 0, 30));
    house
        .asked(legal.iter().chain(&math).map(String::as_str))
        .await;
    let by_person = legal[..19].iter().map(|it| (it.as_str(), "legal"));
    let by_person = by_person.chain(math[..20].iter().map(|it| (it.as_str(), "math")));
    house.labelled(&by_person.collect::<Vec<_>>()).await;
    // A slip that a file puts right, and a category that there is not.
    let others = [(legal[19].as_str(), "math"), (legal[26].as_str(), "poetry")];
    house.labelled(&others).await;
    told_by_clients(&house, &legal[20..25], "legal").await;
    told_by_clients(&house, &math[20..25], "math").await;
    // Whoever accepts a category has not looked at each of its questions: one that is another's is not learnt.
    let together = [&math[25], &math[26], &math[27], &legal[25]].map(|it| (it.as_str(), "math"));
    accepted(&house, &together).await;
    let file = house.folder.path().join("labels.jsonl");
    let line = json!({"text": legal[19], "category": "legal"});
    fs::write(&file, format!("{line}\n")).unwrap();

    let output = Command::new(env!("CARGO_BIN_EXE_coterie"))
        .args(["train", "--from-store", "--json", "--labels"])
        .arg(&file)
        .arg("--out")
        .arg(house.folder.path().join("router"))
        .arg("--config")
        .arg(house.folder.path().join("coterie.yaml"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let told = text(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("53 rows are from the store"), "{told}");
    assert!(!told.contains("several categories"), "{told}");
    let manifest: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(manifest["categories"], json!(["legal", "math"]));
    let training = &manifest["training"];
    assert_eq!(
        (&training["rows"], &training["doubted"]),
        (&json!(54), &json!(1)),
        "{training:#}"
    );
    let of_origins = training["by_file"].as_object().unwrap();
    let rows: Vec<_> = of_origins
        .iter()
        .map(|(origin, figures)| (origin.as_str(), figures["rows"].as_u64().unwrap()))
        .collect();
    assert_eq!(
        rows,
        [
            ("accepted", 3),
            ("feedback", 10),
            ("labels.jsonl", 1),
            ("person", 39)
        ]
    );
}
