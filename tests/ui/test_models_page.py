"""The page "Models" beside a server that says what it likes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gardener.app import Gardener
from gardener.server.edge import Edge, Launch
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
