//! Retrainings and promotions that are killed at random moments: the registry is whole after each, and a server starts.

use std::{
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use coterie::{outcome::Feedback, store::Store};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::Value;

use crate::{
    house::{House, KEYS},
    rows::Dealt,
};

const RUNS: usize = 200;

/// Labelled questions.
const LABELLED: usize = 400;

/// Every so many runs a server is started as well.
const SERVED_EVERY: usize = 10;

const START_MAX: Duration = Duration::from_secs(60);

pub(crate) async fn run(files: &[PathBuf]) {
    let dealt = Dealt::new(files, 1);
    let house = House::new(&dealt.examples, "[sparse]", "127.0.0.1:9");
    fill(&house, &dealt).await;
    let whole = Instant::now();
    assert!(run_to_end(&house, &["retrain", "--json"]).status.success());
    let whole = whole.elapsed();
    let mut random = StdRng::seed_from_u64(1);
    let (mut cut_short, mut served) = (0, 0);
    for run in 0..RUNS {
        // Another seed makes another router.
        let seed = run.to_string();
        let call = match run % 4 {
            0 => vec!["routers", "rollback"],
            _ => vec!["retrain", "--seed", &seed],
        };
        let longest = if run % 4 == 0 { whole / 20 } else { whole };
        let mut child = start(&house, &call);
        tokio::time::sleep(longest.mul_f64(random.random_range(0.0..1.1))).await;
        cut_short += usize::from(child.try_wait().unwrap().is_none());
        child.kill().ok();
        child.wait().unwrap();
        let listed = run_to_end(&house, &["routers", "list", "--json"]);
        assert!(
            listed.status.success(),
            "{}",
            String::from_utf8_lossy(&listed.stderr)
        );
        check(&serde_json::from_slice(&listed.stdout).unwrap());
        let routed = run_to_end(&house, &["route", "How much is it?", "--json"]);
        assert!(
            routed.status.success() && routed.stderr.is_empty(),
            "{}",
            String::from_utf8_lossy(&routed.stderr)
        );
        if run % SERVED_EVERY == 0 {
            serve(&house);
            served += 1;
        }
    }
    println!(
        "{RUNS} retrainings and roll-backs killed at a random moment ({cut_short} before their end): the registry was whole after \
         each, the router in force opened, and {served} servers started"
    );
}

/// What is in force is registered, and its artefact is there.
fn check(listed: &Value) {
    let Some(in_force) = listed["in_force"].as_str() else {
        return;
    };
    let routers = listed["routers"].as_array().unwrap();
    let router = routers
        .iter()
        .find(|router| router["id"] == in_force)
        .unwrap();
    let folder = PathBuf::from(router["folder"].as_str().unwrap());
    coterie::router::artefact::Artefact::read(&folder).unwrap();
}

async fn fill(house: &House, dealt: &Dealt) {
    let config = house.config();
    let store = Store::open(&config.store.path).await.unwrap();
    for (at, row) in dealt.traffic.iter().take(LABELLED).enumerate() {
        let id = format!("{at:05}");
        store
            .write(&[crate::kill::outcome(&id, at, &row.query.text)])
            .await
            .unwrap();
        let feedback = Feedback {
            outcome_id: id,
            category: Some(row.category.to_string()),
            key_name: Some(format!("client-{}", at % KEYS)),
            ..Feedback::default()
        };
        store.add_feedback(&feedback).await.unwrap();
    }
    store.close().await.unwrap();
}

fn outcome(id: &str, at: usize, question: &str) -> coterie::outcome::Outcome {
    use coterie::{
        config::{Prefer, Preference},
        decision::{Decision, Reason},
        ids::{ExpertId, MappingId, RouterId},
        mapping::Grounds,
        outcome::{Ask, Ending, Outcome},
    };
    Outcome {
        id: id.to_owned(),
        asked_at_ms: at as i64,
        ask: Ask {
            question: Some(question.to_owned()),
            model: "coterie".to_owned(),
            ..Ask::default()
        },
        decision: Decision {
            category: None,
            confidence: 0.5,
            scores: Vec::new(),
            tier: None,
            reason: Reason::OutOfDomain,
            strangeness: None,
            instruction: None,
            session: None,
            expert: ExpertId::new("mock"),
            fallbacks: Vec::new(),
            propensity: 1.0,
            grounds: Grounds::new(MappingId::new("m"), Prefer::Word(Preference::Balanced)),
            router: RouterId::new("r"),
            took: Duration::ZERO,
        },
        attempts: Vec::new(),
        answered_by: None,
        first_token: None,
        total: Duration::ZERO,
        usage: None,
        cost_usd: None,
        ending: Ending::Completed,
        error: None,
        answer: None,
    }
}

fn command(house: &House, call: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coterie"));
    command
        .args(call)
        .arg("--config")
        .arg(house.config_file())
        .stdin(Stdio::null());
    command
}

fn start(house: &House, call: &[&str]) -> Child {
    let mut command = command(house, call);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

pub(crate) fn run_to_end(house: &House, call: &[&str]) -> Output {
    command(house, call).output().unwrap()
}

/// Starts a server, waits until it listens, and ends it.
fn serve(house: &House) {
    use std::io::{BufRead as _, BufReader};
    let mut command = command(house, &["serve", "--log", "error"]);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let started = Instant::now();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("listens on") {
        line.clear();
        let read = said.read_line(&mut line).unwrap();
        assert!(
            read > 0 && started.elapsed() < START_MAX,
            "the server did not start: {line}"
        );
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
