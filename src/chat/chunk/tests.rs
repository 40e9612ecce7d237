use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn reasoning_and_tool_calls_are_tokens() {
    for delta in [
        json!({"reasoning_content": "hm"}),
        json!({"tool_calls": [{"index": 0}]}),
    ] {
        let chunk = json!({"choices": [{"delta": delta}]});
        assert!(
            Chunk::parse(chunk.to_string().into())
                .unwrap()
                .carries_token()
        );
    }
}

#[test]
fn an_answer_is_complete_when_every_choice_has_ended() {
    let chunk =
        |choices: Value| Chunk::parse(json!({"choices": choices}).to_string().into()).unwrap();
    let second = chunk(json!([{"index": 1, "delta": {"content": "B"}, "finish_reason": "stop"}]));
    assert_eq!(second.text(), None, "text is the first choice's");
    assert!(second.carries_token() && second.finishes());
    let mut choices = Choices::new(2);
    choices.saw(&second);
    choices.saw(&second);
    assert!(!choices.are_complete());
    choices.saw(&chunk(json!([{"delta": {}, "finish_reason": "length"}])));
    assert!(choices.are_complete());
}

#[test]
fn a_text_in_parts_is_a_text() {
    let part = r#"{"type":"text","text":"hi"}"#;
    let picture = r#"{"type":"image_url","image_url":{"url":"data:"}}"#;
    let of = |parts: &str| {
        parsed(&format!(
            r#"{{"choices":[{{"delta":{{"content":[{parts}]}}}}]}}"#
        ))
    };
    let text = of(part);
    assert_eq!(
        (text.text(), text.has_more_than_text()),
        (Some("hi"), false)
    );
    let both = of(&format!("{part},{picture}"));
    assert_eq!((both.text(), both.has_more_than_text()), (Some("hi"), true));
    let neither = of(picture);
    assert_eq!((neither.text(), neither.has_more_than_text()), (None, true));
    assert!(!of(r#"{"type":"text","text":""}"#).carries_token());
}

fn parsed(json: &str) -> Chunk {
    Chunk::parse(json.into()).unwrap()
}

#[test]
fn what_came_goes_on_but_for_the_models_name() {
    let mine = ExpertId::new("mine");
    for (sent, shown) in [
        (
            r#"{"id": "a",  "model":"gpt-5", "choices":[], "house":[1.50]}"#,
            r#"{"id": "a",  "model":"mine", "choices":[], "house":[1.50]}"#,
        ),
        (
            r#"{"choices":[{"delta":{"content":"\"model\":1","model":2}}],"model": null }"#,
            r#"{"choices":[{"delta":{"content":"\"model\":1","model":2}}],"model": "mine" }"#,
        ),
        (r#" {"a":1}"#, r#" {"model":"mine","a":1}"#),
        ("{}", r#"{"model":"mine"}"#),
    ] {
        let chunk = parsed(sent).named(&mine);
        assert_eq!(chunk.json(), shown);
        assert!(chunk.is_named(&mine));
        assert_eq!(chunk.clone().named(&mine), chunk);
        assert!(!chunk.named(&ExpertId::new("other")).is_named(&mine));
    }
}

#[test]
fn several_lines_become_one_and_a_field_given_twice_counts_once() {
    let lines = parsed("{\"id\": \"a\",\n\"choices\": [\r\n]}");
    assert_eq!(lines.json(), r#"{"id":"a","choices":[]}"#);
    let twice = parsed(r#"{"model":"a","model":"b"}"#).named(&ExpertId::new("mine"));
    assert_eq!(twice.json(), r#"{"model":"mine"}"#);
}

#[test]
fn a_chunk_is_a_json_object() {
    let half = r#"{"choices":[{"delta":{"content":"\ud83d"}}]}"#;
    for wrong in ["[]", "[1,2,3,4,5]", "1", "", "{", "{\"a\":}", "null", half] {
        assert!(Chunk::parse(wrong.into()).is_err(), "{wrong}");
    }
    assert!(Chunk::parse(b"{\"a\":\"\xff\"}".to_vec()).is_err());
}

#[test]
fn what_is_said_of_the_first_choice_is_told_from_the_others() {
    let chunk = parsed(
        r#"{"choices":[{"index":1,"delta":{"content":"B"}},{"index":0,"delta":{"role":"assistant","content":"A",
        "tool_calls":[],"refusal":null},"finish_reason":"stop","stop_reason":"END"}],
        "usage":{"prompt_tokens":3,"completion_tokens":2,"house":1}}"#,
    );
    assert_eq!(chunk.text(), Some("A"));
    assert!(!chunk.has_more_than_text() && chunk.carries_token() && chunk.finishes());
    assert_eq!(chunk.finish_reason(), Some("stop"));
    assert_eq!(chunk.met_stop(), Some("END"));
    assert_eq!(chunk.delta().unwrap()["content"], "A");
    assert_eq!(chunk.usage().unwrap().tokens(), 5);
    assert_eq!(chunk.whole_usage().unwrap()["house"], 1);
}

#[test]
fn a_character_in_two_escapes_is_read() {
    let chunk = parsed(r#"{"choices":[{"delta":{"content":"\ud83d\ude00"}}]}"#);
    assert_eq!(chunk.text(), Some("😀"));
}

#[test]
fn of_two_first_choices_the_first_counts_and_odd_ones_do_not_hide_others() {
    let chunk = parsed(r#"{"choices":[1,{"delta":{"content":"a"}},{"delta":{"content":"b"}}]}"#);
    assert_eq!(chunk.text(), Some("a"));
    assert_eq!(chunk.delta().unwrap()["content"], "a");
}

#[test]
fn what_has_another_form_is_read_over() {
    for odd in [
        r#"{"choices":"none","usage":7,"error":null}"#,
        r#"{"choices":[1],"usage":{"prompt_tokens":"many"}}"#,
        r#"{"choices":[{"index":"x","delta":[],"finish_reason":7,"stop_reason":128009}]}"#,
    ] {
        let chunk = parsed(odd);
        assert!(
            !chunk.carries_token() && !chunk.finishes() && !chunk.has_error(),
            "{odd}"
        );
        assert_eq!(
            (chunk.text(), chunk.usage(), chunk.met_stop()),
            (None, None, None)
        );
    }
}

#[test]
fn text_that_is_no_text_is_not_taken_for_none() {
    for odd in [r#"[{"type":"text"}]"#, "5"] {
        let chunk = parsed(&format!(
            r#"{{"choices":[{{"delta":{{"content":{odd}}}}}]}}"#
        ));
        assert!(chunk.has_more_than_text() && chunk.carries_token(), "{odd}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_as_it_was_sent(text in "\\PC{0,40}", name in "[a-z]{1,9}") {
        let sent = json!({"model": "gpt", "choices": [{"index": 0, "delta": {"content": text}}]});
        let chunk = parsed(&sent.to_string()).named(&ExpertId::new(name.as_str()));
        prop_assert_eq!(chunk.text().unwrap_or_default(), &text);
        prop_assert_eq!(&chunk.object()["model"], &json!(name));
        prop_assert_eq!(&chunk.object()["choices"], &sent["choices"]);
    }
}
