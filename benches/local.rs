//! How fast local models read and answer, end to end through the expert.
//!
//! `cargo bench --bench local -- [FILE.gguf…]`; without files, every GGUF file in the model store under the user's
//! cache folder. Prints the median of a few rounds for each length of prompt.
#![expect(
    clippy::print_stdout,
    reason = "a benchmark's result is what it prints"
)]

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use coterie::{
    chat::ChatRequest,
    config::load_routes,
    expert::{Answer, Call, Expert, local::LocalExpert},
    ids::ExpertId,
    instruction::{
        Mode,
        menu::Menu,
        prompt::{self, Means},
    },
};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::runtime;

/// Rounds of which the median counts.
const ROUNDS: u32 = 5;

/// Tokens of each answer.
const ANSWER_TOKENS: u32 = 128;

/// Sentences of the prompts; each is about 12 tokens.
const SENTENCES: [usize; 2] = [4, 32];

/// Decisions of which the median counts.
const DECISIONS: usize = 21;

/// Tokens of the question of a decision.
const QUESTION_TOKENS: u64 = 50;

/// What questions are made of.
const WORDS: [&str; 7] = ["how", "many", "boats", "are", "in", "the", "harbour"];

/// What one answer took.
struct Round {
    prompt_tokens: u64,
    prompt_time: Duration,
    answer_tokens: u64,
    answer_time: Duration,
}

fn main() -> Result<(), Box<dyn Error>> {
    let named: Vec<PathBuf> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .map(PathBuf::from)
        .collect();
    let files = if named.is_empty() { stored() } else { named };
    let runtime = runtime::Builder::new_current_thread().build()?;
    for file in &files {
        runtime.block_on(measure(file))?;
    }
    Ok(())
}

async fn measure(file: &Path) -> Result<(), Box<dyn Error>> {
    let started = Instant::now();
    let expert = LocalExpert::load(ExpertId::new("bench"), file, None, 1)?;
    println!("{}: {:?}", file.display(), expert.card());
    println!("  loaded in {:.1?}, {}", started.elapsed(), resident());
    for sentences in SENTENCES {
        let mut rounds = Vec::new();
        for round in 0..ROUNDS {
            rounds.push(ask(&expert, round, sentences).await?);
        }
        // An answer that ended early says little about speed.
        rounds.retain(|round| round.answer_tokens + 1 == u64::from(ANSWER_TOKENS));
        let median = |rate: fn(&Round) -> f64| {
            let mut rates: Vec<f64> = rounds.iter().map(rate).collect();
            rates.sort_by(f64::total_cmp);
            rates.get(rates.len() / 2).copied().unwrap_or(f64::NAN)
        };
        println!(
            "  after {} prompt tokens: reads {:.0} tokens/s, answers {:.1} tokens/s, {}",
            rounds.first().map_or(0, |round| round.prompt_tokens),
            median(|round| round.prompt_tokens as f64 / round.prompt_time.as_secs_f64()),
            median(|round| round.answer_tokens as f64 / round.answer_time.as_secs_f64()),
            resident(),
        );
    }
    decisions(&expert).await
}

/// What a decision of the instruction router takes whose question has fifty tokens, once the cards are read, beside the time
/// to read a prompt of fifty tokens; in turns.
async fn decisions(expert: &LocalExpert) -> Result<(), Box<dyn Error>> {
    let catalogue = load_routes(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/routes")));
    let menu = Menu::of(&catalogue.map_err(|mistakes| mistakes.to_string())?);
    let decision = |question: &str| prompt::body(Mode::Logprob, &menu, question, Means::Local);
    let plain = |text: &str| json!({"messages": [{"role": "user", "content": text}], "max_tokens": 1, "temperature": 0});
    let (_, bare) = timed(expert, decision("")).await?;
    let question = of_tokens(expert, &decision, bare + QUESTION_TOKENS).await?;
    let text = of_tokens(expert, &plain, QUESTION_TOKENS).await?;
    let (mut decided, mut read) = (Vec::new(), Vec::new());
    for round in 0..DECISIONS {
        // Another first word each time, so that nothing of it is read already.
        let (took, _) = timed(expert, decision(&format!("{round} {question}"))).await?;
        decided.push(took);
        let (took, _) = timed(expert, plain(&format!("{round} {text}"))).await?;
        read.push(took);
    }
    let [decided, read] = [decided, read].map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2]
    });
    println!(
        "  a decision on a question of {QUESTION_TOKENS} tokens: {decided:.0?}, reading a prompt of as many: {read:.0?}, ratio {:.2}",
        decided.as_secs_f64() / read.as_secs_f64()
    );
    Ok(())
}

/// A text with which a request has about so many tokens.
async fn of_tokens(
    expert: &LocalExpert,
    body: &impl Fn(&str) -> Value,
    tokens: u64,
) -> Result<String, Box<dyn Error>> {
    let mut words = WORDS.iter().cycle();
    let mut text = String::new();
    loop {
        let (_, found) = timed(expert, body(&format!("0 {text}"))).await?;
        let missing = tokens.saturating_sub(found);
        if missing == 0 {
            return Ok(text);
        }
        for word in words.by_ref().take(usize::try_from(missing)?) {
            text.push_str(word);
            text.push(' ');
        }
    }
}

/// Asks, and tells how long that took and how many tokens the prompt has.
async fn timed(expert: &LocalExpert, mut body: Value) -> Result<(Duration, u64), Box<dyn Error>> {
    body["model"] = "bench".into();
    let call = Call::new(Arc::new(ChatRequest::parse(body)?), Arc::default());
    let started = Instant::now();
    let Answer::Whole(completion) = expert.answer(&call).await? else {
        return Err("no stream was asked for".into());
    };
    let took = started.elapsed();
    Ok((
        took,
        completion.usage().map_or(0, |usage| usage.prompt_tokens),
    ))
}

/// Asks a question whose very beginning is new in each round, so that none of it has been read before.
async fn ask(expert: &LocalExpert, round: u32, sentences: usize) -> Result<Round, Box<dyn Error>> {
    let sentence = "The lighthouse keeper wrote down every ship that passed the cape. ";
    let story = sentence.repeat(sentences);
    let request = ChatRequest::parse(json!({
        "model": "bench",
        "messages": [
            {"role": "system", "content": format!("Round {round}.")},
            {"role": "user", "content": format!("{story}Tell a long story of the keeper, with many chapters.")},
        ],
        "seed": round,
        "frequency_penalty": 0.5,
        "max_tokens": ANSWER_TOKENS,
        "stream": true,
    }))?;
    let asked = Instant::now();
    let Answer::Stream(mut chunks) = expert
        .answer(&Call::new(Arc::new(request), Arc::default()))
        .await?
    else {
        return Err("a stream was asked for".into());
    };
    let prompt_time = asked.elapsed();
    let mut usage = None;
    while let Some(chunk) = chunks.next().await {
        usage = usage.or(chunk?.usage());
    }
    let usage = usage.ok_or("the answer did not count its tokens")?;
    Ok(Round {
        prompt_tokens: usage.prompt_tokens,
        prompt_time,
        // The first token came with the prompt.
        answer_tokens: usage.completion_tokens.saturating_sub(1),
        answer_time: asked.elapsed() - prompt_time,
    })
}

fn stored() -> Vec<PathBuf> {
    let cache = directories::BaseDirs::new().map(|dirs| dirs.cache_dir().join("coterie/models"));
    let files_in = |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = cache
        .into_iter()
        .flat_map(files_in)
        .flat_map(|folder| files_in(folder.path()))
        .map(|file| file.path())
        .filter(|path| {
            path.extension()
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
