//! What small requests see of a huge one beside them.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::load::{Arrivals, Kind, Load, Measured, wait_until};

/// Length of the huge prompt.
const HUGE_BYTES: usize = 10 << 20;

/// Time from one to the next: ten a second, of which each keeps a core for half of that.
const HUGE_EVERY: Duration = Duration::from_millis(100);

/// Small requests alone and beside huge ones, one after another, in turn.
pub(crate) fn run(
    small_to: SocketAddr,
    huge_to: SocketAddr,
    model: &'static str,
    time: Duration,
) -> [Measured; 2] {
    let load = Load {
        address: small_to,
        model,
        kind: Kind::Plain,
        connections: 4,
        arrivals: Arrivals::WhenAnswered,
        time,
    };
    let huge = huge(model);
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _round in 0..crate::ROUNDS {
        alone.push(load.run());
        let over = AtomicBool::new(false);
        beside.push(thread::scope(|scope| {
            scope.spawn(|| {
                let mut due = Instant::now();
                while !over.load(Ordering::Relaxed) {
                    ask_hugely(huge_to, &huge);
                    // At a pace of their own: whoever is done with one sooner does not get more of them.
                    due += HUGE_EVERY;
                    wait_until(due);
                }
            });
            let measured = load.run();
            over.store(true, Ordering::Relaxed);
            measured
        }));
    }
    [Measured::median(alone), Measured::median(beside)]
}

/// A request of such a length, made once: what it takes to make it is not the server's.
fn huge(model: &str) -> Vec<u8> {
    let prompt = "All work and no play. ".repeat(HUGE_BYTES / 22);
    let body =
        format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"{prompt}"}}]}}"#);
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    (head + &body).into_bytes()
}

fn ask_hugely(address: SocketAddr, huge: &[u8]) {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.write_all(huge).expect("the request is taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(
        answer.starts_with("HTTP/1.1 200"),
        "{}",
        &answer[..answer.len().min(500)]
    );
}
