//! A category that the router does not know, by its card and three examples: how many of its questions are found, and how
//! many others are taken for them.
//!
//! `cargo bench --bench unseen -- --questions clinc150.jsonl [--model models/qwen2.5-coder-1.5b-instruct] [DOMAIN…]`: rows with
//! `text` and `domain`. For each domain a router is trained on the nine others (`coterie train`), what a local model's word is worth
//! is learnt on other rows of these nine (`coterie instruct fit`), and rows of all ten are judged, with the tier and without.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for developers, which prints and may stop"
)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use coterie::{
    config::{self, Environment, Exposure},
    evaluate::Judged,
    expert::Experts,
    instruction::tier::Tier,
    learning::judging,
    registry,
    train::labels,
};
use rand::{SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use serde_json::{Value, json};

const SEED: u64 = 3;

/// Rows of each domain: that teach the router, that teach the blend, and that are judged.
const TRAINED: usize = 160;
const FITTED: usize = 60;
const JUDGED: usize = 40;

/// Examples that the routes of known domains have, and that of the new one.
const EXAMPLES_KNOWN: usize = 20;
const EXAMPLES_NEW: usize = 3;

/// What the cards say of each domain.
const CARDS: &str = include_str!("cards.yaml");

const MODEL: &str = "models/qwen2.5-coder-1.5b-instruct";

type ByDomain = BTreeMap<String, Vec<String>>;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let after = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)
    };
    let Some(questions) = after("--questions") else {
        println!("name questions of several domains: --questions F.jsonl");
        return;
    };
    let model = after("--model").map_or(MODEL, String::as_str);
    let domains = domains(Path::new(questions));
    let is_named = |domain: &&String| arguments.contains(domain);
    let mut wanted: Vec<&String> = domains.keys().filter(is_named).collect();
    if wanted.is_empty() {
        wanted = domains.keys().collect();
    }
    println!(
        "new domain | asked | decided by the tier | recall, likeliest | precision | recall, routed | precision | others right without the tier | with it"
    );
    for new in wanted {
        let house = House::new(&domains, new, model);
        house.train();
        house.fit();
        house.tell(&domains).await;
    }
}

/// The questions of each domain that has a card, in an order by the seed.
fn domains(file: &Path) -> ByDomain {
    let cards: Value = serde_saphyr::from_str(CARDS).unwrap();
    let mut domains = ByDomain::new();
    for line in fs::read_to_string(file).unwrap().lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let domain = row["domain"].as_str().unwrap();
        if !cards["categories"][domain].is_null() {
            let text = row["text"].as_str().unwrap();
            domains
                .entry(domain.to_owned())
                .or_default()
                .push(text.to_owned());
        }
    }
    for texts in domains.values_mut() {
        texts.shuffle(&mut StdRng::seed_from_u64(SEED));
    }
    domains
}

/// A folder with routes, labels and a configuration.
struct House {
    folder: tempfile::TempDir,
    new: String,
}

impl House {
    fn new(domains: &ByDomain, new: &str, model: &str) -> Self {
        let house = Self {
            folder: tempfile::tempdir().unwrap(),
            new: new.to_owned(),
        };
        for folder in ["known", "routes"] {
            fs::create_dir(house.path(folder)).unwrap();
        }
        for (domain, texts) in domains {
            if domain == new {
                house.write_route("routes", domain, &texts[..EXAMPLES_NEW]);
            } else {
                house.write_route("routes", domain, &texts[..EXAMPLES_KNOWN]);
                house.write_route("known", domain, &texts[..EXAMPLES_KNOWN]);
            }
        }
        fs::write(house.path("routes/_cards.yaml"), CARDS).unwrap();
        let known = |range: std::ops::Range<usize>| {
            let known = domains.iter().filter(|(domain, _)| *domain != new);
            let rows = known.flat_map(|(domain, texts)| labelled(domain, &texts[range.clone()]));
            rows.collect::<String>()
        };
        let taught = known(0..TRAINED);
        let fitted = known(TRAINED..TRAINED + FITTED);
        fs::write(house.path("train.jsonl"), taught).unwrap();
        fs::write(house.path("fit.jsonl"), fitted).unwrap();
        let path = house.folder.path().display();
        let yaml = format!(
            "store: {{ url: 'sqlite://{path}/coterie.db' }}\n\
             router:\n  routes: '{path}/routes'\n  artefacts: '{path}/routers'\n  artefact: '{path}/router'\n\
             \x20 features: [sparse, static, transformer]\n\
             \x20 instruction: {{ expert: scribe, mode: logprob, when: unsure, within: 120s, blend: '{path}/blend.json' }}\n\
             experts: {{ scribe: {{ kind: local, model: '{model}' }} }}\n\
             mapping: {{ default: scribe }}\n"
        );
        fs::write(house.path("coterie.yaml"), yaml).unwrap();
        house
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write_route(&self, folder: &str, domain: &str, examples: &[String]) {
        let examples: String = examples
            .iter()
            .map(|text| format!("  - {}\n", json!(text)))
            .collect();
        let yaml = format!("description: Questions of {domain}.\nexamples:\n{examples}");
        fs::write(self.path(folder).join(format!("{domain}.yaml")), yaml).unwrap();
    }

    fn train(&self) {
        let [labels, routes, out] = ["train.jsonl", "known", "router"].map(|name| self.path(name));
        let mut train = Command::new(env!("CARGO_BIN_EXE_coterie"));
        train.arg("train").arg("--labels").arg(labels);
        train.arg("--routes").arg(routes).arg("--out").arg(out);
        run(&mut train);
    }

    fn fit(&self) {
        let mut fit = Command::new(env!("CARGO_BIN_EXE_coterie"));
        fit.args(["instruct", "fit", "--labels"])
            .arg(self.path("fit.jsonl"));
        fit.arg("--config").arg(self.path("coterie.yaml"));
        run(&mut fit);
    }

    async fn tell(&self, domains: &ByDomain) {
        let rows = domains.iter().flat_map(|(domain, texts)| {
            let from = TRAINED + FITTED;
            labelled(domain, &texts[from..from + JUDGED])
        });
        fs::write(self.path("judged.jsonl"), rows.collect::<String>()).unwrap();
        let rows = labels::read(&[self.path("judged.jsonl")]).unwrap();
        let file = self.path("coterie.yaml");
        let environment = Environment::from_process();
        let config = config::load(Some(&file), &environment, Exposure::Guarded).unwrap();
        let router = registry::open(&config, None).await.unwrap();
        let experts = Experts::open(&config.experts, &config.delivery).unwrap();
        let tier = Tier::configured(&config, &experts, &router)
            .unwrap()
            .unwrap();
        tier.read_cards(&router).await;
        let without = judging::judge(&router, rows.clone()).await.unwrap();
        let with = judging::judge_with(&router, &tier, rows).await;
        let (with, turns) = with.unwrap();
        let by_tier = |row: &&Judged| {
            row.tier
                .as_ref()
                .is_some_and(|it| it.to_string() == "instruction")
        };
        let decided = with.iter().filter(by_tier).count();
        let likeliest = self.found(&with, |_| true);
        let routed = self.found(&with, |row| row.routed);
        println!(
            "{} | {} of {} | {decided} | {:.2} | {:.2} | {:.2} | {:.2} | {:.3} | {:.3}",
            self.new,
            turns.asked,
            with.len(),
            likeliest[0],
            likeliest[1],
            routed[0],
            routed[1],
            self.others_right(&without),
            self.others_right(&with),
        );
    }

    /// Recall and precision of the new domain among the rows that count.
    fn found(&self, judged: &[Judged], counts: impl Fn(&Judged) -> bool) -> [f64; 2] {
        let is_new = |row: &&Judged| row.label.as_str() == self.new;
        let taken_for_new = |row: &&Judged| {
            let likeliest = row.scores.first();
            counts(row) && likeliest.is_some_and(|score| score.category.as_str() == self.new)
        };
        let right = judged.iter().filter(is_new).filter(taken_for_new).count() as f64;
        let all = judged.iter().filter(is_new).count() as f64;
        let taken = judged.iter().filter(taken_for_new).count() as f64;
        [right / all, right / taken.max(1.0)]
    }

    /// Of the other domains' rows, the share whose likeliest category is the right one.
    fn others_right(&self, judged: &[Judged]) -> f64 {
        let others = judged.iter().filter(|row| row.label.as_str() != self.new);
        let right = others.clone().filter(|row| row.is_right()).count();
        right as f64 / others.count() as f64
    }
}

fn labelled<'t>(domain: &'t str, texts: &'t [String]) -> impl Iterator<Item = String> + 't {
    let row = move |text| format!("{}\n", json!({"text": text, "category": domain}));
    texts.iter().map(row)
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
}
