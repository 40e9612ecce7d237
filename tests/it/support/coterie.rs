//! A Coterie in this process, on a port of its own, with a folder of its own.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{Arc, Weak},
};

use coterie::{
    app::App,
    config::{self, Environment, Exposure},
    serve::Server,
    store::{Store, StoredOutcome},
};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle};

/// A running server.
pub(crate) struct Coterie {
    base: String,
    client: Client,
    stop: oneshot::Sender<()>,
    running: JoinHandle<()>,
    folder: TempDir,
    /// Weak: whoever shuts down must be the last to hold the app.
    app: Weak<App>,
}

impl Coterie {
    /// Serves this configuration; the store, the routers and the address are filled in.
    #[expect(
        clippy::disallowed_methods,
        reason = "a test's own task, awaited by `stop`"
    )]
    pub(crate) async fn serve(yaml: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = write_config(folder.path(), yaml);
        let config = config::load(Some(&file), &environment(), Exposure::Guarded)
            .unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let server = Server::bind(config, Exposure::Guarded).await.unwrap();
        let base = format!("http://{}", server.address());
        let app = Arc::downgrade(server.app());
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(server.run(async move {
            stopped.await.ok();
        }));
        let client = Client::builder().no_proxy().build().unwrap();
        Self {
            base,
            client,
            stop,
            running,
            folder,
            app,
        }
    }

    /// Has the mapping's file read now, as SIGHUP would.
    pub(crate) fn look_at_mapping(&self) {
        self.app.upgrade().unwrap().look_at_mapping();
    }

    /// Has the registry read now, as SIGHUP would.
    pub(crate) fn look_at_registry(&self) {
        self.app.upgrade().unwrap().look_at_registry();
    }

    /// Has a canary judged now.
    pub(crate) fn look_at_canary(&self) {
        self.app.upgrade().unwrap().look_at_canary();
    }

    /// Where its configuration is.
    pub(crate) fn config_file(&self) -> PathBuf {
        self.folder.path().join("coterie.yaml")
    }

    /// Runs a command of the program on its configuration.
    pub(crate) fn run(&self, command: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_coterie"))
            .args(command)
            .arg("--config")
            .arg(self.config_file())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// What a command prints as JSON; it must work.
    pub(crate) fn printed(&self, command: &[&str]) -> Value {
        let output = self.run(&[command, &["--json"]].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {errors}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Opens its store beside it.
    pub(crate) async fn store(&self) -> Store {
        let path = self.folder.path().join("coterie.db");
        Store::open(&path).await.unwrap()
    }

    /// Host and port.
    pub(crate) fn address(&self) -> &str {
        self.base.trim_start_matches("http://")
    }

    /// The address with a path behind it.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// A GET.
    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(self.url(path))
    }

    /// A POST.
    pub(crate) fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.client.post(self.url(path)).json(body)
    }

    /// What is answered to a GET, as text.
    pub(crate) async fn read(&self, path: &str) -> String {
        let response = self.get(path).send().await.unwrap();
        response.text().await.unwrap()
    }

    /// What is answered to a POST, as JSON.
    pub(crate) async fn told(&self, path: &str, body: &Value) -> Value {
        let response = self.post(path, body).send().await.unwrap();
        response.json().await.unwrap()
    }

    /// Asks a question of a model, plain.
    pub(crate) async fn ask(&self, model: &str, question: &str) -> Response {
        self.post("/v1/chat/completions", &chat(model, question, false))
            .send()
            .await
            .unwrap()
    }

    /// Asks a question of a model, streamed.
    pub(crate) async fn ask_streamed(&self, model: &str, question: &str) -> Response {
        self.post("/v1/chat/completions", &chat(model, question, true))
            .send()
            .await
            .unwrap()
    }

    /// Begins to shut down and goes on at once.
    pub(crate) fn begin_stop(self) -> Stopping {
        self.stop.send(()).unwrap();
        Stopping {
            running: self.running,
            folder: self.folder,
        }
    }

    /// Shuts down and opens the store that is left.
    pub(crate) async fn stop(self) -> Record {
        self.begin_stop().ended().await
    }
}

/// A server that shuts down.
pub(crate) struct Stopping {
    running: JoinHandle<()>,
    folder: TempDir,
}

impl Stopping {
    /// Waits for the end alone, where the store lies elsewhere.
    pub(crate) async fn closed(self) {
        self.running.await.unwrap();
    }

    /// Waits for the end and opens the store that is left.
    pub(crate) async fn ended(self) -> Record {
        self.running.await.unwrap();
        Record::open(self.folder).await
    }
}

/// What a server has recorded.
pub(crate) struct Record {
    store: Store,
    _folder: TempDir,
}

impl Record {
    /// Opens what is in a folder.
    pub(crate) async fn open(folder: TempDir) -> Self {
        Self {
            store: Store::open(&folder.path().join("coterie.db"))
                .await
                .unwrap(),
            _folder: folder,
        }
    }

    /// The one outcome that there must be.
    pub(crate) async fn only(&self) -> StoredOutcome {
        let outcomes = self.all().await;
        assert_eq!(outcomes.len(), 1, "{outcomes:#?}");
        outcomes.into_iter().next().unwrap()
    }

    /// Every outcome, oldest first.
    pub(crate) async fn all(&self) -> Vec<StoredOutcome> {
        self.store.latest(10_000).await.unwrap()
    }
}

/// A chat request.
pub(crate) fn chat(model: &str, question: &str, stream: bool) -> Value {
    json!({"model": model, "stream": stream, "messages": [{"role": "user", "content": question}]})
}

/// Writes a configuration whose store, routers and address are the test's own.
pub(crate) fn write_config(folder: &Path, yaml: &str) -> PathBuf {
    let fitted = Path::new(env!("CARGO_TARGET_TMPDIR")).join("routers");
    let mut text = yaml.to_owned();
    if !yaml.contains("server:") {
        text.push_str("\nserver: { listen: '127.0.0.1:0' }\n");
    }
    if !yaml.contains("store:") {
        text.push_str(&format!(
            "\nstore: {{ url: 'sqlite://{}/coterie.db', content: full }}\n",
            folder.display()
        ));
    }
    if !yaml.contains("router:") {
        let routes = Path::new(env!("CARGO_MANIFEST_DIR")).join("routes");
        text.push_str(&format!(
            "\nrouter: {{ artefacts: '{}', routes: '{}' }}\n",
            fitted.display(),
            routes.display()
        ));
    }
    let file = folder.join("coterie.yaml");
    std::fs::write(&file, text).unwrap();
    file
}

/// The variables that tests depend on: where models lie.
pub(crate) fn environment() -> Environment {
    Environment::from_process()
}
