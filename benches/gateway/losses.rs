//! Outcomes of answers that clients have, and that are not in the store after the server was stopped or killed.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::Command,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use coterie::store::Store;

use crate::subject::Subject;

/// Clients that ask without a pause.
const CLIENTS: usize = 32;

/// How long they ask before the server is ended.
const LOAD: Duration = Duration::from_secs(3);

/// What became of the outcomes.
pub(crate) struct Losses {
    /// Answers that clients have in full.
    pub(crate) answered: usize,
    /// Of those, outcomes that are not in the store.
    pub(crate) lost: usize,
    /// Time from the oldest lost answer to the end; none where none was lost.
    pub(crate) oldest: Option<Duration>,
}

/// Ends the subject with a signal under full load, and counts.
pub(crate) fn run(subject: Subject, model: &str, signal: &str) -> Losses {
    let address = subject.address;
    let answered: Mutex<HashMap<String, Instant>> = Mutex::default();
    let (ended, database) = thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| while ask(address, model, &answered).is_some() {});
        }
        let until = Instant::now() + LOAD;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            // It may come back early.
            thread::park_timeout(left);
        }
        let ended = Instant::now();
        let pid = subject.id().to_string();
        let killed = Command::new("kill").args([signal, &pid]).status();
        assert!(killed.expect("kill runs").success());
        (ended, subject.wait())
    });
    let answered = answered.into_inner().expect("the clients are done");
    let stored = stored(database.path());
    let lost: Vec<Instant> = answered
        .iter()
        .filter(|(id, _)| !stored.contains_key(*id))
        .map(|(_, at)| *at)
        .collect();
    let oldest = lost
        .iter()
        .map(|at| ended.saturating_duration_since(*at))
        .max();
    Losses {
        answered: answered.len(),
        lost: lost.len(),
        oldest,
    }
}

fn stored(folder: &std::path::Path) -> HashMap<String, ()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let store = Store::open(&folder.join("coterie.db"))
            .await
            .expect("the store opens");
        let all = store.latest(u32::MAX).await.expect("the store is read");
        all.into_iter().map(|outcome| (outcome.id, ())).collect()
    })
}

/// Asks on one connection until it ends; none once no connection can be made.
fn ask(address: SocketAddr, model: &str, answered: &Mutex<HashMap<String, Instant>>) -> Option<()> {
    let stream = TcpStream::connect(address).ok()?;
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    let body = format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"Hi."}}]}}"#);
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    loop {
        if writer.write_all(request.as_bytes()).is_err() {
            return Some(());
        }
        let Some(id) = answer(&mut reader) else {
            return Some(());
        };
        let mut answered = answered.lock().ok()?;
        answered.insert(id, Instant::now());
    }
}

/// Reads an answer to its end; the id of its outcome.
fn answer(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let (mut id, mut bytes) = (None, 0);
    let mut line = String::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            if line.trim_end().is_empty() {
                break;
            }
            continue;
        };
        match name.to_ascii_lowercase().as_str() {
            "x-coterie-outcome" => id = Some(value.trim().to_owned()),
            "content-length" => bytes = value.trim().parse().ok()?,
            _ => {}
        }
    }
    let mut body = vec![0; bytes];
    reader.read_exact(&mut body).ok()?;
    id
}
