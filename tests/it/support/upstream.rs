//! A provider that does as it is told: an OpenAI-compatible server on a port of its own, with every fault that a real
//! one has. Plain TCP, so that it can also break off, fall silent and reset.
//!
//! ```ignore
//! let hold = Hold::new();
//! let upstream = Upstream::in_turn([
//!     Reply::status(503, json!({"error": {"message": "overloaded"}})),
//!     Reply::stream([role(), text("Hel"), hold.wait(), text("lo"), finish("stop"), done()]),
//! ])
//! .await;
//! // … ask `upstream.base_url()` twice, `hold.release()` …
//! assert_eq!(upstream.requests()[1].body["stream"], true);
//! ```

mod reply;

use std::{
    future::Future,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
    time::timeout,
};
use url::Url;

use reply::{Body, completion, healthy, named};
pub(crate) use reply::{
    Hold, Part, Reply, close, delta, done, event, finish, raw, reset, role, silence, text, usage,
};

/// How long a test waits for what must happen before it is called hung.
const HUNG: Duration = Duration::from_secs(20);

/// A running provider; ends when it is dropped.
pub(crate) struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    _accepting: JoinSet<()>,
}

struct Shared {
    /// What comes next is last; the first reply stays when the others are used up.
    replies: Mutex<Vec<Reply>>,
    requests: watch::Sender<Vec<Recorded>>,
    clients_left: watch::Sender<usize>,
    connections: AtomicUsize,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Value,
}

impl Upstream {
    /// Answers every request alike.
    pub(crate) async fn always(reply: Reply) -> Self {
        Self::in_turn([reply]).await
    }

    /// Answers the requests in turn; the last reply answers all that follow.
    pub(crate) async fn in_turn(replies: impl IntoIterator<Item = Reply>) -> Self {
        let mut replies: Vec<_> = replies.into_iter().collect();
        assert!(!replies.is_empty(), "an upstream needs a reply");
        replies.reverse();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            replies: Mutex::new(replies),
            requests: watch::Sender::default(),
            clients_left: watch::Sender::default(),
            connections: AtomicUsize::new(0),
        });
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, Arc::clone(&shared)));
        Self {
            address,
            shared,
            _accepting: accepting,
        }
    }

    /// Where it is, up to and including `/v1`.
    pub(crate) fn base_url(&self) -> Url {
        format!("http://{}/v1", self.address).parse().unwrap()
    }

    /// What it was asked, oldest first.
    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.shared.requests.borrow().clone()
    }

    /// How many connections were made to it.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Waits until it has been asked `times` in all.
    pub(crate) async fn asked(&self, times: usize) {
        let mut requests = self.shared.requests.subscribe();
        in_time(requests.wait_for(|requests| requests.len() >= times)).await;
    }

    /// Waits until a client has closed its connection in the middle of an answer.
    pub(crate) async fn client_left(&self) {
        let mut left = self.shared.clients_left.subscribe();
        in_time(left.wait_for(|left| *left > 0)).await;
    }
}

/// Waits for what must happen.
async fn in_time<T, E: std::fmt::Debug>(event: impl Future<Output = Result<T, E>>) {
    drop(timeout(HUNG, event).await.expect("it never happened"));
}

impl Recorded {
    /// The value of a header, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(header, _)| header == name)?;
        Some(value)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).unwrap();
        shared.connections.fetch_add(1, Ordering::SeqCst);
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            // A client that leaves between two requests is an error here and of no interest.
            drop(serve(stream, &shared).await);
        });
    }
}

/// Answers one request after another until the client leaves or a reply ends the connection.
async fn serve(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let (reader, writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut connection = Connection { writer };
    while let Some(request) = read_request(&mut reader).await? {
        let reply = shared.next_reply();
        let body = request.body.clone();
        shared.requests.send_modify(|all| all.push(request));
        let then = tokio::select! {
            biased;
            then = connection.send(reply, &body) => then,
            () = left(reader.get_mut()) => Err(io::ErrorKind::BrokenPipe.into()),
        };
        match then {
            Ok(Then::Next) => {}
            Ok(Then::Close) => break,
            Err(_) => {
                shared.clients_left.send_modify(|left| *left += 1);
                break;
            }
        }
    }
    Ok(())
}

impl Shared {
    fn next_reply(&self) -> Reply {
        let mut replies = self.replies.lock().unwrap();
        match replies.as_slice() {
            [last] => last.clone(),
            _ => replies.pop().unwrap(),
        }
    }
}

/// Returns when the client has closed the connection.
async fn left(reader: &mut OwnedReadHalf) {
    match reader.peek(&mut [0]).await {
        Ok(0) | Err(_) => {}
        Ok(_) => std::future::pending().await, // it says more; it has not left
    }
}

async fn read_request(reader: &mut BufReader<OwnedReadHalf>) -> io::Result<Option<Recorded>> {
    let mut line = String::new();
    if reader.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let mut request = Recorded {
        path,
        headers,
        body: Value::Null,
    };
    let length = request.header("content-length").unwrap_or("0");
    let mut body = vec![0; length.parse().unwrap()];
    reader.read_exact(&mut body).await?;
    request.body = serde_json::from_slice(&body).unwrap_or_default();
    Ok(Some(request))
}

struct Connection {
    writer: OwnedWriteHalf,
}

/// What becomes of a connection after a reply.
enum Then {
    Next,
    Close,
}

/// An error is a client that has left.
impl Connection {
    async fn send(&mut self, reply: Reply, request: &Value) -> io::Result<Then> {
        let head = head(&reply);
        match reply.body {
            Body::Silence => std::future::pending().await,
            Body::Reset => self.reset(),
            Body::Whole(body) => self.whole(head, &body).await,
            Body::Events(parts) => self.events(head, parts, request).await,
            Body::AsAsked(pieces) if request["stream"] == true => {
                self.events(head, healthy(&pieces, request), request).await
            }
            Body::AsAsked(pieces) => {
                let head = head + "content-type: application/json\r\n";
                let body = completion(&pieces, request).to_string();
                self.whole(head, body.as_bytes()).await
            }
        }
    }

    async fn whole(&mut self, head: String, body: &[u8]) -> io::Result<Then> {
        let head = format!("{head}content-length: {}\r\n\r\n", body.len());
        let bytes = [head.as_bytes(), body].concat();
        self.writer.write_all(&bytes).await?;
        Ok(Then::Next)
    }

    async fn events(
        &mut self,
        head: String,
        parts: Vec<Part>,
        request: &Value,
    ) -> io::Result<Then> {
        let head = head + "content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        self.writer.write_all(head.as_bytes()).await?;
        for part in parts {
            match part {
                Part::Event(object) => {
                    let data = format!("data: {}\n\n", named(object, request));
                    self.body_chunk(data.as_bytes()).await?;
                }
                Part::Raw(bytes) => self.body_chunk(&bytes).await?,
                Part::Wait(hold) => hold.released().await,
                Part::Close => return Ok(Then::Close),
                Part::Reset => return self.reset(),
                Part::Silence => std::future::pending().await,
            }
        }
        self.writer.write_all(b"0\r\n\r\n").await?;
        Ok(Then::Next)
    }

    async fn body_chunk(&mut self, bytes: &[u8]) -> io::Result<()> {
        let size = format!("{:x}\r\n", bytes.len());
        let framed = [size.as_bytes(), bytes, b"\r\n"].concat();
        self.writer.write_all(&framed).await
    }

    /// Makes the close that follows a reset.
    fn reset(&mut self) -> io::Result<Then> {
        self.writer.as_ref().set_zero_linger()?;
        Ok(Then::Close)
    }
}

fn head(reply: &Reply) -> String {
    let headers = reply.headers.iter();
    headers.fold(
        format!("HTTP/1.1 {} Scripted\r\n", reply.status),
        |head, (name, value)| format!("{head}{name}: {value}\r\n"),
    )
}
