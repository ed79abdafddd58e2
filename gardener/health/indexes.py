"""Checks of what lies on the disk: hashes of index files, row counts, vectors, folders of no project."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from gardener.errors import GardenerError
from gardener.health.check import Check, Finding, fine, note
from gardener.index.facts import summary
from gardener.index.integrity import SAMPLE_BYTES
from gardener.index.vectors import check_store
from gardener.paths import Paths, index_directory
from gardener.projects.names import shell_word
from gardener.types import ProjectContext

if TYPE_CHECKING:
    from gardener.index.indexer import Indexer

_NAMED = 3
"""Damaged files that a finding names."""


def index_checks(
    paths: Paths,
    projects: Callable[[], Sequence[ProjectContext]],
    indexer: Callable[[ProjectContext], Indexer],
    orphans: Callable[[], Sequence[str]],
    *,
    deep: bool,
) -> list[Check]:
    """`deep` reads every file; otherwise sizes and a sample are compared."""
    return [
        Check("index", lambda: _indexes(projects, indexer, deep)),
        Check("vectors", lambda: _stores(paths, deep)),
        Check("folders", lambda: _folders(orphans)),
    ]


def _indexes(
    projects: Callable[[], Sequence[ProjectContext]], indexer: Callable[[ProjectContext], Indexer], deep: bool
) -> list[Finding]:
    findings = []
    for context in projects():
        try:
            indexed = summary(index_directory(context.home)).get("table_version")
        except GardenerError:
            continue  # the check of projects says so
        if indexed:
            try:
                findings.append(_index(context, indexer(context), deep))
            except GardenerError as error:
                findings.append(Finding("index-damaged", "error", error.message, error.next_step, context.name))
    return findings


def _index(context: ProjectContext, indexer: Indexer, deep: bool) -> Finding:
    name = context.name
    repair = f"gardener index --repair --project {shell_word(context.name)}"
    verdict = indexer.hashes.verify(context, sample_bytes=None if deep else SAMPLE_BYTES)
    if verdict.damaged:
        shown = [f"{damage.path} ({damage.what})" for damage in verdict.damaged[:_NAMED]]
        more = len(verdict.damaged) - _NAMED
        rest = f" and {more} more" if more > 0 else ""
        return Finding("index-damaged", "error", f"Damaged: {', '.join(shown)}{rest}.", repair, name)
    if deep:
        if problem := _sqlite_problem(indexer.manifest.path):
            rebuild = f"gardener index --rebuild --project {shell_word(context.name)}"
            return Finding("index-damaged", "error", f"{indexer.manifest.path} is damaged: {problem}", rebuild, name)
        if problem := indexer.symbols.problem():
            return Finding("index-damaged", "error", f"{indexer.symbols.path} is damaged: {problem}", repair, name)
    indexer.table.refresh()
    rows, expected = indexer.table.count(), sum(record.chunks for record in indexer.manifest.files().values())
    if rows != expected:
        return Finding(
            "index-damaged",
            "error",
            f"The table has {rows:,} chunks, the manifest {expected:,}.",
            f"gardener index --rebuild --project {shell_word(context.name)}",
            name,
        )
    if not verdict.files:
        why = "the object store keeps checksums" if indexer.table.storage.remote else "gardener index makes them"
        return note(f"{rows:,} chunks as the manifest says; no hashes of its files ({why})", subject=name)
    share = "all of" if verdict.bytes_read >= verdict.bytes else f"{verdict.bytes_read / 1e6:.0f} of"
    return fine(
        f"{rows:,} chunks as the manifest says; {verdict.files:,} files there, {share} {verdict.bytes / 1e6:.0f} MB "
        "compared with their hashes",
        name,
    )


def _sqlite_problem(path: str) -> str:
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as database:
            said = str(database.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.DatabaseError as error:
        return str(error)
    return "" if said == "ok" else said


def _stores(paths: Paths, deep: bool) -> Finding | list[Finding]:
    if not deep:
        return []  # each vector carries a checksum that is compared whenever it is used
    findings = []
    for name in sorted(os.listdir(paths.embeddings)) if os.path.isdir(paths.embeddings) else []:
        folder = os.path.join(paths.embeddings, name)
        if not os.path.isdir(folder):
            continue
        found = check_store(folder)
        if found.problem or found.damaged:
            what = found.problem or f"{found.damaged:,} of {found.rows:,} vectors are damaged"
            findings.append(Finding("vectors-damaged", "error", f"{folder}: {what}.", "gardener index --repair", name))
        else:
            findings.append(fine(f"{found.rows:,} shared vectors, all checksums right", name))
    return findings


def _folders(orphans: Callable[[], Sequence[str]]) -> Finding | list[Finding]:
    found = orphans()
    if not found:
        return []
    return Finding(
        "folders-orphaned", "warning", f"Folders of no project: {', '.join(found)}.", "gardener disk --clean --dry-run"
    )
