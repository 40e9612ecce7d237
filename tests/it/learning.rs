//! What the traffic teaches: feedback on answers of a running server, `coterie retrain`, and routers that are swapped
//! while questions come.

mod correcting;
mod repeated;
mod replay;
mod routes;
mod swapping;
mod watching;

use std::{fs, path::Path, time::Duration};

use coterie::{
    ids::RouterId,
    registry::Registered,
    store::{Promoter, Store},
};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    coterie::{Coterie, chat},
    upstream::{Reply, Upstream},
};

/// What questions of each category are about. The routes' examples know the first few words alone.
const WORDS: [(&str, [&str; 16]); 3] = [
    (
        "baking",
        [
            "dough",
            "yeast",
            "oven",
            "crust",
            "flour",
            "sourdough",
            "brioche",
            "croissant",
            "proofing",
            "kneading",
            "rye",
            "baguette",
            "crumb",
            "starter",
            "loaf",
            "glaze",
        ],
    ),
    (
        "gardening",
        [
            "soil",
            "seed",
            "lawn",
            "hedge",
            "pruning",
            "compost",
            "tulips",
            "roses",
            "mulch",
            "perennials",
            "slugs",
            "greenhouse",
            "trellis",
            "dahlias",
            "weeds",
            "orchard",
        ],
    ),
    (
        "sailing",
        [
            "mast",
            "keel",
            "rudder",
            "harbour",
            "wind",
            "jib",
            "spinnaker",
            "tacking",
            "halyard",
            "anchor",
            "regatta",
            "starboard",
            "bowline",
            "dinghy",
            "tide",
            "mooring",
        ],
    ),
];

/// Words that the examples know.
const KNOWN_WORDS: usize = 5;

/// Examples of each route.
const EXAMPLES: usize = 20;

/// Clients that ask and give feedback.
const KEYS: usize = 5;

/// Questions of one category that nobody asked before.
fn questions(category: usize, from: usize, count: usize) -> impl Iterator<Item = String> {
    let unknown = &WORDS[category].1[KNOWN_WORDS..];
    (from..from + count).map(move |at| {
        let word = |step: usize| unknown[(at * step + at / 11 + step) % unknown.len()];
        format!("What about {} and {}, case {at}?", word(3), word(5))
    })
}

/// Questions of all categories in turns, of words that the examples know.
fn known_questions(count: usize) -> Vec<String> {
    let questions = (0..count).map(|at| {
        let words = WORDS[at % WORDS.len()].1;
        let (one, other) = (words[at / 3 % KNOWN_WORDS], words[at / 7 % KNOWN_WORDS]);
        format!("Tell me of {one} and {other}, number {at}")
    });
    questions.collect()
}

/// Questions of a kind that no category covers.
fn of_the_night_sky(count: usize) -> Vec<String> {
    let stars = [
        "galaxy",
        "telescope",
        "comet",
        "supernova",
        "planets",
        "nebula",
        "orbit",
    ];
    let questions = (0..count).map(|at| {
        let (one, other) = (stars[at % 7], stars[at / 7 % 7]);
        format!(
            "Why does a {one} look brighter than a {other} through binoculars in night sky {at}?"
        )
    });
    questions.collect()
}

/// Routes with so many examples each.
fn write_routes(folder: &Path, examples: usize) {
    fs::create_dir_all(folder).unwrap();
    for (category, words) in WORDS {
        let known = &words[..KNOWN_WORDS];
        let examples: String = (0..examples)
            .map(|at| {
                let word = |step: usize| known[(at * step + at / 5) % KNOWN_WORDS];
                format!(
                    "  - 'Tell me of {} and {}, number {at}'\n",
                    word(1),
                    word(2)
                )
            })
            .collect();
        let yaml = format!("description: Questions about {category}.\nexamples:\n{examples}");
        fs::write(folder.join(format!("{category}.yaml")), yaml).unwrap();
    }
}

/// A server that knows little, and the folder of its routes and routers.
struct House {
    coterie: Coterie,
    folder: TempDir,
    _upstreams: [Upstream; 2],
}

impl House {
    async fn new() -> Self {
        Self::over(tempfile::tempdir().unwrap()).await
    }

    /// One whose router knows what it is that no category covers.
    async fn with_strangers() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let things = ["hammer", "window", "banana", "bicycle", "trumpet", "lizard"];
        let examples: String = (0..36)
            .map(|at| {
                let (one, other) = (things[at % 6], things[at / 6]);
                format!("  - 'Why does a {one} look older than a {other} through the window on day {at}?'\n")
            })
            .collect();
        let routes = folder.path().join("routes");
        fs::create_dir_all(&routes).unwrap();
        let yaml = format!("description: What no category covers.\nexamples:\n{examples}");
        fs::write(routes.join("_other.yaml"), yaml).unwrap();
        Self::over(folder).await
    }

    async fn over(folder: TempDir) -> Self {
        Self::with_mapping(folder, "{ default: only }", "namer").await
    }

    /// One with two experts, and a mapping that tries each out as often as the other.
    async fn with_two_experts() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mapping.yaml");
        fs::write(
            &file,
            "# by hand\ndefault: only\nbaking: only\nexplore: 50%\n",
        )
        .unwrap();
        let mapping = format!("{{ file: '{}' }}", file.display());
        Self::with_mapping(folder, &mapping, "other").await
    }

    async fn with_mapping(folder: TempDir, mapping: &str, more: &str) -> Self {
        write_routes(&folder.path().join("routes"), EXAMPLES);
        let upstream = Upstream::always(Reply::answer(["An answer."])).await;
        let keys: String = (0..KEYS)
            .map(|at| format!("{{ name: team-{at}, sha256: '{}' }}, ", sha256(&key(at))))
            .collect();
        let name = "<name>night_sky</name> <description>How bright things look.</description>";
        let namer = Upstream::always(Reply::answer([name])).await;
        let yaml = format!(
            "experts:\n\
             \x20 only: {{ kind: remote, base_url: '{0}', model: far }}\n\
             \x20 {more}: {{ kind: remote, base_url: '{2}', model: far }}\n\
             mapping: {mapping}\n\
             server: {{ listen: '127.0.0.1:0', keys: [{keys}] }}\n\
             router: {{ features: [sparse], artefacts: '{1}/routers', routes: '{1}/routes' }}\n",
            upstream.base_url(),
            folder.path().display(),
            namer.base_url()
        );
        let coterie = Coterie::serve(&yaml).await;
        Self {
            coterie,
            folder,
            _upstreams: [upstream, namer],
        }
    }

    /// Asks, and tells what it was about; returns the category that the question went to.
    async fn teach(&self, client: usize, question: &str, category: &str) -> String {
        let asked = self
            .coterie
            .post("/v1/chat/completions", &chat("coterie", question, false))
            .bearer_auth(key(client))
            .send()
            .await
            .unwrap();
        let header = |name: &str| asked.headers()[name].to_str().unwrap().to_owned();
        let (outcome, went_to) = (header("x-coterie-outcome"), header("x-coterie-category"));
        // Of two experts the other one is the better.
        let score = if header("x-coterie-expert") == "other" {
            1.0
        } else {
            0.25
        };
        asked.bytes().await.unwrap();
        let said = json!({"id": outcome, "category": category, "score": score});
        let given = self
            .coterie
            .post("/v1/feedback", &said)
            .bearer_auth(key(client));
        assert_eq!(given.send().await.unwrap().status(), 200);
        went_to
    }

    /// Asks, a few at a time.
    async fn ask(&self, texts: Vec<String>) {
        for some in texts.chunks(8) {
            let asking = some.iter().map(async |text| {
                let body = chat("coterie", text, false);
                let asked = self.coterie.post("/v1/chat/completions", &body);
                let asked = asked.bearer_auth(key(0)).send().await.unwrap();
                assert_eq!(asked.status(), 200);
                asked.bytes().await.unwrap();
            });
            join_all(asking).await;
        }
    }

    /// Feedback on so many questions of every category, in turns, by all clients in turn.
    async fn teach_all(&self, from: usize, count: usize) {
        for at in from..from + count {
            // A few at a time, as clients come.
            let asking = WORDS.iter().enumerate().map(async |(category, (name, _))| {
                let question = questions(category, at, 1).next().unwrap();
                self.teach(at % KEYS, &question, name).await
            });
            join_all(asking).await;
        }
    }

    /// The share of new questions whose likeliest category is right, and the router that says so.
    async fn accuracy(&self) -> (f64, String) {
        let (mut right, mut asked, mut router) = (0_u32, 0_u32, String::new());
        for (category, (name, _)) in WORDS.iter().enumerate() {
            for question in questions(category, 5000, 20) {
                let told = self.route(&question).await;
                right += u32::from(told["scores"][0]["category"] == *name);
                asked += 1;
                told["router"].as_str().unwrap().clone_into(&mut router);
            }
        }
        (f64::from(right) / f64::from(asked), router)
    }

    async fn route(&self, question: &str) -> Value {
        let response = self
            .coterie
            .post("/v1/route", &json!({"text": question}))
            .bearer_auth(key(0))
            .send()
            .await;
        response.unwrap().json().await.unwrap()
    }

    /// Waits until another router is in force than this one.
    async fn router_other_than(&self, router: &str) -> String {
        self.coterie.look_at_registry();
        for _ in 0..1000 {
            let now = self.route("Which dough?").await["router"]
                .as_str()
                .unwrap()
                .to_owned();
            if now != router {
                return now;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("router {router} stays in force");
    }
}

fn key(client: usize) -> String {
    format!("key-of-{client}")
}

fn sha256(text: &str) -> String {
    use sha2::{Digest as _, Sha256};
    hex::encode(Sha256::digest(text))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_feedback_teaches_is_promoted_served_and_taken_back_while_the_server_runs() {
    let house = House::new().await;
    let (before, first) = house.accuracy().await;
    house.teach_all(0, 250).await;

    let dry = house.coterie.printed(&["retrain", "--dry-run"]);
    assert_eq!(
        (&dry["promoted"], &dry["judgement"]["passed"]),
        (&json!(false), &json!(true)),
        "{dry:#}"
    );
    let done = house.coterie.printed(&["retrain"]);
    assert_eq!(done["promoted"], true, "{done:#}");
    assert_eq!(done["champion"], first.as_str());
    assert_eq!(
        done["challenger"], dry["challenger"],
        "the same rows and seed make the same router"
    );

    let second = house.router_other_than(&first).await;
    assert_eq!(done["challenger"], second.as_str());
    let (after, router) = house.accuracy().await;
    assert_eq!(router, second);
    assert!(after > before + 0.1, "{before} → {after}");
    let metrics = house.coterie.read("/metrics").await;
    assert!(
        metrics.contains(&format!("coterie_router_in_force{{router=\"{second}\"}} 1")),
        "{metrics}"
    );

    let folder = Path::new(done["folder"].as_str().unwrap());
    let report = fs::read_to_string(folder.join("report.md")).unwrap();
    assert!(
        report.contains(&second) && report.contains("accuracy"),
        "{report}"
    );
    assert!(
        fs::read_to_string(folder.join("report.svg"))
            .unwrap()
            .contains("</svg>")
    );

    // The same rows make the same router, whose judgement stays what it was.
    let again = house.coterie.printed(&["retrain"]);
    assert_eq!(
        (&again["promoted"], &again["judgement"]["reason"]),
        (
            &json!(false),
            &json!("nothing new: the router in force was trained on these very rows")
        )
    );
    assert_eq!(
        fs::read_to_string(folder.join("report.md")).unwrap(),
        report
    );

    let listed = house.coterie.printed(&["routers", "list"]);
    assert_eq!(listed["in_force"], second.as_str());
    assert_eq!(listed["routers"][0]["parent"], first.as_str());
    assert_eq!(listed["promotions"][0]["promoted_by"], "retrain");
    house
        .coterie
        .printed(&["routers", "rollback", "--by", "ann"]);
    assert_eq!(house.router_other_than(&second).await, first);
    assert_eq!(house.accuracy().await.0.to_bits(), before.to_bits());

    let nothing = house.coterie.run(&["routers", "rollback"]);
    assert_eq!(nothing.status.code(), Some(2));
    // What somebody took back is not put in force again by itself.
    let again = house.coterie.printed(&["retrain"]);
    let reason = again["judgement"]["reason"].as_str().unwrap();
    assert!(reason.contains("rolled back by ann"), "{again:#}");
    house
        .coterie
        .printed(&["routers", "promote", &second, "--by", "ann"]);
    assert_eq!(house.router_other_than(&first).await, second);
    drop(house.folder);
    house.coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expert_that_does_better_takes_over_its_category_in_the_mapping_of_a_running_server() {
    let house = House::with_two_experts().await;
    // Of so many each expert has the twenty rewards that a proposal needs, however the draws fall.
    for at in 0..180 {
        for (name, words) in WORDS {
            let known = &words[..KNOWN_WORDS];
            let (one, other) = (known[at % KNOWN_WORDS], known[at / 5 % KNOWN_WORDS]);
            let question = format!("Tell me of {one} and {other}, number {at} once more");
            house.teach(at % KEYS, &question, name).await;
        }
    }
    let file = house.folder.path().join("mapping.yaml");
    let before = fs::read_to_string(&file).unwrap();
    let dry = house.coterie.printed(&["retrain", "--dry-run"]);
    assert_eq!(dry["mapping"]["passed"], true, "{dry:#}");
    assert_eq!(fs::read_to_string(&file).unwrap(), before);

    // A file that no program can change is left alone, and what became of the router is told all the same.
    let by_hand = "{ default: only, baking: only, explore: 50% }\n";
    fs::write(&file, by_hand).unwrap();
    let failed = house.coterie.run(&["retrain", "--json"]);
    assert_eq!(failed.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&failed.stdout).unwrap();
    assert!(told["promoted"].is_boolean(), "{told:#}");
    assert!(told["mapping_error"].is_string(), "{told:#}");
    assert_eq!(fs::read_to_string(&file).unwrap(), by_hand);
    fs::write(&file, &before).unwrap();

    let done = house.coterie.printed(&["retrain"]);
    assert_eq!(done["mapping"]["promoted"], true, "{done:#}");
    let changes = done["mapping"]["changes"].as_array().unwrap();
    let baking = changes.iter().find(|change| change["category"] == "baking");
    assert_eq!(baking.unwrap()["to"], "other", "{changes:#?}");
    let after = fs::read_to_string(&file).unwrap();
    assert!(
        after.starts_with(
            "# by hand\ndefault: only\nbaking: { expert: other, fallbacks: [only] }\nexplore: 50%\n"
        ),
        "{after}"
    );
    let folder = Path::new(done["folder"].as_str().unwrap());
    let kept = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    assert_eq!(
        (kept("mapping.before.yaml"), kept("mapping.yaml")),
        (before, after)
    );
    assert!(kept("report.md").contains("| baking | only |"));
    assert!(house.coterie.run(&["check"]).status.success());
    house.coterie.look_at_mapping();
    for tries in 0.. {
        let told = house.route("Tell me of dough and yeast").await;
        if told["expert"] == "other" {
            break;
        }
        assert!(tries < 1000, "{told:#}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    house.coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_that_lies_teaches_nothing() {
    let house = House::new().await;
    for (category, (name, _)) in WORDS.iter().enumerate() {
        for (at, question) in questions(category, 0, 60).enumerate() {
            house.teach(1 + at % (KEYS - 1), &question, name).await;
        }
        // What the examples know, the liar calls something else.
        let lie = WORDS[(category + 1) % WORDS.len()].0;
        for at in 0..30 {
            let question = format!(
                "Tell me of {} once more, {at}",
                WORDS[category].1[at % KNOWN_WORDS]
            );
            house.teach(0, &question, lie).await;
        }
    }
    let told = house.coterie.printed(&["retrain", "--dry-run"]);
    let distrusted = &told["account"]["clients_distrusted"];
    assert_eq!(distrusted[0]["client"], "team-0", "{told:#}");
    assert_eq!(distrusted.as_array().unwrap().len(), 1);
    assert_eq!(told["account"]["distrusted"], 90);
    house.coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn there_must_be_something_to_learn_from() {
    let house = House::new().await;
    let refused = house.coterie.run(&["retrain"]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(
        told.contains("0 labelled questions") && told.contains("/v1/feedback"),
        "{told}"
    );
    house.coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_kind_of_question_is_noticed_proposed_and_accepted() {
    let house = House::with_strangers().await;
    house.ask(known_questions(1200)).await;
    let before = house.coterie.printed(&["drift"]);
    assert_eq!(before["alarms"], json!([]), "{before:#}");
    let confidence = &before["references"][0];
    assert_eq!(confidence["rows"], 1_000, "{before:#}");
    assert_eq!(before["router"], before["router_in_force"]);
    house.ask(of_the_night_sky(250)).await;

    let found = house.coterie.printed(&["drift"]);
    let alarms = found["alarms"].as_array().unwrap();
    assert!(!alarms.is_empty(), "{found:#}");
    let proposal = &found["proposals"][0];
    let example = proposal["examples"][0].as_str().unwrap();
    assert!(example.contains("look brighter"), "{found:#}");
    let text = |key: &str| found[key].as_str().unwrap();
    let digest = proposal["digest"].as_str().unwrap();

    // Whoever says nothing that is a name leaves that of the terms.
    let unnamed = house.coterie.run(&["drift", "--name-by", "only"]);
    let said = String::from_utf8_lossy(&unnamed.stderr).into_owned();
    assert!(said.contains("keeps the name of its terms"), "{said}");
    refuses(&house, "--name-by=nobody");
    refuses(&house, "--accept=nothing_like_that");
    refuses(&house, &format!("--accept={digest} --into=nothing"));
    let span = ["--since", text("since"), "--until", text("until")];
    let accept = ["--accept", digest, "--name-by", "namer", "--by", "ann"];
    let accepted = house
        .coterie
        .printed(&[&["drift"][..], &span, &accept].concat());
    let path = Path::new(accepted["accepted"].as_str().unwrap());
    assert_eq!(path.file_name().unwrap(), "night_sky.yaml");
    let route = fs::read_to_string(path).unwrap();
    assert!(route.contains("look brighter"), "{route}");
    assert!(route.contains("How bright things look."), "{route}");
    assert_eq!(accepted["labelled"], proposal["times"], "{accepted:#}");
    assert!(house.coterie.run(&["check"]).status.success());

    let again = [&["drift"][..], &span, &["--accept", digest, "--by", "ann"]].concat();
    is_gone_on_with_after_a_cut(&house, &again, &accepted).await;

    // What was accepted is not proposed again, and what is watched is the router that decided.
    let after = house.coterie.printed(&["drift"]);
    let proposals = after["proposals"].as_array().unwrap();
    assert!(proposals.iter().all(|it| it["digest"] != digest));
    assert_eq!(after["router"], found["router"], "{after:#}");
    assert_ne!(after["router_in_force"], found["router"], "{after:#}");
    assert_eq!(after["alarms"], found["alarms"]);
    let store = house.coterie.store().await;
    let evidence = store.evidence(10_000).await.unwrap().evidence;
    assert!(evidence.len() >= 15, "{} labels", evidence.len());
    assert_eq!(Some(evidence.len() as u64), proposal["times"].as_u64());
    let mut said = evidence.iter().map(|row| &row.statements[0].category);
    assert!(said.all(|category| category == "night_sky"));
    house.coterie.stop().await;
}

/// Had an accepting been cut off before the labels, the same command would go on, whatever name the route was given.
async fn is_gone_on_with_after_a_cut(house: &House, call: &[&str], accepted: &Value) {
    let path = accepted["accepted"].as_str().unwrap();
    let route = fs::read_to_string(path).unwrap();
    let store = house.coterie.store().await;
    let mut number = 1;
    while store.remove_label(number).await.unwrap() {
        number += 1;
    }
    assert!(store.evidence(10_000).await.unwrap().evidence.is_empty());
    let again = house.coterie.printed(call);
    assert_eq!(again["accepted"], accepted["accepted"], "{again:#}");
    assert_eq!(again["labelled"], accepted["labelled"], "{again:#}");
    assert_eq!(fs::read_to_string(path).unwrap(), route);
    assert!(house.coterie.run(&["check"]).status.success());
}

/// `coterie drift` with these arguments is wrong.
fn refuses(house: &House, arguments: &str) {
    let call = ["drift"].into_iter().chain(arguments.split(' '));
    let refused = house.coterie.run(&call.collect::<Vec<_>>());
    assert_eq!(refused.status.code(), Some(2), "{arguments}: {refused:?}");
}

/// Enters the router in a folder and returns its id.
async fn register(store: &Store, folder: &Path, id: &str) -> RouterId {
    let id = RouterId::new(id);
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

const PROMOTER: Promoter<'_> = Promoter {
    by: "a test",
    why: None,
    expected: None,
};

#[tokio::test(flavor = "multi_thread")]
async fn routers_that_nobody_goes_back_to_are_pruned() {
    let house = House::new().await;
    let store = house.coterie.store().await;
    let routers = house.folder.path().join("routers");
    let mut ids = Vec::new();
    for name in ["first", "refused", "second", "newest"] {
        let folder = routers.join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("manifest.json"), "{}").unwrap();
        fs::write(folder.join("router.safetensors"), [0; 98]).unwrap();
        let registered = Registered {
            id: RouterId::new(name),
            folder,
            parent: None,
            registered_at_ms: i64::try_from(ids.len()).unwrap(),
            data_sha256: "00".to_owned(),
            judgement: None,
        };
        store.register(&registered).await.unwrap();
        ids.push(registered.id);
    }
    let old = Registered {
        id: RouterId::new("old"),
        folder: routers.join("old"),
        parent: None,
        registered_at_ms: -1,
        data_sha256: "00".to_owned(),
        judgement: None,
    };
    store.register(&old).await.unwrap();
    store.promote(&ids[0], PROMOTER).await.unwrap();
    store.promote(&ids[2], PROMOTER).await.unwrap();
    let there = || {
        let is_there = |name: &&str| routers.join(name).exists();
        ["first", "refused", "second", "newest"]
            .into_iter()
            .filter(is_there)
            .collect::<Vec<_>>()
    };

    let call = ["routers", "prune", "--keep", "1"];
    let told = house.coterie.printed(&[&call[..], &["--dry-run"]].concat());
    assert_eq!(told["deleted"][0]["router"], "refused", "{told:#}");
    assert_eq!(there().len(), 4);
    let told = house.coterie.printed(&call);
    assert_eq!(
        (&told["bytes"], &told["kept"]),
        (&json!(100), &json!(3)),
        "{told:#}"
    );
    assert_eq!(there(), ["first", "second", "newest"]);
    let told = house.coterie.printed(&call);
    assert_eq!(told["deleted"], json!([]));
    // What was judged of it is still to be read, and it is not put in force.
    let listed = house.coterie.printed(&["routers", "list"]);
    assert_eq!(listed["routers"].as_array().unwrap().len(), 5);
    let promoted = house.coterie.run(&["routers", "promote", "refused"]);
    assert_eq!(promoted.status.code(), Some(1));
    house.coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_router_that_is_damaged_leaves_the_one_in_force_where_it_is() {
    let house = House::new().await;
    let first = house.accuracy().await.1;
    let folder = house.folder.path().join("routers/damaged");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("manifest.json"), "{}").unwrap();
    let store = house.coterie.store().await;
    let damaged = register(&store, &folder, "damaged").await;
    store.promote(&damaged, PROMOTER).await.unwrap();
    house.coterie.look_at_registry();
    for tries in 0.. {
        let metrics = house.coterie.read("/metrics").await;
        if metrics.contains("coterie_router_changes_total{result=\"refused\"}") {
            break;
        }
        assert!(tries < 1000, "{metrics}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(house.accuracy().await.1, first);
    // What decides from the registry starts all the same, with the router before.
    let told = house.coterie.printed(&["route", "Which dough?"]);
    assert_eq!(told["router"], first.as_str());

    // Nor is it gone back to: the server would keep what it has, and nobody would know.
    let whole = register(&store, &house.folder.path().join("routers/other"), "other").await;
    store.promote(&whole, PROMOTER).await.unwrap();
    let back = house.coterie.run(&["routers", "rollback"]);
    let words = String::from_utf8_lossy(&back.stderr).into_owned();
    assert_eq!(back.status.code(), Some(1), "{words}");
    assert!(
        words.contains("router damaged, which was in force before, cannot be opened"),
        "{words}"
    );
    let in_force = store.promotion().await.unwrap().unwrap();
    assert_eq!(in_force.router.as_ref(), Some(&whole));
    house.coterie.stop().await;
}
