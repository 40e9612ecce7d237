//! How long a routing decision takes, and how good decisions are.
//!
//! ```text
//! cargo bench --bench router                              decision time at 20, 100 and 400 tokens
//! cargo bench --bench router -- --labels F.jsonl …        accuracy, and what each threshold would do
//! ```
//! The head is fitted on the examples of `--routes DIR` (default `routes`). Needs the models: `scripts/models`.

#![expect(clippy::print_stdout, reason = "a bench reports on standard output")]

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use coterie::{
    catalogue::{Catalogue, Route},
    chat::ChatRequest,
    config::{EncoderConfig, RouterConfig, Sticky},
    ids::{CategoryId, OUT_OF_DOMAIN},
    query::Query,
    router::{
        Router,
        head::{FitOptions, Head},
    },
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use serde::Deserialize;
use serde_json::json;

/// Decisions that are timed at each length.
const ITERATIONS: usize = 500;

/// Decisions before the clock starts.
const WARM_UP: usize = 20;

/// Labelled questions that are asked at once: fills the encoder's batches, but not its queue.
const QUESTIONS_AT_ONCE: usize = 48;

/// Thresholds that are compared.
const THRESHOLDS: [f32; 10] = [0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7];

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let call = Call::read();
    let artefacts = tempfile::tempdir()?;
    let opening = Instant::now();
    let router = Router::open(
        &call.router_config(artefacts.path()),
        &catalogue(&call.routes)?,
    )
    .await?;
    println!(
        "opened and fitted in {:?}: {:?}",
        opening.elapsed(),
        router.artefact().report
    );
    let opening = Instant::now();
    drop(
        Router::open(
            &call.router_config(artefacts.path()),
            &catalogue(&call.routes)?,
        )
        .await?,
    );
    println!("opened from the artefact in {:?}", opening.elapsed());
    if call.labels.is_empty() {
        time_fit(router.artefact().report.rows, router.categories().len())?;
        for tokens in [20, 100, 400] {
            time_decisions(&router, tokens).await?;
        }
    }
    for labels in &call.labels {
        println!("\n{}", labels.display());
        Scored::all(&router, labels).await?.report();
    }
    Ok(())
}

/// Times the fit alone, on as many rows as the routes have examples, in loose clusters.
fn time_fit(rows: usize, classes: usize) -> Outcome<()> {
    let mut random = SmallRng::seed_from_u64(1);
    let mut vector =
        || -> Vec<f32> { (0..384).map(|_| random.random_range(-0.05..0.05)).collect() };
    let centres: Vec<_> = (0..classes).map(|_| vector()).collect();
    let labels: Vec<usize> = (0..rows).map(|row| row % classes).collect();
    let rows: Vec<Vec<f32>> = labels
        .iter()
        .map(|label| {
            centres[*label]
                .iter()
                .zip(vector())
                .map(|(centre, off)| centre * 0.5 + off)
                .collect()
        })
        .collect();
    let start = Instant::now();
    let report = Head::fit(&rows, &labels, classes, &FitOptions::default())?.report;
    println!(
        "fit of {} rows alone: {:?}, {report:?}",
        rows.len(),
        start.elapsed()
    );
    Ok(())
}

struct Call {
    models: PathBuf,
    routes: PathBuf,
    labels: Vec<PathBuf>,
}

impl Call {
    #[expect(
        clippy::disallowed_methods,
        reason = "a bench finds the models as the configuration would"
    )]
    fn read() -> Self {
        let store = || {
            directories::ProjectDirs::from("", "", "coterie")
                .map(|dirs| dirs.cache_dir().join("models"))
        };
        let models = std::env::var_os("COTERIE_MODELS_DIR")
            .map(PathBuf::from)
            .or_else(store);
        let mut call = Self {
            models: models.unwrap_or_default(),
            routes: "routes".into(),
            labels: Vec::new(),
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--routes" => call.routes = arguments.next().unwrap_or_default().into(),
                // What cargo itself adds.
                "--bench" | "--labels" => {}
                file => call.labels.push(file.into()),
            }
        }
        call
    }

    fn router_config(&self, artefacts: &Path) -> RouterConfig {
        RouterConfig {
            encoder: EncoderConfig {
                name: "all-MiniLM-L6-v2".into(),
                model_dir: self.models.join("all-MiniLM-L6-v2"),
                runtime: self.models.join("onnxruntime/libonnxruntime.so"),
            },
            artefacts: artefacts.to_owned(),
            confidence_min: 0.0,
            sticky: Sticky::Off,
        }
    }
}

fn catalogue(dir: &Path) -> Outcome<Catalogue> {
    #[derive(Deserialize)]
    struct File {
        description: String,
        examples: Vec<String>,
    }
    let mut routes = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        if let (Some(stem), Some("yaml")) = (stem, path.extension().and_then(|e| e.to_str())) {
            let file: File = serde_saphyr::from_str(&fs::read_to_string(&path)?)?;
            routes.push(Route {
                category: CategoryId::new(stem),
                description: file.description,
                examples: file.examples,
            });
        }
    }
    routes.sort_by(|a, b| a.category.cmp(&b.category));
    Ok(Catalogue { routes })
}

/// Times the whole path from the text of a conversation to the verdict, one question after the other.
async fn time_decisions(router: &Router, tokens: usize) -> Outcome<()> {
    let text = "the cat sat on a mat and saw the dog run by ".repeat(tokens);
    let text = text.split_inclusive(' ').take(tokens).collect::<String>();
    let mut took = Vec::with_capacity(ITERATIONS);
    for iteration in 0..WARM_UP + ITERATIONS {
        let start = Instant::now();
        let query = Query::from_text(&text);
        router.classify(&query).await?;
        if iteration >= WARM_UP {
            took.push(start.elapsed());
        }
    }
    took.sort();
    let quantile = |percent: usize| -> Duration { took[(took.len() - 1) * percent / 100] };
    println!(
        "{tokens:>4} tokens: p50 {:>6} µs, p99 {:>6} µs",
        quantile(50).as_micros(),
        quantile(99).as_micros()
    );
    Ok(())
}

/// One labelled question with the router's answer.
struct Scored {
    label: String,
    best: CategoryId,
    confidence: f32,
}

struct Report(Vec<Scored>);

impl Scored {
    async fn all(router: &Router, labels: &Path) -> Outcome<Report> {
        #[derive(Deserialize)]
        struct Row {
            text: Option<String>,
            messages: Option<serde_json::Value>,
            category: String,
        }
        let text = fs::read_to_string(labels)?;
        let mut rows = Vec::new();
        for line in text.lines() {
            let row: Row = serde_json::from_str(line)?;
            let query = match (row.text, row.messages) {
                (Some(text), _) => Query::from_text(&text),
                (None, messages) => {
                    let request = json!({"model": "coterie", "messages": messages});
                    Query::from_messages(&ChatRequest::parse(request)?.messages)
                }
            };
            rows.push((query, row.category));
        }
        let scored: Vec<Self> = stream::iter(rows)
            .map(|(query, label)| async move {
                let verdict = router.classify(&query).await?;
                let best = verdict
                    .scores
                    .into_iter()
                    .next()
                    .ok_or("an empty question")?;
                Ok::<_, Box<dyn Error>>(Self {
                    label,
                    best: best.category,
                    confidence: best.probability,
                })
            })
            .buffer_unordered(QUESTIONS_AT_ONCE)
            .try_collect()
            .await?;
        Ok(Report(scored))
    }

    fn is_right(&self) -> bool {
        self.best.as_str() == self.label
    }
}

impl Report {
    fn report(&self) {
        let (outside, inside): (Vec<_>, Vec<_>) =
            self.0.iter().partition(|row| row.label == OUT_OF_DOMAIN);
        let right = inside.iter().filter(|row| row.is_right()).count();
        let share = |part: usize, of: usize| part as f64 / of.max(1) as f64;
        println!(
            "{} in-domain rows, accuracy {:.3}",
            inside.len(),
            share(right, inside.len())
        );
        if !outside.is_empty() {
            let auroc = auroc(&inside, &outside);
            println!(
                "{} out-of-domain rows, AUROC of the confidence {auroc:.3}",
                outside.len()
            );
        }
        println!("mean confidence in-domain {:.3}", mean(&inside));
        println!("threshold  routed  misrouted of routed  out-of-domain refused");
        for threshold in THRESHOLDS {
            let routed: Vec<_> = inside
                .iter()
                .filter(|row| row.confidence >= threshold)
                .collect();
            let wrong = routed.iter().filter(|row| !row.is_right()).count();
            let refused = outside
                .iter()
                .filter(|row| row.confidence < threshold)
                .count();
            println!(
                "{threshold:>9.2}  {:>6.3}  {:>19.3}  {:>21.3}",
                share(routed.len(), inside.len()),
                share(wrong, routed.len()),
                share(refused, outside.len())
            );
        }
        let mut categories: Vec<&str> = inside.iter().map(|row| row.label.as_str()).collect();
        categories.sort_unstable();
        categories.dedup();
        for category in categories {
            let rows: Vec<_> = inside.iter().filter(|row| row.label == category).collect();
            let right = rows.iter().filter(|row| row.is_right()).count();
            println!(
                "{category:>20} {:>5} rows, recall {:.3}",
                rows.len(),
                share(right, rows.len())
            );
        }
    }
}

fn mean(rows: &[&Scored]) -> f64 {
    rows.iter()
        .map(|row| f64::from(row.confidence))
        .sum::<f64>()
        / rows.len().max(1) as f64
}

/// The chance that an in-domain question gets more confidence than one from outside.
fn auroc(inside: &[&Scored], outside: &[&Scored]) -> f64 {
    let pairs = inside
        .iter()
        .flat_map(|inner| outside.iter().map(move |outer| (inner, outer)));
    let points: f64 = pairs
        .map(
            |(inner, outer)| match inner.confidence.total_cmp(&outer.confidence) {
                std::cmp::Ordering::Greater => 1.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Less => 0.0,
            },
        )
        .sum();
    points / (inside.len() * outside.len()).max(1) as f64
}
