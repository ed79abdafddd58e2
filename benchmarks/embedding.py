"""Row 2: vectors of Django's chunks by our embedder, against plain sentence-transformers with the same
threads.

Speed and quality come from the same chunks in the same run. Quality: the first paragraph of a docstring has
to find the chunk that it was cut out of, among all others (MRR@10 and recall@10); our vectors may lose at
most 1 % of either.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.corpus import DJANGO, sdist
from benchmarks.measure import RESULTS, TOP, WORK, Row, in_turn, ratio, report, seconds, shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SLICE = 250
BATCH = 32
"""As the indexer hands them over."""
SEED = 5
MODELS = WORK / "homes" / "embedding" / "models"
_DOCSTRING = re.compile(r'[rRuU]?("""|\'\'\')(.*?)\1', re.DOTALL)

PROCESS = """
import json, sys, time
begun = time.perf_counter()
from gardener.models.embeddings import load_embedder
embedder = load_embedder(sys.argv[1])
loaded = time.perf_counter()
embedder.embed(["where is the session checked?"])
first, used = time.perf_counter(), time.process_time()

def resident(key="VmRSS"):
    if sys.platform != "linux":
        return None
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) // 1024 for line in status if line.startswith(key))

before = resident()
texts = json.load(sys.stdin)
for start in range(0, len(texts), 32):
    embedder.embed(texts[start : start + 32])
after = resident()
embedder.close()
print(json.dumps({
    "load_ms": (loaded - begun) * 1000,
    "first_vector_ms": (first - begun) * 1000,
    "first_vector_cpu_ms": used * 1000,
    "rss_loaded_mb": before,
    "rss_after_mb": after,
    "rss_closed_mb": resident(),
    "rss_peak_mb": resident("VmHWM"),
    "loaded_heavy": sorted({"torch", "transformers", "onnx"} & set(sys.modules)),
}))
"""


class Corpus(NamedTuple):
    texts: list[str]
    questions: list[tuple[str, int]]
    """A docstring's first paragraph, and the position of the chunk that it came from."""


class Quality(NamedTuple):
    mrr: float
    recall: float


def django_chunks(count: int) -> Corpus:
    """Chunks as the indexer makes them, without their docstrings, and those docstrings as
    questions."""
    from gardener.index.chunker import chunk_file
    from gardener.index.prepare import embedding_text

    texts: dict[str, str] = {}
    root = sdist(DJANGO) / "django"
    for path in sorted(root.rglob("*.py")):
        for chunk in chunk_file(path.relative_to(root).as_posix(), path.read_text("utf-8", "replace"), "python"):
            question = " ".join(chunk.docstring.split("\n\n")[0].split())
            bare, removed = _DOCSTRING.subn("", chunk.text, count=1) if question else (chunk.text, 0)
            texts.setdefault(embedding_text(chunk.symbol, chunk.signature, bare), question if removed else "")
    chosen = random.Random(SEED).sample(sorted(texts), count)
    questions = [(texts[text], n) for n, text in enumerate(chosen) if len(texts[text].split()) >= 5]
    return Corpus(chosen, questions)


def quality(questions: NDArray[np.float32], chunks: NDArray[np.float32], corpus: Corpus) -> Quality:
    scores = questions @ chunks.T
    ranks = [1 + int((row > row[right]).sum()) for row, (_, right) in zip(scores, corpus.questions, strict=True)]
    hits = [rank for rank in ranks if rank <= 10]
    return Quality(sum(1 / rank for rank in hits) / len(ranks), len(hits) / len(ranks))


def plain_sentence_transformers(threads: int) -> Any:
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    from sentence_transformers import SentenceTransformer

    from gardener.models.embedder_files import packaged_files

    torch.set_num_threads(threads)
    return SentenceTransformer(packaged_files(), device="cpu")


def first_use() -> float:
    """Seconds from the start of a process until the export is made, in an empty folder."""
    folder = WORK / "homes" / "embedding" / f"first-{os.getpid()}-{time.time_ns()}"
    script = "import sys; from gardener.models.embeddings import load_embedder; load_embedder(sys.argv[1])"
    return seconds(lambda: subprocess.run([sys.executable, "-c", script, str(folder)], cwd=TOP, check=True))


def main(arguments: Sequence[str] = ()) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the results there too")
    parser.add_argument("--chunks", type=int, default=3_000)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args(list(arguments))

    import numpy as np

    from gardener.models.embeddings import load_embedder

    corpus = django_chunks(options.chunks)
    ours = load_embedder(str(MODELS), threads=options.threads)
    peer = plain_sentence_transformers(options.threads)
    made: tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]] = ([], [])
    slices = [corpus.texts[start : start + SLICE] for start in range(0, options.chunks, SLICE)]
    turns = (iter(slices), iter(slices))
    cpu = [0.0, 0.0]

    def embed(which: int) -> float:
        part = next(turns[which])
        used, begun = time.process_time(), time.perf_counter()
        if which:
            vectors = peer.encode(part, normalize_embeddings=True, show_progress_bar=False)
        else:
            order = sorted(range(len(part)), key=lambda n: len(part[n]))
            vectors = np.empty((len(part), ours.dimensions), np.float32)
            for start in range(0, len(part), BATCH):
                batch = order[start : start + BATCH]
                vectors[batch] = ours.embed([part[n] for n in batch])
        took = time.perf_counter() - begun
        cpu[which] += time.process_time() - used
        made[which].append(vectors)
        return took

    ours.embed(corpus.texts[:BATCH])
    peer.encode(corpus.texts[:BATCH])
    first, second = in_turn(lambda: embed(0), lambda: embed(1), len(slices), warmup=0)
    asked = [question for question, _ in corpus.questions]
    own, plain = np.concatenate(made[0]), np.concatenate(made[1])
    own_quality = quality(ours.embed(asked), own, corpus)
    plain_quality = quality(peer.encode(asked, normalize_embeddings=True), plain, corpus)
    one, one_peer = in_turn(
        lambda: seconds(lambda: ours.embed([asked[0]])),
        lambda: seconds(lambda: peer.encode([asked[0]], show_progress_bar=False)),
        50,
    )
    ours.close()
    process = json.loads(
        subprocess.run(
            [sys.executable, "-c", PROCESS, str(MODELS)],
            cwd=TOP, input=json.dumps(corpus.texts), capture_output=True, text=True, check=True,
        ).stdout
    )  # fmt: skip
    if process["loaded_heavy"]:
        raise RuntimeError(f"embedding loaded {process['loaded_heavy']}: this run does not count")

    def lost(what: str, mine: float, theirs: float) -> Row:
        return Row(what, f"{mine:.4f}", f"{theirs:.4f}", theirs / mine, 1 / 0.99)

    rows = [
        Row(f"{SLICE} chunks / plain encode", shown(first), shown(second), ratio(first, second), 0.5),
        Row("CPU seconds for all chunks", f"{cpu[0]:.1f} s", f"{cpu[1]:.1f} s", cpu[0] / cpu[1], 0.5),
        lost("MRR@10 (theirs / ours)", own_quality.mrr, plain_quality.mrr),
        lost("recall@10 (theirs / ours)", own_quality.recall, plain_quality.recall),
        Row("one question, warm", shown(one, "ms"), shown(one_peer, "ms"), ratio(one, one_peer), 0.5),
    ]
    details = {
        "threads": options.threads,
        "chunks": options.chunks,
        "questions": len(corpus.questions),
        "chunks_per_second": options.chunks / sum(first),
        "peer_chunks_per_second": options.chunks / sum(second),
        "peer_max_tokens": peer.max_seq_length,
        "cosine_to_peer_mean": float((own * plain).sum(axis=1).mean()),
        "first_use_s": first_use(),
        "process": process,
    }
    code = report("embedding", "Row 2. Vectors of the same chunks, same threads", rows, details)
    print("\n" + json.dumps(details, indent=1))
    if options.json:
        options.json.write_bytes((RESULTS / "local" / "embedding.json").read_bytes())
    return code


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
