//! Exploration: who is tried out how often, who never is, and what the outcomes then tell of mappings that never served.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use coterie::{
    ids::ExpertId,
    learning::reward::{self, Implicit},
    store::{Store, StoredOutcome},
};
use futures_util::{StreamExt, stream};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::support::{
    coterie::{Coterie, chat},
    upstream::{Reply, Upstream},
};

/// How improbable a count may be before it is believed to be wrong.
const IMPROBABLE: f64 = 1e-6;

/// Questions that are asked at once.
const AT_ONCE: usize = 8;

/// Experts by their names, each with a provider that answers everything.
struct Experts {
    yaml: String,
    upstreams: BTreeMap<&'static str, Upstream>,
}

impl Experts {
    async fn healthy<const N: usize>(names: [&'static str; N]) -> Self {
        Self::of(names.map(|name| (name, Reply::answer(["Yes", "."]), ""))).await
    }

    async fn of<const N: usize>(experts: [(&'static str, Reply, &str); N]) -> Self {
        let mut all = Self {
            yaml: "experts:\n".to_owned(),
            upstreams: BTreeMap::new(),
        };
        for (name, reply, more) in experts {
            let upstream = Upstream::always(reply).await;
            let base_url = upstream.base_url();
            all.yaml.push_str(&format!(
                "\x20 {name}: {{ kind: remote, base_url: '{base_url}', model: {name}{more} }}\n"
            ));
            all.upstreams.insert(name, upstream);
        }
        all
    }

    async fn serve(&self, mapping: &str) -> Coterie {
        Coterie::serve(&format!("{}mapping: {{ {mapping} }}\n", self.yaml)).await
    }

    fn asked(&self, name: &str) -> usize {
        self.upstreams[name].requests().len()
    }
}

/// A question that begins a conversation of its own.
fn question(coterie: &Coterie, at: usize) -> RequestBuilder {
    let text = format!("How do I sort list number {at}?");
    coterie.post(
        "/v1/chat/completions",
        &chat("coterie/coding", &text, false),
    )
}

/// Who answers, and the outcome's id.
async fn asked(request: RequestBuilder) -> (String, String) {
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    let told = (header("x-coterie-expert"), header("x-coterie-outcome"));
    response.bytes().await.unwrap();
    told
}

/// Asks so many questions, and says how good each answer is.
async fn ask_and_score(coterie: &Coterie, questions: usize, score: impl Fn(&str, usize) -> f64) {
    let score = &score;
    stream::iter(0..questions)
        .for_each_concurrent(AT_ONCE, async |at| {
            let (expert, outcome) = asked(question(coterie, at)).await;
            let said = json!({"id": outcome, "score": score(&expert, at)});
            let given = coterie.post("/v1/feedback", &said).send().await.unwrap();
            assert_eq!(given.status(), StatusCode::OK);
        })
        .await;
}

/// Whether so many of so many are improbable, if each is counted with this probability.
#[track_caller]
fn assert_count(count: usize, of: usize, probability: f64) {
    let mut mass = (1.0 - probability).powi(i32::try_from(of).unwrap());
    let (mut below, mut exactly) = (0.0, mass);
    for at in 0..count {
        below += mass;
        mass *= (of - at) as f64 / (at + 1) as f64 * probability / (1.0 - probability);
        exactly = mass;
    }
    let (at_most, at_least) = (below + exactly, 1.0 - below);
    assert!(
        at_most > IMPROBABLE && at_least > IMPROBABLE,
        "{count} of {of} at {probability}"
    );
}

fn grounds(outcome: &StoredOutcome) -> Value {
    let detail: Value = serde_json::from_str(&outcome.reason_detail).unwrap();
    detail["mapping"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_is_asked_as_often_as_its_propensity_says() {
    const QUESTIONS: usize = 400;
    let experts = Experts::healthy(["a", "b", "c"]).await;
    let coterie = experts.serve("default: a, explore: 50%").await;
    stream::iter(0..QUESTIONS)
        .for_each_concurrent(AT_ONCE, async |at| {
            asked(question(&coterie, at)).await;
        })
        .await;
    for (name, probability) in [("a", 0.5), ("b", 0.25), ("c", 0.25)] {
        assert_count(experts.asked(name), QUESTIONS, probability);
    }
    let outcomes = coterie.stop().await.all().await;
    assert_eq!(outcomes.len(), QUESTIONS);
    for outcome in outcomes {
        let is_own = outcome.expert == "a";
        let propensity = if is_own { 0.5 } else { 0.25 };
        assert_eq!(outcome.propensity, Some(propensity));
        let fallbacks = if is_own { "[]" } else { r#"["a"]"# };
        assert_eq!(outcome.fallbacks, fallbacks);
        let grounds = grounds(&outcome);
        assert_eq!(grounds["others"], json!(["b", "c"]));
        assert_eq!(grounds["explored"] == true, !is_own, "{grounds}");
        assert_eq!(outcome.answered_by, Some(outcome.expert));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forbidden_or_goes_on_is_never_tried_out() {
    let answer = || Reply::answer(["Yes", "."]);
    let experts = Experts::of([
        ("own", answer(), ", usd_in: 1, usd_out: 1"),
        (
            "other",
            answer(),
            ", usd_in: 1, usd_out: 1, capabilities: [chat]",
        ),
        ("dear", answer(), ", usd_in: 1000000, usd_out: 1000000"),
    ])
    .await;
    let mapping = "default: own, budget: { usd_per_question: 1 }, explore: 100%, \
                   cascade: { legal: { first: other, accept: { code_parses: true } } }";
    let coterie = experts.serve(mapping).await;
    let post = |body: &Value| coterie.post("/v1/chat/completions", body);
    let plain = chat("coterie/coding", "How do I sort?", false);
    assert_eq!(asked(post(&plain)).await.0, "other", "this one may be");
    let on = post(&plain).header("x-coterie-explore", "on");
    assert_eq!(asked(on).await.0, "other");

    let off = post(&plain).header("x-coterie-explore", "off");
    assert_eq!(asked(off).await.0, "own");
    let named = chat("own", "How do I sort?", false);
    assert_eq!(asked(post(&named)).await.0, "own");
    let goes_on = json!({"model": "coterie/coding", "messages": [
        {"role": "user", "content": "How do I sort?"},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "And in Rust?"},
    ]});
    assert_eq!(asked(post(&goes_on)).await.0, "own");
    let mut tools = plain.clone();
    tools["tools"] = json!([{"type": "function", "function": {"name": "f", "description": "…", "parameters": {}}}]);
    assert_eq!(asked(post(&tools)).await.0, "own");
    let cascade = chat("coterie/legal", "May I?", false);
    assert_eq!(asked(post(&cascade)).await.0, "own");
    let wrong = post(&plain).header("x-coterie-explore", "never");
    let refused = wrong.send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    let told: Value = refused.json().await.unwrap();
    assert_eq!(told["error"]["param"], "x-coterie-explore");

    assert_eq!(experts.asked("dear"), 0, "never above the budget");
    let outcomes = coterie.stop().await.all().await;
    let propensities: Vec<_> = outcomes.iter().map(|it| it.propensity.unwrap()).collect();
    assert_eq!(propensities, [1.0; 7]);
    let explored = outcomes.iter().filter(|it| grounds(it)["explored"] == true);
    assert_eq!(explored.count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_begins_with_whoever_is_tried_out_and_goes_on_with_its_own() {
    let experts = Experts::healthy(["own", "other"]).await;
    let coterie = experts.serve("default: own, explore: 100%").await;
    let ask = |text| {
        let request = coterie.post("/v1/chat/completions", &chat("coterie", text, false));
        asked(request.header("x-session-id", "s"))
    };
    let query =
        "Write a SQL query that lists the name of every customer with more than ten orders.";
    assert_eq!(ask(query).await.0, "other");
    assert_eq!(ask("and for the other one?").await.0, "own");
    coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_the_propensity_and_tries_nothing_out() {
    let experts = Experts::healthy(["a", "b"]).await;
    let coterie = experts.serve("default: a, explore: 25%").await;
    for _ in 0..20 {
        let told = coterie.told("/v1/route", &json!({"text": "Why?"})).await;
        assert_eq!(
            (&told["expert"], &told["propensity"]),
            (&json!("a"), &json!(0.75))
        );
        assert_eq!(told["mapping"]["others"], json!(["b"]));
        assert_eq!(told["mapping"]["explored"], Value::Null);
    }
    let off = coterie.post("/v1/route", &json!({"text": "Why?"}));
    let off = off.header("x-coterie-explore", "off").send().await.unwrap();
    assert_eq!(off.json::<Value>().await.unwrap()["propensity"], 1.0);
    coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_fails_when_tried_out_is_replaced_and_then_left_alone() {
    const FAILURES: usize = 3;
    let broken = ", retries: { max: 0 }, breaker: { failures: 3, open: 60s, open_max: 60s }";
    let experts = Experts::of([
        ("own", Reply::answer(["Yes", "."]), ""),
        ("broken", Reply::status(500, json!({})), broken),
    ])
    .await;
    let coterie = experts.serve("default: own, explore: 100%").await;
    for at in 0..FAILURES + 2 {
        assert_eq!(asked(question(&coterie, at)).await.0, "own");
    }
    let store = coterie.store().await;
    let record = coterie.stop().await;
    let outcomes = record.all().await;
    let chosen: Vec<_> = outcomes.iter().map(|it| it.expert.as_str()).collect();
    assert_eq!(chosen, ["broken", "broken", "broken", "own", "own"]);
    let answered = outcomes.iter().map(|it| it.answered_by.as_deref());
    assert!(answered.eq([Some("own"); 5]));
    let served = store.served_since(0, 100).await.unwrap().served;
    let rewards = served.iter().map(|it| {
        let reward = |expert: &str| reward::reward(it, &ExpertId::new(expert), Implicit::Counts);
        (reward("broken"), reward("own"))
    });
    let failed = (Some(0.0), Some(reward::TAKEN));
    let taken = (None, Some(reward::TAKEN));
    assert!(rewards.eq([failed, failed, failed, taken, taken]));
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn thompson_sampling_learns_from_what_was_said() {
    let experts = Experts::healthy(["own", "good", "bad"]).await;
    let folder = tempfile::tempdir().unwrap();
    let store = format!(
        "store: {{ url: 'sqlite://{}/kept.db' }}\n",
        folder.path().display()
    );
    let serve = async |explore: &str| {
        let mapping = format!("mapping: {{ default: own, explore: {explore} }}\n");
        Coterie::serve(&format!("{}{mapping}{store}", experts.yaml)).await
    };
    let before = serve("100%").await;
    let score = |expert: &str, _| f64::from(u8::from(expert == "good"));
    ask_and_score(&before, 60, score).await;
    before.begin_stop().closed().await;

    let coterie = serve("{ share: 100%, policy: thompson }").await;
    until_rewards_count(&coterie, 60).await;
    let asked_before = [experts.asked("good"), experts.asked("bad")];
    for at in 0..40 {
        asked(question(&coterie, at)).await;
    }
    coterie.begin_stop().closed().await;
    let store = Store::open(&folder.path().join("kept.db")).await.unwrap();
    for outcome in store.latest(40).await.unwrap() {
        let propensity = outcome.propensity.unwrap();
        // A fifth goes evenly to both.
        let expected = if outcome.expert == "good" { 0.9 } else { 0.1 };
        assert!((propensity - expected).abs() < 1e-3, "{propensity}");
    }
    assert_count(experts.asked("good") - asked_before[0], 40, 0.9);
    assert_count(experts.asked("bad") - asked_before[1], 40, 0.1);
}

async fn until_rewards_count(coterie: &Coterie, rewards: usize) {
    let line = format!("coterie_exploration_rewards {rewards}");
    for _ in 0..1000 {
        let metrics = coterie.read("/metrics").await;
        if metrics.lines().any(|it| it == line) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("rewards are never read");
}

/// What `coterie map evaluate --from-store` prints.
fn evaluated(config: &Path, more: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_coterie"))
        .args(["map", "evaluate", "--from-store", "--config"])
        .arg(config)
        .args(more)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Whether an interval, made three times as wide so that chance alone never decides, covers a value.
#[track_caller]
fn assert_covers(estimate: &Value, value: f64) {
    let (low, high) = (&estimate["low"], &estimate["high"]);
    let (low, high) = (low.as_f64().unwrap(), high.as_f64().unwrap());
    let width = high - low;
    assert!(0.0 < width && width < 0.3, "{estimate}");
    let (low, high) = (low - width, high + width);
    assert!(low < value && value < high, "{estimate} of {value}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_that_never_served_is_valued_from_the_store() {
    let experts = Experts::healthy(["a", "b"]).await;
    let coterie = experts.serve("default: a, explore: 50%").await;
    // One in four answers of `a` is right, and three in four of `b`.
    let score = |expert: &str, at: usize| {
        let is_right = (expert == "a") == at.is_multiple_of(4);
        f64::from(u8::from(is_right))
    };
    ask_and_score(&coterie, 300, score).await;
    let config = coterie.config_file();
    let mapping = config.with_file_name("other.yaml");
    fs::write(&mapping, "default: b\n").unwrap();
    let mapping = mapping.to_str().unwrap();

    let found: Value =
        serde_json::from_str(&evaluated(&config, &["--mapping", mapping, "--json"])).unwrap();
    assert_eq!(found["can_tell"], true, "{found:#}");
    assert_eq!(
        (&found["outcomes"], &found["questions"]),
        (&json!(300), &json!(300))
    );
    for estimator in ["doubly_robust", "self_normalised", "inverse_propensity"] {
        assert_covers(&found["target"][estimator], 0.75);
    }
    assert_covers(&found["served"], 0.5);
    assert!(found["target"]["effective_rows"].as_f64().unwrap() > 100.0);

    let table = evaluated(&config, &["--mapping", mapping]);
    let first = table.find("doubly robust").unwrap();
    assert!(first < table.find("self-normalised").unwrap(), "{table}");
    assert!(!table.contains("WARNING"), "{table}");
    let in_force: Value = serde_json::from_str(&evaluated(&config, &["--json"])).unwrap();
    assert_covers(&in_force["target"]["doubly_robust"], 0.25);
    assert_eq!(in_force["unchanged"], 1.0);
    coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_tell_says_so() {
    let experts = Experts::healthy(["a", "b"]).await;
    let coterie = experts.serve("default: a").await;
    ask_and_score(&coterie, 60, |_, at| {
        f64::from(u8::from(at.is_multiple_of(2)))
    })
    .await;
    let config = coterie.config_file();
    let mapping = config.with_file_name("other.yaml");
    fs::write(&mapping, "default: b\n").unwrap();
    let table = evaluated(&config, &["--mapping", mapping.to_str().unwrap()]);
    for part in [
        "WARNING",
        "experts that were never asked such questions",
        "mapping.explore",
    ] {
        assert!(table.contains(part), "{table}");
    }
    coterie.stop().await;
}
