"""Sinks against a real HTTP server and real programs, with the names that a hostile repository would have."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import signal
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from gardener.errors import AlertFailed, ConfigError, GardenerError
from gardener.health import sinks
from gardener.health.check import Asked, Finding
from gardener.health.database import Alert, HealthDatabase
from gardener.health.delivery import Delivery
from gardener.health.issues import Rule
from gardener.health.ledger import record
from gardener.health.rounds import Round
from gardener.health.sinks import Command, Desktop, Message, Sink, Webhook, message

HOSTILE = '"; do shell script "touch /tmp/owned" -- $(touch owned) `id` <b>\n--help\x1b[2J é'
ALERT = Alert(3, 1_700_000_000.0, 7, "opened", "project-folder-gone", HOSTILE, "error", f"{HOSTILE} is gone.", {})
KEY = "a-key"


class Hook(BaseHTTPRequestHandler):
    """Answers with the statuses that the server was given, one after the other."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, dict(self.headers), body))  # type: ignore[attr-defined]
        waits, statuses = self.server.waits, self.server.statuses  # type: ignore[attr-defined]
        if waits is not None:
            waits.wait()
        self.send_response(statuses.pop(0) if statuses else 204)
        self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def hook(*statuses: int, waits: threading.Event | None = None) -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), Hook)
    server.got, server.statuses, server.waits = [], list(statuses), waits  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        if waits is not None:
            waits.set()
        server.shutdown()
        thread.join()
        server.server_close()


def webhook(server: HTTPServer, **options: float) -> Webhook:
    options = {"first_wait_s": 0.01, **options}
    return Webhook(f"http://127.0.0.1:{server.server_port}/hook?a=b", (), KEY, **options)  # type: ignore[arg-type]


def test_the_webhook_is_signed_so_that_its_receiver_can_tell() -> None:
    with hook() as server:
        webhook(server).send(message(ALERT))
        ((path, headers, body),) = server.got  # type: ignore[attr-defined]
    assert path == "/hook?a=b"
    told = json.loads(body)
    assert told["subject"] == HOSTILE and told["kind"] == "project-folder-gone" and told["schema"] == 1
    assert told["runbook"] == "runbooks/project-folder-gone.md" and told["change"] == "opened"
    expected = hmac.new(KEY.encode(), headers[sinks.TIMESTAMP].encode() + b"." + body, hashlib.sha256).hexdigest()
    assert headers[sinks.SIGNATURE] == f"sha256={expected}"


def test_a_server_in_trouble_is_tried_again_and_a_redirect_is_not_followed() -> None:
    with hook(503, 429) as server:
        webhook(server).send(message(ALERT))
        assert len(server.got) == 3  # type: ignore[attr-defined]
    with hook(500, 500, 500, 500) as server, pytest.raises(AlertFailed, match="status 500"):
        webhook(server).send(message(ALERT))
    assert len(server.got) == 3  # type: ignore[attr-defined]
    for status in (302, 307, 400):
        with hook(status) as server, pytest.raises(AlertFailed, match=f"status {status}"):
            webhook(server).send(message(ALERT))
        assert len(server.got) == 1  # type: ignore[attr-defined]


def test_a_webhook_that_never_answers_or_is_not_there_has_an_end() -> None:
    with hook(waits=threading.Event()) as server, pytest.raises(AlertFailed, match=r"no answer within|timed out"):
        webhook(server, limit_s=0.1).send(message(ALERT))
    with pytest.raises(AlertFailed, match="did not take the alert"):
        webhook(server).send(message(ALERT))  # nobody listens there any more


def test_only_this_machine_and_hosts_that_were_allowed() -> None:
    for url in (
        "http://example.com/x",
        "http://127.0.0.1.example.com/",
        "http://localhost.evil/",
        "http://a.localhost/",
    ):
        with pytest.raises(ConfigError, match=r"webhook\.hosts"):
            Webhook(url, ("other.example",), "")
    Webhook("http://a.localhost/", ("a.localhost",), "")
    for url in ("http://127.0.0.1:9/", "http://[::1]/", "http://localhost/x", "https://Alerts.example./x"):
        Webhook(url, ("alerts.example",), "")
    with pytest.raises(ConfigError, match="name or password"):
        Webhook("http://user:secret@localhost/", (), "")
    with pytest.raises(ConfigError):
        Webhook("file:///etc/passwd", (), "")


def script(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(f"#!{sys.executable}\nimport json, os, sys, time\n{text}\n")
    path.chmod(0o700)
    return str(path)


def test_a_command_gets_json_and_no_shell_sees_it(tmp_path: Path) -> None:
    got = tmp_path / "got.json"
    told = script(tmp_path, "told", f"open({str(got)!r}, 'w').write(json.dumps([sys.argv[1:], sys.stdin.read()]))")
    Command((told, "$HOME", "; id")).send(message(ALERT))
    arguments, text = json.loads(got.read_text())
    assert arguments == ["$HOME", "; id"] and json.loads(text)["subject"] == HOSTILE


def test_a_command_that_never_stops_writing_or_leaves_something_running(tmp_path: Path) -> None:
    floods = script(tmp_path, "floods", "for _ in range(640): os.write(2, b'x' * 65_536)\nsys.exit('the end')")
    tracemalloc.start()
    with pytest.raises(AlertFailed, match=r"ended with 1: x+the end"):
        Command((floods,)).send(message(ALERT))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 4_000_000  # of 40 MB that it wrote
    pid = tmp_path / "pid"
    leaves = script(
        tmp_path,
        "leaves",
        f"child = os.fork()\nif child: open({str(pid)!r}, 'w').write(str(child))\nelse: time.sleep(60)",
    )
    try:
        Command((leaves,), limit_s=30.0).send(message(ALERT))  # it has ended, whoever still has its outputs
    finally:
        os.kill(int(pid.read_text()), signal.SIGKILL)


def test_a_command_that_fails_or_hangs_is_told_and_its_children_go_with_it(tmp_path: Path) -> None:
    with pytest.raises(AlertFailed, match="ended with 3: no such"):
        Command((script(tmp_path, "fails", "sys.stderr.write('no such room'); sys.exit(3)"),)).send(message(ALERT))
    with pytest.raises(AlertFailed, match="could not be run"):
        Command((str(tmp_path / "nothing"),)).send(message(ALERT))
    pid = tmp_path / "pid"
    hangs = script(
        tmp_path, "hangs", f"child = os.fork()\nif child: open({str(pid)!r}, 'w').write(str(child))\ntime.sleep(60)"
    )
    with pytest.raises(AlertFailed, match="was killed"):
        Command((hangs,), limit_s=1.0).send(message(ALERT))
    child = int(pid.read_text())
    while _alive(child):
        pass  # the kernel is at it


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_a_notification_takes_names_as_texts_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: str
) -> None:
    got = tmp_path / "got.json"
    told = script(tmp_path, "notify", f"open({str(got)!r}, 'w').write(json.dumps(sys.argv[1:]))")
    desktop = Desktop(platform, lambda _: told)
    monkeypatch.setattr(desktop, "_program", told)
    desktop.send(message(ALERT))
    arguments = json.loads(got.read_text())
    before, (title, text) = arguments[:-2], arguments[-2:]
    assert before[-1] == "--" and not any("owned" in word for word in before)
    assert "owned" in title and "owned" in text
    assert not any(character in title + text for character in "\n\x1b")
    if platform == "linux":
        assert "<b>" not in text and "&lt;b&gt;" in text
    else:
        assert before == ["-e", sinks.NOTIFY_MAC, "--"] and "item 1 of argv" in sinks.NOTIFY_MAC


def test_no_desktop_no_notification(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    assert not Desktop("linux", lambda _: "/usr/bin/notify-send").there
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/run/bus")
    assert Desktop("linux", lambda _: "/usr/bin/notify-send").there
    assert not Desktop("linux", lambda _: None).there


class Stuck:
    name = "stuck"

    def __init__(self, until: threading.Event) -> None:
        self._until = until

    def send(self, message: Message) -> None:
        self._until.wait()


class Broken:
    name = "broken"

    def send(self, message: Message) -> None:
        raise ZeroDivisionError("oops")


def test_a_sink_that_fails_or_hangs_holds_up_no_other_and_is_itself_a_finding(home: Path) -> None:
    database = HealthDatabase(str(home / "health.db"))
    gone = Asked((Finding("project-folder-gone", "error", "gone", subject="x", check="project"),), True)
    key = ("project", "")
    alerts = record(database, Round(1e6, 0, (), {key: gone}, frozenset({key})), Rule(1, 1), pid=1)
    until = threading.Event()
    with hook() as server:
        there: dict[str, Sink | GardenerError] = {
            "stuck": Stuck(until), "broken": Broken(), "webhook": webhook(server), "wrong": ConfigError("no key"),
        }  # fmt: skip
        delivery = Delivery(database, lambda: there)
        try:
            delivery.send(alerts)
            while database.alerts()[0].delivered.keys() != {"broken", "webhook", "wrong"}:
                pass
        finally:
            until.set()
        assert delivery.wait(10)
        assert len(server.got) == 1  # type: ignore[attr-defined]
    delivered = database.alerts()[0].delivered
    assert delivered["webhook"] == "" and "oops" in delivered["broken"] and delivered["wrong"] == "no key"
    found = delivery.check()
    assert isinstance(found, list) and [(one.id, one.subject) for one in found] == [
        ("alert-failed", "broken"), ("alert-failed", "wrong"),
    ]  # fmt: skip
    there.pop("broken")
    there.pop("wrong")
    assert not isinstance(delivery.check(), list)  # those that are configured no more are no trouble


def test_a_key_that_is_configured_and_not_there_is_told(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    from gardener.paths import Paths
    from gardener.settings import load_settings

    monkeypatch.setenv("GARDENER_WEBHOOK_URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("GARDENER_WEBHOOK_KEY_VARIABLE", "NO_SUCH_KEY")
    found = sinks.configured(load_settings(Paths(str(home))))["webhook"]
    assert isinstance(found, ConfigError) and "NO_SUCH_KEY" in found.message
    monkeypatch.setenv("NO_SUCH_KEY", "now-it-is")
    assert isinstance(sinks.configured(load_settings(Paths(str(home))))["webhook"], Webhook)


def test_what_a_killed_monitor_had_not_delivered_is_delivered_once(home: Path) -> None:
    database = HealthDatabase(str(home / "health.db"))
    gone = Asked((Finding("project-folder-gone", "error", "gone", subject="x", check="project"),), True)
    key = ("project", "")
    record(database, Round(1e6, 0, (), {key: gone}, frozenset({key})), Rule(1, 1), pid=1)
    with hook() as server:
        delivery = Delivery(database, lambda: {"webhook": webhook(server)})
        for now in (1e6 - 1, 1e6 + 4_000, 1e6 + 60, 1e6 + 61):
            delivery.resume(now)
            assert delivery.wait(10)
        assert len(server.got) == 1  # type: ignore[attr-defined]
    assert database.alerts()[0].delivered == {"webhook": ""}


def test_a_keyring_that_does_not_answer_holds_up_no_round(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    import keyring

    from gardener.paths import Paths
    from gardener.settings import load_settings

    locked = threading.Event()
    monkeypatch.setattr(keyring, "get_password", lambda service, user: "a-key" if locked.wait(20) else None)
    monkeypatch.setattr(sinks, "KEYRING_S", 0.05)
    monkeypatch.setenv("GARDENER_WEBHOOK_KEY_KEYRING", "gardener/webhook")
    with hook() as server:
        monkeypatch.setenv("GARDENER_WEBHOOK_URL", f"http://127.0.0.1:{server.server_port}/")
        found = sinks.configured(load_settings(Paths(str(home))))["webhook"]  # it does not wait
        assert isinstance(found, Webhook)
        with pytest.raises(AlertFailed, match="keyring gave no answer"):
            found.send(message(ALERT))
        locked.set()  # somebody has unlocked it: the next alert goes out, signed
        monkeypatch.setattr(sinks, "KEYRING_S", 20.0)
        found.send(message(ALERT))
        ((_, headers, _),) = server.got  # type: ignore[attr-defined]
    assert headers[sinks.SIGNATURE].startswith("sha256=")


def test_an_address_with_letters_that_it_cannot_have_is_refused() -> None:
    for url in ("http://localhost/é", "http://localhost/a b", "http://localhost/a\nb"):
        with pytest.raises(ConfigError, match=r"webhook\.url"):
            Webhook(url, (), "")
