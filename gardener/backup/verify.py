"""Proves a backup, at three depths: its files are there; they are what was written; restored, they open and answer."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from typing import Any, Literal, NamedTuple

from gardener.backup import manifest
from gardener.backup.manifest import CONTENT, Manifest
from gardener.backup.snapshot import copy_file, hash_file
from gardener.errors import GardenerError, IndexDamaged, SchemaTooNew
from gardener.index.manifest import Manifest as IndexManifest
from gardener.index.symbol_store import SymbolStore
from gardener.index.table import IndexTable
from gardener.index.words import index_words
from gardener.paths import Paths, ensure_directory, sync_directory, translate_os_error
from gardener.state import State
from gardener.state_schema import MIGRATIONS

Depth = Literal["present", "hashes", "restore"]
DEPTHS: tuple[Depth, ...] = ("present", "hashes", "restore")

PROBES = 5
"""Questions put to each restored index."""


class Probe(NamedTuple):
    """A query that a restored index answered: the names that were looked for, and how many places came back."""

    project: str
    words: tuple[str, ...]
    hits: tuple[str, ...]
    """`path:start_line` of the places found, best first."""


class Trial(NamedTuple):
    """What a restored copy showed. `problems` is empty when it opens and answers."""

    problems: list[str]
    projects: int
    conversations: int
    messages: int
    chunks: int
    probes: list[Probe]

    def as_json(self) -> dict[str, Any]:
        return {**self._asdict(), "probes": [probe._asdict() for probe in self.probes]}


def check_present(folder: str, found: Manifest) -> list[str]:
    """Files that are missing, of the wrong size, no regular files, or not in the manifest."""
    problems = []
    for file in found.files:
        try:
            status = os.lstat(os.path.join(folder, file.path))
        except OSError as error:
            problems.append(f"{file.path}: {error.strerror}")
            continue
        if not stat.S_ISREG(status.st_mode):
            problems.append(f"{file.path}: not a regular file")
        elif status.st_size != file.size:
            problems.append(f"{file.path}: {status.st_size:,} bytes instead of {file.size:,}")
    named = {file.path for file in found.files} | {manifest.NAME}
    for place, folders, names in os.walk(folder):
        for name in (*names, *(name for name in folders if os.path.islink(os.path.join(place, name)))):
            path = os.path.relpath(os.path.join(place, name), folder)
            if path not in named:
                problems.append(f"{path}: not in the manifest")
    return problems


def check_hashes(folder: str, found: Manifest, progress: Callable[[int], None] = lambda done: None) -> list[str]:
    """As `check_present`, and files whose content is not what was written. `progress` is told bytes."""
    problems = check_present(folder, found)
    wrong = {problem.partition(": ")[0] for problem in problems}
    for file in found.files:
        if file.path in wrong:
            continue
        try:
            if hash_file(os.path.join(folder, file.path))[0] != file.sha256:
                problems.append(f"{file.path}: its content is not what was written")
        except OSError as error:
            problems.append(f"{file.path}: {error.strerror}")
        progress(file.size)
    return problems


def refuse_newer(found: Manifest) -> None:
    """Raises SchemaTooNew for a backup of a newer Gardener, which this one would misread."""
    if found.state_schema > len(MIGRATIONS):
        raise SchemaTooNew(
            f"Backup {found.id} was made by a newer Gardener ({found.gardener}, schema {found.state_schema}; this one "
            f"knows {len(MIGRATIONS)}). Nothing was changed.",
            next_step="gardener upgrade",
        )


def stage(folder: str, found: Manifest, target: str) -> None:
    """Copies a backup's home into the new folder `target`; every byte is checked on the way.

    Raises BackupDamaged naming the file, SchemaTooNew before anything is written, or OSError.
    """
    refuse_newer(found)
    for file in found.files:
        place = os.path.join(target, file.path.removeprefix(CONTENT))
        ensure_directory(os.path.dirname(place))
        source = os.path.join(folder, file.path)
        if not stat.S_ISREG(os.lstat(source).st_mode):
            raise manifest.damaged(source, "it is not a regular file")
        digest, size = copy_file(source, place)
        if (digest, size) != (file.sha256, file.size):
            raise manifest.damaged(source, "its content is not what was written")
    for place, _, _ in os.walk(target, topdown=False):
        sync_directory(place)


def try_home(home: str, found: Manifest) -> Trial:
    """Opens a restored home and asks each of its indexes for names that must be in it. Writes into `home`."""
    problems: list[str] = []
    conversations = messages = chunks = 0
    probes: list[Probe] = []
    paths = Paths(home)
    try:
        with State(paths.state_db) as state:
            problems += [f"state.db: {problem}" for problem in state.check()]
            row = state.read().execute("SELECT count(*) FROM projects").fetchone()
            conversations = int(state.read().execute("SELECT count(*) FROM conversations").fetchone()[0])
            messages = int(state.read().execute("SELECT count(*) FROM messages").fetchone()[0])
            if row[0] < len(found.projects):
                problems.append(f"state.db: {row[0]} projects instead of {len(found.projects)}")
            expected = sum(project.conversations for project in found.projects)
            if conversations < expected:
                problems.append(f"state.db: {conversations} conversations instead of {expected}")
    except (GardenerError, sqlite3.DatabaseError) as error:
        problems.append(f"state.db: {error}")
    for project in found.projects:
        if project.index_problem:
            continue
        place = paths.trash if project.removed else paths.projects
        directory = os.path.join(place, project.id, "index")
        try:
            count, asked = ask_index(directory, project.name)
        except (GardenerError, sqlite3.DatabaseError) as error:
            problems.append(f"index of {project.name}: {error}")
            continue
        chunks += count
        probes += asked
        # Fewer may be right: an update writes its rows before the list of its files, and was between the two (a kill
        # leaves it there). The next update goes on from it; every byte is what was saved.
        if project.chunks and not count:
            problems.append(f"index of {project.name}: no chunk instead of {project.chunks}")
        problems += [
            f"index of {project.name}: a search for {' '.join(probe.words)!r} finds nothing"
            for probe in asked
            if not probe.hits
        ]
    return Trial(problems, len(found.projects), conversations, messages, chunks, probes)


def ask_index(directory: str, name: str, questions: list[tuple[str, ...]] | None = None) -> tuple[int, list[Probe]]:
    """Reads every row and vector of an index and puts real queries to it.

    The queries are `questions`, or made of symbols spread over the index. Returns the number of chunks and the answers.
    Raises GardenerError when something of it cannot be read.
    """
    with closing(IndexManifest(directory)) as files:
        current = files.facts().get("chunks_table", "")
    symbols = SymbolStore(directory, table=lambda: current or "chunks")
    table = IndexTable(directory, current=lambda: current)
    try:
        if symbols.exists() and (problem := symbols.problem()):
            raise IndexDamaged(f"{symbols.path}: {problem}", next_step="gardener index --rebuild")
        if not table.exists():
            return 0, []
        ids = table.row_ids().tolist()
        for vectors in table.vector_tables():
            for _ in table.vector_batches(vectors.removeprefix("vectors-")):
                pass  # reading is the test
        if questions is None:
            questions = _questions(table, ids)
        return len(ids), [Probe(name, words, _places(table, words)) for words in questions]
    finally:
        symbols.close()
        table.close()


def _questions(table: IndexTable, ids: list[int]) -> list[tuple[str, ...]]:
    """Words that stand in the index for certain: the longest of rows spread over it."""
    found: list[tuple[str, ...]] = []
    for row in table.rows(ids[:: max(1, len(ids) // PROBES)][:PROBES]):
        words = sorted({word for word in index_words(row["text"]).split() if len(word) <= 40}, key=_longest_first)
        if words:
            found.append(tuple(words[:3]))
    return found


def _longest_first(word: str) -> tuple[int, str]:
    return -len(word), word


def _places(table: IndexTable, words: tuple[str, ...]) -> tuple[str, ...]:
    hits = table.search_words(list(words), 10)
    rows = {int(row["_rowid"]): row for row in table.rows([int(row_id) for row_id in hits.row_ids])}
    return tuple(f"{rows[int(i)]['path']}:{rows[int(i)]['start_line']}" for i in hits.row_ids if int(i) in rows)


def trial(folder: str, found: Manifest, scratch: str) -> Trial:
    """Restores a backup into the folder `scratch`, tries it, and removes it again. Raises as `stage`, or DiskFull."""
    shutil.rmtree(scratch, ignore_errors=True)  # of one that was killed
    try:
        stage(folder, found, ensure_directory(scratch))
        return try_home(scratch, found)
    except OSError as error:
        raise translate_os_error(error, scratch) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
