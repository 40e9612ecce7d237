//! Retrainings and promotions that are killed at random moments: the registry is whole after each, and a server that starts then
//! answers by the router in force.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use coterie::{outcome::Feedback, store::Store};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};

use crate::{
    house::{House, KEYS, key},
    rows::Dealt,
};

/// How many are killed before their end.
const KILLS: usize = 200;

/// Runs after which it is given up: a moment that is drawn may come after the end of what was to be killed, of a late retraining
/// every other time.
const RUNS_MAX: usize = 2 * KILLS;

/// Runs between two lines that say how it goes: all take hours beside other work.
const TOLD_EVERY: usize = 20;

/// Labelled questions.
const LABELLED: usize = 400;

/// Of a retraining nearly all time is training, and what it is about to promote comes last: every other one is killed as late
/// as this, as a share of the time that one takes.
const LATE: f64 = 0.9;

/// How much later than its usual end a run may be killed.
const LATEST: f64 = 1.1;

/// How long a server may take to start and to answer.
const START_MAX: Duration = Duration::from_secs(60);

const QUESTION: &str = "How much is it?";

/// What is killed.
#[derive(Clone, Copy)]
enum Call {
    Retrain,
    RetrainLate,
    Promote,
    RollBack,
}

impl Call {
    /// In turns, so that there is mostly something to promote and to roll back to.
    fn of(run: usize) -> Self {
        [
            Self::RetrainLate,
            Self::Promote,
            Self::RollBack,
            Self::Retrain,
        ][run % 4]
    }

    fn earliest(self) -> f64 {
        match self {
            Self::RetrainLate => LATE,
            Self::Retrain | Self::Promote | Self::RollBack => 0.0,
        }
    }
}

/// How long each command takes when it is left alone.
struct Lengths {
    retrain: Duration,
    promote: Duration,
    roll_back: Duration,
}

impl Lengths {
    fn measured(house: &House) -> Self {
        let timed = |call: &[&str]| {
            let started = Instant::now();
            let ended = run_to_end(house, call);
            assert!(ended.status.success(), "{call:?}: {ended:?}");
            started.elapsed()
        };
        let retrain = timed(&["retrain", "--json"]);
        let promoted = listed(house)["in_force"].as_str().map(str::to_owned);
        let promoted = promoted.expect("the first retraining is promoted");
        let roll_back = timed(&["routers", "rollback"]);
        let promote = timed(&["routers", "promote", &promoted]);
        Self {
            retrain,
            promote,
            roll_back,
        }
    }

    fn of(&self, call: Call) -> Duration {
        match call {
            Call::Retrain | Call::RetrainLate => self.retrain,
            Call::Promote => self.promote,
            Call::RollBack => self.roll_back,
        }
    }
}

pub(crate) async fn run(files: &[PathBuf]) {
    let dealt = Dealt::new(files, 1);
    let house = House::new(&dealt.examples, "[sparse]", "127.0.0.1:9");
    fill(&house, &dealt).await;
    let lengths = Lengths::measured(&house);
    let mut random = StdRng::seed_from_u64(1);
    let (mut killed, mut too_late) = (0, 0);
    for run in 0..RUNS_MAX {
        let call = Call::of(run);
        let share = random.random_range(call.earliest()..LATEST);
        if let Call::RetrainLate = call {
            go_back(&house);
        }
        let mut child = start(&house, call, run);
        tokio::time::sleep(lengths.of(call).mul_f64(share)).await;
        child.kill().ok();
        if was_killed(child.wait().unwrap()) {
            killed += 1;
        } else {
            too_late += 1;
        }
        let listed = listed(&house);
        check(&listed);
        check_routing(&house, &listed);
        let answered = serve(&house).await;
        check_decision(&answered, &listed, "by a server");
        if (run + 1) % TOLD_EVERY == 0 {
            println!(
                "{killed} killed, {too_late} too late: the registry is whole, and servers answer"
            );
        }
        if killed == KILLS {
            break;
        }
    }
    println!(
        "{killed} retrainings, promotions and roll-backs killed at a random moment before their end ({too_late} more came to it \
         first): after each the registry was whole, the router in force opened, and a server started and answered by it"
    );
    assert_eq!(killed, KILLS, "so few were hit in {RUNS_MAX} runs");
}

/// Whether it was ended from outside: what ends by itself has a code.
fn was_killed(status: ExitStatus) -> bool {
    status.code().is_none()
}

fn listed(house: &House) -> Value {
    let listed = run_to_end(house, &["routers", "list", "--json"]);
    assert!(
        listed.status.success(),
        "{}",
        String::from_utf8_lossy(&listed.stderr)
    );
    serde_json::from_slice(&listed.stdout).unwrap()
}

/// Back to the router that needs no registry, beside which a retraining has something to promote.
fn go_back(house: &House) {
    while listed(house)["in_force"].is_string() {
        let gone_back = run_to_end(house, &["routers", "rollback"]);
        assert!(gone_back.status.success(), "{gone_back:?}");
    }
}

/// A router that is not in force; none where there is only one.
fn another(listed: &Value) -> Option<String> {
    let routers = listed["routers"].as_array().unwrap().iter();
    let mut ids = routers.map(|router| &router["id"]);
    let other = ids.rfind(|id| **id != listed["in_force"]);
    other.and_then(Value::as_str).map(str::to_owned)
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
    coterie::learning::learnt::Learnt::read(&folder).unwrap();
}

/// Questions go by the router that is in force, and by no other in its place.
fn check_routing(house: &House, listed: &Value) {
    let routed = run_to_end(house, &["route", QUESTION, "--json"]);
    let said = String::from_utf8_lossy(&routed.stderr);
    assert!(routed.status.success(), "{said}");
    let routed = serde_json::from_slice(&routed.stdout).unwrap();
    check_decision(&routed, listed, &said);
}

/// `said`: what whoever decided said meanwhile.
fn check_decision(decision: &Value, listed: &Value, said: &str) {
    assert!(decision["router"].is_string(), "{decision} {said}");
    if listed["in_force"].is_string() {
        assert_eq!(decision["router"], listed["in_force"], "{said}");
    }
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

/// `run`: the seed of a retraining, since another seed makes another router.
fn start(house: &House, call: Call, run: usize) -> Child {
    let (seed, other) = (run.to_string(), another(&listed(house)));
    let call = match (call, &other) {
        (Call::RollBack, _) => vec!["routers", "rollback"],
        (Call::Promote, Some(other)) => vec!["routers", "promote", other],
        _ => vec!["retrain", "--seed", &seed],
    };
    let mut command = command(house, &call);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

pub(crate) fn run_to_end(house: &House, call: &[&str]) -> Output {
    command(house, call).output().unwrap()
}

/// Starts a server, waits until it answers, and ends it; what it decided.
async fn serve(house: &House) -> Value {
    let mut command = command(house, &["serve", "--log", "error"]);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let decided = async {
        // It may have more to say: the pipe stays open until it has answered.
        let listening = tokio::task::spawn_blocking(move || (address(&mut said), said));
        let (address, _said) = listening.await.unwrap();
        route(&address?).await.map_err(|error| error.to_string())
    };
    let decided = tokio::time::timeout(START_MAX, decided).await;
    child.kill().unwrap();
    child.wait().unwrap();
    decided.expect("a server answers in time").unwrap()
}

/// Where a server listens; what it said where it ended before.
fn address(said: &mut impl BufRead) -> Result<String, String> {
    let mut before = String::new();
    for line in said.lines().map_while(Result::ok) {
        if let Some((_, address)) = line.split_once("listens on ") {
            return Ok(address.to_owned());
        }
        before += &line;
    }
    Err(before)
}

async fn route(base: &str) -> reqwest::Result<Value> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let asked = client
        .post(format!("{base}/v1/route"))
        .bearer_auth(key(0))
        .json(&json!({"text": QUESTION}));
    asked.send().await?.error_for_status()?.json().await
}
