//! Many streams at once, each paced like a model: whether every chunk comes, and how much later than it was sent.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::mock::PACED_TOKENS;

/// Streams under way at once.
const STREAMS: usize = 512;

/// Threads that read them are small: they only wait.
const STACK_BYTES: usize = 128 << 10;

/// How late chunks came, in milliseconds.
pub(crate) struct Lateness {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

/// Reads all streams side by side. Each chunk tells when it was sent, so that what is measured is the way of each chunk, the
/// mock's own lateness left out.
///
/// A chunk that is lost ends the bench.
pub(crate) fn run(address: SocketAddr, model: &'static str) -> Lateness {
    let mut late: Vec<f64> = thread::scope(|scope| {
        let readers: Vec<_> = (0..STREAMS)
            .map(|_| {
                thread::Builder::new()
                    .stack_size(STACK_BYTES)
                    .spawn_scoped(scope, || read(address, model))
                    .expect("a thread")
            })
            .collect();
        readers
            .into_iter()
            .flat_map(|reader| reader.join().expect("a stream that came whole"))
            .collect()
    });
    late.sort_by(f64::total_cmp);
    let at = |permille: usize| late[(late.len() - 1) * permille / 1000];
    Lateness {
        p50_ms: at(500),
        p99_ms: at(990),
        max_ms: at(1000),
    }
}

fn read(address: SocketAddr, model: &str) -> Vec<f64> {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_nodelay(true).expect("TCP_NODELAY");
    let body = format!(
        r#"{{"model":"{model}","stream":true,"user":"paced","messages":[{{"role":"user","content":"Go on."}}]}}"#
    );
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream
        .write_all(request.as_bytes())
        .expect("the request is taken");
    let mut late = Vec::new();
    let mut is_done = false;
    for line in BufReader::new(stream).lines() {
        let line = line.expect("a line");
        is_done |= line == "data: [DONE]";
        if let Some(sent_us) = sent_us(&line) {
            late.push((now_us() - sent_us) as f64 / 1e3);
        }
    }
    assert!(is_done, "the stream broke off");
    assert_eq!(late.len(), PACED_TOKENS, "a chunk was lost");
    late
}

/// The moment that a chunk's text tells: `@1234567890123456@`.
fn sent_us(line: &str) -> Option<i64> {
    line.split('@').nth(1)?.parse().ok()
}

/// Microseconds since 1970: mock and reader share the clock.
#[expect(
    clippy::disallowed_methods,
    reason = "a bench compares moments of two processes"
)]
pub(crate) fn now_us() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(now.unwrap_or(Duration::ZERO).as_micros()).unwrap_or(i64::MAX)
}

/// Waits between two tokens of a paced stream.
pub(crate) const PACE: Duration = Duration::from_millis(20);

/// When the next token of a stream that began at a moment is due.
pub(crate) fn due(began: Instant, token: usize) -> Instant {
    began + PACE * u32::try_from(token).unwrap_or(u32::MAX)
}
