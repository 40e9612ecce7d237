//! Local experts as a whole, on a real model: SmolLM2 where what it says matters, a tiny one where it does not.

use std::{fs, path::PathBuf, sync::Arc};

use candle_core::quantized::gguf_file::Value as GgufValue;
use futures_util::{FutureExt, StreamExt};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    generator::{Ending, Unfinished},
    reader::Waiting,
    text::{AnswerText, Step},
    *,
};
use crate::chat::FinishReason;

/// A request for at most 24 tokens, with `change` on top.
fn request(change: Value) -> Arc<ChatRequest> {
    let mut body = json!({
        "model": "general",
        "messages": [{"role": "user", "content": "What is the opposite of hot?"}],
        "max_tokens": 24,
        "temperature": 0,
    });
    for (name, value) in change.as_object().unwrap() {
        body[name] = value.clone();
    }
    Arc::new(ChatRequest::parse(body).unwrap())
}

fn smollm2_file() -> PathBuf {
    const FILE: &str = "smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf";
    #[expect(
        clippy::disallowed_methods,
        reason = "tests are told where the models lie as the program's configuration is"
    )]
    let dir = std::env::var_os("COTERIE_MODELS_DIR").map_or_else(
        || {
            directories::BaseDirs::new()
                .unwrap()
                .cache_dir()
                .join("coterie/models")
        },
        PathBuf::from,
    );
    let path = dir.join(FILE);
    assert!(
        path.exists(),
        "{} is missing: run scripts/models first",
        path.display()
    );
    path
}

fn smollm2(context_tokens_max: Option<u32>) -> Generator {
    Generator::load(&smollm2_file(), context_tokens_max)
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
fn a_conversation_becomes_the_prompt_that_the_model_was_trained_on() {
    let generator = smollm2(None);
    let request = request(json!({"messages": [
        {"role": "user", "content": "Is 2024 a leap year?"},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "And  2025?\n"},
    ]}));
    let prompt = generator.template.render(&request.messages).unwrap();
    insta::assert_snapshot!(prompt, @r"
    <|im_start|>system
    You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>
    <|im_start|>user
    Is 2024 a leap year?<|im_end|>
    <|im_start|>assistant
    Yes.<|im_end|>
    <|im_start|>user
    And  2025?
    <|im_end|>
    <|im_start|>assistant
    ");
    let tokens = generator.tokenizer.encode(&prompt).unwrap();
    insta::assert_compact_debug_snapshot!(tokens, @"[1, 9690, 198, 2683, 359, 253, 5356, 5646, 11173, 3365, 3511, 308, 34519, 28, 7018, 411, 407, 19712, 8182, 2, 198, 1, 4093, 198, 4182, 216, 34, 32, 34, 36, 253, 19894, 713, 47, 2, 198, 1, 520, 9531, 198, 10539, 30, 2, 198, 1, 4093, 198, 3528, 256, 34, 32, 34, 37, 47, 198, 2, 198, 1, 520, 9531, 198]");
}

#[test]
fn tokens_read_back_as_the_text_they_came_from() {
    let generator = smollm2(None);
    let original = "Grüße, 世界! 👩‍👩‍👧 déjà\tvu\n\n  12.5 €";
    let mut text = AnswerText::new(&[]);
    let mut pieces = Vec::new();
    for token in generator.tokenizer.encode(original).unwrap() {
        match text.push(generator.tokenizer.bytes(token)) {
            Step::Goes(piece) => pieces.push(piece),
            Step::Stops(piece) => panic!("stopped at {piece}"),
        }
    }
    assert!(
        pieces.iter().any(String::is_empty),
        "some characters take several tokens"
    );
    assert_eq!(pieces.concat(), original);
}

#[test]
fn greedy_answers_are_sensible_and_repeat() {
    let mut generator = smollm2(None);
    let (pieces, ending) = generate(&mut generator, json!({})).unwrap();
    let answer = pieces.concat();
    assert!(answer.contains("cold"), "{answer}");
    assert!(pieces.len() > 8, "text comes token by token: {pieces:?}");
    assert_eq!(ending.reason, FinishReason::Length);
    assert_eq!(ending.usage.completion_tokens, 24);
    assert_eq!(
        generate(&mut generator, json!({})).unwrap(),
        (pieces, ending)
    );
}

#[test]
fn the_seed_decides_the_answer() {
    let mut generator = smollm2(None);
    let mut seeded = |seed| text(&mut generator, json!({"temperature": 1.5, "seed": seed}));
    let first = seeded(7);
    assert_ne!(seeded(8), first);
    assert_eq!(seeded(7), first);
}

#[test]
fn what_was_read_before_does_not_change_an_answer() {
    let mut generator = smollm2(None);
    let long = "The harbour master counted the boats again. ".repeat(12);
    let first = json!({"max_tokens": 2, "messages": [{"role": "user", "content": long}]});
    let follow_up = json!({"max_tokens": 8, "temperature": 1, "seed": 3, "messages": [
        {"role": "user", "content": long},
        {"role": "assistant", "content": "How many?"},
        {"role": "user", "content": "Seven. Why so few?"},
    ]});
    let cold = generate(&mut generator, follow_up.clone()).unwrap();
    generate(&mut generator, json!({"max_tokens": 1})).unwrap();
    assert_eq!(
        generator.read.len(),
        0,
        "the short prompt shares no whole chunk"
    );
    generate(&mut generator, first).unwrap();
    assert!(generator.read.len() >= 64, "a chunk can be used again");
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
    assert!(ending.usage.completion_tokens < 24);
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

#[tokio::test]
async fn an_answer_is_the_same_whole_and_streamed() {
    let expert = LocalExpert::load(ExpertId::new("general"), &smollm2_file(), None, 1).unwrap();
    assert_eq!(expert.card().family, Family::Llama);
    assert_eq!(expert.card().context_tokens, 8192);
    assert!((134_000_000..136_000_000).contains(&expert.card().parameters));
    let sampled = json!({"temperature": 1, "seed": 5, "max_tokens": 12});
    let Answer::Whole(whole) = expert.answer(request(sampled.clone())).await.unwrap() else {
        panic!("no stream was asked for");
    };
    let mut streamed = sampled;
    streamed["stream"] = true.into();
    let Answer::Stream(chunks) = expert.answer(request(streamed)).await.unwrap() else {
        panic!("a stream was asked for");
    };
    let chunks: Vec<Chunk> = chunks.map(Result::unwrap).collect().await;
    let [opening, texts @ .., finish, usage] = &chunks[..] else {
        panic!("{chunks:?}");
    };
    assert!(!opening.carries_token());
    let text: String = texts.iter().map(|chunk| chunk.text().unwrap()).collect();
    assert_eq!(Some(text.as_str()), whole.text());
    assert_eq!(finish.finish_reason(), whole.finish_reason());
    assert!(usage.only_counts());
    assert_eq!(usage.usage(), whole.usage());
    assert_eq!(whole.0["model"], "general");
}

/// A long answer that begins at once.
fn endless() -> Arc<ChatRequest> {
    let body = json!({"stream": true, "max_tokens": 200});
    request(body)
}

#[tokio::test]
async fn a_full_queue_says_when_to_come_back_and_a_reader_that_leaves_makes_room() {
    let expert = tiny_expert(1);
    // Nobody reads on, so the model waits for this reader once it has run ahead.
    let reading = expert.answer(endless()).await.unwrap();
    let mut waiting = expert.answer(request(json!({"max_tokens": 1})));
    assert!(
        (&mut waiting).now_or_never().is_none(),
        "it waits in the queue"
    );
    match expert.answer(endless()).await {
        Err(ExpertError::Busy { retry_after }) => assert!(retry_after.as_secs() >= 1),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("there is no room"),
    }
    drop(reading);
    assert!(matches!(waiting.await, Ok(Answer::Whole(_))));
}

#[tokio::test]
async fn a_question_that_nobody_waits_for_is_not_answered() {
    let expert = tiny_expert(2);
    let reading = expert.answer(endless()).await.unwrap();
    let mut given_up = expert.answer(request(json!({"max_tokens": 1})));
    assert!((&mut given_up).now_or_never().is_none());
    drop(given_up);
    let waiting = expert.answer(request(json!({"max_tokens": 1})));
    drop(reading);
    assert!(matches!(waiting.await, Ok(Answer::Whole(_))));
}

#[tokio::test]
async fn closing_down_waits_for_no_reader() {
    let expert = tiny_expert(1);
    let Answer::Stream(chunks) = expert.answer(endless()).await.unwrap() else {
        panic!("a stream was asked for");
    };
    drop(expert);
    let last = chunks.collect::<Vec<_>>().await.pop().unwrap();
    assert!(matches!(last, Err(ExpertError::Broken { .. })), "{last:?}");
}

#[tokio::test]
async fn what_a_local_model_cannot_do_is_refused_by_field() {
    let expert = tiny_expert(1);
    let picture = json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]);
    for (change, field) in [
        (json!({"n": 2}), "n"),
        (json!({"tools": [{"type": "function"}]}), "tools"),
        (json!({"functions": [{"name": "f"}]}), "tools"),
        (json!({"logprobs": true}), "logprobs"),
        (json!({"logit_bias": {"5": 1}}), "logit_bias"),
        (
            json!({"response_format": {"type": "json_object"}}),
            "response_format",
        ),
        (json!({"messages": picture}), "messages"),
    ] {
        match expert.answer(request(change)).await {
            Err(ExpertError::Unsupported { param, .. }) => assert_eq!(param, field),
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("{field} is not supported"),
        }
    }
    let harmless = json!({
        "n": 1, "tools": [], "tool_choice": "none", "logprobs": false, "response_format": {"type": "text"},
        "max_tokens": 1,
    });
    assert!(expert.answer(request(harmless)).await.is_ok());
}

#[test]
fn files_that_cannot_be_used_say_why() {
    let text = |text: &str| GgufValue::String(text.into());
    let cases = [
        (
            tiny::llama().with("general.architecture", text("mamba")),
            "`mamba`",
        ),
        (
            tiny::llama().with("tokenizer.ggml.model", text("llama")),
            "byte-level BPE",
        ),
        (
            tiny::llama().with("tokenizer.ggml.pre", text("tekken")),
            "`tekken`",
        ),
        (
            tiny::llama().without("tokenizer.chat_template"),
            "no chat template",
        ),
        (
            tiny::llama().with("tokenizer.chat_template", text("{% if %}")),
            "cannot be read",
        ),
        (
            tiny::llama().without("llama.block_count"),
            "`llama.block_count`",
        ),
        (
            tiny::llama().without("tokenizer.ggml.tokens"),
            "`tokenizer.ggml.tokens`",
        ),
        (
            tiny::llama().with("llama.attention.head_count_kv", GgufValue::U32(3)),
            "heads",
        ),
        (
            tiny::llama().with("llama.expert_count", GgufValue::U32(8)),
            "mixture",
        ),
        (
            tiny::llama().with("llama.block_count", GgufValue::U32(3)),
            "blk.2",
        ),
        (
            tiny::llama().with("llama.feed_forward_length", GgufValue::U32(u32::MAX)),
            "shape",
        ),
        (
            tiny::qwen2().with("qwen2.rope.scaling.type", text("yarn")),
            "rope.scaling.type",
        ),
    ];
    for (file, reason) in cases {
        let dir = tempfile::tempdir().unwrap();
        let path = file.write(dir.path());
        let error = LocalExpert::load(ExpertId::new("e"), &path, None, 1)
            .err()
            .unwrap();
        let message = error.to_string();
        assert!(message.contains(reason), "{message} should say {reason}");
        assert!(message.contains("tiny.gguf"), "{message}");
    }
}

#[test]
fn a_file_that_was_cut_off_anywhere_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cut.gguf");
    let whole = tiny::llama().bytes();
    for len in (0..whole.len() - 64).step_by(1009) {
        fs::write(&path, &whole[..len]).unwrap();
        assert!(
            Generator::load(&path, None).is_err(),
            "{len} of {} bytes",
            whole.len()
        );
    }
}
