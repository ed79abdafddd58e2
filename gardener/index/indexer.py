"""Brings a project's index up to date with the disk: compare, prepare what differs, commit.

Commit point: the table's new version first, then the manifest. A crash between the two leaves rows that the manifest
does not know; `_reconcile` finds them at the next update, by comparing both, and indexes those files again.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from gardener.errors import IndexDamaged, Interrupted, PathNotFound, SchemaTooNew
from gardener.index.index_report import Difference, IndexProgress, IndexReport, ProgressCallback
from gardener.index.integrity import FileHashes
from gardener.index.lance_tables import CHUNKS
from gardener.index.manifest import FileRecord, Manifest
from gardener.index.prepare import PreparedFile, is_unchanged, prepare_files
from gardener.index.storage import storage_for
from gardener.index.symbol_store import FileWithSymbols, SymbolStore
from gardener.index.table import ChunkRow, IndexTable, arrow_table
from gardener.index.walk import FileEntry, WalkResult, walk
from gardener.index.workers import WorkerPool
from gardener.locks import ProcessLock
from gardener.memory import give_back
from gardener.paths import index_directory, project_lock
from gardener.types import ProjectContext

if TYPE_CHECKING:
    import threading

INDEX_FORMAT = "3"
"""Changes when rows of an older index would be wrong (chunker, words, columns): the index is then built anew."""

ROWS_PER_COMMIT = 50_000
"""Bounds memory on a large repository: about 100 MB of text and words are held before they are written."""

IN_PROCESS_BYTES = 1_500_000
IN_PROCESS_FILES = 500
"""Below both, starting worker processes costs more than they save (0.3 s each on the test machine)."""

FILES_AT_ONCE = 400
"""Files whose text is held while their references are looked for."""
REPLACED_TABLE_S = 60.0
"""Seconds for which a replaced table stays: longer than any query that is still reading it."""

BATCH_BYTES = 250_000
"""Bytes of source per task of a worker: enough to hide the hand-over, small enough to share the load."""


class Indexer:
    """Writes one project's index. Hold at most one per project and process; across processes the lock decides."""

    def __init__(
        self,
        context: ProjectContext,
        *,
        max_file_bytes: int,
        exclude: tuple[str, ...] = (),
        include_vendored: bool = False,
        workers: int = 0,
        head: Callable[[], str | None] = lambda: None,
        storage: str = "",
    ) -> None:
        """`workers` is the number of processes for large changes; 0 takes one per core. `head` tells the commit.

        `storage` is the URI under which the tables lie, "" for this machine.
        """
        self.context = context
        self.directory = index_directory(context.home)
        self.max_file_bytes = max_file_bytes
        self.exclude = exclude
        self.include_vendored = include_vendored
        self.workers = workers or os.cpu_count() or 1
        self._head = head
        self.repair = f'gardener index --rebuild --project "{context.name}"'
        self.storage = storage
        self.table = IndexTable(
            self.directory,
            repair=self.repair,
            storage=storage_for(storage, self.directory, context.id),
            current=lambda: self.manifest.facts().get("chunks_table", ""),
        )
        self.symbols = SymbolStore(
            self.directory,
            repair=self.repair.replace("--rebuild", "--repair"),
            table=lambda: self.table.chunks_table,
        )
        self.hashes = FileHashes(self.directory, self.table.storage)
        self._manifest: Manifest | None = None

    @property
    def manifest(self) -> Manifest:
        if self._manifest is None:
            self._manifest = Manifest(self.directory, repair=self.repair)
        return self._manifest

    def close(self) -> None:
        self.table.close()
        self.symbols.close()
        if self._manifest is not None:
            self._manifest.close()
            self._manifest = None

    # ---- comparing -----------------------------------------------------------------------------------

    def walk(self, *, explain: bool = False) -> WalkResult:
        """What there is to index. Raises PathNotFound when the project's folder is gone."""
        if not os.path.isdir(self.context.root):
            raise PathNotFound(
                f"The folder of project '{self.context.name}' is gone: {self.context.root}",
                next_step=f'gardener move "{self.context.name}" NEW_PATH',
            )
        return walk(
            self.context.root,
            max_file_bytes=self.max_file_bytes,
            exclude=self.exclude,
            include_vendored=self.include_vendored,
            explain=explain,
        )

    def difference(self, found: WalkResult | None = None) -> Difference:
        """Compares the disk with the manifest by size and modification time; reads no file content."""
        walked_at = time.time_ns()
        found = found or self.walk()
        entries = found.files
        known = dict(self.manifest.files())
        facts = self.manifest.facts()
        racy_after = int(facts.get("racy_after_ns", "0"))
        result = Difference(found=found, walked_at_ns=walked_at, head=facts.get("head") or None)
        for entry in entries:
            record = known.pop(entry.path, None)
            if record is None:
                result.changed.append((entry, ""))
            elif record.size != entry.size or record.mtime_ns != entry.mtime_ns:
                result.changed.append((entry, record.sha256))
            elif entry.mtime_ns >= racy_after:
                # Written in the same clock tick as the last update, or later: its time proves nothing.
                result.changed.append((entry, record.sha256))
            else:
                result.unchanged += 1
        result.removed = list(known)
        return result

    def _everything(self, found: WalkResult) -> Difference:
        """As `difference` would be if nothing were known."""
        return Difference(changed=[(entry, "") for entry in found.files])

    def pending(self) -> Difference:
        """Like `difference`, but files whose time alone has changed are read and left out when they are the same."""
        difference = self.difference()
        really: list[tuple[FileEntry, str]] = []
        for entry, sha256 in difference.changed:
            if sha256 and is_unchanged(self.context.root, entry, sha256, self.max_file_bytes):
                difference.unchanged += 1
            else:
                really.append((entry, sha256))
        difference.changed = really
        return difference

    # ---- updating ------------------------------------------------------------------------------------

    def update(
        self,
        *,
        progress: ProgressCallback | None = None,
        cancel: threading.Event | None = None,
        rebuild: bool = False,
        lock_timeout_s: float = 0.0,
        known_difference: Difference | None = None,
        patient: bool = False,
    ) -> IndexReport:
        """Makes the index say what the disk says. What it committed stays when it is interrupted.

        A rebuild happens beside the index that there is, which serves until the new one takes its place.
        `known_difference` is what `difference` or `pending` has just said, to save comparing again. `patient` is
        for somebody who waits: what can be tidied later is left.
        Raises LockedError while another process updates this project, Interrupted when `cancel` is set,
        PathNotFound, DiskFull, IndexDamaged.
        """
        started = time.monotonic()
        report = progress or (lambda _: None)
        lock = ProcessLock(project_lock(self.context.home), "gardener index", subject=f"'{self.context.name}'")
        lock.acquire(lock_timeout_s)
        try:
            report(IndexProgress("compare", 0, 0))
            reason = self._reason_to_rebuild(rebuild)
            head = self._head()
            given = None if reason else known_difference
            walked_at = given.walked_at_ns if given else time.time_ns()
            racy_after = walked_at - 20_000_000  # file systems stamp with the kernel's tick, 4-10 ms
            found = (given and given.found) or self.walk()
            if not reason:
                self._reconcile()
            difference = self._everything(found) if reason else given or self.difference(found)
            known_before = {} if reason else self.manifest.files()
            added, changed = self._write(difference, known_before, bool(reason), report, cancel)
            written = added + changed + len(difference.removed)
            compacted = bool(written or reason) and self.table.compact_if_needed(patient=patient)
            facts = {
                "format": INDEX_FORMAT,
                "head": head or "",
                "racy_after_ns": str(racy_after),
                "checked_at": str(time.time()),
            }
            if written or reason:
                facts["table_version"] = str(self.table.version())
            if written or "updated_at" not in self.manifest.facts():
                facts["updated_at"] = str(time.time())
                facts["vectors_complete"] = "0"  # until whoever makes vectors has looked
            records = self.manifest.files()
            facts |= _totals(records)
            self.manifest.commit(facts=facts)
            self.drop_stale_tables()
            if written or reason:
                self.hashes.record([self.table.chunks_table], pruned=compacted)
            report(IndexProgress("done", len(records), len(records)))
        finally:
            lock.release()
        if added + changed > IN_PROCESS_FILES:
            give_back()
        skipped = Counter(item.reason for item in found.skipped)
        skipped.update(record.skipped for record in records.values() if record.skipped)
        with_secrets = [record for record in records.values() if record.secrets]
        return IndexReport(
            added=added,
            changed=changed,
            removed=len(difference.removed),
            unchanged=difference.unchanged,
            files=sum(1 for record in records.values() if not record.skipped),
            chunks=sum(record.chunks for record in records.values()),
            lines=sum(record.lines for record in records.values()),
            skipped=dict(skipped),
            secrets=sum(len(record.secrets.split()) for record in with_secrets),
            secret_files=tuple(record.path for record in with_secrets),
            seconds=time.monotonic() - started,
            rebuilt=bool(reason),
            reason=reason,
        )

    def _reason_to_rebuild(self, asked: bool) -> str:
        if asked:
            try:
                self.manifest.files()
            except (IndexDamaged, SchemaTooNew):
                self._discard_manifest()
            return "asked for"
        facts = self.manifest.facts()
        if not facts.get("table_version"):
            return "first index"
        if facts.get("format") != INDEX_FORMAT:
            return f"the index has format {facts.get('format', 'unknown')}, this version writes {INDEX_FORMAT}"
        if facts.get("storage", "") != self.storage:
            return "it belongs in another place since index.storage was changed"
        if not self.table.exists():
            return "the table is missing"
        if not self.symbols.exists():
            return "the symbols are missing"
        return ""

    def drop_stale_tables(self, *, now: bool = False) -> list[str]:
        """Deletes chunk tables that do not count: never finished, or replaced so long ago that nobody reads them.

        `now` deletes those replaced a moment ago too. Call it under the project's lock. Returns their names.
        """
        if len(names := self.table.chunk_tables()) < 2:
            return []
        replaced, _, when = self.manifest.facts().get("replaced_table", "").partition(" ")
        young = replaced if when and not now and 0 <= time.time() - float(when) < REPLACED_TABLE_S else ""
        stale = [name for name in names if name not in (self.table.chunks_table, young)]
        for name in stale:
            self.table.remove_table(name)
            self.symbols.beside(name).destroy()
        return stale

    def _discard_manifest(self) -> None:
        if self._manifest is not None:
            self._manifest.close()
            self._manifest = None
        for suffix in ("", "-wal", "-shm"):
            path = os.path.join(self.directory, "manifest.db" + suffix)
            if os.path.exists(path):
                os.unlink(path)

    def _reconcile(self) -> None:
        """After a crash between the two halves of a commit: forget what the table says otherwise."""
        facts = self.manifest.facts()
        self.table.refresh()
        if facts.get("table_version") == str(self.table.version()):
            return
        in_table = self.table.file_hashes()
        known = self.manifest.files()
        doubtful = [
            path
            for path, record in known.items()
            if not record.skipped and record.chunks and in_table.get(path) != record.sha256
        ]
        orphans = [path for path in in_table if path not in known or known[path].skipped]
        self.manifest.commit(removed=doubtful)
        if orphans:
            self.table.replace_files(orphans, [])
        # The symbols may be one step behind the table, or ahead of the manifest: what neither confirms goes, and comes
        # back with its file.
        known = self.manifest.files()
        stale = [path for path in self.symbols.paths() if path not in known or known[path].skipped]
        if stale:
            self.symbols.replace(stale, ())
        self.table.ensure_words_index()

    def _write(
        self,
        difference: Difference,
        known: Mapping[str, FileRecord],
        from_nothing: bool,
        report: ProgressCallback,
        cancel: threading.Event | None,
    ) -> tuple[int, int]:
        """Prepares and commits in portions; returns how many files are new and how many have new content."""
        import pyarrow as pa

        pending: list[PreparedFile] = []
        rows: list[ChunkRow] = []
        batches = [arrow_table([])]
        """Of a first index, converted while the workers prepare what comes next."""
        fresh, words_missing, added, changed = from_nothing, False, 0, 0
        serving = self.table.chunks_table if from_nothing and self._serves() else ""
        name = self.table.free_name() if from_nothing else CHUNKS
        building = self.symbols.beside(name)
        records: list[FileRecord] = []
        """Of a rebuild beside an index that serves: they are committed in one transaction, at the end."""

        def flush(last: bool) -> None:
            nonlocal fresh, words_missing, added, changed
            removed = difference.removed if last else []
            replace_all = fresh or bool(serving)
            new = [item for item in pending if not item.unchanged]
            symbols: list[FileWithSymbols] = [
                (item.record.path, item.record.language, item.symbols) for item in new if not item.record.skipped
            ]
            if fresh:
                self.table.create(pa.concat_tables(batches), index_words=last, name=name)
                building.replace((), symbols, all_files=True)
                fresh, words_missing = False, not last
            elif from_nothing:
                self.table.append(pa.concat_tables(batches), name=name)
                building.append(symbols)
            elif new or removed:
                gone = [*removed, *(item.record.path for item in new)]
                self.table.replace_files(gone, rows)
                self.symbols.replace(gone, symbols)
            if last and words_missing:
                self.table.build_words_index(name)
            records.extend(
                # Only its time is news: language, lines and chunks stay what they were.
                known[item.record.path]._replace(size=item.record.size, mtime_ns=item.record.mtime_ns)
                if item.unchanged
                else item.record
                for item in pending
            )
            if last or not serving:
                facts = {"chunks_table": name, "storage": self.storage} if replace_all else {}
                if serving:
                    facts |= {"format": INDEX_FORMAT, "replaced_table": f"{serving} {time.time()}"}
                self.manifest.commit(changed=records, removed=removed, replace_all=replace_all, facts=facts)
                records.clear()
            added += sum(1 for item in new if item.record.path not in known)
            changed += sum(1 for item in new if item.record.path in known)
            pending.clear()
            rows.clear()
            del batches[1:]

        total = len(difference.changed)
        begun = time.monotonic()
        done = 0
        for prepared in self._prepare(difference.changed):
            if cancel is not None and cancel.is_set():
                raise Interrupted(
                    f"Indexing of '{self.context.name}' was interrupted; {done} of {total} files were read.",
                    next_step=f'gardener index --project "{self.context.name}"',
                )
            done += len(prepared)
            pending.extend(prepared)
            new_rows = [row for item in prepared for row in item.rows]
            if from_nothing:
                batches.append(arrow_table(new_rows))
            else:
                rows.extend(new_rows)
            elapsed = time.monotonic() - begun
            rate = done / elapsed if elapsed > 0.2 else None
            report(IndexProgress("read", done, total, rate, (total - done) / rate if rate else None))
            if len(rows) + sum(batch.num_rows for batch in batches) >= ROWS_PER_COMMIT:
                report(IndexProgress("write", done, total))
                flush(last=False)
        if pending or difference.removed or from_nothing:
            report(IndexProgress("write", total, total))
            flush(last=True)
        building.close()
        if from_nothing:
            self.table.refresh()
        return added, changed

    def complete_symbols(self, cancel: threading.Event | None = None) -> int:
        """Looks for the references of files whose symbols lack them: a large update leaves that for afterwards.

        Returns how many files it was. Takes no lock: a file that an update replaces meanwhile is left alone.
        """
        from gardener.index.file_symbols import placed_references

        done = 0
        while pending := self.symbols.pending(FILES_AT_ONCE):
            texts = self.table.texts([path for _, path, _ in pending])
            for file, path, language in pending:
                if cancel is not None and cancel.is_set():
                    return done
                definitions = self.symbols.definition_rows(file)
                text = texts.get(path, "")
                self.symbols.add_references(file, placed_references(language, text, definitions))
                done += 1
        return done

    def _serves(self) -> bool:
        """Whether there is an index that answers searches, well or badly."""
        return bool(self.manifest.facts().get("table_version")) and self.table.exists()

    def _prepare(self, files: Sequence[tuple[FileEntry, str]]) -> Iterator[list[PreparedFile]]:
        """Prepared files in batches, by worker processes; a handful of small files here in this process.

        A file that crashes this process is found by the note that is left before and taken away after: the next
        update then leaves everything to workers, which isolate it.
        """
        small = self.workers == 1 or (
            sum(entry.size for entry, _ in files) < IN_PROCESS_BYTES and len(files) < IN_PROCESS_FILES
        )
        if small and self.manifest.facts().get("preparing_here") != "1":
            self.manifest.commit(facts={"preparing_here": "1"})
            for batch in _batches(files):
                yield prepare_files(self.context.root, batch, self.max_file_bytes, with_references=True)
            self.manifest.commit(facts={"preparing_here": "0"})
            return
        with WorkerPool(self.workers) as pool:
            yield from pool.prepare(self.context.root, _batches(files), self.max_file_bytes, self.table.warm_up)
        self.manifest.commit(facts={"preparing_here": "0"})


def _batches(files: Sequence[tuple[FileEntry, str]]) -> list[list[tuple[FileEntry, str]]]:
    batches: list[list[tuple[FileEntry, str]]] = []
    size = BATCH_BYTES
    for item in files:
        if size >= BATCH_BYTES:
            batches.append([])
            size = 0
        batches[-1].append(item)
        size += item[0].size + 1000
    return batches


def _totals(records: Mapping[str, FileRecord]) -> dict[str, str]:
    """Sums that `list` and `status` show without reading all files' records."""
    indexed = [record for record in records.values() if not record.skipped]
    return {
        "files": str(len(indexed)),
        "chunks": str(sum(record.chunks for record in indexed)),
        "lines": str(sum(record.lines for record in indexed)),
        "bytes": str(sum(record.size for record in indexed)),
    }
