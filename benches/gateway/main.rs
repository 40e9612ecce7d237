//! What Coterie adds to a provider, over a mock upstream, as differences from and ratios to the mock alone.
//!
//! `cargo bench --bench gateway [-- SECONDS_PER_RUN] [closed] [open] [paced] [beside] [losses] [--soak REQUESTS]`: without a
//! name, all parts.
//! - `closed`: latency and requests per second, plain and streamed, with 1 and 32 connections that ask again as soon as they
//!   were answered.
//! - `open`: latency where questions come at so many a second, whether or not those before were answered.
//! - `paced`: 512 streams at the pace of a model.
//! - `beside`: small requests beside a huge one.
//! - `losses`: outcomes that are lost when it is stopped or killed.
//! - `--soak`: resident memory while and after so many requests, and nothing else.
//!
//! Memory, cold start and the binary's size come at the end. Mock, load and Coterie share the machine, so that only comparisons
//! between runs of one call mean anything; runs are interleaved and medians reported.

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

use load::{Arrivals, Kind, Load, Measured};
use subject::{Mocks, Subject, Tiers};

const ROUNDS: usize = 5;

/// Connections of the closed loop.
const CONNECTIONS: [usize; 2] = [1, 32];

/// Questions a second of the open loop, and the connections that they come over.
const PER_SECOND: [u32; 3] = [1_000, 4_000, 10_000];
const OPEN_CONNECTIONS: usize = 64;

/// What is measured: the address asked and the model named.
struct Way {
    name: &'static str,
    address: SocketAddr,
    model: &'static str,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let seconds = arguments.iter().find_map(|arg| arg.parse().ok());
    let time = Duration::from_secs_f64(seconds.unwrap_or(2.0));
    let soak = arguments.iter().position(|arg| arg == "--soak");
    let soak = soak.and_then(|at| arguments.get(at + 1)?.parse().ok());
    let parts = ["closed", "open", "paced", "beside", "losses"];
    let is_named = |part: &str| arguments.iter().any(|argument| argument == part);
    let is_wanted = |part| is_named(part) || !parts.into_iter().any(is_named);
    let mocks = Mocks {
        usual: mock::start(),
        long: mock::start(),
    };
    let cheap = Subject::start(mocks, Tiers::Cheap);
    if let Some(requests) = soak {
        soaked(&cheap, requests);
        cheap.report();
        return;
    }
    let full = Subject::start(mocks, Tiers::Full);
    let way = |name, address, model| Way {
        name,
        address,
        model,
    };
    let alone = way("mock alone", mocks.usual, "mock");
    let named = way("expert named", cheap.address, "mock");
    let routed = way("routed, cheap tier", cheap.address, "coterie");
    let both = way("routed, both tiers", full.address, "coterie");
    if is_wanted("closed") {
        closed(&[&alone, &named, &routed, &both], time);
    }
    if is_wanted("open") {
        open(&[&alone, &routed], time);
    }
    if is_wanted("paced") {
        paced_streams([&named, &alone]);
    }
    if is_wanted("beside") {
        beside_huge(&routed, routed.address, time);
        beside_huge(&alone, mocks.long, time);
    }
    full.report();
    cheap.report();
    if is_wanted("losses") {
        losses(mocks);
    }
}

fn closed(ways: &[&Way], time: Duration) {
    println!(
        "| answer | connections | way | p50 µs | p99 µs | added p50 µs | added p99 µs | requests/s | requests/s ÷ mock |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for kind in [Kind::Plain, Kind::Streamed] {
        for connections in CONNECTIONS {
            let medians = compared(ways, |way| Load {
                address: way.address,
                model: way.model,
                kind,
                connections,
                arrivals: Arrivals::WhenAnswered,
                time,
            });
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
    }
    println!();
}

fn open(ways: &[&Way], time: Duration) {
    println!("| questions/s | way | answered/s | p50 µs | p99 µs | p99.9 µs |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for per_second in PER_SECOND {
        let medians = compared(ways, |way| Load {
            address: way.address,
            model: way.model,
            kind: Kind::Plain,
            connections: OPEN_CONNECTIONS,
            arrivals: Arrivals::PerSecond(per_second),
            time,
        });
        for (way, measured) in ways.iter().zip(&medians) {
            println!(
                "| {per_second} | {} | {:.0} | {:.0} | {:.0} | {:.0} |",
                way.name, measured.per_second, measured.p50_us, measured.p99_us, measured.p999_us,
            );
        }
    }
    println!();
}

/// The medians of each way's runs, which are taken in turns.
fn compared(ways: &[&Way], load: impl Fn(&Way) -> Load) -> Vec<Measured> {
    let mut runs: Vec<Vec<Measured>> = ways.iter().map(|_| Vec::new()).collect();
    for _round in 0..ROUNDS {
        for (way, runs) in ways.iter().zip(&mut runs) {
            runs.push(load(way).run());
        }
    }
    runs.into_iter().map(Measured::median).collect()
}

fn paced_streams(ways: [&Way; 2]) {
    for way in ways {
        let late = paced::run(way.address, way.model);
        println!(
            "512 streams paced at 20 ms a token, {}: chunks came {:.2} ms after they were sent (p50), {:.2} ms (p99), {:.1} ms at most",
            way.name, late.p50_ms, late.p99_ms, late.max_ms
        );
    }
}

fn beside_huge(way: &Way, huge_to: SocketAddr, time: Duration) {
    let [alone, beside] = beside::run(way.address, huge_to, way.model, time);
    println!(
        "small requests, 4 connections, {}: p99 {:.0} µs alone, {:.0} µs beside prompts of 10 MB ({:.2} times)",
        way.name,
        alone.p99_us,
        beside.p99_us,
        beside.p99_us / alone.p99_us
    );
}

fn losses(mocks: Mocks) {
    for signal in ["-TERM", "-KILL"] {
        let losses = losses::run(Subject::start(mocks, Tiers::Cheap), "coterie", signal);
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
            arrivals: Arrivals::WhenAnswered,
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
