"""The page "Models" beside a server that says what it likes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gardener.app import Gardener
from gardener.errors import ConflictError
from gardener.models.adapters import AdapterStore
from gardener.server.edge import Edge, Launch
from gardener.training.evaluate import WORSE
from tests.ollama_server import Fault, Model, OllamaServer, ollama_server
from tests.serving import write_project
from ui.models_page import ModelsPage

EVIL = "\"><img src=x onerror=alert(1)>' onmouseover=alert(2) `$(touch /tmp/x)`"


@pytest.fixture
def server() -> Iterator[OllamaServer]:
    with ollama_server(Model(EVIL), Model("--help"), Model("turned\u202e\x1b[2J"), Model("x" * 100_000)) as made:
        yield made


@pytest.fixture
def page(server: OllamaServer, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelsPage]:
    monkeypatch.setenv("GARDENER_OLLAMA_URL", server.url)
    with Gardener(str(home)) as gardener:
        gardener.registry.add(str(write_project(tmp_path / "lantern")))
        edge = Edge(gardener, Launch("127.0.0.1", 1, "token"))
        yield ModelsPage(edge)
        edge.jobs.close()


def shown(page: ModelsPage) -> str:
    html = page.open({}).main or ""
    assert len(html) < 100_000 and "\x1b" not in html and "\u202e" not in html
    tags = re.findall(r"<[^>]*>", html)
    assert not any(re.match(r"<(img|script)", tag) or " onmouseover" in re.sub('"[^"]*"', "", tag) for tag in tags)
    return html


def test_names_are_text_and_what_is_no_name_is_not_listed(page: ModelsPage) -> None:
    html = shown(page)
    assert "&lt;img src=x onerror=alert(1)&gt;" in html and "--help" in html
    assert "turned" not in html and "xxxx" not in html
    said = "".join(step.notice or "" for step in page.act("use", {"model": EVIL, "project": "lantern"}))
    assert "<img" not in said and "&lt;img" in said


@pytest.mark.parametrize(
    "body",
    ['{"error":"<script>alert(1)</script>\\u001b[2J\\u202e' + "y" * 90_000 + '"}', '{"models":[null]}', "[" * 90_000],
)
def test_error_texts_are_text_and_short(page: ModelsPage, server: OllamaServer, body: str) -> None:
    server.fault_path = "/api/tags"
    server.faults.extend([Fault("status", status=500 if "error" in body else 200, body=body)] * 2)
    html = shown(page)
    assert "answered" in html and "Start it and open this page again" in html and "yyyyyyyyyy" * 40 not in html


def test_an_adapter_that_is_worse_is_used_only_when_asked_twice_and_deleted_only_when_off(page: ModelsPage) -> None:
    registry = page._gardener.registry
    page._gardener.switch("lantern")
    context = registry.get("lantern")
    store = AdapterStore(context.home)
    for name, verdict in (("better", "better"), ("worse", WORSE)):
        for file in ("adapters.safetensors", "adapter_config.json"):
            Path(store.stage(name), file).write_bytes(b"{}")
        store.publish(name, "base", {"base_name": "tiny", "evaluation": {"verdict": verdict}})
    chosen = {"project": context.id, "adapter": "worse"}

    def act(what: str, **more: str) -> str:
        return "".join(step.main or "" for step in page.act(what, chosen | more))

    html = shown(page)
    assert "Use better" in html and "Use worse anyway" in html and "worse than the base" in html
    with pytest.raises(ConflictError, match="worse than the base"):
        act("adapter")
    assert "Turn off worse" in act("adapter", worse="yes") and registry.get("lantern").adapter == "worse"
    with pytest.raises(ConflictError, match="in use"):
        act("adaptergone")
    act("adapteroff")
    assert "Use worse" not in act("adaptergone") and [entry["name"] for entry in store.list()] == ["better"]
