"""Starting and ending: one app per home, clear words about ports and hosts, partial answers kept."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from gardener.app import Gardener
from gardener.errors import AppAlreadyRunning, ConflictError, UsageError
from gardener.server.client import find_app
from gardener.server.run import serve
from gardener.server.runfile import app_file
from tests.chat_samples import ScriptedBackend
from tests.server.conftest import Gate
from tests.serving import serving, write_project


@pytest.fixture
def own(tmp_path: Path) -> Gardener:
    return Gardener(str(tmp_path / "home"))


def test_an_app_with_an_empty_home_is_up_and_says_what_is_missing(own: Gardener) -> None:
    with serving(own) as app:
        found = find_app(own.paths)
        assert found is not None and found.port == app.app.port
        with app.http() as client:
            assert client.get("/readyz").json()["ready"] is True
            answer = client.post("/api/ask", json={"question": "anything?"})
            assert answer.status_code == 404
            assert answer.json()["error"]["next_step"].startswith("gardener add")
        with pytest.raises(AppAlreadyRunning, match=str(os.getpid())):
            serve(own, port=0)
    assert find_app(own.paths) is None
    assert not os.path.exists(app_file(own.paths))
    own.close()


def test_a_taken_port_is_named(own: Gardener) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConflictError, match=f"127.0.0.1:{port} is used by another program") as caught:
            serve(own, port=port)
        assert caught.value.next_step == "gardener runbook port-taken"
    with serving(own):
        pass  # the failed start holds neither the lock nor the port
    own.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_other_machines_need_an_explicit_flag(own: Gardener, host: str) -> None:
    with pytest.raises(UsageError, match="other machines") as caught:
        serve(own, host=host, port=0)
    assert "--beyond-loopback" in caught.value.next_step


def test_shutting_down_keeps_the_partial_answer(own: Gardener, tmp_path: Path) -> None:
    gate = Gate()

    def pause_in_the_middle(number: int) -> None:
        if number == 5:
            gate.open.clear()
        gate(number)

    own.backends.register("scripted", lambda: ScriptedBackend(script=["word "] * 10, on_event=pause_in_the_middle))
    context = own.registry.add(str(write_project(tmp_path / "lantern")))
    own.update_index(context)
    own.switch("lantern")
    with serving(own) as app:
        client = app.command_line()
        job = client.request("POST", "/api/ask", {"question": "How is the lantern lit?"})
        events = client.stream("GET", f"/api/jobs/{job['job']}/events")
        while next(events)["event"] != "text":
            pass
        assert gate.waiting.wait(120)
        app.edge.shut_down()
        assert app.edge.jobs.get(job["job"]).cancel.wait(120)
        gate.open.set()
        last = list(events)[-1]
    assert last["event"] == "answer" and last["complete"] is False
    conversation = own.history.list(context.id)[0]
    kept = own.history.show(context.id, conversation.id)[-1]
    assert kept.role == "assistant" and not kept.complete and kept.content == "word " * 5
    own.close()
