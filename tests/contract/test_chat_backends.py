"""What every chat backend promises. A new one joins by a fixture "<name>_backend" and a name in BACKENDS."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gardener import settings_schema
from gardener.app import Gardener
from gardener.errors import BackendError, ModelError
from gardener.models.base import Capabilities, ChatBackend, ChatRequest, Evidence, StreamLimits
from gardener.models.extractive import ExtractiveBackend
from gardener.models.mlx.backend import MlxBackend
from gardener.models.ollama import OllamaBackend
from gardener.models.openai_compatible import OpenAICompatibleBackend
from gardener.types import BackendEvent, Done, Message, TextDelta, ThinkingDelta
from tests.chat_samples import EXPIRE, HITS, LOGIN, ScriptedBackend
from tests.mlx_server import mlx_server
from tests.ollama_server import ollama_server
from tests.tiny_mlx import make_tiny_model, teach

BACKENDS = ("extractive", "scripted", "mlx", "ollama", "openai")


@pytest.fixture
def extractive_backend() -> ExtractiveBackend:
    return ExtractiveBackend()


@pytest.fixture
def scripted_backend() -> ScriptedBackend:
    """The tests' own stand-in for a model: the suite must hold for what the other chat tests rest on."""
    return ScriptedBackend()


@pytest.fixture(scope="session")
def taught_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny real model that answers everything with a few words, and then stops."""
    return teach(make_tiny_model(tmp_path_factory.mktemp("contract") / "tiny"))


@pytest.fixture
def mlx_backend(taught_model: Path, tmp_path: Path) -> MlxBackend:
    return MlxBackend(
        "tiny", models_directory=str(taught_model.parent), prefix_directory=lambda scope: str(tmp_path / scope),
        context_tokens=4096, kv_bits=0, cache_bytes=50_000_000, prefix_disk_bytes=50_000_000, limits=StreamLimits(),
        admit=lambda folder, kv_bytes: None,
    )  # fmt: skip


@pytest.fixture
def ollama_backend() -> Iterator[OllamaBackend]:
    with ollama_server() as server:
        yield OllamaBackend(server.url, model="coder", context_tokens=4096, keep_alive="30m", limits=StreamLimits())


@pytest.fixture(scope="session")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlx_server(tmp_path_factory.mktemp("mlx-server")) as url:
        yield url


@pytest.fixture
def openai_backend(real_server: str) -> OpenAICompatibleBackend:
    """A server that nobody here wrote, with a real model."""
    return OpenAICompatibleBackend(real_server, model="", key=lambda: "", context_tokens=4096, limits=StreamLimits())


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Iterator[ChatBackend]:
    made: ChatBackend = request.getfixturevalue(f"{request.param}_backend")
    yield made
    made.close()


def a_request(**changes: object) -> ChatRequest:
    question = "How does load_session work?"
    fields: dict[str, object] = {
        "messages": (Message("system", "Answer briefly."), Message("user", question)),
        "question": question,
        "evidence": (Evidence(HITS[0], (LOGIN, EXPIRE)), *map(Evidence, HITS[1:])),
        "temperature": 0.0,
        "project": "shop",
    }
    return ChatRequest(**(fields | changes))  # type: ignore[arg-type]


def play(backend: ChatBackend, request: ChatRequest, cancel: threading.Event | None = None) -> list[BackendEvent]:
    return list(backend.stream(request, cancel or threading.Event()))


def text_of(events: list[BackendEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def test_every_registered_backend_is_in_the_suite(home: Path) -> None:
    with Gardener(str(home)) as gardener:
        assert {*gardener.backends.names(), *settings_schema.BACKENDS} <= set(BACKENDS)


def test_it_meets_the_protocol(backend: ChatBackend) -> None:
    assert isinstance(backend, ChatBackend)
    assert backend.name
    assert isinstance(backend.capabilities, Capabilities)


def test_it_is_ready_with_its_default_and_with_each_of_its_models(backend: ChatBackend) -> None:
    assert backend.readiness().ok
    assert backend.models()
    assert all(backend.readiness(model).ok for model in backend.models())


def test_an_unknown_model_is_said_not_raised_by_readiness_and_raised_by_the_rest(
    backend: ChatBackend,
) -> None:
    readiness = backend.readiness("no-such-model")
    assert not readiness.ok
    assert "no-such-model" in readiness.reason
    assert readiness.next_step
    with pytest.raises(ModelError, match="no-such-model"):
        backend.context_tokens("no-such-model")
    with pytest.raises((ModelError, BackendError), match="no-such-model"):
        play(backend, a_request(model="no-such-model"))


def test_the_window_holds_a_useful_prompt(backend: ChatBackend) -> None:
    assert all(backend.context_tokens(model) >= 1024 for model in ("", *backend.models()))


def test_counting_tokens(backend: ChatBackend) -> None:
    short, long = backend.count_tokens("def f(): pass"), backend.count_tokens("def f(): pass\n" * 20)
    assert 0 < short.tokens < long.tokens
    assert backend.count_tokens("").tokens <= 2
    assert short.counted_by
    assert (short.counted_by == "estimate") == short.estimated


def test_text_then_exactly_one_done_at_the_end(backend: ChatBackend) -> None:
    events = play(backend, a_request())
    assert [type(event) for event in events].count(Done) == 1
    assert isinstance(events[-1], Done)
    assert events[-1].finish == "stop"
    assert not events[-1].error
    assert text_of(events).strip()
    assert all(event.text for event in events if isinstance(event, TextDelta | ThinkingDelta))


def test_thinking_comes_only_from_those_who_say_so(backend: ChatBackend) -> None:
    thinks = any(isinstance(event, ThinkingDelta) for event in play(backend, a_request()))
    assert backend.capabilities.thinking or not thinks


def test_usage_counts_what_was_written(backend: ChatBackend) -> None:
    done = play(backend, a_request())[-1]
    assert isinstance(done, Done)
    assert done.usage.prompt_tokens > 0
    assert done.usage.completion_tokens > 0


def test_greedy_is_deterministic(backend: ChatBackend) -> None:
    assert text_of(play(backend, a_request())) == text_of(play(backend, a_request()))


def test_cancelled_before_it_starts(backend: ChatBackend) -> None:
    cancel = threading.Event()
    cancel.set()
    events = play(backend, a_request(), cancel)
    assert text_of(events) == ""
    assert isinstance(events[-1], Done)
    assert events[-1].finish == "cancelled"


def test_cancelled_in_the_middle_keeps_what_was_said(backend: ChatBackend) -> None:
    whole = text_of(play(backend, a_request()))
    cancel = threading.Event()
    events: list[BackendEvent] = []
    for event in backend.stream(a_request(), cancel):
        events.append(event)
        cancel.set()
    assert isinstance(events[-1], Done)
    assert events[-1].finish == "cancelled"
    assert 0 < len(text_of(events)) < len(whole)


def test_a_stop_string_ends_the_text_and_is_not_in_it(backend: ChatBackend) -> None:
    whole = text_of(play(backend, a_request()))
    word = whole.split()[2]
    events = play(backend, a_request(stop=(word,)))
    assert word not in text_of(events)
    assert isinstance(events[-1], Done)
    assert events[-1].finish == "stop"


def test_max_tokens_ends_it(backend: ChatBackend) -> None:
    done = play(backend, a_request(max_tokens=1))[-1]
    assert isinstance(done, Done)
    assert done.finish == "length"
    assert done.usage.completion_tokens <= 1


def test_closing_early_leaves_it_usable(backend: ChatBackend) -> None:
    stream = backend.stream(a_request(), threading.Event())
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert text_of(play(backend, a_request()))


def test_two_at_once_do_not_mix(backend: ChatBackend) -> None:
    alone = text_of(play(backend, a_request()))
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: text_of(play(backend, a_request())), range(4)))
    assert both == [alone] * 4


def test_an_empty_context_is_answered_too(backend: ChatBackend) -> None:
    events = play(backend, a_request(evidence=(), messages=(Message("user", "Hello?"),), question="Hello?"))
    assert text_of(events).strip()


def test_closing_twice(backend: ChatBackend) -> None:
    backend.close()
    backend.close()
