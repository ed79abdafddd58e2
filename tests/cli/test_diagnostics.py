"""`gardener diagnostics`: nothing of the user is in the bundle, whatever is broken, and nothing is written unasked."""

from __future__ import annotations

import getpass
import gzip
import io
import json
import os
import re
import sqlite3
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest

from gardener.cli.console import Console
from gardener.diagnostics.bundle import write
from gardener.diagnostics.phrases import BLANK, Phrase, said_without_particulars
from gardener.errors import ConflictError
from gardener.health.check import Asked, Finding
from gardener.health.database import HealthDatabase
from gardener.health.issues import Rule
from gardener.health.ledger import record
from gardener.health.rounds import Round
from tests.cli.conftest import Gardener as Run

CANARY = "Kanarienvogel"
NUMBER = "8675309"
KEY = "sk-proj-" + CANARY + "1234567890abcdef"
HOSTILE = f"{CANARY} is gone.\n\x1b[2J</script>"


def parts_of(path: Path) -> dict[str, Any]:
    with tarfile.open(path) as archive:
        found = {}
        for member in archive.getmembers():
            assert (member.uname, member.gname, member.uid, member.gid) == ("", "", 0, 0)
            file = archive.extractfile(member)
            assert file is not None
            name = os.path.basename(member.name)
            found[name] = json.load(file) if name.endswith(".json") else file.read().decode()
        return found


def is_in(needle: str, data: bytes) -> bool:
    return needle.lower().encode() in data.lower() or json.dumps(needle)[1:-1].lower().encode() in data.lower()


def log_line(**changed: object) -> str:
    line: dict[str, object] = {"time": "2026-11-21T10:00:00.000Z", "level": "error", "component": "app", "pid": 7,
                               "logger": "gardener.index", "event": "unexpected"}  # fmt: skip
    return json.dumps(line | changed) + "\n"


@pytest.fixture
def strange_home(tmp_path: Path) -> Path:
    """Everything in it has something in it that must not leave it; its own path, too."""
    return tmp_path / f"{CANARY}-home"


@pytest.mark.usefixtures("embedder")
def test_nothing_of_the_user_is_in_the_bundle(
    gardener: Run, home: Path, strange_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.rename(strange_home)
    monkeypatch.setenv("GARDENER_HOME", str(strange_home))
    monkeypatch.setenv("GARDENER_BACKUP_FOLDER", str(tmp_path / f"{CANARY}-backups"))
    monkeypatch.setenv("GARDENER_NO_SUCH_THING", CANARY)
    monkeypatch.delenv("GARDENER_OLLAMA_URL")
    root = tmp_path / f"{CANARY}-code"
    (root / CANARY).mkdir(parents=True)
    (root / CANARY / f"{CANARY}.py").write_text(f"def {CANARY}():\n    return '{KEY}'\n")
    (root / NUMBER).write_text(f"{CANARY}\n")
    (root / ".gardener.toml").write_text(f'[chat]\nsystem = "{CANARY}"\n')
    assert gardener("add", str(root), "--name", CANARY, "--no-vectors").code == 0
    (tmp_path / NUMBER).mkdir()
    assert gardener("add", str(tmp_path / NUMBER), "--name", NUMBER, "--no-vectors").code == 0
    (tmp_path / NUMBER).rmdir()
    from gardener.app import Gardener

    with Gardener(str(strange_home)) as app:
        project = app.registry.get(CANARY).id
        conversation = app.history.start(project, f"{CANARY} in a title")
        app.history.append(project, conversation.id, "user", f"Where is {CANARY} {KEY}?")
        with app.state.write() as connection:
            connection.execute(
                "INSERT INTO generations (at, project_id, project, backend, model, adapter, prompt_tokens, "
                "cached_tokens, completion_tokens, estimated, total_ms, load_s, level, finish, cost) VALUES "
                "(strftime('%s') - 60, ?, ?, ?, ?, ?, 1, 0, 1, 0, 5, 0, ?, 'complete', 0)",
                (project, CANARY, CANARY, CANARY, CANARY, CANARY),
            )
    (strange_home / "config.toml").write_text(
        f'{CANARY} = "{KEY}"\n[ollama]\nurl = "http://{CANARY}:{KEY}@127.0.0.1:1/{CANARY}"\nmodel = "{CANARY}"\n'
        f'{CANARY} = 1\n[index]\nexclude = ["{CANARY}/**"]\nworkers = "{CANARY}"\n[embedder]\nname = "{CANARY}"\n'
    )
    bad = Finding("project-folder-gone", "error", f"/home/{HOSTILE} is gone.", f"gardener move {CANARY} X", HOSTILE)
    made = {("project", ""): Asked((bad,), True)}
    round_ = Round(1.8e9, 0.1, (bad,), made, frozenset({("project", "")}))
    record(HealthDatabase(str(strange_home / "health.db")), round_, Rule(1, 1), pid=1)
    logs = strange_home / "logs"
    logs.mkdir(exist_ok=True)
    trace = (
        f'Traceback (most recent call last):\n  File "/home/{CANARY}/gardener/app.py", line 7, in {CANARY}\n    {KEY}\n'
    )
    (logs / "gardener.log").write_text(
        log_line(event=f"backup {CANARY}: 5 files, 7 new bytes")
        + log_line(event=HOSTILE, project=CANARY, fields={CANARY: KEY, "count": 3})
        + log_line(time=CANARY, component=CANARY, logger=f"gardener.{CANARY}", event=KEY)
        + log_line(exception=f"{trace}sqlite3.DatabaseError: {CANARY}\n{CANARY}: {KEY}\nos.{CANARY}: x")
        + log_line(exception=f'  File "/x/gardener/{CANARY}.py", line 1, in x\n{CANARY}.Error: {CANARY}')
        + log_line(level=CANARY)
        + f"{CANARY} is no JSON\n[1]\n"
    )
    (tmp_path / f"{CANARY}-backups" / "0000000001-20260101T000000Z").mkdir(parents=True, exist_ok=True)

    target = tmp_path / "report.tar.gz"
    said = gardener("diagnostics", "--output", str(target), "--yes", "--json")
    assert said.code == 0, said.err
    raw = target.read_bytes()
    plain = gzip.decompress(raw)
    for needle in (CANARY, NUMBER, KEY[:12], str(tmp_path), "report.tar.gz", project):
        for data in (raw, plain):
            assert not is_in(needle, data), needle
    for name in (os.uname().nodename, getpass.getuser()):
        assert not re.search(rf"\b{re.escape(name)}\b", plain.decode("utf-8", "replace"), re.IGNORECASE), name
    assert stat.S_IMODE(target.stat().st_mode) == 0o600 and len(raw) == said.json["bytes"]

    # And it is of use: what is ours is there.
    parts = parts_of(target)
    assert {row["name"] for row in said.json["files"]} == parts.keys()
    assert {name: part for name, part in parts.items() if "could_not_be_made" in part} == {}
    config = next(row for row in parts["findings.json"]["findings"] if row["check"] == "config")
    assert config["id"] == "config-invalid"
    gone = [row for row in parts["findings.json"]["findings"] if row["id"] == "project-folder-gone"]
    assert [(row["subject"], row["detail"]) for row in gone] == [("project 1", "… is gone.")]
    assert parts["issues.json"]["last_30_days"][0]["subject"].startswith("other ")
    settings = {row["key"]: row for row in parts["settings.json"]["settings"]}
    assert settings["ollama.url"] == {"key": "ollama.url", "value": "a text", "origin": "user file"}
    assert settings["index.exclude"]["value"] == "a list of 1" and settings["index.workers"]["origin"] == "default"
    assert {row["key"] for row in parts["settings.json"]["problems"]} >= {"index.workers", "not a setting"}
    assert parts["projects.json"]["projects"][1]["index"]["chunks"] > 0
    assert parts["models.json"]["models"] == {"ollama.model": "not in the catalogue"}
    assert parts["data.json"]["state.db"]["rows"]["messages"] == 1 and parts["data.json"]["state.db"]["whole"]
    first, second, third, fourth, fifth = parts["logs.json"]["last"]
    assert first["event"] == "backup …: 5 files, 7 new bytes" and first["logger"] == "gardener.index"
    assert second["event"] == "… is gone." or second["event"] == BLANK
    assert third["logger"] == third["component"] == "other" and third["time"] is None
    assert fourth["exception"] == {"class": "sqlite3.DatabaseError", "frames": ["gardener/app.py:7"]}
    assert fifth["exception"] == {"class": "other", "frames": []}


@pytest.mark.usefixtures("embedder")
def test_a_broken_home_has_its_bundle_too_and_nothing_is_written_unasked(
    gardener: Run, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "state.db").write_bytes(b"SQLite format 3\0" + CANARY.encode() * 500)
    (home / "projects").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gardener.checks.all_checks", lambda *_, **__: [])  # they are made in the test above
    said = gardener("diagnostics")
    assert said.code == 2 and "--yes" in said.err and "findings.json" in said.out
    assert list(tmp_path.glob("*.gz")) == []
    said = gardener("diagnostics", "--show")
    assert said.code == 0 and '"state-damaged"' in said.out and "Nothing was written." in said.err
    assert CANARY not in said.out and list(tmp_path.glob("*.gz")) == []
    monkeypatch.setattr(Console, "interactive", True)
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert gardener("diagnostics").code == 0 and list(tmp_path.glob("*.gz")) == []
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert gardener("diagnostics").code == 0
    (written,) = tmp_path.glob("gardener-diagnostics-*.tar.gz")
    parts = parts_of(written)
    assert parts["answers.json"]["could_not_be_made"] == parts["projects.json"]["could_not_be_made"] == "state-damaged"
    assert parts["data.json"]["state.db"]["whole"] is False
    before = written.read_bytes()
    with pytest.raises(ConflictError, match="exists already"):
        write(str(written), b"x")
    assert written.read_bytes() == before


def test_only_words_of_the_source_and_its_own_numbers_come_out() -> None:
    known = (
        Phrase(("The table has ", " chunks, the manifest ", "."), ("number", "number")),
        Phrase(("Others can read ", "."), ("",)),
        Phrase(("", " is gone."), ("",)),
    )
    assert said_without_particulars("The table has 1,200 chunks, the manifest 7.", known).startswith(
        "The table has 1,200"
    )
    assert said_without_particulars("The table has a b chunks, the manifest 7.", known) == (
        "The table has … chunks, the manifest 7."
    )
    assert said_without_particulars(f"Others can read {CANARY} {NUMBER}.", known) == "Others can read …."
    assert said_without_particulars(f"{CANARY} is gone.", known) == "… is gone."
    assert said_without_particulars(f"{CANARY} is gone. {CANARY}", known) == BLANK


def test_the_texts_of_the_source_are_found(tmp_path: Path) -> None:
    with sqlite3.connect(":memory:") as database:
        version = database.execute("SELECT sqlite_version()").fetchone()[0]
    assert said_without_particulars("/x/y is gone.") == "… is gone."
    assert version not in said_without_particulars(
        f"SQLite {version}; from 3.51.3 on a rare fault with two writers is mended."
    )
    assert said_without_particulars("backup 0001-x: 5 files, 7 new bytes") == "backup …: 5 files, 7 new bytes"
