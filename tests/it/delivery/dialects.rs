//! The same faults for clients of other dialects: whatever becomes of an answer, no part of it looks like the whole.

use coterie::ids::ExpertId;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{
    CATEGORIES, Texts, faults, house,
    table::{Expected, ROWS, Row},
    texts,
};
use crate::support::coterie::Coterie;

/// How a client of a dialect asks, and what it looks for.
#[derive(Clone, Copy, Debug)]
enum Spoken {
    Messages,
    Responses,
}

/// What a client got.
#[derive(Debug, Default)]
struct Heard {
    status: u16,
    text: String,
    /// Told that it is over, and that it is all.
    is_done: bool,
    /// Told that it broke off, or that there is none.
    has_failed: bool,
}

impl Spoken {
    async fn ask(self, coterie: &Coterie, model: &str, stream: bool) -> Heard {
        let turns = json!([{"role": "user", "content": "Which trees?"}]);
        let (path, body) = match self {
            Self::Messages => (
                "/v1/messages",
                json!({"model": model, "stream": stream, "max_tokens": 1000, "messages": turns}),
            ),
            Self::Responses => (
                "/v1/responses",
                json!({"model": model, "stream": stream, "input": turns}),
            ),
        };
        let response = coterie.post(path, &body).send().await.unwrap();
        let status = response.status().as_u16();
        let body = response.text().await.unwrap();
        let mut heard = Heard {
            status,
            ..Heard::default()
        };
        if stream && status == 200 {
            for data in body.lines().filter_map(|line| line.strip_prefix("data: ")) {
                assert!(!heard.is_done && !heard.has_failed, "more after the end");
                heard.hear(&serde_json::from_str(data).unwrap());
            }
        } else {
            heard.read(&serde_json::from_str(&body).unwrap());
        }
        heard
    }
}

impl Heard {
    /// An event of a stream.
    fn hear(&mut self, event: &Value) {
        let delta = &event["delta"];
        match event["type"].as_str().unwrap() {
            "content_block_delta" => {
                let said = delta["text"].as_str().or(delta["partial_json"].as_str());
                self.text += said.unwrap();
            }
            "response.output_text.delta" | "response.function_call_arguments.delta" => {
                self.text += delta.as_str().unwrap();
            }
            "message_stop" | "response.completed" | "response.incomplete" => self.is_done = true,
            "error" | "response.failed" => self.has_failed = true,
            _ => {}
        }
    }

    /// An answer that came whole, or the reason why there is none.
    fn read(&mut self, answer: &Value) {
        self.is_done = self.status == 200;
        self.has_failed = !answer["error"].is_null();
        let parts = answer["content"].as_array().or(answer["output"].as_array());
        for part in parts.into_iter().flatten() {
            if part["type"] == "tool_use" {
                self.text += &part["input"].to_string();
            }
            let said = [
                &part["text"],
                &part["content"][0]["text"],
                &part["arguments"],
            ];
            self.text.extend(said.into_iter().filter_map(Value::as_str));
        }
    }

    /// Whether it is all that there is of a text, and told to be.
    fn is_all_of(&self, text: &str) -> bool {
        let read = |text: &str| serde_json::from_str::<Value>(text).ok();
        let is_same =
            self.text == text || read(text).is_some_and(|it| read(&self.text) == Some(it));
        self.status == 200 && self.is_done && !self.has_failed && is_same
    }
}

/// Whether a row's client gets what it should.
fn is_right(row: &Row, expected: Expected, heard: &Heard, texts: &Texts) -> bool {
    match expected {
        Expected::Whole(_) | Expected::Uncounted => heard.is_all_of(texts.text(row.text)),
        Expected::Other => heard.is_all_of(texts.text("other")),
        Expected::Long(_) => false,
        Expected::Finished(_, words) => {
            heard.is_done && !heard.has_failed && heard.text.trim_end() == texts.first(words)
        }
        Expected::BrokeOff(words, _) => {
            heard.has_failed && !heard.is_done && heard.text.trim_end() == texts.first(words)
        }
        // Anthropic has a status of its own for that.
        Expected::Told(503, _) if heard.status == 529 => heard.has_failed,
        Expected::Told(status, _) => heard.status == status && heard.has_failed,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_has_its_right_end_in_other_dialects() {
    let faults = faults().await;
    let texts = texts(&faults).await;
    let mut wrong = Vec::new();
    for rows in ROWS.chunks(CATEGORIES.len()) {
        let coterie = Coterie::serve(&house(rows, &faults)).await;
        for (spoken, stream, has_fallback) in every_way() {
            faults.reset();
            let asking = rows.iter().enumerate().map(async |(at, row)| {
                let own = ExpertId::new(format!("e{at}"));
                let model = if has_fallback {
                    format!("coterie/{}", CATEGORIES[at])
                } else {
                    own.to_string()
                };
                let heard = spoken.ask(&coterie, &model, stream).await;
                let expected = row.expected(stream, has_fallback);
                let said: String = format!("{heard:?}").chars().take(500).collect();
                (!is_right(row, expected, &heard, &texts)).then(|| {
                    let model = row.model;
                    format!("{model}, {spoken:?}, stream {stream}, fallback {has_fallback}: {expected:?}, got {said}")
                })
            });
            wrong.extend(join_all(asking).await.into_iter().flatten());
        }
        coterie.stop().await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn every_way() -> impl Iterator<Item = (Spoken, bool, bool)> {
    let ways = [Spoken::Messages, Spoken::Responses].into_iter();
    ways.flat_map(|spoken| {
        [(false, false), (false, true), (true, false), (true, true)]
            .map(|(stream, has_fallback)| (spoken, stream, has_fallback))
    })
}
