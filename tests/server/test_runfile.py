"""One app per home: the lock decides, the file tells, and what is stale is not believed."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gardener.errors import AppAlreadyRunning, AppUnreachable
from gardener.paths import Paths
from gardener.server.client import AppClient, find_app
from gardener.server.runfile import RunFile, RunningApp, app_file, read_app


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(str(tmp_path / "home"))


def an_app(port: int = 7468, pid: int | None = None) -> RunningApp:
    return RunningApp(os.getpid() if pid is None else pid, "127.0.0.1", port, time.time(), "0.1.0", "token")


def test_the_file_is_private_complete_and_gone_at_the_end(paths: Paths) -> None:
    run_file = RunFile(paths)
    run_file.claim()
    assert read_app(paths) is None
    run_file.publish(an_app())
    assert stat.S_IMODE(os.stat(app_file(paths)).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(paths.run).st_mode) == 0o700
    found = read_app(paths)
    assert found is not None and (found.port, found.token, found.url) == (
        7468,
        "token",
        "http://127.0.0.1:7468",
    )
    run_file.withdraw()
    run_file.withdraw()
    assert not os.path.exists(app_file(paths))
    assert read_app(paths) is None


def test_a_second_app_is_refused_and_told_where_the_first_is(paths: Paths) -> None:
    first = RunFile(paths)
    first.claim()
    with pytest.raises(AppAlreadyRunning, match=f"process {os.getpid()} \\(still starting\\)"):
        RunFile(paths).claim()
    first.publish(an_app(7468))
    with pytest.raises(AppAlreadyRunning, match=f"process {os.getpid()} at http://127.0.0.1:7468"):
        RunFile(paths).claim()
    first.withdraw()
    again = RunFile(paths)
    again.claim()
    again.withdraw()


def test_the_file_of_a_killed_app_is_not_believed(paths: Paths) -> None:
    code = (
        "import os, sys, time\n"
        "from gardener.paths import Paths\n"
        "from gardener.server.runfile import RunFile, RunningApp\n"
        "run_file = RunFile(Paths(sys.argv[1])); run_file.claim()\n"
        "run_file.publish(RunningApp(os.getpid(), '127.0.0.1', 7468, time.time(), '0', 't'))\n"
        "print('ready', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, paths.home],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as child:
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
        found = read_app(paths)
        assert found is not None and found.pid == child.pid
        child.kill()
    assert os.path.exists(app_file(paths))
    assert read_app(paths) is None
    successor = RunFile(paths)
    successor.claim()
    assert read_app(paths) is None, "the old file is not the new holder's"
    successor.withdraw()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": 1}', b"\xff\xfe"])
def test_a_broken_file_means_no_app(paths: Paths, content: bytes) -> None:
    run_file = RunFile(paths)
    run_file.claim()
    Path(app_file(paths)).write_bytes(content)
    assert find_app(paths) is None
    run_file.withdraw()


def test_an_app_that_does_not_accept_is_not_found(paths: Paths) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        run_file = RunFile(paths)
        run_file.claim()
        run_file.publish(an_app(closed.getsockname()[1]))
        assert find_app(paths) is None
        with pytest.raises(AppUnreachable, match=str(os.getpid())):
            AppClient(an_app(closed.getsockname()[1])).request("GET", "/api/status")
        run_file.withdraw()


def test_something_else_on_the_port_is_not_taken_for_gardener() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        import threading

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(AppUnreachable, match="not Gardener"):
            AppClient(an_app(listener.getsockname()[1])).request("GET", "/api/status")
        thread.join()


def test_the_client_imports_nothing_heavy() -> None:
    code = (
        "import sys, json; import gardener.server.client; "
        "print(json.dumps([n for n in sys.modules if n.split('.')[0] in "
        "('fastapi', 'starlette', 'pydantic', 'httpx', 'uvicorn', 'gradio', 'numpy', 'lancedb')]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert json.loads(done.stdout) == []
