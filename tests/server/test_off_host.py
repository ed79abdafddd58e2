"""No telemetry and no request to another machine: the real `gardener serve`, pages included, in a process (and with
children) whose every connection and name look-up is recorded, and refused when it goes beyond this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

from gardener.paths import Paths
from gardener.server.runfile import RunningApp, read_app
from tests.serving import write_project

REPOSITORY = Path(__file__).parents[2]
WATCH = """
import os, sys

def _watch(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else "unix"
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    else:
        return
    host = host.decode() if isinstance(host, bytes) else str(host)
    with open(os.environ["CONNECTIONS_LOG"], "a") as log:
        log.write(f"{event} {host}\\n")
    if host not in ("unix", "127.0.0.1", "::1", "localhost", "None", "0.0.0.0"):
        raise OSError(f"{event} to {host} is beyond this machine")

sys.addaudithook(_watch)
"""
GETS = (
    "/", "/livez", "/readyz", "/metrics", "/api/status", "/api/pulse", "/api/watch", "/api/projects", "/api/jobs",
    "/api/symbols?pattern=light", "/api/callers?symbol=light_lantern", "/api/map", "/api/conversations",
    "/api/models", "/api/models/recommend", "/api/models/resident", "/api/adapters", "/api/embedder", "/api/settings",
    "/api/health", "/api/issues", "/api/alerts",
    "/api/disk", "/api/usage", "/api/evaluations", "/api/tokens", "/v1/models", "/api/openapi.json",
    "/api/source?path=src/engine.py&start=1&end=9",
)  # fmt: skip


def started(home: Path, process: subprocess.Popen[bytes]) -> RunningApp:
    while process.poll() is None:
        app = read_app(Paths(str(home)))
        if app is not None:
            return app
        time.sleep(0.05)  # it is another process: nothing to wait on but its file
    raise AssertionError(f"the app ended with {process.returncode}")


def test_nothing_leaves_the_machine_in_a_tour_of_the_app(tmp_path: Path) -> None:
    (tmp_path / "watch").mkdir()
    (tmp_path / "watch" / "sitecustomize.py").write_text(WATCH)
    log = tmp_path / "connections"
    log.touch()
    home = tmp_path / "home"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
        "PYTHONPATH": os.pathsep.join([str(tmp_path / "watch"), str(REPOSITORY)]),
        "CONNECTIONS_LOG": str(log),
    }
    command = [sys.executable, "-m", "gardener.cli.main", "--home", str(home)]
    with open(tmp_path / "output", "wb") as output:
        process = subprocess.Popen(
            [*command, "serve", "--port", "0"], env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        app = started(home, process)
        with httpx.Client(
            base_url=app.url, headers={"Authorization": f"Bearer {app.token}"}, timeout=120, trust_env=False
        ) as http:
            _tour(http, write_project(tmp_path / "lantern"))
        # A command beside the app speaks to it, which shows that connections are recorded.
        subprocess.run([*command, "status"], env=environment, capture_output=True, check=True, timeout=120)
    finally:
        process.send_signal(signal.SIGTERM)
        ended = process.wait(120)
    assert ended == 0
    seen = set(log.read_text().splitlines())
    assert any("127.0.0.1" in line for line in seen), "nothing was recorded, so nothing was proved"
    assert {line.split()[-1] for line in seen} <= {"unix", "127.0.0.1", "::1", "localhost", "None", "0.0.0.0"}


def test_the_watch_refuses_what_it_has_to_refuse(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WATCH)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "CONNECTIONS_LOG": str(tmp_path / "log")}
    code = "import socket; socket.socket().connect(('203.0.113.1', 9))"  # RFC 5737: nobody's address
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert "203.0.113.1 is beyond this machine" in ran.stderr


def _tour(http: httpx.Client, root: Path) -> None:
    added = http.post("/api/projects", json={"path": str(root)}).json()
    _end(http, added["job"]["job"])
    for path in GETS:
        assert http.get(path).status_code == 200, path
    assert http.post("/api/search", json={"query": "how is the lantern lit"}).json()["hits"]
    asked = http.post("/api/ask", json={"question": "How is the lantern lit?"}).json()
    assert _end(http, asked["job"])["event"] == "answer"
    chat = {"model": "gardener/active", "messages": [{"role": "user", "content": "How is the lantern lit?"}]}
    assert http.post("/v1/chat/completions", json=chat).json()["choices"]
    assert http.post("/v1/embeddings", json={"input": "a lantern"}).json()["data"]
    _end(http, http.post("/api/disk/clean").json()["job"])


def _end(http: httpx.Client, job: str) -> dict[str, object]:
    text = http.get(f"/api/jobs/{job}/events").text
    events: list[dict[str, object]] = [
        json.loads(line[6:]) for line in text.split("\n\n") if line.startswith("data: {")
    ]
    return [event for event in events if event][-1]
