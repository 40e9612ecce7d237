//! What Coterie adds to a provider: latency and requests per second over a mock upstream, plain and streamed, with 1
//! and 32 connections, as differences from and ratios to the mock alone; 512 paced streams; small requests beside a huge
//! one; outcomes that are lost when it is stopped or killed; then resident memory, cold start and the binary's size.
//!
//! `cargo bench --bench gateway [-- SECONDS_PER_RUN] [--soak REQUESTS]`. Mock, load and Coterie share the machine, so that
//! only comparisons between runs of one call mean anything; runs are interleaved and medians reported.

#![expect(
    clippy::print_stdout,
    reason = "a bench tells its figures on standard output"
)]

mod beside;
mod load;
mod losses;
mod mock;
mod paced;
mod subject;

use std::{net::SocketAddr, time::Duration};

use load::{Kind, Load, Measured};
use subject::{Subject, Tiers};

const ROUNDS: usize = 5;
const CONNECTIONS: [usize; 2] = [1, 32];

/// What is measured: the address asked and the model named.
struct Way {
    name: &'static str,
    address: SocketAddr,
    model: &'static str,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let seconds = arguments.iter().find_map(|arg| arg.parse().ok());
    let time = Duration::from_secs_f64(seconds.unwrap_or(2.0));
    let soak = arguments.iter().position(|arg| arg == "--soak");
    let soak = soak.and_then(|at| arguments.get(at + 1)?.parse().ok());
    let mock = mock::start();
    let cheap = Subject::start(mock, Tiers::Cheap);
    if let Some(requests) = soak {
        soaked(&cheap, requests);
        cheap.report();
        return;
    }
    let full = Subject::start(mock, Tiers::Full);
    let way = |name, address, model| Way {
        name,
        address,
        model,
    };
    let ways = [
        way("mock alone", mock, "mock"),
        way("expert named", cheap.address, "mock"),
        way("routed, cheap tier", cheap.address, "coterie"),
        way("routed, both tiers", full.address, "coterie"),
    ];
    println!(
        "| answer | connections | way | p50 µs | p99 µs | added p50 µs | added p99 µs | requests/s | requests/s ÷ mock |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for kind in [Kind::Plain, Kind::Streamed] {
        for connections in CONNECTIONS {
            compare(&ways, kind, connections, time);
        }
    }
    println!();
    let late = paced::run(cheap.address, "mock");
    println!(
        "512 streams paced at 20 ms a token: chunks came {:.2} ms after they were sent (p50), {:.2} ms (p99), {:.1} ms at most",
        late.p50_ms, late.p99_ms, late.max_ms
    );
    let late = paced::run(mock, "mock");
    println!(
        "the same from the mock alone: {:.2} ms, {:.2} ms, {:.1} ms",
        late.p50_ms, late.p99_ms, late.max_ms
    );
    let [alone, beside] = beside::run(cheap.address, "coterie", time);
    println!(
        "small requests, 4 connections: p99 {:.0} µs alone, {:.0} µs beside prompts of 10 MB ({:.2} times)",
        alone.p99_us,
        beside.p99_us,
        beside.p99_us / alone.p99_us
    );
    full.report();
    cheap.report();
    for signal in ["-TERM", "-KILL"] {
        let losses = losses::run(Subject::start(mock, Tiers::Cheap), "coterie", signal);
        println!(
            "kill {signal} at full load: {} answers, {} outcomes lost, the oldest of an answer {:.0?} before",
            losses.answered,
            losses.lost,
            losses.oldest.unwrap_or_default()
        );
    }
}

/// Memory before, while and after so many requests.
fn soaked(subject: &Subject, requests: usize) {
    println!("idle: {:.1} MB resident", subject.resident_mb());
    let (mut asked, mut last) = (0, 0);
    while asked < requests {
        let load = Load {
            address: subject.address,
            model: "coterie",
            kind: Kind::Plain,
            connections: 32,
            time: Duration::from_secs(5),
        };
        asked += load.run().requests;
        if asked / 100_000 > last {
            last = asked / 100_000;
            println!(
                "after {asked} requests: {:.1} MB resident",
                subject.resident_mb()
            );
        }
    }
}

fn compare(ways: &[Way; 4], kind: Kind, connections: usize, time: Duration) {
    let mut runs: [Vec<Measured>; 4] = Default::default();
    for _round in 0..ROUNDS {
        for (way, runs) in ways.iter().zip(&mut runs) {
            let load = Load {
                address: way.address,
                model: way.model,
                kind,
                connections,
                time,
            };
            runs.push(load.run());
        }
    }
    let medians = runs.map(Measured::median);
    for (way, measured) in ways.iter().zip(&medians) {
        println!(
            "| {} | {connections} | {} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.3} |",
            kind.name(),
            way.name,
            measured.p50_us,
            measured.p99_us,
            measured.p50_us - medians[0].p50_us,
            measured.p99_us - medians[0].p99_us,
            measured.per_second,
            measured.per_second / medians[0].per_second,
        );
    }
}
