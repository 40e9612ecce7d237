//! Trials of routers on a running server: in shadow, and as a canary that ends by itself when it is worse.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use coterie::{
    ids::{CategoryId, RouterId},
    query::Query,
    registry::Registered,
    store::{NewTrial, Store},
    train::labels::Labelled,
    trial::{Share, TrialKind},
};
use futures_util::future::join_all;
use serde_json::json;
use tempfile::TempDir;

use crate::support::{
    coterie::{Coterie, chat},
    router::{cheap_config, train},
    upstream::{Reply, Upstream},
};

/// What questions of each category are about.
const WORDS: [(&str, [&str; 7]); 3] = [
    (
        "baking",
        ["dough", "yeast", "oven", "crust", "flour", "brioche", "rye"],
    ),
    (
        "gardening",
        [
            "soil", "seed", "lawn", "hedge", "compost", "tulips", "mulch",
        ],
    ),
    (
        "sailing",
        ["mast", "keel", "rudder", "jib", "halyard", "anchor", "tide"],
    ),
];

/// Examples of each category.
const EXAMPLES: usize = 42;

fn question(category: usize, at: usize) -> String {
    let words = WORDS[category].1;
    let (one, other) = (words[at % 7], words[(at / 7 + 1 + at) % 7]);
    format!("Tell me of {one} and {other}, number {at}")
}

/// The questions by which routers are trained, every category called as that which is `shift` places further.
fn rows(shift: usize) -> Vec<Labelled> {
    (0..WORDS.len() * EXAMPLES)
        .map(|at| {
            let category = at % WORDS.len();
            Labelled {
                id: None,
                query: Query::from_text(&question(category, at / WORDS.len())),
                category: CategoryId::new(WORDS[(category + shift) % WORDS.len()].0),
                origin: None,
            }
        })
        .collect()
}

/// A server whose router is that of its routes' examples, and two other routers in its registry.
struct House {
    coterie: Coterie,
    /// As good as the one in force.
    good: RouterId,
    /// Wrong about everything.
    bad: RouterId,
    yaml: String,
    folder: TempDir,
    _upstream: Upstream,
}

impl House {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_routes(&folder.path().join("routes"));
        let upstream = Upstream::always(Reply::answer(["An answer."])).await;
        let yaml = format!(
            "experts: {{ only: {{ kind: remote, base_url: '{}', model: far }} }}\n\
             mapping: {{ default: only }}\n\
             store: {{ url: 'sqlite://{1}/coterie.db', content: full }}\n\
             router: {{ features: [sparse], artefacts: '{1}/routers', routes: '{1}/routes' }}\n",
            upstream.base_url(),
            folder.path().display()
        );
        let coterie = Coterie::serve(&yaml).await;
        let mut house = Self {
            coterie,
            good: RouterId::new("good"),
            bad: RouterId::new("bad"),
            yaml,
            folder,
            _upstream: upstream,
        };
        house.good = house.trained("good", 0).await;
        house.bad = house.trained("bad", 1).await;
        house
    }

    /// Trains a router and registers it.
    async fn trained(&self, name: &str, shift: usize) -> RouterId {
        let routers = self.folder.path().join("trained");
        let out = routers.join(name);
        let manifest = train(&cheap_config(&routers), rows(shift), 11, &out).await;
        register(&self.store().await, &out, manifest.id).await
    }

    async fn store(&self) -> Store {
        let path = self.folder.path().join("coterie.db");
        Store::open(&path).await.unwrap()
    }

    /// The same after a restart.
    async fn restarted(self) -> Self {
        self.coterie.begin_stop().closed().await;
        Self {
            coterie: Coterie::serve(&self.yaml).await,
            ..self
        }
    }

    /// Asks in a session; returns the outcome, the router that decided and the category.
    async fn ask(&self, session: &str, question: &str) -> [String; 3] {
        let body = chat("coterie", question, false);
        let asked = self.coterie.post("/v1/chat/completions", &body);
        let asked = asked.header("x-session-id", session).send().await.unwrap();
        assert_eq!(asked.status(), 200);
        let header = |name: &str| asked.headers()[name].to_str().unwrap().to_owned();
        let told = [
            header("x-coterie-outcome"),
            header("x-coterie-router"),
            header("x-coterie-category"),
        ];
        asked.bytes().await.unwrap();
        told
    }

    /// Asks a question of its own session and says what it was about; returns the outcome and the router that decided.
    async fn teach(&self, at: usize) -> [String; 2] {
        let category = at % WORDS.len();
        let question = question(category, 1000 + at);
        let [outcome, router, _] = self.ask(&format!("taught {at}"), &question).await;
        let said = json!({"id": outcome, "category": WORDS[category].0});
        let given = self.coterie.post("/v1/feedback", &said).send().await;
        assert_eq!(given.unwrap().status(), 200);
        [outcome, router]
    }

    /// The router that decides in sessions of these numbers.
    async fn routers_of(&self, sessions: usize) -> Vec<String> {
        let mut routers = Vec::new();
        for at in 0..sessions {
            let [_, router, _] = self.ask(&format!("session {at}"), &question(0, at)).await;
            routers.push(router);
        }
        routers
    }

    /// A command that is refused as misuse, and why.
    fn refused(&self, command: &[&str]) -> String {
        let output = self.coterie.run(command);
        assert_eq!(output.status.code(), Some(2), "{command:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Waits until the metrics have a line.
    async fn wait_for_metric(&self, line: &str) {
        for _ in 0..2000 {
            if self.coterie.read("/metrics").await.contains(line) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!(
            "{line} is not among\n{}",
            self.coterie.read("/metrics").await
        );
    }

    /// Waits until these routers decide in the first sessions. No metric tells that after a restart: both servers are of this
    /// process, and what the first one showed stays.
    async fn wait_for_routers(&self, expected: &[String]) {
        for _ in 0..2000 {
            if self.routers_of(expected.len()).await == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{expected:?} do not decide");
    }

    /// Waits until a router is tried, or is not any more.
    async fn wait_for_trial(&self, kind: &str, router: &RouterId, is_tried: bool) {
        self.coterie.look_at_registry();
        let value = u8::from(is_tried);
        let line = format!("coterie_trial{{kind=\"{kind}\",router=\"{router}\"}} {value}");
        self.wait_for_metric(&line).await;
    }

    /// Begins a trial as one does whose router is whole.
    async fn begin_unchecked(&self, router: &RouterId, kind: TrialKind) {
        let trial = NewTrial {
            router,
            kind,
            share: Share::new(0.9).filter(|_| kind == TrialKind::Canary),
            by: "a test",
            why: None,
        };
        self.store().await.begin_trial(trial).await.unwrap();
    }

    /// Where a router lies, and where it is out of the way.
    fn folders_of(&self, name: &str) -> (PathBuf, PathBuf) {
        let routers = self.folder.path().join("trained");
        (routers.join(name), routers.join(format!("{name} away")))
    }

    async fn begin_canary(&self, router: &RouterId, share: &str) {
        let begun = self
            .coterie
            .printed(&["routers", "canary", router.as_str(), "--share", share]);
        assert_eq!(begun["router"], router.as_str());
        self.wait_for_trial("canary", router, true).await;
    }
}

fn write_routes(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    for (category, (name, _)) in WORDS.iter().enumerate() {
        let examples: String = (0..EXAMPLES)
            .map(|at| format!("  - '{}'\n", question(category, 500 + at)))
            .collect();
        let yaml = format!("description: Questions about {name}.\nexamples:\n{examples}");
        fs::write(folder.join(format!("{name}.yaml")), yaml).unwrap();
    }
}

async fn register(store: &Store, folder: &Path, id: RouterId) -> RouterId {
    let registered = Registered {
        id: id.clone(),
        folder: folder.to_owned(),
        parent: None,
        registered_at_ms: 1,
        data_sha256: "00".to_owned(),
        judgement: None,
    };
    store.register(&registered).await.unwrap();
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_decides_in_shadow_beside_the_router_in_force_and_is_compared_with_it() {
    let house = House::new().await;
    let nothing = house.refused(&["retrain", "--report"]);
    assert!(nothing.contains("coterie routers shadow"), "{nothing}");
    house
        .coterie
        .printed(&["routers", "shadow", house.bad.as_str(), "--by", "ann"]);
    house.wait_for_trial("shadow", &house.bad, true).await;

    let asked = 66;
    let mut real = HashSet::new();
    for at in 0..asked {
        let [outcome, router] = house.teach(at).await;
        assert_ne!(router, house.bad.as_str(), "{outcome}");
        real.insert(router);
    }
    assert_eq!(real.len(), 1, "one router decides");
    // A question whose client names a category is not the router's to decide.
    let named = house.coterie.ask("coterie/baking", "Which dough?").await;
    named.bytes().await.unwrap();
    let store = house.store().await;
    let mut compared = Vec::new();
    for tries in 0.. {
        compared = store.compared(&house.bad, 0, None).await.unwrap();
        if compared.len() >= asked {
            break;
        }
        assert!(tries < 2000, "{} decisions in shadow", compared.len());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(compared.len(), asked);

    let report = house.coterie.printed(&["retrain", "--report"]);
    assert_eq!(report["outcomes"], asked, "{report:#}");
    assert_eq!(report["shadow"], house.bad.as_str());
    assert_eq!(json!(real), report["real"]);
    assert!(
        report["agreement"]["share"].as_f64().unwrap() < 0.1,
        "{report:#}"
    );
    let disagreement = &report["disagreements"][0];
    assert!(disagreement["count"].as_u64().unwrap() > 10, "{report:#}");
    let judgement = &report["judgement"];
    assert_eq!(judgement["passed"], false);
    assert!(judgement["rows"].as_u64().unwrap() >= 60, "{report:#}");
    let markdown = house.coterie.run(&["retrain", "--report"]).stdout;
    let markdown = String::from_utf8(markdown).unwrap();
    assert!(markdown.starts_with("# Router") && markdown.contains("## Where they disagree"));

    house.coterie.printed(&["routers", "stop", "shadow"]);
    house.wait_for_trial("shadow", &house.bad, false).await;
    house
        .wait_for_metric("coterie_shadow_decisions_total{result=\"decided\"} 66")
        .await;
    house.coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_as_canary_decides_for_a_stable_share_of_sessions_until_it_is_promoted() {
    let house = House::new().await;
    let in_force = house.routers_of(1).await.remove(0);
    house.begin_canary(&house.good, "30%").await;
    let (sessions, good) = (60, house.good.as_str());
    let mut asked = HashMap::new();
    let first = house.routers_of(sessions).await;
    for (at, first) in first.iter().enumerate() {
        let [outcome, router, _] = house.ask(&format!("session {at}"), &question(1, at)).await;
        assert_eq!(router, *first, "session {at} stays with its router");
        asked.insert(outcome, router);
    }
    let drawn = first.iter().filter(|router| *router == good).count();
    assert!((4..=36).contains(&drawn), "{drawn} of {sessions}");
    assert!(
        first
            .iter()
            .all(|router| router == good || *router == in_force)
    );
    let named = house.coterie.ask("coterie/baking", "Which dough?").await;
    assert_eq!(named.headers()["x-coterie-router"], in_force.as_str());

    let refused = house.refused(&["routers", "canary", good, "--share", "5%"]);
    assert!(refused.contains("coterie routers stop canary"), "{refused}");
    house.refused(&["routers", "canary", "r9", "--share", "5%"]);
    house.refused(&["routers", "canary", good, "--share", "100%"]);
    house.refused(&["routers", "stop", "shadow"]);

    house
        .coterie
        .printed(&["routers", "promote", good, "--by", "ann"]);
    house.wait_for_trial("canary", &house.good, false).await;
    house
        .wait_for_metric(&format!("coterie_router_in_force{{router=\"{good}\"}} 1"))
        .await;
    assert!(
        house
            .routers_of(20)
            .await
            .iter()
            .all(|router| router == good)
    );
    let listed = house.coterie.printed(&["routers", "list"]);
    assert_eq!(listed["trials"][0]["ending"], "promoted", "{listed:#}");
    assert_eq!(listed["trials"][0]["ended_by"], "ann");
    let refused = house.refused(&["routers", "shadow", good]);
    assert!(refused.contains("in force"), "{refused}");

    let store = house.store().await;
    house.coterie.stop().await;
    for (outcome, router) in asked {
        let stored = store.outcome(&outcome).await.unwrap().unwrap();
        assert_eq!(stored.router, router, "the outcome names who decided");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_as_canary_that_is_worse_ends_by_itself_and_its_sessions_go_back() {
    let house = House::new().await;
    house.begin_canary(&house.bad, "50%").await;
    let bad = house.bad.as_str();
    let before = house.routers_of(20).await;
    assert!(before.iter().any(|router| router == bad));
    let store = house.store().await;
    let mut taught = 0;
    while !store.open_trials().await.unwrap().is_empty() {
        assert!(taught < 600, "the canary is still there");
        for _ in 0..20 {
            house.teach(taught).await;
            taught += 1;
        }
        house.coterie.look_at_canary();
        // The server looks beside what it is asked.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    house.wait_for_trial("canary", &house.bad, false).await;
    house
        .wait_for_metric("coterie_canary_rollbacks_total 1")
        .await;
    let after = house.routers_of(20).await;
    assert!(after.iter().all(|router| router != bad), "{after:?}");
    let listed = house.coterie.printed(&["routers", "list"]);
    let trial = &listed["trials"][0];
    assert_eq!(
        (&trial["ending"], &trial["ended_by"]),
        (&json!("worse"), &json!("canary"))
    );
    let why = trial["ended_why"].as_str().unwrap();
    assert!(
        why.contains("what clients said") && why.contains("outcomes compared"),
        "{why}"
    );
    let told = String::from_utf8(house.coterie.run(&["routers", "list"]).stdout).unwrap();
    assert!(
        told.contains("tried last: router") && told.contains("worse on"),
        "{told}"
    );
    house.coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_as_canary_that_is_as_good_stays_and_goes_on_after_a_restart() {
    let house = House::new().await;
    house.begin_canary(&house.good, "50%").await;
    for at in 0..120 {
        house.teach(at).await;
    }
    let before = house.routers_of(20).await;
    let compared = house.coterie.printed(&["routers", "list"])["trials"][0]["compared"].clone();
    assert_eq!(compared["said"]["outcomes"], 120, "{compared:#}");
    assert!(compared["said"]["difference"]["low"].as_f64().unwrap() < 0.0);

    let house = house.restarted().await;
    // The same sessions.
    house.wait_for_routers(&before).await;
    house.coterie.look_at_canary();
    house
        .wait_for_metric("coterie_canary_outcomes{test=\"said\"} 120")
        .await;
    for at in 120..160 {
        house.teach(at).await;
    }
    house.coterie.look_at_canary();
    house
        .wait_for_metric("coterie_canary_outcomes{test=\"said\"} 160")
        .await;
    assert_eq!(house.store().await.open_trials().await.unwrap().len(), 1);
    let told = String::from_utf8(house.coterie.run(&["routers", "list"]).stdout).unwrap();
    assert!(
        told.contains("what was said: 160 outcomes compared, difference"),
        "{told}"
    );
    house
        .coterie
        .printed(&["routers", "stop", "canary", "--why", "seen enough"]);
    house.wait_for_trial("canary", &house.good, false).await;
    let good = house.good.as_str();
    assert!(
        house
            .routers_of(20)
            .await
            .iter()
            .all(|router| router != good)
    );
    house.coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_of_a_damaged_router_leaves_the_one_in_force_alone() {
    let house = House::new().await;
    let in_force = house.routers_of(1).await.remove(0);
    let folder = house.folder.path().join("damaged");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("manifest.json"), "{}").unwrap();
    let damaged = register(&house.store().await, &folder, RouterId::new("damaged")).await;
    for try_it in [
        &["routers", "canary", "damaged", "--share", "90%"][..],
        &["routers", "shadow", "damaged"],
    ] {
        assert_eq!(house.coterie.run(try_it).status.code(), Some(1));
    }
    // It may have been whole when its trial began.
    for kind in TrialKind::ALL {
        house.begin_unchecked(&damaged, kind).await;
    }
    house.coterie.look_at_registry();
    for kind in ["canary", "shadow"] {
        let line = format!("coterie_trial_changes_total{{kind=\"{kind}\",result=\"refused\"}}");
        house.wait_for_metric(&line).await;
    }
    assert!(
        house
            .routers_of(20)
            .await
            .iter()
            .all(|router| *router == in_force)
    );
    // Another can be tried once it is stopped.
    house.coterie.printed(&["routers", "stop", "canary"]);
    house.begin_canary(&house.good, "90%").await;
    let good = house.good.as_str();
    assert!(
        house
            .routers_of(20)
            .await
            .iter()
            .any(|router| router == good)
    );
    let none = house
        .store()
        .await
        .compared(&damaged, 0, None)
        .await
        .unwrap();
    assert_eq!(none, []);
    house.coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_of_a_router_that_is_whole_later_begins_then() {
    let house = House::new().await;
    let (there, away) = house.folders_of("good");
    fs::rename(&there, &away).unwrap();
    house.begin_unchecked(&house.good, TrialKind::Canary).await;
    house.coterie.look_at_registry();
    house
        .wait_for_metric("coterie_trial_changes_total{kind=\"canary\",result=\"refused\"}")
        .await;
    fs::rename(&away, &there).unwrap();
    house.wait_for_trial("canary", &house.good, true).await;
    house.coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_router_that_was_passed_over_at_the_start_is_taken_up_once_it_is_whole() {
    let house = House::new().await;
    let first = house.routers_of(1).await;
    house
        .coterie
        .printed(&["routers", "promote", house.good.as_str()]);
    let (there, away) = house.folders_of("good");
    fs::rename(&there, &away).unwrap();
    let house = house.restarted().await;
    assert_eq!(house.routers_of(1).await, first);
    fs::rename(&away, &there).unwrap();
    house.coterie.look_at_registry();
    house.wait_for_routers(&[house.good.to_string()]).await;
    house.coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_that_begins_and_ends_under_load_fails_no_request_and_splits_no_decision() {
    let house = House::new().await;
    let store = house.store().await;
    let is_over = AtomicBool::new(false);
    let asking = (0..4).map(async |client| {
        let mut asked = Vec::new();
        while !is_over.load(Ordering::Relaxed) {
            let at = asked.len();
            let told = house
                .ask(&format!("{client} {at}"), &question(at % 3, at))
                .await;
            asked.push(told);
        }
        asked
    });
    let trying = async {
        for _ in 0..10 {
            for kind in TrialKind::ALL {
                let trial = NewTrial {
                    router: &house.bad,
                    kind,
                    share: Share::new(0.5).filter(|_| kind == TrialKind::Canary),
                    by: "a test",
                    why: None,
                };
                store.begin_trial(trial).await.unwrap();
                house.wait_for_trial(kind.as_str(), &house.bad, true).await;
            }
            for kind in TrialKind::ALL {
                store.stop_trial(kind, "a test", None).await.unwrap();
                house.wait_for_trial(kind.as_str(), &house.bad, false).await;
            }
        }
        is_over.store(true, Ordering::Relaxed);
    };
    let (asked, ()) = tokio::join!(join_all(asking), trying);
    let bad = house.bad.as_str();
    house.coterie.stop().await;
    let mut seen = HashSet::new();
    for [outcome, router, category] in asked.into_iter().flatten() {
        let stored = store.outcome(&outcome).await.unwrap().unwrap();
        assert_eq!(
            (&stored.router, stored.category.as_ref()),
            (&router, Some(&category))
        );
        assert_eq!(stored.ending, "completed");
        seen.insert(router);
    }
    assert!(seen.len() == 2 && seen.contains(bad), "{seen:?}");
    let compared = store.compared(&house.bad, 0, None).await.unwrap();
    assert!(compared.iter().all(|row| row.router != house.bad));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_moved_with_the_artefacts_is_promoted_from_there() {
    let house = House::new().await;
    let good = house.good.as_str();
    let (registered, _) = house.folders_of("good");
    let artefacts = house.folder.path().join("routers");
    fs::rename(registered, artefacts.join(good)).unwrap();
    house.begin_canary(&house.good, "90%").await;
    house.coterie.printed(&["routers", "promote", good]);
    house.coterie.look_at_registry();
    let line = format!("coterie_router_in_force{{router=\"{good}\"}} 1");
    house.wait_for_metric(&line).await;
}
