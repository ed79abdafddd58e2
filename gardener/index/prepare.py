"""Turns files into rows: read, classify, redact, chunk, words. Pure CPU work that runs in worker processes.

Kept free of pyarrow and lancedb, so that a spawned worker is ready in a tenth of a second.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from gardener.index.file_symbols import NO_SYMBOLS, FileSymbols, file_symbols
from gardener.index.manifest import FileRecord
from gardener.index.table import ChunkRow
from gardener.index.walk import FileEntry
from gardener.index.words import index_words
from gardener.types import Chunk

EMBEDDING_TEXT_LIMIT = 6000
"""Characters of a chunk that are embedded; several times what the embedder's window holds."""


class PreparedFile(NamedTuple):
    record: FileRecord
    rows: tuple[ChunkRow, ...]
    unchanged: bool
    """The bytes are those of the known hash: only size and time are news, there are no rows."""
    symbols: FileSymbols = NO_SYMBOLS


def embedding_text(symbol: str, signature: str, text: str) -> str:
    """What an embedder reads of a chunk. Holds no path, so that renaming a file keeps its vectors."""
    first_line = text.lstrip()[:200]
    head = symbol if not signature or signature[:60] in first_line else f"{symbol}\n{signature}"
    return f"{head}\n{text}"[:EMBEDDING_TEXT_LIMIT]


def content_hash(embedded: str) -> str:
    """The content address of an embedding text: 128 bits of BLAKE2b, hexadecimal."""
    return hashlib.blake2b(embedded.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def chunk_row(chunk: Chunk, file_sha256: str, path_words: str) -> ChunkRow:
    """The row of a chunk. Symbol words come twice: a definition should outrank a mention."""
    symbol_words = index_words(chunk.symbol) if chunk.symbol else ""
    return (  # in the order of table.COLUMNS
        chunk.path,
        chunk.start_line,
        chunk.end_line,
        chunk.language,
        chunk.kind,
        chunk.symbol,
        chunk.signature,
        chunk.docstring,
        chunk.text,
        f"{path_words} {symbol_words} {symbol_words} {index_words(chunk.text)}",
        content_hash(embedding_text(chunk.symbol, chunk.signature, chunk.text)),
        file_sha256,
    )


def prepare_file(
    root: str, entry: FileEntry, known_sha256: str, max_file_bytes: int, *, with_references: bool = True
) -> PreparedFile:
    """Reads and chunks one file. A file that cannot be indexed gives a record that says why, and no rows."""
    from gardener.index.chunker import chunks_and_items
    from gardener.index.classify import classify, decode
    from gardener.index.languages import language_of
    from gardener.index.redact import redact
    from gardener.index.walk import SkippedFile, read_file

    def skipped(reason: str, sha256: str = "") -> PreparedFile:
        return PreparedFile(
            FileRecord(entry.path, entry.size, entry.mtime_ns, sha256, "", 0, 0, skipped=reason), (), False
        )

    try:
        data = read_file(root, entry, max_file_bytes)
    except SkippedFile as error:
        return skipped(error.reason)
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 == known_sha256:
        return PreparedFile(FileRecord(entry.path, entry.size, entry.mtime_ns, sha256, "", 0, 0), (), True)
    reason = classify(entry.path, data)
    if reason is not None:
        return skipped(reason, sha256)
    redaction = redact(decode(data), entry.path)
    text = redaction.text
    language = language_of(entry.path, text[:200].split("\n", 1)[0])
    chunks, items = chunks_and_items(entry.path, text, language)
    path_words = index_words(entry.path)
    rows = tuple(chunk_row(chunk, sha256, path_words) for chunk in chunks)
    record = FileRecord(
        path=entry.path,
        size=entry.size,
        mtime_ns=entry.mtime_ns,
        sha256=sha256,
        language=language,
        lines=chunks[-1].end_line if chunks else 0,
        chunks=len(rows),
        secrets=" ".join(f"{finding.line}:{finding.kind}" for finding in redaction.findings),
    )
    return PreparedFile(record, rows, False, file_symbols(language, text, items, with_references=with_references))


def is_unchanged(root: str, entry: FileEntry, known_sha256: str, max_file_bytes: int) -> bool:
    """Whether a file still has the bytes of the known hash. Reads it, and no more."""
    from gardener.index.walk import SkippedFile, read_file

    try:
        return hashlib.sha256(read_file(root, entry, max_file_bytes)).hexdigest() == known_sha256
    except SkippedFile:
        return False


def prepare_files(
    root: str, files: Sequence[tuple[FileEntry, str]], max_file_bytes: int, *, with_references: bool = False
) -> list[PreparedFile]:
    """`prepare_file` for a batch of (entry, known SHA-256 or "").

    Without references, unless told otherwise: they are a fifth of the work, and search does not need them.
    """
    return [prepare_file(root, entry, known, max_file_bytes, with_references=with_references) for entry, known in files]
