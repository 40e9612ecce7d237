//! The fault server over real sockets: each fault is really what its name says.

mod broken;
mod command;
mod strange;

use std::{io, time::Duration};

use coterie::fault::{FAULTS, FaultServer, Options, TimeScale};
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// How long a test waits for what must happen before it is called hung.
const HUNG: Duration = Duration::from_secs(20);

const TOKENS_17: &str = "alder beech cedar dogwood elm fir ginkgo hazel ironwood juniper kapok larch maple nutmeg oak poplar quince";

/// A fault server on a port of its own, its waits a thousandth, and a client.
struct Bench {
    server: FaultServer,
    client: Client,
}

impl Bench {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let time_scale = TimeScale::new(0.001).unwrap();
        let server = FaultServer::start(listener, Options { time_scale }).unwrap();
        let client = Client::builder()
            .no_proxy()
            .no_gzip()
            .timeout(HUNG)
            .build()
            .unwrap();
        Self { server, client }
    }

    async fn try_ask(&self, body: &Value) -> reqwest::Result<Response> {
        let url = format!("{}/chat/completions", self.server.base_url());
        self.client.post(url).json(body).send().await
    }

    async fn ask(&self, body: &Value) -> Response {
        self.try_ask(body).await.unwrap()
    }

    async fn status(&self, model: &str) -> u16 {
        self.ask(&plain(model)).await.status().as_u16()
    }

    /// A whole answer.
    async fn document(&self, body: &Value) -> Value {
        self.ask(body).await.json().await.unwrap()
    }

    /// A whole stream.
    async fn stream(&self, model: &str) -> Stream {
        Stream::of(self.ask(&streamed(model)).await.text().await.unwrap())
    }

    /// What of an answer comes before it breaks off, and how it breaks off.
    async fn broken(&self, body: &Value) -> (Vec<u8>, reqwest::Error) {
        let mut response = self.ask(body).await;
        assert_eq!(response.status(), 200);
        let mut come = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(bytes)) => come.extend(bytes),
                Ok(None) => panic!("the body is whole"),
                Err(error) => return (come, error),
            }
        }
    }

    async fn get(&self, path: &str) -> Response {
        let url = format!("http://{}{path}", self.server.address());
        self.client.get(url).send().await.unwrap()
    }

    /// What comes over a socket of its own until its end, and how it ends; the client asks for an end after the answer.
    async fn raw(&self, body: &Value) -> (Vec<u8>, io::Result<usize>) {
        let mut socket = self.sent(body, "connection: close\r\n").await;
        let mut come = Vec::new();
        let end = timeout(HUNG, socket.read_to_end(&mut come)).await.unwrap();
        (come, end)
    }

    /// A socket of its own over which a question was sent.
    async fn raw_begun(&self, body: &Value) -> TcpStream {
        self.sent(body, "").await
    }

    async fn sent(&self, body: &Value, headers: &str) -> TcpStream {
        let mut socket = TcpStream::connect(self.server.address()).await.unwrap();
        let body = body.to_string();
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n{headers}content-length: {}\r\n\r\n",
            body.len()
        );
        let request = [head.as_bytes(), body.as_bytes()].concat();
        socket.write_all(&request).await.unwrap();
        socket
    }
}

/// The events of a stream.
struct Stream {
    data: Vec<String>,
}

impl Stream {
    fn of(text: String) -> Self {
        let events = text.split_terminator("\n\n");
        let data = events.map(|event| event.strip_prefix("data: ").unwrap().to_owned());
        Self {
            data: data.collect(),
        }
    }

    /// Those that are JSON.
    fn objects(&self) -> impl Iterator<Item = Value> {
        self.data
            .iter()
            .filter_map(|data| serde_json::from_str(data).ok())
    }

    fn text(&self) -> String {
        let texts = self.objects().map(|chunk| {
            let text = &chunk["choices"][0]["delta"]["content"];
            text.as_str().unwrap_or_default().to_owned()
        });
        texts.collect()
    }

    fn finish(&self) -> Option<String> {
        self.objects().find_map(|chunk| {
            let finish = chunk["choices"][0]["finish_reason"].as_str();
            finish.map(str::to_owned)
        })
    }

    fn is_done(&self) -> bool {
        self.data.last().is_some_and(|data| data == "[DONE]")
    }
}

fn plain(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "Which trees are there?"}]})
}

fn streamed(model: &str) -> Value {
    let mut body = plain(model);
    body["stream"] = true.into();
    body["stream_options"] = json!({"include_usage": true});
    body
}

/// The same with the assistant's text as its last message.
fn begun(mut body: Value, text: &str) -> Value {
    let message = json!({"role": "assistant", "content": text});
    body["messages"].as_array_mut().unwrap().push(message);
    body
}

/// The system's reason at the bottom of an error.
fn reason(error: &reqwest::Error) -> Option<io::ErrorKind> {
    let mut cause: &dyn std::error::Error = error;
    loop {
        if let Some(error) = cause.downcast_ref::<io::Error>()
            && error.raw_os_error().is_some()
        {
            return Some(error.kind());
        }
        cause = cause.source()?;
    }
}

#[tokio::test]
async fn a_healthy_answer_has_known_words_usage_and_model() {
    let bench = Bench::new().await;
    let document = bench.document(&plain("healthy#a")).await;
    assert_eq!(document["model"], "healthy#a");
    assert_eq!(document["choices"][0]["message"]["content"], TOKENS_17);
    assert_eq!(document["choices"][0]["finish_reason"], "stop");
    let usage = json!({"prompt_tokens": 4, "completion_tokens": 17, "total_tokens": 21});
    assert_eq!(document["usage"], usage);

    let stream = bench.stream("healthy#a").await;
    assert_eq!(stream.text(), TOKENS_17);
    assert_eq!(stream.finish().as_deref(), Some("stop"));
    assert!(stream.is_done());
    let last = stream.objects().last().unwrap();
    assert_eq!(last["usage"], usage);
    assert_eq!(last["model"], "healthy#a");
}

#[tokio::test]
async fn healthy_answers_share_a_connection() {
    let bench = Bench::new().await;
    let mut socket = bench.raw_begun(&plain("healthy#1")).await;
    let body = streamed("healthy#2").to_string();
    let second = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(second.as_bytes()).await.unwrap();
    let mut answers = String::new();
    socket.read_to_string(&mut answers).await.unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 OK\r\n").count(), 2);
    assert_eq!(answers.matches("connection: close\r\n").count(), 1);
    assert!(answers.ends_with("data: [DONE]\n\n\r\n0\r\n\r\n"));
}

#[tokio::test]
async fn an_answer_goes_on_where_it_was_begun() {
    let bench = Bench::new().await;
    let (first, rest) = TOKENS_17.split_once(" elm").unwrap();
    let body = begun(streamed("cut@4"), first);
    let (come, _) = bench.broken(&body).await;
    let come = Stream::of(String::from_utf8(come).unwrap());
    assert_eq!(come.text(), " elm fir ginkgo hazel");

    let document = bench.document(&begun(plain("healthy"), first)).await;
    let said = document["choices"][0]["message"]["content"].as_str();
    assert_eq!(said, Some(format!(" elm{rest}").as_str()));
    assert_eq!(document["usage"]["completion_tokens"], 13);

    let document = bench
        .document(&begun(plain("healthy?prefill=ignore"), first))
        .await;
    assert_eq!(document["choices"][0]["message"]["content"], TOKENS_17);
    let other = bench
        .document(&begun(plain("healthy?text=other&tokens=2"), first))
        .await;
    assert_eq!(other["choices"][0]["message"]["content"], "avocet bittern");
}

#[tokio::test]
async fn requests_can_be_counted_looked_at_and_forgotten() {
    let bench = Bench::new().await;
    for model in ["error-once#x", "error-once#x", "error-once#y"] {
        bench.status(model).await;
    }
    bench.server.asked("error-once#x", 2).await;
    let seen = bench.server.requests("error-once#x");
    assert_eq!(seen.len(), 2);
    assert!(seen[0].arrived <= seen[1].arrived);
    assert_eq!(seen[0].body, plain("error-once#x"));
    assert_eq!(seen[0].header("content-type"), Some("application/json"));
    assert_eq!(bench.server.count("error-once#y"), 1);
    assert_eq!(bench.server.count("error-once"), 0);

    let told: Value = bench.get("/requests").await.json().await.unwrap();
    assert_eq!(told["requests"], 3);
    assert_eq!(told["models"]["error-once#x"]["requests"], 2);
    let arrived = &told["models"]["error-once#x"]["arrived_ms"];
    assert_eq!(arrived.as_array().unwrap().len(), 2);

    let reset = format!("http://{}/reset", bench.server.address());
    bench.client.post(reset).send().await.unwrap();
    assert_eq!(bench.server.count("error-once#x"), 0);
    assert_eq!(bench.status("error-once#x").await, 500, "it strikes again");
}

#[tokio::test]
async fn every_fault_is_listed_as_a_model() {
    let bench = Bench::new().await;
    let list: Value = bench.get("/v1/models").await.json().await.unwrap();
    let models = list["data"].as_array().unwrap();
    assert_eq!(models.len(), FAULTS.len());
    for (model, fault) in models.iter().zip(&FAULTS) {
        assert_eq!(model["id"], fault.name);
        assert_eq!(model["description"], fault.about);
    }
}

#[tokio::test]
async fn every_fault_is_documented_with_the_words_of_the_list() {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/faults.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    for fault in &FAULTS {
        let row = format!("| `{fault}` | ");
        let row = docs.lines().find(|line| line.starts_with(&row));
        let row = row.unwrap_or_else(|| panic!("`{fault}` has no row"));
        assert!(row.ends_with(&format!("| {} |", fault.about)), "{row}");
    }
}

#[tokio::test]
async fn what_is_asked_wrongly_is_told() {
    let bench = Bench::new().await;
    for (model, status, told) in [
        ("gpt-4o", 404, "there are healthy, rate-limit-once, "),
        ("cut@99", 400, "behind the end"),
        ("cut?speed=1", 400, "there is no key `speed`"),
    ] {
        let response = bench.ask(&plain(model)).await;
        assert_eq!(response.status(), status, "{model}");
        let error: Value = response.json().await.unwrap();
        let message = error["error"]["message"].as_str().unwrap();
        assert!(message.contains(told), "{message}");
    }
    assert_eq!(bench.ask(&json!({"messages": []})).await.status(), 400);
    assert_eq!(
        bench.ask(&json!({"model": "x".repeat(300)})).await.status(),
        400
    );
    assert_eq!(bench.get("/v1/chat/completions").await.status(), 405);
    assert_eq!(bench.get("/elsewhere").await.status(), 404);

    let mut socket = TcpStream::connect(bench.server.address()).await.unwrap();
    socket.write_all(b"no HTTP\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"));
}

#[tokio::test]
async fn a_server_that_is_dropped_lets_its_clients_go() {
    let bench = Bench::new().await;
    let mut socket = bench.raw_begun(&plain("silent")).await;
    bench.server.asked("silent", 1).await;
    let address = bench.server.address();
    drop(bench);
    let mut come = Vec::new();
    let end = timeout(HUNG, socket.read_to_end(&mut come)).await.unwrap();
    assert!(come.is_empty() && end.is_ok());
    let again = TcpListener::bind(address);
    assert!(again.await.is_ok(), "the port is free");
}
