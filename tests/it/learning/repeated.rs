//! Retrainings of one store in two places.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use coterie::{
    config::{Prefer, Preference},
    decision::{Decision, Reason, Score},
    ids::{CategoryId, ExpertId, MappingId, OUT_OF_DOMAIN, RouterId},
    learning::{Label, Origin},
    mapping::Grounds,
    outcome::{Ask, Ending, Feedback, Outcome},
    store::Store,
};
use serde_json::Value;

use super::{KEYS, WORDS, of_the_night_sky, questions, write_routes};
use crate::support::coterie::write_config;

/// Examples of each route.
const EXAMPLES: usize = 6;

/// Questions of each category that clients say something of, every tenth time something wrong.
const TAUGHT: usize = 15;

/// Questions of a category that is accepted, and as many that nobody labelled before that.
const ACCEPTED: usize = 15;

/// When that is; questions are asked every millisecond, from the first on.
const ACCEPTED_AT_MS: i64 = 10_000;

/// What is accepted.
const NEW: &str = "night_sky";

/// Files that say how long something took, and where they are.
const OF_TIME: [&str; 2] = ["judgement.json", "report.md"];

fn outcome(question: &str, at: usize) -> Outcome {
    let likeliest = Score {
        category: CategoryId::new(WORDS[0].0),
        probability: 0.4,
    };
    Outcome {
        id: id(at),
        asked_at_ms: i64::try_from(at).unwrap(),
        ask: Ask {
            model: "coterie".into(),
            question: Some(question.into()),
            ..Ask::default()
        },
        decision: Decision {
            category: Some(CategoryId::new(OUT_OF_DOMAIN)),
            confidence: 0.4,
            scores: vec![likeliest],
            tier: None,
            reason: Reason::OutOfDomain,
            strangeness: None,
            instruction: None,
            session: None,
            expert: ExpertId::new("only"),
            fallbacks: Vec::new(),
            propensity: 1.0,
            grounds: Grounds::new(MappingId::new("m1"), Prefer::Word(Preference::Balanced)),
            router: RouterId::new("r1"),
            took: Duration::ZERO,
        },
        attempts: Vec::new(),
        answered_by: Some(ExpertId::new("only")),
        first_token: None,
        total: Duration::ZERO,
        usage: None,
        cost_usd: None,
        ending: Ending::Completed,
        error: None,
        answer: None,
    }
}

fn id(at: usize) -> String {
    format!("{at:05}")
}

/// What clients say of the outcome of this number.
fn feedback(at: usize) -> Feedback {
    let is_wrong = at.is_multiple_of(10);
    let category = WORDS[(at + usize::from(is_wrong)) % WORDS.len()].0;
    Feedback {
        outcome_id: id(at),
        given_at_ms: ACCEPTED_AT_MS,
        score: None,
        category: Some(category.to_owned()),
        expert: None,
        comment: None,
        key_name: Some(format!("team-{}", at % KEYS)),
        judged_by: None,
    }
}

/// Writes a store in which clients taught three categories, and a fourth was accepted.
async fn write_store(path: &Path) {
    let of_categories = (0..TAUGHT).flat_map(|at| {
        let one_of_each = (0..WORDS.len()).flat_map(move |category| questions(category, at, 1));
        one_of_each.collect::<Vec<_>>()
    });
    let asked: Vec<String> = of_categories
        .chain(of_the_night_sky(2 * ACCEPTED))
        .collect();
    let outcomes: Vec<Outcome> = asked
        .iter()
        .enumerate()
        .map(|(at, question)| outcome(question, at))
        .collect();
    let store = Store::open(path).await.unwrap();
    store.write(&outcomes).await.unwrap();
    let taught = TAUGHT * WORDS.len();
    for at in 0..taught {
        store.add_feedback(&feedback(at)).await.unwrap();
    }
    let labels: Vec<Label> = (taught..taught + ACCEPTED)
        .map(|at| Label {
            outcome_id: id(at),
            given_at_ms: ACCEPTED_AT_MS,
            category: NEW.to_owned(),
            origin: Origin::Accepted,
            given_by: "ann".to_owned(),
        })
        .collect();
    store.add_labels(&labels).await.unwrap();
    store.close().await.unwrap();
}

/// Retrains a copy of the store in a folder of its own; what that says.
fn retrain(store: &Path, folder: &Path, threads: &str) -> Value {
    fs::create_dir_all(folder).unwrap();
    fs::copy(store, folder.join("coterie.db")).unwrap();
    let routes = folder.join("routes");
    write_routes(&routes, EXAMPLES);
    let examples: String = of_the_night_sky(EXAMPLES)
        .iter()
        .map(|question| format!("  - '{question}'\n"))
        .collect();
    let yaml = format!("description: How bright things look.\nexamples:\n{examples}");
    fs::write(routes.join(format!("{NEW}.yaml")), yaml).unwrap();
    let config = write_config(
        folder,
        &format!(
            "experts: {{ only: {{ kind: remote, base_url: 'http://127.0.0.1:9/v1', model: far }} }}\n\
             mapping: {{ default: only }}\n\
             router: {{ features: [sparse], artefacts: '{0}/routers', routes: '{0}/routes' }}\n",
            folder.display()
        ),
    );
    let retrained = Command::new(env!("CARGO_BIN_EXE_coterie"))
        .args(["retrain", "--json", "--config"])
        .arg(config)
        .env("RAYON_NUM_THREADS", threads)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&retrained.stderr);
    assert!(retrained.status.success(), "{errors}");
    serde_json::from_slice(&retrained.stdout).unwrap()
}

/// The files of the router that was trained.
fn files(retrained: &Value) -> BTreeMap<String, Vec<u8>> {
    let folder = Path::new(retrained["folder"].as_str().unwrap());
    let files = fs::read_dir(folder).unwrap().map(|file| {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        (name, fs::read(file.path()).unwrap())
    });
    files.collect()
}

/// A judgement but for what it says of time, with the verdict that hangs on that too, and of the folder.
fn without_time(value: Value) -> Value {
    let is_of_time = |value: &Value| {
        let subject = value["subject"].as_str();
        subject.is_some_and(|subject| subject.starts_with("latency"))
    };
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(name, _)| {
                !["latency_us", "folder", "passed", "reason"].contains(&name.as_str())
            })
            .map(|(name, value)| (name, without_time(value)))
            .collect(),
        Value::Array(values) => values
            .into_iter()
            .filter(|value| !is_of_time(value))
            .map(without_time)
            .collect(),
        other => other,
    }
}

/// A report but for the checks of time, and the verdict, which is in bold.
fn lines_without_time(report: &[u8]) -> Vec<&str> {
    let report = str::from_utf8(report).unwrap();
    let lines = report.lines();
    lines
        .filter(|line| !line.contains("of a decision's time") && !line.starts_with("**"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_store_makes_the_same_router_to_the_byte_wherever_and_on_however_many_cores() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("coterie.db");
    write_store(&store).await;
    let [one, other] = [("one", "1"), ("other", "4")]
        .map(|(name, threads)| retrain(&store, &folder.path().join(name), threads));
    let taught = TAUGHT * WORDS.len() + ACCEPTED;
    assert_eq!(one["learnt"], taught, "{one:#}");
    assert!(one["guessed"].as_u64() > Some(0), "{one:#}");
    assert_eq!(one["challenger"], other["challenger"]);
    assert_ne!(one["folder"], other["folder"]);

    let [one, other] = [files(&one), files(&other)];
    let names = [
        "judgement.json",
        "learnt.json",
        "manifest.json",
        "report.md",
        "report.svg",
        "router.safetensors",
    ];
    assert!(one.keys().eq(names), "{:?}", one.keys());
    assert!(other.keys().eq(names), "{:?}", other.keys());
    for (name, bytes) in &one {
        let is_the_same = OF_TIME.contains(&name.as_str()) || *bytes == other[name];
        assert!(is_the_same, "{name} differs");
    }
    let judgements = [&one, &other].map(|files| {
        let judgement = serde_json::from_slice(&files["judgement.json"]).unwrap();
        without_time(judgement)
    });
    assert_eq!(judgements[0], judgements[1]);
    assert_eq!(
        lines_without_time(&one["report.md"]),
        lines_without_time(&other["report.md"])
    );
}
