//! How long a mapping of a thousand categories to a hundred experts takes to fit, and how much memory.
//!
//! ```text
//! cargo bench --bench mapping [-- --rows N] [-- --scores N] [-- --active B] [-- --resident B] [-- --keep F.jsonl]
//! ```
//! Writes made-up outcomes (`--rows` questions, by default a million, each with `--scores` experts tried, by default one),
//! reads them and fits, within `--active` and `--resident` billions of parameters if they are given. `--keep` leaves the
//! outcomes behind, and `F.models.json` beside them, for `coterie map fit --by category`.

#![expect(clippy::print_stdout, reason = "a bench reports on standard output")]

use std::{
    error::Error,
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
    time::Instant,
};

use coterie::mapping::fit::{
    self, Options, models, outcomes,
    solve::{self, Effort, Limits, Problem},
};
use ndarray::Array2;
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

const CATEGORIES: usize = 1_000;
const EXPERTS: usize = 100;

/// Sizes of the experts, in billions of parameters, over and over.
const SIZES_B: [f64; 10] = [1.5, 3.0, 7.0, 8.0, 14.0, 27.0, 32.0, 70.0, 72.0, 123.0];

/// How much experts differ everywhere, and in a category beside that.
const SKILL: f64 = 0.3;
const AFFINITY: f64 = 0.25;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let call = Call::read()?;
    let truth = Truth::new();
    truth.time_choices(&call.limits)?;
    let folder = tempfile::tempdir()?;
    let file = call
        .keep
        .clone()
        .unwrap_or_else(|| folder.path().join("outcomes.jsonl"));
    truth.write(&file, &call)?;
    let started = Instant::now();
    let options = outcomes::Options {
        by: Some("category".into()),
        ..outcomes::Options::default()
    };
    let outcomes = outcomes::read(std::slice::from_ref(&file), &options)?;
    let read = started.elapsed();
    let models = models::read(&file.with_extension("models.json"))?;
    let options = Options {
        limits: call.limits,
        ..Options::default()
    };
    let report = fit::fit(&outcomes, &models, &options)?;
    println!(
        "{} rows, {} scores: read in {read:.1?}, with the fit {:.1?}; {} MB at most",
        call.rows,
        call.rows * call.scores,
        started.elapsed(),
        resident_mb_max()?
    );
    println!("{}", report.in_words());
    Ok(())
}

struct Call {
    rows: usize,
    scores: usize,
    limits: Limits,
    keep: Option<PathBuf>,
}

impl Call {
    fn read() -> Outcome<Self> {
        let mut call = Self {
            rows: 1_000_000,
            scores: 1,
            limits: Limits::default(),
            keep: None,
        };
        let mut arguments = std::env::args().skip(1);
        // What else is there, cargo adds.
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().unwrap_or_default();
            match argument.as_str() {
                "--rows" => call.rows = value().parse()?,
                "--scores" => call.scores = value().parse::<usize>()?.min(EXPERTS),
                "--active" => call.limits.active_b = Some(value().parse()?),
                "--resident" => call.limits.resident_b = Some(value().parse()?),
                "--keep" => call.keep = Some(value().into()),
                _ => {}
            }
        }
        Ok(call)
    }
}

/// How likely experts are right, experts by categories.
struct Truth {
    right: Array2<f64>,
}

impl Truth {
    fn new() -> Self {
        let mut draw = SmallRng::seed_from_u64(1);
        let skill: Vec<f64> = (0..EXPERTS)
            .map(|_| 0.35 + SKILL * draw.random::<f64>())
            .collect();
        let right = Array2::from_shape_fn((EXPERTS, CATEGORIES), |(e, _)| {
            skill[e] + AFFINITY * (draw.random::<f64>() - 0.5)
        });
        Self { right }
    }

    /// The exact choice alone, as if the truth were known.
    fn time_choices(&self, asked: &Limits) -> Outcome<()> {
        let cases = [
            ("no limit", Limits::default()),
            (
                "20 B active",
                Limits {
                    active_b: Some(20.0),
                    ..Limits::default()
                },
            ),
            (
                "20 B active, $0.0004",
                Limits {
                    active_b: Some(20.0),
                    usd: Some(4e-4),
                    ..Limits::default()
                },
            ),
            (
                "200 B resident",
                Limits {
                    resident_b: Some(200.0),
                    ..Limits::default()
                },
            ),
            (
                "5 experts",
                Limits {
                    experts: Some(5),
                    ..Limits::default()
                },
            ),
            (
                "100 B resident, 10 B active",
                Limits {
                    active_b: Some(10.0),
                    resident_b: Some(100.0),
                    ..Limits::default()
                },
            ),
            (
                "5 experts, 10 B active",
                Limits {
                    active_b: Some(10.0),
                    experts: Some(5),
                    ..Limits::default()
                },
            ),
            ("as asked", *asked),
        ];
        for (name, limits) in cases {
            let problem = Problem {
                weights: vec![1.0 / CATEGORIES as f64; CATEGORIES],
                score: self.right.clone(),
                params_b: (0..EXPERTS).map(size_b).collect(),
                usd: Some(Array2::from_shape_fn(self.right.raw_dim(), |(e, c)| {
                    2e-5 * size_b(e) * (1.0 + (c % 7) as f64 / 7.0)
                })),
                allowed: Array2::from_elem(self.right.raw_dim(), true),
                limits,
            };
            let started = Instant::now();
            let found = solve::solve(&problem, Effort::Exact)
                .map_err(|infeasible| format!("{infeasible:?}"))?;
            println!(
                "exact choice, {name}: {:.0?}, at most {:.1e} from the optimum",
                started.elapsed(),
                found.gap
            );
        }
        Ok(())
    }

    fn write(&self, path: &Path, call: &Call) -> Outcome<()> {
        let mut draw = SmallRng::seed_from_u64(2);
        let mut file = BufWriter::new(File::create(path)?);
        for row in 0..call.rows {
            let category = draw.random_range(0..CATEGORIES);
            write!(
                file,
                r#"{{"id": "q{row}", "prompt": "Question {row}", "category": "c{category:04}", "scores": {{"#
            )?;
            let first = draw.random_range(0..EXPERTS);
            for at in 0..call.scores {
                let expert = (first + at) % EXPERTS;
                let right = u8::from(draw.random::<f64>() < self.right[[expert, category]]);
                let comma = if at == 0 { "" } else { ", " };
                write!(file, r#"{comma}"{}": {right}"#, name(expert))?;
            }
            writeln!(file, "}}}}")?;
        }
        file.flush()?;
        let sizes: serde_json::Map<String, serde_json::Value> =
            (0..EXPERTS).map(|e| (name(e), size_b(e).into())).collect();
        fs::write(
            path.with_extension("models.json"),
            serde_json::to_string(&sizes)?,
        )?;
        Ok(())
    }
}

fn name(expert: usize) -> String {
    format!("expert-{expert:02}")
}

/// No two experts are quite as large.
fn size_b(expert: usize) -> f64 {
    SIZES_B[expert % SIZES_B.len()] * (1.0 + expert as f64 / 1000.0)
}

/// The most memory that this process has had.
fn resident_mb_max() -> Outcome<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes: u64 = line
        .ok_or("no VmHWM")?
        .trim()
        .trim_end_matches(" kB")
        .parse()?;
    Ok(kilobytes / 1024)
}
