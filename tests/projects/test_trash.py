"""Removal, undo and purge, and that a kill -9 at any point leaves the old state or the new one."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gardener.errors import DiskFull, LockedError, NameTaken, NoActiveProject, ProjectExists, ProjectNotFound
from gardener.locks import ProcessLock
from gardener.paths import Paths, ensure_directory, project_lock
from gardener.project_context import ProjectContext
from gardener.projects.history import History
from gardener.projects.registry import Registry
from gardener.state import State

CHURN = """
import sys
from gardener.paths import Paths
from gardener.projects.history import History
from gardener.projects.registry import Registry
from gardener.projects.switch import switch
from gardener.state import State
paths = Paths(sys.argv[1])
state = State(paths.state_db)
registry = Registry(state, paths, release_vectors=lambda context: 0)
history = History(state)
for context in registry.list(include_removed=True):
    if context.name == "beta":
        registry.purge(context.id)
print("ready", flush=True)
while True:
    context = registry.add(sys.argv[2])
    open(context.home + "/index", "w").write("vectors of beta")
    conversation = history.start(context.id)
    history.append(context.id, conversation.id, "user", "what is beta?")
    switch(registry, state, "beta")
    registry.remove("beta")
    registry.restore("beta")
    switch(registry, state, "alpha")
    registry.purge("beta")
"""


@pytest.fixture
def alpha(registry: Registry, folder: Path) -> ProjectContext:
    context = registry.add(str(folder))
    (Path(context.home) / "index").mkdir()
    (Path(context.home) / "index" / "data").write_text("x" * 1000)
    return context


def test_removing_moves_the_data_to_the_trash_and_leaves_the_users_folder(
    registry: Registry, alpha: ProjectContext, paths: Paths, state: State
) -> None:
    before = state.generation()
    removed = registry.remove("Alpha")
    assert removed.home == os.path.join(paths.trash, alpha.id)
    assert (Path(removed.home) / "index" / "data").exists() and not os.path.exists(alpha.home)
    assert os.path.isdir(alpha.root)
    assert registry.active() is None and state.generation() > before
    assert registry.list() == [] and registry.list(include_removed=True) == [removed]
    assert [record.state for record in registry.records(include_removed=True)] == ["removed"]
    with pytest.raises(ProjectNotFound, match="in the trash") as caught:
        registry.get("alpha")
    assert caught.value.next_step == "gardener restore alpha"


def test_restoring_undoes_it(registry: Registry, alpha: ProjectContext) -> None:
    registry.remove("alpha")
    assert registry.restore("alpha") == alpha
    assert (Path(alpha.home) / "index" / "data").exists()
    assert registry.get("alpha") == alpha
    assert [event.kind for event in registry.events(limit=2)] == ["project.restored", "project.removed"]
    with pytest.raises(ProjectNotFound, match="in the trash"):
        registry.restore("alpha")


def test_restoring_when_the_name_has_been_taken(registry: Registry, alpha: ProjectContext, folder: Path) -> None:
    registry.remove("alpha")
    other = folder.parent / "other"
    other.mkdir()
    registry.add(str(other), "ALPHA")
    with pytest.raises(NameTaken, match="cannot be restored") as caught:
        registry.restore("alpha")
    assert caught.value.next_step == f"gardener restore {alpha.id} --name alpha-restored"
    assert registry.restore("alpha", new_name="alpha-restored").id == alpha.id
    assert (Path(alpha.home) / "index" / "data").exists()


def test_restoring_when_the_folder_has_been_registered_again(registry: Registry, alpha: ProjectContext) -> None:
    registry.remove("alpha")
    again = registry.add(alpha.root, "again")
    with pytest.raises(ProjectExists, match="is project 'again' now"):
        registry.restore("alpha")
    registry.remove("again")
    assert registry.restore("alpha").id == alpha.id
    assert again.id != alpha.id


def test_of_two_removed_projects_of_one_name_the_later_comes_back(registry: Registry, alpha: ProjectContext) -> None:
    registry.remove("alpha")
    second = registry.add(alpha.root)
    registry.remove("alpha")
    assert registry.restore("alpha").id == second.id
    registry.remove("alpha")
    assert registry.restore(alpha.id) == alpha


def test_a_project_that_is_being_updated_is_not_removed(registry: Registry, alpha: ProjectContext) -> None:
    with (
        ProcessLock(project_lock(alpha.home), "gardener index"),
        pytest.raises(LockedError, match=r"gardener index\) already is updating 'alpha'"),
    ):
        registry.remove("alpha")
    assert registry.get("alpha") == alpha and os.path.isdir(alpha.home)


def test_a_removal_that_cannot_be_committed_is_undone(registry: Registry, alpha: ProjectContext, paths: Paths) -> None:
    script = """
import resource, sys
from gardener.errors import DiskFull
from gardener.paths import Paths
from gardener.projects.registry import Registry
from gardener.state import State
paths = Paths(sys.argv[1])
with State(paths.state_db) as state:
    registry = Registry(state, paths)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))
    try:
        registry.remove("alpha")
    except DiskFull:
        print("full")
"""
    result = subprocess.run([sys.executable, "-c", script, paths.home], capture_output=True, text=True, check=True)
    assert result.stdout == "full\n"
    assert registry.get("alpha") == alpha
    assert (Path(alpha.home) / "index" / "data").exists()
    assert registry.active() == alpha


# ---- Purge -----------------------------------------------------------------------------------------------


def everything_under(path: str) -> bytes:
    return b"".join(
        file.as_posix().encode() + b"\n" + file.read_bytes() for file in Path(path).rglob("*") if file.is_file()
    )


@pytest.mark.parametrize("removed_first", [False, True])
def test_a_purge_leaves_nothing_behind(paths: Paths, state: State, tmp_path: Path, removed_first: bool) -> None:
    released: list[tuple[str, bool]] = []

    def release(context: ProjectContext) -> int:
        released.append((context.id, os.path.exists(os.path.join(context.home, "index", "data"))))
        return 7

    registry = Registry(state, paths, release_vectors=release)
    history = History(state)
    secret = "xylophonic4711"  # one word, so that the word index keeps it in one piece too
    root = tmp_path / "code" / secret
    other_root = tmp_path / "code" / "other"
    root.mkdir(parents=True)
    other_root.mkdir()
    context, other = registry.add(str(root)), registry.add(str(other_root))
    (Path(context.home) / "index").mkdir()
    (Path(context.home) / "index" / "data").write_text(secret)
    for owner in (context, other):
        conversation = history.start(owner.id)
        for number in range(60):
            text = f"{secret} was asked {number}" if owner is context else f"harmless {number}"
            history.append(owner.id, conversation.id, "user", text)
    registry.rename(context.name, secret + "-2")
    Path(paths.state_db + ".before-0").write_text(secret)
    assert secret.encode() in everything_under(paths.home)
    if removed_first:
        registry.remove(context.id)
    report = registry.purge(context.id)
    assert secret.encode() not in everything_under(paths.home)
    assert context.id.encode() not in everything_under(paths.home)
    assert released == [(context.id, True)]
    assert (report.name, report.files, report.conversations, report.messages, report.vectors) == (
        secret + "-2",
        2,  # the index and the lock
        1,
        60,
        7,
    )
    assert report.scrubbed and report.bytes >= len(secret) and len(report.old_copies) == 1
    assert report.as_json()["vectors"] == 7
    assert root.is_dir()
    assert registry.list(include_removed=True) == [other]
    assert len(history.search(other.id, "harmless", limit=100)) == 60
    assert registry.events(limit=1)[0].kind == "project.purged" and registry.events(limit=1)[0].project_id is None
    assert state.check() == []


def test_purging_what_does_not_exist(registry: Registry, alpha: ProjectContext) -> None:
    with pytest.raises(ProjectNotFound):
        registry.purge("beta")
    assert registry.list() == [alpha]


def test_purging_takes_the_registered_project_before_one_of_that_name_in_the_trash(
    registry: Registry, alpha: ProjectContext
) -> None:
    registry.remove("alpha")
    second = registry.add(alpha.root)
    assert registry.purge("alpha").project_id == second.id
    assert registry.purge("alpha").project_id == alpha.id


def test_a_purge_that_fails_in_the_middle_is_finished_by_the_next_command(
    paths: Paths, state: State, folder: Path
) -> None:
    def fail(context: ProjectContext) -> int:
        raise DiskFull("no room")

    registry = Registry(state, paths, release_vectors=fail)
    context = registry.add(str(folder))
    with pytest.raises(DiskFull):
        registry.purge("alpha")
    assert registry.list(include_removed=True) == []  # gone for the user, and cannot be brought back
    with pytest.raises(ProjectNotFound):
        registry.restore(context.id)
    again = Registry(state, paths, release_vectors=fail)  # the obstacle is still there: no command breaks for it
    assert again.list() == []
    assert os.path.isdir(os.path.join(paths.trash, context.id))
    Registry(state, paths, release_vectors=lambda context: 0)
    assert not os.path.exists(os.path.join(paths.trash, context.id))
    assert state.read().execute("SELECT count(*) FROM projects").fetchone()[0] == 0


# ---- Crashes ---------------------------------------------------------------------------------------------


def assert_consistent(registry: Registry, state: State, paths: Paths) -> None:
    """Every row's folder is where the row says, no folder lacks a row, and the pointer is sound."""
    rows = state.read().execute("SELECT id, removed_at FROM projects").fetchall()
    live = {row["id"] for row in rows if row["removed_at"] is None}
    assert set(os.listdir(paths.projects)) == live
    trashed = set(os.listdir(paths.trash)) - {"purge.lock"} if os.path.isdir(paths.trash) else set()
    assert trashed == {row["id"] for row in rows} - live
    pointer = state.read().execute("SELECT value FROM pointers WHERE key = 'active'").fetchone()
    assert pointer is None or pointer["value"] is None or pointer["value"] in live
    assert state.check() == []


def test_kill_9_at_any_point_leaves_the_old_state_or_the_new_one(
    registry: Registry, alpha: ProjectContext, state: State, paths: Paths, folder: Path
) -> None:
    beta = folder.parent / "beta"
    beta.mkdir()
    moments = random.Random(7)
    for _ in range(12):
        process = subprocess.Popen(
            [sys.executable, "-c", CHURN, paths.home, str(beta)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            process.wait(moments.uniform(0.005, 0.15))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        _, errors = process.communicate()
        assert (process.returncode, errors) == (-signal.SIGKILL, b"")
        after = Registry(state, paths, release_vectors=lambda context: 0)
        assert_consistent(after, state, paths)
        assert after.get("alpha") == alpha
        assert (Path(alpha.home) / "index" / "data").read_text() == "x" * 1000
        known = {context.id for context in after.list(include_removed=True)}
        owners = state.read().execute("SELECT DISTINCT project_id FROM messages").fetchall()
        assert {row["project_id"] for row in owners} <= known


def test_an_interrupted_removal_is_rolled_back(
    registry: Registry, alpha: ProjectContext, state: State, paths: Paths
) -> None:
    os.makedirs(paths.trash)
    os.rename(alpha.home, os.path.join(paths.trash, alpha.id))  # killed between the move and the commit
    after = Registry(state, paths)
    assert after.get("alpha") == alpha
    assert (Path(alpha.home) / "index" / "data").exists()
    assert_consistent(after, state, paths)


def test_an_interrupted_restore_is_rolled_back(
    registry: Registry, alpha: ProjectContext, state: State, paths: Paths
) -> None:
    removed = registry.remove("alpha")
    os.rename(removed.home, alpha.home)
    after = Registry(state, paths)
    assert after.list() == []
    assert_consistent(after, state, paths)
    assert after.restore("alpha") == alpha


def test_an_interrupted_add_leaves_no_folder(
    registry: Registry, alpha: ProjectContext, state: State, paths: Paths
) -> None:
    os.mkdir(paths.project_home("0123456789ab"))
    assert_consistent(Registry(state, paths), state, paths)


def test_data_without_a_row_is_never_deleted(
    registry: Registry, alpha: ProjectContext, state: State, paths: Paths
) -> None:
    stray = Path(paths.project_home("0123456789ab"))
    stray.mkdir()
    (stray / "index").write_text("belongs to a state.db that was lost")
    Registry(state, paths)
    assert (stray / "index").exists()


def test_a_home_that_has_vanished_is_made_again(
    registry: Registry, alpha: ProjectContext, state: State, paths: Paths
) -> None:
    os.rename(alpha.home, paths.home + "-elsewhere")
    assert_consistent(Registry(state, paths), state, paths)


def test_what_a_straggler_wrote_after_the_removal_does_not_stop_the_undo(
    registry: Registry, alpha: ProjectContext, state: State, paths: Paths
) -> None:
    registry.remove("alpha")
    os.makedirs(os.path.join(alpha.home, "index"))
    (Path(alpha.home) / "index" / "late").write_text("late")
    after = Registry(state, paths)
    assert after.restore("alpha") == alpha
    assert os.listdir(os.path.join(alpha.home, "index")) == ["data"]


def test_what_a_straggler_is_just_writing_does_not_stop_the_undo(
    registry: Registry, alpha: ProjectContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.remove("alpha")
    (Path(alpha.home) / "index").mkdir(parents=True)
    for name in ("data", "data-wal"):
        (Path(alpha.home) / "index" / name).write_text("left over")
    walk, rmdir, written = os.walk, os.rmdir, []

    def wal_goes_meanwhile(folder: str) -> Iterator[tuple[str, list[str], list[str]]]:
        for found in walk(folder):
            Path(alpha.home, "index", "data-wal").unlink(missing_ok=True)
            yield found

    def another_comes_meanwhile(*words: Any, **names: Any) -> None:
        if not written:
            written.append(Path(alpha.home, "index", "more").write_text("left over"))
        rmdir(*words, **names)

    monkeypatch.setattr(os, "walk", wal_goes_meanwhile)
    monkeypatch.setattr(os, "rmdir", another_comes_meanwhile)
    restored = registry.restore("alpha")
    assert written and os.listdir(Path(restored.home) / "index") == ["data"]
    assert (Path(restored.home) / "index" / "data").read_text() == "x" * 1000


def test_no_active_project_has_a_next_step() -> None:
    assert NoActiveProject().next_step == "gardener add PATH"


def test_what_is_written_after_a_purge_is_swept(registry: Registry, alpha: ProjectContext) -> None:
    stray = Path(alpha.home) / "index"
    assert not registry.sweep(alpha.id) and stray.is_dir()
    registry.remove("alpha")
    assert not registry.sweep(alpha.id)
    registry.restore("alpha")
    registry.purge("alpha")
    stray.mkdir(parents=True)
    (stray / "late").write_text("vectors of alpha")
    assert registry.sweep(alpha.id) and not Path(alpha.home).exists()


def test_what_another_process_is_just_moving_is_not_half_done(
    registry: Registry, alpha: ProjectContext, paths: Paths, state: State, caplog: pytest.LogCaptureFixture
) -> None:
    """Between the folder's move and the row's commit it looks misplaced; of two who see that, one has the lock."""
    shutil.rmtree(alpha.home)  # as it is before it is made
    with ProcessLock(os.path.join(ensure_directory(paths.trash), "purge.lock"), "another", subject="the trash"):
        Registry(state, paths).list()
    assert caplog.text == ""
