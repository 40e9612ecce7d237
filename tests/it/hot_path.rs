//! What routing a question and passing an answer on cost, in counts that are the same on every machine: allocations, and
//! instructions where valgrind is at hand. Times are for `benches/`.
//!
//! A bound here is what was counted when the path was last worked on and a little more. What raises a count should be
//! worth it, and then raises the bound.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
    sync::Arc,
    thread,
    time::Duration,
};

use coterie::{
    chat::ChatRequest,
    config::{
        BreakerConfig, Capability, Delivery, DeliveryConfig, Dialect, ExpertConfig, ExpertKind,
        Prefill, RemoteConfig, RemotePlace, Retries, Timeouts,
    },
    expert::{Answer, Call, Experts},
    ids::ExpertId,
};
use futures_util::StreamExt;
use serde_json::json;

use crate::support::coterie::Coterie;

/// Longer than any test takes.
const HUNG: Duration = Duration::from_secs(60);

/// Allocations for each chunk of a streamed answer, from the socket to the JSON that is sent on.
const ALLOCATIONS_PER_CHUNK_MAX: u64 = 9;

/// Instructions for the same in a build for tests, which is several times slower than a release.
const INSTRUCTIONS_PER_CHUNK_MAX: u64 = 100_000;

const FEW_CHUNKS: u64 = 100;
const MANY_CHUNKS: u64 = 1100;

/// Instructions for a whole question in a build for tests: read, routed by the cheap tier, answered and recorded, those of the
/// client and the provider included.
const INSTRUCTIONS_PER_QUESTION_MAX: u64 = 2_000_000;

/// So few that a slow machine, too, has asked them within the half minute after which the watch for drift reads what was recorded.
const FEW_QUESTIONS: u64 = 30;
const MANY_QUESTIONS: u64 = 180;

#[test]
fn a_chunk_takes_few_allocations() {
    let counted = |chunks| {
        let path = Path::new(chunks);
        path.walk();
        allocation_counter::measure(|| path.walk()).count_total
    };
    let per_chunk = (counted(MANY_CHUNKS) - counted(FEW_CHUNKS)) / (MANY_CHUNKS - FEW_CHUNKS);
    assert!(per_chunk <= ALLOCATIONS_PER_CHUNK_MAX, "{per_chunk}");
}

#[test]
fn a_chunk_takes_few_instructions() {
    let (Some(few), Some(many)) = (
        instructions_of("hot_path::few_chunks"),
        instructions_of("hot_path::many_chunks"),
    ) else {
        eprintln!("valgrind is missing: instructions are not counted");
        return;
    };
    let per_chunk = (many - few) / (MANY_CHUNKS - FEW_CHUNKS);
    assert!(per_chunk <= INSTRUCTIONS_PER_CHUNK_MAX, "{per_chunk}");
}

#[test]
#[ignore = "counted by `a_chunk_takes_few_instructions`"]
fn few_chunks() {
    Path::new(FEW_CHUNKS).walk();
}

#[test]
#[ignore = "counted by `a_chunk_takes_few_instructions`"]
fn many_chunks() {
    Path::new(MANY_CHUNKS).walk();
}

#[test]
fn a_routed_question_takes_few_instructions() {
    // The router that is counted is one that was trained before.
    House::new().ask(1);
    let (Some(few), Some(many)) = (
        instructions_of("hot_path::few_questions"),
        instructions_of("hot_path::many_questions"),
    ) else {
        eprintln!("valgrind is missing: instructions are not counted");
        return;
    };
    let per_question = (many - few) / (MANY_QUESTIONS - FEW_QUESTIONS);
    assert!(
        per_question <= INSTRUCTIONS_PER_QUESTION_MAX,
        "{per_question}"
    );
}

#[test]
#[ignore = "counted by `a_routed_question_takes_few_instructions`"]
fn few_questions() {
    House::new().ask(FEW_QUESTIONS);
}

#[test]
#[ignore = "counted by `a_routed_question_takes_few_instructions`"]
fn many_questions() {
    House::new().ask(MANY_QUESTIONS);
}

/// The instructions of a test of this binary, all threads together; none without valgrind.
fn instructions_of(test: &str) -> Option<u64> {
    let ran = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored"])
        .output()
        .ok()?;
    let told = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{told}");
    let collected = told.lines().find_map(|line| line.split_once("Collected :"));
    collected.unwrap().1.trim().parse().ok()
}

/// The path of a streamed answer below the router: from a provider's socket to the JSON of its chunks.
struct Path {
    runtime: tokio::runtime::Runtime,
    experts: Arc<Experts>,
    request: Arc<ChatRequest>,
}

impl Path {
    fn new(chunks: u64) -> Self {
        let request = json!({"model": "coterie", "stream": true, "messages": [{"role": "user", "content": "hi"}]});
        Self {
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
            experts: Experts::open(&[expert(provider(chunks))], &DeliveryConfig::default())
                .unwrap(),
            request: Arc::new(ChatRequest::parse(request).unwrap()),
        }
    }

    fn walk(&self) {
        self.runtime.block_on(async {
            let call = Call::new(Arc::clone(&self.request), Arc::new(Delivery::default()));
            let answered = self.experts.answer(&[ExpertId::new("far")], &call).await;
            let Answer::Stream(mut pieces) = answered.unwrap().answer else {
                panic!("it is streamed");
            };
            let mut bytes = 0;
            while let Some(chunk) = pieces.next().await {
                bytes += chunk.unwrap().json().len();
            }
            assert!(bytes > 0);
        });
    }
}

/// A whole server in front of a provider, and one client.
struct House {
    runtime: tokio::runtime::Runtime,
    coterie: Coterie,
}

impl House {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let provider = answering(COMPLETION.into(), "application/json");
        let routes = tempfile::tempdir().unwrap();
        for (category, words) in ROUTES {
            let examples: String = words
                .iter()
                .flat_map(|word| FRAMES.map(|frame| frame.replace("it", word)))
                .map(|example| format!("  - {example}\n"))
                .collect();
            let route = format!("description: {category}\nexamples:\n{examples}");
            std::fs::write(routes.path().join(format!("{category}.yaml")), route).unwrap();
        }
        let yaml = format!(
            "experts: {{ far: {{ kind: remote, base_url: 'http://{provider}/v1', model: mock }} }}\n\
             mapping: {{ default: far }}\n\
             router: {{ artefacts: '{}/routers', routes: '{}', features: [sparse, static] }}\n",
            env!("CARGO_TARGET_TMPDIR"),
            routes.path().display()
        );
        let coterie = runtime.block_on(Coterie::serve(&yaml));
        Self { runtime, coterie }
    }

    fn ask(self, questions: u64) {
        let stream = TcpStream::connect(self.coterie.address()).unwrap();
        let mut writer = stream.try_clone().unwrap();
        let mut reader = BufReader::new(stream);
        let body = json!({"model": "coterie", "messages": [
            {"role": "user", "content": "Write a function that reverses a string and explain how it works."},
        ]});
        let body = body.to_string();
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        for _ in 0..questions {
            writer.write_all(request.as_bytes()).unwrap();
            let (head, body) = message(&mut reader).unwrap();
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            assert!(body.ends_with(b"}"));
        }
        drop((writer, reader));
        self.runtime.block_on(self.coterie.stop());
    }
}

/// Routes that are soon learnt, and what their examples are made of.
const ROUTES: [(&str, [&str; 4]); 2] = [
    ("coding", ["a function", "a parser", "a loop", "a class"]),
    ("baking", ["a loaf", "a dough", "a crust", "a cake"]),
];
const FRAMES: [&str; 4] = [
    "How do I make it",
    "Explain it",
    "What is wrong with it",
    "Show me how it works",
];

const COMPLETION: &str = r#"{"id":"m","object":"chat.completion","created":1,"model":"mock","choices":[{"index":0,"message":{"role":"assistant","content":"Hello."},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2}}"#;

/// A provider whose answer streams so many chunks.
fn provider(chunks: u64) -> SocketAddr {
    let mut body: String = (1..chunks)
        .map(|_| event(r#"{"content":"word "}"#, "null"))
        .collect();
    body += &event("{}", r#""stop""#);
    body += "data: [DONE]\n\n";
    answering(body, "text/event-stream")
}

/// A provider on threads of its own, whose answer is there at once.
fn answering(body: String, content_type: &str) -> SocketAddr {
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            serve(stream.unwrap(), answer.as_bytes());
        }
    });
    address
}

fn event(delta: &str, finish_reason: &str) -> String {
    format!(
        "data: {{\"id\":\"m\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"mock\",\
         \"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish_reason}}}]}}\n\n"
    )
}

/// Answers each request of a connection, until it is closed.
fn serve(stream: TcpStream, answer: &[u8]) {
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    while message(&mut reader).is_some() {
        writer.write_all(answer).unwrap();
    }
}

/// The next request or response, head and body; none once the connection is closed.
fn message(reader: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let start = head.len();
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return None;
        }
        let header = head[start..].trim_end().to_ascii_lowercase();
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if header.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    Some((head, body))
}

fn expert(address: SocketAddr) -> ExpertConfig {
    ExpertConfig {
        id: ExpertId::new("far"),
        kind: ExpertKind::Remote(RemoteConfig {
            dialect: Dialect::Openai,
            model: "mock".into(),
            places: vec![RemotePlace {
                base_url: format!("http://{address}/v1").parse().unwrap(),
                api_key: None,
            }],
        }),
        params_b: None,
        usd_in: None,
        usd_out: None,
        context_tokens: None,
        capabilities: vec![Capability::Chat],
        concurrent_max: Some(4),
        queue_max: 4,
        timeouts: Timeouts {
            connect: HUNG,
            first_token: HUNG,
            idle: HUNG,
            total: HUNG,
        },
        retries: Retries::default(),
        breaker: BreakerConfig::default(),
        prefill: Prefill::None,
    }
}
