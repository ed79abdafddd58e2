"""When background work waits: real locks between real processes; battery and memory are stood in for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gardener.app import Gardener
from gardener.background import ANSWERING, Conditions, Foreground, available_memory, battery_now, cgroup_shares
from gardener.cli.index import make_all_vectors
from gardener.index.embed import EmbedProgress
from gardener.types import ProjectContext
from gardener.vector_work import missing_vectors, work_off
from tests.serving import serving, write_project


class Machine:
    """Battery and memory as a test wants them; every look is a new one."""

    def __init__(self) -> None:
        self.charge: tuple[float, bool] | None = None
        self.free = 0.5
        self.now = 0.0

    def conditions(self, battery_percent: int = 40, memory_percent: int = 10) -> Conditions:
        def clock() -> float:
            self.now += 60
            return self.now

        return Conditions(
            battery_percent=battery_percent,
            memory_percent=memory_percent,
            battery=lambda: self.charge,
            memory=lambda: self.free,
            clock=clock,
        )


@pytest.fixture
def gardener(home: Path, embedder: None) -> Iterator[Gardener]:
    with Gardener(str(home)) as opened:
        yield opened


@pytest.fixture
def indexed(gardener: Gardener, json_project: Path) -> ProjectContext:
    context = gardener.registry.add(str(json_project), "json")
    gardener.update_index(context)
    return context


def test_conditions_in_words() -> None:
    machine = Machine()
    conditions = machine.conditions()
    assert conditions.reason() == ""
    machine.charge = (23.4, True)
    assert conditions.reason() == "on battery, 23 %"
    machine.charge = (23.4, False)
    assert conditions.reason() == "" and not conditions.on_battery
    machine.charge = (80.0, True)
    assert conditions.reason() == "" and conditions.on_battery
    machine.free = 0.04
    assert conditions.reason() == "4 % of memory available" and conditions.short_of_memory
    machine.free = 0.5
    assert conditions.reason() == "" and not conditions.short_of_memory
    assert machine.conditions(battery_percent=100).reason() == "on battery, 80 %"


def test_the_real_machine_can_be_asked() -> None:
    assert 0.0 <= available_memory() <= 1.0
    charge = battery_now()
    assert charge is None or 0 <= charge[0] <= 100


def test_the_tightest_control_group_counts(tmp_path: Path) -> None:
    inner = tmp_path / "user" / "app"
    inner.mkdir(parents=True)
    (tmp_path / "membership").write_text("0::/user/app\n")
    (inner / "memory.max").write_text("max\n")
    (inner / "memory.current").write_text("500\n")
    (inner.parent / "memory.max").write_text("1000\n")
    (inner.parent / "memory.current").write_text("950\n")
    (inner.parent / "memory.stat").write_text("anon 700\ninactive_file 150\n")
    assert cgroup_shares(10_000, str(tmp_path), str(tmp_path / "membership")) == [0.2]
    assert cgroup_shares(900, str(tmp_path), str(tmp_path / "membership")) == []
    assert cgroup_shares(10_000, str(tmp_path), str(tmp_path / "absent")) == []


def test_somebody_waiting_is_seen_by_other_processes_and_forgotten_when_killed(tmp_path: Path) -> None:
    mine = Foreground(str(tmp_path))
    assert not mine.anybody()
    with mine.busy(), mine.busy():
        assert mine.anybody()
    assert not mine.anybody()
    code = (
        "import sys; from gardener.background import Foreground\n"
        "with Foreground(sys.argv[1]).busy(): print('in', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout is not None and process.stdout.readline() == b"in\n"
        assert mine.anybody()
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not mine.anybody()


def test_a_search_works_where_the_flag_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    nowhere = Foreground(str(tmp_path / "file" / "run"))
    with nowhere.busy():
        assert not nowhere.anybody()


def embed_in_thread(gardener: Gardener, context: ProjectContext, seen: list[EmbedProgress]) -> threading.Thread:
    thread = threading.Thread(target=lambda: gardener.embed(context, seen.append), daemon=True)
    thread.start()
    return thread


def wait_for_pause(seen: list[EmbedProgress], reason: str, thread: threading.Thread) -> None:
    while not any(step.paused == reason for step in list(seen)):
        thread.join(0.02)
        assert thread.is_alive(), seen[-3:]


def test_vectors_wait_for_an_answer_in_another_thread(gardener: Gardener, indexed: ProjectContext) -> None:
    events = gardener.ask(indexed, "how does raw_decode work?", None)
    next(events)
    seen: list[EmbedProgress] = []
    thread = embed_in_thread(gardener, indexed, seen)
    wait_for_pause(seen, ANSWERING, thread)
    assert gardener.index_state(indexed).embedded_fraction < 1.0
    for _ in events:
        pass
    thread.join()
    assert gardener.index_state(indexed).embedded_fraction == 1.0


def test_a_low_battery_pauses_and_status_says_so(gardener: Gardener, indexed: ProjectContext) -> None:
    machine = Machine()
    machine.charge = (23.0, True)
    gardener.conditions = machine.conditions()
    seen: list[EmbedProgress] = []
    thread = embed_in_thread(gardener, indexed, seen)
    wait_for_pause(seen, "on battery, 23 %", thread)
    assert gardener.status()["vectors_paused"] == "on battery, 23 %"
    machine.charge = (24.0, False)
    thread.join()
    assert gardener.status()["vectors_paused"] == ""
    assert gardener.status()["embedded_fraction"] == 1.0


def test_vectors_that_somebody_asks_for_do_not_wait_behind_paused_ones(
    gardener: Gardener, indexed: ProjectContext
) -> None:
    machine = Machine()
    machine.charge = (23.0, True)
    gardener.conditions = machine.conditions()
    seen: list[EmbedProgress] = []
    thread = embed_in_thread(gardener, indexed, seen)
    wait_for_pause(seen, "on battery, 23 %", thread)
    gardener.conditions = None
    report = gardener.embed(indexed, lock_timeout_s=30, asked_for=True)
    thread.join()
    assert report.remaining == 0 and report.embedded > 0


def test_short_memory_gives_the_model_back_and_the_work_goes_on_later(
    gardener: Gardener, indexed: ProjectContext
) -> None:
    machine = Machine()
    gardener.conditions = machine.conditions()
    gardener.embedder()
    machine.free = 0.02
    seen: list[EmbedProgress] = []
    thread = embed_in_thread(gardener, indexed, seen)
    wait_for_pause(seen, "2 % of memory available", thread)
    assert gardener.embedding._loaded == {}
    machine.free = 0.5
    thread.join()
    assert gardener.status()["embedded_fraction"] == 1.0


def test_the_active_project_comes_first_then_the_one_used_last(gardener: Gardener, tmp_path: Path) -> None:
    for marker in ("lantern", "compass", "anchor"):
        gardener.update_index(gardener.registry.add(str(write_project(tmp_path / marker, marker))))
    for name in ("compass", "anchor", "lantern"):
        gardener.switch(name)
    assert [context.name for context in missing_vectors(gardener)] == ["lantern", "anchor", "compass"]
    order: list[str] = []
    embed = gardener.embed

    def noted(context: ProjectContext, **options: object) -> object:
        order.append(context.name)
        return embed(context, **options)  # type: ignore[arg-type]

    gardener.embed = noted  # type: ignore[assignment,method-assign]
    work_off(gardener, lambda: False)
    assert order == ["lantern", "anchor", "compass"]
    assert missing_vectors(gardener) == []


def test_the_app_makes_every_projects_vectors_and_turns_to_the_new_active_one(
    gardener: Gardener, tmp_path: Path
) -> None:
    for marker in ("lantern", "compass"):
        gardener.update_index(gardener.registry.add(str(write_project(tmp_path / marker, marker))))
    gardener.switch("lantern")
    with gardener.foreground.busy(), serving(gardener) as app:
        while not (jobs := app.edge.jobs.find(kind="embed")):
            threading.Event().wait(0.02)
        assert [job.about for job in jobs] == ["lantern"]
        gardener.switch("compass")
        for _ in jobs[0].tail():
            pass  # it gives way, though somebody is waiting for an answer all the time
        assert app.edge.jobs.find(kind="embed")[0].about == "compass"
        assert missing_vectors(gardener)


def test_the_background_process_serves_all_projects_and_goes_on_after_kill_9(
    gardener: Gardener, json_project: Path, tmp_path: Path
) -> None:
    for root in (json_project, write_project(tmp_path / "lantern")):
        gardener.update_index(gardener.registry.add(str(root)))
    home = gardener.paths.home
    command = [sys.executable, "-m", "gardener.cli.main", "index", "--vectors-only", "--background", "--home", home]
    with gardener.foreground.busy():
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
        active = gardener.registry.active()
        assert active is not None
        while gardener.status()["vectors_by"] is None:
            assert process.poll() is None
            threading.Event().wait(0.05)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    assert gardener.status()["vectors_by"] is None
    assert len(missing_vectors(gardener)) == 2
    make_all_vectors(gardener)  # what the next such process does
    assert missing_vectors(gardener) == []
