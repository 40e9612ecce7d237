//! What one side of a dialect writes, the other reads back: any conversation of texts and tools, any answer however it is
//! cut into chunks.

use proptest::{collection::vec, prelude::*};
use serde_json::{Map, Value, json};

use crate::{
    chat::{Chunk, Completion},
    dialect::{
        Writer,
        anthropic::{
            MessageHead, MessageWriter, MessagesRequest, Thinking,
            upstream::{self, Meaning, MessageReader},
        },
        responses::{ResponseHead, ResponseWriter, ResponsesRequest},
    },
};

/// A turn, and of an assistant's the calls with their results.
#[derive(Clone, Debug)]
enum Turn {
    Says(String),
    Answers(String),
    Calls(Vec<(String, String)>),
}

fn turn() -> impl Strategy<Value = Turn> {
    let text = "[a-z \n\"é{}]{1,12}";
    prop_oneof![
        text.prop_map(Turn::Says),
        text.prop_map(Turn::Answers),
        vec((text, text), 1..3).prop_map(Turn::Calls),
    ]
}

/// A conversation as chat completions have it. Neighbours have different roles: Anthropic's turns take turns.
fn conversation(turns: &[Turn]) -> Vec<Value> {
    let mut messages = vec![json!({"role": "user", "content": "begin"})];
    for (at, turn) in turns.iter().enumerate() {
        let last = messages.last().unwrap()["role"].clone();
        match turn {
            Turn::Says(text) if last != "user" => {
                messages.push(json!({"role": "user", "content": text}));
            }
            Turn::Answers(text) if last != "assistant" => {
                messages.push(json!({"role": "assistant", "content": text}));
            }
            Turn::Calls(calls) if last != "assistant" => {
                let id = |n: usize| format!("call_{at}_{n}");
                let written = |(n, (argument, _)): (usize, &(String, String))| {
                    let arguments = json!({"argument": argument}).to_string();
                    json!({"id": id(n), "type": "function", "function": {"name": "tool", "arguments": arguments}})
                };
                let written: Vec<Value> = calls.iter().enumerate().map(written).collect();
                messages.push(json!({"role": "assistant", "content": null, "tool_calls": written}));
                for (n, (_, result)) in calls.iter().enumerate() {
                    messages
                        .push(json!({"role": "tool", "tool_call_id": id(n), "content": result}));
                }
            }
            _ => {}
        }
    }
    messages
}

/// A part of an answer: text, or a call's argument.
#[derive(Clone, Debug)]
enum Said {
    Thought(String),
    Text(String),
    Call(String),
}

fn said() -> impl Strategy<Value = Said> {
    let text = "[a-z \n\"é{}]{1,12}";
    prop_oneof![
        text.prop_map(Said::Thought),
        text.prop_map(Said::Text),
        text.prop_map(Said::Call),
    ]
}

/// The chunks of an answer, each text cut after `cut` characters.
fn chunks(parts: &[Said], cut: usize) -> Vec<Chunk> {
    let mut deltas = Vec::new();
    let mut calls = 0;
    for part in parts {
        match part {
            Said::Thought(text) => deltas.extend(said_as("reasoning_content", text, cut)),
            Said::Text(text) => deltas.extend(said_as("content", text, cut)),
            Said::Call(argument) => {
                let arguments = json!({"argument": argument}).to_string();
                let call = json!({"index": calls, "id": format!("call_{calls}"), "type": "function", "function": {"name": "tool", "arguments": ""}});
                deltas.push(json!({"tool_calls": [call]}));
                deltas.extend(pieces(&arguments, cut).map(|piece| {
                    json!({"tool_calls": [{"index": calls, "function": {"arguments": piece}}]})
                }));
                calls += 1;
            }
        }
    }
    let reason = if calls > 0 { "tool_calls" } else { "stop" };
    let choice = |delta: Value, reason: Value| json!([{"index": 0, "delta": delta, "finish_reason": reason}]);
    let mut chunks: Vec<Value> = deltas
        .into_iter()
        .map(|delta| json!({"choices": choice(delta, Value::Null)}))
        .collect();
    chunks.push(json!({"choices": choice(json!({}), reason.into())}));
    chunks.push(json!({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}));
    chunks
        .into_iter()
        .map(|chunk| Chunk::from_object(chunk.as_object().unwrap().clone()))
        .collect()
}

/// Deltas that say a text in a field.
fn said_as(field: &str, text: &str, cut: usize) -> impl Iterator<Item = Value> {
    pieces(text, cut).map(move |piece| json!({field: piece}))
}

fn pieces(text: &str, cut: usize) -> impl Iterator<Item = String> {
    let letters: Vec<char> = text.chars().collect();
    let pieces: Vec<String> = letters
        .chunks(cut)
        .map(|piece| piece.iter().collect())
        .collect();
    pieces.into_iter()
}

/// What a stream of chunks says in all: thoughts, text, calls, finish reason, tokens.
fn in_all<'c>(chunks: impl IntoIterator<Item = &'c Chunk>) -> Value {
    let (mut thoughts, mut text, mut calls) = (String::new(), String::new(), Vec::<Value>::new());
    let (mut reason, mut usage) = (Value::Null, Value::Null);
    for chunk in chunks {
        let delta = chunk.delta().map_or(Value::Null, Value::Object);
        thoughts += delta["reasoning_content"].as_str().unwrap_or("");
        text += delta["content"].as_str().unwrap_or("");
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            if call["id"].is_string() {
                calls.push(
                    json!({"id": call["id"], "name": call["function"]["name"], "arguments": ""}),
                );
            }
            let last = calls.last_mut().unwrap();
            let more = call["function"]["arguments"].as_str().unwrap_or("");
            last["arguments"] = format!("{}{more}", last["arguments"].as_str().unwrap()).into();
        }
        if let Some(why) = chunk.finish_reason() {
            reason = why.into();
        }
        if let Some(counted) = chunk.usage() {
            usage = json!([counted.prompt_tokens, counted.completion_tokens]);
        }
    }
    json!([thoughts, text, calls, reason, usage])
}

/// The same of a whole answer.
fn in_whole(completion: &Completion) -> Value {
    let message = Value::Object(completion.message().unwrap());
    let calls = message["tool_calls"].as_array().into_iter().flatten();
    let calls: Vec<Value> = calls
        .map(|call| json!({"id": call["id"], "name": call["function"]["name"], "arguments": call["function"]["arguments"]}))
        .collect();
    let text = |field: &str| message[field].as_str().unwrap_or("").to_owned();
    let usage = completion
        .usage()
        .map(|counted| json!([counted.prompt_tokens, counted.completion_tokens]));
    json!([
        text("reasoning_content"),
        text("content"),
        calls,
        completion.finish_reason(),
        usage
    ])
}

fn message_writer() -> MessageWriter {
    let head = MessageHead {
        id: "msg".into(),
        model: "m".into(),
        thinking: Thinking::Shown,
    };
    MessageWriter::new(head)
}

fn response_writer() -> ResponseWriter {
    let echo = ResponsesRequest::parse(json!({"model": "m", "input": "hi"}))
        .unwrap()
        .echo;
    ResponseWriter::new(ResponseHead {
        id: "resp_1".into(),
        model: "m".into(),
        created_s: 1,
        echo,
    })
}

fn events(chunks: &[Chunk], writer: &mut impl Writer) -> Vec<Map<String, Value>> {
    let mut events = Vec::new();
    for chunk in chunks {
        events.extend(writer.chunk(chunk).unwrap());
    }
    events.extend(writer.finish().unwrap());
    events.into_iter().map(|event| event.0).collect()
}

proptest! {
    #[test]
    fn a_conversation_comes_back_from_anthropics_turns(turns in vec(turn(), 0..8)) {
        let messages = conversation(&turns);
        let chat = json!({"model": "coterie", "max_completion_tokens": 5, "messages": messages});
        let sent = upstream::messages_request(chat.as_object().unwrap(), "claude").unwrap();
        let read = MessagesRequest::parse(sent.into()).unwrap().chat;
        prop_assert_eq!(&read["messages"], &chat["messages"]);
    }

    #[test]
    fn an_answer_comes_back_from_anthropics_events(parts in vec(said(), 0..6), cut in 1..5_usize) {
        let chunks = chunks(&parts, cut);
        let mut reader = MessageReader::new(1);
        let mut read = Vec::new();
        let mut is_done = false;
        for event in events(&chunks, &mut message_writer()) {
            prop_assert!(!is_done, "nothing follows message_stop");
            match reader.read(&event) {
                Meaning::Chunks(chunks) => read.extend(chunks),
                Meaning::Done => is_done = true,
            }
        }
        prop_assert!(is_done);
        prop_assert_eq!(in_all(&read), in_all(&chunks));
    }

    #[test]
    fn blocks_come_one_after_the_other(parts in vec(said(), 0..6), cut in 1..5_usize) {
        let (mut open, mut next) = (None, 0);
        for event in events(&chunks(&parts, cut), &mut message_writer()) {
            let index = event.get("index").and_then(Value::as_u64);
            match event["type"].as_str().unwrap() {
                "content_block_start" => {
                    prop_assert_eq!((open, index), (None, Some(next)));
                    open = index;
                    next += 1;
                }
                "content_block_delta" => prop_assert_eq!(index, open),
                "content_block_stop" => prop_assert_eq!(open.take(), index),
                _ => prop_assert_eq!(open, None),
            }
        }
    }

    #[test]
    fn the_deltas_of_a_response_add_up_to_its_output(parts in vec(said(), 0..6), cut in 1..5_usize) {
        let chunks = chunks(&parts, cut);
        let mut texts: Vec<String> = Vec::new();
        let events = events(&chunks, &mut response_writer());
        for (at, event) in events.iter().enumerate() {
            prop_assert_eq!(&event["sequence_number"], at);
            if event["type"] == "response.output_item.added" {
                prop_assert_eq!(&event["output_index"], texts.len());
                texts.push(String::new());
            }
            if let Some(delta) = event.get("delta") {
                texts[usize::try_from(event["output_index"].as_u64().unwrap()).unwrap()] += delta.as_str().unwrap();
            }
        }
        let response = &events.last().unwrap()["response"];
        prop_assert_eq!(&response["status"], "completed");
        let output = response["output"].as_array().unwrap().iter();
        let whole: Vec<&str> = output
            .map(|item| item["arguments"].as_str().or(item["content"][0]["text"].as_str()).unwrap())
            .collect();
        prop_assert_eq!(whole, texts);
    }

    #[test]
    fn a_whole_answer_comes_back_from_a_message(parts in vec(said(), 0..6)) {
        let all = in_all(&chunks(&parts, 3));
        let calls: Vec<Value> = all[2].as_array().unwrap().iter().map(|call| {
            json!({"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": call["arguments"]}})
        }).collect();
        let message = json!({"role": "assistant", "content": all[1], "reasoning_content": all[0], "tool_calls": calls});
        let chat = json!({
            "choices": [{"index": 0, "message": message, "finish_reason": all[3]}],
            "usage": {"prompt_tokens": 7, "completion_tokens": 3},
        });
        let completion = Completion::from_object(chat.as_object().unwrap().clone());
        let message = message_writer().whole(&completion);
        let read = upstream::completion(&message, 1).unwrap();
        prop_assert_eq!(in_whole(&read), all);
    }
}
