//! The binary as a process: signals, hard kills, exit codes, and OpenAI's own client in front of it.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, ExitStatus, Output, Stdio},
};

use coterie::store::Store;
use futures_util::{StreamExt, future::join_all};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    coterie::{chat, write_config},
    upstream::{Hold, Reply, Upstream, done, finish, role, text},
};

/// `coterie serve` on a free port.
struct Served {
    child: Child,
    base: String,
}

impl Served {
    fn start(config: &Path) -> Self {
        let mut child = coterie()
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--log",
                "warn",
                "--config",
            ])
            .arg(config)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let listens = "coterie listens on ";
        let base = lines
            .by_ref()
            .map(|line| line.unwrap())
            .inspect(|line| eprintln!("{line}"))
            .find_map(|line| line.strip_prefix(listens).map(str::to_owned))
            .expect("the server says where it listens");
        // Someone must go on reading, or the server would block on a full pipe.
        std::thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .for_each(|line| eprintln!("{line}"));
        });
        Self { child, base }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }

    fn wait(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

fn coterie() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coterie"));
    command.stdin(Stdio::null());
    command
}

fn remote(upstream: &Upstream) -> String {
    format!(
        "experts: {{ only: {{ kind: remote, base_url: '{}', model: far, concurrent_max: 64, queue_max: 64 }} }}\n\
         mapping: {{ default: only }}\n",
        upstream.base_url()
    )
}

async fn recorded(folder: &TempDir) -> Vec<coterie::store::StoredOutcome> {
    let store = Store::open(&folder.path().join("coterie.db"))
        .await
        .unwrap();
    store.latest(10_000).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_under_load_loses_no_outcome() {
    const CLIENTS: usize = 24;
    let hold = Hold::new();
    let reply = Reply::stream([
        role(),
        text("Hel"),
        hold.wait(),
        text("lo"),
        finish("stop"),
        done(),
    ]);
    let upstream = Upstream::always(reply).await;
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(&write_config(folder.path(), &remote(&upstream)));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/v1/chat/completions", served.base);
    let ask = || async {
        let response = client
            .post(&url)
            .json(&chat("only", "Hi?", true))
            .send()
            .await
            .unwrap();
        let id = response.headers()["x-coterie-outcome"]
            .to_str()
            .unwrap()
            .to_owned();
        (id, response)
    };
    let begun = join_all((0..CLIENTS).map(|_| ask())).await;
    served.signal("TERM");
    (0..CLIENTS).for_each(|_| hold.release());
    let mut ids = Vec::new();
    for (id, response) in begun {
        assert!(
            response.text().await.unwrap().ends_with("data: [DONE]\n\n"),
            "answers under way are finished"
        );
        ids.push(id);
    }
    assert!(served.wait().success());
    let mut kept: Vec<String> = recorded(&folder)
        .await
        .into_iter()
        .map(|outcome| {
            assert_eq!(outcome.ending, "completed");
            outcome.id
        })
        .collect();
    ids.sort();
    kept.sort();
    assert_eq!(kept, ids);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hard_kill_leaves_a_file_that_opens_clean_with_all_that_was_flushed() {
    let upstream = Upstream::always(Reply::answer(["Hello"])).await;
    let folder = tempfile::tempdir().unwrap();
    let config = write_config(folder.path(), &remote(&upstream));
    let served = Served::start(&config);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut ids = Vec::new();
    for _ in 0..50 {
        let url = format!("{}/v1/chat/completions", served.base);
        let response = client
            .post(url)
            .json(&chat("only", "Hi?", false))
            .send()
            .await
            .unwrap();
        ids.push(
            response.headers()["x-coterie-outcome"]
                .to_str()
                .unwrap()
                .to_owned(),
        );
        response.bytes().await.unwrap();
    }
    // Feedback waits until what came before it has been written: from here on nothing of it may be lost.
    let feedback = serde_json::json!({"id": ids[49], "score": 1});
    let url = format!("{}/v1/feedback", served.base);
    assert!(
        client
            .post(url)
            .json(&feedback)
            .send()
            .await
            .unwrap()
            .status()
            .is_success()
    );
    served.signal("KILL");
    assert!(!served.wait().success());

    let mut kept: Vec<String> = recorded(&folder)
        .await
        .into_iter()
        .map(|outcome| outcome.id)
        .collect();
    kept.sort();
    ids.sort();
    assert_eq!(kept, ids);
    let again = Served::start(&config);
    again.signal("TERM");
    assert!(again.wait().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_nothing_does_not_hold_up_the_shutdown() {
    // More than the buffers between us hold, so that the server is left waiting for a reader.
    let chunks = (0..4000).map(|_| text(&"x".repeat(4000)));
    let reply = Reply::stream(
        [role()]
            .into_iter()
            .chain(chunks)
            .chain([finish("stop"), done()]),
    );
    let upstream = Upstream::always(reply).await;
    let folder = tempfile::tempdir().unwrap();
    let yaml = format!(
        "{}server: {{ listen: '127.0.0.1:0', grace: 200ms }}\n",
        remote(&upstream)
    );
    let served = Served::start(&write_config(folder.path(), &yaml));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/v1/chat/completions", served.base);
    let response = client
        .post(url)
        .json(&chat("only", "Hi?", true))
        .send()
        .await
        .unwrap();
    let mut body = response.bytes_stream();
    body.next().await.unwrap().unwrap();
    served.signal("TERM");
    assert!(served.wait().success());
    let outcomes = recorded(&folder).await;
    assert_eq!(outcomes.len(), 1);
    assert_eq!(outcomes[0].ending, "shutdown");
}

/// A composition of two local experts that are one small model, and a key.
fn local() -> String {
    let sha256 = "5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5"; // of "12345"
    format!(
        "server: {{ listen: '127.0.0.1:0', body_max: 1 MiB, keys: [{{ name: sdk, sha256: {sha256} }}] }}\n\
         experts:\n\
         \x20 general: {{ kind: local, model: models/smollm2-135m-instruct, params_b: 0.135 }}\n\
         mapping: {{ default: general }}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "tests may read the environment")]
async fn openais_python_client_works_as_it_stands() {
    let python = std::env::var("COTERIE_TEST_PYTHON").expect(
        "COTERIE_TEST_PYTHON names a Python with the `openai` package; scripts/test sets it",
    );
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(&write_config(folder.path(), &local()));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/sdk/drive.py");
    let base = format!("{}/v1", served.base);
    let driven = Command::new(python)
        .arg(script)
        .args([&base, "12345"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&driven.stdout);
    assert!(
        driven.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&driven.stderr)
    );
    assert!(said.contains("ok 16 at once"), "{said}");
    served.signal("TERM");
    assert!(served.wait().success());
    assert!(
        recorded(&folder)
            .await
            .iter()
            .all(|outcome| outcome.key_name.as_deref() == Some("sdk"))
    );
}

fn ask(config: &Path, args: &[&str]) -> Output {
    coterie()
        .args(args)
        .arg("--config")
        .arg(config)
        .output()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn ask_streams_to_the_terminal_and_says_who_answered() {
    let upstream = Upstream::always(Reply::answer(["Use ", "reversed()."])).await;
    let folder = tempfile::tempdir().unwrap();
    let config = write_config(folder.path(), &remote(&upstream));
    let question = "Write a Python function that reverses a string.";

    let told = tokio::task::spawn_blocking({
        let config = config.clone();
        move || ask(&config, &["ask", question])
    });
    let told = told.await.unwrap();
    assert!(told.status.success(), "{told:?}");
    assert_eq!(String::from_utf8(told.stdout).unwrap(), "Use reversed().\n");
    let aside = String::from_utf8(told.stderr).unwrap();
    assert!(
        aside.contains("coding") && aside.contains("→ only"),
        "{aside}"
    );

    let told = tokio::task::spawn_blocking(move || ask(&config, &["ask", question, "--json"]))
        .await
        .unwrap();
    let document: Value =
        serde_json::from_slice(&told.stdout).expect("one JSON document and nothing else");
    assert_eq!(document["answer"], "Use reversed().");
    assert_eq!(
        (&document["category"], &document["expert"]),
        (&"coding".into(), &"only".into())
    );
    assert_eq!(recorded(&folder).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_ask_leaves_its_outcome() {
    let hold = Hold::new();
    let reply = Reply::stream([role(), text("Hel"), hold.wait(), finish("stop"), done()]);
    let upstream = Upstream::always(reply).await;
    let folder = tempfile::tempdir().unwrap();
    let config = write_config(folder.path(), &remote(&upstream));
    let mut asking = coterie()
        .args(["ask", "Hi?", "--expert", "only", "--config"])
        .arg(config)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut begun = [0; 3];
    asking
        .stdout
        .take()
        .unwrap()
        .read_exact(&mut begun)
        .unwrap();
    let id = asking.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &id])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(asking.wait().unwrap().code(), Some(1));
    let outcomes = recorded(&folder).await;
    assert_eq!(outcomes.len(), 1);
    assert_eq!(outcomes[0].ending, "client_left");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ask_whose_reader_leaves_stops_the_answer() {
    let hold = Hold::new();
    let reply = Reply::stream([
        role(),
        text("Hel"),
        hold.wait(),
        text("lo"),
        hold.wait(),
        done(),
    ]);
    let upstream = Upstream::always(reply).await;
    let folder = tempfile::tempdir().unwrap();
    let config = write_config(folder.path(), &remote(&upstream));
    let mut asking = coterie()
        .args(["ask", "Hi?", "--expert", "only", "--config"])
        .arg(config)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut begun = [0; 3];
    let mut reader = asking.stdout.take().unwrap();
    reader.read_exact(&mut begun).unwrap();
    drop(reader);
    hold.release();
    upstream.client_left().await;
    assert_eq!(asking.wait().unwrap().code(), Some(0));
    assert_eq!(recorded(&folder).await[0].ending, "client_left");
}

#[test]
fn exit_codes_tell_a_wrong_call_from_failed_work() {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken.yaml");
    std::fs::write(&broken, "experts: {}\nmaping: {}\n").unwrap();
    let told = ask(&broken, &["check"]);
    assert_eq!(told.status.code(), Some(2));
    let told = String::from_utf8(told.stderr).unwrap();
    assert!(
        told.contains("broken.yaml:2:1") && told.contains("`mapping`"),
        "{told}"
    );
    assert_eq!(
        coterie().arg("serv").output().unwrap().status.code(),
        Some(2)
    );
    assert_eq!(
        ask(&folder.path().join("absent.yaml"), &["route", "hi"])
            .status
            .code(),
        Some(2)
    );

    let nobody = "experts:\n  only: { kind: remote, base_url: 'http://127.0.0.1:9/v1', model: far }\n  \
         vectors: { kind: remote, base_url: 'http://127.0.0.1:9/v1', model: v, capabilities: [embeddings] }\n\
         mapping: { default: only }\n";
    let config = write_config(folder.path(), nobody);
    assert_eq!(
        ask(&config, &["ask", "hi"]).status.code(),
        Some(1),
        "nobody answers"
    );
    for expert in ["nobody", "vectors"] {
        let refused = ask(&config, &["ask", "hi", "--expert", expert]);
        assert_eq!(refused.status.code(), Some(2));
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(
            said.trim_end().ends_with("the configuration has only"),
            "{said}"
        );
    }
    assert_eq!(
        ask(&config, &["route", "hi", "--log", "coterie=loud"])
            .status
            .code(),
        Some(2)
    );
    let open = ask(&config, &["serve", "--listen", "0.0.0.0:0"]);
    assert_eq!(open.status.code(), Some(2));
    let everywhere = format!("{nobody}server: {{ listen: '0.0.0.0:0' }}\n");
    let everywhere = write_config(folder.path(), &everywhere);
    assert_eq!(ask(&everywhere, &["check"]).status.code(), Some(2));
    assert_eq!(
        ask(&everywhere, &["check", "--insecure"]).status.code(),
        Some(0)
    );
    assert!(
        String::from_utf8(open.stderr)
            .unwrap()
            .contains("--insecure")
    );
}

#[test]
fn route_reads_a_file_and_answers_a_line_a_row() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = "experts: { only: { kind: remote, base_url: 'http://127.0.0.1:9/v1', model: far } }\nmapping: { default: only }\n";
    let config = write_config(folder.path(), nobody);
    let rows = folder.path().join("rows.jsonl");
    let lines = [
        r#"{"id": 7, "text": "SELECT the ten newest orders of each customer from orders(id, customer, placed_on)"}"#,
        r#"{"id": "b", "messages": [{"role": "user", "content": "Is ibuprofen safe while breastfeeding?"}]}"#,
    ];
    std::fs::write(&rows, lines.join("\n")).unwrap();
    let told = ask(
        &config,
        &["route", "--json", "--file", rows.to_str().unwrap()],
    );
    let told = String::from_utf8(told.stdout).unwrap();
    let told: Vec<Value> = told
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        (&told[0]["id"], &told[0]["category"]),
        (&7.into(), &"sql".into())
    );
    assert_eq!(
        (&told[1]["id"], &told[1]["category"]),
        (&"b".into(), &"medical".into())
    );

    std::fs::write(&rows, "{\"text\": \"fine\"}\n{\"txt\": \"wrong\"}\n").unwrap();
    let told = ask(&config, &["route", "--file", rows.to_str().unwrap()]);
    assert_eq!(told.status.code(), Some(2));
    assert!(
        String::from_utf8(told.stderr)
            .unwrap()
            .contains("rows.jsonl:2:")
    );
}

#[test]
fn the_shipped_configuration_works_wherever_it_is_copied() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    std::fs::create_dir(&config).unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/coterie.yaml");
    std::fs::copy(shipped, config.join("coterie.yaml")).unwrap();
    let told = coterie()
        .arg("check")
        .current_dir(folder.path())
        .output()
        .unwrap();
    let complaints = String::from_utf8(told.stderr).unwrap();
    assert!(!complaints.contains("routes"), "{complaints}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_has_the_mapping_read_at_once() {
    let upstream = Upstream::always(Reply::answer(["Hi"])).await;
    let folder = tempfile::tempdir().unwrap();
    let mapping = folder.path().join("mapping.yaml");
    std::fs::write(&mapping, "default: only\n").unwrap();
    let config = format!(
        "experts:\n\
         \x20 only: {{ kind: remote, base_url: '{0}', model: far }}\n\
         \x20 other: {{ kind: remote, base_url: '{0}', model: far }}\n\
         mapping: {{ file: '{1}' }}\n",
        upstream.base_url(),
        mapping.display()
    );
    let served = Served::start(&write_config(folder.path(), &config));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/v1/models/coterie", served.base);
    let experts = async || {
        let response = client.get(&url).send().await.unwrap();
        response.json::<Value>().await.unwrap()["experts"].take()
    };
    assert_eq!(experts().await, serde_json::json!(["only"]));
    std::fs::write(&mapping, "default: other\n").unwrap();
    served.signal("HUP");
    while experts().await != serde_json::json!(["other"]) {}
    served.signal("TERM");
    assert!(served.wait().success(), "a hangup ends nothing");
}
