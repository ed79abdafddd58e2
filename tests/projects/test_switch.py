"""The switch: prepared fully, then one flip; old or new, never a mix."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import gardener
from gardener.errors import ConflictError, IndexDamaged, NoActiveProject, PathNotFound, ProjectNotFound
from gardener.paths import Paths
from gardener.project_context import ProjectContext
from gardener.projects.registry import Registry
from gardener.projects.switch import switch
from gardener.state import State

SWITCH = """
import sys
from gardener.paths import Paths
from gardener.projects.registry import Registry
from gardener.projects.switch import switch
from gardener.state import State
paths = Paths(sys.argv[1])
with State(paths.state_db) as state:
    registry = Registry(state, paths)
    for _ in range(int(sys.argv[3])):
        context = switch(registry, state, sys.argv[2])
        assert context.name == sys.argv[2]
"""


@pytest.fixture
def two(registry: Registry, tmp_path: Path) -> tuple[ProjectContext, ProjectContext]:
    made = []
    for name in ("one", "two"):
        (tmp_path / "code" / name).mkdir(parents=True)
        made.append(registry.add(str(tmp_path / "code" / name)))
    return made[0], made[1]


def test_switching_changes_the_active_project_and_says_so(
    registry: Registry, state: State, two: tuple[ProjectContext, ProjectContext]
) -> None:
    before = state.generation()
    assert switch(registry, state, "TWO") == two[1]
    assert registry.active() == two[1]
    assert state.generation() == before + 1
    assert registry.events(limit=1)[0].kind == "project.switched"
    assert registry.records()[1].last_used_at > registry.records()[1].created_at


def test_another_process_sees_it(
    registry: Registry, state: State, paths: Paths, two: tuple[ProjectContext, ProjectContext]
) -> None:
    before = state.generation()
    subprocess.run([sys.executable, "-c", SWITCH, paths.home, "two", "1"], check=True)
    assert state.generation() == before + 1
    assert registry.active() == two[1]


def test_the_previous_project_is_the_one_that_was_active_before(
    registry: Registry, state: State, two: tuple[ProjectContext, ProjectContext], tmp_path: Path
) -> None:
    assert registry.previous() == two[1]  # never active, but the only other one
    (tmp_path / "code" / "three").mkdir()
    registry.add(str(tmp_path / "code" / "three"))
    switch(registry, state, "two")
    assert registry.previous() == two[0]  # not the newer one, which has never been active
    switch(registry, state, registry.previous().id)
    registry.touch("three")
    assert registry.previous() == two[1]
    registry.purge("two")
    registry.purge("three")
    with pytest.raises(NoActiveProject, match="no other project"):
        registry.previous()


def test_a_check_that_refuses_leaves_everything_as_it_was(
    registry: Registry, state: State, two: tuple[ProjectContext, ProjectContext]
) -> None:
    def refuse(context: ProjectContext) -> None:
        raise IndexDamaged(f"index of {context.name}")

    before = (state.generation(), registry.records(), len(registry.events()))
    with pytest.raises(IndexDamaged, match="index of two"):
        switch(registry, state, "two", [lambda context: None, refuse])
    assert (state.generation(), registry.records(), len(registry.events())) == before


def test_a_folder_that_is_gone(registry: Registry, state: State, two: tuple[ProjectContext, ProjectContext]) -> None:
    Path(two[1].root).rmdir()
    with pytest.raises(PathNotFound, match=two[1].root) as caught:
        switch(registry, state, "two")
    assert caught.value.next_step == "gardener move two NEW_PATH"
    assert registry.active() == two[0]


def test_an_unknown_project(registry: Registry, state: State, two: tuple[ProjectContext, ProjectContext]) -> None:
    with pytest.raises(ProjectNotFound, match="Did you mean 'one'"):
        switch(registry, state, "ome")
    assert registry.active() == two[0]


def test_a_project_that_is_removed_while_the_checks_run(
    registry: Registry, state: State, two: tuple[ProjectContext, ProjectContext]
) -> None:
    def remove(context: ProjectContext) -> None:
        registry.remove(context.name)

    with pytest.raises(ProjectNotFound):
        switch(registry, state, "two", [remove])
    assert registry.active() == two[0]


def test_a_project_that_moves_while_the_checks_run(
    registry: Registry, state: State, two: tuple[ProjectContext, ProjectContext], tmp_path: Path
) -> None:
    (tmp_path / "new").mkdir()

    def move(context: ProjectContext) -> None:
        registry.move(context.name, str(tmp_path / "new"))

    with pytest.raises(ConflictError, match="has just been moved"):
        switch(registry, state, "two", [move])
    assert registry.active() == two[0]


def test_of_switches_at_once_one_wins_and_none_is_lost_from_the_log(
    registry: Registry, state: State, paths: Paths, two: tuple[ProjectContext, ProjectContext]
) -> None:
    before = state.generation()
    runs = [subprocess.Popen([sys.executable, "-c", SWITCH, paths.home, name, "15"]) for name in ("one", "two")]
    assert [process.wait() for process in runs] == [0, 0]
    assert state.generation() == before + 30
    last = next(event for event in registry.events() if event.kind == "project.switched")
    active = registry.active()
    assert active is not None and active.id == last.project_id


def test_switching_imports_nothing_heavy() -> None:
    script = (
        "import sys, gardener.projects.switch, gardener.projects.registry\n"
        "print(sorted({'dataclasses', 'json', 'logging', 'typing', 'inspect', 'shutil', 'difflib', 'shlex', "
        "'subprocess', 'unicodedata', 'numpy', 'lancedb'} & set(sys.modules)))"
    )
    # -S leaves site-packages out, and with them what they import at every start.
    source = {"PYTHONPATH": str(Path(gardener.__file__).parent.parent)}
    result = subprocess.run(
        [sys.executable, "-S", "-c", script], capture_output=True, text=True, check=True, env=source
    )
    assert result.stdout.strip() == "[]"
