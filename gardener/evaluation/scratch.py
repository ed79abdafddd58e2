"""A copy of a project without its functions' documentation, indexed for one evaluation and then removed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from gardener.index.undocumented import Documented, without_documentation
from gardener.locks import ProcessLock
from gardener.paths import ensure_directory, open_private
from gardener.project_context import ProjectContext

if TYPE_CHECKING:
    import threading

    from gardener.index.manifest import FileRecord

FOLDER = "evaluation"


class Scratch(NamedTuple):
    """The copy as a project of its own, and what its documentation said: (path, language, function)."""

    context: ProjectContext
    documented: list[tuple[str, str, Documented]]


@contextmanager
def undocumented_copy(
    context: ProjectContext,
    records: Mapping[str, FileRecord],
    *,
    max_file_bytes: int,
    redact: Callable[[str, str], str],
    progress: Callable[[int, int], None] = lambda done, total: None,
    cancel: threading.Event | None = None,
) -> Iterator[Scratch]:
    """The indexed files of a project, secrets left out, below its own data folder for as long as the context lasts.

    `redact(text, path)` is what was applied before indexing. Raises LockedError while another process evaluates the
    same project, Interrupted when `cancel` is set.
    """
    from gardener.errors import Interrupted
    from gardener.index.classify import decode
    from gardener.index.walk import FileEntry, SkippedFile, read_file

    lock = ProcessLock(os.path.join(context.home, f"{FOLDER}.lock"), "gardener eval", subject=f"'{context.name}'")
    lock.acquire()
    home = os.path.join(context.home, FOLDER)
    try:
        shutil.rmtree(home, ignore_errors=True)  # of a run that was killed
        root = os.path.join(home, "source")
        ensure_directory(root)
        documented: list[tuple[str, str, Documented]] = []
        for done, (path, record) in enumerate(sorted(records.items())):
            if cancel is not None and cancel.is_set():
                raise Interrupted("The evaluation was interrupted; nothing was recorded.", next_step="gardener eval")
            progress(done, len(records))
            if record.skipped:
                continue
            try:
                data = read_file(context.root, FileEntry(path, record.size, record.mtime_ns), max_file_bytes)
            except SkippedFile:
                continue  # gone since: then it is not in the copy, and no question asks for it
            bare = without_documentation(path, redact(decode(data), path))
            documented += [(path, record.language, function) for function in bare.documented]
            target = os.path.join(root, path)
            ensure_directory(os.path.dirname(target))
            # Not write_private: what is removed in a minute need not survive a power cut, file by file.
            with open(target, "xb", opener=open_private) as opened:
                opened.write(bare.text.encode("utf-8", "surrogateescape"))
        yield Scratch(context.replace(id=f"{context.id}-{FOLDER}", root=root, home=home), documented)
    finally:
        shutil.rmtree(home, ignore_errors=True)
        lock.release()
