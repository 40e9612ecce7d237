//! Local experts as a whole, on a real model: SmolLM2 where what it says matters, a tiny one where it does not.

mod choices;
mod prompts;
mod serving;

use std::{path::PathBuf, sync::Arc};

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    LocalExpert,
    generator::{Ending, Generator, Unfinished},
    reader::{Piece, Waiting},
    tiny,
};
use crate::{
    chat::{ChatRequest, FinishReason},
    expert::ExpertError,
    ids::ExpertId,
};

/// A request for at most 16 tokens, with `change` on top.
fn request(change: Value) -> Arc<ChatRequest> {
    let mut body = json!({
        "model": "general",
        "messages": [{"role": "user", "content": "What is the opposite of hot?"}],
        "max_tokens": 16,
        "temperature": 0,
    });
    for (name, value) in change.as_object().unwrap() {
        body[name] = value.clone();
    }
    Arc::new(ChatRequest::parse(body).unwrap())
}

/// A file of the model store.
fn stored(file: &str) -> PathBuf {
    #[expect(
        clippy::disallowed_methods,
        reason = "tests are told where the models lie as the program's configuration is"
    )]
    let dir = std::env::var_os("COTERIE_MODELS_DIR").map_or_else(
        || {
            let cache = directories::BaseDirs::new().unwrap();
            cache.cache_dir().join("coterie/models")
        },
        PathBuf::from,
    );
    let path = dir.join(file);
    assert!(
        path.exists(),
        "{} is missing: run scripts/models first",
        path.display()
    );
    path
}

fn smollm2_file() -> PathBuf {
    stored("smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf")
}

fn qwen2_file() -> PathBuf {
    stored("qwen2.5-coder-0.5b-instruct/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf")
}

fn smollm2(context_tokens_max: Option<u32>) -> Generator {
    Generator::load(&smollm2_file(), context_tokens_max)
        .unwrap()
        .0
}

fn tiny_generator() -> Generator {
    let dir = tempfile::tempdir().unwrap();
    Generator::load(&tiny::llama().write(dir.path()), None)
        .unwrap()
        .0
}

fn tiny_expert(queue_max: usize) -> LocalExpert {
    let dir = tempfile::tempdir().unwrap();
    let file = tiny::llama().write(dir.path());
    LocalExpert::load(ExpertId::new("tiny"), &file, None, queue_max).unwrap()
}

/// The pieces of an answer, and its end.
fn generate(
    generator: &mut Generator,
    change: Value,
) -> Result<(Vec<String>, Ending), ExpertError> {
    let waiting = Waiting::new(CancellationToken::new()).unwrap();
    let (sender, mut pieces) = mpsc::channel(1024);
    let ending = match generator.answer(&request(change), &waiting.reader(sender)) {
        Ok(ending) => ending,
        Err(Unfinished::Failed(error)) => return Err(error),
        Err(Unfinished::ReaderGone) => panic!("the reader is here"),
    };
    let mut texts = Vec::new();
    while let Ok(piece) = pieces.try_recv() {
        match piece.unwrap() {
            Piece::Text(text) => texts.push(text),
            Piece::End(_) => panic!("the end is sent by the worker"),
        }
    }
    Ok((texts, ending))
}

fn text(generator: &mut Generator, change: Value) -> String {
    generate(generator, change).unwrap().0.concat()
}

#[test]
fn greedy_answers_are_sensible_and_repeat() {
    let mut generator = smollm2(None);
    let (pieces, ending) = generate(&mut generator, json!({})).unwrap();
    let answer = pieces.concat();
    assert!(answer.contains("cold"), "{answer}");
    assert!(pieces.len() > 8, "text comes token by token: {pieces:?}");
    assert_eq!(ending.reason, FinishReason::Length);
    assert_eq!(ending.usage.completion_tokens, 16);
    assert_eq!(
        generate(&mut generator, json!({})).unwrap(),
        (pieces, ending)
    );
}

#[test]
fn the_seed_decides_the_answer() {
    let mut generator = tiny_generator();
    let mut seeded = |seed| text(&mut generator, json!({"temperature": 1.5, "seed": seed}));
    let first = seeded(7);
    assert_ne!(seeded(8), first);
    assert_eq!(seeded(7), first);
}

#[test]
fn what_was_read_before_does_not_change_an_answer() {
    let mut generator = tiny_generator();
    let long = "The harbour master counted the boats again. ".repeat(3);
    let first = json!({"max_tokens": 20, "messages": [{"role": "user", "content": long}]});
    let follow_up = json!({"temperature": 1, "seed": 3, "messages": [
        {"role": "user", "content": long},
        {"role": "assistant", "content": "How many?"},
        {"role": "user", "content": "Seven."},
    ]});
    let cold = generate(&mut generator, follow_up.clone()).unwrap();
    generate(&mut generator, json!({})).unwrap();
    assert!(
        generator.read.is_empty(),
        "the short prompt shares no whole chunk"
    );
    generate(&mut generator, first).unwrap();
    assert_eq!(generator.read.len(), 128, "two chunks can be used again");
    assert_eq!(generate(&mut generator, follow_up).unwrap(), cold);
}

#[test]
fn an_answer_ends_before_its_stop_sequence() {
    let mut generator = smollm2(None);
    let (pieces, _) = generate(&mut generator, json!({})).unwrap();
    let free = pieces.concat();
    // From the middle of one token into another.
    let stop: String = free.chars().skip(9).take(9).collect();
    let (pieces, ending) = generate(&mut generator, json!({"stop": stop})).unwrap();
    assert_eq!(pieces.concat(), free[..free.find(&stop).unwrap()]);
    assert_eq!(ending.reason, FinishReason::Stop);
    assert!(ending.usage.completion_tokens < 16);
}

#[test]
fn penalties_change_the_answer() {
    let mut generator = smollm2(None);
    let free = text(&mut generator, json!({}));
    assert_ne!(text(&mut generator, json!({"frequency_penalty": 2})), free);
}

#[test]
fn the_end_marker_ends_an_answer() {
    let mut generator = smollm2(None);
    let hello = json!({"max_tokens": 64, "messages": [{"role": "user", "content": "Hi"}]});
    let (pieces, ending) = generate(&mut generator, hello).unwrap();
    assert_eq!(ending.reason, FinishReason::Stop, "{pieces:?}");
    assert!(!pieces.concat().contains("<|"));
}

#[test]
fn a_conversation_must_leave_room_in_the_context() {
    let mut generator = smollm2(Some(48));
    let (_, ending) = generate(&mut generator, json!({"max_tokens": 100})).unwrap();
    assert_eq!(ending.reason, FinishReason::Length);
    assert_eq!(
        ending.usage.prompt_tokens + ending.usage.completion_tokens,
        48
    );
    let long = "word ".repeat(60);
    let long = json!({"messages": [{"role": "user", "content": long}]});
    match generate(&mut generator, long).unwrap_err() {
        ExpertError::ContextTooLong {
            prompt_tokens,
            context_tokens,
        } => {
            assert!(prompt_tokens > 60 && context_tokens == 48);
        }
        other => panic!("{other}"),
    }
}
