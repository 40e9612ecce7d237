//! Answers that are not whole, and refusals.

use super::*;
use crate::fault::kind::Place;

#[test]
fn what_breaks_off_is_shorter_than_it_says() {
    for fault in ["cut", "torn", "stall", "reset", "close", "silent"] {
        for position in [1, 8, 17] {
            let reply = Ask::plain(&format!("{fault}@{position}")).reply();
            let Framing::Length(length) = head(&reply).framing else {
                panic!("{fault}");
            };
            assert!((bytes(&reply).len() as u64) < length, "{fault}@{position}");
            assert_ne!(reply.end, End::Whole);
        }
    }
}

#[test]
fn each_fault_ends_as_it_is_called() {
    for (name, end) in [
        ("reset", End::Reset),
        ("reset@3", End::Reset),
        ("close@3", End::Close),
        ("silent@3", End::Silence),
        ("header-only", End::Silence),
        ("cut", End::Close),
        ("torn", End::Close),
        ("stall", End::Silence),
        ("no-done", End::Whole),
        ("slow-start", End::Whole),
    ] {
        assert_eq!(Ask::plain(name).reply().end, end, "{name}");
        assert_eq!(Ask::streamed(name).reply().end, end, "{name}");
    }
}

#[test]
fn a_stream_breaks_after_as_many_tokens_as_asked_for() {
    let whole = "alder beech cedar dogwood";
    for fault in FAULTS.iter().filter(|fault| fault.place != Place::Whole) {
        for (position, expected) in [(0, ""), (1, "alder"), (3, "alder beech cedar")] {
            let name = format!("{fault}@{position}?tokens=4");
            let reply = Ask::streamed(&name).reply();
            let (said, done) = said(&String::from_utf8_lossy(&bytes(&reply)));
            let goes_on = matches!(
                fault.kind,
                Kind::SlowStart | Kind::Malformed | Kind::BadUtf8 | Kind::DoubleUsage | Kind::Drip
            );
            if goes_on {
                let said = said.replace("\u{fffd}(", "");
                assert_eq!((said.as_str(), done), (whole, true), "{name}");
            } else {
                assert_eq!(said, expected, "{name}");
                let says_done = matches!(fault.kind, Kind::EarlyDone | Kind::RefusalMid);
                assert_eq!(done, says_done, "{name}");
            }
        }
    }
}

#[test]
fn nothing_is_sent_by_what_breaks_before_the_headers() {
    for name in ["reset", "close", "silent", "reset@0"] {
        assert!(Ask::plain(name).reply().steps.is_empty(), "{name}");
        assert!(Ask::streamed(name).reply().steps.is_empty(), "{name}");
    }
}

#[test]
fn a_refusal_is_a_status_until_tokens_are_out() {
    for fault in FAULTS.iter().filter(|fault| fault.is_refusal()) {
        let late = format!("{fault}@2");
        for ask in [
            Ask::plain(fault.name),
            Ask::streamed(fault.name),
            Ask::plain(&late),
        ] {
            assert!(head(&ask.reply()).status >= 400, "{fault}");
        }
        let reply = Ask::streamed(&late).reply();
        assert_eq!(head(&reply).status, 200);
        let text = text(&reply);
        assert_eq!(said(&text), ("alder beech".to_owned(), false));
        assert!(
            text.trim_end()
                .rsplit("\n\n")
                .next()
                .unwrap()
                .starts_with("data: {\"error\"")
        );
    }
}

#[test]
fn a_refusal_says_when_to_come_back() {
    let told = |name: &str| {
        let reply = Ask::plain(name).reply();
        let headers = head(&reply).headers.clone();
        let found = headers.into_iter().find(|(name, _)| *name == "retry-after");
        found.map(|(_, value)| value)
    };
    assert_eq!(told("rate-limit-once").as_deref(), Some("1"));
    assert_eq!(told("rate-limit"), None);
    assert_eq!(told("overloaded?after=9").as_deref(), Some("9"));
    assert_eq!(
        told("rate-limit?after=2&date").as_deref(),
        Some("Thu, 01 Jan 1970 00:00:02 GMT")
    );
}

#[test]
fn an_error_event_comes_in_a_healthy_status() {
    let reply = Ask::plain("error-event").reply();
    assert_eq!(head(&reply).status, 200);
    let document: Value = serde_json::from_str(&text(&reply)).unwrap();
    assert_eq!(document["error"]["type"], "server_error");
    assert!(text(&Ask::streamed("error-event@0").reply()).contains("data: {\"error\""));
}

#[test]
fn a_prefill_is_rejected_where_the_name_says_so() {
    for name in [
        "reject-prefill",
        "cut?prefill=reject",
        "healthy?prefill=reject",
    ] {
        assert_eq!(
            head(&Ask::plain(name).behind("alder").reply()).status,
            400,
            "{name}"
        );
        assert_eq!(head(&Ask::plain(name).reply()).status, 200, "{name}");
    }
    let once = Ask::plain("reject-prefill?times=1").behind("alder");
    assert_eq!(head(&once.turn(2, false)).status, 200);
}

#[test]
fn an_answer_that_goes_on_breaks_where_its_own_tokens_say() {
    let reply = Ask::streamed("cut@2?tokens=5")
        .behind("alder beech")
        .reply();
    assert_eq!(said(&text(&reply)).0, " cedar dogwood");
    let reply = Ask::streamed("cut@4?tokens=5")
        .behind("alder beech cedar")
        .reply();
    assert_eq!(said(&text(&reply)).0, " dogwood elm");
    assert!(!text(&reply).contains("\"finish_reason\":\"stop\""));
}

#[test]
fn an_answer_without_its_end_has_no_finish_reason() {
    for (name, finish) in [
        ("no-done", "stop"),
        ("no-done?text=tools", "tool_calls"),
        ("refusal-mid", "content_filter"),
    ] {
        let finish = format!("\"finish_reason\":\"{finish}\"");
        assert!(text(&Ask::plain(name).reply()).contains(&finish), "{name}");
        assert!(
            text(&Ask::streamed(name).reply()).contains(&finish),
            "{name}"
        );
    }
    for name in ["no-done@3", "early-done"] {
        assert!(
            !text(&Ask::plain(name).reply()).contains("\"stop\""),
            "{name}"
        );
        assert!(
            !text(&Ask::streamed(name).reply()).contains("\"stop\""),
            "{name}"
        );
    }
}
