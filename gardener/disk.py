"""What Gardener keeps on the disk, what of it nobody needs, and how to get that back.

Everything freed here can be made again. Each step is whole in itself, under the lock of whoever else might write, so
that a kill in the middle leaves the rest for the next time.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any, NamedTuple

from gardener.errors import GardenerError
from gardener.index.facts import summary
from gardener.index.indexer import Indexer
from gardener.index.lance_tables import CHUNKS
from gardener.index.table import IndexTable
from gardener.index.vector_tables import VECTORS
from gardener.locks import ProcessLock
from gardener.paths import embed_lock, index_directory, project_lock
from gardener.projects.names import shell_word

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gardener.app import Gardener
    from gardener.types import ProjectContext

ORPHAN_AGE_S = 3600.0
"""A younger folder without a project may belong to an `add` that has not committed yet."""
WORTH_COMPACTING = 2_000_000
"""Bytes of old versions in one project from which `--clean` rewrites its table."""
_LOCK_WAIT_S = 2.0
_DERIVED = ("index", "prompt-cache", "lock", "embed.lock")
"""What a project's folder holds that can be made again; adapters cannot."""


class Freeable(NamedTuple):
    """Something that nobody needs. `how` is the command that removes it."""

    what: str
    bytes: int
    how: str

    def as_json(self) -> dict[str, object]:
        return self._asdict()


class DiskUse(NamedTuple):
    """Sizes in bytes. `projects` and `shared` are rows as `gardener disk --json` prints them."""

    home: str
    total: int
    projects: list[dict[str, Any]]
    shared: list[dict[str, Any]]
    freeable: list[Freeable]

    def as_json(self) -> dict[str, object]:
        return {
            "home": self.home,
            "total_bytes": self.total,
            "projects": self.projects,
            "shared": self.shared,
            "freeable": [item.as_json() for item in self.freeable],
        }


def disk_use(gardener: Gardener) -> DiskUse:
    """Looks at everything below the home folder. Reads every project's chunk hashes, to tell which vectors are used."""
    paths = gardener.paths
    records = gardener.registry.records(include_removed=True)
    freeable: list[Freeable] = []
    projects = []
    used: set[str] | None = set()
    users: dict[str, list[str]] = {}
    for record in records:
        context = record.context
        row = project_bytes(context.home) | {
            "name": context.name, "id": context.id, "state": "trash" if record.removed_at else "registered",
        }  # fmt: skip
        projects.append(row)
        if record.removed_at:
            how = f"gardener remove --purge {shell_word(context.name)}"
            freeable.append(Freeable(f"project {context.name} in the trash", row["bytes"], how))
        try:
            if not _is_indexed(context):
                continue
            table = _table(gardener, context)
            if table.exists():
                found = _dead_bytes(table)
                if found > WORTH_COMPACTING:
                    freeable.append(Freeable(f"old versions of {context.name}", found, "gardener disk --clean"))
                if used is not None:
                    used |= table.hashes()
                for name in table.vector_tables():
                    users.setdefault(name.removeprefix(VECTORS), []).append(context.name)
            table.close()
        except GardenerError:
            used = None  # it cannot be told which vectors this project uses, so none counts as unused
    for folder in orphans(gardener):
        row = project_bytes(folder) | {"name": "", "id": os.path.basename(folder), "state": "orphan"}
        projects.append(row)
        freeable.append(Freeable(f"folder of no project: {folder}", _derived_bytes(folder), "gardener disk --clean"))
    shared = []
    for fingerprint in _stores(paths.embeddings):
        folder = os.path.join(paths.embeddings, fingerprint)
        in_use = fingerprint in users or fingerprint == gardener.embedding.fingerprint
        bytes_, count, unused = _store(folder, used if in_use or used is None else set())
        shared.append(
            {"what": "vectors", "name": fingerprint, "bytes": bytes_, "vectors": count, "unused": unused,
             "used_by": users.get(fingerprint, [])}
        )  # fmt: skip
        if unused and count:
            freeable.append(Freeable(f"{unused:,} vectors that no project uses", bytes_ * unused // count,
                                     "gardener disk --clean"))  # fmt: skip
    for what in ("models", "logs", "backups", "run"):
        shared.append({"what": what, "name": "", "bytes": bytes_of(getattr(paths, what))})
    state = sum(bytes_of(paths.state_db + suffix) for suffix in ("", "-wal", "-shm"))
    shared.append({"what": "state.db", "name": "", "bytes": state})
    shared.append({"what": "health.db", "name": "", "bytes": bytes_of(paths.health_db)})
    projects.sort(key=lambda row: -row["bytes"])
    freeable.sort(key=lambda item: -item.bytes)
    return DiskUse(paths.home, bytes_of(paths.home), projects, shared, [item for item in freeable if item.bytes])


class Cleaned(NamedTuple):
    """What `clean` did. `freed` in bytes, measured on the disk; others may have written meanwhile."""

    done: list[str]
    skipped: list[str]
    freed: int

    def as_json(self) -> dict[str, object]:
        return {"done": self.done, "skipped": self.skipped, "freed_bytes": self.freed}


def clean(gardener: Gardener, progress: Callable[[str], None] = lambda _: None) -> Cleaned:
    """Removes what can be made again and nobody needs. What somebody is writing is left out, and said so."""
    before = bytes_of(gardener.paths.home)
    done: list[str] = []
    skipped: list[str] = []
    complete = True
    used: set[str] = set()
    embedders = {gardener.embedding.fingerprint}
    for context in gardener.registry.list(include_removed=True):
        progress(f"Looking at {context.name}")
        try:
            with alone(context):
                done += _clean_project(gardener, context, used, embedders)
        except GardenerError as error:
            skipped.append(f"{context.name}: {error.message}")
            complete = False
    for folder in orphans(gardener):
        done += remove_orphan(folder)
    if not complete:
        skipped.append("vectors that no project uses: not every project could be asked")
    else:
        progress("Looking for vectors that no project uses")
        try:
            done += _clean_stores(gardener, used, embedders)
        except GardenerError as error:  # a full disk, on which a database cannot even be made smaller
            skipped.append(f"vectors that no project uses: {error.message}")
    return Cleaned(done, skipped, max(0, before - bytes_of(gardener.paths.home)))


def _clean_project(gardener: Gardener, context: ProjectContext, used: set[str], embedders: set[str]) -> list[str]:
    """Under the project's locks. Adds the hashes of its chunks to `used`, and whose vectors it has to `embedders`."""
    done = []
    if not _is_indexed(context):
        return []
    indexer = gardener.index(context).indexer
    table = indexer.table
    table.refresh()
    if not table.exists():
        return []
    used |= table.hashes()
    stale = indexer.drop_stale_tables(now=True)
    done += [f"{context.name}: an index that was replaced or never finished ({name})" for name in stale]
    if gardener.embedding.finished(summary(index_directory(context.home))):
        # Otherwise the former embedder's vectors answer until the new ones are all there.
        wanted = {VECTORS + gardener.embedding.fingerprint, VECTORS + gardener.serving_embedder(context)}
        for name in table.vector_tables():
            if name not in wanted:
                table.remove_table(name)
                done.append(f"{context.name}: vectors of a former embedder ({name.removeprefix(VECTORS)})")
    embedders.update(name.removeprefix(VECTORS) for name in table.vector_tables())
    if _dead_bytes(table) > WORTH_COMPACTING:
        compact(indexer)
        done.append(f"{context.name}: old versions")
    else:
        _record(indexer)
    return done


def compact(indexer: Indexer) -> None:
    """Rewrites a project's table and vectors without their small pieces and old versions. Under `alone`."""
    indexer.table.compact_if_needed(force=True, alone=True)
    indexer.table.compact_if_needed(force=True, alone=True, vectors_only=True)
    _record(indexer)


def _record(indexer: Indexer) -> None:
    table = indexer.table
    indexer.manifest.commit(facts={"table_version": str(table.version())})
    indexer.hashes.record([table.chunks_table, *table.vector_tables()], pruned=True)


def _clean_stores(gardener: Gardener, used: set[str], embedders: set[str]) -> list[str]:
    from gardener.index.vectors import VectorStore

    done = []
    for fingerprint in _stores(gardener.paths.embeddings):
        folder = os.path.join(gardener.paths.embeddings, fingerprint)
        dimensions = _dimensions(folder)
        if not dimensions:
            continue
        store = VectorStore(gardener.paths.embeddings, fingerprint, dimensions)
        with closing(store):
            gone = store.retain(used if fingerprint in embedders else ())
        if gone:
            done.append(f"{gone:,} vectors of {fingerprint} that no project uses")
        for name in os.listdir(folder):
            if ".db.damaged-" in name:
                os.unlink(os.path.join(folder, name))
                done.append(f"a damaged store that was kept to be looked at ({name})")
    return done


def orphans(gardener: Gardener) -> list[str]:
    """Folders of projects that state.db does not know, and that nobody has touched for a while."""
    known = {context.id for context in gardener.registry.list(include_removed=True)}
    found = []
    for parent in (gardener.paths.projects, gardener.paths.trash):
        if not os.path.isdir(parent):
            continue
        with os.scandir(parent) as entries:
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False) or entry.name in known:
                    continue
                if time.time() - entry.stat(follow_symlinks=False).st_mtime > ORPHAN_AGE_S:
                    found.append(entry.path)
    return sorted(found)


def remove_orphan(folder: str) -> list[str]:
    """Removes what can be made again; the folder itself only when nothing else is in it."""
    removed = False
    for name in _DERIVED:
        path = os.path.join(folder, name)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
            removed = True
        elif os.path.lexists(path):
            os.unlink(path)
    if not os.listdir(folder):
        os.rmdir(folder)
        return [f"the folder of no project: {folder}"]
    return [f"the index in the folder of no project: {folder} (the rest of it stays)"] if removed else []


def alone(context: ProjectContext) -> ExitStack:
    """Both locks of a project. Raises LockedError."""
    with ExitStack() as stack:
        for place in (project_lock, embed_lock):
            lock = ProcessLock(place(context.home), "gardener disk --clean", subject=f"'{context.name}'")
            lock.acquire(_LOCK_WAIT_S)
            stack.enter_context(lock)
        return stack.pop_all()


def _is_indexed(context: ProjectContext) -> bool:
    """Without making a file where there is none."""
    return bool(summary(index_directory(context.home)).get("table_version"))


# ---- sizes ---------------------------------------------------------------------------------------------


def _table(gardener: Gardener, context: ProjectContext) -> IndexTable:
    """The table through handles of its own, so that the caller may close it."""
    indexer: Indexer = gardener.index(context).indexer
    return indexer.table.reader()


def _dead_bytes(table: IndexTable) -> int:
    """Bytes of files that only old versions need. On an object store it is not known: 0."""
    if table.storage.remote:
        return 0
    folder = table.storage.folder(table.chunks_table)
    present = sum(bytes_of(os.path.join(folder, part)) for part in ("data", "_deletions", "_indices"))
    stale = sum(bytes_of(table.storage.folder(name)) for name in table.chunk_tables() if name != table.chunks_table)
    return max(0, present - table.live_bytes()) + stale


def project_bytes(home: str) -> dict[str, Any]:
    """Bytes of a project's data, by what they are."""
    parts = {"chunks": 0, "words_index": 0, "vectors": 0, "manifest": 0, "symbols": 0, "adapters": 0, "caches": 0,
             "other": 0}  # fmt: skip
    for path, size in _files(home):
        parts[_part(os.path.relpath(path, home).split(os.sep))] += size
    return {"bytes": sum(parts.values()), "parts": parts}


def _part(words: list[str]) -> str:
    """Which part of a project's data a path below its home belongs to."""
    top = words[0]
    if top == "adapters":
        return "adapters"
    if top == "prompt-cache":
        return "caches"
    if top != "index" or len(words) < 2:
        return "other"
    name = words[1]
    if name.startswith(VECTORS):
        return "vectors"
    if name.startswith(CHUNKS):
        return "words_index" if "_indices" in words else "chunks"
    if name.startswith("manifest"):
        return "manifest"
    return "symbols" if name.startswith("symbols") else "other"


def _derived_bytes(folder: str) -> int:
    return sum(bytes_of(os.path.join(folder, name)) for name in _DERIVED)


def _stores(embeddings: str) -> list[str]:
    if not os.path.isdir(embeddings):
        return []
    with os.scandir(embeddings) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))


def _store(folder: str, used: set[str] | None) -> tuple[int, int, int]:
    """Bytes of a vector store, its vectors, and how many of them are not among `used` (0 when that is unknown)."""
    count = unused = 0
    for path in _databases(folder):
        try:
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as database:
                for (key,) in database.execute("SELECT hash FROM vectors"):
                    count += 1
                    unused += used is not None and key.hex() not in used
        except sqlite3.DatabaseError:
            continue  # doctor speaks of damaged stores
    return bytes_of(folder), count, unused


def _dimensions(folder: str) -> int:
    for path in _databases(folder):
        try:
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as database:
                return int(database.execute("SELECT dimensions FROM store").fetchone()[0])
        except (sqlite3.DatabaseError, TypeError):
            continue
    return 0


def _databases(folder: str) -> list[str]:
    return [os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".db")]


def bytes_of(path: str) -> int:
    """Size of a file, or of all files below a folder; 0 when there is nothing."""
    try:
        if not os.path.isdir(path):
            return os.lstat(path).st_size
    except FileNotFoundError:
        return 0
    return sum(size for _, size in _files(path))


def _files(folder: str) -> Iterator[tuple[str, int]]:
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            try:
                yield path, os.lstat(path).st_size
            except FileNotFoundError:
                continue  # a table version that was just cleaned up
