//! Real questions through a server that knows little: what some of its clients say of them, some of it wrong, and four
//! retrainings. A small `benches/learning/replay.rs`, of the questions that are in the repository.

use std::{collections::HashMap, fmt::Write as _, fs, path::Path, time::Duration};

use coterie::config;
use futures_util::future::join_all;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::{key, sha256};
use crate::support::{
    coterie::{Coterie, chat},
    upstream::{Reply, Upstream},
};

/// The categories of the shipped routes whose examples are asked. A training takes about as many times as long as there are
/// categories, and forty of them are to be done here.
const CATEGORIES: [&str; 5] = ["coding", "finance", "medical", "science", "writing"];

/// Examples that each route has.
const EXAMPLES: usize = 3;

/// Questions that are asked, and questions that nobody asks, which measure the router in force.
const ASKED: usize = 420;
const UNSEEN: usize = 220;

/// Of 256 questions so many get feedback, and of 256 words of feedback so many are wrong: three quarters, and a tenth.
const SAID_OF_256: u8 = 192;
const WRONG_OF_256: u8 = 26;

/// Clients that ask and give feedback, each with a key of its own.
const CLIENTS: usize = 8;

/// Percentages of the questions after which it is retrained.
const RETRAINED_AT: [usize; 4] = [30, 60, 80, 100];

/// By how much a promoted router may be right less often than the one before: two of the unseen questions.
const STEP_BACK_MAX: f64 = 0.01;

/// By how much more often the last one must be right than the first.
const GAIN_MIN: f64 = 0.1;

/// By how much less often than one that learnt the true labels of the same questions.
const BELOW_TRUE_MAX: f64 = 0.05;

/// A question, and whatever is drawn for it: by its digest, which is the same in every run.
struct Row {
    text: String,
    /// Its place among [`CATEGORIES`].
    category: usize,
    digest: [u8; 32],
}

impl Row {
    fn new(text: String, category: usize) -> Self {
        Self {
            digest: Sha256::digest(&text).into(),
            text,
            category,
        }
    }

    /// The category that is said of it; none where nothing is said.
    fn said(&self) -> Option<&'static str> {
        let [has_feedback, is_wrong, other] = [16, 17, 18].map(|at| self.digest[at]);
        let others = CATEGORIES.len() - 1;
        let step = match is_wrong < WRONG_OF_256 {
            true => 1 + usize::from(other) % others,
            false => 0,
        };
        let said = CATEGORIES[(self.category + step) % CATEGORIES.len()];
        (has_feedback < SAID_OF_256).then_some(said)
    }

    fn is_right(&self) -> bool {
        self.said() == Some(CATEGORIES[self.category])
    }

    fn client(&self) -> usize {
        usize::from(self.digest[19]) % CLIENTS
    }

    /// As a file of labels has it, with its true category.
    fn line(&self) -> String {
        json!({"text": self.text, "category": CATEGORIES[self.category]}).to_string() + "\n"
    }
}

/// The questions, each in one part.
struct Dealt {
    examples: Vec<Row>,
    asked: Vec<Row>,
    unseen: Vec<Row>,
}

impl Dealt {
    fn new() -> Self {
        let routes = config::embedded_routes().routes.into_iter();
        let of_routes = routes.filter_map(|route| {
            let mut categories = CATEGORIES.iter();
            let category = categories.position(|category| route.category.as_str() == *category)?;
            Some(
                route
                    .examples
                    .into_iter()
                    .map(move |text| Row::new(text, category)),
            )
        });
        let mut rows: Vec<Row> = of_routes.flatten().collect();
        rows.sort_unstable_by_key(|row| row.digest);
        let mut seen: HashMap<usize, usize> = HashMap::new();
        let (examples, rest): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(|row| {
            let seen = seen.entry(row.category).or_default();
            *seen += 1;
            *seen <= EXAMPLES
        });
        let mut rest = rest.into_iter();
        let unseen: Vec<Row> = rest.by_ref().take(UNSEEN).collect();
        let asked: Vec<Row> = rest.take(ASKED).collect();
        assert_eq!((unseen.len(), asked.len()), (UNSEEN, ASKED));
        Self {
            examples,
            asked,
            unseen,
        }
    }

    /// What feedback is given on.
    fn taught(&self) -> Vec<&Row> {
        let asked = self.asked.iter();
        asked.filter(|row| row.said().is_some()).collect()
    }
}

/// A server whose routes have few examples.
struct Novice {
    coterie: Coterie,
    folder: TempDir,
    _upstream: Upstream,
}

impl Novice {
    /// It reads vectors of word pieces alone: in a build for tests a router of words takes ten times as long to train.
    async fn new(examples: &[Row]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_routes(&folder.path().join("routes"), examples);
        let upstream = Upstream::always(Reply::answer(["An answer."])).await;
        let keys: String = (0..CLIENTS)
            .map(|at| format!("{{ name: client-{at}, sha256: '{}' }}, ", sha256(&key(at))))
            .collect();
        let yaml = format!(
            "experts: {{ only: {{ kind: remote, base_url: '{0}', model: far }} }}\n\
             mapping: {{ default: only }}\n\
             server: {{ listen: '127.0.0.1:0', keys: [{keys}] }}\n\
             router: {{ features: [static], artefacts: '{1}/routers', routes: '{1}/routes' }}\n",
            upstream.base_url(),
            folder.path().display()
        );
        Self {
            coterie: Coterie::serve(&yaml).await,
            folder,
            _upstream: upstream,
        }
    }

    /// Asks, and says what is said of it.
    async fn ask(&self, row: &Row) {
        let client = key(row.client());
        let asked = self
            .coterie
            .post("/v1/chat/completions", &chat("coterie", &row.text, false))
            .bearer_auth(&client)
            .send()
            .await
            .unwrap();
        assert_eq!(asked.status(), 200);
        let outcome = asked.headers()["x-coterie-outcome"].to_str().unwrap();
        let outcome = outcome.to_owned();
        asked.bytes().await.unwrap();
        let Some(category) = row.said() else {
            return;
        };
        let said = json!({"id": outcome, "category": category});
        let given = self.coterie.post("/v1/feedback", &said);
        let given = given.bearer_auth(&client).send().await.unwrap();
        assert_eq!(given.status(), 200);
    }

    async fn route(&self, text: &str) -> Value {
        let asked = self.coterie.post("/v1/route", &json!({"text": text}));
        let told = asked.bearer_auth(key(0)).send().await.unwrap();
        told.json().await.unwrap()
    }

    /// Retrains, and waits until the server has what is promoted.
    async fn retrain(&self) {
        let done = self.coterie.printed(&["retrain"]);
        if done["promoted"] == false {
            return;
        }
        self.coterie.look_at_registry();
        for _ in 0..2000 {
            if self.route("Which tax?").await["router"] == done["challenger"] {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("router {} is not taken up", done["challenger"]);
    }

    /// The share of questions whose likeliest category is right by the router in force.
    async fn accuracy(&self, rows: &[Row]) -> f64 {
        let mut right = 0_u32;
        for some in rows.chunks(8) {
            let told = join_all(some.iter().map(|row| self.route(&row.text))).await;
            for (row, told) in some.iter().zip(told) {
                right += u32::from(told["scores"][0]["category"] == CATEGORIES[row.category]);
            }
        }
        f64::from(right) / rows.len() as f64
    }

    /// The same by a router that learns the true labels of what feedback was given on; nobody promotes it.
    fn accuracy_by_truth(&self, dealt: &Dealt) -> f64 {
        let file = |name: &str| {
            let path = self.folder.path().join(name);
            path.to_str().unwrap().to_owned()
        };
        let (learnt, unseen) = (file("learnt.jsonl"), file("unseen.jsonl"));
        let (routes, out) = (file("routes"), file("by-truth"));
        let lines: String = dealt.taught().iter().map(|row| row.line()).collect();
        fs::write(&learnt, lines).unwrap();
        let lines: String = dealt.unseen.iter().map(Row::line).collect();
        fs::write(&unseen, lines).unwrap();
        let train = [
            "train", "--labels", &learnt, "--routes", &routes, "--out", &out,
        ];
        self.coterie.printed(&train);
        let evaluate = ["evaluate", "--labels", &unseen, "--router", &out];
        let told = self.coterie.printed(&evaluate);
        told["accuracy"].as_f64().unwrap()
    }
}

fn write_routes(folder: &Path, examples: &[Row]) {
    fs::create_dir_all(folder).unwrap();
    for (at, category) in CATEGORIES.iter().enumerate() {
        let mut yaml = format!("description: Questions of {category}.\nexamples:\n");
        for row in examples.iter().filter(|row| row.category == at) {
            // A JSON string is a YAML string.
            writeln!(yaml, "  - {}", json!(row.text)).unwrap();
        }
        fs::write(folder.join(format!("{category}.yaml")), yaml).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn accuracy_on_real_questions_climbs_over_four_retrainings_to_what_true_labels_teach() {
    let dealt = Dealt::new();
    let taught = dealt.taught();
    let wrong = taught.iter().filter(|row| !row.is_right()).count();
    assert!(3 * taught.len() > ASKED, "{}", taught.len());
    assert!(
        (7..14).contains(&(100 * wrong / taught.len())),
        "{wrong} of {}",
        taught.len()
    );
    let novice = Novice::new(&dealt.examples).await;
    let mut accuracies = vec![novice.accuracy(&dealt.unseen).await];
    let mut done = 0;
    for share in RETRAINED_AT {
        let until = ASKED * share / 100;
        // One after the other: what is held back together goes by the time, and is the same in every run.
        for row in &dealt.asked[done..until] {
            novice.ask(row).await;
        }
        done = until;
        novice.retrain().await;
        accuracies.push(novice.accuracy(&dealt.unseen).await);
    }
    let by_truth = novice.accuracy_by_truth(&dealt);
    novice.coterie.stop().await;

    // The gate may keep a router that is not shown to be better: then it stays as it is.
    let mut steps = accuracies.windows(2);
    assert!(
        steps.all(|step| step[1] >= step[0] - STEP_BACK_MAX),
        "{accuracies:?}"
    );
    let (first, last) = (accuracies[0], accuracies[RETRAINED_AT.len()]);
    assert!(last >= first + GAIN_MIN, "{accuracies:?}");
    assert!(
        last >= by_truth - BELOW_TRUE_MAX,
        "{accuracies:?} beside {by_truth}"
    );
}
