//! `coterie map evaluate --from-store --router`: what a router that never decided would have been worth, from a log whose
//! every figure is known.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use coterie::{
    clock,
    config::{Prefer, Preference},
    decision::{Decision, Reason},
    expert::{Attempt, Role},
    ids::{CategoryId, ExpertId, MappingId, RouterId},
    mapping::Grounds,
    outcome::{Ask, Ending, Feedback, Outcome},
    store::Store,
    train::labels::Labelled,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    coterie::write_config,
    router::{cheap_config, train},
};

/// Questions of either kind.
const OF_EACH: usize = 100;

/// What questions of a kind are about.
fn question(kind: &str, at: usize) -> String {
    let coding = ["list", "loop", "class", "crate", "parser"];
    let legal = ["lease", "contract", "will", "lawsuit", "patent"];
    match kind {
        "coding" => format!(
            "How do I compile the code of a {} in my Rust program, case {at}?",
            coding[at % 5]
        ),
        _ => format!(
            "May a court judge whether the law allows a {} of my landlord, case {at}?",
            legal[at % 5]
        ),
    }
}

/// Both kinds in turns.
fn questions() -> impl Iterator<Item = (&'static str, usize)> {
    (0..OF_EACH).flat_map(|at| [("coding", at), ("legal", at)])
}

/// Who was asked: each expert as often as the other, of either kind.
fn expert(at: usize) -> &'static str {
    if at.is_multiple_of(2) { "a" } else { "b" }
}

/// Whether the answer was right: in four of five where `b` was asked about coding, or `a` about the law; else in one.
fn is_right(kind: &str, at: usize) -> bool {
    let is_apt = (kind == "coding") == (expert(at) == "b");
    is_apt != (at / 2).is_multiple_of(5)
}

/// What a mapping that sends all to `a` and tries `b` out in half of the questions left behind, with a router that takes
/// everything for law.
fn outcome(id: String, question: Option<String>, expert: &str, asked_at_ms: i64) -> Outcome {
    let is_tried_out = expert == "b";
    let grounds = Grounds {
        explored: is_tried_out,
        others: vec![ExpertId::new("b")],
        ..Grounds::new(MappingId::new("m1"), Prefer::Word(Preference::Balanced))
    };
    let expert = ExpertId::new(expert);
    Outcome {
        id,
        asked_at_ms,
        ask: Ask {
            model: "coterie".into(),
            question,
            ..Ask::default()
        },
        decision: Decision {
            category: Some(CategoryId::new("legal")),
            confidence: 0.9,
            scores: Vec::new(),
            tier: None,
            reason: Reason::Routed,
            strangeness: None,
            instruction: None,
            session: None,
            expert: expert.clone(),
            fallbacks: is_tried_out
                .then(|| ExpertId::new("a"))
                .into_iter()
                .collect(),
            propensity: 0.5,
            grounds,
            router: RouterId::new("r1"),
            took: Duration::ZERO,
        },
        attempts: vec![Attempt::begun(expert.clone(), Role::Answer)],
        answered_by: Some(expert),
        first_token: Some(Duration::ZERO),
        total: Duration::ZERO,
        usage: None,
        cost_usd: None,
        ending: Ending::Completed,
        error: None,
        answer: None,
    }
}

/// A store with outcomes and what was said of them, and a router that tells coding from law.
struct House {
    folder: TempDir,
    config: PathBuf,
    router: RouterId,
}

impl House {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let experts: String = ["a", "b", "c"]
            .map(|id| {
                format!(
                    "  {id}: {{ kind: remote, base_url: 'http://127.0.0.1:9/v1', model: far }}\n"
                )
            })
            .concat();
        let routes = Path::new(env!("CARGO_MANIFEST_DIR")).join("routes");
        let yaml = format!(
            "experts:\n{experts}mapping: {{ default: a }}\n\
             router: {{ features: [sparse], artefacts: '{}', routes: '{}' }}\n",
            folder.path().join("routers").display(),
            routes.display()
        );
        let config = write_config(folder.path(), &yaml);
        let rows = questions()
            .map(|(kind, at)| Labelled::from_text(&question(kind, at), CategoryId::new(kind)));
        let out = folder.path().join("router");
        let artefacts = folder.path().join("artefacts");
        let manifest = train(&cheap_config(&artefacts), rows.collect(), 7, &out).await;
        let house = Self {
            config,
            router: manifest.id,
            folder,
        };
        house.fill().await;
        house
    }

    async fn fill(&self) {
        let path = self.folder.path().join("coterie.db");
        let store = Store::open(&path).await.unwrap();
        let begun_ms = clock::now_ms() - 60_000;
        let log = questions().zip(begun_ms..);
        let mut outcomes: Vec<_> = log
            .map(|((kind, at), asked_at_ms)| {
                let text = question(kind, at);
                outcome(format!("{kind} {at}"), Some(text), expert(at), asked_at_ms)
            })
            .collect();
        outcomes.push(outcome(
            "without a text".to_owned(),
            None,
            "a",
            begun_ms - 1,
        ));
        store.write(&outcomes).await.unwrap();
        for (kind, at) in questions() {
            let feedback = Feedback {
                outcome_id: format!("{kind} {at}"),
                score: Some(f64::from(u8::from(is_right(kind, at)))),
                ..Feedback::default()
            };
            store.add_feedback(&feedback).await.unwrap();
        }
        store.close().await.unwrap();
    }

    /// What is printed of this mapping.
    fn evaluated(&self, mapping: &str, more: &[&str]) -> String {
        let file = self.folder.path().join("other.yaml");
        fs::write(&file, mapping).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_coterie"))
            .args(["map", "evaluate", "--from-store", "--config"])
            .arg(&self.config)
            .arg("--mapping")
            .arg(file)
            .args(more)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn found(&self, mapping: &str, more: &[&str]) -> Value {
        let printed = self.evaluated(mapping, &[more, &["--json"]].concat());
        serde_json::from_str(&printed).unwrap()
    }
}

/// Whether an estimate is this, by so much more or less, with an interval around it that says something.
#[track_caller]
fn assert_estimate(estimate: &Value, value: f64, tolerance: f64) {
    let [found, low, high] = ["value", "low", "high"].map(|key| estimate[key].as_f64().unwrap());
    assert!((found - value).abs() <= tolerance, "{estimate}");
    assert!(low < value && value < high, "{estimate}");
    assert!((0.1..0.35).contains(&(high - low)), "{estimate}");
}

/// Coding is for `b`.
const SPLIT: &str = "default: a\ncoding: b\n";

/// A router that sends each kind to whoever is right in four of five. Half of it went there.
fn is_valued(house: &House) {
    let found = house.found(SPLIT, &["--router", "router"]);
    assert_eq!(found["router"], house.router.as_str());
    let counted = [
        &found["outcomes"],
        &found["questions"],
        &found["left_out"]["unread"],
    ];
    assert_eq!(counted, [&json!(201), &json!(200), &json!(1)], "{found:#}");
    let target = &found["target"];
    assert_estimate(&target["self_normalised"], 0.8, 1e-9);
    assert_estimate(&target["inverse_propensity"], 0.8, 1e-9);
    assert_estimate(&target["doubly_robust"], 0.8, 0.02);
    assert_estimate(&found["served"], 0.5, 1e-9);
    let told = [
        &target["effective_rows"],
        &target["weight_mean"],
        &found["unchanged"],
    ];
    assert_eq!(told, [&json!(100.0), &json!(1.0), &json!(0.5)], "{found:#}");
    assert_eq!(
        (&found["can_tell"], &found["warnings"]),
        (&json!(true), &json!([])),
        "{found:#}"
    );

    let table = house.evaluated(SPLIT, &["--router", "router"]);
    for line in [
        "self-normalised     0.8000  (0.7",
        "effective outcomes  100; the heaviest has 1.0 % of all weight",
        "left out            1 whose text was not kept",
    ] {
        assert!(table.contains(line), "{line} is missing:\n{table}");
    }
    assert!(!table.contains("WARNING"), "{table}");
}

/// A router that leads to an expert whom nobody asked.
fn is_not_valued(house: &House) {
    let mapping = "default: a\ncoding: c\n";
    let found = house.found(mapping, &["--router", "router"]);
    assert_eq!(found["can_tell"], false, "{found:#}");
    let doubts = found["target"]["doubts"].as_array().unwrap();
    let unsupported = doubts.iter().find(|it| it["doubt"] == "unsupported");
    assert_eq!(unsupported.unwrap()["share"], 0.5, "coding: {found:#}");
    let table = house.evaluated(mapping, &["--router", "router"]);
    for words in [
        "WARNING             the outcomes cannot tell:",
        "50.0 % of the choices are of experts that were never asked such questions; at most 5.0 % may be",
    ] {
        assert!(table.contains(words), "{words} is missing:\n{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_never_decided_is_valued_from_the_store_as_far_as_the_log_can_tell() {
    let house = House::new().await;
    is_valued(&house);
    is_not_valued(&house);
    // By the router that decided all of it is law, and so for `a`, who is right in every other answer.
    let without = house.found(SPLIT, &[]);
    assert_eq!(
        (
            &without["router"],
            &without["unchanged"],
            &without["questions"]
        ),
        (&Value::Null, &json!(1.0), &json!(201)),
        "{without:#}"
    );
    assert_estimate(&without["target"]["self_normalised"], 0.5, 0.01);
}
