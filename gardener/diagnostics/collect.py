"""What goes into a diagnostics bundle: each part is built of numbers, of names from closed lists, and of nothing else.

Nothing is taken over and then cleaned: a text comes in only as a key of our own table (a finding's kind, a setting, an
error code, a model of the catalogue), as a version or as a sentence of gardener.diagnostics.phrases. Projects are
numbers. A part that cannot be made says which error kept it from being made, and spoils no other.
"""

from __future__ import annotations

import os
import re
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any

from gardener.diagnostics.logs import log_part
from gardener.diagnostics.phrases import said_without_particulars
from gardener.errors import ConfigError, GardenerError

if TYPE_CHECKING:
    from gardener.app import Gardener
    from gardener.health.app import AppState
    from gardener.health.check import Finding
    from gardener.settings import Settings

_VERSION = re.compile(r"\d+(\.\d+){0,4}((a|b|rc|\.post|\.dev)\d+)?")
_MACHINES = frozenset({"arm64", "aarch64", "x86_64", "amd64", "i686", "riscv64"})
_CHIP = re.compile(r"Apple M\d{1,2}( Pro| Max| Ultra)?")
_SHOWN_VALUES = ("integer", "number", "flag")
_USAGE_S = 7 * 86_400.0
_LEVELS = ("full", "no enhancement", "small or cached", "search only")

Part = dict[str, Any]


def collect(gardener: Gardener, app: Callable[[], AppState], findings: list[Finding]) -> dict[str, Part]:
    """The parts by the name of their file. `findings` are those of every check, made now."""
    numbers = ProjectNumbers(gardener)
    makers: dict[str, Callable[[], Part]] = {
        "versions.json": _versions,
        "machine.json": lambda: _machine(gardener),
        "findings.json": lambda: _findings(findings, numbers),
        "issues.json": lambda: _issues(gardener, numbers),
        "settings.json": lambda: _settings(gardener),
        "data.json": lambda: _data(gardener),
        "projects.json": lambda: _projects(gardener),
        "models.json": lambda: _models(gardener),
        "answers.json": lambda: _answers(gardener),
        "backups.json": lambda: _backups(gardener),
        "service.json": lambda: _service(gardener, app),
        "logs.json": lambda: log_part(gardener.paths.logs),
    }
    return {name: _made(make) for name, make in makers.items()}


def _made(make: Callable[[], Part]) -> Part:
    try:
        return make()
    except GardenerError as error:
        return {"could_not_be_made": error.code, "detail": said_without_particulars(error.message)}
    except Exception as error:  # a broken installation is what this is for
        return {"could_not_be_made": type(error).__name__ if type(error).__module__ == "builtins" else "another error"}


class ProjectNumbers:
    """Gives each project a number; names and ids do not leave the machine."""

    def __init__(self, gardener: Gardener) -> None:
        from gardener.checks import listed_projects

        try:
            contexts = listed_projects(gardener)
        except GardenerError:
            contexts = []  # the part about projects says so; each is then one of the others
        self._of_names = {context.name: number for number, context in enumerate(contexts, start=1)}
        self._others: dict[str, int] = {}

    def subject(self, text: str) -> str:
        """ "project 2" for a project's name, "other 1" for whatever else a finding is about, "" for nothing."""
        if not text:
            return ""
        if text in self._of_names:
            return f"project {self._of_names[text]}"
        return f"other {self._others.setdefault(text, len(self._others) + 1)}"


# ---- the installation --------------------------------------------------------------------------------


def _versions() -> Part:
    from importlib.metadata import PackageNotFoundError, requires, version

    from gardener import __version__

    packages = {}
    for requirement in requires("gardener") or ():
        name = re.split(r"[\s\[<>=!;(]", requirement, maxsplit=1)[0]
        if "extra ==" in requirement:
            continue
        try:
            packages[name] = version_only(version(name))
        except PackageNotFoundError:
            packages[name] = "missing"
    python = ".".join(map(str, sys.version_info[:3]))
    return {"gardener": version_only(__version__), "python": python, "sqlite": sqlite3.sqlite_version,
            "packages": packages}  # fmt: skip


def version_only(text: str) -> str:
    """Its beginning that is a version: what somebody's own build put behind it may say anything."""
    found = _VERSION.match(text)
    return found.group() if found else "unknown"


def _machine(gardener: Gardener) -> Part:
    import platform
    import shutil

    from gardener.models.hardware import read_hardware

    hardware = read_hardware()
    machine = platform.machine()
    folder = gardener.paths.home
    disk = shutil.disk_usage(folder if os.path.isdir(folder) else "/")
    chip = _CHIP.fullmatch(hardware.chip)
    return {
        "system": sys.platform,
        "kernel": version_only(platform.release()),
        "macos": version_only(platform.mac_ver()[0]) if sys.platform == "darwin" else None,
        "machine": machine if machine in _MACHINES else "other",
        "chip": chip.group() if chip else "other",
        "cores": hardware.cores,
        "memory_bytes": hardware.memory_bytes,
        "available_bytes": hardware.available_bytes,
        "gpu_bytes": hardware.gpu_bytes,
        "disk_bytes": disk.total,
        "disk_free_bytes": disk.free,
        "clock": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _settings(gardener: Gardener) -> Part:
    from gardener.settings import Sources, load_good_parts
    from gardener.settings_schema import BY_KEY

    settings, problems = load_good_parts(Sources(gardener.paths))
    wrong = [
        {
            "key": problem.key if problem.key in BY_KEY else "not a setting", "line": problem.line or None,
            "detail": said_without_particulars(problem.message),
        }
        for problem in problems
    ]  # fmt: skip
    return {
        "file": os.path.exists(gardener.paths.config), "problems": wrong, "ignored": len(settings.warnings),
        "settings": [_setting(settings, key) for key in BY_KEY],
    }  # fmt: skip


def _setting(settings: Settings, key: str) -> Part:
    from gardener.settings_schema import BY_KEY

    setting, value = BY_KEY[key], settings.value(key)
    shown: object
    if setting.kind in _SHOWN_VALUES or (setting.choices and value in setting.choices) or value == setting.default:
        shown = list(value) if isinstance(value, tuple) else value
    elif isinstance(value, tuple):
        shown = f"a list of {len(value)}"
    else:
        shown = "a text" if value else ""
    return {"key": key, "value": shown, "origin": settings.origin(key).layer}


def _service(gardener: Gardener, app: Callable[[], AppState]) -> Part:
    from gardener.health.ledger import running_monitor
    from gardener.service.description import descriptions
    from gardener.service.manager import is_installed, manager

    state = app()
    part: Part = {
        "app": {
            "runs": bool(state.url), "answers": state.answers if state.url else None,
            "version": version_only(state.version) if state.version else None,
            "unready": said_without_particulars(state.unready) if state.unready else "",
            "watched": len(state.watching),
        },
        "monitor": {"runs": bool(running_monitor(gardener.paths))},
    }  # fmt: skip
    for service in descriptions(gardener.paths):
        if is_installed(gardener.paths, service.name):
            found = manager().state(service)
            part[f"{service.name} service"] = {
                "installed": found.installed, "outdated": found.outdated, "loaded": found.loaded,
                "runs": bool(found.pid), "ended_badly": bool(found.last_end),
            }  # fmt: skip
    return part


# ---- health ------------------------------------------------------------------------------------------


def _findings(findings: list[Finding], numbers: ProjectNumbers) -> Part:
    from gardener.health.kinds import KINDS

    return {
        "findings": [
            {
                "check": finding.check, "severity": finding.severity, "id": finding.id or None,
                "title": KINDS[finding.id].title if finding.id else "", "subject": numbers.subject(finding.subject),
                "detail": said_without_particulars(finding.detail), "took_ms": round(finding.took_ms, 1),
            }
            for finding in findings
        ]
    }  # fmt: skip


def _issues(gardener: Gardener, numbers: ProjectNumbers) -> Part:
    from gardener.health.database import HealthDatabase
    from gardener.health.kinds import KINDS

    issues = HealthDatabase(gardener.paths.health_db).issues_since(time.time() - 30 * 86_400)
    return {
        "last_30_days": [
            {
                "id": issue.kind, "severity": issue.severity, "state": issue.state,
                "subject": numbers.subject(issue.subject), "detail": said_without_particulars(issue.detail),
                "opened_at": _utc(issue.opened_at), "resolved_at": _utc(issue.resolved_at),
            }
            for issue in issues if issue.kind in KINDS
        ]
    }  # fmt: skip


# ---- data --------------------------------------------------------------------------------------------


def _data(gardener: Gardener) -> Part:
    from gardener.disk import bytes_of
    from gardener.health.database import MIGRATIONS as OF_HEALTH
    from gardener.state_schema import MIGRATIONS

    paths = gardener.paths
    folders = ("projects", "trash", "embeddings", "models", "backups", "logs", "run")
    return {
        "bytes": {name: bytes_of(getattr(paths, name)) for name in folders},
        "mode": _mode(paths.home),
        "state.db": _database(paths.state_db, len(MIGRATIONS)),
        "health.db": _database(paths.health_db, len(OF_HEALTH)),
        "samples.db": {"bytes": bytes_of(paths.samples_db)},
    }


def _mode(path: str) -> str | None:
    try:
        return f"{os.stat(path).st_mode & 0o777:04o}"
    except OSError:
        return None


def _database(path: str, known_schema: int) -> Part:
    """Sizes and counts. The tables are those that this version knows; opened for reading only."""
    from gardener.disk import bytes_of

    if not os.path.exists(path):
        return {"there": False}
    part: Part = {"there": True, "mode": _mode(path), "bytes": bytes_of(path), "wal_bytes": bytes_of(path + "-wal"),
                  "known_schema": known_schema}  # fmt: skip
    try:
        with closing(sqlite3.connect(f"file:{_uri(path)}?mode=ro", uri=True, timeout=2)) as database:
            for name in ("user_version", "page_count", "freelist_count", "page_size"):
                part[name] = int(database.execute(f"PRAGMA {name}").fetchone()[0])
            part["whole"] = database.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok"
            part["rows"] = {
                table: int(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
                for table in _TABLES
                if database.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone()
            }
    except sqlite3.Error as error:
        part |= {"whole": False, "sqlite_code": getattr(error, "sqlite_errorname", "")}
    return part


_TABLES = ("projects", "conversations", "messages", "events", "generations", "issues", "alerts", "maintenance")


def _uri(path: str) -> str:
    from urllib.parse import quote

    return quote(path)


def _projects(gardener: Gardener) -> Part:
    from gardener.checks import listed_projects
    from gardener.disk import project_bytes
    from gardener.index.facts import summary
    from gardener.paths import index_directory

    rows = []
    for number, context in enumerate(listed_projects(gardener), start=1):
        row: Part = {"project": number, "trusted": context.trusted, "adapter": bool(context.adapter),
                     "folder_there": os.path.isdir(context.root), **project_bytes(context.home)}  # fmt: skip
        try:
            facts = summary(index_directory(context.home))
        except GardenerError as error:
            row["index"] = error.code
        else:
            row["index"] = {name: _figure(facts.get(name)) for name in _FACTS if name in facts}
        rows.append(row)
    return {"count": len(rows), "projects": rows}


_FACTS = ("files", "chunks", "table_version", "vectors_complete", "hashes_checked_at", "updated_at")


def _figure(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None


def _models(gardener: Gardener) -> Part:
    from gardener.checks import good_settings
    from gardener.models.catalog import find
    from gardener.models.embedder_spec import spec_of

    settings = good_settings(gardener)
    try:
        kind: str = spec_of(settings.text).kind
    except ConfigError:
        kind = "wrong"
    said: Part = {"embedder": kind, "embedder_problem": bool(gardener.embedding.problem())}
    named = {}
    for key, value, _ in settings.items():
        if key in _MODEL_SETTINGS and isinstance(value, str) and value:
            found = find(value)
            named[key] = found[0].id if found else "not in the catalogue"
    said["models"] = named
    said["folder"] = sum(entry.is_dir() for entry in os.scandir(gardener.paths.models)) if os.path.isdir(
        gardener.paths.models) else 0  # fmt: skip
    return said


_MODEL_SETTINGS = ("ollama.model", "mlx.model", "openai.model")


def _answers(gardener: Gardener) -> Part:
    """Times and tokens of the last seven days, over all projects."""
    from gardener.models.catalog import find
    from gardener.usage_report import usage_report

    if not os.path.exists(gardener.paths.state_db):
        return {"answers": []}
    rows = []
    for line in usage_report(gardener.state, time.time() - _USAGE_S, "model"):
        found = find(line.name.partition(" ")[2])
        row = line.as_json()
        levels, problems = line.levels, sum(line.problems.values())
        row |= {
            "name": found[0].id if found else "not in the catalogue",
            "levels": {level: levels.get(level, 0) for level in _LEVELS}, "problems": problems,
        }  # fmt: skip
        rows.append(row)
    return {"answers": rows}


def _backups(gardener: Gardener) -> Part:
    from gardener.backup_service import BackupService
    from gardener.disk import bytes_of

    store = BackupService(gardener).store
    rows: list[Part] = []
    for entry in store.entries():
        found = entry.manifest
        rows.append({
            "good": entry.good, "readable": found is not None, "whole_home": found.kind == "home" if found else None,
            "made_at": _utc(found.created_at) if found else None, "bytes": found.total_bytes if found else None,
            "files": len(found.files) if found else None, "schema": found.state_schema if found else None,
            "proved_at": _utc(entry.proof["at"]) if entry.proof else None,
            "proof": bool(entry.proof["ok"]) if entry.proof else None,
        })  # fmt: skip
    return {"bytes": bytes_of(store.folder), "backups": rows}


def _utc(at: object) -> str | None:
    if not isinstance(at, float | int) or not 0 < at < 2**33:
        return None
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
