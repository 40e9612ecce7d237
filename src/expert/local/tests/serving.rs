//! A local expert as its callers see it: loading, streams, the queue, and what is refused.

use std::{fs, sync::Arc};

use candle_core::quantized::gguf_file::Value as GgufValue;
use futures_util::{FutureExt, StreamExt};
use serde_json::json;

use super::{request, smollm2_file, tiny_expert};
use crate::{
    chat::{ChatRequest, Chunk},
    expert::{
        Answer, Call, Expert, ExpertError,
        local::{Family, LocalExpert, generator::Generator, tiny},
    },
    ids::ExpertId,
};

#[tokio::test]
async fn an_answer_is_the_same_whole_and_streamed() {
    let expert = LocalExpert::load(ExpertId::new("general"), &smollm2_file(), None, 1).unwrap();
    assert_eq!(expert.card().family, Family::Llama);
    assert_eq!(expert.card().context_tokens, 8192);
    assert!((134_000_000..136_000_000).contains(&expert.card().parameters));
    let sampled = json!({"temperature": 1, "seed": 5, "max_tokens": 12});
    let Answer::Whole(whole) = expert
        .answer(&call(request(sampled.clone())))
        .await
        .unwrap()
    else {
        panic!("no stream was asked for");
    };
    let mut streamed = sampled;
    streamed["stream"] = true.into();
    let Answer::Stream(chunks) = expert.answer(&call(request(streamed))).await.unwrap() else {
        panic!("a stream was asked for");
    };
    let chunks: Vec<Chunk> = chunks.map(Result::unwrap).collect().await;
    let [opening, texts @ .., finish, usage] = &chunks[..] else {
        panic!("{chunks:?}");
    };
    assert!(!opening.carries_token());
    let text: String = texts.iter().map(|chunk| chunk.text().unwrap()).collect();
    assert_eq!(Some(text.as_str()), whole.text());
    assert_eq!(
        finish.object()["choices"][0]["finish_reason"].as_str(),
        whole.finish_reason()
    );
    assert!(finish.mean_logprob().is_some_and(|mean| mean < 0.0));
    assert_eq!(finish.mean_logprob(), whole.mean_logprob());
    assert!(usage.only_counts());
    assert_eq!(usage.usage(), whole.usage());
    assert_eq!(whole.object()["model"], "general");
}

fn call(request: Arc<ChatRequest>) -> Call {
    Call::new(request, Arc::default())
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
    let reading = expert.answer(&call(endless())).await.unwrap();
    let short = call(request(json!({"max_tokens": 1})));
    let mut waiting = expert.answer(&short);
    assert!(
        (&mut waiting).now_or_never().is_none(),
        "it waits in the queue"
    );
    match expert.answer(&call(endless())).await {
        Err(ExpertError::Busy { retry_after, .. }) => assert!(retry_after.as_secs() >= 1),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("there is no room"),
    }
    drop(reading);
    assert!(matches!(waiting.await, Ok(Answer::Whole(_))));
}

#[tokio::test]
async fn a_question_that_nobody_waits_for_is_not_answered() {
    let expert = tiny_expert(2);
    let reading = expert.answer(&call(endless())).await.unwrap();
    let short = call(request(json!({"max_tokens": 1})));
    let mut given_up = expert.answer(&short);
    assert!((&mut given_up).now_or_never().is_none());
    drop(given_up);
    let waiting = expert.answer(&short);
    drop(reading);
    assert!(matches!(waiting.await, Ok(Answer::Whole(_))));
}

#[tokio::test]
async fn closing_down_waits_for_no_reader() {
    let expert = tiny_expert(1);
    let Answer::Stream(chunks) = expert.answer(&call(endless())).await.unwrap() else {
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
        match expert.answer(&call(request(change))).await {
            Err(ExpertError::Unsupported { param, .. }) => assert_eq!(param, field),
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("{field} is not supported"),
        }
    }
    let harmless = json!({
        "n": 1, "tools": [], "tool_choice": "none", "logprobs": false, "response_format": {"type": "text"},
        "max_tokens": 1,
    });
    assert!(expert.answer(&call(request(harmless))).await.is_ok());
}

#[tokio::test]
async fn an_answer_that_was_begun_is_gone_on_with() {
    let expert = LocalExpert::load(ExpertId::new("general"), &smollm2_file(), None, 1).unwrap();
    let ask = async |change| match expert.answer(&call(request(change))).await {
        Ok(Answer::Whole(whole)) => whole.text().unwrap().to_owned(),
        _ => panic!("no stream was asked for"),
    };
    let whole = ask(json!({})).await;
    let (begun, rest) = whole.split_at(whole.len() / 2);
    // Cut between two words, where the tokens of both halves are those of the whole.
    let at = begun.rfind(' ').unwrap();
    let (begun, rest) = (&begun[..at], format!("{}{rest}", &begun[at..]));
    let messages = json!([
        {"role": "user", "content": "What is the opposite of hot?"},
        {"role": "assistant", "content": begun},
    ]);
    let go_on = json!({"messages": messages, "continue_final_message": true});
    let continued = ask(go_on).await;
    assert!(
        continued.starts_with(&rest),
        "{begun:?} {rest:?} {continued:?}"
    );
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
