"""Every tool, through a real client session in memory, on real small projects."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import mcp_types
import pytest
from mcp.client import Client

from gardener.app import Gardener
from gardener.errors import AppUnreachable
from gardener.mcp import choice
from gardener.mcp.server import build_server
from gardener.server.mcp_engines import AppOrSelf
from gardener.types import ProjectContext
from tests.mcp.conftest import PatientBackend, call, refusal, server_of, session

READING = {
    "search", "read_range", "symbols", "callers", "callees", "repository_map", "ask", "list_projects", "index_state",
}  # fmt: skip


def test_the_tools_are_typed_and_read_only(shared: Gardener) -> None:
    async def work(client: Client) -> list[mcp_types.Tool]:
        assert client.instructions is not None
        assert "data written by others" in client.instructions
        return (await client.list_tools()).tools

    tools = session(server_of(shared), work)
    assert {tool.name for tool in tools} == READING
    for tool in tools:
        assert tool.output_schema is not None
        assert tool.output_schema["type"] == "object"
        assert tool.description
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint is True
        assert tool.annotations.destructive_hint is False


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_search_says_where_and_in_which_project(shared: Gardener, mode: str) -> None:
    found = call(server_of(shared), "search", mode, query="how long does it burn", limit=1)
    assert (found["project"], found["chosen_by"]) == ("lantern", "active")
    assert found["index"]["fresh"] is True
    hit = found["hits"][0]
    assert (hit["path"], hit["symbol"], hit["start_line"]) == ("src/engine.py", "light_lantern", 4)
    assert "how long it burns" in hit["text"]
    assert len(found["hits"]) == 1


def test_search_is_narrowed_as_asked(shared: Gardener) -> None:
    server = server_of(shared)
    assert {hit["path"] for hit in call(server, "search", query="lantern", path="src")["hits"]} == {"src/engine.py"}
    assert [hit["symbol"] for hit in call(server, "search", symbol="start")["hits"]] == ["start"]
    assert call(server, "search", query="lantern", languages=["rust"])["hits"] == []


def test_read_range_gives_the_disk_and_not_the_index(gardener: Gardener, tmp_path: Path) -> None:
    path = tmp_path / "lantern" / "src" / "engine.py"
    path.write_text("# new\n" + path.read_text())
    server = server_of(gardener)
    got = call(server, "read_range", path="src/engine.py", start_line=1, end_line=2)
    assert got["text"] == '# new\n"""The lantern engine."""'
    assert (got["start_line"], got["end_line"], got["total_lines"]) == (1, 2, 13)
    assert call(server, "read_range", path=str(path), start_line=13)["text"].strip() == "light_lantern(4)"
    past = call(server, "read_range", path="src/engine.py", start_line=100)
    assert (past["text"], past["start_line"], past["end_line"]) == ("", 100, 99)


def test_symbols_callers_callees_and_map(shared: Gardener) -> None:
    server = server_of(shared)
    found = call(server, "symbols", pattern="light", limit=1)
    assert [(one["symbol"], one["path"], one["start_line"]) for one in found["symbols"]] == [
        ("light_lantern", "src/engine.py", 4)
    ]
    assert found["more"] is False
    assert call(server, "symbols", limit=1)["more"] is True
    callers = call(server, "callers", symbol="light_lantern")
    assert [(one["caller"], one["line"], one["relation"]) for one in callers["callers"]] == [("start", 12, "call")]
    assert callers["definitions"][0]["symbol"] == "light_lantern"
    callees = call(server, "callees", symbol="start")
    assert [(one["callee"], one["start_line"]) for one in callees["callees"]] == [("light_lantern", 4)]
    drawn = call(server, "repository_map", tokens=200, focus="src")
    assert "light_lantern" in drawn["text"]
    assert drawn["tokens"] <= 200
    for result in (found, callers, callees, drawn):
        assert result["index"]["files"] == 2


def test_ask_answers_with_citations_and_reports_progress(shared: Gardener) -> None:
    told: list[tuple[float, str | None]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, message))

    async def work(client: Client) -> Any:
        return await client.call_tool("ask", {"question": "how is the lantern lit?"}, progress_callback=note)

    result = session(server_of(shared), work)
    said = result.structured_content
    assert said["answer"].startswith("The lantern is lit by light_lantern [1].")
    assert said["citations"][0]["path"] == "src/engine.py"
    assert said["citations"][0]["state"] == "current"
    assert (said["backend"], said["complete"], said["error"]) == ("scripted", True, "")
    assert told[0] == (0, "Searching")
    assert told[1][1] is not None
    assert told[1][1].startswith("Found ")
    assert [progress for progress, _ in told] == sorted({progress for progress, _ in told})
    assert shared.history.list(shared.context("lantern").id) == []


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_cancelled_ask_ends_the_work_behind_it(
    gardener: Gardener, model: PatientBackend, caplog: pytest.LogCaptureFixture, mode: str
) -> None:
    model.patient = True

    async def work(client: Client) -> None:
        async with anyio.create_task_group() as tasks:

            async def ask() -> None:
                await client.call_tool("ask", {"question": "how is the lantern lit?"})

            tasks.start_soon(ask)
            assert await anyio.to_thread.run_sync(model.begun.wait, 30)
            tasks.cancel_scope.cancel()
        assert await anyio.to_thread.run_sync(model.cancelled.wait, 30)
        model.patient = False
        again = await client.call_tool("ask", {"question": "and now?"})
        assert not again.is_error

    session(server_of(gardener), work, mode)
    assert "unexpected" not in caplog.text


def test_an_app_that_dies_in_mid_answer_is_named(shared: Gardener) -> None:
    class Dying(AppOrSelf):
        def ask(self, context: ProjectContext, question: str, hits: int | None) -> Any:
            return self

        def events(self) -> Iterator[dict[str, Any]]:
            yield {"event": "text", "text": "The"}
            raise AppUnreachable("The app's answer ended in the middle.", next_step="gardener status")

        def stop(self) -> None:
            raise AppUnreachable("It does not answer.", next_step="gardener status")

    said = refusal(build_server(shared, Dying(shared, lambda *_: None)), "ask", question="x")
    assert said.endswith("[app-unreachable] The app's answer ended in the middle. Next: gardener status")


def test_the_state_of_the_index_and_the_projects(gardener: Gardener, tmp_path: Path) -> None:
    server = server_of(gardener)
    listed = call(server, "list_projects")
    assert [(one["project"], one["active"], one["indexed"]) for one in listed["projects"]] == [
        ("lantern", True, True),
        ("compass", False, True),
    ]
    assert (listed["default"], listed["chosen_by"]) == ("lantern", "active")
    (tmp_path / "compass" / "new.py").write_text("x = 1\n")
    state = call(server, "index_state", project="compass")
    assert (state["project"], state["chosen_by"]) == ("compass", "argument")
    assert (state["index"]["fresh"], state["index"]["changed_files"]) == (False, 1)
    found = call(server, "symbols", project="compass", pattern="x")  # which brings the index up to date
    assert (found["index"]["fresh"], found["index"]["changed_files"]) == (True, 0)


def test_which_project_is_taken(shared: Gardener) -> None:
    base = Path(shared.context("lantern").root).parent

    def chosen(server: Any, mode: str = "auto", **arguments: Any) -> tuple[str, str]:
        found = call(server, "search", mode, query="engine", **arguments)
        return found["project"], found["chosen_by"]

    inside = str(base / "compass" / "src")
    assert chosen(server_of(shared, folder=inside)) == ("compass", "working-directory")
    assert chosen(server_of(shared, folder=str(base))) == ("lantern", "active")
    assert chosen(server_of(shared, folder=inside), project="lantern") == ("lantern", "argument")
    assert chosen(server_of(shared, project="compass")) == ("compass", "option")


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (["compass"], ("compass", "workspace", False)),
        (["nowhere", "compass/src"], ("compass", "workspace", False)),
        (["nowhere"], ("lantern", "active", True)),
        ([], ("lantern", "active", False)),
    ],
)
def test_the_clients_folders_count(shared: Gardener, folders: list[str], expected: tuple[str, str, bool]) -> None:
    base = Path(shared.context("lantern").root).parent

    async def roots(context: Any) -> mcp_types.ListRootsResult:
        return mcp_types.ListRootsResult(
            roots=[mcp_types.Root(uri=(base / folder).as_uri()) for folder in folders]  # type: ignore[arg-type]
        )

    async def work(client: Client) -> dict[str, Any]:
        result = await client.call_tool("search", {"query": "engine"})
        assert result.structured_content is not None
        return dict(result.structured_content)

    found = session(server_of(shared), work, "legacy", list_roots_callback=roots)
    assert (found["project"], found["chosen_by"], bool(found["note"])) == expected


def test_a_client_that_does_not_say_its_folders_is_asked_once(
    shared: Gardener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "ROOTS_SECONDS", 0.05)
    asked: list[object] = []

    async def roots(context: Any) -> mcp_types.ListRootsResult:
        asked.append(context)
        await asyncio.sleep(3600)
        raise AssertionError

    async def work(client: Client) -> None:
        for _ in range(2):
            result = await client.call_tool("search", {"query": "engine"})
            assert result.structured_content is not None
            assert result.structured_content["chosen_by"] == "active"

    session(server_of(shared), work, "legacy", list_roots_callback=roots)
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("search", {"query": "  "}, "[usage] The query is empty. Next: give `query`"),
        ("search", {"query": "x", "project": "nope"}, "[project-not-found] No project 'nope' is registered. Next:"),
        ("search", {"query": "x", "limit": 51}, "less than or equal to 50"),
        ("search", {"query": "x", "limit": "9"}, "should be a valid integer"),
        ("search", {"query": "x", "no_tests": 1}, "should be a valid boolean"),
        ("read_range", {"path": "README.md", "start_line": True}, "should be a valid integer"),
        ("read_range", {"path": "README.md", "end_line": "9"}, "should be a valid integer"),
        ("symbols", {"limit": True}, "should be a valid integer"),
        ("repository_map", {"tokens": 100.5}, "should be a valid integer"),
        ("ask", {"question": "x", "hits": True}, "should be a valid integer"),
        ("read_range", {"path": "../compass/README.md"}, "[invalid-path]"),
        ("read_range", {"path": "/etc/passwd"}, "[invalid-path]"),
        ("read_range", {"path": "gone.py"}, "[path-not-found]"),
        ("read_range", {"path": "src"}, "[path-not-found]"),
        ("read_range", {"path": ".env"}, "holds secrets"),
        ("read_range", {"path": "way-out"}, "[path-not-found]"),
        ("read_range", {"path": "picture.png"}, "it is not text"),
        ("read_range", {"path": "README.md", "start_line": 5, "end_line": 2}, "[usage] Line 2 is before line 5"),
        ("callers", {"symbol": "no_such_thing"}, "[not-found]"),
        ("repository_map", {"focus": "no/such/place"}, "[not-found]"),
        ("switch_project", {"project": "compass"}, "switch_project"),
    ],
)  # fmt: skip
def test_what_is_refused_says_why(shared: Gardener, tool: str, arguments: Any, said: str) -> None:
    root = Path(shared.context("lantern").root)
    (root / ".env").write_text("TOKEN=abcdefabcdefabcdef\n")
    (root / "picture.png").write_bytes(bytes(range(256)) * 8)
    if not (root / "way-out").is_symlink():
        (root / "way-out").symlink_to("/etc/passwd")
    assert said in refusal(server_of(shared), tool, **arguments)
    assert shared.context().name == "lantern"


def test_without_any_project_the_way_to_one_is_said(home: Path) -> None:
    with Gardener(str(home)) as empty:
        server = server_of(empty)
        assert call(server, "list_projects") == {"projects": [], "default": "", "chosen_by": None}
        assert "[no-active-project] No project is active. Next: gardener add PATH" in refusal(
            server, "search", query="x"
        )


def test_a_project_without_an_index_says_so(gardener: Gardener, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    gardener.registry.add(str(tmp_path / "bare"))
    assert "has no index yet" in refusal(server_of(gardener), "index_state", project="bare")
    assert "gardener index" in refusal(server_of(gardener), "search", project="bare", query="x")


def test_a_project_removed_in_mid_session(gardener: Gardener) -> None:
    async def work(client: Client) -> tuple[Any, Any, Any]:
        before = await client.call_tool("search", {"query": "engine", "project": "compass"})
        gardener.registry.remove("compass")
        after = await client.call_tool("search", {"query": "engine", "project": "compass"})
        other = await client.call_tool("search", {"query": "engine"})
        return before, after, other

    before, after, other = session(server_of(gardener), work)
    assert not before.is_error
    assert after.is_error
    assert "[project-not-found]" in after.content[0].text
    assert other.structured_content["project"] == "lantern"


def test_switching_needs_to_be_allowed(gardener: Gardener, tmp_path: Path) -> None:
    (tmp_path / "home" / "config.toml").write_text("[mcp]\nallow_switch = true\n")
    with Gardener(str(tmp_path / "home")) as allowed:
        server = server_of(allowed)

        async def work(client: Client) -> mcp_types.Tool:
            return next(tool for tool in (await client.list_tools()).tools if tool.name == "switch_project")

        tool = session(server, work)
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint is False
        switched = call(server, "switch_project", project="compass")
        assert (switched["project"], switched["before"]) == ("compass", "lantern")
        assert allowed.context().name == "compass"


def test_what_crashes_says_nothing_of_its_inside(
    shared: Gardener, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def crash(*_: Any) -> None:
        raise RuntimeError("the inside of /somewhere")

    monkeypatch.setattr(AppOrSelf, "search", crash)
    assert refusal(server_of(shared), "search", query="x") == "Error executing tool search"
    assert "the inside of /somewhere" in caplog.text


def test_nothing_is_written_to_the_project(shared: Gardener) -> None:
    root = Path(shared.context("lantern").root)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    server = server_of(shared)
    for tool, arguments in (("search", {"query": "engine"}), ("ask", {"question": "x"}), ("repository_map", {})):
        call(server, tool, **arguments)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
