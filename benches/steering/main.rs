//! How often somebody's words turn a decision of which the router is sure, and what the guard changes of that: ten words of
//! another subject behind a question; the questions that were written to steer an LLM; the same question in other words.
//!
//! `cargo bench --bench steering -- --labels F.jsonl [--router DIR] [--config F.yaml]`: the labels must be rows that the router has
//! not learnt from. Each question that is routed gets two suffixes, each of ten words in a row from a question of another category.
//!
//! With `--model models/qwen2.5-coder-0.5b-instruct,…`: the questions that were written, by the router with that model as its last
//! tier ([`tier`]); from the labels it is learnt what its word counts.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for developers, which prints and may stop"
)]

mod tier;

use std::path::{Path, PathBuf};

use coterie::{
    config::{self, Config, Environment, Exposure, Guard},
    query::Query,
    registry,
    router::{Router, Standing},
    train::labels::{self, Labelled},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde::Deserialize;

const SUFFIX_WORDS: usize = 10;
const SUFFIXES: usize = 2;

/// What became of the questions.
#[derive(Default)]
struct Tally {
    right: usize,
    routed: usize,
    misrouted: usize,
    steered: usize,
    turned: usize,
    doubted: usize,
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let after = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).map(PathBuf::from)
    };
    let Some(file) = after("--labels") else {
        println!("name labelled questions: --labels F.jsonl");
        return;
    };
    let rows = labels::read(&[file]).unwrap();
    let written = of_lines(include_str!("../../tests/it/instruction/steering.jsonl"));
    let paraphrased = of_lines(include_str!("paraphrases.jsonl"));
    if let Some(models) = after("--model") {
        let written: Vec<Written> = [written, paraphrased].concat();
        println!("{}", tier::HEAD);
        for model in models.display().to_string().split(',') {
            tier::tell(model, after("--router").as_deref(), &rows, &written).await;
        }
        return;
    }
    println!(
        "guard | right | routed | misrouted of these | turned by a suffix | sent to the default expert by it"
    );
    for guard in [Guard::Off, Guard::On] {
        let config = config(after("--config").as_deref(), guard);
        let router = registry::open(&config, after("--router").as_deref())
            .await
            .unwrap();
        let tally = tally(&router, &rows).await;
        let of = |some: usize, all: usize| some as f64 / all.max(1) as f64;
        println!(
            "{guard:?} | {:.3} | {:.3} | {:.3} | {:.3} | {:.3}",
            of(tally.right, rows.len()),
            of(tally.routed, rows.len()),
            of(tally.misrouted, tally.routed),
            of(tally.turned, tally.steered),
            of(tally.doubted, tally.steered),
        );
        let steered = against(&router, &written).await;
        println!("  questions that are written to steer: {steered}");
        let plain = against(&router, &paraphrased).await;
        println!("  questions in plain words: {plain}");
        let again = paraphrased.iter().map(|row| Written {
            text: row.again.clone(),
            ..row.clone()
        });
        let again = against(&router, &again.collect::<Vec<_>>()).await;
        println!("  the same in others: {again}");
    }
}

/// A question that we have written.
#[derive(Clone, Deserialize)]
struct Written {
    text: String,
    category: String,
    /// The same in other words, where it has any.
    #[serde(default)]
    again: String,
}

fn of_lines(lines: &str) -> Vec<Written> {
    let rows = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    rows.collect()
}

/// How many go where they belong, to the default expert (where what belongs nowhere belongs), and elsewhere.
async fn against(router: &Router, rows: &[Written]) -> String {
    let (mut right, mut default, mut elsewhere) = (0, 0, 0);
    for row in rows {
        let (_, routed) = decided(router, &row.text).await;
        match routed {
            Some(category) if category == row.category => right += 1,
            Some(_) => elsewhere += 1,
            None => default += 1,
        }
    }
    format!(
        "{right} of {} go where they belong, {default} to the default expert, {elsewhere} elsewhere",
        rows.len()
    )
}

fn config(path: Option<&Path>, guard: Guard) -> Config {
    let environment = Environment::from_process();
    let mut config = config::load(path, &environment, Exposure::Insecure).unwrap();
    config.router.guard = guard;
    config
}

async fn tally(router: &Router, rows: &[Labelled]) -> Tally {
    let mut random = StdRng::seed_from_u64(5);
    let mut tally = Tally::default();
    for row in rows {
        let text = &row.query.text;
        let (best, routed) = decided(router, text).await;
        tally.right += usize::from(best.as_deref() == Some(row.category.as_str()));
        let Some(category) = routed else { continue };
        tally.routed += 1;
        tally.misrouted += usize::from(category != row.category.as_str());
        for _ in 0..SUFFIXES {
            let suffix = suffix(rows, row, &mut random);
            let (_, steered) = decided(router, &format!("{text} {suffix}")).await;
            tally.steered += 1;
            match steered {
                Some(other) if other != category => tally.turned += 1,
                Some(_) => {}
                None => tally.doubted += 1,
            }
        }
    }
    tally
}

/// The likeliest class, and the category that the question goes to.
async fn decided(router: &Router, text: &str) -> (Option<String>, Option<String>) {
    let verdict = router.classify(&Query::from_text(text)).await.unwrap();
    let best = verdict.scores.first().map(|best| best.category.to_string());
    let routed = best
        .clone()
        .filter(|_| verdict.standing == Standing::Confident);
    (best, routed)
}

/// Ten words in a row from a question of another category.
fn suffix(rows: &[Labelled], row: &Labelled, random: &mut StdRng) -> String {
    loop {
        let other = &rows[random.random_range(0..rows.len())];
        let words: Vec<&str> = other.query.text.split_whitespace().collect();
        let is_other = other.category != row.category && other.category.as_str() != "out_of_domain";
        if is_other && words.len() >= SUFFIX_WORDS {
            let from = random.random_range(0..=words.len() - SUFFIX_WORDS);
            return words[from..from + SUFFIX_WORDS].join(" ");
        }
    }
}
