"""Every way in which a model server fails, for both backends, over real sockets: deadlines, retries, breaker.

No test waits for a limit, or meets one because the machine is busy: the clock of the limits leaps when the server has
done what is meant to be too slow.
"""

from __future__ import annotations

import email.utils
import socket
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from gardener.errors import (
    BackendBusy,
    BackendError,
    BackendRefused,
    BackendTimeout,
    BackendUnavailable,
    GardenerError,
    ModelNotFound,
    ModelTooLarge,
)
from gardener.models import server_stream
from gardener.models.base import ChatRequest, StreamLimits
from gardener.models.ollama import OllamaBackend
from gardener.models.openai_compatible import OpenAICompatibleBackend
from gardener.models.problems import problem_of
from gardener.models.server_address import without_key
from gardener.resilience import CircuitBreaker
from gardener.types import BackendEvent, Done, Message, TextDelta, ThinkingDelta
from tests.ollama_server import SAID, Fault, Model, OllamaServer, ollama_server
from tests.openai_server import openai_server

HASTY = StreamLimits(connect_s=2.0, first_token_s=0.15, idle_s=60.0, total_s=60.0)
"""For what never accepts a connection."""
PATIENT = StreamLimits(connect_s=60.0, first_token_s=60.0, idle_s=60.0, total_s=600.0)
KEY = "sk-very-secret"
Backend = OllamaBackend | OpenAICompatibleBackend


class Clock:
    """Real time, and `leap` seconds more from the moment at which `passed` is set."""

    def __init__(self) -> None:
        self.passed = threading.Event()
        self.leap = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + (self.leap if self.passed.is_set() else 0.0)


def make(kind: str, url: str, limits: StreamLimits = PATIENT, key: str = "") -> Backend:
    if kind == "ollama":
        return OllamaBackend(url, model="coder", context_tokens=4096, keep_alive="30m", limits=limits)
    return OpenAICompatibleBackend(url, model="coder", key=lambda: key, context_tokens=4096, limits=limits)


@pytest.fixture(params=["ollama", "openai"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(kind: str) -> Iterator[OllamaServer]:
    with ollama_server() if kind == "ollama" else openai_server("coder") as state:
        yield state


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_stream, "FIRST_WAIT_S", 0.01)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the limits of a stream."""
    made = Clock()
    monkeypatch.setattr(server_stream, "time", SimpleNamespace(monotonic=made.monotonic, sleep=time.sleep))
    return made


def a_request(**changes: object) -> ChatRequest:
    fields: dict[str, Any] = {"messages": (Message("user", "How?"),), "question": "How?"}
    return ChatRequest(**(fields | changes))


def play(made: Backend, cancel: threading.Event | None = None) -> list[BackendEvent]:
    return list(made.stream(a_request(), cancel or threading.Event()))


def text_of(events: list[BackendEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def chats(server: OllamaServer) -> int:
    return len(server.sent(server.fault_path))


def status(code: int, said: str = "out of luck", **headers: str) -> Fault:
    return Fault("status", status=code, body=said, headers=tuple(headers.items()))


# ---- before the first word ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "error", "problem", "tries"),
    [
        (status(429), BackendBusy, "rate limit", 3),
        (status(503), BackendBusy, "rate limit", 3),
        (status(500), BackendError, "model failure", 3),
        (status(502, "<html>bad gateway</html>"), BackendError, "model failure", 3),
        (status(400, '{"error":"no such field"}'), BackendRefused, "validation", 1),
        (status(401, ""), BackendRefused, "validation", 1),
        (status(404, '{"error":"model not found"}'), ModelNotFound, "validation", 1),
        (status(307, "", Location="http://example.com/"), BackendRefused, "validation", 1),
        (status(500, '{"error":"model requires more system memory (9 GiB) than is available (4 GiB)"}'),
         ModelTooLarge, "memory", 1),
        (status(500, "x" * 5_000_000), BackendError, "model failure", 3),
        (Fault("reset"), BackendUnavailable, "network", 3),
        (Fault("cut"), BackendUnavailable, "network", None),
        (Fault("hang"), BackendTimeout, "timeout", 1),
        (Fault("drip whole"), BackendTimeout, "timeout", 1),
        (Fault("silent"), BackendTimeout, "timeout", 1),
        (Fault("drip"), BackendTimeout, "timeout", 1),
        (Fault("not json"), BackendError, "model failure", 1),
        (Fault("not an object"), BackendError, "model failure", 1),
        (Fault("error line"), BackendError, "model failure", 1),
        (Fault("long line"), BackendError, "model failure", 1),
    ],
    ids=lambda value: f"{value.kind} {value.status}" if isinstance(value, Fault) else "",
)  # fmt: skip
def test_a_failure_before_the_first_word_raises_with_its_class(
    kind: str, server: OllamaServer, clock: Clock, fault: Fault, error: type[GardenerError], problem: str,
    tries: int | None,
) -> None:  # fmt: skip
    server.faults.extend([fault] * 3)
    if error is BackendTimeout:
        clock.leap, clock.passed = 3600.0, server.streaming
    with pytest.raises(error) as caught:
        play(make(kind, server.url))
    assert type(caught.value) is error
    assert problem_of(caught.value) == problem
    assert server.url in caught.value.message
    assert len(caught.value.message) < 500
    assert caught.value.next_step
    if tries is not None:
        assert chats(server) == tries


@pytest.mark.parametrize("fault", [status(429), status(503), status(500), Fault("reset")], ids=lambda f: f.body[:3])
def test_what_passes_is_tried_again(kind: str, server: OllamaServer, fault: Fault) -> None:
    server.faults.extend([fault] * 2)
    assert text_of(play(make(kind, server.url))) == SAID
    assert chats(server) == 3


def test_five_hundreds_at_random_are_survived(kind: str, server: OllamaServer) -> None:
    made = make(kind, server.url)
    for number in range(8):
        server.faults.extend([status(500)] * (number % 3))
        assert text_of(play(made)) == SAID


@pytest.mark.parametrize("retry_after", ["1", "date"])
def test_retry_after_is_honoured(
    kind: str, server: OllamaServer, retry_after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(server_stream.LineStream, "_sleep", lambda self, seconds: waited.append(seconds))
    value = retry_after if retry_after == "1" else email.utils.formatdate(time.time() + 20, usegmt=True)
    server.faults.append(status(429, "", **{"Retry-After": value}))
    assert text_of(play(make(kind, server.url))) == SAID
    assert len(waited) == 1
    assert (0.5 <= waited[0] <= 1.5) if retry_after == "1" else (10 <= waited[0] <= 20)


def test_a_retry_after_beyond_the_deadline_is_not_waited_for(kind: str, server: OllamaServer) -> None:
    server.faults.append(status(429, "", **{"Retry-After": "86400"}))
    with pytest.raises(BackendBusy):
        play(make(kind, server.url))
    assert chats(server) == 1


def test_nobody_listens(kind: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        made = make(kind, f"http://127.0.0.1:{port}")
        readiness = made.readiness()
        assert not readiness.ok
        assert str(port) in readiness.reason
        assert readiness.next_step
        with pytest.raises(BackendUnavailable):
            play(made)


def test_a_server_that_takes_connections_and_says_nothing(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = make(kind, f"http://127.0.0.1:{listener.getsockname()[1]}", HASTY)
        assert not made.readiness().ok
        with pytest.raises(BackendUnavailable):
            play(made)


def test_something_else_listens_there(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def banner() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")

        thread = threading.Thread(target=banner)
        thread.start()
        readiness = make(kind, f"http://127.0.0.1:{listener.getsockname()[1]}").readiness()
        thread.join()
    assert not readiness.ok
    assert readiness.next_step


# ---- in the middle -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "leap", "problem"),
    [
        (Fault("cut", 5), 0.0, "network"),
        (Fault("silent", 5), 100.0, "timeout"),
        (Fault("drip", 5), 100.0, "timeout"),
        (Fault("endless", 5), 1000.0, "timeout"),
        (Fault("error line", 5), 0.0, "model failure"),
        (Fault("not json", 5), 0.0, "model failure"),
        (Fault("not an object", 5), 0.0, "model failure"),
        (Fault("long line", 5), 0.0, "model failure"),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else "",
)
def test_a_failure_in_the_middle_keeps_the_text_and_is_not_tried_again(
    kind: str, server: OllamaServer, clock: Clock, fault: Fault, leap: float, problem: str
) -> None:
    server.faults.append(fault)
    clock.leap = leap
    events = []
    for event in make(kind, server.url).stream(a_request(), threading.Event()):
        events.append(event)
        if len([one for one in events if isinstance(one, TextDelta)]) == 5:
            clock.passed.set()
    done = events[-1]
    assert isinstance(done, Done)
    assert (done.finish, done.problem) == ("error", problem)
    assert server.url in done.error
    assert text_of(events).startswith("The function load_session reads")
    assert done.usage.completion_tokens >= 5
    assert chats(server) == 1


def test_thinking_is_a_word_too(kind: str, server: OllamaServer, clock: Clock) -> None:
    """A model that thinks for minutes is not silent; from its first thought on the other limit counts."""
    server.thought = "Hm."
    server.models["coder"] = Model("coder", capabilities=("completion", "thinking"))
    server.faults.append(Fault("silent"))
    clock.leap = 100.0
    stream = make(kind, server.url).stream(a_request(), threading.Event())
    assert isinstance(next(stream), ThinkingDelta)
    clock.passed.set()
    events = list(stream)
    assert isinstance(events[-1], Done)
    assert "was silent for" in events[-1].error


def test_an_answer_of_gigabytes_without_a_word(
    kind: str, server: OllamaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_stream.LineStream.__init__, "__kwdefaults__", {"most_bytes": 100_000})
    server.faults.append(Fault("endless", 5))
    events = play(make(kind, server.url))
    assert isinstance(events[-1], Done)
    assert "without end" in events[-1].error


# ---- cancelling --------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["hang", "silent", "drip", "endless", "drip whole"])
def test_cancelling_ends_the_work_at_the_server(kind: str, server: OllamaServer, fault: Any) -> None:
    """Also before the first byte has come: a server that reads a long prompt must not go on for nobody."""
    server.faults.append(Fault(fault, 3))
    cancel = threading.Event()
    made = make(kind, server.url)
    events: list[BackendEvent] = []
    listener = threading.Thread(target=lambda: events.extend(made.stream(a_request(), cancel)))
    listener.start()
    assert server.streaming.wait(120)
    cancel.set()
    listener.join(120)
    assert not listener.is_alive()
    assert isinstance(events[-1], Done)
    assert events[-1].finish == "cancelled"
    assert server.disconnected.wait(120)


def test_closing_the_stream_ends_the_work_at_the_server(kind: str, server: OllamaServer) -> None:
    server.faults.append(Fault("endless", 3))
    stream = make(kind, server.url).stream(a_request(), threading.Event())
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert server.disconnected.wait(120)


def test_a_deadline_leaves_no_thread_and_no_connection_behind(kind: str, server: OllamaServer, clock: Clock) -> None:
    server.faults.append(Fault("hang"))
    clock.leap, clock.passed = 3600.0, server.streaming
    with pytest.raises(BackendTimeout):
        play(make(kind, server.url))
    assert server.disconnected.wait(120)
    for thread in threading.enumerate():
        if thread.name == "model-server":
            thread.join(120)
            assert not thread.is_alive()


def test_cancelled_while_it_waits_for_another_try(kind: str, server: OllamaServer) -> None:
    server.faults.append(status(503, "", **{"Retry-After": "20"}))
    cancel = threading.Event()

    def when_asked() -> None:
        while not chats(server):
            time.sleep(0.01)
        cancel.set()

    watcher = threading.Thread(target=when_asked)
    watcher.start()
    done = play(make(kind, server.url), cancel)[-1]
    watcher.join()
    assert isinstance(done, Done)
    assert done.finish == "cancelled"


# ---- the breaker -------------------------------------------------------------------------------------


def breaker_of(made: Backend, clock: list[float]) -> None:
    made._breaker = CircuitBreaker(made._where, clock=lambda: clock[0])


def test_the_breaker_opens_probes_and_closes(kind: str, server: OllamaServer) -> None:
    made, clock = make(kind, server.url), [0.0]
    breaker_of(made, clock)
    server.faults.extend([Fault("not json")] * 5)
    for _ in range(5):
        with pytest.raises(BackendError):
            play(made)
    with pytest.raises(BackendUnavailable, match="failed too often"):
        play(made)
    assert chats(server) == 5, "nothing was sent"
    clock[0] += 60
    server.faults.append(Fault("not json"))
    with pytest.raises(BackendError, match="not JSON"):
        play(made)  # the probe fails
    with pytest.raises(BackendUnavailable, match="failed too often"):
        play(made)
    clock[0] += 60
    assert text_of(play(made)) == SAID
    assert text_of(play(made)) == SAID
    assert chats(server) == 8


def test_failures_in_the_middle_count_too(kind: str, server: OllamaServer) -> None:
    made = make(kind, server.url)
    server.faults.extend([Fault("cut", 3)] * 5)
    for _ in range(5):
        play(made)
    with pytest.raises(BackendUnavailable, match="failed too often"):
        play(made)


@pytest.mark.parametrize("code", [400, 401, 413])
def test_what_a_server_refuses_says_nothing_against_it(kind: str, server: OllamaServer, code: int) -> None:
    made = make(kind, server.url)
    server.faults.extend([status(code)] * 12)
    for _ in range(12):
        with pytest.raises(BackendRefused):
            play(made)
    assert text_of(play(made)) == SAID


def test_cancelled_answers_say_nothing_against_it(kind: str, server: OllamaServer) -> None:
    made = make(kind, server.url)
    for _ in range(12):
        stream = made.stream(a_request(), threading.Event())
        next(stream)
        stream.close()  # type: ignore[attr-defined]
    assert text_of(play(made)) == SAID


# ---- where it goes -----------------------------------------------------------------------------------


def test_the_environments_proxies_are_not_asked(
    kind: str, server: OllamaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    made = make(kind, server.url)
    assert made.readiness().ok
    assert text_of(play(made)) == SAID


def test_a_redirect_is_not_followed(kind: str, server: OllamaServer) -> None:
    with ollama_server() as other:
        server.faults.append(status(308, "", Location=f"{other.url}/api/chat"))
        with pytest.raises(BackendRefused, match="another address"):
            play(make(kind, server.url))
        assert other.requests == []


def test_the_key_is_sent_and_never_told(caplog: pytest.LogCaptureFixture) -> None:
    with openai_server("coder") as server:
        server.key = KEY
        made = make("openai", server.url, key=KEY)
        assert text_of(play(made)) == SAID
        echoes = [status(429, f'{{"error":{{"message":"too many for {KEY}"}}}}')] * 3
        server.faults.extend([*echoes, Fault("error line", 2, body=f'{{"error":{{"message":"no more for {KEY}"}}}}')])
        with pytest.raises(BackendBusy) as busy:
            play(made)
        broken = play(made)[-1]
        assert isinstance(broken, Done)
        assert "no more for …" in broken.error
        server.key = "another"
        made = make("openai", server.url, key=KEY)
        readiness = made.readiness()
        assert not readiness.ok
        assert "key is missing or wrong" in readiness.reason
        with pytest.raises(BackendRefused) as refused:
            play(made)
    for said in (busy.value.message, readiness.reason, refused.value.message, caplog.text):
        assert KEY not in said
    assert "too many for …" in busy.value.message


def test_no_part_of_a_key_is_told_where_a_long_error_is_cut_off() -> None:
    with openai_server("coder") as server:
        server.key = KEY
        made = make("openai", server.url, key=KEY)
        said = "x" * 292 + KEY
        server.faults.append(status(400, f'{{"error":{{"message":"{said}"}}}}'))
        with pytest.raises(BackendRefused) as refused:
            play(made)
        server.faults.append(Fault("error line", 2, body=f'{{"error":{{"message":"{said}"}}}}'))
        broken = play(made)[-1]
    assert isinstance(broken, Done)
    for told in (refused.value.message, broken.error):
        assert "xxx…" in told and KEY[:4] not in told


def test_a_key_that_cannot_be_sent_is_not_told_either() -> None:
    with openai_server("coder") as server:
        bad = f"{KEY}\r\nX-Evil: 1"
        made = make("openai", server.url, key=bad)
        assert KEY not in made.readiness().reason
        assert not made.readiness().ok
        assert not server.requests
    assert without_key(f"Illegal header value b'Bearer {KEY}'", {"Authorization": f"Bearer {KEY}"}).endswith("…'")
