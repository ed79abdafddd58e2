"""Jobs: any number of readers from any offset, limits with a queue, cancelling, and an orderly end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from gardener.errors import BackendUnavailable, Interrupted, NotFoundError, UsageError
from gardener.server import jobs as jobs_module
from gardener.server.events import JsonObject
from gardener.server.jobs import Job, Jobs

Work = Callable[[Job], Iterator[JsonObject]]


def counting(to: int) -> Work:
    def work(job: Job) -> Iterator[JsonObject]:
        for number in range(to):
            yield {"event": "text", "n": number}

    return work


def held(release: threading.Event, begun: threading.Event | None = None) -> Work:
    """Says one thing, then waits until it is released or cancelled."""

    def work(job: Job) -> Iterator[JsonObject]:
        yield {"event": "text", "n": 0}
        if begun:
            begun.set()
        while not release.wait(0.005):
            if job.cancel.is_set():
                yield {"event": "answer", "complete": False}
                return
        yield {"event": "answer", "complete": True}

    return work


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    made = Jobs(at_once=2, waiting=2)
    yield made
    assert made.close()


def numbers(events: list[JsonObject]) -> list[int]:
    return [event["n"] for event in events]


def test_every_reader_gets_everything_from_its_offset(jobs: Jobs) -> None:
    job = jobs.start("answer", "p", "lane", "why?", counting(200))
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda offset: numbers(list(job.tail(offset))), range(8)))
    assert read == [list(range(offset, 200)) for offset in range(8)]
    assert job.state == "done"
    assert numbers(list(job.tail(150))) == list(range(150, 200))
    assert job.events(199) == [{"event": "text", "n": 199}]
    assert job.last == {"event": "text", "n": 199}


def test_readers_on_an_event_loop_get_the_same_in_batches(jobs: Jobs) -> None:
    async def follow(job: Job, offset: int, pause: float) -> list[int]:
        return [event["n"] async for batch in job.follow(offset, pause) for event in batch]

    async def both() -> list[list[int]]:
        job = jobs.start("answer", "p", "lane", "why?", counting(500))
        return await asyncio.gather(follow(job, 0, 0.0), follow(job, 100, 0.001))

    assert asyncio.run(both()) == [list(range(500)), list(range(100, 500))]


def test_a_reader_that_leaves_does_not_touch_the_job(jobs: Jobs) -> None:
    release = threading.Event()
    job = jobs.start("answer", "p", "lane", "why?", held(release))

    async def glance() -> None:
        async for _ in job.follow():
            break

    asyncio.run(glance())
    assert job.state == "running"
    assert list(job.tail(1, quiet_s=0.01)) == []
    release.set()
    assert [event["event"] for event in job.tail()] == ["text", "answer"]
    assert job.state == "done"


def test_a_lane_runs_so_many_and_queues_the_rest_in_order(jobs: Jobs) -> None:
    release = threading.Event()
    first = [jobs.start("answer", "p", "lane", str(n), held(release)) for n in range(4)]
    assert [job.state for job in first] == ["running", "running", "queued", "queued"]
    with pytest.raises(BackendUnavailable, match="2 wait"):
        jobs.start("answer", "p", "lane", "one too many", counting(1))
    other = jobs.start("answer", "p", "another lane", "free", counting(1))
    assert len(list(other.tail())) == 1
    release.set()
    for job in first:
        assert list(job.tail())[-1] == {"event": "answer", "complete": True}


def test_cancelling_a_running_job_keeps_what_it_said(jobs: Jobs) -> None:
    job = jobs.start("answer", "p", "lane", "why?", held(threading.Event()))
    jobs.cancel(job.id)
    assert list(job.tail())[-1] == {"event": "answer", "complete": False}
    assert job.state == "cancelled"


def test_cancelling_a_queued_job_ends_it_before_it_begins(jobs: Jobs) -> None:
    release = threading.Event()
    running = [jobs.start("answer", "p", "lane", str(n), held(release)) for n in range(2)]
    waiting = jobs.start("answer", "p", "lane", "waiting", counting(5))
    jobs.cancel(waiting.id)
    assert (waiting.state, list(waiting.tail())) == ("cancelled", [])
    release.set()
    for job in running:
        list(job.tail())
    assert waiting.events() == []


def failing(error: Exception) -> Work:
    def work(job: Job) -> Iterator[JsonObject]:
        yield {"event": "text", "n": 0}
        raise error

    return work


def test_a_failure_is_the_last_event_and_says_what_to_do(jobs: Jobs, caplog: pytest.LogCaptureFixture) -> None:
    known = jobs.start("answer", "p", "a", "", failing(UsageError("too long", next_step="gardener ask SHORTER")))
    last = list(known.tail())[-1]
    assert last["event"] == "error" and last["error"]["next_step"] == "gardener ask SHORTER"
    assert known.state == "failed"
    unknown = jobs.start("answer", "p", "b", "", failing(ZeroDivisionError("secret detail")))
    last = list(unknown.tail())[-1]
    assert last["error"]["code"] == "internal" and "secret" not in last["error"]["message"]
    assert "secret detail" in caplog.text
    interrupted = jobs.start("index", "p", "c", "", failing(Interrupted("stopped")))
    list(interrupted.tail())
    assert interrupted.state == "cancelled"


def test_finished_jobs_are_kept_for_a_while_and_bounded(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "FINISHED_KEPT", 5)
    monkeypatch.setattr(jobs_module, "UNREAD_SECONDS", -1.0)
    made = []
    for n in range(9):
        made.append(jobs.start("answer", "p", "lane", str(n), counting(1)))
        list(made[-1].tail())
    assert len(jobs.find()) <= 6
    assert jobs.get(made[-1].id) is made[-1]
    with pytest.raises(NotFoundError):
        jobs.get(made[0].id)


def test_a_job_is_kept_until_its_starter_has_come_for_it(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers are kept longest; an update of an index that had just ended was forgotten for their sake."""
    monkeypatch.setattr(jobs_module, "FINISHED_KEPT", 2)
    for n in range(4):
        list(jobs.start("answer", "p", "lane", str(n), counting(1)).tail())
    update = jobs.start("index", "p", "index", "", counting(1))
    list(update.tail())
    jobs.start("index", "q", "index", "", counting(1))
    assert jobs.get(update.id) is update


def test_the_newest_unfinished_job_of_a_project_is_found(jobs: Jobs) -> None:
    release = threading.Event()
    job = jobs.start("answer", "p", "lane", "why?", held(release), "c1")
    assert jobs.unfinished("p", "answer") is job
    assert job.conversation == "c1"
    assert jobs.unfinished("q", "answer") is None
    assert jobs.unfinished("p", "index") is None
    release.set()
    list(job.tail())
    assert jobs.unfinished("p", "answer") is None


def test_closing_cancels_and_waits_and_refuses_more() -> None:
    jobs = Jobs()
    begun = threading.Event()
    job = jobs.start("answer", "p", "lane", "why?", held(threading.Event(), begun))
    assert begun.wait(120)
    assert jobs.close()
    assert job.events()[-1] == {"event": "answer", "complete": False}
    with pytest.raises(BackendUnavailable, match="shutting down"):
        jobs.start("answer", "p", "lane", "more", counting(1))


def test_closing_begins_every_answer_that_was_promised() -> None:
    """Its question is stored when it begins, and must not go with the queue."""
    jobs = Jobs(at_once=1)
    begun: list[str] = []

    def work(job: Job) -> Iterator[JsonObject]:
        begun.append(job.about)
        job.cancel.wait(120)
        yield from ()

    first = jobs.start("answer", "p", "lane", "first", work)
    waiting = [jobs.start("answer", "p", "lane", f"answer {number}", work) for number in range(3)]
    index = jobs.start("index", "p", "lane", "index", work)
    assert jobs.close()
    assert begun[0] == "first" and sorted(begun[1:]) == ["answer 0", "answer 1", "answer 2"]
    assert {job.state for job in (first, *waiting, index)} == {"cancelled"}


def test_closing_names_work_that_does_not_obey(caplog: pytest.LogCaptureFixture) -> None:
    jobs, release, begun = Jobs(), threading.Event(), threading.Event()

    def stubborn(job: Job) -> Iterator[JsonObject]:
        begun.set()
        release.wait(120)
        yield {"event": "text", "n": 0}

    job = jobs.start("answer", "p", "lane", "why?", stubborn)
    assert begun.wait(120)
    assert not jobs.close(timeout_s=0.01)
    assert job.id in caplog.text
    release.set()
    list(job.tail())
