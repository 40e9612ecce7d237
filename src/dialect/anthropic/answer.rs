//! A chat answer as a Message, whole or in events.

use serde_json::{Map, Value, json};

use super::{
    error::error_body,
    stop::{self, HasCalls},
    usage,
};
use crate::{
    chat::{Chunk, Completion},
    dialect::{
        Event, Failure, Untellable, Writer, arguments_as_object,
        parts::{self, Change, Kind, Part, Splitter},
    },
};

/// What is known of a Message before its content.
#[derive(Clone, Debug)]
pub struct MessageHead {
    /// The message's id.
    pub id: String,
    /// The expert that answers.
    pub model: String,
    /// Whether the client sees what the model thinks.
    pub thinking: Thinking,
}

/// Whether a client sees what the model thinks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Thinking {
    /// In blocks of its own; they have no signature, because what the expert thought cannot be vouched for.
    Shown,
    /// Not at all: a client that did not ask for it need not know such blocks.
    #[default]
    Hidden,
}

/// Writes one Message.
#[derive(Debug)]
pub struct MessageWriter {
    head: MessageHead,
    splitter: Splitter,
    has_begun: bool,
    /// Blocks that were begun; the last may not be over.
    blocks: usize,
    has_calls: HasCalls,
    /// The finish reason, and the stop sequence that was met.
    finished: Option<(String, Option<String>)>,
    /// Chat completions' counts.
    usage: Option<Value>,
}

impl MessageWriter {
    /// Begins a Message.
    pub fn new(head: MessageHead) -> Self {
        Self {
            head,
            splitter: Splitter::default(),
            has_begun: false,
            blocks: 0,
            has_calls: HasCalls::No,
            finished: None,
            usage: None,
        }
    }

    fn shows(&self, kind: Kind) -> bool {
        kind != Kind::Reasoning || self.head.thinking == Thinking::Shown
    }

    /// `message_start`, and a `ping` as Anthropic sends one. Tokens are counted at the end, in `message_delta`.
    fn begin(&mut self) -> Vec<Event> {
        if std::mem::replace(&mut self.has_begun, true) {
            return Vec::new();
        }
        let mut message = head(&self.head);
        message.insert("content".into(), json!([]));
        message.insert("stop_reason".into(), Value::Null);
        message.insert("stop_sequence".into(), Value::Null);
        message.insert("usage".into(), usage::from_chat(None));
        vec![
            Event::new("message_start", json!({"message": message})),
            Event::new("ping", json!({})),
        ]
    }

    fn event(&mut self, change: &Change) -> Option<Event> {
        match change {
            Change::Opened(part) if self.shows(part.kind()) => {
                if part.kind() == Kind::Call {
                    self.has_calls = HasCalls::Yes;
                }
                self.blocks += 1;
                Some(self.of_block("content_block_start", "content_block", block(part)))
            }
            Change::Grew(kind, text) if self.shows(*kind) => {
                Some(self.of_block("content_block_delta", "delta", delta(*kind, text)))
            }
            Change::Closed(kind) if self.shows(*kind) => {
                let index = self.blocks.saturating_sub(1);
                Some(Event::new("content_block_stop", json!({"index": index})))
            }
            _hidden => None,
        }
    }

    /// An event of the block that was begun last.
    fn of_block(&self, name: &str, field: &str, value: Value) -> Event {
        let index = self.blocks.saturating_sub(1);
        Event::new(name, json!({"index": index, field: value}))
    }
}

impl Writer for MessageWriter {
    fn whole(self, completion: &Completion) -> Map<String, Value> {
        let parts = parts::of_completion(completion);
        let has_calls = HasCalls::of(&parts);
        let (stop_reason, stop_sequence) = stop::from_chat(
            completion.finish_reason().unwrap_or_default(),
            completion.met_stop(),
            has_calls,
        );
        let shown = parts.iter().filter(|part| self.shows(part.kind()));
        let content: Vec<Value> = shown.map(block).collect();
        let mut message = head(&self.head);
        message.insert("content".into(), content.into());
        message.insert("stop_reason".into(), stop_reason.into());
        message.insert("stop_sequence".into(), stop_sequence);
        let usage = usage::from_chat(completion.whole_usage().as_ref());
        message.insert("usage".into(), usage);
        message
    }

    fn chunk(&mut self, chunk: &Chunk) -> Result<Vec<Event>, Untellable> {
        let mut events = self.begin();
        for change in self.splitter.take(chunk)? {
            events.extend(self.event(&change));
        }
        if let Some(reason) = chunk.finish_reason() {
            let met_stop = chunk.met_stop().map(str::to_owned);
            self.finished = Some((reason.to_owned(), met_stop));
        }
        if let Some(usage) = chunk.whole_usage() {
            self.usage = Some(usage);
        }
        Ok(events)
    }

    fn finish(&mut self) -> Result<Vec<Event>, Untellable> {
        let (reason, met_stop) = self.finished.take().ok_or(Untellable::Unfinished)?;
        let closed = self.splitter.close();
        let mut events: Vec<Event> = closed
            .iter()
            .filter_map(|change| self.event(change))
            .collect();
        let (stop_reason, stop_sequence) =
            stop::from_chat(&reason, met_stop.as_deref(), self.has_calls);
        let fields = json!({
            "delta": {"stop_reason": stop_reason, "stop_sequence": stop_sequence},
            "usage": usage::from_chat(self.usage.as_ref()),
        });
        events.push(Event::new("message_delta", fields));
        events.push(Event::new("message_stop", json!({})));
        Ok(events)
    }

    fn break_off(&mut self, failure: &Failure) -> Event {
        Event(error_body(failure))
    }
}

fn head(head: &MessageHead) -> Map<String, Value> {
    let mut message = Map::new();
    message.insert("id".into(), head.id.clone().into());
    message.insert("type".into(), "message".into());
    message.insert("role".into(), "assistant".into());
    message.insert("model".into(), head.model.clone().into());
    message
}

fn block(part: &Part) -> Value {
    match part {
        Part::Reasoning(text) => json!({"type": "thinking", "thinking": text, "signature": ""}),
        Part::Text(text) | Part::Refusal(text) => json!({"type": "text", "text": text}),
        Part::Call(call) => json!({
            "type": "tool_use",
            "id": call.id,
            "name": call.name,
            "input": arguments_as_object(&call.arguments),
        }),
    }
}

fn delta(kind: Kind, text: &str) -> Value {
    match kind {
        Kind::Reasoning => json!({"type": "thinking_delta", "thinking": text}),
        Kind::Text | Kind::Refusal => json!({"type": "text_delta", "text": text}),
        Kind::Call => json!({"type": "input_json_delta", "partial_json": text}),
    }
}
