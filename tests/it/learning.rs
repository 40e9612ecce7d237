//! What the traffic teaches: feedback on answers of a running server, `coterie retrain`, and routers that are swapped
//! while questions come.

mod correcting;
mod growing;
mod registry;
mod remapping;
mod repeated;
mod replay;
mod routes;
mod swapping;
mod watching;

use std::{fs, path::Path, time::Duration};

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
