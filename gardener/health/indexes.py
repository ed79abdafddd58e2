"""Checks of what lies on the disk: hashes of index files, row counts, vectors, folders of no project."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from gardener.errors import GardenerError, IntegrityError
from gardener.health.check import Check, Finding, fine, note
from gardener.index.facts import summary
from gardener.index.integrity import SAMPLE_BYTES
from gardener.index.vectors import check_store
from gardener.paths import Paths, index_directory
from gardener.projects.names import shell_word
from gardener.sizes import size
from gardener.types import ProjectContext

if TYPE_CHECKING:
    from gardener.index.indexer import Indexer

VECTORS_EVERY_S = 900.0
LIMIT_S = 60.0
DEEP_LIMIT_S = 3_600.0
FRAGMENTED = 4.0
"""Times the limit of a compaction: twice makes even a search do it, so something keeps it from being done."""
_NAMED = 3
"""Damaged files that a finding names."""


def index_checks(
    paths: Paths,
    projects: Sequence[ProjectContext],
    indexer: Callable[[ProjectContext], Indexer],
    orphans: Callable[[], Sequence[str]],
    *,
    deep: bool,
) -> list[Check]:
    """One check for each project. `deep` reads every file; otherwise sizes and a sample are compared."""
    checks = [
        Check(
            "index",
            partial(_if_indexed, context, partial(_index, context, indexer, deep)),
            context.name,
            limit_s=DEEP_LIMIT_S if deep else LIMIT_S,
            heavy=True,
        )
        for context in projects
    ]
    return [
        *checks,
        Check("vectors", lambda: _stores(paths, deep), every_s=DEEP_LIMIT_S, limit_s=DEEP_LIMIT_S),
        Check("folders", lambda: _folders(orphans), every_s=DEEP_LIMIT_S, limit_s=LIMIT_S),
    ]


def freshness_checks(
    projects: Sequence[ProjectContext],
    difference: Callable[[ProjectContext], int],
    watched: Callable[[], Mapping[str, str]],
) -> list[Check]:
    """Whether each index says what the disk says. `difference` counts the files that differ; `watched` tells by name
    how the running app keeps projects fresh."""

    def check(context: ProjectContext) -> Finding:
        count = difference(context)
        if not count:
            return fine("as the disk is", context.name)
        detail = f"{count:,} files differ from the index"
        if watched().get(context.name, "").startswith(("watching", "polling")):
            update = f"gardener index --project {shell_word(context.name)}"
            return Finding("index-stale", "warning", f"{detail}, although the app watches them.", update, context.name)
        return note(f"{detail}; the next search takes them in", subject=context.name)

    return [
        Check(
            "freshness",
            partial(_if_indexed, context, partial(check, context)),
            context.name,
            limit_s=LIMIT_S,
            heavy=True,
        )
        for context in projects
    ]


def vectors_check(
    projects: Sequence[ProjectContext], wanted: Callable[[], str], made_by: Callable[[Mapping[str, str]], str]
) -> Check:
    """Whether the vectors that searches use are those of the wanted embedder. `wanted` gives its fingerprint, "" when
    it is not known; `made_by` that of an index with these facts."""

    def check() -> Finding | list[Finding]:
        fingerprint = wanted()
        findings = []
        for context in projects:
            try:
                facts = summary(index_directory(context.home))
            except GardenerError:
                continue  # the check of projects says so
            if fingerprint and facts.get("vectors_complete") == "1" and made_by(facts) != fingerprint:
                make = f"gardener index --wait --project {shell_word(context.name)}"
                detail = "Searches still use the vectors of another embedder than the one that is set."
                findings.append(Finding("embedder-changed", "warning", detail, make, context.name))
        return findings or fine("all of the embedder that is set")

    return Check("vectors of", check, every_s=VECTORS_EVERY_S)


def _if_indexed(context: ProjectContext, check: Callable[[], Finding | list[Finding]]) -> Finding | list[Finding]:
    """[] where there is nothing to look at: the check of projects says why."""
    try:
        indexed = summary(index_directory(context.home)).get("table_version")
    except GardenerError:
        return []
    return check() if indexed and os.path.isdir(context.root) else []


def _index(
    context: ProjectContext, open_index: Callable[[ProjectContext], Indexer], deep: bool
) -> Finding | list[Finding]:
    try:
        indexer = open_index(context)
        found = _content(context, indexer, deep)
        burden = indexer.table.burden() if found.severity != "error" else 0.0
    except IntegrityError as error:  # any other, such as a wrong setting, says nothing about the index
        return Finding("index-damaged", "error", error.message, error.next_step, context.name)
    if burden < FRAGMENTED:
        return found
    compact = f"gardener index --project {shell_word(context.name)}"
    detail = f"{burden:.0f} times as many pieces and old versions as are cleared up otherwise; searches take longer."
    return [found, Finding("index-fragmented", "warning", detail, compact, context.name)]


def _content(context: ProjectContext, indexer: Indexer, deep: bool) -> Finding:
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
    share = "all of" if verdict.bytes_read >= verdict.bytes else f"{size(verdict.bytes_read)} of"
    return fine(
        f"{rows:,} chunks as the manifest says; {verdict.files:,} files there, {share} {size(verdict.bytes)} "
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
