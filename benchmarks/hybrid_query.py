"""Row 6: a hybrid query in a warm process, against LanceDB's own flat hybrid search over the same chunks.

Ours is the whole search: the query's embedding, words, vectors, symbols, ranking, and each hit confirmed on the disk.
LanceDB gets the query's vector for nothing. The comparison of the whole tree with the disk is left out, because in the
app a watcher makes it; reindex.py measures it.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from benchmarks.embedded import embedded_django
from benchmarks.measure import WORK, Row, report, shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gardener.app import Gardener

ROUNDS = 5
TOP = 10
QUERIES = (
    "resolve a url path to a view", "where is the session cookie set", "get_or_create", "parse a multipart form upload",
    "render a template with a context", "detect changes for a migration", "upgrade a password hash at login",
    "prefix and version of a cache key", "handle an exception in middleware", "join tables for select_related",
    "escape html in template output", "validate an email address", "csrf token rotation", "QuerySet.bulk_create",
    "translate a string lazily", "parse an ISO date", "stream a large file as response", "weak reference to a receiver",
    "collect static files", "test client login", "atomic transaction savepoint", "format a number with separators",
    "paginate a list of objects", "permission required decorator", "inspect a database table", "serialize to xml",
    "resolve a relation in the admin", "geometry field from GeoJSON", "run a management command", "log a request error",
)  # fmt: skip


def main() -> int:
    from gardener.app import Gardener
    from gardener.index.search import SearchRequest

    home, _ = embedded_django()
    with Gardener(str(home)) as gardener:
        context = gardener.context("django")
        index = gardener.index(context)
        state = index.state()
        snapshot = index.searcher.snapshot()
        if snapshot.embedded_fraction < 1:
            raise RuntimeError("not every chunk has its vector: this run does not count")
        vectors = {query: gardener.embedder().embed([query])[0] for query in QUERIES}
        agree = _same_as_brute_force(gardener, snapshot, vectors)
        peer = _peer(snapshot, gardener.embedding.fingerprint)
        ours_s: list[float] = []
        peer_s: list[float] = []
        for round_number in range(ROUNDS + 1):
            for query in QUERIES:
                begun = time.perf_counter()
                result = index.searcher.search(SearchRequest(query, TOP), state)
                middle = time.perf_counter()
                found = _hybrid(peer, vectors[query], query)
                ended = time.perf_counter()
                if len(result.hits) < TOP or found.num_rows < TOP:
                    raise RuntimeError(f"too little was found for {query!r}: this run does not count")
                if round_number:  # the first round warms both
                    ours_s.append(middle - begun)
                    peer_s.append(ended - middle)
        chunks = snapshot.size
    middle_s = statistics.median(ours_s)
    p99 = statistics.quantiles(ours_s, n=100)[98]
    rows = [
        Row("hybrid query / LanceDB's own", shown(ours_s, "ms"), shown(peer_s, "ms"),
            middle_s / statistics.median(peer_s), 0.5),
        Row("p99 / p50", f"{p99 * 1000:.3g} ms", f"{middle_s * 1000:.3g} ms", p99 / middle_s, 3),
        Row("queries whose exact top 10 differ", str(len(QUERIES) - agree), str(len(QUERIES)),
            (len(QUERIES) - agree) / len(QUERIES), 0),
    ]  # fmt: skip
    title = f"Row 6. Hybrid query over {chunks:,} chunks, warm, {len(QUERIES)} queries, {ROUNDS} times each"
    return report("hybrid_query", title, rows, {"chunks": chunks, "queries": list(QUERIES)})


def _same_as_brute_force(gardener: Gardener, snapshot: Any, vectors: dict[str, NDArray[np.float32]]) -> int:
    """For how many queries the ten best cosines are those of brute force in float64 over the stored vectors."""
    import numpy as np

    stored = snapshot.table.vectors(gardener.embedding.fingerprint)
    if stored is None:
        raise RuntimeError("there are no stored vectors: this run does not count")
    names, matrix = stored
    row = {name: position for position, name in enumerate(names)}
    exact = matrix[[row[name] for name in snapshot.meta["hash"].to_pylist()]].astype(np.float64)
    agree = 0
    for vector in vectors.values():
        expected = exact @ vector.astype(np.float64)
        best = np.argsort(-snapshot.cosines(vector), kind="stable")[:TOP]
        # By value: chunks of equal content are equally good.
        agree += bool(np.allclose(np.sort(expected)[::-1][:TOP], expected[best], atol=1e-6, rtol=0))
    return agree


def _peer(snapshot: Any, fingerprint: str) -> Any:
    """A LanceDB table of the same chunks, its words indexed, its vectors searched flat; as its own guide makes one."""
    import lancedb
    import numpy as np
    import pyarrow as pa
    from lancedb.index import FTS

    names, matrix = snapshot.table.vectors(fingerprint)
    row = {name: position for position, name in enumerate(names)}
    chosen = matrix[[row[name] for name in snapshot.meta["hash"].to_pylist()]].astype(np.float32)
    texts = {item["_rowid"]: item["text"] for start in range(0, snapshot.size, 5000)
             for item in snapshot.table.rows(snapshot.row_ids[start : start + 5000].tolist())}  # fmt: skip
    flat = pa.FixedSizeListArray.from_arrays(pa.array(chosen.reshape(-1)), chosen.shape[1])
    data = pa.table({
        "path": snapshot.meta["path"], "text": pa.array([texts[int(i)] for i in snapshot.row_ids]), "vector": flat,
    })  # fmt: skip
    folder = WORK / "homes" / "lancedb-hybrid"
    shutil.rmtree(folder, ignore_errors=True)
    table = lancedb.connect(str(folder)).create_table("chunks", data)
    table.create_index("text", config=FTS(with_position=False))
    table.wait_for_index(["text_idx"], timeout=timedelta(minutes=5))
    return table


def _hybrid(table: Any, vector: NDArray[np.float32], query: str) -> Any:
    from lancedb.rerankers import RRFReranker

    search = table.search(query_type="hybrid", vector_column_name="vector", fts_columns="text")
    return search.vector(vector).text(query).rerank(RRFReranker(K=60)).limit(TOP).select(["path", "text"]).to_arrow()


if __name__ == "__main__":
    sys.exit(main())
