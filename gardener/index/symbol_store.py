"""A project's symbols in one SQLite file beside the manifest: definitions, references by name, imports.

Names are not resolved here: what a reference means can change with any other file. It is part of an index update,
written after the table and before the manifest; whatever the manifest does not confirm is written again.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple

from gardener.errors import DiskFull, IndexDamaged
from gardener.index.facts import is_disk_full
from gardener.index.file_symbols import DefinitionRow, FileSymbols, ReferenceRow
from gardener.paths import create_private, ensure_directory
from gardener.sqlite_full_disk import connect_even_when_full, is_full

SCHEMA = 3
FILE = "symbols.db"
MENTIONS_AT_ONCE = 20_000

_TABLES = """
CREATE TABLE files (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, language TEXT NOT NULL, pending INTEGER NOT NULL,
    -- CRC-32 of what the other tables have of the file: SQLite notices no flipped bit inside of a value.
    definitions_sum INTEGER NOT NULL, mentions_sum INTEGER NOT NULL, imports_sum INTEGER NOT NULL
) STRICT;
CREATE TABLE definitions (
    id INTEGER PRIMARY KEY, file INTEGER NOT NULL, name TEXT NOT NULL, qualified TEXT NOT NULL, kind TEXT NOT NULL,
    start_line INTEGER NOT NULL, end_line INTEGER NOT NULL, signature TEXT NOT NULL
) STRICT;
CREATE TABLE mentions (
    file INTEGER NOT NULL, inside INTEGER NOT NULL, name TEXT NOT NULL, receiver TEXT NOT NULL, line INTEGER NOT NULL,
    called INTEGER NOT NULL
) STRICT;
CREATE TABLE imports (file INTEGER NOT NULL, module TEXT NOT NULL, name TEXT NOT NULL, alias TEXT NOT NULL)
STRICT;
"""
_INDEXES = """
CREATE INDEX definitions_name ON definitions (name COLLATE NOCASE);
CREATE INDEX definitions_file ON definitions (file);
CREATE INDEX mentions_name ON mentions (name);
CREATE INDEX mentions_inside ON mentions (inside);
CREATE INDEX mentions_file ON mentions (file);
CREATE INDEX files_pending ON files (id) WHERE pending;
CREATE INDEX imports_file ON imports (file);
"""


class Definition(NamedTuple):
    """A symbol of the project. Lines are 1-based and inclusive."""

    id: int
    path: str
    language: str
    name: str
    qualified: str
    kind: str
    start_line: int
    end_line: int
    signature: str

    def as_json(self) -> dict[str, object]:
        return {
            "symbol": self.qualified,
            "kind": self.kind,
            "language": self.language,
            "path": self.path,
            "start_line": self.start_line,
            "end_line": self.end_line,
            "signature": self.signature,
        }


class Mention(NamedTuple):
    """A name that is called or used somewhere in a file."""

    path: str
    language: str
    inside: int
    """Id of the innermost definition around it; 0 when there is none."""
    name: str
    receiver: str
    line: int
    called: int = 1
    """0 for a use without a call: a function handed over, a type, a base class, a constant."""


class ImportOf(NamedTuple):
    path: str
    module: str
    name: str
    alias: str


_COLUMNS: Final = {
    "definitions": ("id", "file", "name", "qualified", "kind", "start_line", "end_line", "signature"),
    "mentions": ("file", "inside", "name", "receiver", "line", "called"),
    "imports": ("file", "module", "name", "alias"),
}
"""What the sums of a file are of."""
Row = tuple[Any, ...]
_DEFINITION = (int, str, str, str, str, str, int, int, str)
_MENTION = (str, str, int, str, str, int, int)
_IMPORT = (str, str, str, str)

FileWithSymbols = tuple[str, str, FileSymbols]
"""Path, language, symbols."""


class SymbolStore:
    """The symbols in `directory`/symbols.db (or its like). Thread-safe. Raises IndexDamaged when it cannot be read."""

    def __init__(
        self, directory: str, *, repair: str = "gardener index --rebuild", table: Callable[[], str] = lambda: "chunks"
    ) -> None:
        """`table` names the table of chunks that the symbols belong to: `chunks-2` goes with symbols-2.db."""
        self.directory = directory
        self.repair = repair
        self._table = table
        self._lock = threading.RLock()
        self._database: sqlite3.Connection | None = None
        self._inode = 0
        self._makeshift = False

    @property
    def path(self) -> str:
        return os.path.join(self.directory, FILE.replace(".", self._table().removeprefix("chunks") + "."))

    def beside(self, table: str) -> SymbolStore:
        """The symbols that belong to another table of chunks, to be closed by the caller."""
        return SymbolStore(self.directory, repair=self.repair, table=lambda: table)

    def exists(self) -> bool:
        """Whether the file is there and was filled by this version."""
        try:
            with self._reading() as database:
                return int(database.execute("PRAGMA user_version").fetchone()[0]) == SCHEMA
        except IndexDamaged:
            return False

    # ---- writing -------------------------------------------------------------------------------------

    def replace(self, removed: Iterable[str], files: Sequence[FileWithSymbols], *, all_files: bool = False) -> None:
        """Forgets the files in `removed` and those given, and records those given; with `all_files` all others go."""
        with self._writing(anew=all_files) as database:
            if not all_files:
                self._forget(database, [*removed, *(path for path, _, _ in files)])
            self._add(database, files)
            if all_files:
                for statement in filter(str.strip, _INDEXES.split(";")):
                    database.execute(statement)

    def append(self, files: Sequence[FileWithSymbols]) -> None:
        """Records files of which nothing is known yet."""
        with self._writing() as database:
            self._add(database, files)

    @staticmethod
    def _forget(database: sqlite3.Connection, paths: Sequence[str]) -> None:
        for path in paths:
            row = database.execute("SELECT id FROM files WHERE path = ?", (path,)).fetchone()
            if row is not None:
                for table in ("definitions", "mentions", "imports"):
                    database.execute(f"DELETE FROM {table} WHERE file = ?", row)
                database.execute("DELETE FROM files WHERE id = ?", row)

    @staticmethod
    def _add(database: sqlite3.Connection, files: Sequence[FileWithSymbols]) -> None:
        file = _next_id(database, "files")
        definition = _next_id(database, "definitions")
        for path, language, symbols in files:
            references = symbols.references
            definitions = [(definition + i, file, *row) for i, row in enumerate(symbols.definitions)]
            mentions = _mention_rows(file, definition, references or ())
            imports = [(file, *row) for row in symbols.imports]
            database.execute(
                "INSERT INTO files VALUES (?, ?, ?, ?, ?, ?, ?)",
                (file, path, language, references is None, _sum(definitions), _sum(mentions), _sum(imports)),
            )
            database.executemany("INSERT INTO definitions VALUES (?, ?, ?, ?, ?, ?, ?, ?)", definitions)
            database.executemany("INSERT INTO mentions VALUES (?, ?, ?, ?, ?, ?)", mentions)
            database.executemany("INSERT INTO imports VALUES (?, ?, ?, ?)", imports)
            file += 1
            definition += len(symbols.definitions)

    def pending(self, limit: int) -> list[tuple[int, str, str]]:
        """Files whose references have not been looked for: id, path, language."""
        with self._reading() as database:
            return [
                (int(row[0]), str(row[1]), str(row[2]))
                for row in database.execute("SELECT id, path, language FROM files WHERE pending LIMIT ?", (limit,))
            ]

    def definition_rows(self, file: int) -> list[DefinitionRow]:
        """The definitions of a file, by its id, in the order of their lines."""
        with self._reading() as database:
            return database.execute(
                "SELECT name, qualified, kind, start_line, end_line, signature FROM definitions WHERE file = ? "
                "ORDER BY id",
                (file,),
            ).fetchall()

    def add_references(self, file: int, references: Sequence[ReferenceRow]) -> None:
        """Records what a pending file mentions; nothing happens when it has been replaced or done meanwhile."""
        with self._writing() as database:
            changed = database.execute("UPDATE files SET pending = 0 WHERE id = ? AND pending", (file,)).rowcount
            if changed:
                first = database.execute("SELECT min(id) FROM definitions WHERE file = ?", (file,)).fetchone()[0]
                mentions = _mention_rows(file, int(first or 0), references)
                database.executemany("INSERT INTO mentions VALUES (?, ?, ?, ?, ?, ?)", mentions)
                database.execute("UPDATE files SET mentions_sum = ? WHERE id = ?", (_sum(mentions), file))

    @contextmanager
    def _writing(self, *, anew: bool = False) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if anew:
                self.destroy()
            try:
                database = self._open()
                database.execute("BEGIN IMMEDIATE")
                try:
                    yield database
                    database.execute("COMMIT")
                except BaseException:
                    if database.in_transaction:
                        database.execute("ROLLBACK")
                    raise
            except sqlite3.DatabaseError as error:
                raise self._translate(error) from error

    # ---- reading -------------------------------------------------------------------------------------

    def version(self) -> int:
        """Changes with every commit of this or another process."""
        with self._reading() as database:
            return int(database.execute("PRAGMA data_version").fetchone()[0]) + database.total_changes

    def named(self, name: str) -> list[Definition]:
        """Definitions whose last name is `name`, in whatever case; exact ones first."""
        found = self._definitions("WHERE d.name = ? COLLATE NOCASE", (name,))
        return sorted(found, key=lambda definition: definition.name != name)

    def in_file(self, path: str) -> list[Definition]:
        return self._definitions("WHERE f.path = ?", (path,))

    def by_id(self, ids: Iterable[int]) -> dict[int, Definition]:
        found: dict[int, Definition] = {}
        wanted = [one for one in dict.fromkeys(ids) if one]
        for start in range(0, len(wanted), 500):
            portion = wanted[start : start + 500]
            marks = ",".join("?" * len(portion))
            found.update((d.id, d) for d in self._definitions(f"WHERE d.id IN ({marks})", portion))
        return found

    def definitions(self) -> list[Definition]:
        return self._definitions("", ())

    def of_kinds(self, kinds: Sequence[str]) -> list[Definition]:
        return self._definitions(f"WHERE d.kind IN ({','.join('?' * len(kinds))})", kinds)

    def mentions_of(self, name: str) -> list[Mention]:
        return self._mentions("WHERE m.name = ?", (name,))

    def mentions_inside(self, definition: int) -> list[Mention]:
        return self._mentions("WHERE m.inside = ?", (definition,))

    def each_mention(self) -> Iterator[Mention]:
        """Every mention, a portion at a time: a large project has millions."""
        after = 0
        while True:
            with self._reading() as database:
                rows = database.execute(
                    "SELECT m.rowid, f.path, f.language, m.inside, m.name, m.receiver, m.line, m.called "
                    "FROM mentions m JOIN files f ON f.id = m.file WHERE m.rowid > ? ORDER BY m.rowid LIMIT ?",
                    (after, MENTIONS_AT_ONCE),
                ).fetchall()
            if not rows:
                return
            after = rows[-1][0]
            with self._translating():
                yield from (Mention._make(row[1:]) for row in _typed(rows, (int, *_MENTION)))

    def imports_of(self, path: str) -> list[ImportOf]:
        return self._imports("WHERE f.path = ?", (path,))

    def imports(self) -> list[ImportOf]:
        return self._imports("", ())

    def paths(self) -> list[str]:
        with self._reading() as database:
            return [row[0] for row in _typed(database.execute("SELECT path FROM files ORDER BY path"), (str,))]

    def problem(self) -> str:
        """What is wrong with the file, "" for nothing: its pages, and every value against the sums of its file.

        Reads everything: 0.5 s for 50,000 chunks.
        """
        try:
            with self._reading() as database:
                said = str(database.execute("PRAGMA quick_check(1)").fetchone()[0])
                if said != "ok":
                    return said
                database.execute("BEGIN")  # all of it at one moment
                try:
                    for table, columns in _COLUMNS.items():
                        expected = dict(database.execute(f"SELECT id, {table}_sum FROM files"))
                        rows = database.execute(f"SELECT {', '.join(columns)} FROM {table} ORDER BY file, rowid")
                        found = {file: _sum(group) for file, group in groupby(rows, itemgetter(columns.index("file")))}
                        if any(found.pop(file, 0) != total for file, total in expected.items()) or found:
                            return f"its {table} are not what was written"
                finally:
                    database.execute("ROLLBACK")
        except IndexDamaged as error:
            return error.message
        return ""

    def _definitions(self, where: str, values: Sequence[object]) -> list[Definition]:
        with self._reading() as database:
            return [
                Definition._make(row)
                for row in _typed(
                    database.execute(
                        "SELECT d.id, f.path, f.language, d.name, d.qualified, d.kind, d.start_line, d.end_line, "
                        f"d.signature FROM definitions d JOIN files f ON f.id = d.file {where} "
                        "ORDER BY f.path, d.start_line, d.id",
                        values,
                    ),
                    _DEFINITION,
                )
            ]

    def _mentions(self, where: str, values: Sequence[object]) -> list[Mention]:
        with self._reading() as database:
            return [
                Mention._make(row)
                for row in _typed(
                    database.execute(
                        "SELECT f.path, f.language, m.inside, m.name, m.receiver, m.line, m.called "
                        f"FROM mentions m JOIN files f ON f.id = m.file {where} ORDER BY f.path, m.line",
                        values,
                    ),
                    _MENTION,
                )
            ]

    def _imports(self, where: str, values: Sequence[object]) -> list[ImportOf]:
        with self._reading() as database:
            return [
                ImportOf._make(row)
                for row in _typed(
                    database.execute(
                        "SELECT f.path, i.module, i.name, i.alias FROM imports i JOIN files f ON f.id = i.file "
                        f"{where} ORDER BY i.rowid",
                        values,
                    ),
                    _IMPORT,
                )
            ]

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise self._translate(error) from error

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                if not os.path.exists(self.path):
                    raise IndexDamaged(f"The symbols {self.path} are missing.", next_step=self.repair)
                yield self._open()
            except sqlite3.DatabaseError as error:
                raise self._translate(error) from error

    # ---- the file ------------------------------------------------------------------------------------

    def _open(self) -> sqlite3.Connection:
        if self._database is not None:
            try:
                if os.stat(self.path).st_ino == self._inode and not (self._makeshift and not is_full(self.path)):
                    return self._database
            except FileNotFoundError:
                pass
            self.close()  # what is written to a deleted file is lost
        ensure_directory(os.path.dirname(self.path))
        create_private(self.path)
        database, self._makeshift = connect_even_when_full(
            lambda uri: sqlite3.connect(uri, uri=True, timeout=10, isolation_level=None, check_same_thread=False),
            self.path,
        )
        try:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=NORMAL")  # it can be made anew from the disk
            version = int(database.execute("PRAGMA user_version").fetchone()[0])
            if version not in (0, SCHEMA):
                raise sqlite3.DatabaseError(f"it has version {version}, and this program reads version {SCHEMA}")
            if not version:
                database.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {SCHEMA}; COMMIT;")
        except BaseException:
            database.close()
            raise
        self._database = database
        self._inode = os.stat(self.path).st_ino
        return database

    def _translate(self, error: sqlite3.DatabaseError) -> IndexDamaged | DiskFull:
        if is_disk_full(error, self.path):
            return DiskFull(
                f"The disk is full: {self.path} could not be written. The last good index stays in force.",
                next_step=f'df -h "{os.path.dirname(self.path)}"',
            )
        return IndexDamaged(f"The symbols {self.path} cannot be read: {error}.", next_step=self.repair)

    def destroy(self) -> None:
        """Removes the file."""
        with self._lock:
            self.close()
            for suffix in ("", "-wal", "-shm"):
                if os.path.exists(self.path + suffix):
                    os.unlink(self.path + suffix)

    def close(self) -> None:
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None


def _mention_rows(
    file: int, first_definition: int, references: Sequence[ReferenceRow]
) -> list[tuple[int, int, str, str, int, int]]:
    return [
        (file, first_definition + inside if inside >= 0 else 0, name, receiver, line, int(called))
        for inside, name, receiver, line, called in references
    ]


def _sum(rows: Iterable[Sequence[object]]) -> int:
    """CRC-32 of rows of integers and texts, in their order."""
    total = 0
    for row in rows:
        total = zlib.crc32(repr(tuple(row)).encode("utf-8", "surrogatepass"), total)
    return total


def _typed(rows: Iterable[Row], types: tuple[type, ...]) -> Iterator[Row]:
    """The rows, each of which must have columns of these types: a flipped bit can make a text of a number."""
    for row in rows:
        if tuple(map(type, row)) != types:
            raise sqlite3.DatabaseError("a row holds other things than were written")
        yield row


def _next_id(database: sqlite3.Connection, table: str) -> int:
    return int(database.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()[0]) + 1
