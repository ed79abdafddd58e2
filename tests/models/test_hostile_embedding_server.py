"""Whatever an embedding server sends, and however slowly: EmbedderUnavailable that says what was wrong."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gardener.errors import EmbedderUnavailable
from gardener.models import embedder_server
from gardener.models.embedder_server import ServerEmbedder
from gardener.models.embedder_spec import OLLAMA, OPENAI, EmbedderSpec
from tests.embedding_server import EmbeddingServer, embedding_server

ROW = [0.5] * 32


@pytest.fixture(scope="module")
def running() -> Iterator[EmbeddingServer]:
    with embedding_server() as server:
        yield server


@pytest.fixture
def server(running: EmbeddingServer) -> Iterator[EmbeddingServer]:
    yield running
    running.failures, running.wire = [], None


@pytest.fixture
def load(server: EmbeddingServer) -> Iterator[Callable[[str], ServerEmbedder]]:
    made: list[ServerEmbedder] = []

    def make(kind: str, key_variable: str = "") -> ServerEmbedder:
        url = server.url if kind == OLLAMA else server.url + "/v1"
        made.append(ServerEmbedder(EmbedderSpec(kind, "words", url, key_variable)))
        return made[-1]

    yield make
    for embedder in made:
        embedder.close()


def ollama(vectors: object) -> str:
    return json.dumps({"embeddings": vectors})


def openai(*entries: tuple[object, object]) -> str:
    return json.dumps({"data": [{"index": index, "embedding": vector} for index, vector in entries]})


BODIES = {
    "lists without end": (OPENAI, '{"data": ' + "[" * 200_000, "not JSON"),
    "a place of thousands of digits": (OPENAI, '{"data": [{"index": ' + "9" * 5_000 + "}]}", "not JSON"),
    "an object of objects": (OPENAI, openai((0, {"a": 1})), "not vectors"),
    "one zero byte": (OPENAI, "\x00", "not JSON"),
    "null": (OPENAI, "null", "JSON of another form"),
    "nested lists": (OLLAMA, '{"embeddings":' + "[" * 200_000 + "]" * 200_000 + "}", "not JSON"),
    "nested objects": (OLLAMA, '{"a":' * 200_000 + "1" + "}" * 200_000, "not JSON"),
    "a number of a million digits": (OLLAMA, '{"embeddings": [[' + "9" * 1_000_000 + "]]}", "not JSON"),
    "a large whole number": (OLLAMA, ollama([[10**400] * 32]), "too large"),
    "1e39": (OLLAMA, ollama([[1e39] * 32]), "too large"),
    "1e999": (OLLAMA, '{"embeddings": [[' + ",".join(["1e999"] * 32) + "]]}", "too large"),
    "NaN": (OLLAMA, ollama([[float("nan")] * 32]), "not JSON"),
    "texts": (OLLAMA, ollama([["0.5"] * 32]), "something else than numbers"),
    "yes and no": (OLLAMA, ollama([[True] * 32]), "something else than numbers"),
    "lists of lists": (OLLAMA, ollama([[ROW] * 32]), "something else than numbers"),
    "numbers": (OLLAMA, ollama(ROW), "instead of 1"),
    "a number": (OLLAMA, ollama([0.5]), "not vectors"),
    "an object": (OLLAMA, ollama({"0": ROW}), "without vectors"),
    "too small": (OLLAMA, ollama([[1.0]]), "vectors of 1 numbers; 16 to 8,192"),
    "a million dimensions": (OLLAMA, ollama([[1] * 1_000_000]), "vectors of 1,000,000 numbers"),
    "zero": (OLLAMA, ollama([[1e-30] * 32]), "zero"),
    "nothing": (OLLAMA, "", "not JSON"),
    "not UTF-8": (OLLAMA, '{"embeddings": "\udcff"}', "not JSON"),
    "another form": (OLLAMA, "[]", "JSON of another form"),
    "a page": (OLLAMA, "<html>Sign in</html>", "not JSON"),
    "place Infinity": (OPENAI, '{"data": [{"index": Infinity, "embedding": []}]}', "not JSON"),
    "place 1e999": (OPENAI, '{"data": [{"index": 1e999, "embedding": []}]}', "to which text"),
    "place of another type": (OPENAI, openai(("0", ROW)), "to which text"),
    "place beyond the end": (OPENAI, openai((10**30, ROW)), "to which text"),
    "the same place twice": (OPENAI, openai((0, ROW), (0, ROW)), "to which text"),
    "place that is a list": (OPENAI, openai(([], ROW)), "to which text"),
    "entries that are no objects": (OPENAI, '{"data": [[]]}', "without vectors"),
    "base64 that nobody asked for": (OPENAI, openai((0, "AAAA")), "not vectors"),
    "no entries": (OPENAI, '{"data": {}}', "without vectors"),
}


@pytest.mark.parametrize("name", BODIES)
def test_bodies(server: EmbeddingServer, load: Callable[[str], ServerEmbedder], name: str) -> None:
    kind, body, says = BODIES[name]
    embedder = load(kind)
    server.failures = [(200, body)]
    with pytest.raises(EmbedderUnavailable, match=says) as caught:
        embedder.embed(["a"])
    assert server.url in caught.value.message, "which server it was"
    assert caught.value.next_step
    assert embedder.embed(["a"]).shape == (1, 32), "and the next answer counts again"


@pytest.mark.parametrize(
    "answers",
    [
        ['{"models": [{"name": [], "model": {}}]}'],
        ['{"models": [{"name": "words", "digest": [[]]}]}'],
        ['{"models": 1e999}'],
        ['{"models": [{"name": "words"}]}', "[]"],
        ['{"models": [{"name": "words"}]}', '{"model_info": [1]}', ollama([[1.0]])],
        ['{"models": [{"name": "words"}]}', '{"model_info": {"a.context_length": 1e999}}', ollama([])],
    ],
)
def test_while_it_is_got_to_know(
    server: EmbeddingServer, load: Callable[[str], ServerEmbedder], answers: list[str]
) -> None:
    server.failures = [(200, answer) for answer in answers]
    with pytest.raises(EmbedderUnavailable):
        load(OLLAMA)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def for_ever(begin: bytes, piece: bytes) -> Callable[[EmbeddingServer, BinaryIO], None]:
    """`begin`, and then `piece` again and again with a pause that is shorter than any timeout of a read."""

    def write(server: EmbeddingServer, wire: BinaryIO) -> None:
        wire.write(begin)
        while not server.leave.wait(0.02):
            wire.write(piece)

    return write


def once(answer: bytes) -> Callable[[EmbeddingServer, BinaryIO], None]:
    return lambda _, wire: wire.write(answer) and None


def silent(server: EmbeddingServer, wire: BinaryIO) -> None:
    server.leave.wait(120)


def endless(server: EmbeddingServer, wire: BinaryIO) -> None:
    wire.write(HEAD + b"\r\n")
    while not server.leave.is_set():
        wire.write(b" " * 65_536)


BOMB = gzip.compress(b" " * 20_000_000)
WIRES = {
    "silence": (silent, r"longer than 0\.2 s"),
    "dripping status": (for_ever(b"", b"H"), r"longer than 0\.2 s"),
    "dripping headers": (for_ever(HEAD + b"X: ", b"x"), r"longer than 0\.2 s"),
    "informational answers": (for_ever(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"), r"longer than 0\.2 s"),
    "dripping body": (for_ever(HEAD + b"Content-Length: 10000\r\n\r\n", b" "), r"longer than 0\.2 s"),
    "dripping chunk size": (for_ever(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;", b"x"), r"longer than 0\.2 s"),
    "no end": (endless, "more than 8 MB"),
    "a size that is too large": (once(HEAD + b"Content-Length: 9000000\r\n\r\n"), "more than 8 MB"),
    "a bomb": (
        once(HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB) + BOMB),
        "compressed",
    ),
    "cut off": (once(HEAD + b'Content-Length: 100\r\n\r\n{"embed'), "does not answer"),
    "another protocol": (once(b"220 mail.example.com ESMTP\r\n"), "does not answer"),
    "nothing": (once(b""), "does not answer"),
    "large headers": (once(HEAD + b"X: " + b"x" * 1_000_000 + b"\r\n\r\n"), "does not answer"),
    "elsewhere": (once(b"HTTP/1.1 307 Go\r\nLocation: http://[::\r\nContent-Length: 0\r\n\r\n"), "does not answer|307"),
}


@pytest.mark.parametrize("name", WIRES)
def test_the_wire(
    server: EmbeddingServer,
    load: Callable[[str], ServerEmbedder],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    write, says = WIRES[name]
    embedder = load(OPENAI)
    for limit in ("BATCH_S", "QUERY_S", "PROBE_S"):
        monkeypatch.setattr(embedder_server, limit, 0.2 if "longer" in says else 120.0)
    server.wire = lambda wire: write(server, wire)
    with pytest.raises(EmbedderUnavailable, match=says) as caught:
        embedder.embed(["a"])
    assert server.url in caught.value.message
    if "longer" in says:  # nor while it is got to know, nor with a question
        with pytest.raises(EmbedderUnavailable, match=says):
            embedder.embed_queries(["a"])
        with pytest.raises(EmbedderUnavailable, match=says):
            load(OPENAI)


def test_refusals_use_the_time_of_one_batch(
    server: EmbeddingServer, load: Callable[[str], ServerEmbedder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that refuses texts for their length, so that they are halved, cannot gain time by that."""
    embedder = load(OPENAI)
    given: list[object] = []
    call = embedder._call
    monkeypatch.setattr(embedder, "_call", lambda *words: given.append(words[2]) or call(*words))
    server.failures = [(400, "too long")] * 5
    embedder.embed(["alpha beta " * 100] * 4)
    assert len(given) > 5
    assert len(set(map(id, given))) == 1


@pytest.mark.parametrize("key", ["secrét", "a\nb"])
def test_a_key_that_cannot_be_sent_is_not_shown(
    load: Callable[..., ServerEmbedder], monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("TEST_EMBEDDING_KEY", key)
    with pytest.raises(EmbedderUnavailable, match="cannot be asked") as caught:
        load(OPENAI, "TEST_EMBEDDING_KEY")
    assert key not in caught.value.message


def test_a_key_that_the_server_repeats_is_not_shown(
    server: EmbeddingServer, load: Callable[..., ServerEmbedder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_EMBEDDING_KEY", "not-a-real-key")
    server.failures = [(401, "Incorrect key: not-a-real-key")]
    with pytest.raises(EmbedderUnavailable, match="Incorrect key: …") as caught:
        load(OPENAI, "TEST_EMBEDDING_KEY")
    assert "not-a-real-key" not in caught.value.message


@pytest.mark.parametrize("url", ["http://[", "http://a..b/v1", "http://x" + "y" * 70 + ".example/v1", "http://:1/"])
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(EmbedderUnavailable):
        ServerEmbedder(EmbedderSpec(OPENAI, "words", url))


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
ANY = st.recursive(
    PLAIN | st.sampled_from([ROW, [ROW], {"index": 0, "embedding": ROW}]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["embeddings", "data", "index", "embedding", "x"]), inner, max_size=3)
    ),
    max_leaves=12,
)
WRAPPED = (
    ANY
    | ANY.map(lambda value: {"data": value, "embeddings": value})
    | ANY.map(lambda value: {"data": [{"index": 0, "embedding": value}], "embeddings": [value]})
)


@pytest.mark.parametrize("kind", [OLLAMA, OPENAI])
def test_any_json(server: EmbeddingServer, load: Callable[[str], ServerEmbedder], kind: str) -> None:
    embedder = load(kind)
    before = threading.active_count()  # with what other tests of this process have left

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(WRAPPED)
    def check(value: object) -> None:
        server.failures = [(200, json.dumps(value))]
        try:
            vectors = embedder.embed(["a"])
        except EmbedderUnavailable:
            return
        assert vectors.shape == (1, 32)
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)

    check()
    deadline = time.monotonic() + 120
    while threading.active_count() >= before + 10:  # those of the server's connections that have just been closed
        assert time.monotonic() < deadline
        time.sleep(0.02)
