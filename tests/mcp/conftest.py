"""Two real projects, and clients that speak to a real server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from mcp.client import Client
from mcp.server import MCPServer

from gardener.app import Gardener
from gardener.mcp.server import build_server
from gardener.models.base import BackendEvent, ChatRequest
from gardener.server.mcp_engines import AppOrSelf
from gardener.types import Done, TextDelta, Usage
from tests.chat_samples import ScriptedBackend
from tests.serving import write_project

Result = TypeVar("Result")
WORDS = ("The lantern", " is lit", " by light_lantern", " [1].")


@dataclass
class PatientBackend(ScriptedBackend):
    """Writes one word and goes on only when it is cancelled, or at once when it is not asked to be patient."""

    script: Any = WORDS
    patient: bool = False
    begun: threading.Event = field(default_factory=threading.Event)
    cancelled: threading.Event = field(default_factory=threading.Event)

    def stream(self, request: ChatRequest, cancel: threading.Event) -> Iterator[BackendEvent]:
        if not self.patient:
            return super().stream(request, cancel)
        return self._wait(cancel)

    def _wait(self, cancel: threading.Event) -> Iterator[BackendEvent]:
        yield TextDelta("The lantern")
        self.begun.set()
        assert cancel.wait(120), "nobody cancelled it"
        self.cancelled.set()
        yield Done("cancelled", Usage(10, 2))


@pytest.fixture
def model() -> PatientBackend:
    return PatientBackend()


@pytest.fixture
def gardener(tmp_path: Path, model: PatientBackend) -> Iterator[Gardener]:
    """`lantern` (active) and `compass`, indexed; nobody makes their vectors. For tests that change something."""
    with two_projects(tmp_path, model) as made:
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gardener]:
    """The same for all tests of a module that only read."""
    with two_projects(tmp_path_factory.mktemp("shared"), PatientBackend()) as made:
        yield made


@contextmanager
def two_projects(base: Path, model: PatientBackend) -> Iterator[Gardener]:
    with Gardener(str(base / "home")) as made:
        made.backends.register("scripted", lambda: model)
        for marker in ("lantern", "compass"):
            context = made.registry.add(str(write_project(base / marker, marker)))
            made.registry.configure(context.name, backend="scripted")
            made.update_index(made.context(marker))
        made.switch("lantern")
        yield made


def server_of(gardener: Gardener, **options: Any) -> MCPServer[Any]:
    return build_server(gardener, AppOrSelf(gardener, lambda *_: None), **options)


def session(server: Any, work: Callable[[Client], Awaitable[Result]], mode: str = "auto", **options: Any) -> Result:
    """What `work` returns for a client of the server: in memory, of a transport, or of an address."""

    async def run() -> Result:
        async with Client(server, mode=mode, **options) as client:
            return await work(client)

    return asyncio.run(run())


def call(server: Any, tool: str, mode: str = "auto", **arguments: Any) -> dict[str, Any]:
    """The structured result of one call, which must succeed."""

    async def work(client: Client) -> dict[str, Any]:
        result = await client.call_tool(tool, arguments)
        assert not result.is_error, result.content
        assert result.structured_content is not None
        return dict(result.structured_content)

    return session(server, work, mode)


def refusal(server: Any, tool: str, **arguments: Any) -> str:
    """What a call is refused with."""

    async def work(client: Client) -> str:
        result = await client.call_tool(tool, arguments)
        assert result.is_error
        return "".join(part.text for part in result.content if part.type == "text")

    said = session(server, work)
    assert "Traceback" not in said
    return said
