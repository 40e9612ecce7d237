//! The binary under measurement, as a process of its own.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const BINARY: &str = env!("CARGO_BIN_EXE_coterie");
const COLD_STARTS: usize = 5;
const START_MAX: Duration = Duration::from_secs(120);

/// What its router reads of a question.
#[derive(Clone, Copy)]
pub(crate) enum Tiers {
    /// Words and the static encoder.
    Cheap,
    /// The transformer too, where those are unsure.
    Full,
}

/// The providers.
#[derive(Clone, Copy)]
pub(crate) struct Mocks {
    /// Of all that has no more tokens than models commonly take.
    pub(crate) usual: SocketAddr,
    /// Of the rest.
    pub(crate) long: SocketAddr,
}

/// A running Coterie in front of the mocks.
pub(crate) struct Subject {
    pub(crate) address: SocketAddr,
    child: Child,
    folder: tempfile::TempDir,
}

impl Subject {
    /// Starts it and waits until it is ready.
    ///
    /// Prompts that are too long for the mock go to another one: one that reads ten megabytes keeps its others waiting.
    pub(crate) fn start(mocks: Mocks, tiers: Tiers) -> Self {
        let features = match tiers {
            Tiers::Cheap => "[sparse, static]",
            Tiers::Full => "[sparse, static, transformer]",
        };
        let Mocks { usual, long } = mocks;
        let folder = tempfile::tempdir().expect("a folder");
        let config = format!(
            "store: {{ url: 'sqlite://{0}/coterie.db' }}\n\
             server: {{ body_max: 16 MiB }}\n\
             router: {{ artefacts: '{0}/routers', features: {features} }}\n\
             experts:\n\
             \x20 mock: {{ kind: remote, base_url: 'http://{usual}/v1', model: mock, concurrent_max: 1024, queue_max: 256, context_tokens: 200000 }}\n\
             \x20 long: {{ kind: remote, base_url: 'http://{long}/v1', model: mock }}\n\
             mapping: {{ default: {{ expert: mock, fallbacks: [long] }} }}\n",
            folder.path().display()
        );
        std::fs::write(folder.path().join("coterie.yaml"), config).expect("a configuration");
        let (child, address, _) = spawn(folder.path());
        Self {
            address,
            child,
            folder,
        }
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has ended; gives what it left.
    pub(crate) fn wait(mut self) -> tempfile::TempDir {
        self.child.wait().expect("it ends");
        self.folder
    }

    /// Its memory now.
    pub(crate) fn resident_mb(&self) -> f64 {
        self.memory_kib("VmRSS") / 1024.0
    }

    fn memory_kib(&self, key: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .expect("its status");
        let line = status
            .lines()
            .find(|line| line.starts_with(key))
            .expect("a line of the status");
        let kib = line.split_whitespace().nth(1);
        kib.and_then(|kib| kib.parse().ok()).expect("a number")
    }

    /// Prints memory after the load, cold start and size.
    pub(crate) fn report(mut self) {
        println!(
            "resident after the load: {:.0} MB (peak {:.0} MB)",
            self.resident_mb(),
            self.memory_kib("VmHWM") / 1024.0
        );
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
        let mut starts: Vec<Duration> = (0..COLD_STARTS)
            .map(|_| {
                let (mut child, _, took) = spawn(self.folder.path());
                child.kill().expect("it can be killed");
                child.wait().expect("it ends");
                took
            })
            .collect();
        starts.sort_unstable();
        println!(
            "cold start to ready, router cached: {:.0} ms",
            starts[COLD_STARTS / 2].as_secs_f64() * 1e3
        );
        let size = std::fs::metadata(BINARY).expect("the binary").len();
        println!("binary: {:.1} MB", size as f64 / 1e6);
    }
}

/// Starts the binary on a free port; gives the process, its address and the time until it was ready.
fn spawn(folder: &Path) -> (Child, SocketAddr, Duration) {
    let free = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port");
    let started = Instant::now();
    let child = Command::new(BINARY)
        .args([
            "serve",
            "--log",
            "error",
            "--listen",
            &free.to_string(),
            "--config",
        ])
        .arg(folder.join("coterie.yaml"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("the binary runs");
    while !is_ready(free) {
        assert!(started.elapsed() < START_MAX, "it did not become ready");
        std::thread::yield_now();
    }
    (child, free, started.elapsed())
}

fn is_ready(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else {
        return false;
    };
    let mut answer = [0; 12];
    stream
        .write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && answer.ends_with(b"200")
}
