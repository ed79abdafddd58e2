"""`gardener logs`: the last lines of every log, through rotations, from real processes, inert on a terminal."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gardener import line_log
from gardener.line_log import append_line, drop_lines
from gardener.log_reader import last_lines
from tests.cli.conftest import Gardener

ROOT = Path(__file__).parent.parent.parent
COMMAND = [sys.executable, "-m", "gardener.cli.main"]


def test_what_the_command_line_changes_is_in_the_audit_log(gardener: Gardener, tmp_path: Path) -> None:
    for name in ("shop", "blog"):
        (tmp_path / name).mkdir()
        assert gardener("add", str(tmp_path / name)).code == 0
    assert gardener("switch", "blog").code == 0
    assert gardener("config", "set", "log.level", "debug").code == 0
    assert gardener("token", "create", "editor").code == 0
    assert gardener("remove", "shop").code == 0
    said = gardener("logs", "audit", "--json", "-n", "1000")
    entries = [json.loads(line) for line in said.out.splitlines()]
    assert {entry["actor"] for entry in entries} == {"cli"}
    events = [entry["event"] for entry in entries]
    for expected in ("project.added", "project.switched", "setting.set", "token.created", "project.removed"):
        assert expected in events
    shown = gardener("logs", "audit", "-n", "2").out.splitlines()
    assert len(shown) == 2 and "  cli   " in shown[0]
    assert gardener("logs", "audit", "-n", "-1").code == 2
    assert gardener("logs", "nonsense").code == 2


def test_logs_that_are_not_there_and_lines_that_are_torn(gardener: Gardener, home: Path) -> None:
    assert gardener("logs").code == 0
    assert "Nothing in" in gardener("logs", "performance").err
    logs = home / "logs"
    logs.mkdir(parents=True)
    evil = json.dumps(
        {"time": "2026-11-21T10:00:00.000Z", "level": "error", "component": "app", "event": "\x1b[2J\u202egone\nnext",
         "fields": {"a\x1b": "\x07"}, "exception": "Traceback\n  \x1b]0;title\x07"}
    )  # fmt: skip
    (logs / "gardener.log").write_bytes(evil.encode() + b"\n\xff\xfe torn {\n[1]\n" + b"[" * 5000 + b"\n")
    for words in ((), ("--json",)):
        said = gardener("logs", *words)
        assert said.code == 0
        assert not {"\x1b", "\x07", "\u202e"} & set(said.out)
    plain = gardener("logs").out
    assert "\\x1b[2J\\u202egone\\nnext" in plain and "error" in plain
    assert plain.count("\n?  ") == 3


def test_the_last_lines_reach_into_the_files_put_aside(tmp_path: Path) -> None:
    path = str(tmp_path / "logs" / "x.log")
    for number in range(2_000):
        assert append_line(path, b'{"n": %d, "filler": "%s"}' % (number, b"z" * 100), max_bytes=20_000, backups=4)
    names = sorted(os.listdir(tmp_path / "logs"))
    assert names == ["x.log", "x.log.1", "x.log.2", "x.log.3", "x.log.4", "x.log.lock"]
    for name in names:
        found = (tmp_path / "logs" / name).stat()
        assert stat.S_IMODE(found.st_mode) == 0o600 and found.st_size <= 20_000
    lines, end, inode = last_lines(path, 300)
    assert [json.loads(line)["n"] for line in lines] == list(range(1_700, 2_000))
    assert (end, inode) == (os.stat(path).st_size, os.stat(path).st_ino)
    assert last_lines(path, 0)[0] == []
    assert drop_lines(path, b'"n": 1999,') == 1
    assert json.loads(last_lines(path, 1)[0][0])["n"] == 1_998


def test_several_processes_lose_no_line_to_a_rotation(tmp_path: Path) -> None:
    path = str(tmp_path / "logs" / "x.log")
    program = (
        "import sys; from gardener.line_log import append_line\n"
        "for n in range(300): assert append_line(sys.argv[1], b'%s.%d' % (sys.argv[2].encode(), n), "
        "max_bytes=2_000, backups=50)\n"
    )
    started = [subprocess.Popen([sys.executable, "-c", program, path, name], cwd=ROOT) for name in ("a", "b", "c")]
    assert [process.wait(60) for process in started] == [0, 0, 0]
    lines, _, _ = last_lines(path, 10_000)
    assert sorted(lines) == sorted(f"{name}.{n}".encode() for name in "abc" for n in range(300))


def test_a_line_that_cannot_be_written_is_said_once_and_stops_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.log"
    os.symlink("/dev/full", path)
    assert [append_line(str(path), b"{}", max_bytes=1_000, backups=1) for _ in range(3)] == [False] * 3
    assert capsys.readouterr().err.count("cannot be written") == 1
    path.unlink()
    path.write_bytes(b"whole\ntor")  # a disk that took a part of a line
    assert append_line(str(path), b"next", max_bytes=1_000, backups=1)
    assert path.read_bytes() == b"whole\ntor\nnext\n"
    assert str(path) not in line_log._complained


def test_following_goes_on_through_a_rotation_and_ends_with_ctrl_c(home: Path) -> None:
    path = str(home / "logs" / "audit.log")
    append_line(path, b'{"event": "first"}', max_bytes=1_000, backups=3)
    process = subprocess.Popen(
        [*COMMAND, "logs", "audit", "--follow", "--json"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        seen = [json.loads(process.stdout.readline())]
        for burst in (0, 100):
            for number in range(burst, burst + 100):  # several files' worth between two looks
                append_line(path, b'{"event": "%d"}' % number, max_bytes=1_000, backups=90)
            seen += [json.loads(process.stdout.readline()) for _ in range(100)]
        os.unlink(path)
        append_line(path, b'{"event": "anew"}', max_bytes=1_000, backups=3)
        seen.append(json.loads(process.stdout.readline()))
    finally:
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=120)
    assert [entry["event"] for entry in seen] == ["first", *map(str, range(200)), "anew"]
    assert process.returncode == 0 and b"Traceback" not in rest[1]


@pytest.mark.parametrize(
    "line",
    [
        b'{"time": "0001-01-01T00:00:00+14:00", "event": "odd"}', b'{"time": "9999-12-31T23:59:59-14:00"}',
        b'{"fields": ' + b'{"a": ' * 950 + b"1" + b"}" * 951,
    ],
    ids=["year 1", "year 9999", "deep"],
)  # fmt: skip
def test_a_foreign_line_is_shown_and_does_nothing(gardener: Gardener, home: Path, line: bytes) -> None:
    (home / "logs").mkdir(parents=True)
    (home / "logs" / "gardener.log").write_bytes(line + b"\n")
    said = gardener("logs")
    assert said.code == 0 and said.out and "fault in Gardener" not in said.err
