//! Answers that turn out to be other ones: nothing of them is sent.

use serde_json::{Value, json};

use super::{
    super::joint::HELD_BYTES_MAX,
    house::{House, Piece, Told, cut, roles, row, whole, words},
};
use crate::config::{Prefill, StreamRecovery};

const BEGUN: &str = "The answer to your question is";

/// A piece of a tool call; one with a name begins it.
fn call(name: Option<&str>, arguments: &str) -> Piece {
    let function = json!({"name": name, "arguments": arguments});
    let id = name.map(|name| format!("call_{name}"));
    Piece::Delta(json!({"tool_calls": [{"index": 0, "id": id, "function": function}]}))
}

/// The calls that the client got, piece by piece.
fn calls(told: &Told) -> Vec<Value> {
    let chunks = told.chunks.iter();
    chunks
        .filter_map(|chunk| chunk.delta()?.remove("tool_calls"))
        .collect()
}

/// The arguments in them.
fn arguments(told: &Told) -> String {
    let pieces = calls(told);
    let arguments = pieces.iter().map(|it| &it[0]["function"]["arguments"]);
    arguments.filter_map(Value::as_str).collect()
}

fn spliced(first: &[Vec<Piece>]) -> House {
    House::new(StreamRecovery::Splice).with("t", Prefill::None, first)
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_foreign_call_or_refusal_is_sent_and_the_next_expert_goes_on() {
    let foreign = [
        vec![call(Some("delete_all"), r#"{"sure":true}"#), Piece::Finish],
        vec![Piece::Delta(json!({"refusal": "No."})), Piece::Finish],
        // One that ends without saying so.
        vec![call(Some("delete_all"), "{}"), Piece::Usage(9)],
    ];
    for foreign in foreign {
        let told = spliced(&[cut(&[BEGUN])])
            .with("d", Prefill::None, &[foreign])
            .with("e", Prefill::None, &[whole(&[BEGUN, " 42."])])
            .told()
            .await;
        assert_eq!(told.text, "The answer to your question is 42.");
        assert_eq!((told.error, calls(&told)), (None, Vec::new()));
        let refused = |chunk: &crate::chat::Chunk| {
            let delta = chunk.delta();
            delta.is_some_and(|delta| delta.contains_key("refusal"))
        };
        assert!(!told.chunks.iter().any(refused));
        assert_eq!(told.usage.unwrap().completion_tokens, 7, "as e counts");
        assert_eq!(
            roles(&told),
            [
                row("t", "answer", Some("broken")),
                row("d", "splice", Some("diverged")),
                row("e", "splice", None)
            ]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_foreign_text_is_sent_after_half_a_call() {
    let begins = [call(Some("note"), ""), call(None, "{\"words\": \"al")];
    let rest = [call(None, "der\"}"), Piece::Finish, Piece::Usage(7)];
    let told = spliced(&[
        [&begins[..], &[Piece::Cut]].concat(),
        [&begins[..], &rest].concat(),
    ])
    .with("other", Prefill::None, &[whole(&["avocet", " bittern"])])
    .told()
    .await;
    assert_eq!((told.text.as_str(), told.error), ("", None));
    assert_eq!(arguments(&told), r#"{"words": "alder"}"#);
}

#[tokio::test(start_paused = true)]
async fn what_comes_before_the_text_that_was_delivered_is_sent_after_it() {
    let anew = [
        vec![call(Some("look_up"), "{}")],
        whole(&[BEGUN, " 42", "."]),
    ];
    let told = spliced(&[cut(&[BEGUN])])
        .with("b", Prefill::None, &[anew.concat()])
        .told()
        .await;
    assert_eq!(told.text, "The answer to your question is 42.");
    assert_eq!((told.error, calls(&told).len()), (None, 1));
    assert!(told.chunks.iter().all(|chunk| chunk.object()["id"] == "t"));
}

#[tokio::test(start_paused = true)]
async fn only_so_much_is_held_back() {
    let endless = call(Some("look_up"), &"x".repeat(HELD_BYTES_MAX));
    let told = spliced(&[cut(&[BEGUN]), cut(&["x"])])
        .with(
            "b",
            Prefill::None,
            &[[vec![endless], whole(&[BEGUN, "."])].concat()],
        )
        .told()
        .await;
    assert_eq!(
        (told.text.as_str(), told.error, calls(&told).len()),
        (BEGUN, Some("diverged"), 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_function_whose_name_goes_on_is_another_one() {
    let begins = vec![call(Some("delete"), "{"), Piece::Cut];
    let other = vec![call(Some("delete_all"), "{}"), Piece::Finish];
    let told = spliced(&[begins, cut(&["x"])])
        .with("b", Prefill::None, &[other])
        .told()
        .await;
    assert_eq!(
        (arguments(&told).as_str(), told.error),
        ("{", Some("broken"))
    );
    assert_eq!(calls(&told).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_repeats_what_was_delivered_and_then_calls_a_tool_is_given_up() {
    let repeats = [
        words(&["The answer to your"]),
        vec![call(Some("delete_all"), "{}"), Piece::Finish],
    ];
    let told = House::new(StreamRecovery::Continue)
        .with("t", Prefill::None, &[cut(&[BEGUN]), cut(&["x"])])
        .with("b", Prefill::LastMessage, &[repeats.concat()])
        .told()
        .await;
    assert_eq!((told.text.as_str(), told.error), (BEGUN, Some("diverged")));
    assert_eq!(calls(&told), Vec::<Value>::new());
}
