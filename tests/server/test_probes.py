"""/livez depends on nothing, /readyz on what an answer needs, /metrics is Prometheus text."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gardener.errors import IndexDamaged, StateDamaged
from tests.serving import Served


def test_livez_answers_while_everything_else_is_broken(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> object:
        raise StateDamaged("state.db is damaged.", next_step="gardener doctor")

    monkeypatch.setattr(type(served.gardener.registry), "active", broken)
    with served.stranger() as stranger, served.http() as client:
        assert stranger.get("/livez").status_code == 200
        assert stranger.get("/readyz").json() == {"ready": False}
        detail = client.get("/readyz")
        assert detail.status_code == 503
        assert detail.json()["checks"][0]["next_step"] == "gardener doctor"


def test_readyz_tells_strangers_yes_or_no_only(served: Served) -> None:
    with served.stranger() as stranger, served.http() as client:
        assert stranger.get("/readyz").json() == {"ready": True}
        checks = client.get("/readyz").json()["checks"]
        assert [(check["name"], check["ok"]) for check in checks] == [("state", True), ("index", True)]
        assert "lantern" in checks[1]["detail"]
        assert stranger.post("/readyz").status_code in (401, 429)


def test_a_damaged_index_is_not_ready(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> object:
        raise IndexDamaged("The index of 'lantern' is damaged.", next_step="gardener index --rebuild")

    context = served.gardener.context()
    with monkeypatch.context() as patched:
        patched.setattr(served.gardener, "update_index", broken)
        assert list(served.edge.update_index(context).tail())[-1]["error"]["code"] == "index-damaged"
    with served.http() as client:
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["checks"][1]["detail"] == "The index of 'lantern' is damaged."
        list(served.edge.update_index(context).tail())
        assert client.get("/readyz").status_code == 200


def samples(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield sample.name, dict(sample.labels), sample.value


def test_metrics_are_well_formed_and_count(served: Served) -> None:
    client = served.command_line()
    job = client.request("POST", "/api/ask", {"question": "How is the lantern lit?", "conversation": None})
    list(client.stream("GET", f"/api/jobs/{job['job']}/events"))
    with served.http() as http:
        answer = http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = list(samples(answer.text))
    answers = [(labels, value) for name, labels, value in found if name == "gardener_answers_total"]
    assert any(labels["backend"] == "scripted" and value >= 1 for labels, value in answers)
    assert ("gardener_index_files", {"project": "lantern"}, 2.0) in found
    routes = {labels["route"] for name, labels, _ in found if name == "gardener_http_requests_total"}
    assert "/api/ask" in routes and "/api/jobs/{job_id}/events" in routes
    assert "How is the lantern lit?" not in answer.text
