"""`gardener mcp` as an editor starts it: a process, its pipes, and its end."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from gardener.app import Gardener
from tests.mcp.conftest import PatientBackend, session
from tests.serving import serving

COMMAND = [sys.executable, "-m", "gardener.cli.main", "mcp"]
GREETING: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "0"}},
}
SEARCH = {"jsonrpc": "2.0", "id": 2, "method": "tools/call",
          "params": {"name": "search", "arguments": {"query": "lantern"}}}  # fmt: skip
WAIT_SECONDS = 240


def environment(gardener: Gardener) -> dict[str, str]:
    own = {"GARDENER_HOME": gardener.paths.home, "PYTHONPATH": os.getcwd()}
    return {**os.environ, **own, "GARDENER_INDEX_BACKGROUND_EMBEDDING": "false"}  # no process that outlives the test


def transport(gardener: Gardener, folder: Path, *options: str) -> Any:
    return stdio_client(
        StdioServerParameters(
            command=COMMAND[0], args=[*COMMAND[1:], *options], env=environment(gardener), cwd=str(folder)
        )
    )


class Spoken:
    """A server process and the lines that it has said, without a client library between."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def say(self, message: Any) -> None:
        assert self.process.stdin is not None
        line = message if isinstance(message, bytes) else json.dumps(message).encode()
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        """The next message; every line of standard output must be one."""
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], WAIT_SECONDS)[0]
        message = json.loads(self.process.stdout.readline())
        assert message["jsonrpc"] == "2.0"
        return dict(message)

    def greet(self) -> None:
        self.say(GREETING)
        assert self.hear()["result"]["serverInfo"]["name"] == "gardener"
        self.say({"jsonrpc": "2.0", "method": "notifications/initialized"})


@contextmanager
def spoken(gardener: Gardener, folder: Path) -> Iterator[Spoken]:
    process = subprocess.Popen(
        COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
        env=environment(gardener), cwd=folder,
    )  # fmt: skip
    try:
        yield Spoken(process)
    finally:
        process.kill()
        process.communicate()


def test_a_session_works_in_the_clients_folder(gardener: Gardener, tmp_path: Path) -> None:
    async def work(client: Client) -> tuple[Any, Any]:
        found = await client.call_tool("search", {"query": "how long does it burn"})
        said = await client.call_tool("ask", {"question": "how is the compass lit?", "project": "compass"})
        return found.structured_content, said

    gardener.registry.configure("compass", backend="extractive")
    found, said = session(transport(gardener, tmp_path / "compass" / "src"), work)
    assert (found["project"], found["chosen_by"]) == ("compass", "working-directory")
    assert found["hits"][0]["symbol"] == "light_compass"
    assert not said.is_error, said.content
    assert said.structured_content["backend"] == "extractive"
    assert said.structured_content["citations"]


def test_the_running_app_does_the_work(gardener: Gardener, model: PatientBackend, tmp_path: Path) -> None:
    with serving(gardener) as app:

        async def work(client: Client) -> tuple[Any, Any]:
            said = await client.call_tool("ask", {"question": "how is the lantern lit?"})
            model.patient = True
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as tasks:

                    async def ask() -> None:
                        await client.call_tool("ask", {"question": "and who lights it?"})

                    tasks.start_soon(ask)
                    assert await anyio.to_thread.run_sync(model.begun.wait, WAIT_SECONDS)
                    scope.cancel()
            assert await anyio.to_thread.run_sync(model.cancelled.wait, WAIT_SECONDS)
            found = await client.call_tool("search", {"query": "lantern"})
            return said.structured_content, found

        said, found = session(transport(gardener, tmp_path), work)
        jobs = app.edge.jobs.find(kind="answer")
    assert said["answer"].startswith("The lantern is lit")  # the scripted model is known to the app alone
    assert not found.is_error
    assert [(job.about, job.cancel.is_set()) for job in jobs] == [
        ("and who lights it?", True),
        ("how is the lantern lit?", False),
    ]


def test_a_malformed_line_costs_only_itself(gardener: Gardener, tmp_path: Path) -> None:
    with spoken(gardener, tmp_path) as server:
        server.greet()
        for line in (b"{not json", b"[]", b'{"jsonrpc": "2.0"}', b"\xff\xfe\x00", b""):
            server.say(line)
        server.say(SEARCH)
        heard = server.hear()
        while heard.get("id") != 2:
            heard = server.hear()
        assert heard["result"]["structuredContent"]["hits"]


def test_it_ends_when_its_client_goes(gardener: Gardener, tmp_path: Path) -> None:
    with spoken(gardener, tmp_path) as server:
        server.greet()
        assert server.process.stdin is not None
        server.process.stdin.close()
        server.process.stdin = None
        out, err = server.process.communicate(timeout=WAIT_SECONDS)
        assert (server.process.returncode, out) == (0, b"")
        assert b"Traceback" not in err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_on_a_signal_though_its_client_stays(
    gardener: Gardener, tmp_path: Path, number: signal.Signals
) -> None:
    with spoken(gardener, tmp_path) as server:
        server.greet()
        server.process.send_signal(number)
        assert server.process.wait(timeout=WAIT_SECONDS) == 0


def test_a_client_that_dies_before_its_answer(gardener: Gardener, tmp_path: Path) -> None:
    with spoken(gardener, tmp_path) as server:
        server.greet()
        server.say(SEARCH)
        assert server.process.stdout is not None
        assert server.process.stdin is not None
        server.process.stdout.close()
        server.process.stdin.close()
        server.process.stdin = server.process.stdout = None
        assert server.process.wait(timeout=WAIT_SECONDS) == 0
        assert server.process.stderr is not None
        assert b"Traceback" not in server.process.stderr.read()


def test_a_wrong_project_is_said_at_once(gardener: Gardener, tmp_path: Path) -> None:
    ended = subprocess.run(
        [*COMMAND, "--project", "nope"], env=environment(gardener), cwd=tmp_path, stdin=subprocess.DEVNULL,
        capture_output=True, check=False, timeout=WAIT_SECONDS,
    )  # fmt: skip
    assert ended.returncode == 4
    assert b"No project 'nope' is registered." in ended.stderr
    assert ended.stdout == b""
