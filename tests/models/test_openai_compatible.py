"""The OpenAI-compatible backend against the ways in which servers differ.

How it bears failures is in test_server_faults.py; a real server is in the contract suite.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from gardener.errors import BackendRefused, ConfigError, ModelNotFound
from gardener.models.base import AdapterRef, ChatRequest, StreamLimits
from gardener.models.openai_compatible import OpenAICompatibleBackend
from gardener.types import BackendEvent, Done, Message, TextDelta, ThinkingDelta
from tests.ollama_server import SAID, THOUGHT, Fault, Model
from tests.openai_server import CHAT, OpenAIServer, openai_server


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with openai_server() as state:
        yield state


def backend(server: OpenAIServer, **changes: object) -> OpenAICompatibleBackend:
    fields: dict[str, Any] = {"model": "", "key": lambda: "", "context_tokens": 4096, "limits": StreamLimits()}
    return OpenAICompatibleBackend(str(changes.pop("url", server.url)), **(fields | changes))


def request(**changes: object) -> ChatRequest:
    fields: dict[str, Any] = {"messages": (Message("user", "How?"),), "question": "How?"}
    return ChatRequest(**(fields | changes))


def play(made: OpenAICompatibleBackend, **changes: object) -> list[BackendEvent]:
    return list(made.stream(request(**changes), threading.Event()))


def text_of(events: list[BackendEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def thoughts_of(events: list[BackendEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, ThinkingDelta))


def done_of(events: list[BackendEvent]) -> Done:
    assert isinstance(events[-1], Done)
    return events[-1]


@pytest.mark.parametrize("form", ["plain", "crlf", "lines", "comments", "tight"])
@pytest.mark.parametrize("ends_with", ["[DONE]", ""])
def test_every_form_of_server_sent_events(server: OpenAIServer, form: Any, ends_with: str) -> None:
    server.form, server.ends_with = form, ends_with
    events = play(backend(server))
    assert text_of(events) == SAID
    usage = done_of(events).usage
    assert done_of(events).finish == "stop"
    assert (usage.prompt_tokens, usage.cached_tokens, usage.estimated) == (21, 9, False)
    assert usage.completion_tokens > 10


@pytest.mark.parametrize("where", ["reasoning_content", "reasoning", "tags"])
def test_thinking_in_every_form(server: OpenAIServer, where: Any) -> None:
    server.thought, server.thoughts_in = THOUGHT, where
    events = play(backend(server))
    assert thoughts_of(events) == THOUGHT
    assert text_of(events) == SAID


@pytest.mark.parametrize(
    "refused", [("stream_options",), ("max_tokens",), ("stream_options", "temperature", "max_tokens")]
)
def test_a_field_that_the_server_refuses_is_left_out_from_then_on(
    server: OpenAIServer, refused: tuple[str, ...]
) -> None:
    server.refuses = refused
    made = backend(server)
    assert text_of(play(made, max_tokens=500)) == SAID
    assert len(server.sent(CHAT)) == 1 + len(refused)
    events = play(made, max_tokens=3)
    assert len(server.sent(CHAT)) == 2 + len(refused), "it is not asked again"
    assert done_of(events).finish == "length"
    assert server.sent(CHAT)[-1].body.get("max_completion_tokens") == (3 if "max_tokens" in refused else None)
    assert done_of(events).usage.estimated == ("stream_options" in refused)
    assert done_of(events).usage.completion_tokens == 3


def test_a_field_that_cannot_be_left_out_is_an_error(server: OpenAIServer) -> None:
    server.refuses = ("messages",)
    with pytest.raises(BackendRefused, match="messages"):
        play(backend(server))
    assert len(server.sent(CHAT)) == 1


def test_what_is_sent(server: OpenAIServer) -> None:
    schema = '{"type": "object", "properties": {"n": {"type": "integer"}}}'
    made = backend(server, key=lambda: "sk-1")
    events = play(made, json_schema=schema, stop=("a", "b", "c", "d", "e"), temperature=0.0, max_tokens=77)
    sent = server.sent(CHAT)[0]
    assert json.loads(text_of(events)) == {"n": 7}
    assert sent.headers["authorization"] == "Bearer sk-1"
    assert sent.body["response_format"]["json_schema"]["schema"] == json.loads(schema)
    assert (sent.body["max_tokens"], sent.body["temperature"], sent.body["model"]) == (77, 0.0, "served")
    assert sent.body["stop"] == ["a", "b", "c", "d"], "the API takes four; the rest is looked for here"


def test_a_stop_string_that_the_server_was_not_told(server: OpenAIServer) -> None:
    events = play(backend(server), stop=("q1", "q2", "q3", "q4", " disk"))
    assert text_of(events) == SAID[: SAID.index(" disk")]
    assert done_of(events).finish == "stop"
    assert done_of(events).usage.completion_tokens > 0


def test_an_answer_that_the_server_withholds_is_not_a_whole_one(server: OpenAIServer) -> None:
    server.finish = "content_filter"
    done = done_of(play(backend(server)))
    assert (done.finish, done.problem) == ("error", "validation")
    assert "content_filter" in done.error


def test_names_and_windows(server: OpenAIServer) -> None:
    server.add(Model("vllm"), Model("router"), Model("odd"))
    server.windows = {"vllm": {"max_model_len": 2048}, "router": {"context_length": 128_000}, "odd": {"n_ctx": -1}}
    made = backend(server)
    assert made.models() == ("served", "vllm", "router", "odd")
    assert [made.context_tokens(name) for name in made.models()] == [4096, 2048, 4096, 4096]
    assert backend(server, model="router").models()[0] == "router"
    with pytest.raises(ModelNotFound, match="It has: router"):
        backend(server, model="rooter").context_tokens()


def test_a_server_without_a_list(server: OpenAIServer) -> None:
    server.listed = False
    assert text_of(play(backend(server, model="anything"))) == SAID
    readiness = backend(server).readiness()
    assert not readiness.ok
    assert "openai.model" in readiness.next_step


@pytest.mark.parametrize("tail", ["", "/", "/v1", "/v1/"])
def test_addresses_with_and_without_v1(server: OpenAIServer, tail: str) -> None:
    assert text_of(play(backend(server, url=server.url + tail))) == SAID


@pytest.mark.parametrize("url", ["", "localhost:8080", "ftp://localhost/v1", "http://me:hunter2@localhost/v1"])
def test_what_is_no_address(server: OpenAIServer, url: str) -> None:
    with pytest.raises(ConfigError, match=r"openai\.url") as caught:
        backend(server, url=url)
    assert "hunter2" not in caught.value.message


def test_a_project_with_an_adapter_is_another_model_of_the_server(server: OpenAIServer) -> None:
    server.add(Model("shop-adapter"))
    adapter = AdapterRef("shop-adapter", "/x", "f", "b")
    made = backend(server, adapter_models=True)
    assert made.capabilities.adapters
    play(made, adapter=adapter)
    play(made)
    assert [sent.body["model"] for sent in server.sent(CHAT)] == ["shop-adapter", "served"]
    with pytest.raises(ModelNotFound, match="gone"):
        play(made, adapter=AdapterRef("gone", "/x", "f", "b"))
    assert not backend(server).capabilities.adapters


def test_a_key_that_is_not_there_is_said_by_readiness(server: OpenAIServer) -> None:
    def missing() -> str:
        raise ConfigError("The environment variable K is not set.", next_step="export K=…")

    readiness = backend(server, key=missing).readiness()
    assert not readiness.ok
    assert readiness.next_step == "export K=…"


def test_an_error_without_any_form_in_the_middle(server: OpenAIServer) -> None:
    """SGLang and others write a bare line of JSON."""
    server.faults.append(Fault("error line", 4, body='{"object":"error","error":{"message":"engine died"}}'))
    done = done_of(play(backend(server)))
    assert (done.finish, done.problem) == ("error", "model failure")
    assert "engine died" in done.error


def test_row_12s_kin_the_same_model_for_every_project(server: OpenAIServer) -> None:
    made = backend(server)
    for number in range(20):
        play(made, scope=f"p{number % 5}")
    assert {sent.body["model"] for sent in server.sent(CHAT)} == {"served"}
