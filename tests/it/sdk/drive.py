"""Drives a running Coterie with OpenAI's own client: what a user's program would do.

Usage: drive.py BASE_URL KEY. Prints one line a check; any failure is an exception.
"""

import asyncio
import sys

import openai

base_url, key = sys.argv[1], sys.argv[2]
client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=0)
question = [{"role": "user", "content": "Write a Python function that reverses a string."}]


def check(name, holds):
    assert holds, name
    print("ok", name)


def raises(kind, call, **facts):
    try:
        call()
    except kind as error:
        for fact, value in facts.items():
            assert getattr(error, fact) == value, (fact, getattr(error, fact), value)
        return True
    return False


# Chat, plain: with the headers that say where the question went.
raw = client.chat.completions.with_raw_response.create(model="coterie", messages=question, max_tokens=8)
plain = raw.parse()
check("plain answer", plain.choices[0].message.content and plain.choices[0].finish_reason in ("stop", "length"))
check("plain usage", plain.usage.completion_tokens > 0 and plain.usage.total_tokens > plain.usage.prompt_tokens)
check("the model is the expert that answered", plain.model == raw.headers["x-coterie-expert"])
for name in ("outcome", "category", "confidence", "router", "overhead-us"):
    check(f"header {name}", raw.headers[f"x-coterie-{name}"])

# Chat, streamed, with usage in the last chunk and without it unless asked for.
chunks = list(client.chat.completions.create(
    model="coterie", messages=question, max_tokens=8, stream=True, stream_options={"include_usage": True}))
check("streamed text", "".join(c.choices[0].delta.content or "" for c in chunks if c.choices))
check("streamed usage", chunks[-1].usage.completion_tokens > 0 and not chunks[-1].choices)
chunks = list(client.chat.completions.create(model="auto", messages=question, max_tokens=8, stream=True))
check("no usage unless asked", all(c.usage is None and c.choices for c in chunks))
check("finish reason", chunks[-1].choices[0].finish_reason in ("stop", "length"))

# The older form.
old = client.completions.create(model="coterie", prompt="The sky is", max_tokens=4)
check("legacy completion", old.object == "text_completion" and old.choices[0].text is not None)
old = list(client.completions.create(model="coterie", prompt="The sky is", max_tokens=4, stream=True))
check("legacy stream", "".join(c.choices[0].text for c in old))

# Models.
models = {model.id for model in client.models.list()}
check("models", {"coterie", "auto", "coterie/coding", "general", "all-MiniLM-L6-v2"} <= models)
check("one model", client.models.retrieve("coterie/coding").id == "coterie/coding")
check("unknown model", raises(openai.NotFoundError, lambda: client.models.retrieve("nobody"), code="model_not_found"))

# Embeddings: the client asks for base64 unless told otherwise.
near, same, far = (e.embedding for e in client.embeddings.create(
    model="all-MiniLM-L6-v2", input=["a cat", "a kitten", "quarterly revenue"]).data)
dot = lambda a, b: sum(x * y for x, y in zip(a, b))
check("embeddings", len(near) == 384 and dot(near, same) > dot(near, far) + 0.2)
plain = client.embeddings.create(model="coterie", input="a cat", encoding_format="float")
check("embeddings as floats", abs(dot(plain.data[0].embedding, near) - 1) < 1e-3 and plain.usage.prompt_tokens > 0)

# Errors, as the client's own classes.
ask = client.chat.completions.create
check("empty messages", raises(openai.BadRequestError, lambda: ask(model="coterie", messages=[]), param="messages"))
check("wrong type", raises(
    openai.BadRequestError, lambda: ask(model="coterie", messages=question, temperature="hot"), param="temperature"))
check("wrong model", raises(
    openai.NotFoundError, lambda: ask(model="nobody", messages=question), code="model_not_found", param="model"))
check("too long", raises(openai.APIStatusError, lambda: ask(
    model="coterie", messages=[{"role": "user", "content": "x" * (1 << 21)}]), status_code=413, code="body_too_long"))
stranger = openai.OpenAI(base_url=base_url, api_key="wrong", max_retries=0)
check("wrong key", raises(openai.AuthenticationError, lambda: stranger.models.list(), code="invalid_api_key"))


async def at_once(count):
    async with openai.AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0) as many:
        async def one(n):
            answer = await many.chat.completions.create(
                model="coterie", messages=[{"role": "user", "content": f"What is {n} plus {n}?"}], max_tokens=4)
            return answer.id
        return await asyncio.gather(*(one(n) for n in range(count)))

check("16 at once", len(set(asyncio.run(at_once(16)))) == 16)
