//! Streams that break off, and who goes on with them; whole, from the registry down, over scripted experts.

mod foreign;
mod house;

use serde_json::{Value, json};

use crate::{
    chat::Chunk,
    config::{Prefill, StreamRecovery},
};
use house::{House, Piece, cut, roles, row, whole, words};

#[tokio::test(start_paused = true)]
async fn a_fallback_that_takes_a_prefill_goes_on_from_what_was_delivered() {
    let told = House::new(StreamRecovery::Continue)
        .with(
            "a",
            Prefill::None,
            &[cut(&["One elephant, ", "two mice, "])],
        )
        .with(
            "b",
            Prefill::ContinueFinalMessage,
            &[whole(&["three, ", "four."])],
        )
        .told()
        .await;
    assert_eq!(
        (told.text.as_str(), told.error),
        ("One elephant, two mice, three, four.", None)
    );
    assert_eq!(
        roles(&told),
        [
            row("a", "answer", Some("broken")),
            row("b", "continue", None)
        ]
    );
    let asked = &told.asked[1][0];
    assert_eq!(asked["continue_final_message"], true);
    assert_eq!(
        asked["messages"][1],
        json!({"role": "assistant", "content": "One elephant, two mice,"})
    );
    assert_eq!(asked["max_tokens"], 48, "two were delivered");
    // One answer with one id, in which the role is told once; the model is whoever goes on.
    assert!(told.chunks.iter().all(|chunk| chunk.object()["id"] == "a"));
    let opened = told.chunks.iter().filter(|chunk| {
        let delta = chunk.delta();
        delta.is_some_and(|delta| delta.contains_key("role"))
    });
    assert_eq!(opened.count(), 1);
    assert_eq!(told.chunks.last().unwrap().object()["model"], "b");
    assert_eq!(told.usage.unwrap().completion_tokens, 7, "as b counts");
}

#[tokio::test(start_paused = true)]
async fn where_a_prefill_is_rejected_the_same_beginning_is_spliced() {
    let told = House::new(StreamRecovery::Continue)
        .with(
            "a",
            Prefill::None,
            &[cut(&["One elephant, ", "two mice, "])],
        )
        .with(
            "b",
            Prefill::Prefix,
            &[whole(&["One", " elephant, two mice, th", "ree."])],
        )
        .told()
        .await;
    assert_eq!(
        (told.text.as_str(), told.error),
        ("One elephant, two mice, three.", None)
    );
    assert_eq!(
        roles(&told),
        [
            row("a", "answer", Some("broken")),
            row("b", "continue", Some("refused")),
            row("b", "splice", None)
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_begins_otherwise_is_not_spliced_and_the_client_is_told() {
    let told = House::new(StreamRecovery::Splice)
        .with(
            "a",
            Prefill::None,
            &[cut(&["One, ", "two, "]), cut(&["Uno"])],
        )
        .with("b", Prefill::LastMessage, &[whole(&["One, ", "zwei."])])
        .told()
        .await;
    assert_eq!(told.text, "One, two, ", "nothing of the other answer");
    assert_eq!(told.error, Some("diverged"));
    assert_eq!(
        roles(&told),
        [
            row("a", "answer", Some("broken")),
            row("b", "splice", Some("diverged")),
            row("a", "splice", Some("diverged"))
        ]
    );
    assert!(told.usage.is_none() && !told.chunks.iter().any(Chunk::finishes));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_ends_before_what_was_delivered_is_another_one() {
    let told = House::new(StreamRecovery::Splice)
        .with(
            "a",
            Prefill::None,
            &[cut(&["One, ", "two, "]), cut(&["Uno"])],
        )
        .with("b", Prefill::None, &[whole(&["One, "])])
        .told()
        .await;
    assert_eq!(
        (told.text.as_str(), told.error),
        ("One, two, ", Some("diverged"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_route_may_want_the_error() {
    let told = House::new(StreamRecovery::Error)
        .with("a", Prefill::None, &[cut(&["One, "])])
        .with("b", Prefill::LastMessage, &[whole(&["two."])])
        .told()
        .await;
    assert_eq!((told.text.as_str(), told.error), ("One, ", Some("broken")));
    assert!(told.asked[1].is_empty());
}

#[tokio::test(start_paused = true)]
async fn silence_in_the_middle_is_recovered_like_a_cut() {
    let stalled = [words(&["One elephant and "]), vec![Piece::Stall]].concat();
    let told = House::new(StreamRecovery::Continue)
        .with("a", Prefill::None, &[stalled])
        .with("b", Prefill::LastMessage, &[whole(&[" two."])])
        .told()
        .await;
    assert_eq!(
        (told.text.as_str(), told.error),
        ("One elephant and two.", None)
    );
    assert_eq!(told.attempts[0].error.as_deref(), Some("timed_out"));
}

#[tokio::test(start_paused = true)]
async fn who_broke_off_is_asked_once_more_when_nobody_else_is_left() {
    let told = House::new(StreamRecovery::Continue)
        .with(
            "a",
            Prefill::LastMessage,
            &[cut(&["One elephant and "]), whole(&["two."])],
        )
        .told()
        .await;
    assert_eq!(
        (told.text.as_str(), told.error),
        ("One elephant and two.", None)
    );
    let told = House::new(StreamRecovery::Continue)
        .with("a", Prefill::LastMessage, &[cut(&["One elephant and "])])
        .told()
        .await;
    assert_eq!(
        (told.text.as_str(), told.error),
        ("One elephant and ", Some("broken"))
    );
    assert_eq!(told.attempts.len(), 2, "and not for ever");
}

#[tokio::test(start_paused = true)]
async fn a_fallback_that_breaks_off_too_is_followed_by_the_next() {
    let told = House::new(StreamRecovery::Continue)
        .with("a", Prefill::None, &[cut(&["One elephant and "])])
        .with("b", Prefill::LastMessage, &[cut(&["two mice, "])])
        .with("c", Prefill::LastMessage, &[whole(&["three."])])
        .told()
        .await;
    assert_eq!(
        (told.text.as_str(), told.error),
        ("One elephant and two mice, three.", None)
    );
    assert_eq!(
        told.asked[2][0]["messages"][1]["content"],
        "One elephant and two mice,"
    );
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_says_everything_anew_is_not_repeated() {
    let begun = "The opposite of hot is ";
    let told = House::new(StreamRecovery::Continue)
        .with("a", Prefill::None, &[cut(&[begun])])
        .with(
            "b",
            Prefill::LastMessage,
            &[whole(&["The opposite", " of hot is cold."])],
        )
        .told()
        .await;
    assert_eq!(told.text, "The opposite of hot is cold.");
    // Anew and otherwise: the answer is another one.
    let told = House::new(StreamRecovery::Continue)
        .with("a", Prefill::None, &[cut(&[begun]), cut(&["x"])])
        .with(
            "b",
            Prefill::LastMessage,
            &[whole(&["The opposite of hot would be cold."])],
        )
        .told()
        .await;
    assert_eq!((told.text.as_str(), told.error), (begun, Some("diverged")));
}

#[tokio::test(start_paused = true)]
async fn what_was_thought_before_the_answer_is_not_told_twice() {
    let thinks = |thought: &str| Piece::Delta(json!({"reasoning_content": thought}));
    let told = House::new(StreamRecovery::Continue)
        .with("a", Prefill::None, &[vec![thinks("hm"), Piece::Cut]])
        .with(
            "b",
            Prefill::None,
            &[[vec![thinks("well")], whole(&["Cold."])].concat()],
        )
        .told()
        .await;
    assert_eq!((told.text.as_str(), told.error), ("Cold.", None));
    let thoughts = told.chunks.iter().filter(|chunk| {
        let delta = chunk.delta();
        delta.is_some_and(|delta| delta.contains_key("reasoning_content"))
    });
    assert_eq!(thoughts.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_tool_call_is_spliced_if_it_is_the_same_call() {
    let call = |id: Value, name: Value, arguments: &str| {
        let function = json!({"name": name, "arguments": arguments});
        Piece::Delta(json!({"tool_calls": [{"index": 0, "id": id, "function": function}]}))
    };
    let begins = vec![call(json!("call_a"), json!("weather"), "{\"city\": ")];
    let anew = vec![
        call(json!("call_b"), json!("weather"), ""),
        call(Value::Null, Value::Null, "{\"city\": \"Ro"),
        call(Value::Null, Value::Null, "me\"}"),
        Piece::Finish,
    ];
    let told = House::new(StreamRecovery::Continue)
        .with(
            "a",
            Prefill::None,
            &[[begins.clone(), vec![Piece::Cut]].concat()],
        )
        .with("b", Prefill::LastMessage, &[anew])
        .told()
        .await;
    assert_eq!(told.error, None);
    let mut calls = told
        .chunks
        .iter()
        .filter_map(|chunk| chunk.delta()?.get("tool_calls")?.get(0).cloned());
    let first = calls.next().unwrap();
    assert_eq!(first["id"], "call_a");
    let mut arguments = first["function"]["arguments"].as_str().unwrap().to_owned();
    for call in calls {
        assert!(
            call.get("id").is_none() && call["function"].get("name").is_none(),
            "{call}"
        );
        arguments += call["function"]["arguments"].as_str().unwrap();
    }
    assert_eq!(arguments, "{\"city\": \"Rome\"}");

    let other = vec![call(json!("call_b"), json!("news"), "{}"), Piece::Finish];
    let told = House::new(StreamRecovery::Splice)
        .with(
            "a",
            Prefill::None,
            &[[begins, vec![Piece::Cut]].concat(), cut(&["x"])],
        )
        .with("b", Prefill::None, &[other])
        .told()
        .await;
    assert!(told.error.is_some());
}

#[tokio::test(start_paused = true)]
async fn several_choices_are_not_recovered() {
    let mut house = House::new(StreamRecovery::Continue)
        .with("a", Prefill::None, &[cut(&["One, "])])
        .with("b", Prefill::LastMessage, &[whole(&["two."])]);
    house.body["n"] = 2.into();
    let told = house.told().await;
    assert_eq!((told.text.as_str(), told.error), ("One, ", Some("broken")));
    assert!(told.asked[1].is_empty());
}

#[tokio::test(start_paused = true)]
async fn white_space_at_the_seam_is_told_once_however_it_is_cut() {
    let begun = "def first(items):\n    ";
    for rest in [
        &["\n", "   ", " return 1"][..],
        &["\n    return 1"],
        &["return 1"],
        &["def first(items):", "\n    return", " 1"],
    ] {
        let told = House::new(StreamRecovery::Continue)
            .with("a", Prefill::None, &[cut(&[begun])])
            .with("b", Prefill::LastMessage, &[whole(rest)])
            .told()
            .await;
        assert_eq!(told.text, "def first(items):\n    return 1", "{rest:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_text_is_not_recovered() {
    let custom = json!({"tool_calls": [{"index": 0, "type": "custom", "custom": {"input": "a"}}]});
    let picture = json!({"content": [{"type": "image_url", "image_url": {"url": "data:"}}]});
    for delta in [custom, picture] {
        let told = House::new(StreamRecovery::Continue)
            .with("a", Prefill::None, &[vec![Piece::Delta(delta), Piece::Cut]])
            .with("b", Prefill::LastMessage, &[whole(&["b"])])
            .told()
            .await;
        assert_eq!(told.error, Some("broken"));
        assert!(told.asked[1].is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn parts_of_text_are_text() {
    let parts = |text: &str| Piece::Delta(json!({"content": [{"type": "text", "text": text}]}));
    let begun = vec![parts("One elephant and "), Piece::Cut];
    for (prefill, rest) in [
        (Prefill::LastMessage, vec![parts("two mice.")]),
        (
            Prefill::LastMessage,
            vec![parts("One elephant and two mice.")],
        ),
        (
            Prefill::None,
            vec![parts("One"), parts(" elephant and two mice.")],
        ),
    ] {
        let told = House::new(StreamRecovery::Continue)
            .with("a", Prefill::None, std::slice::from_ref(&begun))
            .with("b", prefill, &[[rest, vec![Piece::Finish]].concat()])
            .told()
            .await;
        assert_eq!(
            (told.text.as_str(), told.error),
            ("One elephant and two mice.", None)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_told_from_a_repetition_is_not_continued() {
    for (begun, rest) in [
        ("1", "10"),
        ("ha", "ha!"),
        ("哈", "哈"),
        ("fifteen letters", "."),
        ("ha ha ha ha ha ha ha ha ", "ha!"),
        ("哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈", "。"),
        ("- yes, it is\n- yes, it is\n- yes", ", it is"),
    ] {
        let all = format!("{begun}{rest}");
        let told = House::new(StreamRecovery::Continue)
            .with("a", Prefill::None, &[cut(&[begun])])
            .with("b", Prefill::LastMessage, &[whole(&[&all])])
            .told()
            .await;
        assert_eq!((told.text.as_str(), told.error), (all.as_str(), None));
        let spliced = [row("a", "answer", Some("broken")), row("b", "splice", None)];
        assert_eq!(roles(&told), spliced, "{begun}");
        let asked = told.asked[1][0]["messages"].as_array().unwrap();
        assert_eq!(asked.len(), 1, "no prefill after {begun}");
    }
}
