"""Code to ask about, search hits over it, and a chat backend that plays a script: shared by the chat tests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gardener.errors import ModelNotFound
from gardener.models.base import Capabilities, ChatRequest, Readiness, TokenCount, estimate_tokens
from gardener.types import BackendEvent, Done, HitSource, IndexState, SearchHit, TextDelta, Usage

STORE = '''\
"""Keeps sessions."""

import json


class SessionStore:
    """Keeps sessions on the disk. One file each."""

    def __init__(self, folder):
        self.folder = folder

    def load_session(self, name):
        """Reads a session from the disk.

        Raises KeyError when there is none.
        """
        path = self.folder / name
        if not path.exists():
            raise KeyError(name)
        text = path.read_text()
        # An empty file is what a crash leaves behind.
        if not text:
            return {}
        data = json.loads(text)
        data.setdefault("visits", 0)
        data["name"] = name
        data["loaded"] = True
        if "cookies" in data:
            data["cookies"] = dict(data["cookies"])
        return data


def expire(store, names):
    for name in names:
        store.load_session(name).clear()
'''
HANDLERS = '''\
from store import SessionStore


def login(request, store):
    """Starts a session for a request."""
    session = store.load_session(request.cookie)
    session["user"] = request.user
    return session
'''
TEST = """\
def test_session(tmp_path):
    store = SessionStore(tmp_path)
    store.load_session("a")
"""
FILES = {"src/store.py": STORE, "src/handlers.py": HANDLERS, "tests/test_store.py": TEST}

INDEX = IndexState(head="a" * 40, fresh=True, embedded_fraction=1.0, files=3, chunks=6)


def write_project(root: Path) -> None:
    for path, text in FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def make_hit(
    path: str,
    start: int,
    text: str,
    *,
    symbol: str = "",
    kind: str = "function",
    language: str = "python",
    signature: str = "",
    docstring: str = "",
    score: float = 1.0,
    sources: tuple[HitSource, ...] = ("lexical",),
) -> SearchHit:
    end = start + text.count("\n")
    return SearchHit("shop", path, start, end, symbol, kind, language, signature, docstring, text, score, sources, "")


def sample_hit(path: str, start: int, end: int, symbol: str, kind: str, signature: str, doc: str = "") -> SearchHit:
    text = "\n".join(FILES[path].split("\n")[start - 1 : end])
    return make_hit(path, start, text, symbol=symbol, kind=kind, signature=signature, docstring=doc)


LOAD = sample_hit(
    "src/store.py", 12, 30, "SessionStore.load_session", "method", "def load_session(self, name)",
    "Reads a session from the disk.\n\nRaises KeyError when there is none.",
)  # fmt: skip
STORE_CLASS = sample_hit(
    "src/store.py", 6, 11, "SessionStore", "class", "class SessionStore", "Keeps sessions on the disk. One file each."
)  # fmt: skip
EXPIRE = sample_hit("src/store.py", 33, 35, "expire", "function", "def expire(store, names)")
LOGIN = sample_hit(
    "src/handlers.py", 4, 8, "login", "function", "def login(request, store)", "Starts a session for a request."
)  # fmt: skip
TESTED = sample_hit("tests/test_store.py", 1, 3, "test_session", "function", "def test_session(tmp_path)")
HITS = (LOAD, STORE_CLASS, LOGIN)


def callers_of(symbol: str) -> list[SearchHit]:
    """Who calls what in FILES, as the index would say."""
    return [TESTED, LOGIN, EXPIRE] if symbol.endswith("load_session") else []


@dataclass
class ScriptedBackend:
    """A generating backend that plays `script`: strings become text, exceptions are raised, Done ends it."""

    script: Sequence[str | BackendEvent | Exception] = ("Words", " and", " more.")
    name: str = "scripted"
    ready: Readiness = field(default_factory=lambda: Readiness(True))
    window: int = 8192
    capabilities: Capabilities = field(default_factory=Capabilities)
    requests: list[ChatRequest] = field(default_factory=list)
    on_event: Callable[[int], None] = lambda number: None
    streams_closed: int = 0

    def readiness(self, model: str = "") -> Readiness:
        if model not in ("", "small"):
            return Readiness(False, f"There is no model {model!r}.", "gardener models list")
        return self.ready

    def models(self) -> tuple[str, ...]:
        return ("small",)

    def context_tokens(self, model: str = "") -> int:
        if model not in ("", "small"):
            raise ModelNotFound(f"There is no model {model!r}.", next_step="gardener models list")
        return self.window

    def count_tokens(self, text: str, model: str = "") -> TokenCount:
        return estimate_tokens(text)

    def stream(self, request: ChatRequest, cancel: threading.Event) -> Iterator[BackendEvent]:
        self.context_tokens(request.model)
        self.requests.append(request)
        return self._play(request, cancel)

    def _play(self, request: ChatRequest, cancel: threading.Event) -> Iterator[BackendEvent]:
        written = 0
        try:
            for number, event in enumerate(self.script):
                self.on_event(number)
                if cancel.is_set():
                    yield Done("cancelled", Usage(10, written))
                    return
                if isinstance(event, Exception):
                    raise event
                if not isinstance(event, str):
                    yield event
                    if isinstance(event, Done):
                        return
                    continue
                stopped = next((mark for mark in request.stop if mark in event), None)
                text = event.split(stopped)[0] if stopped else event
                tokens = estimate_tokens(text).tokens
                if written + tokens > request.max_tokens:
                    yield Done("length", Usage(10, written))
                    return
                written += tokens
                if text:
                    yield TextDelta(text)
                if stopped:
                    break
            yield Done("stop", Usage(10, written))
        finally:
            self.streams_closed += 1

    def close(self) -> None:
        pass
