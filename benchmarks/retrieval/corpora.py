"""Undocumented copies of packages, their chunks and vectors, and the questions that their documentation asked."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measure import WORK
from gardener.evaluation.mining import commit_questions, documentation_questions, sample
from gardener.evaluation.questions import Question
from gardener.index.languages import language_of
from gardener.index.project_index import ProjectIndex
from gardener.index.rank import ROLE_DATA, ROLE_PROSE, role_of
from gardener.index.search import QueryEmbedder
from gardener.index.undocumented import without_documentation
from gardener.index.vectors import VectorStore
from gardener.project_context import ProjectContext

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from gardener.index.embed import TextEmbedder
    from gardener.types import SearchHit

HOME = WORK / "homes" / "retrieval"
MOST_FILE_BYTES = 1_000_000
_LEFT_BEHIND = frozenset((".git", "node_modules", ".gitignore", ".ignore", ".gardenerignore"))
"""Not copied: what another tool's rules would leave out must not depend on the tool."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """What every system but semble ranks: a place and the text that it may read."""

    path: str
    start_line: int
    end_line: int
    symbol: str
    text: str
    hash: str


@dataclass
class Corpus:
    """One package. `copy` is what is searched."""

    title: str
    copy: Path
    questions: list[Question] = field(default_factory=list)
    chunks: list[Chunk] = field(default_factory=list)


def prepare(title: str, source: Path, most_questions: int, *, code_only: bool = False) -> Corpus:
    """Copies the sources without their functions' documentation and mines the questions.

    `code_only` leaves prose and data out of the copy, which Gardener puts last and plain rankings do not.

    Commit questions come with them when `source` is a git repository; they are asked of the same copy.
    """
    copy = WORK / "undocumented" / title.replace("/", "-").replace(" ", "-")
    shutil.rmtree(copy, ignore_errors=True)
    documented = []
    copied: set[str] = set()
    for path, text in _sources(source):
        language = language_of(path, text[:200].split("\n", 1)[0])
        if code_only and role_of(path, language) in (ROLE_PROSE, ROLE_DATA):
            continue
        bare = without_documentation(path, text)
        documented += [(path, language, function) for function in bare.documented]
        target = copy / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(bare.text, encoding="utf-8", newline="")
        copied.add(path)
    questions = sample(documentation_questions(documented), most_questions)
    if (source / ".git").exists():
        questions += sample(commit_questions(str(source), copied), most_questions)
    return Corpus(title, copy, questions)


def _sources(folder: Path) -> Iterator[tuple[str, str]]:
    for directory, folders, names in os.walk(folder):
        folders[:] = sorted(set(folders) - _LEFT_BEHIND)
        for name in sorted(set(names) - _LEFT_BEHIND):
            file = Path(directory, name)
            if file.is_symlink() or file.stat().st_size > MOST_FILE_BYTES:
                continue
            try:
                text = file.read_bytes().decode("utf-8")
            except UnicodeDecodeError:
                continue
            yield file.relative_to(folder).as_posix(), text


class Indexed:
    """Gardener's index of a corpus with the vectors of one embedder, complete."""

    def __init__(self, corpus: Corpus, embedder: TextEmbedder, dimensions: int) -> None:
        from gardener.index.embed import embed_missing
        from gardener.paths import Paths
        from gardener.settings import load_settings

        self.embedder = embedder
        home = HOME / "projects" / f"{corpus.copy.name}-{embedder.fingerprint}"
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        context = ProjectContext(home.name[-12:], corpus.title, str(corpus.copy), str(home))
        self.store = VectorStore(str(HOME / "embeddings"), embedder.fingerprint, dimensions)
        asking = QueryEmbedder(embedder.fingerprint, embedder.embed, lambda: self.store)
        settings = load_settings(Paths(str(HOME)), flags={"index.include_vendored": True})
        self.index = ProjectIndex(context, settings, query_embedder=lambda: asking, head=lambda: None)
        self.index.update()
        self.report = embed_missing(
            context, self.index.indexer.table, self.store, lambda: embedder, embedder.fingerprint
        )
        if self.report.remaining:
            raise RuntimeError(f"{self.report.remaining} chunks of {corpus.title} have no vector")

    def search(self, query: str, limit: int) -> Sequence[SearchHit]:
        from gardener.index.search import SearchRequest
        from gardener.types import IndexState

        return self.index.searcher.search(SearchRequest(query, limit), IndexState(None, True, 1.0)).hits

    def chunks(self) -> list[Chunk]:
        """Every chunk, in the order of the table."""
        snapshot = self.index.searcher.snapshot()
        rows: list[dict[str, Any]] = []
        for start in range(0, snapshot.size, 1000):
            rows += self.index.indexer.table.rows([int(row) for row in snapshot.row_ids[start : start + 1000]])
        return [
            Chunk(row["path"], row["start_line"], row["end_line"], row["symbol"], row["text"], row["hash"])
            for row in rows
        ]

    def vectors(self, chunks: Sequence[Chunk]) -> NDArray[np.float32]:
        """Shape (len(chunks), dimensions)."""
        import numpy as np

        names, found = self.store.get([chunk.hash for chunk in chunks])
        row_of = {name: row for row, name in enumerate(names)}
        return np.asarray(found, np.float32)[[row_of[chunk.hash] for chunk in chunks]]

    def close(self) -> None:
        self.index.close()
        self.store.close()


Search = Callable[[str, int], "Sequence[Any]"]
"""A query and how many hits are wanted; hits best first, each with path, start_line, end_line and symbol."""
