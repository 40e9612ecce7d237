//! How long a routing decision takes: by tier and length, and by the number of categories.
//!
//! ```text
//! cargo bench --bench router -- [--routes DIR] [--static DIR] [built-in] [tiers] [categories]
//! ```
//! Without a name, all of them. `built-in` fails where opening the artefact of the built-in router takes too long.
//! Routers are trained on the examples of `--routes DIR` (default `routes`); with `--static DIR` the cheap tier reads that
//! static encoder too. Needs the models: `scripts/models`. How good decisions are is told by `coterie evaluate`.

#![expect(clippy::print_stdout, reason = "a bench reports on standard output")]

use std::{
    error::Error,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use coterie::{
    catalogue::{Catalogue, Route},
    config::{self, EncoderConfig, FeatureKind, Guard, RouterConfig, Sticky},
    ids::CategoryId,
    query::Query,
    router::{Router, artefact::Artefact},
    train::in_force,
};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng, seq::SliceRandom as _};

/// Decisions that are timed in each case.
const ITERATIONS_CHEAP: usize = 10_000;

/// The same of the full tier, which takes milliseconds for each.
const ITERATIONS_FULL: usize = 500;

/// How often an artefact is opened; the median counts.
const OPENINGS: usize = 9;

/// Opening the artefact of the built-in router takes less than this, the transformer aside: each command pays for it.
const OPENING_MAX: Duration = Duration::from_millis(100);

/// Tokens of the questions that are timed.
const LENGTHS: [usize; 3] = [20, 100, 400];

/// Tokens of the question by which numbers of categories are compared.
const LENGTH_COMPARED: usize = 20;

/// Three words of English have about four tokens.
const WORDS_IN_TOKENS: (usize, usize) = (3, 4);

/// What the cheap tier reads.
const CHEAP: [FeatureKind; 2] = [FeatureKind::Sparse, FeatureKind::Static];

/// What can be timed.
const NAMES: [&str; 3] = ["built-in", "tiers", "categories"];

/// Numbers of categories that are compared; the first is the measure of the others.
const CATEGORIES: [usize; 3] = [12, 100, 1000];

/// Rows of each made-up category.
const ROWS_PER_CATEGORY: usize = 8;

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let call = Call::read()?;
    if call.wants("built-in") {
        time_built_in(&call).await?;
    }
    if call.wants("tiers") {
        time_tiers(&call).await?;
    }
    if call.wants("categories") {
        time_categories(&call).await?;
    }
    Ok(())
}

async fn time_built_in(call: &Call) -> Outcome<()> {
    let built_in = Bench::built_in(call).await?;
    println!("the built-in router");
    let opening = built_in.time_opening().await?;
    for tokens in LENGTHS {
        let took = time_decisions(&built_in.router, tokens, ITERATIONS_FULL).await?;
        println!("  {tokens:>4} tokens, both tiers: {took}");
    }
    if opening >= OPENING_MAX {
        return Err(
            format!("its artefact is read in {opening:.1?}, not below {OPENING_MAX:?}").into(),
        );
    }
    Ok(())
}

async fn time_tiers(call: &Call) -> Outcome<()> {
    let catalogue = config::load_routes(&call.routes).map_err(|mistakes| mistakes.to_string())?;
    for (tier, features, iterations) in [
        ("cheap", &CHEAP[..], ITERATIONS_CHEAP),
        ("full", &[FeatureKind::Transformer], ITERATIONS_FULL),
    ] {
        println!("{tier} tier alone");
        let bench = Bench::train(call, features, &catalogue).await?;
        bench.time_opening().await?;
        for tokens in LENGTHS {
            let took = time_decisions(&bench.router, tokens, iterations).await?;
            println!("  {tokens:>4} tokens: {took}");
        }
    }
    Ok(())
}

async fn time_categories(call: &Call) -> Outcome<()> {
    let mut first = None;
    println!("cheap tier by the number of categories, {LENGTH_COMPARED} tokens");
    for categories in CATEGORIES {
        let bench = Bench::train(call, &CHEAP, &made_up(categories)).await?;
        let took = time_decisions(&bench.router, LENGTH_COMPARED, ITERATIONS_CHEAP).await?;
        let times = took.p50.as_secs_f64() / first.get_or_insert(took.p50).as_secs_f64();
        println!("  {categories:>4} categories: {took}, {times:.2} times the first");
    }
    Ok(())
}

struct Call {
    models: PathBuf,
    routes: PathBuf,
    static_encoder: Option<PathBuf>,
    /// Of [`NAMES`]; empty: all.
    names: Vec<String>,
}

impl Call {
    #[expect(
        clippy::disallowed_methods,
        reason = "a bench finds the models as the configuration would"
    )]
    fn read() -> Outcome<Self> {
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
            static_encoder: None,
            names: Vec::new(),
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--routes" => call.routes = arguments.next().unwrap_or_default().into(),
                "--static" => call.static_encoder = arguments.next().map(PathBuf::from),
                name if NAMES.contains(&name) => call.names.push(argument),
                // Cargo adds it.
                "--bench" => {}
                other => return Err(format!("`{other}` is none of {NAMES:?}").into()),
            }
        }
        Ok(call)
    }

    fn wants(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|named| named == name)
    }

    fn router_config(&self, artefacts: &Path, features: &[FeatureKind]) -> RouterConfig {
        RouterConfig {
            encoder: EncoderConfig {
                name: "all-MiniLM-L6-v2".into(),
                model_dir: self.models.join("all-MiniLM-L6-v2"),
                runtime: self.models.join("onnxruntime/libonnxruntime.so"),
            },
            artefacts: artefacts.to_owned(),
            artefact: None,
            misroute_max: 0.05,
            features: features.to_vec(),
            static_encoder: self.static_encoder.clone(),
            sticky: Sticky::Off,
            guard: Guard::Off,
            instruction: None,
        }
    }
}

/// A router in a folder of its own.
struct Bench {
    router: Router,
    config: RouterConfig,
    _artefacts: tempfile::TempDir,
}

impl Bench {
    /// The router that is built in.
    async fn built_in(call: &Call) -> Outcome<Self> {
        let artefacts = tempfile::tempdir()?;
        let config = call.router_config(artefacts.path(), &FeatureKind::ALL);
        let router = in_force::at_start(&config, &config::embedded_routes()).await?;
        Ok(Self {
            router,
            config,
            _artefacts: artefacts,
        })
    }

    async fn train(call: &Call, features: &[FeatureKind], catalogue: &Catalogue) -> Outcome<Self> {
        let artefacts = tempfile::tempdir()?;
        let config = call.router_config(artefacts.path(), features);
        let started = Instant::now();
        let router = in_force::at_start(&config, catalogue).await?;
        println!(
            "  trained on {} rows in {:.1?}",
            router.artefact().manifest.training.rows,
            started.elapsed()
        );
        Ok(Self {
            router,
            config,
            _artefacts: artefacts,
        })
    }

    /// Times reading the artefact, and that with the encoder; the former is returned.
    async fn time_opening(&self) -> Outcome<Duration> {
        let folder = self.config.artefacts.join(self.router.id().as_str());
        let mut took = Vec::with_capacity(OPENINGS);
        for _ in 0..OPENINGS {
            let started = Instant::now();
            drop(Artefact::read(&folder)?);
            took.push(started.elapsed());
        }
        took.sort();
        let artefact = took[OPENINGS / 2];
        let started = Instant::now();
        drop(in_force::open(&self.config, &folder).await?);
        println!(
            "  artefact read in {artefact:.1?} (median of {OPENINGS}), opened with the transformer in {:.1?}",
            started.elapsed()
        );
        Ok(artefact)
    }
}

/// Categories with words of their own among words that all have.
fn made_up(categories: usize) -> Catalogue {
    let mut random = SmallRng::seed_from_u64(1);
    let mut example = |category: usize| -> String {
        let mut words = vec![format!("topic{category}"), format!("matter{category}")];
        words.extend((0..8).map(|_| format!("word{}", random.random_range(0..2000))));
        words.join(" ")
    };
    let routes = (0..categories).map(|category| Route {
        category: CategoryId::new(format!("c{category:04}")),
        description: String::new(),
        examples: (0..ROWS_PER_CATEGORY).map(|_| example(category)).collect(),
        negatives: Vec::new(),
    });
    Catalogue {
        routes: routes.collect(),
        ..Catalogue::default()
    }
}

/// Quantiles of the time of a decision.
struct Took {
    p50: Duration,
    p99: Duration,
}

impl std::fmt::Display for Took {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let us = |duration: Duration| duration.as_secs_f64() * 1e6;
        write!(
            f,
            "p50 {:>8.1} µs, p99 {:>8.1} µs",
            us(self.p50),
            us(self.p99)
        )
    }
}

/// So many different questions of about so many tokens: pieces of the shipped routes' examples, one behind the other in any order.
fn questions(count: usize, tokens: usize) -> Vec<String> {
    let mut random = SmallRng::seed_from_u64(2);
    let routes = config::embedded_routes().routes.into_iter();
    let mut examples: Vec<String> = routes.flat_map(|route| route.examples).collect();
    examples.shuffle(&mut random);
    let words: Vec<&str> = examples
        .iter()
        .flat_map(|text| text.split_whitespace())
        .collect();
    let words_each = tokens * WORDS_IN_TOKENS.0 / WORDS_IN_TOKENS.1;
    let question = |_| {
        let from = random.random_range(0..words.len());
        let from_there = words.iter().cycle().skip(from).take(words_each);
        from_there.copied().collect::<Vec<_>>().join(" ")
    };
    (0..count).map(question).collect()
}

/// Times the whole path from a text to the verdict, one question after the other, once as many others have gone before.
async fn time_decisions(router: &Router, tokens: usize, iterations: usize) -> Outcome<Took> {
    let mut took = Vec::with_capacity(iterations);
    for (iteration, text) in questions(2 * iterations, tokens).iter().enumerate() {
        let started = Instant::now();
        let query = Query::from_text(text);
        router.classify(&query).await?;
        if iteration >= iterations {
            took.push(started.elapsed());
        }
    }
    took.sort();
    let quantile = |percent: usize| took[(took.len() - 1) * percent / 100];
    Ok(Took {
        p50: quantile(50),
        p99: quantile(99),
    })
}
