//! Load from keep-alive connections: closed loop, where each asks again as soon as it was answered, or open loop, where
//! questions come when they come.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

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

/// When a connection asks.
#[derive(Clone, Copy)]
pub(crate) enum Arrivals {
    /// As soon as it was answered: a server that is slow is asked less.
    WhenAnswered,
    /// So often on all connections together, at random moments (a Poisson process). An answer's time runs from the moment at
    /// which its question was due, also where the one before was not answered by then: who queues behind a slow answer is
    /// not left out, as it is in a closed loop ("coordinated omission", Gil Tene).
    PerSecond(u32),
}

/// One run.
pub(crate) struct Load {
    pub(crate) address: SocketAddr,
    pub(crate) model: &'static str,
    pub(crate) kind: Kind,
    pub(crate) connections: usize,
    pub(crate) arrivals: Arrivals,
    pub(crate) time: Duration,
}

/// What a run gave.
#[derive(Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
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
            p999_us: middle(|run| run.p999_us),
            per_second: middle(|run| run.per_second),
            requests: runs.iter().map(|run| run.requests).sum(),
        }
    }
}

impl Load {
    /// Asks until the time is over. A wrong answer ends the bench: figures of errors are worth nothing.
    pub(crate) fn run(&self) -> Measured {
        let started = Instant::now();
        let end = started + self.time;
        let mut times: Vec<Duration> = thread::scope(|scope| {
            let clients: Vec<_> = (0..self.connections)
                .map(|number| scope.spawn(move || self.client(number, end)))
                .collect();
            clients
                .into_iter()
                .flat_map(|client| client.join().expect("a client that was answered"))
                .collect()
        });
        // Who is asked more than it can answer is not done in time.
        let took = started.elapsed();
        times.sort_unstable();
        let at = |permille: usize| times[(times.len() - 1) * permille / 1000].as_secs_f64() * 1e6;
        Measured {
            p50_us: at(500),
            p99_us: at(990),
            p999_us: at(999),
            per_second: times.len() as f64 / took.as_secs_f64(),
            requests: times.len(),
        }
    }

    fn client(&self, number: usize, end: Instant) -> Vec<Duration> {
        let stream = TcpStream::connect(self.address).expect("a connection");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        let mut writer = stream.try_clone().expect("a second handle");
        let mut reader = BufReader::new(stream);
        let request = self.request();
        let mut random = StdRng::seed_from_u64(number as u64);
        let mut due = Instant::now();
        let mut times = Vec::new();
        loop {
            due = match self.arrivals {
                Arrivals::WhenAnswered => Instant::now(),
                Arrivals::PerSecond(all) => due + self.gap(all, &mut random),
            };
            if due >= end {
                return times;
            }
            wait_until(due);
            writer.write_all(&request).expect("the request is taken");
            let body = read_answer(&mut reader);
            times.push(due.elapsed());
            self.verify(&body);
        }
    }

    /// Time between two questions on one connection.
    fn gap(&self, per_second: u32, random: &mut StdRng) -> Duration {
        let mean = self.connections as f64 / f64::from(per_second);
        let left = 1.0 - random.random::<f64>();
        Duration::from_secs_f64(-left.ln() * mean)
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

pub(crate) fn wait_until(due: Instant) {
    while let Some(left) = due.checked_duration_since(Instant::now()) {
        if left.is_zero() {
            return;
        }
        // It may come back early.
        thread::park_timeout(left);
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
