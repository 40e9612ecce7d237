//! `tests/golden/dialect`: what goes in and what must come out, side by side. `COTERIE_BLESS=1 cargo nextest run golden` writes
//! what comes out into the files; read the difference before you keep it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};

use crate::{
    chat::{Chunk, Completion},
    dialect::{
        Event, Failure, Writer,
        anthropic::{
            MessageHead, MessageWriter, MessagesRequest, Thinking, error_body,
            upstream::{self, Meaning, MessageReader},
        },
        responses::{Echo, ResponseHead, ResponseWriter, ResponsesRequest},
    },
};

/// Checks every file of a folder: `write` makes what must come out of what the file says.
#[track_caller]
fn check(folder: &str, out: &str, write: impl Fn(&Value) -> Value) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/dialect")
        .join(folder);
    let files: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(!files.is_empty(), "{} has cases", folder.display());
    for file in files {
        let mut case: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        let written = write(&case);
        if blesses() {
            case[out] = written;
            fs::write(&file, in_lines(&case)).unwrap();
        } else {
            assert_eq!(case[out], written, "{}", file.display());
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "tests may read the environment")]
fn blesses() -> bool {
    std::env::var_os("COTERIE_BLESS").is_some()
}

/// JSON with the items of the outermost lists, which are events or chunks, in a line each.
fn in_lines(case: &Value) -> String {
    let entries = case.as_object().unwrap().iter();
    let written: Vec<String> = entries
        .map(|(name, value)| {
            let value = match value {
                Value::Array(items) => {
                    let lines: Vec<String> =
                        items.iter().map(|item| format!("    {item}")).collect();
                    format!("[\n{}\n  ]", lines.join(",\n"))
                }
                value => serde_json::to_string_pretty(value)
                    .unwrap()
                    .replace('\n', "\n  "),
            };
            format!("  \"{name}\": {value}")
        })
        .collect();
    format!("{{\n{}\n}}\n", written.join(",\n"))
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn chunks(case: &Value) -> impl Iterator<Item = Chunk> {
    case["chunks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|chunk| Chunk::from_object(object(chunk)))
}

/// All events of a stream that ends as the case says: complete, or by a failure.
fn events(case: &Value, mut writer: impl Writer) -> Value {
    let mut events = Vec::new();
    for chunk in chunks(case) {
        match writer.chunk(&chunk) {
            Ok(written) => events.extend(written),
            Err(untellable) => {
                events.push(writer.break_off(&broken(&untellable.to_string())));
                return told(events);
            }
        }
    }
    match case["breaks_off"].as_str() {
        Some(message) => events.push(writer.break_off(&broken(message))),
        None => events.extend(writer.finish().unwrap()),
    }
    told(events)
}

fn told(events: Vec<Event>) -> Value {
    events
        .into_iter()
        .map(|event| Value::Object(event.0))
        .collect()
}

fn broken(message: &str) -> Failure {
    Failure {
        status: 502,
        code: Some("expert_broken".into()),
        param: None,
        message: message.to_owned(),
        outcome_id: Some("o-1".into()),
    }
}

fn message_writer(case: &Value) -> MessageWriter {
    let thinking = if case["thinking"] == "shown" {
        Thinking::Shown
    } else {
        Thinking::Hidden
    };
    MessageWriter::new(MessageHead {
        id: "msg_1".into(),
        model: "general".into(),
        thinking,
    })
}

fn response_writer(case: &Value) -> ResponseWriter {
    let request = match &case["request"] {
        Value::Null => json!({"model": "coterie", "input": "hi"}),
        request => request.clone(),
    };
    let echo: Echo = ResponsesRequest::parse(request).unwrap().echo;
    ResponseWriter::new(ResponseHead {
        id: "resp_1".into(),
        model: "general".into(),
        created_s: 1_700_000_000,
        echo,
    })
}

#[test]
fn golden_messages_requests_become_chat_requests() {
    check("messages/requests", "chat", |case| {
        MessagesRequest::parse(case["messages"].clone())
            .unwrap()
            .chat
    });
}

#[test]
fn golden_chat_answers_become_messages() {
    check("messages/answers", "message", |case| {
        message_writer(case)
            .whole(&Completion::from_object(object(&case["chat"])))
            .into()
    });
}

#[test]
fn golden_chunks_become_the_events_of_a_message() {
    check("messages/streams", "events", |case| {
        events(case, message_writer(case))
    });
}

#[test]
fn golden_errors_take_anthropics_shape() {
    check("messages/errors", "body", |case| {
        let said = |field: &str| case["failure"][field].as_str().map(str::to_owned);
        error_body(&Failure {
            status: u16::try_from(case["failure"]["status"].as_u64().unwrap()).unwrap(),
            code: said("code"),
            param: said("param"),
            message: said("message").unwrap(),
            outcome_id: said("outcome_id"),
        })
        .into()
    });
}

#[test]
fn golden_responses_requests_become_chat_requests() {
    check("responses/requests", "chat", |case| {
        ResponsesRequest::parse(case["responses"].clone())
            .unwrap()
            .chat
    });
}

#[test]
fn golden_chat_answers_become_responses() {
    check("responses/answers", "response", |case| {
        response_writer(case)
            .whole(&Completion::from_object(object(&case["chat"])))
            .into()
    });
}

#[test]
fn golden_chunks_become_the_events_of_a_response() {
    check("responses/streams", "events", |case| {
        events(case, response_writer(case))
    });
}

#[test]
fn golden_chat_requests_become_messages_requests() {
    check("upstream/requests", "messages", |case| {
        upstream::messages_request(&object(&case["chat"]), "claude")
            .unwrap()
            .into()
    });
}

#[test]
fn golden_messages_become_chat_answers() {
    check("upstream/answers", "chat", |case| {
        let answer = upstream::completion(&object(&case["message"]), 1_700_000_000);
        answer.unwrap().object().into()
    });
}

#[test]
fn golden_the_events_of_a_message_become_chunks() {
    check("upstream/streams", "chunks", |case| {
        let mut reader = MessageReader::new(1_700_000_000);
        let mut chunks = Vec::new();
        for event in case["events"].as_array().unwrap() {
            match reader.read(&object(event)) {
                Meaning::Chunks(read) => chunks.extend(read),
                Meaning::Done => chunks.push(Chunk::from_object(object(&json!({"done": true})))),
            }
        }
        chunks
            .into_iter()
            .map(|chunk| Value::Object(chunk.object()))
            .collect()
    });
}

#[test]
fn golden_anthropics_errors_become_openais() {
    check("upstream/errors", "openai", |case| {
        upstream::openai_error(&case["anthropic"]).unwrap()
    });
}
