//! The model store against a hub on loopback that cuts, lies and refuses as told.

use std::{
    collections::VecDeque,
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use coterie::models::{
    FileState, Hub, Manifest, ModelError, ModelStore, Retry, Sha256, Step, Trust,
};
use secrecy::SecretString;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

const PATH: &str = "/maker/tiny/resolve/c0ffee/weights/tiny.gguf";

#[tokio::test]
async fn a_file_is_downloaded_whole_and_verified() {
    let server = Server::start([Answer::Whole]).await;
    let store = Store::empty();
    store.pull(&server).await.unwrap();

    assert_eq!(fs::read(store.file()).unwrap(), content());
    assert!(!store.part().exists());
    assert_eq!(server.paths(), [PATH]);
    assert_eq!(store.state(Trust::Nothing).await, FileState::Ok);
}

#[tokio::test]
async fn a_cut_download_goes_on_where_it_ended() {
    let server =
        Server::start([Answer::CutAfter(1000), Answer::CutAfter(500), Answer::Whole]).await;
    let store = Store::empty();
    store.pull(&server).await.unwrap();

    assert_eq!(fs::read(store.file()).unwrap(), content());
    assert_eq!(
        server.header("range"),
        [None, Some("bytes=1000-"), Some("bytes=1500-")].map(owned)
    );
    let tag = Some("\"one\"");
    assert_eq!(server.header("if-range"), [None, tag, tag].map(owned));
}

#[tokio::test]
async fn a_part_of_an_earlier_pull_is_kept_and_used() {
    let store = Store::empty();
    let server = Server::start([
        Answer::CutAfter(100),
        Answer::CutAfter(100),
        Answer::CutAfter(100),
    ])
    .await;
    let error = store.pull(&server).await.unwrap_err();
    let ModelError::Cut {
        received_bytes,
        expected_bytes,
        ..
    } = error
    else {
        panic!("{error:?}");
    };
    assert_eq!(
        (received_bytes, expected_bytes),
        (300, content().len() as u64)
    );
    assert!(!store.file().exists());
    assert_eq!(store.state(Trust::SumsTaken).await, FileState::Partial);

    let server = Server::start([Answer::Whole]).await;
    store.pull(&server).await.unwrap();
    assert_eq!(server.header("range"), [Some("bytes=300-")].map(owned));
    assert_eq!(fs::read(store.file()).unwrap(), content());
}

#[tokio::test]
async fn a_hub_that_ignores_ranges_starts_from_zero() {
    let server = Server::start([Answer::CutAfter(1000), Answer::WholeWhateverTheRange]).await;
    let store = Store::empty();
    store.pull(&server).await.unwrap();
    assert_eq!(fs::read(store.file()).unwrap(), content());
}

#[tokio::test]
async fn a_hub_that_cannot_go_on_is_asked_for_the_whole_file() {
    for refusal in [Answer::Status(416), Answer::RangeFrom(7)] {
        let server = Server::start([refusal, Answer::Whole]).await;
        let store = Store::with_part(&content()[..1000]);
        store.pull(&server).await.unwrap();
        assert_eq!(
            server.header("range"),
            [Some("bytes=1000-"), None].map(owned)
        );
        assert_eq!(fs::read(store.file()).unwrap(), content());
    }
}

#[tokio::test]
async fn a_whole_part_is_verified_without_a_request() {
    let server = Server::start([]).await;
    let store = Store::with_part(&content());
    store.pull(&server).await.unwrap();
    assert_eq!(server.paths(), [""; 0]);
    assert_eq!(fs::read(store.file()).unwrap(), content());
}

#[tokio::test]
async fn a_wrong_checksum_leaves_neither_file_nor_part() {
    let server = Server::start([Answer::OtherBytes]).await;
    let store = Store::empty();
    let error = store.pull(&server).await.unwrap_err();
    let ModelError::Checksum {
        file,
        expected,
        found,
    } = error
    else {
        panic!("{error:?}");
    };
    assert_eq!(file, "tiny/tiny.gguf");
    assert_eq!(expected, Sha256::of_bytes(&content()));
    assert_eq!(found, Sha256::of_bytes(&other_bytes()));
    assert!(!store.file().exists() && !store.part().exists());
}

#[tokio::test]
async fn a_resumed_download_is_verified_from_its_first_byte() {
    let server = Server::start([Answer::Whole]).await;
    let store = Store::with_part(&other_bytes()[..1000]);
    let error = store.pull(&server).await.unwrap_err();
    assert!(matches!(error, ModelError::Checksum { .. }), "{error:?}");
    assert!(!store.part().exists());
}

#[tokio::test]
async fn a_file_of_another_size_is_refused_before_it_is_written() {
    let server = Server::start([Answer::LongerBytes]).await;
    let store = Store::empty();
    let error = store.pull(&server).await.unwrap_err();
    assert!(matches!(error, ModelError::WrongSize { .. }), "{error:?}");
    assert!(!store.file().exists() && !store.part().exists());
}

#[tokio::test]
async fn a_body_without_a_length_is_cut_off_when_it_is_too_long() {
    let server = Server::start([Answer::LongerBytesUncounted]).await;
    let store = Store::empty();
    let error = store.pull(&server).await.unwrap_err();
    assert!(matches!(error, ModelError::WrongSize { .. }), "{error:?}");
    assert!(!store.part().exists());
}

#[tokio::test]
async fn an_absent_file_is_named_and_asked_for_once() {
    let server = Server::start([Answer::Status(404)]).await;
    let error = Store::empty().pull(&server).await.unwrap_err();
    let ModelError::NotFound { url } = error else {
        panic!("{error:?}");
    };
    assert_eq!(url, format!("{}{PATH}", server.address));
    assert_eq!(server.paths(), [PATH]);
}

#[tokio::test]
async fn a_refusal_is_final_and_a_failure_is_not() {
    let server = Server::start([Answer::Status(403)]).await;
    let error = Store::empty().pull(&server).await.unwrap_err();
    assert!(
        matches!(error, ModelError::Refused { status: 403, .. }),
        "{error:?}"
    );

    let server = Server::start([Answer::Status(503), Answer::Status(429), Answer::Whole]).await;
    Store::empty().pull(&server).await.unwrap();
    assert_eq!(server.paths().len(), 3);
}

#[tokio::test]
async fn a_hub_that_is_down_is_an_error_that_names_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let store = Store::empty();
    let error = store.pull_from(&hub(&address, None)).await.unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
    let ModelError::Unreachable { url, .. } = error else {
        panic!("{error:?}");
    };
    assert!(url.starts_with(&address));
    assert_eq!(store.state(Trust::SumsTaken).await, FileState::Missing);
}

#[tokio::test]
async fn the_token_goes_to_the_hub_and_to_nobody_else() {
    let elsewhere = Server::start([Answer::Whole]).await;
    let server = Server::start([Answer::RedirectTo(format!("{}/signed", elsewhere.address))]).await;
    let hub = hub(&server.address, Some("hf_secret".into()));
    let store = Store::empty();
    store.pull_from(&hub).await.unwrap();

    assert_eq!(
        server.header("authorization"),
        [Some("Bearer hf_secret")].map(owned)
    );
    assert_eq!(elsewhere.paths(), ["/signed"]);
    assert_eq!(elsewhere.header("authorization"), [None]);
    assert!(!format!("{hub:?}").contains("hf_secret"));
    assert_eq!(fs::read(store.file()).unwrap(), content());
}

#[tokio::test]
async fn a_file_that_is_there_is_not_asked_for() {
    let server = Server::start([]).await;
    let store = Store::with_file(&content());
    store.pull(&server).await.unwrap();
    assert_eq!(server.paths(), [""; 0]);
}

#[tokio::test]
async fn a_file_that_is_wrong_is_replaced() {
    let server = Server::start([Answer::Whole]).await;
    let store = Store::with_file(&other_bytes());
    assert_eq!(
        store.state(Trust::SumsTaken).await,
        FileState::WrongChecksum
    );
    store.pull(&server).await.unwrap();
    assert_eq!(fs::read(store.file()).unwrap(), content());
    assert_eq!(store.state(Trust::SumsTaken).await, FileState::Ok);
}

#[tokio::test]
async fn two_pulls_at_once_download_once() {
    let server = Server::start([Answer::Whole]).await;
    let store = Store::empty();
    let (one, two) = tokio::join!(store.pull(&server), store.pull(&server));
    one.unwrap();
    two.unwrap();
    assert_eq!(server.paths(), [PATH]);
    assert_eq!(fs::read(store.file()).unwrap(), content());
}

#[tokio::test]
async fn a_lock_file_left_behind_does_not_keep_a_pull_waiting() {
    let server = Server::start([Answer::Whole]).await;
    let store = Store::empty();
    fs::write(store.dir.path().join(".lock"), "").unwrap();
    store.pull(&server).await.unwrap();
}

#[tokio::test]
async fn what_changed_without_a_trace_is_found_by_reading_again() {
    let store = Store::with_file(&content());
    assert_eq!(store.state(Trust::SumsTaken).await, FileState::Ok);
    let modified = fs::metadata(store.file()).unwrap().modified().unwrap();
    fs::write(store.file(), other_bytes()).unwrap();
    let file = fs::File::options().write(true).open(store.file()).unwrap();
    file.set_modified(modified).unwrap();

    assert_eq!(store.state(Trust::SumsTaken).await, FileState::Ok);
    assert_eq!(store.state(Trust::Nothing).await, FileState::WrongChecksum);
}

#[tokio::test]
async fn a_file_that_is_on_no_hub_is_said_to_be_so() {
    let server = Server::start([]).await;
    let store = Store::empty();
    let error = store
        .store
        .pull(
            &["library".into()],
            &hub(&server.address, None),
            &mut |_| {},
        )
        .await
        .unwrap_err();
    assert!(matches!(error, ModelError::NotOnHub { .. }), "{error:?}");
    assert!(
        error.to_string().contains("scripts/models library"),
        "{error}"
    );
}

#[tokio::test]
async fn every_step_of_a_download_is_told() {
    let server = Server::start([Answer::CutAfter(1000), Answer::Whole]).await;
    let store = Store::empty();
    let mut told = Vec::new();
    let mut received_bytes = 0;
    let mut report = |step: Step<'_>| match step {
        Step::Received { bytes } => received_bytes = bytes,
        Step::Started { .. } => told.push("started"),
        Step::Retrying { .. } => told.push("retrying"),
        Step::Stored { .. } => told.push("stored"),
        Step::Waiting | Step::Present { .. } => told.push("other"),
    };
    store
        .store
        .pull(&[], &hub(&server.address, None), &mut report)
        .await
        .unwrap();
    assert_eq!(told, ["started", "retrying", "stored"]);
    assert_eq!(received_bytes, content().len() as u64);
}

/// Enough that it comes in several pieces, no two stretches alike.
fn content() -> Vec<u8> {
    (0..200_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect()
}

fn other_bytes() -> Vec<u8> {
    content().iter().map(|byte| !byte).collect()
}

fn owned(text: Option<&str>) -> Option<String> {
    text.map(str::to_owned)
}

fn hub(address: &str, token: Option<SecretString>) -> Hub {
    let retry = Retry {
        attempts_max: 3,
        pause: Duration::ZERO,
    };
    Hub::new(address.parse().unwrap(), token)
        .unwrap()
        .with_retry(retry)
}

/// A store with one model on the hub and one that is on none.
struct Store {
    dir: TempDir,
    store: ModelStore,
}

impl Store {
    fn empty() -> Self {
        let manifest = serde_json::json!({ "models": [
            {
                "name": "tiny", "about": "", "default": true,
                "hub": { "repo": "maker/tiny", "revision": "c0ffee" },
                "files": [{ "name": "tiny.gguf", "editions": [{
                    "bytes": content().len(), "sha256": Sha256::of_bytes(&content()), "hub": "weights/tiny.gguf",
                }] }],
            },
            {
                "name": "library", "about": "", "default": false,
                "files": [{ "name": "library.so", "editions": [{
                    "bytes": 1, "sha256": Sha256::of_bytes(b"x"),
                }] }],
            },
        ] });
        let dir = tempfile::tempdir().unwrap();
        let manifest = Manifest::parse(&manifest.to_string()).unwrap();
        let store = ModelStore::new(dir.path().to_owned(), manifest);
        Self { dir, store }
    }

    fn with_part(bytes: &[u8]) -> Self {
        let store = Self::empty();
        fs::create_dir(store.dir.path().join("tiny")).unwrap();
        fs::write(store.part(), bytes).unwrap();
        store
    }

    fn with_file(bytes: &[u8]) -> Self {
        let store = Self::with_part(bytes);
        fs::rename(store.part(), store.file()).unwrap();
        store
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("tiny/tiny.gguf")
    }

    fn part(&self) -> PathBuf {
        self.dir.path().join("tiny/tiny.gguf.part")
    }

    async fn pull(&self, server: &Server) -> Result<(), ModelError> {
        self.pull_from(&hub(&server.address, None)).await
    }

    async fn pull_from(&self, hub: &Hub) -> Result<(), ModelError> {
        self.store.pull(&[], hub, &mut |_| {}).await
    }

    async fn state(&self, trust: Trust) -> FileState {
        self.store.list(trust).await.unwrap()[0].files[0].state
    }
}

/// What the hub does with one request.
#[derive(Clone, Debug)]
enum Answer {
    /// The content, from where the request asks for it.
    Whole,
    /// The whole content, with status 200.
    WholeWhateverTheRange,
    /// The content from where the request asks for it, and the connection closed after so many bytes of it.
    CutAfter(usize),
    /// A partial answer that begins elsewhere than asked.
    RangeFrom(usize),
    /// As many bytes, but others.
    OtherBytes,
    /// One byte more than expected.
    LongerBytes,
    /// The same without a `Content-Length`.
    LongerBytesUncounted,
    /// No file.
    Status(u16),
    /// Another address.
    RedirectTo(String),
}

/// A hub on loopback: plain sockets, because a framework would not break off in the middle of a body as told.
struct Server {
    address: String,
    heads: Arc<Mutex<Vec<Vec<String>>>>,
    _task: AbortOnDropHandle<()>,
}

impl Server {
    /// Answers one request after another as told; one more is met with a closed connection.
    async fn start<const N: usize>(answers: [Answer; N]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let heads = Arc::new(Mutex::new(Vec::new()));
        let log = heads.clone();
        let mut answers = VecDeque::from(answers);
        let task = TaskTracker::new().spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let head = read_head(&mut socket).await;
                log.lock().unwrap().push(head.clone());
                if let Some(answer) = answers.pop_front() {
                    // The client may leave before everything is sent.
                    socket.write_all(&respond(&answer, &head)).await.ok();
                }
            }
        });
        Self {
            address,
            heads,
            _task: AbortOnDropHandle::new(task),
        }
    }

    fn paths(&self) -> Vec<String> {
        let heads = self.heads.lock().unwrap();
        heads
            .iter()
            .map(|head| head[0].split(' ').nth(1).unwrap().to_owned())
            .collect()
    }

    fn header(&self, name: &str) -> Vec<Option<String>> {
        let heads = self.heads.lock().unwrap();
        heads.iter().map(|head| header(head, name)).collect()
    }
}

async fn read_head(socket: &mut TcpStream) -> Vec<String> {
    let mut lines = BufReader::new(socket).lines();
    let mut head = Vec::new();
    while let Ok(Some(line)) = lines.next_line().await {
        if line.is_empty() {
            break;
        }
        head.push(line);
    }
    head
}

fn header(head: &[String], name: &str) -> Option<String> {
    head.iter().find_map(|line| {
        let (key, value) = line.split_once(": ")?;
        key.eq_ignore_ascii_case(name).then(|| value.to_owned())
    })
}

fn respond(answer: &Answer, head: &[String]) -> Vec<u8> {
    let range = header(head, "range");
    let asked = range.as_deref().and_then(|range| {
        range
            .strip_prefix("bytes=")?
            .strip_suffix('-')?
            .parse()
            .ok()
    });
    let longer = || [content(), vec![0]].concat();
    match answer {
        Answer::Whole => ranged(asked, usize::MAX),
        Answer::CutAfter(bytes) => ranged(asked, *bytes),
        Answer::RangeFrom(start) => ranged(Some(*start), usize::MAX),
        Answer::WholeWhateverTheRange => ranged(None, usize::MAX),
        Answer::OtherBytes => counted("200 OK", &other_bytes()),
        Answer::LongerBytes => counted("200 OK", &longer()),
        Answer::LongerBytesUncounted => [
            b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
            &longer()[..],
        ]
        .concat(),
        Answer::Status(status) => counted(&format!("{status} No"), b"no"),
        Answer::RedirectTo(url) => counted(&format!("302 Found\r\nLocation: {url}"), b""),
    }
}

/// The content from `start` on, of which at most `bytes_max` are sent.
fn ranged(start: Option<usize>, bytes_max: usize) -> Vec<u8> {
    let content = content();
    let (status, body) = match start {
        None => ("200 OK\r\nETag: \"one\"".to_owned(), &content[..]),
        Some(start) => {
            let range = format!("bytes {start}-{}/{}", content.len() - 1, content.len());
            let status = format!("206 Partial Content\r\nETag: \"one\"\r\nContent-Range: {range}");
            (status, &content[start..])
        }
    };
    let mut response = counted(&status, body);
    let unsent_bytes = body.len().saturating_sub(bytes_max);
    response.truncate(response.len() - unsent_bytes);
    response
}

fn counted(status: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}
