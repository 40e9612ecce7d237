//! A chat answer as a Response, whole or in events.

use serde_json::{Map, Value, json};

use super::{
    Echo,
    items::{Item, Status, content_part},
};
use crate::{
    chat::{Chunk, Completion},
    dialect::{
        Event, Failure, Untellable, Writer,
        parts::{self, Change, Kind, Part, Splitter},
    },
};

/// Most bytes of an answer that are kept, because the last event of a stream repeats all of it: as many as a whole answer
/// of a remote expert may have.
const KEPT_BYTES_MAX: usize = 32 << 20;

/// What is known of a Response before its output.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// The Response's id.
    pub id: String,
    /// The expert that answers, or that begins to.
    pub model: String,
    /// Seconds since 1970-01-01 UTC.
    pub created_s: i64,
    /// What it repeats of the request.
    pub echo: Echo,
}

/// Writes one Response.
#[derive(Debug)]
pub struct ResponseWriter {
    head: ResponseHead,
    splitter: Splitter,
    /// The number that the next event gets.
    sequence: u64,
    /// Output items; the last may not be over.
    items: Vec<Item>,
    kept_bytes: usize,
    finish_reason: Option<String>,
    /// Chat completions' counts.
    usage: Option<Value>,
}

impl ResponseWriter {
    /// Begins a Response.
    pub fn new(head: ResponseHead) -> Self {
        Self {
            head,
            splitter: Splitter::default(),
            sequence: 0,
            items: Vec::new(),
            kept_bytes: 0,
            finish_reason: None,
            usage: None,
        }
    }

    fn event(&mut self, name: &str, mut fields: Value) -> Event {
        fields["sequence_number"] = self.sequence.into();
        self.sequence += 1;
        Event::new(name, fields)
    }

    /// An event of the item that was begun last.
    fn of_item(&mut self, name: &str, mut fields: Value) -> Event {
        fields["output_index"] = self.items.len().saturating_sub(1).into();
        self.event(name, fields)
    }

    /// An event of that item's content.
    fn of_content(&mut self, name: &str, mut fields: Value) -> Event {
        fields["item_id"] = json!(self.items.last().map(|item| &item.id));
        self.of_item(name, fields)
    }

    fn begin(&mut self) -> Vec<Event> {
        if self.sequence > 0 {
            return Vec::new();
        }
        let response = self.response("in_progress", Vec::new());
        ["response.created", "response.in_progress"]
            .map(|name| self.event(name, json!({"response": response})))
            .into()
    }

    fn events(&mut self, change: Change) -> Result<Vec<Event>, Untellable> {
        match change {
            Change::Opened(part) => Ok(self.open(part)),
            Change::Grew(kind, text) => {
                self.kept_bytes += text.len();
                if self.kept_bytes > KEPT_BYTES_MAX {
                    let bytes_max = KEPT_BYTES_MAX;
                    return Err(Untellable::TooLong { bytes_max });
                }
                if let Some(item) = self.items.last_mut() {
                    item.part.push(&text);
                }
                Ok(vec![self.grow(kind, text)])
            }
            Change::Closed(_) => Ok(self.close(Status::Completed)),
        }
    }

    fn open(&mut self, part: Part) -> Vec<Event> {
        let kind = part.kind();
        let item = Item::new(&self.head.id, self.items.len(), part);
        let begun = item.begun();
        self.items.push(item);
        let mut events = vec![self.of_item("response.output_item.added", json!({"item": begun}))];
        if kind != Kind::Call {
            let fields = json!({"content_index": 0, "part": content_part(kind, "")});
            events.push(self.of_content("response.content_part.added", fields));
        }
        events
    }

    fn grow(&mut self, kind: Kind, text: String) -> Event {
        let mut fields = json!({"delta": text});
        if kind != Kind::Call {
            fields["content_index"] = 0.into();
        }
        if kind == Kind::Text {
            fields["logprobs"] = json!([]);
        }
        self.of_content(&format!("{}.delta", content_event(kind)), fields)
    }

    fn close(&mut self, status: Status) -> Vec<Event> {
        let Some(item) = self.items.last() else {
            return Vec::new();
        };
        let (kind, text) = (item.part.kind(), item.part.text().to_owned());
        let whole = item.with_content(status);
        let done = format!("{}.done", content_event(kind));
        let mut events = Vec::new();
        if kind == Kind::Call {
            events.push(self.of_content(&done, json!({"arguments": text})));
        } else {
            let mut fields = json!({"content_index": 0});
            match kind {
                Kind::Refusal => fields["refusal"] = text.clone().into(),
                _ => fields["text"] = text.clone().into(),
            }
            if kind == Kind::Text {
                fields["logprobs"] = json!([]);
            }
            events.push(self.of_content(&done, fields));
            let fields = json!({"content_index": 0, "part": content_part(kind, &text)});
            events.push(self.of_content("response.content_part.done", fields));
        }
        events.push(self.of_item("response.output_item.done", json!({"item": whole})));
        events
    }

    fn response(&self, status: &str, output: Vec<Value>) -> Map<String, Value> {
        let mut response = Map::new();
        response.insert("id".into(), self.head.id.clone().into());
        response.insert("object".into(), "response".into());
        response.insert("created_at".into(), self.head.created_s.into());
        response.insert("status".into(), status.into());
        response.insert("error".into(), Value::Null);
        response.insert("incomplete_details".into(), Value::Null);
        response.insert("model".into(), self.head.model.clone().into());
        response.insert("output".into(), output.into());
        response.extend(self.head.echo.0.clone());
        response.insert("usage".into(), Value::Null);
        response
    }

    /// The Response at its end.
    fn ended(&self, reason: &str, usage: Option<&Value>) -> Map<String, Value> {
        let incomplete = incomplete(reason);
        let status = if incomplete.is_some() {
            "incomplete"
        } else {
            "completed"
        };
        let output = self.output(last_status(reason));
        let mut response = self.response(status, output);
        if let Some(why) = incomplete {
            response.insert("incomplete_details".into(), json!({"reason": why}));
        }
        response.insert("usage".into(), counts(usage));
        response
    }

    /// The output items; the last has this status.
    fn output(&self, last: Status) -> Vec<Value> {
        let last_index = self.items.len().saturating_sub(1);
        let status = |index| {
            if index == last_index {
                last
            } else {
                Status::Completed
            }
        };
        let items = self.items.iter().enumerate();
        items
            .map(|(index, item)| item.with_content(status(index)))
            .collect()
    }
}

impl Writer for ResponseWriter {
    fn whole(mut self, completion: &Completion) -> Map<String, Value> {
        for part in parts::of_completion(completion) {
            let index = self.items.len();
            self.items.push(Item::new(&self.head.id, index, part));
        }
        let reason = completion.finish_reason().unwrap_or_default();
        self.ended(reason, completion.whole_usage().as_ref())
    }

    fn chunk(&mut self, chunk: &Chunk) -> Result<Vec<Event>, Untellable> {
        let mut events = self.begin();
        for change in self.splitter.take(chunk)? {
            events.extend(self.events(change)?);
        }
        if let Some(reason) = chunk.finish_reason() {
            self.finish_reason = Some(reason.to_owned());
        }
        if let Some(usage) = chunk.whole_usage() {
            self.usage = Some(usage);
        }
        // Another expert may go on with an answer that broke off; what is counted at the end is what that one counted.
        if let Some(model) = chunk.model() {
            self.head.model = model;
        }
        Ok(events)
    }

    fn finish(&mut self) -> Result<Vec<Event>, Untellable> {
        let reason = self.finish_reason.take().ok_or(Untellable::Unfinished)?;
        let mut events = Vec::new();
        for change in self.splitter.close() {
            match change {
                // Only the last item can be incomplete.
                Change::Closed(_) => events.extend(self.close(last_status(&reason))),
                change => events.extend(self.events(change)?),
            }
        }
        let usage = self.usage.take();
        let response = self.ended(&reason, usage.as_ref());
        let name = match incomplete(&reason) {
            Some(_) => "response.incomplete",
            None => "response.completed",
        };
        events.push(self.event(name, json!({"response": response})));
        Ok(events)
    }

    fn break_off(&mut self, failure: &Failure) -> Event {
        let mut response = self.response("failed", self.output(Status::Incomplete));
        // The dialect has few words, and none of ours is among them.
        let code = if failure.status == 429 {
            "rate_limit_exceeded"
        } else {
            "server_error"
        };
        let error = json!({"code": code, "message": failure.sentence()});
        response.insert("error".into(), error);
        self.event("response.failed", json!({"response": response}))
    }
}

/// The beginning of the names of the events of a part's content.
fn content_event(kind: Kind) -> &'static str {
    match kind {
        Kind::Reasoning => "response.reasoning_text",
        Kind::Text => "response.output_text",
        Kind::Refusal => "response.refusal",
        Kind::Call => "response.function_call_arguments",
    }
}

/// Why a Response is not complete; none where it is.
fn incomplete(finish_reason: &str) -> Option<&'static str> {
    match finish_reason {
        "length" => Some("max_output_tokens"),
        "content_filter" => Some("content_filter"),
        _ => None,
    }
}

fn last_status(finish_reason: &str) -> Status {
    match incomplete(finish_reason) {
        Some(_) => Status::Incomplete,
        None => Status::Completed,
    }
}

/// The counts of a Response; null where the expert counted nothing.
fn counts(usage: Option<&Value>) -> Value {
    let count = |of: &str| usage.and_then(|usage| usage.pointer(of)?.as_u64());
    let (Some(input), Some(output)) = (count("/prompt_tokens"), count("/completion_tokens")) else {
        return Value::Null;
    };
    json!({
        "input_tokens": input,
        "input_tokens_details": {
            "cached_tokens": count("/prompt_tokens_details/cached_tokens").unwrap_or(0),
            "cache_write_tokens": count("/prompt_tokens_details/cache_write_tokens").unwrap_or(0),
        },
        "output_tokens": output,
        "output_tokens_details": {
            "reasoning_tokens": count("/completion_tokens_details/reasoning_tokens").unwrap_or(0),
        },
        "total_tokens": input + output,
    })
}
