//! Load from keep-alive connections that each ask again as soon as they were answered.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

/// The form of the answer.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Plain,
    Streamed,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Streamed => "17 chunks",
        }
    }
}

/// One run.
pub(crate) struct Load {
    pub(crate) address: SocketAddr,
    pub(crate) model: &'static str,
    pub(crate) kind: Kind,
    pub(crate) connections: usize,
    pub(crate) time: Duration,
}

/// What a run gave.
#[derive(Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) per_second: f64,
    pub(crate) requests: usize,
}

impl Measured {
    /// The median of each figure by itself.
    pub(crate) fn median(runs: Vec<Self>) -> Self {
        let middle = |figure: fn(&Self) -> f64| {
            let mut figures: Vec<f64> = runs.iter().map(figure).collect();
            figures.sort_by(f64::total_cmp);
            figures[figures.len() / 2]
        };
        Self {
            p50_us: middle(|run| run.p50_us),
            p99_us: middle(|run| run.p99_us),
            per_second: middle(|run| run.per_second),
            requests: runs.iter().map(|run| run.requests).sum(),
        }
    }
}

impl Load {
    /// Asks until the time is over. A wrong answer ends the bench: figures of errors are worth nothing.
    pub(crate) fn run(&self) -> Measured {
        let end = Instant::now() + self.time;
        let mut times: Vec<Duration> = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..self.connections)
                .map(|_| scope.spawn(|| self.client(end)))
                .collect();
            clients
                .into_iter()
                .flat_map(|client| client.join().expect("a client that was answered"))
                .collect()
        });
        times.sort_unstable();
        let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e6;
        Measured {
            p50_us: at(50),
            p99_us: at(99),
            per_second: times.len() as f64 / self.time.as_secs_f64(),
            requests: times.len(),
        }
    }

    fn client(&self, end: Instant) -> Vec<Duration> {
        let stream = TcpStream::connect(self.address).expect("a connection");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        let mut writer = stream.try_clone().expect("a second handle");
        let mut reader = BufReader::new(stream);
        let request = self.request();
        let mut times = Vec::new();
        while Instant::now() < end {
            let started = Instant::now();
            writer.write_all(&request).expect("the request is taken");
            let body = read_answer(&mut reader);
            times.push(started.elapsed());
            self.verify(&body);
        }
        times
    }

    fn request(&self) -> Vec<u8> {
        let stream = matches!(self.kind, Kind::Streamed);
        let body = format!(
            r#"{{"model":"{}","stream":{stream},"messages":[{{"role":"user","content":"Write a function that reverses a string and explain how it works."}}]}}"#,
            self.model
        );
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }

    fn verify(&self, body: &[u8]) {
        let whole = match self.kind {
            Kind::Plain => {
                body.ends_with(b"}") && body.windows(7).any(|window| window == b"choices")
            }
            Kind::Streamed => body.ends_with(b"data: [DONE]\n\n"),
        };
        assert!(
            whole,
            "not a whole answer: {}",
            String::from_utf8_lossy(body)
        );
    }
}

/// Reads one response, by its length or chunk by chunk.
fn read_answer(reader: &mut BufReader<TcpStream>) -> Vec<u8> {
    let mut length = None;
    let mut line = String::new();
    loop {
        line.clear();
        reader.read_line(&mut line).expect("a header");
        let header = line.trim_end().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse::<usize>().ok();
        }
    }
    let mut body = Vec::new();
    if let Some(length) = length {
        body.resize(length, 0);
        reader.read_exact(&mut body).expect("the body");
        return body;
    }
    loop {
        line.clear();
        reader.read_line(&mut line).expect("a chunk's size");
        let size = usize::from_str_radix(line.trim_end(), 16).expect("a chunk's size in hex");
        let start = body.len();
        body.resize(start + size + 2, 0);
        reader.read_exact(&mut body[start..]).expect("a chunk");
        body.truncate(start + size);
        if size == 0 {
            return body;
        }
    }
}
