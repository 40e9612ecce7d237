//! `coterie map` as a process: outcomes → a mapping that a configuration takes, and what it is worth.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::coterie::write_config;

const EXPERTS: &str = "experts:\n\
    \x20 small: { kind: remote, base_url: 'http://127.0.0.1:9/v1', model: s, params_b: 7, usd_in: 0.1, usd_out: 0.2 }\n\
    \x20 large: { kind: remote, base_url: 'http://127.0.0.1:9/v1', model: l, params_b: 70, usd_in: 1, usd_out: 2 }\n";

const MODELS: &str = r#"{"small": 7, "large": {"params_b": 70}}"#;

/// Questions about code are better answered by the small expert, those about mathematics by the large one.
const ASKED: [(&str, &str, u8, u8); 2] = [
    (
        "coding",
        "Write a Python function that parses a CSV file into a list of dictionaries, case",
        1,
        0,
    ),
    (
        "math",
        "What is the derivative of x squared times the sine of x at the point",
        0,
        1,
    ),
];

struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// Outcomes of so many questions of each kind; on every fifth both experts fail.
    fn outcomes(&self, name: &str, rows: usize) -> PathBuf {
        let mut lines = String::new();
        for (category, prompt, small, large) in ASKED {
            for row in 0..rows {
                let right = u8::from(row % 5 != 0);
                let (small, large) = (small * right, large * right);
                lines.push_str(&format!(
                    "{{\"id\": \"{name}{category}{row}\", \"prompt\": \"{prompt} {row}?\", \"category\": \"{category}\", \
                     \"scores\": {{\"small\": {small}, \"large\": {large}}}}}\n"
                ));
            }
        }
        self.file(name, &lines)
    }

    fn map(&self, arguments: &[&str]) -> Output {
        self.coterie(&[&["map"], arguments].concat())
    }

    fn coterie(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_coterie"))
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .args(arguments)
            .output()
            .unwrap()
    }

    /// Fits by the field `category`, with more flags.
    fn fit(&self, more: &[&str]) -> Output {
        self.outcomes("fitted.jsonl", 40);
        self.file("models.json", MODELS);
        let call = [
            "fit",
            "--outcomes",
            "fitted.jsonl",
            "--models",
            "models.json",
            "--by",
            "category",
            "--out",
            "mapping.yaml",
        ];
        self.map(&[&call[..], more].concat())
    }
}

fn words(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn document(output: &Output) -> Value {
    assert!(output.status.success(), "{}", words(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn near(value: &Value, expected: f64) -> bool {
    (value.as_f64().unwrap() - expected).abs() < 1e-9
}

#[test]
fn a_fit_is_one_document_and_a_file() {
    let bench = Bench::new();
    let fitted = document(&bench.fit(&["--json", "--plots", "plots"]));
    assert_eq!(fitted["mapping"]["coding"]["expert"], "small");
    assert_eq!(fitted["mapping"]["math"]["expert"], "large");
    assert_eq!(
        fitted["mapping"]["math"]["fallbacks"],
        serde_json::json!(["small"])
    );
    assert!(near(&fitted["score"], 0.8), "{}", fitted["score"]);
    assert!(near(&fitted["active_b"], 38.5) && near(&fitted["resident_b"], 77.0));
    assert!(fitted["score_ci95"][0].as_f64() < fitted["score_ci95"][1].as_f64());
    assert_eq!(fitted["rows"], 80);
    assert!(near(&fitted["baselines"]["oracle"]["score"], 0.8));
    assert!(near(&fitted["baselines"]["random"]["score"], 0.4));
    assert_eq!(fitted["baselines"]["cheapest"]["expert"], "small");
    assert!(fitted["gain_ci95"][0].as_f64().unwrap() > 0.0);
    assert_eq!(fitted["verdict"], "better");
    assert_eq!(fitted["basis"], "held_back");
    assert!(fitted["frontier"].as_array().unwrap().len() > 1);
    assert!(fitted.get("usd").is_none(), "no prices were given");
    let picture =
        fs::read_to_string(bench.folder.path().join("plots/frontier-active.svg")).unwrap();
    assert!(picture.contains("<svg"));
    let yaml = fs::read_to_string(bench.folder.path().join("mapping.yaml")).unwrap();
    assert!(
        yaml.contains("# by field: category\n")
            && yaml.contains("coding: { expert: small, fallbacks: [large] }\n"),
        "{yaml}"
    );
}

#[test]
fn too_few_questions_to_hold_some_back_have_no_interval() {
    let bench = Bench::new();
    bench.file("models.json", MODELS);
    let fit = "fit --outcomes fitted.jsonl --models models.json --by category --out mapping.yaml";
    let fit: Vec<&str> = fit.split(' ').collect();
    // Twice so many are asked: ten of each kind are twenty.
    for (rows, is_judged) in [(10, true), (9, false), (1, false)] {
        bench.outcomes("fitted.jsonl", rows);
        let fitted = document(&bench.map(&[&fit[..], &["--json"]].concat()));
        for interval in ["score_ci95", "gain_ci95"] {
            assert_eq!(fitted[interval].is_array(), is_judged, "{fitted}");
        }
        assert_eq!(fitted["verdict"] == "not_judged", !is_judged, "{fitted}");
        assert_eq!(fitted["basis"] == "fitted_on", !is_judged, "{fitted}");
        assert_eq!(fitted["frontier"][0].is_object(), is_judged, "{fitted}");
    }
    let told = words(&bench.map(&fit).stdout);
    let yaml = fs::read_to_string(bench.folder.path().join("mapping.yaml")).unwrap();
    for told in [told, yaml] {
        let says = |part| told.contains(part);
        assert!(says("too few questions to hold some back"), "{told}");
        assert!(says("whether composing pays cannot be told"), "{told}");
        assert!(!says("confidence"), "{told}");
    }
    let refused = bench.map(&[&fit[..], &["--per-question"]].concat());
    let told = words(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(told.contains("takes 20 different questions"), "{told}");
}

#[test]
fn what_is_fitted_can_be_served() {
    let bench = Bench::new();
    bench.fit(&[]);
    let file = bench.folder.path().join("mapping.yaml");
    let config = write_config(
        bench.folder.path(),
        &format!("{EXPERTS}mapping: {{ file: '{}' }}\n", file.display()),
    );
    let checked = Command::new(env!("CARGO_BIN_EXE_coterie"))
        .args(["check", "--config"])
        .arg(config)
        .output()
        .unwrap();
    assert!(
        checked.status.success(),
        "{}{}",
        words(&checked.stdout),
        words(&checked.stderr)
    );
}

#[test]
fn a_person_is_told_what_the_mapping_is_worth() {
    let bench = Bench::new();
    let told = words(&bench.fit(&[]).stdout);
    for part in [
        "best single",
        "oracle",
        "composing pays: +",
        "frontier: score against active parameters",
        "on rows held back",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[test]
fn other_rows_are_judged_by_the_field_that_was_fitted_by() {
    let bench = Bench::new();
    bench.fit(&[]);
    bench.outcomes("held.jsonl", 10);
    let call = [
        "evaluate",
        "--mapping",
        "mapping.yaml",
        "--outcomes",
        "held.jsonl",
        "--models",
        "models.json",
    ];
    let judged = document(&bench.map(&[&call[..], &["--json"]].concat()));
    assert!(near(&judged["score"], 0.8) && near(&judged["active_b"], 38.5));
    assert!(near(&judged["gain_over_best_single"], 0.4));
    assert_eq!(judged["rows"], 20);
    let told = words(&bench.map(&call).stdout);
    assert!(told.contains("over the best single expert"), "{told}");
}

#[test]
fn limits_and_rules_are_kept_or_refused_with_the_least_that_holds() {
    let bench = Bench::new();
    let fitted = document(&bench.fit(&["--json", "--budget-active", "20"]));
    assert!(near(&fitted["active_b"], 7.0));
    let fitted = document(&bench.fit(&["--json", "--pin", "coding=large", "--experts-max", "1"]));
    assert_eq!(fitted["mapping"]["math"]["expert"], "large");
    let refused = |more: &[&str], code: i32, complaint: &str| {
        let output = bench.fit(more);
        let told = words(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{told}");
        assert!(told.contains(complaint), "{told}");
    };
    refused(
        &["--budget-active", "5"],
        1,
        "5 billion active parameters are too few: with the rules and the limits before it kept, the least is 7",
    );
    refused(
        &["--pin", "cooking=large"],
        2,
        "no row is of category `cooking`",
    );
    refused(
        &["--experts", "small,huge"],
        2,
        "no row has a score of `huge`; scored are large, small",
    );
    refused(
        &["--pin", "coding=large", "--pin", "coding=small"],
        2,
        "`coding` is pinned to `large` and to `small`",
    );
    refused(
        &["--budget-usd", "0.1"],
        2,
        "no expert's price is known, so that no budget can be kept to; give each `usd_in` and `usd_out`",
    );
}

#[test]
fn without_a_field_the_router_in_force_says_what_prompts_are_about() {
    let bench = Bench::new();
    bench.outcomes("fitted.jsonl", 20);
    let config = write_config(
        bench.folder.path(),
        &format!("{EXPERTS}mapping: {{ default: small }}\n"),
    );
    let config = config.to_string_lossy();
    let call = [
        "fit",
        "--config",
        &config,
        "--outcomes",
        "fitted.jsonl",
        "--out",
        "mapping.yaml",
        "--json",
    ];
    let fitted = document(&bench.map(&call));
    assert_eq!(fitted["mapping"]["coding"]["expert"], "small");
    assert_eq!(fitted["mapping"]["math"]["expert"], "large");
    assert!(
        fitted["usd"].as_f64().unwrap() > 0.0,
        "the configuration knows sizes and prices"
    );
    assert!(
        !Path::new("mapping.yaml").exists(),
        "written where the command ran"
    );
}

/// What a sum of so many numbers is asked as.
fn sum(first: usize, numbers: usize) -> String {
    let numbers: Vec<String> = (0..numbers)
        .map(|at| (first * 7 + at * 13).to_string())
        .collect();
    format!("What is {}?", numbers.join(" + "))
}

impl Bench {
    /// Outcomes of so many sums: the small expert fails those of many numbers, the large one is always right but on every
    /// twentieth.
    fn sums(&self, name: &str, rows: usize) -> PathBuf {
        self.sums_of(name, rows, |row| {
            let is_hard = row % 3 == 0;
            (if is_hard { 14 } else { 2 }, !is_hard, row % 20 != 1)
        })
    }

    /// Outcomes of so many sums, the harder the more numbers they have: the small expert fails more and more of them.
    fn graded(&self, name: &str, rows: usize) -> PathBuf {
        let luck = |row: usize| row * 7_919 % 1_000;
        self.sums_of(name, rows, |row| {
            let level = row % 8;
            let is_easy_enough = luck(row) < 1_000 - 120 * level;
            (2 + 2 * level, is_easy_enough, luck(row + 500) < 950)
        })
    }

    /// `of`: how many numbers a sum has, and whether the small and the large expert are right.
    fn sums_of(
        &self,
        name: &str,
        rows: usize,
        of: impl Fn(usize) -> (usize, bool, bool),
    ) -> PathBuf {
        let mut lines = String::new();
        for row in 0..rows {
            let (numbers, small, large) = of(row);
            lines.push_str(&format!(
                "{{\"id\": \"{name}{row}\", \"prompt\": \"{}\", \"category\": \"math\", \
                 \"scores\": {{\"small\": {}, \"large\": {}}}}}\n",
                sum(row, numbers),
                u8::from(small),
                u8::from(large),
            ));
        }
        self.file(name, &lines)
    }
}

#[test]
fn where_it_pays_questions_are_chosen_for_one_by_one() {
    let bench = Bench::new();
    bench.sums("fitted.jsonl", 240);
    bench.sums("held.jsonl", 60);
    bench.file("models.json", MODELS);
    let fit = "fit --outcomes fitted.jsonl --models models.json --by category --out mapping.yaml --per-question --json";
    let fitted = document(&bench.map(&fit.split(' ').collect::<Vec<_>>()));
    assert_eq!(fitted["per_question"]["pays"], true, "{fitted}");
    let quality = fitted["mapping"]["quality"].as_str().unwrap();
    assert!(quality.starts_with("mapping.quality-"), "{quality}");
    assert_eq!(fitted["mapping"]["prefer"], "quality");
    assert_eq!(fitted["basis"], "held_back_fits_as_they_are");
    assert!(fitted["per_question"]["pair"]["apgr"].as_f64() > Some(0.7));
    let asked = &fitted["per_question"]["aims"][0];
    for figure in ["score", "active_b"] {
        let (whole, plain) = (&fitted[figure], &fitted["by_category"][figure]);
        assert_eq!(whole, &asked["per_question"][figure], "of what is written");
        assert_ne!(whole, plain, "{figure}");
    }
    let score = fitted["score"].as_f64().unwrap();
    let yaml = fs::read_to_string(bench.folder.path().join("mapping.yaml")).unwrap();
    let told = format!("# score: {score:.4} (");
    let caveat = "on rows held back; fits taken as they are; chosen on these rows)";
    assert!(yaml.contains(&told) && yaml.contains(caveat), "{yaml}");

    let evaluate =
        "evaluate --mapping mapping.yaml --outcomes held.jsonl --models models.json --json";
    let evaluate: Vec<&str> = evaluate.split(' ').collect();
    let judged = document(&bench.map(&evaluate));
    assert!(
        judged["gain_over_best_single"].as_f64() > Some(0.0),
        "{judged}"
    );
    assert!(judged["active_b"].as_f64() < Some(50.0), "{judged}");
    let pair = document(&bench.map(&[&evaluate[..], &["--pair", "large,small"]].concat()));
    assert!(
        pair["apgr"].as_f64() > Some(0.7) && pair["cpt50"].as_f64() < Some(0.4),
        "{pair}"
    );

    let config = format!("{EXPERTS}mapping: {{ file: mapping.yaml }}\n");
    let config = write_config(bench.folder.path(), &config);
    let config = config.to_string_lossy();
    let expert = |text: &str| {
        let decision = document(&bench.coterie(&["route", "--config", &config, "--json", text]));
        let predicted = decision["mapping"]["predicted"].as_array().unwrap();
        assert_eq!(predicted.len(), 2, "{decision}");
        decision["expert"].as_str().unwrap().to_owned()
    };
    assert_eq!(expert(&sum(999, 2)), "small");
    assert_eq!(expert(&sum(999, 14)), "large");

    let quality = bench.folder.path().join(quality);
    let mut bytes = fs::read(&quality).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&quality, bytes).unwrap();
    let refused = bench.map(&evaluate);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        words(&refused.stderr).contains("checksum"),
        "{}",
        words(&refused.stderr)
    );
    let refused = bench.coterie(&["check", "--config", &config]);
    let told = words(&refused.stdout) + &words(&refused.stderr);
    assert!(
        !refused.status.success() && told.contains("checksum"),
        "{told}"
    );
}

#[test]
fn what_is_said_of_a_preference_for_less_cost_does_not_contradict_itself() {
    let bench = Bench::new();
    bench.graded("fitted.jsonl", 240);
    bench.file("models.json", MODELS);
    for word in ["economy", "balanced"] {
        let fit = "fit --outcomes fitted.jsonl --models models.json --by category --out mapping.yaml --per-question --prefer";
        let fit = [&fit.split(' ').collect::<Vec<_>>()[..], &[word]].concat();
        let fitted = document(&bench.map(&[&fit[..], &["--json"]].concat()));
        assert_eq!(fitted["per_question"]["pays"], true, "{fitted}");
        assert_eq!(fitted["verdict"], "worth_its_cost", "{fitted}");
        assert!(fitted["less_cost"]["ci95"][0].as_f64() > Some(0.0));
        let told = words(&bench.map(&fit).stdout);
        let yaml = fs::read_to_string(bench.folder.path().join("mapping.yaml")).unwrap();
        for told in [told, yaml] {
            assert!(
                told.contains("composing pays in what it costs: ")
                    && told.contains("choosing question by question pays: ")
                    && !told.contains("does not pay"),
                "{told}"
            );
        }
    }
}

#[test]
fn a_preference_needs_costs_and_no_budget() {
    let bench = Bench::new();
    bench.sums("fitted.jsonl", 60);
    bench.file("models.json", r#"{"small": 7, "large": {}}"#);
    let refused = |more: &[&str], code: i32, complaint: &str| {
        let call = [
            "fit",
            "--outcomes",
            "fitted.jsonl",
            "--models",
            "models.json",
        ];
        let rest = ["--by", "category", "--out", "mapping.yaml"];
        let output = bench.map(&[&call[..], &rest, more].concat());
        let told = words(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{told}");
        assert!(told.contains(complaint), "{told}");
    };
    refused(
        &["--per-question", "--prefer", "economy"],
        1,
        "what experts cost is not known",
    );
    refused(&["--prefer", "economy"], 2, "--per-question");
    refused(
        &["--per-question", "--prefer", "cheap"],
        2,
        "write quality, balanced or economy",
    );
    refused(
        &[
            "--per-question",
            "--prefer",
            "economy",
            "--budget-active",
            "9",
        ],
        2,
        "cannot be used with",
    );
}
