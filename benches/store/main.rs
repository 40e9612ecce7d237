//! What a million outcomes take: to write, to ask for, to prune, to export and to bring in again.
//!
//! ```text
//! cargo bench --bench store [-- --rows N]
//! ```
//! Fills a store (a tenth of the outcomes with feedback, a hundredth with a label), and tells its size, the rate of writing,
//! the time of the queries by time, category and expert, of what learning reads, of a retraining, both exports and imports with
//! the memory that they took, and of a prune of nine tenths with the longest wait of a writer beside it. Once all is told it fails
//! where something took more than is promised ([`promises`]).
//!
//! The retraining is a dry run without the transformer: its readings of the rows take as long as the machine is slow at them,
//! however many outcomes there are, and are kept for the next time; the rest is what grows with the store.

#![expect(clippy::print_stdout, reason = "a bench reports on standard output")]

mod program;
mod promises;
mod traffic;

use std::{
    error::Error,
    fs,
    time::{Duration, Instant},
};

use coterie::{
    learning::retrain::STATEMENTS_MAX,
    store::{Store, TooOld},
    transfer::Selection,
};
use rand::RngExt as _;

use program::Program;
use promises::{Promises, QUERY_MAX, WRITE_MAX};
use traffic::{Traffic, asked_at_ms, category, expert, id};

/// As many as the recorder's writer writes at once.
const BATCH: usize = 256;

/// Rows of one page, as a person would look at.
const PAGE: u32 = 100;

/// How often each query is asked, at a place of its own.
const QUERIES: usize = 400;

type Done<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Done<()> {
    let rows = rows()?;
    let mut promises = Promises::default();
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("coterie.db");
    let store = Store::open(&path).await?;
    fill(&store, rows).await?;
    size(&store, rows).await?;
    let mut made_up = Traffic::new(9);
    queries(&store, rows, &mut made_up, &mut promises).await?;
    let started = Instant::now();
    let gathered = store.evidence(STATEMENTS_MAX).await?;
    let outcomes = gathered.evidence.len();
    tell(
        "what learning reads",
        format!("{outcomes} outcomes in {:.2?}", started.elapsed()),
    );
    drop(gathered);
    store.close().await?;

    let program = Program::over(&folder)?;
    program.retrain(&mut promises)?;
    program.export(rows)?;

    let store = Store::open(&path).await?;
    prune(&store, rows, &mut made_up, &mut promises).await?;
    store.close().await?;
    tell(
        "file after the prune",
        mebibytes(fs::metadata(&path)?.len()),
    );
    promises.kept()
}

fn rows() -> Done<usize> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let at = args.iter().position(|arg| arg == "--rows");
    match at.and_then(|at| args.get(at + 1)) {
        Some(rows) => Ok(rows.parse()?),
        None => Ok(1_000_000),
    }
}

fn tell(what: &str, found: impl std::fmt::Display) {
    println!("{what:42} {found}");
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn mebibytes(bytes: u64) -> String {
    format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20))
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn rate(rows: usize, took: Duration) -> String {
    format!(
        "{:.1} s, {:.0} outcomes/s",
        took.as_secs_f64(),
        rows as f64 / took.as_secs_f64()
    )
}

async fn fill(store: &Store, rows: usize) -> Done<()> {
    let mut made_up = Traffic::new(7);
    let mut writing = Duration::ZERO;
    let mut at = 0;
    while at < rows {
        let batch: Vec<_> = (at..rows.min(at + BATCH))
            .map(|at| made_up.outcome(at))
            .collect();
        let started = Instant::now();
        store.write(&batch).await?;
        writing += started.elapsed();
        at += batch.len();
    }
    tell("written, in batches of 256", rate(rows, writing));
    let started = Instant::now();
    for at in (0..rows).step_by(10) {
        store.add_feedback(&made_up.feedback(at)).await?;
    }
    tell(
        "feedback, one by one",
        rate(rows.div_ceil(10), started.elapsed()),
    );
    let labels: Vec<_> = (5..rows).step_by(100).map(|at| made_up.label(at)).collect();
    for some in labels.chunks(BATCH) {
        store.add_labels(some).await?;
    }
    Ok(())
}

async fn size(store: &Store, rows: usize) -> Done<()> {
    let started = Instant::now();
    let count = store.count().await?;
    assert_eq!(count, rows as u64);
    tell("all counted", format!("{:.1?}", started.elapsed()));
    let bytes = fs::metadata(store.path())?.len();
    tell(
        "file",
        format!(
            "{}, {} bytes an outcome",
            mebibytes(bytes),
            bytes / rows as u64
        ),
    );
    Ok(())
}

async fn queries(
    store: &Store,
    rows: usize,
    made_up: &mut Traffic,
    promises: &mut Promises,
) -> Done<()> {
    for (what, by) in [
        ("a page by time", (false, false)),
        ("a page by category", (true, false)),
        ("a page by expert", (false, true)),
        ("a page by category and expert", (true, true)),
    ] {
        let mut took = Vec::with_capacity(QUERIES);
        for _ in 0..QUERIES {
            let at = made_up.random.random_range(0..rows);
            let selection = Selection {
                since_ms: Some(asked_at_ms(at)),
                until_ms: None,
                category: by.0.then(|| category(at).to_string()),
                expert: by.1.then(|| expert(at / 7).to_string()),
            };
            let started = Instant::now();
            store.page(&selection, None, PAGE).await?;
            took.push(started.elapsed());
        }
        tell(
            &format!("{what}, {PAGE} outcomes, p50 p99"),
            quantiles(&mut took),
        );
        promises.less(
            &format!("the slowest hundredth of {what}"),
            percentile(&took, 99),
            QUERY_MAX,
        );
    }
    let mut took = Vec::with_capacity(QUERIES);
    for _ in 0..QUERIES {
        let id = id(made_up.random.random_range(0..rows));
        let started = Instant::now();
        store.outcome(&id).await?;
        took.push(started.elapsed());
    }
    tell("one by its id, p50 p99", quantiles(&mut took));
    Ok(())
}

/// Sorts what was measured.
fn quantiles(took: &mut [Duration]) -> String {
    took.sort_unstable();
    format!("{:.2?} {:.2?}", percentile(took, 50), percentile(took, 99))
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

/// Prunes nine tenths, while another writes an outcome at a time.
async fn prune(
    store: &Store,
    rows: usize,
    made_up: &mut Traffic,
    promises: &mut Promises,
) -> Done<()> {
    let before_ms = asked_at_ms(rows / 10 * 9);
    let too_old = TooOld {
        before_ms,
        labelled_before_ms: i64::MIN,
    };
    let started = Instant::now();
    let mut pruning = std::pin::pin!(store.prune(too_old));
    let mut waits = Vec::new();
    let pruned = loop {
        let outcome = made_up.outcome(rows + waits.len());
        let asked = Instant::now();
        let batch = [outcome];
        let mut writing = std::pin::pin!(store.write(&batch));
        let mut ended = None;
        tokio::select! {
            pruned = &mut pruning => ended = Some(pruned?),
            written = &mut writing => written?,
        }
        if let Some(pruned) = ended {
            writing.await?;
            break pruned;
        }
        waits.push(asked.elapsed());
        if waits.len() % 16 == 0 {
            tokio::task::yield_now().await;
        }
    };
    let took = started.elapsed();
    let found = format!(
        "{}, {} deleted, {} reduced",
        rate(rows / 10 * 9, took),
        pruned.deleted,
        pruned.reduced
    );
    tell("prune of nine tenths, with its vacuum", found);
    let written = waits.len();
    let quantiles = quantiles(&mut waits);
    let longest = percentile(&waits, 100);
    let found = format!("{quantiles} {longest:.0?} ({written} written)");
    tell("a write meanwhile, p50 p99 longest", found);
    promises.less(
        "the longest write beside a prune and its vacuum",
        longest,
        WRITE_MAX,
    );
    Ok(())
}
