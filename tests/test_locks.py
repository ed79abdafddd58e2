"""ProcessLock with real processes: contention, death by SIGKILL, forks, stale content."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gardener import locks
from gardener.errors import LockedError, PathNotFound, PermissionProblem
from gardener.locks import ProcessLock

HOLD = """
import sys
from gardener.locks import ProcessLock
lock = ProcessLock(sys.argv[1], "gardener index", subject="'foo'")
lock.acquire()
print("held", flush=True)
sys.stdin.readline()
lock.release()
print("released", flush=True)
sys.stdin.readline()
"""

FORK_AND_DIE = """
import os, sys, time
from gardener.locks import ProcessLock
lock = ProcessLock(sys.argv[1], "gardener index")
lock.acquire()
if os.fork() == 0:
    os.write(1, b"child %d\\n" % os.getpid())
    sys.stdin.readline()
    os._exit(0)
time.sleep(0.2)
os.kill(os.getpid(), 9)
"""


def hold(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def finish(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_the_error_names_the_holders_command_pid_and_subject(tmp_path: Path) -> None:
    holder = hold(tmp_path / "lock")
    try:
        with pytest.raises(LockedError) as caught:
            ProcessLock(str(tmp_path / "lock"), "gardener remove", subject="'foo'").acquire()
        assert caught.value.message == f"Another Gardener process (pid {holder.pid}, gardener index) is updating 'foo'."
        assert str(holder.pid) in caught.value.next_step
        found = ProcessLock(str(tmp_path / "lock"), "look").holder()
        assert found is not None
        assert (found["pid"], found["purpose"]) == (holder.pid, "gardener index")
    finally:
        finish(holder)


def test_a_killed_holder_frees_the_lock_at_once(tmp_path: Path) -> None:
    holder = hold(tmp_path / "lock")
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    probe = ProcessLock(str(tmp_path / "lock"), "gardener remove")
    assert json.loads((tmp_path / "lock").read_text())["pid"] == holder.pid  # the stale name is still there
    assert probe.holder() is None
    probe.acquire()
    assert probe.holder() is not None
    probe.release()


def test_release_frees_it_while_the_process_lives_on(tmp_path: Path) -> None:
    holder = hold(tmp_path / "lock")
    try:
        assert holder.stdin is not None and holder.stdout is not None
        holder.stdin.write("\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == "released\n"
        with ProcessLock(str(tmp_path / "lock"), "next") as lock:
            assert lock.held
    finally:
        finish(holder)


def test_waiting_takes_the_lock_when_the_holder_lets_go(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    first, second = ProcessLock(path, "first"), ProcessLock(path, "second")
    first.acquire()
    waiting = threading.Thread(target=second.acquire, args=(30,))
    waiting.start()
    assert not second.held
    first.release()
    waiting.join()
    assert second.held
    second.release()


def test_a_forked_child_does_not_keep_a_dead_parents_lock(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", FORK_AND_DIE, str(tmp_path / "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None and parent.stdin is not None
    child = int(parent.stdout.readline().split()[1])
    assert parent.wait() == -signal.SIGKILL
    os.kill(child, 0)  # the child is alive, and inherited the descriptor
    ProcessLock(str(tmp_path / "lock"), "next").acquire()
    parent.communicate("\n")


def test_two_instances_in_one_process_exclude_each_other(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with (
        ProcessLock(path, "gardener index"),
        pytest.raises(LockedError, match=rf"This Gardener process \(pid {os.getpid()}, gardener index\)"),
    ):
        ProcessLock(path, "gardener move").acquire()


def test_taking_a_held_lock_again_is_a_mistake(tmp_path: Path) -> None:
    lock = ProcessLock(str(tmp_path / "lock"), "x")
    lock.acquire()
    with pytest.raises(RuntimeError):
        lock.acquire()
    lock.release()
    lock.release()  # harmless
    assert not lock.held


@pytest.mark.parametrize(
    "content", ["", "{", "null", '{"pid": "x"}', "[" * 4096, '{"pid": 999999999, "purpose": "", "since": 0}']
)
def test_unreadable_holders_are_not_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "lock"
    with ProcessLock(str(path), "x"):
        path.write_text(content)
        with pytest.raises(LockedError, match=r"^Another Gardener process holds"):
            ProcessLock(str(path), "y").acquire()
        holder = ProcessLock(str(path), "y").holder()
        assert holder is not None and holder["pid"] == 0


def test_the_file_is_private_whatever_the_umask(tmp_path: Path) -> None:
    loose = tmp_path / "loose"
    loose.write_text("")
    loose.chmod(0o666)
    old = os.umask(0o777)
    try:
        for name in ("new", "loose"):
            with ProcessLock(str(tmp_path / name), "x"):
                assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(old)


def test_a_symbolic_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("data")
    (tmp_path / "lock").symlink_to(tmp_path / "precious")
    with pytest.raises(PermissionProblem):
        ProcessLock(str(tmp_path / "lock"), "x").acquire()
    with pytest.raises(PermissionProblem):
        ProcessLock(str(tmp_path / "lock"), "x").holder()
    assert (tmp_path / "precious").read_text() == "data"


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    lock = ProcessLock(str(tmp_path / "gone" / "lock"), "x")
    assert lock.holder() is None
    with pytest.raises(PathNotFound, match="gone"):
        lock.acquire()


def test_a_lock_whose_folder_was_moved_meanwhile_is_not_taken(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    first, late = ProcessLock(str(home / "lock"), "remove"), ProcessLock(str(home / "lock"), "index")
    first.acquire()
    failures: list[Exception] = []

    def wait() -> None:
        try:
            late.acquire(30)
        except PathNotFound as error:
            failures.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    home.rename(tmp_path / "trash")
    first.release()
    waiting.join()
    assert failures and not late.held


def test_a_lock_whose_folder_is_moved_in_the_very_moment_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    real = locks._try_lock

    def move_first(descriptor: int) -> bool:
        if home.exists():
            home.rename(tmp_path / "trash")
        return real(descriptor)

    monkeypatch.setattr(locks, "_try_lock", move_first)
    lock = ProcessLock(str(home / "lock"), "index")
    with pytest.raises(PathNotFound):
        lock.acquire()
    assert not lock.held


def test_no_two_processes_are_ever_inside(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_count, args=(str(tmp_path / "lock"), str(counter), 25)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert counter.read_text() == "75"


def _count(path: str, counter: str, times: int) -> None:
    for _ in range(times):
        lock = ProcessLock(path, "test")
        lock.acquire(60)
        with lock:
            Path(counter).write_text(str(int(Path(counter).read_text()) + 1))
