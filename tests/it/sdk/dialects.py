"""Drives a running Coterie with the official clients of the dialects beside chat completions: Anthropic's Messages and
OpenAI's Responses. Its experts are scripted: `text` says hello, `tools` and `tools-streamed` call a tool, `cut` breaks off,
`refuses` refuses, `limited` limits, `long` reaches its limit.

Usage: dialects.py BASE_URL KEY. Prints one line a check; any failure is an exception.
"""

import asyncio
import json
import sys

import anthropic
import openai

base_url, key = sys.argv[1], sys.argv[2]
claude = anthropic.Anthropic(base_url=base_url, api_key=key, max_retries=0)
gpt = openai.OpenAI(base_url=f"{base_url}/v1", api_key=key, max_retries=0)
hello = [{"role": "user", "content": "Say hello."}]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def check(name, holds):
    assert holds, name
    print("ok", name)


def raised(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


# ---- Messages -------------------------------------------------------------------------------------------------------
raw = claude.messages.with_raw_response.create(model="text", max_tokens=50, system="Be brief.", messages=hello)
message = raw.parse()
check("message", message.content[0].text == "Hello." and message.stop_reason == "end_turn" and message.role == "assistant")
check("message usage", (message.usage.input_tokens, message.usage.output_tokens) == (7, 2))
check("message expert", message.model == raw.headers["x-coterie-expert"] == "text")
check("message headers", raw.headers["x-coterie-outcome"] == raw.headers["request-id"] and message.id.endswith(raw.headers["request-id"]))

events = list(claude.messages.create(model="text", max_tokens=50, messages=hello, stream=True))
check("message events", [event.type for event in events] == [
    "message_start", "content_block_start", "content_block_delta", "content_block_delta", "content_block_stop",
    "message_delta", "message_stop"])
with claude.messages.stream(model="text", max_tokens=50, messages=hello) as stream:
    text = "".join(stream.text_stream)
    final = stream.get_final_message()
check("message stream", text == "Hello." == final.content[0].text and final.stop_reason == "end_turn")
check("message stream usage", (final.usage.input_tokens, final.usage.output_tokens) == (7, 2))

weather = {"name": "weather", "description": "The weather in a city.",
           "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
call = claude.messages.create(model="tools", max_tokens=50, messages=hello, tools=[weather], tool_choice={"type": "any"})
check("message tool use", call.stop_reason == "tool_use" and call.content[1].input == {"city": "Bonn"})
turns = hello + [call.to_param() if hasattr(call, "to_param") else {"role": "assistant", "content": call.content},
                 {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.content[1].id, "content": "21 C"}]}]
check("message tool result", claude.messages.create(
    model="text", max_tokens=50, messages=turns, tools=[weather]).content[0].text == "Hello.")
with claude.messages.stream(model="tools-streamed", max_tokens=50, messages=hello, tools=[weather]) as stream:
    final = stream.get_final_message()
check("message stream tool use", [(block.type, getattr(block, "input", None)) for block in final.content] == [
    ("text", None), ("tool_use", {"city": "Bonn"}), ("tool_use", {})])
image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
check("message picture", claude.messages.create(model="text", max_tokens=50, messages=[
    {"role": "user", "content": [image, {"type": "text", "text": "What is this?"}]}]).content)
check("message limit", claude.messages.create(model="long", max_tokens=1, messages=hello).stop_reason == "max_tokens")

with claude.messages.stream(model="cut", max_tokens=50, messages=hello) as stream:
    error = raised(anthropic.APIStatusError, lambda: stream.get_final_message())
check("message cut", error.type == "api_error" and "broke off" in error.api_message)

create = claude.messages.create
error = raised(anthropic.BadRequestError, lambda: create(model="text", max_tokens=50, messages=[]))
check("message wrong", error.type == "invalid_request_error" and "`messages`" in error.api_message)
check("message wrong code", error.error_code == "invalid_value")
error = raised(anthropic.BadRequestError, lambda: create(
    model="text", max_tokens=50, messages=[{"role": "user", "content": [{"type": "text", "text": 7}]}]))
check("message wrong field", "messages.0.content.0.text" in error.api_message)
error = raised(anthropic.NotFoundError, lambda: create(model="nobody", max_tokens=50, messages=hello))
check("message model", error.type == "not_found_error" and "nobody" in error.api_message)
error = raised(anthropic.BadRequestError, lambda: create(model="refuses", max_tokens=50, messages=hello))
check("message refused", error.type == "invalid_request_error" and error.api_message == "filtered")
check("message refused outcome", error.request_id)
error = raised(anthropic.RateLimitError, lambda: create(model="limited", max_tokens=50, messages=hello))
check("message limited", error.type == "rate_limit_error" and error.response.headers["retry-after"] == "7")
stranger = anthropic.Anthropic(base_url=base_url, api_key="wrong", max_retries=0)
error = raised(anthropic.AuthenticationError, lambda: stranger.messages.create(model="text", max_tokens=5, messages=hello))
check("message wrong key", error.type == "authentication_error")
bearer = anthropic.Anthropic(base_url=base_url, auth_token=key, max_retries=0)
check("message bearer", bearer.messages.create(model="text", max_tokens=5, messages=hello).content)

# ---- Responses ------------------------------------------------------------------------------------------------------
raw = gpt.responses.with_raw_response.create(model="text", input="Say hello.", instructions="Be brief.", metadata={"a": "b"})
response = raw.parse()
check("response", response.output_text == "Hello." and response.status == "completed" and response.error is None)
check("response usage", (response.usage.input_tokens, response.usage.output_tokens, response.usage.total_tokens) == (7, 2, 9))
check("response repeats", response.instructions == "Be brief." and response.metadata == {"a": "b"})
check("response expert", response.model == raw.headers["x-coterie-expert"] == "text")
check("response headers", response.id.endswith(raw.headers["x-coterie-outcome"]))

events = list(gpt.responses.create(model="text", input=hello, stream=True))
check("response events", [event.type for event in events] == [
    "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
    "response.output_text.delta", "response.output_text.delta", "response.output_text.done", "response.content_part.done",
    "response.output_item.done", "response.completed"])
check("response sequence", [event.sequence_number for event in events] == list(range(len(events))))
with gpt.responses.stream(model="text", input=hello) as stream:
    final = stream.get_final_response()
check("response stream", final.output_text == "Hello." and final.usage.total_tokens == 9)

weather = {"type": "function", "name": "weather", "strict": True, "description": "The weather in a city.", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}}
called = gpt.responses.create(model="tools", input=hello, tools=[weather], tool_choice="required")
call = called.output[1]
check("response call", call.type == "function_call" and json.loads(call.arguments) == {"city": "Bonn"})
items = hello + [item.to_dict() for item in called.output] + [
    {"type": "function_call_output", "call_id": call.call_id, "output": "21 C"}]
check("response call output", gpt.responses.create(model="text", input=items, tools=[weather], store=False).output_text)
with gpt.responses.stream(model="tools-streamed", input=hello, tools=[weather]) as stream:
    final = stream.get_final_response()
check("response stream calls", [(item.name, item.arguments) for item in final.output if item.type == "function_call"] == [
    ("weather", '{"city":"Bonn"}'), ("now", "{}")])
check("response picture", gpt.responses.create(model="text", input=[{"role": "user", "content": [
    {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}", "detail": "auto"},
    {"type": "input_text", "text": "What is this?"}]}]).output_text)
long = gpt.responses.create(model="long", input=hello, max_output_tokens=16)
check("response limit", long.status == "incomplete" and long.incomplete_details.reason == "max_output_tokens")

events = list(gpt.responses.create(model="cut", input=hello, stream=True))
check("response cut", events[-1].type == "response.failed" and events[-1].response.status == "failed")
check("response cut why", "broke off" in events[-1].response.error.message)
check("response cut is not completed", all(event.type != "response.completed" for event in events))

create = gpt.responses.create
check("response wrong", raised(openai.BadRequestError, lambda: create(model="text", input=[])).param == "input")
check("response wrong field", raised(openai.BadRequestError, lambda: create(
    model="text", input=[{"role": "user", "content": [{"type": "input_text", "text": 7}]}])).param == "input[0].content[0].text")
error = raised(openai.BadRequestError, lambda: create(model="text", input="hi", previous_response_id="resp_1"))
check("response stateful", error.param == "previous_response_id" and "previous_response_id" in error.message)
check("response store", raised(openai.BadRequestError, lambda: create(model="text", input="hi", store=True)).param == "store")
check("response tool", raised(openai.BadRequestError, lambda: create(
    model="text", input="hi", tools=[{"type": "web_search"}])).param == "tools[0].type")
check("response model", raised(openai.NotFoundError, lambda: create(model="nobody", input="hi")).code == "model_not_found")
check("response refused", raised(openai.BadRequestError, lambda: create(model="refuses", input="hi")).code == "content_filter")
# The provider asked for seven seconds when the first client met its limit; some have passed.
check("response limited", 1 <= int(raised(openai.RateLimitError, lambda: create(model="limited", input="hi")).response.headers["retry-after"]) <= 7)


async def at_once(count):
    async with anthropic.AsyncAnthropic(base_url=base_url, api_key=key, max_retries=0) as one, \
            openai.AsyncOpenAI(base_url=f"{base_url}/v1", api_key=key, max_retries=0) as other:
        async def ask(n):
            if n % 2:
                return (await one.messages.create(model="text", max_tokens=5, messages=hello)).id
            return (await other.responses.create(model="text", input=hello)).id
        return await asyncio.gather(*(ask(n) for n in range(count)))

check("16 at once", len(set(asyncio.run(at_once(16)))) == 16)
