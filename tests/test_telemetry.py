"""Logs: one JSON object a line whatever is logged; redacted, private, rotated, never in the way."""

from __future__ import annotations

import json
import logging
import os
import re
import resource
import stat
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gardener.errors import PermissionProblem
from gardener.paths import Paths
from gardener.settings import Settings, load_settings
from gardener.telemetry import (
    MAX_TEXT,
    JsonFormatter,
    Logging,
    RotatingJsonFile,
    adopt_library_loggers,
    configure_logging,
    log_unexpected,
    lost_records,
    timed,
)

ROOT = Path(__file__).parent.parent
SECRET = "ghp_" + "a1B2c3D4e5F6g7H8i9J0" + "k1L2m3N4o5P6q7R8"
"""Has the form of a GitHub token; put together here so that no scanner takes this file for a leak."""

PASSWORD = "Rk7" + "q9-Zt4w"
"""Nothing but the name of its field gives this one away."""

log = logging.getLogger("gardener.test")


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(str(tmp_path / "home"))


def configuration(paths: Paths, **flags: object) -> Settings:
    named = {f"log.{name}": value for name, value in flags.items()}
    return load_settings(paths, environment={}, flags=named)


@pytest.fixture
def logs(paths: Paths) -> Iterator[Logging]:
    configured = configure_logging(paths, configuration(paths), "app")
    yield configured
    configured.close()


def records(paths: Paths, name: str = "gardener.log") -> list[dict[str, Any]]:
    """Every line of a log, in every generation of it, parsed."""
    found = sorted(Path(paths.logs).glob(f"{name}*"), reverse=True)
    lines = [line for path in found if path.suffix != ".lock" for line in path.read_text().splitlines()]
    return [json.loads(line) for line in lines]


def test_a_record_says_when_who_what_and_about_which_project(paths: Paths, logs: Logging) -> None:
    log.info("index.updated", extra={"project": "shop", "fields": {"files": 3, "took_s": 0.5, "path": None}})
    (record,) = records(paths)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record.pop("time"))
    assert record == {
        "level": "info",
        "component": "app",
        "pid": os.getpid(),
        "logger": "gardener.test",
        "event": "index.updated",
        "project": "shop",
        "fields": {"files": 3, "took_s": 0.5, "path": None},
    }


def test_plain_logging_calls_work_too(paths: Paths, logs: Logging) -> None:
    log.warning("took %d ms", 5, extra={"attempt": 2})
    (record,) = records(paths)
    assert (record["event"], record["fields"]) == ("took 5 ms", {"attempt": 2})


def test_wrong_arguments_for_a_message_do_not_lose_it() -> None:
    record = logging.makeLogRecord({"msg": "took %d ms", "args": ("five",), "levelname": "INFO"})
    event = json.loads(JsonFormatter("app", str).format(record))["event"]
    assert event == "took %d ms [arguments left out: TypeError]"


def test_secrets_are_redacted_everywhere(paths: Paths, logs: Logging) -> None:
    def leak() -> None:
        raise RuntimeError(f"request with {SECRET} failed")

    try:
        leak()
    except RuntimeError:
        log.exception("failed with %s", SECRET, extra={"project": SECRET, "fields": {"nested": [{"of": SECRET}]}})
    log.error("x", extra={"fields": {SECRET: 1, "object": Path(SECRET)}})
    log.error("x", extra={"fields": {"password": PASSWORD}})
    logging.getLogger("some.library").error("Authorization: Bearer %s", SECRET)
    for name in ("gardener.log", "error.log"):
        text = (Path(paths.logs) / name).read_text()
        assert SECRET not in text
        assert PASSWORD not in text
        assert "RuntimeError" in text, "the traceback itself is kept"
        assert len(text.splitlines()) == 4


def test_a_redaction_that_fails_hides_the_text_and_keeps_the_record() -> None:
    def broken(text: str) -> str:
        raise RecursionError

    formatter = JsonFormatter("app", broken)
    record = logging.makeLogRecord({"msg": SECRET, "levelname": "INFO"})
    line = json.loads(formatter.format(record))
    assert line["event"] == "[left out: redaction failed with RecursionError]"


class Unprintable:
    def __str__(self) -> str:
        raise ValueError("no")

    __repr__ = __str__


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.builds(Unprintable) | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(), inner, max_size=4),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(message=st.text(), value=json_values, project=st.text())
def test_law_anything_logged_is_one_line_of_ascii_json(
    paths: Paths, logs: Logging, message: str, value: object, project: str
) -> None:
    path = Path(paths.logs) / "gardener.log"
    before = path.stat().st_size if path.exists() else 0
    log.info("%s", message, extra={"project": project, "fields": {"value": value}})
    added = path.read_bytes()[before:]
    assert added.endswith(b"\n")
    assert added.count(b"\n") == 1
    assert all(0x20 <= byte < 0x7F for byte in added[:-1])
    assert "event" in json.loads(added)


def test_a_huge_record_is_cut(paths: Paths, logs: Logging) -> None:
    deep: list[object] = []
    for _ in range(500):
        deep = [deep]
    fields = {"text": "y" * 10**6, "list": list(range(10**5)), "deep": deep}
    log.info("x" * 10**6, extra={"fields": fields})
    (record,) = records(paths)
    assert len(record["event"]) < MAX_TEXT + 20
    assert len(json.dumps(record)) < 10 * MAX_TEXT


def test_levels_and_library_loggers(paths: Paths, logs: Logging) -> None:
    adopted = logging.getLogger("uvicorn.error")
    adopted.addHandler(logging.StreamHandler())
    adopted.propagate = False
    adopt_library_loggers()
    log.debug("not this")
    log.info("ours")
    logging.getLogger("httpx").info("GET http://127.0.0.1/?token=abc")
    logging.getLogger("uvicorn.access").info("GET /?token=abc")
    logging.getLogger("httpx").warning("theirs")
    adopted.error("bind failed")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old thing", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(False)
    assert [record["logger"] for record in records(paths)] == [
        "gardener.test",
        "httpx",
        "uvicorn.error",
        "py.warnings",
    ]
    assert [record["event"] for record in records(paths, "error.log")] == ["bind failed"]


def test_debug_is_logged_when_it_is_asked_for_and_a_second_call_replaces_the_first(paths: Paths) -> None:
    before = list(logging.getLogger().handlers)
    level = logging.getLogger().level
    configure_logging(paths, configuration(paths), "cli")
    second = configure_logging(paths, configuration(paths, level="debug"), "monitor")
    log.debug("seen")
    second.close()
    log.error("after the end")
    assert [(record["component"], record["event"]) for record in records(paths)] == [("monitor", "seen")]
    assert logging.getLogger().handlers == before
    assert logging.getLogger().level == level


def test_files_are_private_whatever_the_umask_also_after_rotation(paths: Paths) -> None:
    before = os.umask(0)
    configured = configure_logging(paths, configuration(paths, max_bytes=10_000, backups=2), "app")
    try:
        for number in range(200):
            log.error("event.%d", number, extra={"fields": {"filler": "z" * 200}})
    finally:
        configured.close()
        os.umask(before)
    files = sorted(os.listdir(paths.logs))
    assert {"gardener.log", "gardener.log.1", "gardener.log.2", "error.log", "error.log.1"} <= set(files)
    assert "gardener.log.3" not in files
    for name in files:
        found = os.stat(os.path.join(paths.logs, name))
        assert stat.S_IMODE(found.st_mode) == 0o600, name
        assert found.st_size <= 10_000
    assert stat.S_IMODE(os.stat(paths.logs).st_mode) == 0o700
    numbers = [int(record["event"].rpartition(".")[2]) for record in records(paths)]
    assert numbers == list(range(numbers[0], 200)), "the newest are kept, in order, without a gap"


def test_without_backups_the_file_begins_anew(paths: Paths) -> None:
    configured = configure_logging(paths, configuration(paths, max_bytes=10_000, backups=0), "app")
    for number in range(100):
        log.info("event.%d", number, extra={"fields": {"filler": "z" * 200}})
    configured.close()
    assert not (Path(paths.logs) / "gardener.log.1").exists()
    assert records(paths)[-1]["event"] == "event.99"
    assert (Path(paths.logs) / "gardener.log").stat().st_size <= 10_000


def test_several_processes_share_a_log_and_lose_nothing(paths: Paths) -> None:
    program = (
        "import sys, logging; sys.path.insert(0, sys.argv[1])\n"
        "from gardener.paths import Paths; from gardener.settings import load_settings\n"
        "from gardener.telemetry import configure_logging\n"
        "paths = Paths(sys.argv[2])\n"
        "flags = {'log.max_bytes': 10_000, 'log.backups': 100}\n"
        "logs = configure_logging(paths, load_settings(paths, environment={}, flags=flags), 'app')\n"
        "for n in range(200): logging.getLogger('gardener').info('%s.%d', sys.argv[3], n)\n"
        "assert logs.lost_records == 0\n"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", program, str(ROOT), paths.home, name]) for name in ("a", "b", "c")
    ]
    assert [process.wait() for process in started] == [0, 0, 0]
    assert len(os.listdir(paths.logs)) > 5, "it was rotated"
    events = [record["event"] for record in records(paths)]
    assert sorted(events) == sorted(f"{name}.{n}" for name in "abc" for n in range(200))


def test_a_disk_that_is_full_is_said_once_counted_and_does_no_harm(
    paths: Paths, logs: Logging, capsys: pytest.CaptureFixture[str]
) -> None:
    log.info("before")
    Path(paths.logs, "gardener.log").unlink()
    os.symlink("/dev/full", Path(paths.logs, "gardener.log"))
    log.info("lost.1")  # refused: the log is a symbolic link now
    Path(paths.logs, "gardener.log").unlink()
    os.mkdir(Path(paths.logs, "gardener.log"))
    log.info("lost.2")
    assert (logs.lost_records, lost_records()) == (2, 2)
    assert capsys.readouterr().err.count("cannot be written") == 1
    os.rmdir(Path(paths.logs, "gardener.log"))
    log.info("after")
    assert [record["event"] for record in records(paths)] == ["after"]


def test_a_write_that_the_disk_refuses_is_lost_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    handler = RotatingJsonFile(str(tmp_path / "x.log"), max_bytes=10_000, backups=1, level=logging.INFO)
    handler.setFormatter(JsonFormatter("app", str))
    record = logging.makeLogRecord({"msg": "event", "levelname": "INFO"})
    handler.emit(record)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, handler._descriptor)  # a full disk: ENOSPC at write(2)
    os.close(full)
    handler._is_current = lambda: True  # type: ignore[method-assign]
    handler.emit(record)
    assert handler.lost == 1
    assert "No space left on device" in capsys.readouterr().err
    del handler._is_current
    handler.emit(record)
    handler.close()
    assert len((tmp_path / "x.log").read_text().splitlines()) == 2


def test_a_record_of_which_the_disk_took_a_part_does_not_spoil_the_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.log"
    handler = RotatingJsonFile(str(path), max_bytes=10_000, backups=1, level=logging.INFO)
    handler.setFormatter(JsonFormatter("app", str))
    record = logging.makeLogRecord({"msg": "event", "levelname": "INFO"})
    handler.emit(record)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 5, hard))
    try:
        handler.emit(record)  # five bytes of it fit
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    handler.emit(record)
    handler.close()
    assert handler.lost == 1
    assert "No space left" in capsys.readouterr().err
    first, torn, last = path.read_text().splitlines()
    assert len(torn) == 5
    assert json.loads(first) == json.loads(last)


def test_a_formatter_that_fails_does_not_stop_the_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    handler = RotatingJsonFile(str(tmp_path / "x.log"), max_bytes=10_000, backups=1, level=logging.INFO)
    handler.setFormatter(logging.Formatter("%(no_such_field)s"))
    handler.emit(logging.makeLogRecord({"msg": "event"}))
    assert handler.lost == 1
    assert "no_such_field" in capsys.readouterr().err


def test_numbers_that_json_does_not_know_are_written_as_text(paths: Paths, logs: Logging) -> None:
    log.info("x", extra={"fields": {"a": float("nan"), "b": float("-inf"), "c": 2**70}})
    assert records(paths)[0]["fields"] == {"a": "nan", "b": "-inf", "c": str(2**70)}


def test_a_log_that_others_may_read_is_closed_to_them(paths: Paths, logs: Logging) -> None:
    path = Path(paths.logs, "gardener.log")
    path.touch()
    path.chmod(0o644)
    log.info("x")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_logging_survives_without_stderr(paths: Paths, logs: Logging, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkdir(Path(paths.logs, "gardener.log"))
    monkeypatch.setattr(sys, "stderr", None)
    log.info("lost")
    assert logs.lost_records == 1


def test_a_log_folder_that_cannot_be_made_is_an_error(paths: Paths) -> None:
    paths.ensure()
    Path(paths.logs).write_text("in the way")
    with pytest.raises(PermissionProblem, match="logs"):
        configure_logging(paths, configuration(paths), "app")
    assert lost_records() == 0


def test_an_unexpected_exception_is_logged_even_with_wrong_settings(paths: Paths) -> None:
    paths.ensure()
    Path(paths.config).write_text("[log]\nlevel = 'loud'\n")
    try:
        raise ZeroDivisionError("surprise")
    except ZeroDivisionError as error:
        where = log_unexpected(paths, error)
    configure_logging(paths, configuration(Paths(paths.home + "2")), "app").close()
    assert where == os.path.join(paths.logs, "error.log")
    (record,) = records(paths, "error.log")
    assert "ZeroDivisionError: surprise" in record["exception"]


def test_threads_do_not_mix_their_lines(paths: Paths, logs: Logging) -> None:
    def work(name: str) -> None:
        for number in range(100):
            log.info("%s.%d", name, number)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(records(paths)) == 400


def test_timed_adds_up_and_counts_blocks_that_fail() -> None:
    timings: dict[str, float] = {}
    with timed("search", timings):
        pass
    first = timings["search"]
    with pytest.raises(ValueError, match="x"), timed("search", timings):
        raise ValueError("x")
    assert timings["search"] > first >= 0
