//! What is wrong is refused by the name that the dialect has for it.

use serde_json::{Value, json};

use crate::{
    chat::{ChatRequest, InvalidRequest},
    dialect::{
        anthropic::{MessagesRequest, upstream},
        responses::ResponsesRequest,
    },
};

/// The field that must be named, then what is changed in a request that is right.
const WRONG_MESSAGES: &str = r#"
model {"model": null}
model {"model": 3}
model {"model": ""}
max_tokens {"max_tokens": null}
max_tokens {"max_tokens": 0}
max_tokens {"max_tokens": "5"}
messages {"messages": null}
messages {"messages": []}
messages {"messages": "hi"}
messages[0] {"messages": [7]}
messages[0] {"messages": [null]}
messages[0].role {"messages": [{"content": "hi"}]}
messages[0].role {"messages": [{"role": "tool", "content": "hi"}]}
messages[0].role {"messages": [{"role": 1, "content": "hi"}]}
messages[0].content {"messages": [{"role": "user"}]}
messages[0].content {"messages": [{"role": "user", "content": 7}]}
messages[0].content {"messages": [{"role": "user", "content": []}]}
messages[0].content {"messages": [{"role": "assistant", "content": {}}]}
messages[0].content[0].type {"messages": [{"role": "user", "content": [{"text": "a"}]}]}
messages[0].content[0].type {"messages": [{"role": "user", "content": ["a"]}]}
messages[0].content[0].type {"messages": [{"role": "user", "content": [{"type": "tool_use", "id": "a", "name": "b", "input": {}}]}]}
messages[0].content[0].type {"messages": [{"role": "assistant", "content": [{"type": "image"}]}]}
messages[0].content[0].text {"messages": [{"role": "user", "content": [{"type": "text"}]}]}
messages[0].content[0].text {"messages": [{"role": "user", "content": [{"type": "text", "text": 7}]}]}
messages[0].content[0].source.type {"messages": [{"role": "user", "content": [{"type": "image"}]}]}
messages[0].content[0].source.type {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}]}]}
messages[0].content[0].source.type {"messages": [{"role": "user", "content": [{"type": "document", "source": {"type": "url", "url": "u"}}]}]}
messages[0].content[0].source.data {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png"}}]}]}
messages[0].content[0].source.url {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": 7}}]}]}
messages[0].content[0].input {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "b", "input": "c"}]}]}
messages[0].content[0].id {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "name": "b", "input": {}}]}]}
messages[0].content[0].name {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "", "input": {}}]}]}
messages[0].content[0].tool_use_id {"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]}
messages[0].content[0].content {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": 7}]}]}
messages[0].content[0].content[0].type {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": [{"type": "document"}]}]}]}
messages[0].content[0].is_error {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "is_error": "yes"}]}]}
system {"system": 7}
system[0].type {"system": [{"type": "image"}]}
system[1].text {"system": [{"type": "text", "text": "a"}, {"type": "text"}]}
stop_sequences {"stop_sequences": "END"}
stop_sequences[1] {"stop_sequences": ["a", ""]}
stop_sequences {"stop_sequences": ["1","2","3","4","5","6","7","8","9","10","11","12","13","14","15","16","17"]}
stream {"stream": "yes"}
temperature {"temperature": 1.5}
temperature {"temperature": "hot"}
top_p {"top_p": 2}
tools {"tools": {}}
tools[0] {"tools": [7]}
tools[0].type {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}
tools[0].name {"tools": [{"input_schema": {}}]}
tools[0].input_schema {"tools": [{"name": "a"}]}
tools[0].input_schema {"tools": [{"name": "a", "input_schema": []}]}
tools[0].description {"tools": [{"name": "a", "input_schema": {}, "description": 7}]}
tools[0].strict {"tools": [{"name": "a", "input_schema": {}, "strict": 1}]}
tool_choice {"tool_choice": "auto"}
tool_choice.type {"tool_choice": {}}
tool_choice.type {"tool_choice": {"type": "some"}}
tool_choice.name {"tool_choice": {"type": "tool"}}
tool_choice.disable_parallel_tool_use {"tool_choice": {"type": "auto", "disable_parallel_tool_use": 1}}
metadata {"metadata": "u"}
metadata.user_id {"metadata": {"user_id": 7}}
thinking {"thinking": true}
thinking.type {"thinking": {}}
output_config {"output_config": 7}
output_config.effort {"output_config": {"effort": 7}}
output_config.format {"output_config": {"format": "json"}}
output_config.format.type {"output_config": {"format": {"type": "json_object"}}}
output_config.format.schema {"output_config": {"format": {"type": "json_schema"}}}
container {"container": "c"}
mcp_servers {"mcp_servers": [{}]}
inference_geo {"inference_geo": "eu"}
n {"n": 2}
"#;

const WRONG_RESPONSES: &str = r#"
model {"model": null}
model {"model": ["a"]}
input {"input": null}
input {"input": []}
input {"input": 7}
input {"input": [{"type": "reasoning", "summary": []}]}
input[0] {"input": ["hi"]}
input[0].type {"input": [{"type": 7}]}
input[0].type {"input": [{"type": "item_reference", "id": "a"}]}
input[0].type {"input": [{"type": "web_search_call", "id": "a"}]}
input[0].role {"input": [{"content": "hi"}]}
input[0].role {"input": [{"role": "tool", "content": "hi"}]}
input[0].content {"input": [{"role": "user"}]}
input[0].content {"input": [{"role": "user", "content": []}]}
input[0].content {"input": [{"role": "user", "content": 7}]}
input[0].content[0] {"input": [{"role": "user", "content": ["hi"]}]}
input[0].content[0].type {"input": [{"role": "user", "content": [{"type": "input_audio"}]}]}
input[0].content[0].text {"input": [{"role": "user", "content": [{"type": "input_text", "text": 7}]}]}
input[0].content[0].image_url {"input": [{"role": "user", "content": [{"type": "input_image"}]}]}
input[0].content[0].file_id {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]}
input[0].content[0].file_id {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]}
input[0].content[0].file_url {"input": [{"role": "user", "content": [{"type": "input_file", "file_url": "u"}]}]}
input[0].content[0].detail {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "u", "detail": 7}]}]}
input[0].call_id {"input": [{"type": "function_call", "name": "a", "arguments": "{}"}]}
input[0].name {"input": [{"type": "function_call", "call_id": "a", "arguments": "{}"}]}
input[0].arguments {"input": [{"type": "function_call", "call_id": "a", "name": "b", "arguments": {}}]}
input[0].call_id {"input": [{"type": "function_call_output", "output": "a"}]}
input[0].output {"input": [{"type": "function_call_output", "call_id": "a"}]}
input[0].output {"input": [{"type": "function_call_output", "call_id": "a", "output": 7}]}
input[0].output[0].type {"input": [{"type": "function_call_output", "call_id": "a", "output": [{"type": "input_file"}]}]}
instructions {"instructions": 7}
max_output_tokens {"max_output_tokens": 0}
max_output_tokens {"max_output_tokens": "5"}
stream {"stream": "yes"}
temperature {"temperature": 2.5}
top_p {"top_p": "1"}
parallel_tool_calls {"parallel_tool_calls": "no"}
tools {"tools": {}}
tools[1].type {"tools": [{"type": "function", "name": "a"}, {"type": "web_search"}]}
tools[0].type {"tools": [{"type": "custom", "name": "a"}]}
tools[0].name {"tools": [{"type": "function"}]}
tools[0].parameters {"tools": [{"type": "function", "name": "a", "parameters": "p"}]}
tools[0].strict {"tools": [{"type": "function", "name": "a", "strict": "yes"}]}
tool_choice {"tool_choice": "some"}
tool_choice {"tool_choice": 7}
tool_choice.type {"tool_choice": {"type": "file_search"}}
tool_choice.name {"tool_choice": {"type": "function"}}
text {"text": "t"}
text.format {"text": {"format": "json"}}
text.format.type {"text": {"format": {"type": "grammar"}}}
text.format.name {"text": {"format": {"type": "json_schema", "schema": {}}}}
text.format.schema {"text": {"format": {"type": "json_schema", "name": "a"}}}
text.verbosity {"text": {"verbosity": 3}}
reasoning {"reasoning": "high"}
reasoning.effort {"reasoning": {"effort": 3}}
metadata {"metadata": "m"}
metadata.a {"metadata": {"a": 7}}
stream_options {"stream_options": 7}
include[0] {"include": ["file_search_call.results"]}
include {"include": "reasoning.encrypted_content"}
store {"store": true}
store {"store": "no"}
background {"background": true}
truncation {"truncation": "auto"}
previous_response_id {"previous_response_id": "resp_1"}
conversation {"conversation": "conv_1"}
prompt {"prompt": {"id": "p"}}
context_management {"context_management": []}
max_tool_calls {"max_tool_calls": 3}
moderation {"moderation": {}}
top_logprobs {"top_logprobs": 3}
messages {"messages": []}
response_format {"response_format": {}}
n {"n": 2}
"#;

#[track_caller]
fn refuses(cases: &str, right: &Value, parse: fn(Value) -> Result<Value, InvalidRequest>) {
    let chat = parse(right.clone()).unwrap();
    ChatRequest::parse(chat).expect("the request is right but for the change");
    for case in cases.trim().lines() {
        let (param, change) = case.split_once(' ').unwrap();
        let mut body = right.clone();
        for (field, value) in serde_json::from_str::<Value>(change)
            .unwrap()
            .as_object()
            .unwrap()
        {
            body[field] = value.clone();
        }
        // What both sides call alike may be found by either.
        let refused = parse(body).and_then(ChatRequest::parse);
        let wrong = refused.expect_err(case);
        assert_eq!(wrong.param, param, "{case}: {wrong}");
        assert!(
            wrong.message.contains(&format!("`{param}`")),
            "{case}: {wrong}"
        );
    }
    assert_eq!(parse(json!([])).unwrap_err().param, "body");
}

#[test]
fn every_wrong_field_of_a_messages_request_is_named() {
    let right = json!({"model": "coterie", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]});
    refuses(WRONG_MESSAGES, &right, |body| {
        Ok(MessagesRequest::parse(body)?.chat)
    });
}

#[test]
fn every_wrong_field_of_a_responses_request_is_named() {
    let right = json!({"model": "coterie", "input": "hi"});
    refuses(WRONG_RESPONSES, &right, |body| {
        Ok(ResponsesRequest::parse(body)?.chat)
    });
}

#[test]
fn where_a_text_may_be_that_is_said() {
    let message = |content: Value| json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": content}]});
    let result = json!([{"type": "tool_result", "tool_use_id": "a", "content": 7}]);
    let mut with_system = message(json!("hi"));
    with_system["system"] = json!(7);
    let messages = [message(json!(7)), message(result), with_system];
    let input = |input: Value| json!({"model": "m", "input": input});
    let output = json!([{"type": "function_call_output", "call_id": "a", "output": 7}]);
    let responses = [
        input(json!(7)),
        input(json!([{"role": "user", "content": 7}])),
        input(output),
    ];
    let messages = messages.map(|body| MessagesRequest::parse(body).unwrap_err());
    let responses = responses.map(|body| ResponsesRequest::parse(body).unwrap_err());
    for refused in messages.into_iter().chain(responses) {
        let expected = format!("`{}` must be a text or a list", refused.param);
        assert_eq!(refused.message, expected);
    }
}

#[test]
fn what_anthropic_cannot_say_is_refused_by_the_field_that_asks() {
    let image = |url: &str| {
        let part = json!({"type": "image_url", "image_url": {"url": url}});
        json!({"messages": [{"role": "user", "content": [part]}]})
    };
    let sound = json!({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]});
    let result = json!({"messages": [{"role": "function", "name": "a", "content": "b"}]});
    for (fields, param) in [
        (json!({"n": 2}), "n"),
        (json!({"logprobs": true}), "logprobs"),
        (json!({"top_logprobs": 3}), "top_logprobs"),
        (json!({"logit_bias": {"5": 1}}), "logit_bias"),
        (json!({"frequency_penalty": 0.5}), "frequency_penalty"),
        (json!({"presence_penalty": -0.5}), "presence_penalty"),
        (json!({"functions": [{}]}), "functions"),
        (json!({"modalities": ["text", "audio"]}), "modalities"),
        (json!({"audio": {"voice": "alloy"}}), "audio"),
        (json!({"web_search_options": {}}), "web_search_options"),
        (
            json!({"tools": [{"type": "custom", "custom": {}}]}),
            "tools",
        ),
        (
            json!({"tools": [{"function": {"name": "a"}}], "tool_choice": {"type": "allowed_tools"}}),
            "tool_choice",
        ),
        (
            json!({"response_format": {"type": "json_object"}}),
            "response_format",
        ),
        (image("data:image/svg+xml,<svg/>"), "messages"),
        (sound, "messages"),
        (result, "messages"),
    ] {
        let refused = upstream::messages_request(fields.as_object().unwrap(), "claude");
        assert_eq!(refused.unwrap_err().param, param, "{fields}");
    }
}
