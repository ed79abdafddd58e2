"""/v1/chat/completions: what a client asks of the generation reaches the model, or is said to be ignored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from tests.chat_samples import ScriptedBackend
from tests.server.conftest import Gate
from tests.serving import Served

ASK: Any = [{"role": "user", "content": "How is the lantern lit?"}]


@pytest.fixture
def client(served: Served) -> Iterator[openai.OpenAI]:
    with (
        httpx.Client(trust_env=False, timeout=120) as http,
        openai.OpenAI(
            base_url=f"{served.url}/v1", api_key=served.app.token, max_retries=0, timeout=120, http_client=http
        ) as made,
    ):
        yield made


def test_options_of_the_generation_reach_the_model(client: openai.OpenAI, model: ScriptedBackend) -> None:
    done = client.chat.completions.create(
        model="gardener/lantern", messages=ASK, temperature=0.9, seed=7, stop=[" by"], max_completion_tokens=40,
        top_p=0.5,
    )  # fmt: skip
    request = model.requests[-1]
    assert (request.temperature, request.seed, request.stop, request.max_tokens) == (0.9, 7, (" by",), 40)
    assert done.choices[0].message.content == "The lantern is lit"
    assert done.choices[0].finish_reason == "stop"
    assert done.model_extra["gardener"]["ignored_options"] == ["top_p"]  # type: ignore[index]


def test_the_longest_answer_ends_with_length(client: openai.OpenAI, model: ScriptedBackend) -> None:
    done = client.chat.completions.create(model="gardener/lantern", messages=ASK, max_tokens=4)
    assert done.choices[0].finish_reason == "length"
    assert model.requests[-1].max_tokens == 4
    assert done.usage is not None and done.usage.completion_tokens <= 4


def test_what_is_asked_for_is_never_more_than_an_answer_may_have(client: openai.OpenAI, model: ScriptedBackend) -> None:
    client.chat.completions.create(model="gardener/lantern", messages=ASK, max_tokens=10**9)
    assert model.requests[-1].max_tokens <= 4096


@pytest.mark.parametrize("role", ["system", "developer"])
def test_the_clients_own_instructions_stand_with_the_question(
    client: openai.OpenAI, model: ScriptedBackend, role: str
) -> None:
    messages: Any = [{"role": role, "content": "Answer in Dutch."}, *ASK]
    client.chat.completions.create(model="gardener/lantern", messages=messages)
    sent = model.requests[-1].messages
    assert [message.role for message in sent] == ["system", "user"]
    assert "Answer in Dutch." in sent[-1].content
    assert "Answer in Dutch." not in sent[0].content  # the rules are ours, and stay the same for the prompt cache


def test_content_in_parts_is_joined(client: openai.OpenAI, model: ScriptedBackend) -> None:
    parts: Any = [{"type": "text", "text": "How is the "}, {"type": "text", "text": "lantern lit?"}]
    client.chat.completions.create(model="gardener/lantern", messages=[{"role": "user", "content": parts}])
    assert model.requests[-1].question == "How is the lantern lit?"


def test_usage_of_a_stream_is_that_of_the_whole(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="gardener/lantern", messages=ASK)
    chunks = list(
        client.chat.completions.create(
            model="gardener/lantern", messages=ASK, stream=True, stream_options={"include_usage": True}
        )
    )
    assert [chunk.usage for chunk in chunks if chunk.usage] == [chunks[-1].usage]
    assert chunks[-1].choices == []
    assert whole.usage is not None and chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens > 0
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens


def test_errors_have_the_codes_that_clients_know(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="gardener/lantrn", messages=ASK)
    assert unknown.value.code == "model_not_found"
    assert "Did you mean 'lantern'" in unknown.value.message
    huge: Any = [{"role": "user", "content": "word " * 60_000}]
    with pytest.raises(openai.BadRequestError, match="at most 100,000") as long:
        client.chat.completions.create(model="gardener/lantern", messages=huge)
    assert long.value.type == "invalid_request_error"
    with pytest.raises(openai.BadRequestError, match="at most 4"):
        client.chat.completions.create(model="gardener/lantern", messages=ASK, stop=["a", "b", "c", "d", "e"])


def test_a_full_queue_says_when_to_come_back(client: openai.OpenAI, served: Served, gate: Gate) -> None:
    gate.open.clear()
    gate.waiting.clear()
    jobs = []
    try:
        context = served.gardener.context("lantern")
        with pytest.raises(Exception, match="not started"):
            for _ in range(100):
                jobs.append(served.edge.ask(context, "How is it lit?", None))
        with pytest.raises(openai.APIStatusError) as busy:
            client.chat.completions.create(model="gardener/lantern", messages=ASK)
        assert busy.value.status_code == 503
        assert busy.value.response.headers["retry-after"].isdigit()
    finally:
        for job in jobs:
            served.edge.jobs.cancel(job.id)
        gate.open.set()
        for job in jobs:
            list(job.tail())


async def _left_early(served: Served, gate: Gate) -> None:
    async with (
        httpx.AsyncClient(trust_env=False) as http,
        openai.AsyncOpenAI(
            base_url=f"{served.url}/v1", api_key=served.app.token, max_retries=0, timeout=120, http_client=http
        ) as client,
    ):
        whole = await client.chat.completions.create(model="gardener/lantern", messages=ASK)
        assert whole.choices[0].message.content
        gate.open.clear()
        gate.waiting.clear()
        stream = await client.chat.completions.create(model="gardener/lantern", messages=ASK, stream=True)
        async for _ in stream:
            break
        await stream.close()


def test_the_asynchronous_client_can_leave_in_mid_stream(served: Served, gate: Gate) -> None:
    import asyncio

    asyncio.run(_left_early(served, gate))
    job = served.edge.jobs.find(kind="answer")[0]
    assert job.cancel.wait(120)
    gate.open.set()
    list(job.tail())
    assert job.state == "cancelled"
