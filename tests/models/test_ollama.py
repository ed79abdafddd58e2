"""The Ollama backend and its models against a stand-in server: what reloads, what is cut, what is chosen, pulls.

How it bears failures is in test_server_faults.py.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest

from gardener.errors import (
    BackendError,
    BackendTimeout,
    BackendUnavailable,
    ConfigError,
    DiskFull,
    GardenerError,
    Interrupted,
    ModelNotFound,
)
from gardener.models import ollama_models
from gardener.models.base import ChatRequest, Preparation, StreamLimits
from gardener.models.embedder_spec import parse_spec
from gardener.models.ollama import OllamaBackend
from gardener.models.ollama_models import PullProgress
from gardener.types import Done, Message, TextDelta, ThinkingDelta
from tests.ollama_server import SAID, THOUGHT, Fault, Model, OllamaServer, ollama_server

LAYERS = [("sha256:" + "a" * 64, 3_000_000), ("sha256:" + "b" * 64, 500), ("sha256:" + "c" * 64, 2_000_000)]


@pytest.fixture
def server() -> Iterator[OllamaServer]:
    with ollama_server() as state:
        yield state


def backend(server: OllamaServer, model: str = "coder", **changes: object) -> OllamaBackend:
    fields: dict[str, object] = {"context_tokens": 4096, "keep_alive": "30m", "limits": StreamLimits()}
    return OllamaBackend(server.url, model=model, **(fields | changes))  # type: ignore[arg-type]


def request(question: str = "How?", **changes: object) -> ChatRequest:
    messages = (Message("system", "Be brief."), Message("user", question))
    fields: dict[str, object] = {"messages": messages, "question": question, "temperature": 0.0}
    return ChatRequest(**(fields | changes))  # type: ignore[arg-type]


def test_a_server_that_is_not_there_is_told_from_one_that_fails(server: OllamaServer) -> None:
    server.fault_path = "/api/tags"
    server.faults.append(Fault("status"))
    failing = backend(server).readiness()
    assert not failing.ok and not failing.absent
    with ollama_server() as gone:
        pass
    missing = backend(gone).readiness()
    assert not missing.ok and missing.absent


def test_what_only_makes_vectors_is_known(server: OllamaServer) -> None:
    server.add(Model("nomic-embed-text:latest", capabilities=("embedding",)))
    assert ollama_models.writes(server.url, "coder")
    assert not ollama_models.writes(server.url, "nomic-embed-text")


def test_a_pull_that_found_nobody_does_not_say_that_something_came() -> None:
    with ollama_server() as gone:
        pass
    with pytest.raises(BackendUnavailable, match=r"No Ollama answers at .* so small was not downloaded") as caught:
        ollama_models.pull(gone.url, "small", lambda progress: None, threading.Event())
    assert caught.value.next_step == "ollama serve"


def play(made: OllamaBackend, asked: ChatRequest | None = None) -> tuple[str, Done]:
    events = list(made.stream(asked or request(), threading.Event()))
    assert isinstance(events[-1], Done)
    return "".join(event.text for event in events if isinstance(event, TextDelta)), events[-1]


def thoughts(made: OllamaBackend) -> str:
    events = made.stream(request(), threading.Event())
    return "".join(event.text for event in events if isinstance(event, ThinkingDelta))


def prepare(made: OllamaBackend, scope: str = "one", *, may_load: bool) -> str:
    return made.prepare(Preparation(scope, ()), may_load=may_load, cancel=threading.Event()).state


# ---- answers and residence ---------------------------------------------------------------------------


def test_an_answer_with_the_servers_own_counts(server: OllamaServer) -> None:
    made = backend(server)
    text, done = play(made)
    assert text == SAID
    assert (done.finish, done.usage.estimated) == ("stop", False)
    assert done.usage.load_s == 1.5
    assert done.usage.completion_s > done.usage.prompt_s > 0
    assert play(made)[1].usage.load_s == 0
    held = made.resident()
    assert (held.model, held.weight_bytes, held.counters["base_loads"]) == ("coder:latest", 4_000_000_000, 1)


def test_a_hundred_switches_change_no_option_and_reload_nothing(server: OllamaServer) -> None:
    made = backend(server)
    play(made)
    for number in range(100):
        scope = f"p{number % 7}"
        assert prepare(made, scope, may_load=False) == "ready"
        play(made, request(f"question {number}", scope=scope, max_tokens=number % 9 + 1, temperature=number / 100))
    assert len(server.sent("/api/chat")) == 101
    assert server.option_changes() == 0
    assert {tuple(sent.runner_options) for sent in server.sent("/api/chat")} == {("num_ctx",)}
    assert {sent.body["keep_alive"] for sent in server.sent("/api/chat")} == {"30m"}
    assert server.loads == ["coder:latest"]
    counters = made.resident().counters
    assert (counters["base_loads"], counters["reloads"], counters["option_changes"]) == (1, 0, 0)


def test_a_changed_option_is_counted(server: OllamaServer) -> None:
    made = backend(server)
    play(made)
    made._options["num_ctx"] = 8192  # what no code of ours may do
    play(made)
    assert server.option_changes() == 1
    counters = made.resident().counters
    assert (counters["option_changes"], counters["reloads"]) == (1, 1)


def test_weights_that_were_loaded_again_are_other_ones(server: OllamaServer) -> None:
    made = backend(server)
    play(made)
    before = made.resident().identity
    play(made)
    assert made.resident().identity == before
    server.runners.clear()
    play(made)
    assert made.resident().counters["reloads"] == 1
    assert made.resident().identity != before


def test_a_model_that_had_to_make_room_is_counted(server: OllamaServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gardener.models.ollama_facts.FRESH_S", 0.0)
    server.add(Model("vectors:latest", size=3_000_000_000, family="nomic-bert", capabilities=("embedding",)))
    made = backend(server)
    play(made)
    assert made.resident().counters["evictions"] == 0
    httpx.post(f"{server.url}/api/embed", json={"model": "vectors", "input": "x"}, trust_env=False)
    assert made.resident().counters["evictions"] == 1
    assert made.resident().counters["evictions"] == 1, "once"


def test_a_prompt_that_lost_its_front_is_noticed(server: OllamaServer) -> None:
    made = backend(server)
    _, done = play(made, request("word " * 8000))
    assert 0 < done.usage.prompt_tokens < 4096
    assert not done.usage.estimated
    assert made.resident().counters["truncations"] == 1
    play(made)
    assert made.resident().counters["truncations"] == 1


def test_prepare_loads_only_when_it_may(server: OllamaServer) -> None:
    made = backend(server)
    assert prepare(made, may_load=False) == "needs load"
    assert server.loads == []
    assert prepare(made, may_load=True) == "ready"
    assert server.loads == ["coder:latest"]
    assert made.resident().counters["base_loads"] == 1
    assert made.resident().counters["generations"] == 0
    assert play(made)[1].usage.load_s == 0, "loaded with the options that answers use"
    assert made.resident().counters["base_loads"] == 1


def test_a_model_that_another_program_loaded_with_another_window_is_not_ready(server: OllamaServer) -> None:
    body = {"model": "coder", "messages": [], "options": {"num_ctx": 2048}}
    httpx.post(f"{server.url}/api/chat", json=body, trust_env=False)
    made = backend(server)
    said = made.prepare(Preparation("one", ()), may_load=False, cancel=threading.Event())
    assert said.state == "needs load"
    assert "2048" in said.detail


def test_a_preload_can_be_cancelled(server: OllamaServer) -> None:
    server.faults.append(Fault("hang"))
    cancel = threading.Event()
    threading.Thread(target=lambda: (server.streaming.wait(20), cancel.set())).start()
    said = backend(server).prepare(Preparation("one", ()), may_load=True, cancel=cancel)
    assert said.state == "needs load"
    assert server.disconnected.wait(20)


def test_thinking_apart_from_the_answer(server: OllamaServer) -> None:
    server.add(Model("deep:7b", capabilities=("completion", "thinking")))
    made = backend(server, "deep:7b")
    assert thoughts(made) == THOUGHT
    assert play(made)[0] == SAID
    server.thought, server.said = "", "<think>hmm</think>\n\nYes."  # an old model, whose marks nobody has taken out
    assert (thoughts(made), play(made)[0]) == ("hmm", "Yes.")


def test_a_schema_holds_the_text(server: OllamaServer) -> None:
    schema = '{"type": "object", "properties": {"n": {"type": "integer"}}}'
    assert play(backend(server), request(json_schema=schema))[0] == '{"n": 7}'


@pytest.mark.parametrize(("given", "sent"), [("30m", "30m"), ("-1", -1), ("600", 600)])
def test_keep_alive_as_ollama_reads_it(server: OllamaServer, given: str, sent: object) -> None:
    play(backend(server, keep_alive=given))
    assert server.sent("/api/chat")[0].body["keep_alive"] == sent


# ---- which model -------------------------------------------------------------------------------------


def test_models_and_windows(server: OllamaServer) -> None:
    server.add(Model("large:7b", context=2048, modified="2026-11-20T10:00:00Z"))
    assert backend(server, "").models() == ("large:7b", "coder:latest"), "the one that was changed last comes first"
    assert backend(server).models() == ("coder:latest", "large:7b")
    assert backend(server).context_tokens() == 4096
    assert backend(server).context_tokens("large:7b") == 2048
    made = backend(server, "codr")
    assert not made.readiness().ok
    with pytest.raises(ModelNotFound, match="coder:latest") as caught:
        play(made)
    assert caught.value.next_step == "gardener models pull codr"


def test_nobody_chose_ollamas_cloud_or_an_embedder(server: OllamaServer) -> None:
    """A model that runs at ollama.com is reached through the server on this machine, but the code leaves it."""
    late = "2026-12-01T00:00:00Z"
    server.add(
        Model("gpt-oss:120b-cloud", modified=late, remote_host="https://ollama.com:443", remote_model="gpt-oss:120b"),
        Model("renamed:latest", modified=late, remote_host="https://ollama.com:443", remote_model="gpt-oss:120b"),
        Model("nomic-embed-text:latest", modified=late, family="nomic-bert", capabilities=("embedding",)),
    )
    assert backend(server, "").models()[0] == "coder:latest"
    assert not backend(server, "").capabilities.leaves_machine
    assert backend(server, "gpt-oss:120b-cloud").capabilities.leaves_machine
    del server.models["coder:latest"]
    assert "no chat models" in backend(server, "").readiness().reason
    server.models.clear()
    assert "no models" in backend(server, "").readiness().reason


@pytest.mark.parametrize(
    ("url", "leaves"),
    [
        ("http://127.0.0.1:11434", False), ("http://localhost:11434/v1", False), ("http://[::1]:11434/", False),
        ("http://127.0.0.1.example.com", True), ("https://ollama.example.com", True), ("http://192.168.0.5:1", True),
        ("http://127.0.0.2", False), ("http://LOCALHOST", False),
        ("http://ollama.localhost:1", True), ("http://localhost.:1", True),  # by what a resolver makes of it
    ],
)  # fmt: skip
def test_whether_the_code_leaves_the_machine(url: str, leaves: bool) -> None:
    made = OllamaBackend(url, model="m", context_tokens=4096, keep_alive="5m", limits=StreamLimits())
    assert made.capabilities.leaves_machine == leaves
    assert parse_spec("ollama:m", url=url).leaves_the_machine == leaves


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:11434", "file:///etc/passwd", "http://", "http://h:99999", "http://[::"]
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ConfigError, match=r"ollama\.url"):
        OllamaBackend(url, model="", context_tokens=4096, keep_alive="5m", limits=StreamLimits())


def test_a_password_in_the_address_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        OllamaBackend(
            "http://me:hunter2@localhost:1", model="", context_tokens=4096, keep_alive="5m", limits=StreamLimits()
        )
    assert "hunter2" not in caught.value.message


# ---- its models --------------------------------------------------------------------------------------


def test_listing_showing_and_what_is_loaded(server: OllamaServer) -> None:
    (listed,) = ollama_models.list_models(server.url)
    assert (listed.name, listed.size, listed.family) == ("coder:latest", 4_000_000_000, "llama")
    assert (listed.parameters, listed.quantization, listed.context) == ("7.2B", "Q4_K_M", 0)
    assert listed.modified.startswith("2026-05-04T14:56:49")
    assert ollama_models.show(server.url, "coder").context == 32_768
    assert ollama_models.loaded(server.url) == []
    play(backend(server))
    (held,) = ollama_models.loaded(server.url)
    assert (held.name, held.context, held.vram) == ("coder:latest", 4096, 4_000_000_000)


def test_a_wrong_size_hides_no_model(server: OllamaServer) -> None:
    for number, wrong in enumerate((-1, 10**40, 1.5, "big", None, True)):
        server.add(Model(f"odd{number}:latest", size=wrong))  # type: ignore[arg-type]
    sizes = {model.name: model.size for model in ollama_models.list_models(server.url)}
    assert sizes.pop("coder:latest") == 4_000_000_000
    assert len(sizes) == 6 and set(sizes.values()) == {0}


def pulled(server: OllamaServer, cancel: threading.Event | None = None) -> list[PullProgress]:
    steps: list[PullProgress] = []
    ollama_models.pull(server.url, "new", steps.append, cancel or threading.Event())
    return steps


def test_a_pull_sums_its_layers(server: OllamaServer) -> None:
    server.layers["new:latest"] = LAYERS
    steps = pulled(server)
    assert steps[0].status == "pulling manifest"
    assert (steps[-1].status, steps[-1].done_bytes, steps[-1].total_bytes) == ("success", 5_000_500, 5_000_500)
    done = [step.done_bytes for step in steps]
    assert done == sorted(done)
    assert max(step.bytes_per_s for step in steps) > 0
    assert {model.name for model in ollama_models.list_models(server.url)} == {"coder:latest", "new:latest"}
    ollama_models.delete(server.url, "new")
    with pytest.raises(ModelNotFound, match="new"):
        ollama_models.delete(server.url, "new")


def test_a_pull_that_was_stopped_goes_on(server: OllamaServer) -> None:
    server.layers["new:latest"] = LAYERS
    server.step = 1_000
    cancel = threading.Event()

    def stop(step: PullProgress) -> None:
        if step.done_bytes >= 1_000_000:
            cancel.set()

    with pytest.raises(Interrupted, match="Ollama keeps") as caught:
        ollama_models.pull(server.url, "new", stop, cancel)
    assert caught.value.next_step == "gardener models pull new"
    assert server.disconnected.wait(20), "Ollama stops when nobody listens"
    server.step = 1_000_000
    steps = pulled(server)
    assert next(step.done_bytes for step in steps if step.done_bytes) >= 1_000_000
    assert steps[-1].status == "success"


def test_a_silent_pull_can_be_stopped(server: OllamaServer) -> None:
    server.layers["new:latest"], server.pull_fault = LAYERS, Fault("silent", after=1)
    cancel = threading.Event()
    with pytest.raises(Interrupted):
        ollama_models.pull(server.url, "new", lambda step: step.done_bytes and cancel.set(), cancel)
    assert server.disconnected.wait(20)


@pytest.mark.parametrize(
    ("fault", "error", "said"),
    [
        (Fault("error line", 1, body='{"error":"write /root/.ollama/x: no space left on device"}'), DiskFull, "kept"),
        (Fault("error line", 1, body='{"error":"max retries exceeded: EOF"}'), BackendError, "max retries"),
        (Fault("cut", 1), BackendUnavailable, "kept"),
        (Fault("not json", 1), BackendError, "API"),
        (Fault("not an object", 1), BackendError, "API"),
        (Fault("status", status=400, body='{"error":"invalid model name"}'), BackendError, "invalid model name"),
        (Fault("silent", 1), BackendTimeout, "silent"),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else "",
)
def test_pulls_that_fail(
    server: OllamaServer, fault: Fault, error: type[GardenerError], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = replace(ollama_models.PULL_LIMITS, idle_s=0.3)
    monkeypatch.setattr(ollama_models, "PULL_LIMITS", limits)
    server.layers["new:latest"], server.pull_fault = LAYERS, fault
    with pytest.raises(error, match=said) as caught:
        pulled(server)
    assert caught.value.next_step
    assert "new:latest" not in server.models


def test_a_model_that_the_library_does_not_have(server: OllamaServer) -> None:
    with pytest.raises(ModelNotFound, match="nowhere"):
        ollama_models.pull(server.url, "nowhere", lambda step: None, threading.Event())


def test_a_pull_from_a_server_that_invents_layers_and_sizes(
    server: OllamaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ollama_models, "MOST_LAYERS", 10)
    server.layers["new:latest"] = [(f"sha256:{number:064d}", 10) for number in range(100)] + [
        ("sha256:" + "f" * 64, -5)
    ]
    steps = pulled(server)
    assert max(step.total_bytes for step in steps) == 100
    assert all(0 <= step.done_bytes <= step.total_bytes for step in steps)


def test_small_questions_end_in_time_and_size(server: OllamaServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BackendUnavailable, match="Nothing answers at"):
        ollama_models.list_models("http://127.0.0.1:9")
    server.add(*(Model(f"model-{number}:latest") for number in range(50)))
    monkeypatch.setattr(ollama_models, "MOST_SMALL_BYTES", 1_000)
    with pytest.raises(BackendUnavailable, match="TooLarge"):
        ollama_models.list_models(server.url)
    monkeypatch.setattr(ollama_models, "ANSWER_S", 0.3)
    server.fault_path = "/api/ps"
    server.faults.append(Fault("hang"))
    with pytest.raises(BackendTimeout):
        ollama_models.loaded(server.url)
    assert server.disconnected.wait(20), "the connection is not left open"


def test_a_key_of_ollamas_cloud_is_not_sent_to_other_servers(
    server: OllamaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_API_KEY", "secret-of-the-cloud")
    ollama_models.list_models(server.url)
    assert "authorization" not in server.requests[-1].headers


def test_status_waits_a_second_at_most_and_believes_the_answer_for_a_while(server: OllamaServer) -> None:
    server.fault_path = "/api/tags"
    server.faults.extend([Fault("drip whole")] * 2)
    made = backend(server)
    assert not made.readiness().ok, "a byte now and then is no answer"
    assert server.disconnected.wait(20), "nobody goes on listening"
    asked = len(server.requests)
    assert not made.readiness().ok
    assert len(server.requests) == asked
