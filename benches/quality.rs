//! What predicting experts' scores adds to a decision.
//!
//! ```text
//! cargo bench --bench quality [-- FILE.quality.safetensors]
//! ```
//! Times the quality model of a file, or one that is fitted on made-up scores of eight experts, on questions of 20, 100 and
//! 400 words. The time of a prediction depends on the question and on the number of experts, not on what was learnt.

#![expect(clippy::print_stdout, reason = "a bench reports on standard output")]

use std::{
    error::Error,
    fs,
    hint::black_box,
    io::Write as _,
    time::{Duration, Instant},
};

use coterie::{
    config::{Prefer, Preference},
    mapping::{
        Quality, QualityModel, Question,
        fit::{
            Options, models,
            outcomes::{self, Texts},
        },
        quality::worth,
    },
};

const EXPERTS: usize = 8;
const ROWS: usize = 400;
const CATEGORY: &str = "sums";

const WARM_UP: usize = 200;
const ITERATIONS: usize = 2_000;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    // What else is there, cargo adds.
    let file = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'));
    let model = match file {
        Some(file) => QualityModel::from_bytes(&fs::read(file)?)?,
        None => made_up()?,
    };
    println!("{} experts", model.experts().len());
    for words in [20, 100, 400] {
        let (p50, p99) = time(&model, words);
        println!("{words:>4} words: p50 {p50:>8.1?}, p99 {p99:>8.1?}");
    }
    Ok(())
}

fn made_up() -> Outcome<QualityModel> {
    let mut file = tempfile::NamedTempFile::new()?;
    for row in 0..ROWS {
        let scores: Vec<String> = (0..EXPERTS)
            .map(|expert| format!(r#""e{expert}": {}"#, u8::from((row + expert) % 3 > 0)))
            .collect();
        writeln!(
            file,
            r#"{{"id": "{row}", "prompt": "{}", "category": "{CATEGORY}", "scores": {{{}}}}}"#,
            text(8 + row % 60),
            scores.join(", ")
        )?;
    }
    let options = outcomes::Options {
        by: Some("category".into()),
        texts: Texts::Keep,
        ..outcomes::Options::default()
    };
    let outcomes = outcomes::read(&[file.path().to_owned()], &options)?;
    let fitted = worth::fit(
        &outcomes,
        &models::Models::new(),
        &Options::default(),
        &|| (),
    )?;
    Ok(fitted.model)
}

fn text(words: usize) -> String {
    let some = "the cat sat on 12 mats and saw (x + 7) dogs run by ".repeat(words);
    some.split_inclusive(' ').take(words).collect()
}

/// The median and the 99th percentile.
fn time(model: &QualityModel, words: usize) -> (Duration, Duration) {
    let text = text(words);
    let question = Question {
        text: &text,
        category: model.categories().first(),
        prefer: Prefer::Word(Preference::Balanced),
    };
    let mut took: Vec<Duration> = (0..WARM_UP + ITERATIONS)
        .map(|_| {
            let started = Instant::now();
            black_box(Quality::predict(model, black_box(&question)));
            started.elapsed()
        })
        .skip(WARM_UP)
        .collect();
    took.sort();
    (took[ITERATIONS / 2], took[ITERATIONS * 99 / 100])
}
