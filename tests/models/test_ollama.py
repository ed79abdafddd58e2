"""The Ollama backend against a stand-in server: what reloads, what is cut, and every way in which a server fails."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from gardener.errors import (
    BackendBusy,
    BackendError,
    BackendRefused,
    BackendTimeout,
    BackendUnavailable,
    DiskFull,
    GardenerError,
    Interrupted,
    ModelNotFound,
)
from gardener.models import ollama_models
from gardener.models.base import ChatRequest, Preparation, StreamLimits
from gardener.models.ollama import OllamaBackend
from gardener.models.ollama_models import PullProgress
from gardener.types import Done, Message, TextDelta, ThinkingDelta
from tests.ollama_server import Model, OllamaServer, ollama_server

QUICK = StreamLimits(connect_s=0.5, first_token_s=1.0, idle_s=0.5, total_s=3.0)


@pytest.fixture
def server() -> Iterator[OllamaServer]:
    with ollama_server() as state:
        yield state


def backend(server: OllamaServer, model: str = "tiny", limits: StreamLimits = QUICK) -> OllamaBackend:
    return OllamaBackend(server.url, model=model, context_tokens=4096, keep_alive="30m", limits=limits)


def request(question: str = "How?", **changes: object) -> ChatRequest:
    fields: dict[str, object] = {
        "messages": (Message("system", "Be brief."), Message("user", question)), "question": question,
        "temperature": 0.0,
    }  # fmt: skip
    return ChatRequest(**(fields | changes))  # type: ignore[arg-type]


def play(made: OllamaBackend, asked: ChatRequest | None = None) -> tuple[str, Done]:
    events = list(made.stream(asked or request(), threading.Event()))
    assert isinstance(events[-1], Done)
    return "".join(event.text for event in events if isinstance(event, TextDelta)), events[-1]


def test_an_answer_with_the_servers_own_counts(server: OllamaServer) -> None:
    made = backend(server)
    text, done = play(made)
    assert text == "".join(server.words)
    assert (done.finish, done.usage.estimated, done.usage.completion_tokens) == ("stop", False, len(server.words))
    assert done.usage.load_s > 1
    assert play(made)[1].usage.load_s == 0
    assert made.resident().counters["base_loads"] == 1
    assert made.resident().model == "tiny:latest"


def test_a_hundred_switches_change_no_option_and_reload_nothing(server: OllamaServer) -> None:
    made = backend(server)
    play(made)
    for number in range(100):
        made.prepare(Preparation(f"project {number % 7}", ()), may_load=False, cancel=threading.Event())
        play(made, request(f"question {number}", scope=f"p{number % 7}", max_tokens=number % 9 + 1, temperature=0.1))
    sent = [body for path, body in server.requests if path == "/api/chat"]
    assert len(sent) == 101
    assert {tuple(sorted((k, v) for k, v in body["options"].items() if k == "num_ctx")) for body in sent} == {
        (("num_ctx", 4096),)
    }
    assert {body["keep_alive"] for body in sent} == {"30m"}
    assert server.loads == 1
    counters = made.resident().counters
    assert (counters["base_loads"], counters["reloads"], counters["option_changes"]) == (1, 0, 0)


def test_a_reload_that_nobody_asked_for_is_counted(server: OllamaServer) -> None:
    made = backend(server)
    play(made)
    server.loaded.clear()  # another program asked for another window, or memory was short
    play(made)
    assert made.resident().counters["reloads"] == 1


def test_a_prompt_that_lost_its_front_is_noticed(server: OllamaServer) -> None:
    made = backend(server)
    _, done = play(made, request("word " * 8000))
    assert done.usage.prompt_tokens == 4096
    assert made.resident().counters["truncations"] == 1


def test_thinking_apart_from_the_answer(server: OllamaServer) -> None:
    server.models = {"deep:latest": Model("deep:latest", thinks=True)}
    server.thoughts = ("Let me", " see.")
    events = list(backend(server, "deep").stream(request(), threading.Event()))
    assert "".join(event.text for event in events if isinstance(event, ThinkingDelta)) == "Let me see."
    server.thoughts = ()
    server.words = ("<thi", "nk>hm", "m</th", "ink>\n\nYes", ".")
    events = list(backend(server, "deep").stream(request(), threading.Event()))
    assert "".join(event.text for event in events if isinstance(event, ThinkingDelta)) == "hmm"
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "Yes."


def test_a_schema_is_passed_on(server: OllamaServer) -> None:
    play(backend(server), request(json_schema='{"type": "object"}'))
    assert server.requests[-1][1]["format"] == {"type": "object"}


def test_models_and_windows(server: OllamaServer) -> None:
    server.models["large:7b"] = Model("large:7b", context=2048, modified="2026-11-20T10:00:00Z")
    assert backend(server, "").models()[0] == "large:7b", "the one that was changed last"
    assert backend(server).context_tokens() == 4096
    assert backend(server).context_tokens("large:7b") == 2048
    made = backend(server, "tinny")
    assert not made.readiness().ok
    with pytest.raises(ModelNotFound, match="tiny:latest") as caught:
        play(made)
    assert "gardener models pull" in caught.value.next_step
    server.models = {}
    assert "no models" in backend(server, "").readiness().reason


def test_prepare_loads_only_when_it_may(server: OllamaServer) -> None:
    made = backend(server)
    wanted = Preparation("one", ())
    assert made.prepare(wanted, may_load=False, cancel=threading.Event()).state == "needs load"
    assert server.loads == 0
    assert made.prepare(wanted, may_load=True, cancel=threading.Event()).state == "ready"
    assert server.loads == 1
    assert play(made)[1].usage.load_s == 0, "loaded with the options that answers use"


# ---- faults ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["429", "500", "503"])
def test_a_passing_failure_is_tried_again(server: OllamaServer, fault: str) -> None:
    server.faults = [fault]
    assert play(backend(server))[0] == "".join(server.words)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("429", BackendBusy), ("503", BackendBusy), ("500", BackendError), ("400", BackendRefused),
        ("hang", BackendTimeout), ("silent", BackendTimeout), ("garbage", BackendError), ("nested", BackendError),
    ],
)  # fmt: skip
def test_failures_before_the_first_word(server: OllamaServer, fault: str, error: type[GardenerError]) -> None:
    server.faults = [fault] * 3
    begun = time.monotonic()
    with pytest.raises(error) as caught:
        play(backend(server))
    assert time.monotonic() - begun < 20
    assert "Ollama" in caught.value.message
    assert caught.value.next_step


@pytest.mark.parametrize(
    ("fault", "problem"),
    [("cut", "network"), ("error", "model failure"), ("drip", "timeout"), ("stall", "timeout"), ("endless", "timeout")],
)
def test_failures_in_the_middle_keep_the_text(server: OllamaServer, fault: str, problem: str) -> None:
    server.faults = [fault]
    text, done = play(backend(server), request(max_tokens=10**9))
    assert text.startswith("It loads the") or fault == "endless"
    assert text
    assert (done.finish, done.problem) == ("error", problem)
    assert done.error


def test_retry_after_is_honoured_within_reason(server: OllamaServer) -> None:
    server.faults, server.retry_after = ["429"], "86400"
    with pytest.raises(BackendBusy):
        play(backend(server))


def test_nobody_there_and_somebody_else_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    made = OllamaBackend(f"http://127.0.0.1:{port}", model="", context_tokens=4096, keep_alive="5m", limits=QUICK)
    readiness = made.readiness()
    assert not readiness.ok and str(port) in readiness.reason
    with pytest.raises(BackendUnavailable):
        play(made)
    assert made.resident().model == ""


def test_the_breaker_opens_and_probes(server: OllamaServer) -> None:
    made = backend(server)
    server.faults = ["garbage"] * 5
    for _ in range(5):
        with pytest.raises(BackendError):
            play(made)
    asked = len(server.requests)
    with pytest.raises(BackendUnavailable, match="failed too often"):
        play(made)
    assert len(server.requests) == asked, "nothing was sent"


def test_cancelling_ends_the_work_at_the_server(server: OllamaServer) -> None:
    server.faults = ["endless"]
    cancel = threading.Event()
    stream = backend(server, limits=StreamLimits()).stream(request(max_tokens=10**9), cancel)
    assert isinstance(next(stream), TextDelta)
    cancel.set()
    rest = list(stream)
    assert rest[-1].finish == "cancelled"  # type: ignore[union-attr]
    server.faults = ["hang"]
    stopped = threading.Event()
    threading.Timer(0.2, stopped.set).start()
    begun = time.monotonic()
    assert list(backend(server, limits=StreamLimits()).stream(request(), stopped))[-1].finish == "cancelled"  # type: ignore[union-attr]
    assert time.monotonic() - begun < 10


# ---- models ------------------------------------------------------------------------------------------


def test_listing_pulling_and_deleting(server: OllamaServer) -> None:
    steps: list[PullProgress] = []
    ollama_models.pull(server.url, "new", steps.append, threading.Event())
    assert steps[-1].status == "success"
    assert (steps[-1].done_bytes, steps[-1].total_bytes) == (3500, 3500)
    assert [step.done_bytes for step in steps] == sorted(step.done_bytes for step in steps)
    assert {model.name for model in ollama_models.list_models(server.url)} == {"tiny:latest", "new:latest"}
    play(backend(server))
    assert [model.name for model in ollama_models.loaded(server.url)] == ["tiny:latest"]
    ollama_models.delete(server.url, "new")
    with pytest.raises(ModelNotFound, match="new"):
        ollama_models.delete(server.url, "new")


def test_a_pull_that_was_stopped_goes_on(server: OllamaServer) -> None:
    cancel = threading.Event()

    def stop(step: PullProgress) -> None:
        if step.done_bytes >= 1000:
            cancel.set()

    with pytest.raises(Interrupted, match="Ollama keeps"):
        ollama_models.pull(server.url, "new", stop, cancel)
    steps: list[PullProgress] = []
    ollama_models.pull(server.url, "new", steps.append, threading.Event())
    assert next(step.done_bytes for step in steps if step.total_bytes) >= 1000


@pytest.mark.parametrize(("fault", "error"), [("full", DiskFull), ("cut", BackendError)])
def test_pulls_that_fail(server: OllamaServer, fault: str, error: type[GardenerError]) -> None:
    server.pull_fault = fault
    with pytest.raises(error):
        ollama_models.pull(server.url, "new", lambda step: None, threading.Event())
    assert "new:latest" not in server.models
    with pytest.raises(ModelNotFound):
        ollama_models.pull(server.url, "nowhere", lambda step: None, threading.Event())
    with pytest.raises(BackendUnavailable):
        ollama_models.list_models("http://127.0.0.1:9")
