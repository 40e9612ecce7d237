//! How fast local models read and answer, end to end through the expert.
//!
//! `cargo bench --bench local -- [FILE.gguf…]`; without files, every GGUF file in the model store under the user's
//! cache folder. Prints the best of [`ROUNDS`] rounds of a long and a short prompt each.
#![expect(
    clippy::print_stdout,
    reason = "a benchmark's result is what it prints"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use coterie::{
    chat::ChatRequest,
    expert::{Answer, Expert, local::LocalExpert},
    ids::ExpertId,
};
use futures_util::StreamExt;
use serde_json::json;

/// Rounds of which the fastest counts: the others measure what else the machine was doing.
const ROUNDS: u32 = 5;

/// Tokens of each answer.
const ANSWER_TOKENS: u32 = 128;

/// Sentences of the short and of the long prompt; each is about 12 tokens.
const SENTENCES: [usize; 3] = [4, 32, 128];

/// What one answer cost.
#[derive(Clone, Copy)]
struct Round {
    prompt_tokens: u64,
    prompt_time: Duration,
    answer_tokens: u64,
    answer_time: Duration,
}

fn main() {
    let named: Vec<PathBuf> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .map(PathBuf::from)
        .collect();
    let files = if named.is_empty() { stored() } else { named };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    for file in &files {
        runtime.block_on(measure(file));
    }
}

async fn measure(file: &Path) {
    let started = Instant::now();
    let expert = LocalExpert::load(ExpertId::new("bench"), file, None, 1).unwrap();
    let loaded = started.elapsed();
    println!("{}", file.display());
    println!(
        "  {:?}, loaded in {loaded:.2?}, {}",
        expert.card(),
        resident()
    );
    for sentences in SENTENCES {
        let mut rounds = Vec::new();
        for round in 0..ROUNDS {
            rounds.push(ask(&expert, round, sentences).await);
        }
        let best_of = |rate: fn(&Round) -> f64| rounds.iter().map(rate).fold(0.0, f64::max);
        println!(
            "  {} prompt tokens: {:.0} prompt tokens/s, {:.1} answer tokens/s, {}",
            rounds[0].prompt_tokens,
            best_of(|round| round.prompt_tokens as f64 / round.prompt_time.as_secs_f64()),
            best_of(|round| (round.answer_tokens - 1) as f64 / round.answer_time.as_secs_f64()),
            resident(),
        );
    }
}

/// Asks a question that no earlier round has begun with, so that nothing of it has been read before.
async fn ask(expert: &LocalExpert, round: u32, sentences: usize) -> Round {
    let sentence = "The lighthouse keeper wrote down every ship that passed the cape. ";
    let request = json!({
        "model": "bench",
        "messages": [
            {"role": "system", "content": format!("Round {round}.")},
            {"role": "user", "content": format!("{}Tell the story of the keeper.", sentence.repeat(sentences))},
        ],
        "temperature": 0.8, "seed": round, "frequency_penalty": 0.5, "max_tokens": ANSWER_TOKENS, "stream": true,
    });
    let request = Arc::new(ChatRequest::parse(request).unwrap());
    let asked = Instant::now();
    let Answer::Stream(mut chunks) = expert.answer(request).await.unwrap() else {
        unreachable!("a stream was asked for")
    };
    let prompt_time = asked.elapsed();
    let mut usage = None;
    while let Some(chunk) = chunks.next().await {
        usage = usage.or(chunk.unwrap().usage());
    }
    let usage = usage.unwrap();
    Round {
        prompt_tokens: usage.prompt_tokens,
        prompt_time,
        answer_tokens: usage.completion_tokens,
        answer_time: asked.elapsed() - prompt_time,
    }
}

fn stored() -> Vec<PathBuf> {
    let store = directories::BaseDirs::new()
        .unwrap()
        .cache_dir()
        .join("coterie/models");
    let folders = fs::read_dir(&store).into_iter().flatten().flatten();
    let files = folders.filter_map(|folder| fs::read_dir(folder.path()).ok());
    let mut files: Vec<_> = files
        .flatten()
        .flatten()
        .map(|file| file.path())
        .filter(|file| {
            file.extension()
                .is_some_and(|extension| extension == "gguf")
        })
        .collect();
    files.sort();
    files
}

/// Memory that the process holds, where the system tells.
fn resident() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    format!("resident {}", line.map_or("unknown", str::trim))
}
