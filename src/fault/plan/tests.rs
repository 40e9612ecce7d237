mod breaking;

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::fault::kind::FAULTS;

/// A request, and the model that it names.
struct Ask {
    asked: Asked,
    model: Model,
}

impl Ask {
    fn plain(name: &str) -> Self {
        let asked = Asked {
            model: name.to_owned(),
            prompt_tokens: 3,
            ..Asked::default()
        };
        let model = name.parse().unwrap();
        Self { asked, model }
    }

    fn streamed(name: &str) -> Self {
        let mut ask = Self::plain(name);
        ask.asked.stream = true;
        ask.asked.include_usage = true;
        ask
    }

    fn behind(mut self, prefill: &str) -> Self {
        self.asked.prefill = Some(prefill.to_owned());
        self
    }

    fn reply(&self) -> Reply {
        self.turn(1, true)
    }

    fn turn(&self, nth: u64, struck: bool) -> Reply {
        reply(&Question {
            asked: &self.asked,
            model: &self.model,
            nth,
            struck,
            now_ms: 0,
        })
    }
}

fn head(reply: &Reply) -> &Head {
    let head = reply.steps.iter().find_map(|step| match step {
        Step::Head(head) => Some(head),
        _ => None,
    });
    head.unwrap()
}

/// The bytes of the body, repetitions once.
fn bytes(reply: &Reply) -> Vec<u8> {
    let mut body = Vec::new();
    for step in &reply.steps {
        if let Step::Bytes(bytes) | Step::Drip { bytes, .. } | Step::Repeat { bytes, .. } = step {
            body.extend(bytes);
        }
    }
    body
}

fn text(reply: &Reply) -> String {
    String::from_utf8(bytes(reply)).unwrap()
}

fn waits(reply: &Reply) -> Vec<Duration> {
    let waits = reply.steps.iter().filter_map(|step| match step {
        Step::Wait(wait) => Some(*wait),
        Step::Drip { pace, .. } => Some(*pace),
        _ => None,
    });
    waits.collect()
}

/// What a stream says, and whether `[DONE]` comes last.
fn said(stream: &str) -> (String, bool) {
    let mut said = String::new();
    for data in stream
        .split("\n\n")
        .filter_map(|e| e.strip_prefix("data: "))
    {
        let chunk: Value = serde_json::from_str(data).unwrap_or_default();
        said += chunk["choices"][0]["delta"]["content"]
            .as_str()
            .unwrap_or_default();
    }
    (said, stream.ends_with("data: [DONE]\n\n"))
}

#[test]
fn a_whole_reply_is_as_long_as_it_says() {
    for fault in &FAULTS {
        for name in [fault.name.to_owned(), format!("{fault}?text=accents")] {
            let reply = Ask::plain(&name).reply();
            let whole = reply.end == End::Whole && reply.steps.len() > 1;
            let repeats = matches!(fault.kind, Kind::Huge | Kind::HugeEvent);
            if whole
                && !repeats
                && let Framing::Length(length) = head(&reply).framing
            {
                assert_eq!(length, bytes(&reply).len() as u64, "{name}");
            }
        }
    }
}

#[test]
fn whom_the_fault_does_not_strike_is_answered() {
    for fault in &FAULTS {
        let reply = Ask::streamed(fault.name).turn(2, false);
        assert_eq!(reply.end, End::Whole);
        assert!(text(&reply).ends_with("data: [DONE]\n\n"), "{fault}");
    }
}

#[test]
fn usage_counts_what_was_given() {
    let usage = |ask: Ask| {
        let reply = text(&ask.reply());
        let counted = reply.rsplit("\"usage\":").next().unwrap();
        let counted = counted.split('}').next().unwrap();
        serde_json::from_str::<Value>(&format!("{counted}}}")).unwrap()
    };
    let expected = |completion: u64| json!({"prompt_tokens": 3, "completion_tokens": completion, "total_tokens": 3 + completion});
    for (name, tokens) in [("healthy", 17), ("refusal-mid@4", 4), ("tools?tokens=5", 5)] {
        assert_eq!(usage(Ask::plain(name)), expected(tokens), "{name}");
        assert_eq!(usage(Ask::streamed(name)), expected(tokens), "{name}");
    }
    assert_eq!(
        usage(Ask::plain("healthy?tokens=3").behind("alder")),
        expected(2)
    );
}

#[test]
fn usage_is_told_when_it_is_asked_for_or_twice() {
    let mut ask = Ask::streamed("healthy");
    ask.asked.include_usage = false;
    assert_eq!(text(&ask.reply()).matches("\"usage\"").count(), 0);
    for ask in [Ask::plain("double-usage"), Ask::streamed("double-usage")] {
        assert_eq!(
            text(&ask.reply())
                .matches("\"completion_tokens\":17")
                .count(),
            2
        );
    }
    let early = text(&Ask::streamed("double-usage@4").reply());
    assert!(
        early.contains("\"completion_tokens\":4") && early.contains("\"completion_tokens\":17")
    );
}

#[test]
fn what_is_no_json_stands_between_two_tokens() {
    for position in [0, 5, 17] {
        let name = format!("malformed@{position}");
        let document = text(&Ask::plain(&name).reply());
        assert!(serde_json::from_str::<Value>(&document).is_err(), "{name}");
        let stream = text(&Ask::streamed(&name).reply());
        let broken = stream
            .split("\n\n")
            .filter_map(|event| event.strip_prefix("data: "))
            .filter(|data| serde_json::from_str::<Value>(data).is_err());
        assert_eq!(broken.count(), 2, "{name}: the broken one and [DONE]");
    }
}

#[test]
fn bytes_that_are_no_utf8_are_split_across_chunks() {
    for ask in [Ask::plain("bad-utf8"), Ask::streamed("bad-utf8")] {
        let reply = ask.reply();
        assert_eq!(head(&reply).framing, Framing::Chunked);
        assert!(String::from_utf8(bytes(&reply)).is_err());
        let ends_torn =
            |step: &Step| matches!(step, Step::Bytes(bytes) if bytes.ends_with(b"\xf0"));
        assert!(reply.steps.iter().any(ends_torn));
    }
}

#[test]
fn characters_are_split_and_still_whole() {
    for ask in [Ask::plain("split-utf8"), Ask::streamed("split-utf8")] {
        let reply = ask.reply();
        assert_eq!(head(&reply).framing, Framing::Chunked);
        assert!(text(&reply).contains("東京"));
        let torn = reply.steps.iter().filter(
            |step| matches!(step, Step::Bytes(bytes) if std::str::from_utf8(bytes).is_err()),
        );
        assert!(torn.count() > 17);
    }
}

#[test]
fn pace_is_between_tokens_and_before_a_whole_answer() {
    let pace = Duration::from_millis(20);
    let streamed = waits(&Ask::streamed("healthy?tokens=4&pace=20ms").reply());
    assert_eq!(streamed, [pace; 3]);
    let plain = waits(&Ask::plain("healthy?tokens=4&pace=20ms").reply());
    assert_eq!(plain, [pace * 4]);
    let cut = waits(&Ask::streamed("cut@3?tokens=4&pace=20ms").reply());
    assert_eq!(cut, [pace; 2]);
}

#[test]
fn a_slow_start_waits_once_where_it_is_told() {
    let wait = [Duration::from_secs(20)];
    for name in ["slow-start", "slow-start@3"] {
        assert_eq!(waits(&Ask::plain(name).reply()), wait, "{name}");
        assert_eq!(waits(&Ask::streamed(name).reply()), wait, "{name}");
    }
    let first = |ask: Ask| ask.reply().steps.swap_remove(0);
    assert!(matches!(first(Ask::streamed("slow-start")), Step::Head(_)));
    assert!(matches!(first(Ask::plain("slow-start")), Step::Wait(_)));
}

#[test]
fn a_drip_is_all_of_the_body_or_what_follows_its_place() {
    for (name, at_once) in [("drip", false), ("drip@3", true)] {
        let reply = Ask::streamed(name).reply();
        assert_eq!(
            said(&text(&reply)),
            said(&text(&Ask::streamed("healthy").reply()))
        );
        let is_bytes = |step: &Step| matches!(step, Step::Bytes(_));
        assert_eq!(reply.steps.iter().any(is_bytes), at_once, "{name}");
    }
}

#[test]
fn a_huge_answer_is_as_long_as_it_says() {
    for name in ["huge?bytes=40000", "huge-event?bytes=40000", "huge"] {
        let reply = Ask::plain(name).reply();
        let Framing::Length(length) = head(&reply).framing else {
            panic!("{name}");
        };
        let sent = reply.steps.iter().map(|step| match step {
            Step::Bytes(bytes) => bytes.len() as u64,
            Step::Repeat { bytes, times } => bytes.len() as u64 * times,
            _ => 0,
        });
        assert_eq!(sent.sum::<u64>(), length, "{name}");
    }
    let events = |name: &str| text(&Ask::streamed(name).reply()).matches("data: ").count();
    assert_eq!(events("huge?bytes=1"), events("huge-event?bytes=1"));
}

#[test]
fn http_1_0_and_gzip_are_told_in_the_head() {
    let http10 = Ask::streamed("http10").reply();
    assert_eq!(head(&http10).framing, Framing::UntilClose);
    let gzip = Ask::plain("gzip").reply();
    assert!(
        head(&gzip)
            .headers
            .contains(&("content-encoding", "gzip".to_owned()))
    );
    assert!(bytes(&gzip).starts_with(b"\x1f\x8b"));
    let page = Ask::streamed("wrong-type").reply();
    assert!(head(&page).headers[0].1.starts_with("text/html"));
}
