//! What Coterie adds to a provider: latency and requests per second over a mock upstream, plain and streamed, with 1
//! and 32 connections, as ratios to the mock alone; then resident memory, cold start and the binary's size.
//!
//! `cargo bench --bench gateway [-- SECONDS_PER_RUN]`. Mock, load and Coterie share the machine, so that only ratios
//! between runs of one call mean anything; runs are interleaved and medians reported.

#![expect(
    clippy::print_stdout,
    reason = "a bench tells its figures on standard output"
)]

mod load;
mod mock;
mod subject;

use std::{net::SocketAddr, time::Duration};

use load::{Kind, Load, Measured};
use subject::Subject;

const ROUNDS: usize = 5;
const CONNECTIONS: [usize; 2] = [1, 32];

/// What is measured: the address asked and the model named.
struct Way {
    name: &'static str,
    address: SocketAddr,
    model: &'static str,
}

fn main() {
    let seconds = std::env::args()
        .filter_map(|arg| arg.parse().ok())
        .next()
        .unwrap_or(2.0);
    let time = Duration::from_secs_f64(seconds);
    let mock = mock::start();
    let subject = Subject::start(mock);
    let ways = [
        Way {
            name: "mock alone",
            address: mock,
            model: "mock",
        },
        Way {
            name: "expert named",
            address: subject.address,
            model: "mock",
        },
        Way {
            name: "routed",
            address: subject.address,
            model: "coterie",
        },
    ];
    println!(
        "| answer | connections | way | p50 µs | p99 µs | requests/s | p50 ÷ mock | requests/s ÷ mock |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for kind in [Kind::Plain, Kind::Streamed] {
        for connections in CONNECTIONS {
            compare(&ways, kind, connections, time);
        }
    }
    println!();
    subject.report();
}

fn compare(ways: &[Way; 3], kind: Kind, connections: usize, time: Duration) {
    let mut runs: [Vec<Measured>; 3] = Default::default();
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
            "| {} | {connections} | {} | {:.0} | {:.0} | {:.0} | {:.2} | {:.3} |",
            kind.name(),
            way.name,
            measured.p50_us,
            measured.p99_us,
            measured.per_second,
            measured.p50_us / medians[0].p50_us,
            measured.per_second / medians[0].per_second,
        );
    }
}
