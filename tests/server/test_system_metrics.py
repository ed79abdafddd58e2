"""/metrics of a real app about the machine and the forecasts; who reads it: the monitor and Grafana's dashboard."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gardener.app import Gardener
from gardener.health.rollups import latest, roll_up
from gardener.health.samples import Samples
from gardener.sampling import answers_between
from gardener.server.app_figures import app_figures, figures_in
from tests.serving import Served

TOP = Path(__file__).parent.parent.parent
DASHBOARD = TOP / "docs" / "grafana" / "gardener.json"


def fill_disk(gardener: Gardener) -> None:
    """Ten days of samples of this disk, as if it were filling by a gigabyte a day."""
    total, free = shutil.disk_usage(gardener.paths.home).total, 50e9
    now = round(time.time())
    samples = Samples(gardener.paths.samples_db)
    with samples.write() as connection:
        connection.executemany(
            "INSERT INTO samples (at, disk_total, disk_free, home, indexes) VALUES (?, ?, ?, 1000, 500)",
            [(now - 3600 * hour, total, free + 1e9 * hour / 24) for hour in range(240, -1, -1)],
        )
        roll_up(connection)
    samples.close()


@pytest.fixture(scope="module")
def scraped(served: Served, gardener: Gardener) -> Iterator[dict[str, Any]]:
    """Families of a scrape after everything has happened once."""
    fill_disk(gardener)
    with served.http() as api, served.stranger() as stranger:
        api.post("/api/search", json={"query": "lantern"}).raise_for_status()
        job = api.post("/api/ask", json={"question": "how bright is the lantern?"}).json()
        assert list(served.edge.jobs.get(job["job"]).tail())
        index = api.post("/api/index", json={}).json()
        assert list(served.edge.jobs.get(index["job"]).tail())
        assert stranger.get("/api/status").status_code == 401
        text = api.get("/metrics").text
    names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(names) == len(set(names)), "one group for each metric"
    yield {family.name: family for family in text_string_to_metric_families(text)}


def values(family: Any, label: str) -> dict[str, float]:
    return {sample.labels[label]: sample.value for sample in family.samples}


def test_the_machine_the_home_and_the_forecast_are_told(scraped: dict[str, Any], gardener: Gardener) -> None:
    disk = values(scraped["gardener_disk_bytes"], "state")
    assert disk["total"] == shutil.disk_usage(gardener.paths.home).total, "to the byte, not to six digits"
    assert 0 < disk["free"] <= disk["total"] - disk["used"] + 1e10
    assert set(values(scraped["gardener_system_memory_bytes"], "state")) == {"used", "available"}
    assert 0 <= scraped["gardener_system_cpu_ratio"].samples[0].value <= 1
    assert scraped["gardener_app_resident_bytes"].samples[0].value > 50_000_000
    assert values(scraped["gardener_home_bytes"], "part") == {"all": 1000, "indexes": 500}
    full = values(scraped["gardener_disk_full_timestamp_seconds"], "bound")
    assert set(full) == {"about", "early", "late"}
    assert full["about"] == pytest.approx(time.time() + 50 * 86_400, abs=3 * 86_400)
    assert scraped["gardener_disk_free_change_bytes_per_day"].samples[0].value == pytest.approx(-1e9, rel=0.05)
    assert scraped["gardener_projects_that_fit"].samples[0].value > 0
    assert scraped["gardener_samples_age_seconds"].samples[0].value < 3_600


def selectors(node: Any) -> Iterator[Any]:
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for name in ("vector_selector", "expr", "lhs", "rhs", "param"):
        if (part := getattr(node, name, None)) is not None:
            yield from selectors(part)
    for part in getattr(node, "args", ()) or ():
        yield from selectors(part)


def test_every_query_of_the_dashboard_is_promql_about_a_metric_and_labels_that_exist(scraped: dict[str, Any]) -> None:
    known = {sample.name: set(sample.labels) for family in scraped.values() for sample in family.samples}
    panels = [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]
    asked = set()
    for panel in panels:
        for target in panel["targets"]:
            query = target["expr"].replace("$__rate_interval", "2m").replace("$instance", ".+")
            parsed = promql_parser.parse(query)
            found = list(selectors(parsed))
            assert found, query
            for selector in found:
                family = scraped.get(selector.name) or scraped.get(selector.name.removesuffix("_total"))
                labels = known.get(selector.name)
                assert family is not None or labels is not None, (panel["title"], selector.name)
                if labels is not None:
                    for matcher in selector.matchers.matchers:
                        assert matcher.name in labels | {"instance", "job"}, (panel["title"], matcher.name)
                asked.add(selector.name)
    assert len(asked) >= 20 and "gardener_disk_full_timestamp_seconds" in asked


def test_the_dashboard_is_as_grafana_documents_it() -> None:
    """https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/"""
    board = json.loads(DASHBOARD.read_text())
    assert set(board) >= {"uid", "title", "tags", "timezone", "editable", "graphTooltip", "time", "timepicker",
                          "templating", "annotations", "refresh", "schemaVersion", "version", "panels"}  # fmt: skip
    assert "id" not in board and 8 <= len(board["uid"]) <= 40 and board["time"] == {"from": "now-6h", "to": "now"}
    variables = {variable["name"] for variable in board["templating"]["list"]}
    assert variables == {"datasource", "instance"}
    identities = [panel["id"] for panel in board["panels"]]
    assert len(identities) == len(set(identities))
    cells: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert panel["type"] in ("row", "stat", "timeseries") and panel["title"]
        assert place["x"] >= 0 and place["w"] >= 1 and place["h"] >= 1 and place["x"] + place["w"] <= 24
        covered = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not covered & cells, panel["title"]
        cells |= covered
        if panel["type"] == "row":
            continue
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["fieldConfig"]["defaults"]["unit"]
        if panel["type"] == "timeseries":
            assert panel["fieldConfig"]["defaults"]["min"] == 0
        references = [target["refId"] for target in panel["targets"]]
        assert len(references) == len(set(references))


def test_another_process_reads_what_the_app_counts(served: Served, gardener: Gardener, scraped: object) -> None:
    before = app_figures(gardener.paths)
    assert before is not None and before.pid == os.getpid() and before.embedded is not None
    with served.http() as api:
        api.post("/api/search", json={"query": "lantern"}).raise_for_status()
    after = app_figures(gardener.paths)
    assert after is not None and after.searches == before.searches + 1
    assert after.search_seconds > before.search_seconds
    assert figures_in("gardener_search_seconds_count nonsense\ngardener_search_seconds_sum 1.5\n") == {
        "gardener_search_seconds_sum": 1.5
    }
    found = answers_between(gardener, 0.0, time.time() + 60)
    assert found is not None and found.answers >= 1


def test_the_monitors_own_process_samples_the_app(served: Served, gardener: Gardener, scraped: object) -> None:
    before = latest(gardener.paths.samples_db)
    done = subprocess.run(
        [sys.executable, "-m", "gardener.cli.main", "monitor", "--rounds", "1", "--home", gardener.paths.home],
        cwd=TOP, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    now = latest(gardener.paths.samples_db)
    assert "app_memory" not in before and now["app_memory"][1] > 50_000_000
    assert now["disk_free"][0] >= before["disk_free"][0] and "memory_used" in now and now["home"][1] > 1000
