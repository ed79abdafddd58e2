"""logs/audit.log and logs/performance.log of a running app: who changed what by which way, what took how long."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from gardener.app import Gardener
from gardener.backup_service import BackupService
from tests.serving import Served, write_project

SECRET = "ghp_" + "a1B2c3D4e5F6g7H8i9J0" + "k1L2m3N4o5P6q7R8"
"""Has the form of a GitHub token; put together here so that no scanner takes this file for a leak."""


def lines(gardener: Gardener, name: str) -> list[dict[str, Any]]:
    file = Path(gardener.paths.logs, name)
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def newest(gardener: Gardener) -> dict[str, Any]:
    return lines(gardener, "audit.log")[-1]


def test_every_change_says_what_and_by_which_way(served: Served, gardener: Gardener, tmp_path: Path) -> None:
    with served.http() as api:
        api.post("/api/switch", json={"project": "compass"}).raise_for_status()
        said = newest(gardener)
        assert (said["event"], said["actor"], said["project"]) == ("project.switched", "api", "compass")
        api.post("/api/projects/compass/trust", json={"trusted": True}).raise_for_status()
        said = newest(gardener)
        assert (said["event"], said["fields"]) == ("project.configured", {"setting": "trusted", "value": 1})
        api.post("/api/settings/set", json={"key": "log.level", "value": "warning"}).raise_for_status()
        assert newest(gardener)["fields"]["setting"] == "log.level=warning"
        api.post("/api/settings/unset", json={"key": "log.level"}).raise_for_status()
        assert newest(gardener)["event"] == "setting.unset"
    with served.stranger() as browser:
        cookie = browser.get(f"/enter/{served.edge.access.issue_link()}").headers["set-cookie"].split(";")[0]
    assert newest(gardener)["event"] == "browser.entered"
    with served.stranger(Cookie=cookie, Origin=served.url) as browser:
        browser.post("/api/switch", json={"project": "lantern"}).raise_for_status()
    assert (newest(gardener)["actor"], newest(gardener)["project"]) == ("web", "lantern")
    served.edge.access.create_client("editor")
    assert (newest(gardener)["event"], newest(gardener)["fields"]["name"]) == ("token.created", "editor")
    served.edge.access.revoke("editor")
    assert newest(gardener)["event"] == "token.revoked"
    backups = BackupService(gardener)
    made = backups.create()
    backups.export(str(tmp_path / "kept.zip"), made.manifest.id)
    assert newest(gardener)["event"] == "backup.exported" and newest(gardener)["fields"]["encrypted"] is False
    known = [line["event"] for line in lines(gardener, "audit.log")]
    assert "project.added" in known
    assert {line["pid"] for line in lines(gardener, "audit.log")} == {os.getpid()}


def test_a_change_that_is_refused_is_not_in_it(served: Served, gardener: Gardener) -> None:
    before = lines(gardener, "audit.log")
    with served.http() as api, served.stranger() as stranger:
        assert api.post("/api/switch", json={"project": "nobody"}).status_code == 404
        assert api.post("/api/settings/set", json={"key": "log.level", "value": "shout"}).status_code >= 400
        assert stranger.post("/api/switch", json={"project": "compass"}).status_code == 401
    assert lines(gardener, "audit.log") == before


def test_secrets_and_removed_projects_do_not_stay(gardener: Gardener, tmp_path: Path) -> None:
    context = gardener.registry.add(str(write_project(tmp_path / "quartz7731", "quartz7731")))
    gardener.update_index(context)
    gardener.registry.rename(context.name, f"x {SECRET}")
    for name in ("audit.log", "performance.log"):
        assert context.id in Path(gardener.paths.logs, name).read_text()
    assert SECRET not in json.dumps([line.get("fields") for line in lines(gardener, "audit.log")])
    gardener.purge(context.id)
    for file in Path(gardener.paths.logs).iterdir():
        assert "quartz7731" not in file.read_text() and context.id not in file.read_text(), file
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert newest(gardener)["event"] == "project.purged"


def test_work_is_timed_without_a_word_of_it(served: Served, gardener: Gardener) -> None:
    question = "how bright is the zephyrine lantern"
    with served.http() as api:
        api.post("/api/search", json={"query": "zephyrine fuel", "limit": 3}).raise_for_status()
        api.post("/api/search", json={"query": "zephyrine", "project": "lantern", "limit": -4})
        job = api.post("/api/ask", json={"question": question}).json()
        assert list(served.edge.jobs.get(job["job"]).tail())
        index = api.post("/api/index", json={}).json()
        assert list(served.edge.jobs.get(index["job"]).tail())
        text = api.get("/metrics").text
    entries = lines(gardener, "performance.log")
    by_event = {line["event"]: line for line in entries}
    assert set(by_event) == {"search", "answer", "index"}
    search = next(line for line in entries if line["event"] == "search" and line["actor"] == "api")
    assert search["fields"]["outcome"] == "ok" and search["fields"]["ms"] > 0 and search["fields"]["hits"] > 0
    assert "lexical" in search["fields"]["parts_ms"] and search["project"] == "lantern"
    assert by_event["answer"]["actor"] == "api", "the job knows who asked for it"
    assert by_event["answer"]["fields"]["outcome"] == "ok"
    assert by_event["index"]["fields"]["files"] == 2
    raw = Path(gardener.paths.logs, "performance.log").read_text()
    assert "zephyrine" not in raw and "light_lantern" not in raw and "engine.py" not in raw
    found = {
        (sample.name, sample.labels.get("outcome")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    counted = sum(line["event"] == "search" for line in entries)
    assert found["gardener_searches_total", "ok"] == found["gardener_search_seconds_count", None]
    assert 2 <= found["gardener_search_seconds_count", None] <= counted
