//! What a million outcomes take: to write, to ask for, to prune, to export and to bring in again.
//!
//! ```text
//! cargo bench --bench store [-- --rows N]
//! ```
//! Fills a store (a tenth of the outcomes with feedback, a hundredth with a label), and tells its size, the rate of writing,
//! the time of the queries by time, category and expert, of what learning reads, of both exports and an import with the
//! memory that they took, and of a prune of nine tenths with the longest wait of a writer beside it.

#![expect(clippy::print_stdout, reason = "a bench reports on standard output")]

use std::{
    error::Error,
    fs,
    path::Path,
    process::{Child, Command},
    time::{Duration, Instant},
};

use coterie::{
    config::{Prefer, Preference},
    decision::{Decision, Reason, Score},
    expert::{Attempt, Role},
    ids::{CategoryId, ExpertId, MappingId, RouterId},
    learning::{Label, Origin},
    mapping::Grounds,
    outcome::{Ask, Ending, Feedback, Outcome},
    store::{Store, TooOld},
    transfer::Selection,
};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use tempfile::TempDir;

const CATEGORIES: usize = 12;
const EXPERTS: usize = 5;

/// As many as the recorder's writer writes at once.
const BATCH: usize = 256;

/// Time between two outcomes, in milliseconds: a million in eleven days.
const APART_MS: i64 = 1000;

/// When the first was asked, milliseconds since 1970 UTC.
const BEGIN_MS: i64 = 1_780_000_000_000;

/// Rows of one page, as a person would look at.
const PAGE: u32 = 100;

/// How often each query is asked, at a place of its own.
const QUERIES: usize = 400;

/// Statements that learning reads at most.
const STATEMENTS: u32 = 1_000_000;

type Done<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Done<()> {
    let rows = rows()?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("coterie.db");
    let store = Store::open(&path).await?;
    fill(&store, rows).await?;
    size(&store, rows).await?;
    let mut made_up = Traffic::new(9);
    queries(&store, rows, &mut made_up).await?;
    let started = Instant::now();
    let evidence = store.evidence(STATEMENTS).await?;
    tell(
        "what learning reads",
        format!("{} outcomes in {:.2?}", evidence.len(), started.elapsed()),
    );
    drop(evidence);
    store.close().await?;

    exports(&folder, rows)?;

    let store = Store::open(&path).await?;
    prune(&store, rows, &mut made_up).await?;
    store.close().await?;
    tell(
        "file after the prune",
        mebibytes(fs::metadata(&path)?.len()),
    );
    Ok(())
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

async fn queries(store: &Store, rows: usize, made_up: &mut Traffic) -> Done<()> {
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

fn quantiles(took: &mut [Duration]) -> String {
    took.sort_unstable();
    let at = |share: usize| took[(took.len() * share / 100).min(took.len() - 1)];
    format!("{:.2?} {:.2?}", at(50), at(99))
}

/// Exports and imports by the program itself, whose memory is then its own.
fn exports(folder: &TempDir, rows: usize) -> Done<()> {
    let config = |name: &str, db: &str| -> Done<String> {
        let path = folder.path().join(name);
        let routes = Path::new(env!("CARGO_MANIFEST_DIR")).join("routes");
        let text = format!(
            "router: {{ routes: {} }}\nstore: {{ url: 'sqlite://{}' }}\nmapping: {{ default: general }}\n\
             experts: {{ general: {{ kind: remote, base_url: 'http://localhost:1/v1', model: m }} }}\n",
            routes.display(),
            folder.path().join(db).display()
        );
        fs::write(&path, text)?;
        Ok(path.display().to_string())
    };
    let from = config("from.yaml", "coterie.db")?;
    for format in ["jsonl", "parquet"] {
        let out = folder.path().join(format!("outcomes.{format}"));
        let out = out.display().to_string();
        let (took, peak) = run(&[
            "export", "--format", format, "--out", &out, "--config", &from,
        ])?;
        let size = mebibytes(fs::metadata(&out)?.len());
        tell(
            &format!("export, {format}"),
            format!("{}, {size}, {peak} at most", rate(rows, took)),
        );
        let to = config("to.yaml", &format!("{format}.db"))?;
        let (took, peak) = run(&["import", &out, "--config", &to])?;
        tell(
            &format!("import, {format}"),
            format!("{}, {peak} at most", rate(rows, took)),
        );
        fs::remove_file(folder.path().join(format!("{format}.db")))?;
        fs::remove_file(&out)?;
    }
    Ok(())
}

/// Runs the program; how long it took, and the most memory that it had.
fn run(args: &[&str]) -> Done<(Duration, String)> {
    let started = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_coterie"))
        .args(args)
        .spawn()?;
    let mut peak = String::new();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        peak = peak_memory(&child).unwrap_or(peak);
        std::thread::park_timeout(Duration::from_millis(5));
    };
    assert!(status.success(), "{args:?} failed");
    Ok((started.elapsed(), peak))
}

/// What the kernel calls the high-water mark of a process's resident memory; none once it has ended.
fn peak_memory(child: &Child) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(mebibytes(kibibytes << 10))
}

/// Prunes nine tenths, while another writes an outcome at a time.
async fn prune(store: &Store, rows: usize, made_up: &mut Traffic) -> Done<()> {
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
    let found = format!(
        "{} {:.0?} ({written} written)",
        quantiles(&mut waits),
        waits.last().copied().unwrap_or_default()
    );
    tell("a write meanwhile, p50 p99 longest", found);
    Ok(())
}

/// Made-up traffic, the same in each run.
struct Traffic {
    random: SmallRng,
}

fn asked_at_ms(at: usize) -> i64 {
    BEGIN_MS + i64::try_from(at).unwrap_or(i64::MAX) * APART_MS
}

/// As ids of version 7 are: they begin with the time.
fn id(at: usize) -> String {
    let mixed = (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let time = asked_at_ms(at).unsigned_abs();
    format!(
        "{:08x}-{:04x}-7{:03x}-8{:03x}-{:012x}",
        time >> 16,
        time & 0xffff,
        mixed >> 52,
        mixed >> 40 & 0xfff,
        mixed & 0xffff_ffff_ffff
    )
}

fn category(at: usize) -> CategoryId {
    CategoryId::new(format!("category_{}", at % CATEGORIES))
}

fn expert(at: usize) -> ExpertId {
    ExpertId::new(format!("expert-{}", at % EXPERTS))
}

impl Traffic {
    fn new(seed: u64) -> Self {
        Self {
            random: SmallRng::seed_from_u64(seed),
        }
    }

    /// Words of a made-up language, so many on average.
    fn text(&mut self, words: usize) -> String {
        let words = self.random.random_range(words / 2..words * 3 / 2);
        let mut text = String::new();
        for _ in 0..words {
            let letters = self.random.random_range(2..9);
            text.extend((0..letters).map(|_| char::from(self.random.random_range(b'a'..=b'z'))));
            text.push(' ');
        }
        text
    }

    fn outcome(&mut self, at: usize) -> Outcome {
        let scores = (0..CATEGORIES).map(|other| Score {
            category: category(at + other),
            probability: self.random.random::<f32>() / 12.0,
        });
        let scores = scores.collect();
        let decision = Decision {
            category: Some(category(at)),
            confidence: self.random.random(),
            scores,
            tier: None,
            reason: Reason::Routed,
            strangeness: Some(self.random.random()),
            instruction: None,
            session: None,
            expert: expert(at / 7),
            fallbacks: vec![expert(at + 1)],
            propensity: 1.0,
            grounds: Grounds::new(MappingId::new("m1"), Prefer::Word(Preference::Balanced)),
            router: RouterId::new("r1"),
            took: Duration::from_micros(self.random.random_range(40..900)),
        };
        Outcome {
            id: id(at),
            asked_at_ms: asked_at_ms(at),
            ask: Ask {
                key_name: Some(format!("team-{}", at % 20)),
                model: "coterie".into(),
                streamed: at.is_multiple_of(2),
                question: Some(self.text(20)),
                session: Some(format!("{:032x}", at / 3)),
            },
            decision,
            attempts: vec![Attempt::begun(expert(at / 7), Role::Answer)],
            answered_by: Some(expert(at / 7)),
            first_token: Some(Duration::from_micros(
                self.random.random_range(20_000..900_000),
            )),
            total: Duration::from_micros(self.random.random_range(900_000..9_000_000)),
            usage: None,
            cost_usd: Some(self.random.random()),
            ending: Ending::Completed,
            error: None,
            answer: Some(self.text(80)),
        }
    }

    fn feedback(&mut self, at: usize) -> Feedback {
        let says_category = self.random.random_range(0..4) == 0;
        Feedback {
            outcome_id: id(at),
            given_at_ms: asked_at_ms(at) + 60_000,
            score: Some(self.random.random()),
            category: says_category.then(|| category(at).to_string()),
            expert: None,
            comment: Some("It was fine.".into()),
            key_name: Some(format!("team-{}", at % 20)),
            judged_by: None,
        }
    }

    fn label(&mut self, at: usize) -> Label {
        Label {
            outcome_id: id(at),
            given_at_ms: asked_at_ms(at) + 90_000,
            category: category(at).to_string(),
            origin: Origin::Person,
            given_by: format!("person-{}", self.random.random_range(0..5)),
        }
    }
}
