"""`make bench-retrieval`: every system on every package, and the tables of docs/retrieval.md."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.measure import RESULTS, WORK
from benchmarks.retrieval import systems
from benchmarks.retrieval.corpora import HOME, Corpus, Indexed, Search, prepare
from benchmarks.retrieval.packages import PACKAGES, fetch
from gardener.evaluation.metrics import DEPTH, Scores, difference, intervals, score
from gardener.evaluation.questions import DEVELOPMENT, HELD_OUT, Question, of_part
from gardener.index.languages import language_of

if TYPE_CHECKING:
    from gardener.models.base import Embedder

GARDENER, GARDENER_STATIC, SEMBLE = "gardener", "gardener, wordllama", "semble, wordllama"
ORDER = (
    GARDENER, GARDENER_STATIC, SEMBLE, "lancedb hybrid, minilm", "rrf bm25 + minilm", "minilm", "bm25", "ripgrep",
)  # fmt: skip


class Asked(NamedTuple):
    """One question and what each system made of it."""

    package: str
    question: Question
    language: str
    scores: dict[str, Scores]


def main(arguments: Sequence[str] = ()) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.retrieval", description=__doc__)
    parser.add_argument("--held-out", action="store_true", help="ask the held-out half instead: at the end, once")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="only this package; repeatable")
    parser.add_argument(
        "--git", action="append", default=[], metavar="PATH", help="a git repository too, with commit questions"
    )
    parser.add_argument("--no-packages", action="store_true", help="only what --git names")
    parser.add_argument(
        "--limit", type=int, default=40, metavar="N", help="questions per package and kind, both halves"
    )
    parser.add_argument("--code-only", action="store_true", help="leave prose and data out of what is searched")
    options = parser.parse_args(list(arguments))
    part = HELD_OUT if options.held_out else DEVELOPMENT
    begun = time.monotonic()
    asked: list[Asked] = []
    missing: list[str] = []
    with ExitStack() as stack:
        minilm = stack.enter_context(_minilm())
        static = systems.Wordllama()
        for title, corpus in _corpora(options, missing):
            questions = of_part(corpus.questions, part)
            if not questions:
                print(f"{title}: no questions in this half", flush=True)
                continue
            asked += _ask(corpus, questions, minilm, static)
            _progress(title, corpus, asked, time.monotonic() - begun)
    if not asked:
        print("Nothing was asked.", file=sys.stderr)
        return 1
    name = part + (", code only" if options.code_only else "") + (", git" if options.no_packages else "")
    name += ", some packages" if options.only else ""
    _report(name, asked, missing, time.monotonic() - begun)
    return 1 if missing else 0


class _minilm:  # noqa: N801 - a context manager
    def __enter__(self) -> Embedder:
        from gardener.models.embeddings import load_embedder

        self.embedder = load_embedder(str(HOME / "models"))
        return self.embedder

    def __exit__(self, *_: object) -> None:
        self.embedder.close()


def _corpora(options: argparse.Namespace, missing: list[str]) -> Iterator[tuple[str, Corpus]]:
    """What can be had; what cannot is named, so that the tables say it."""
    if not options.no_packages:
        for package in PACKAGES:
            if options.only and package.name not in options.only:
                continue
            try:
                source = fetch(package)
            except (RuntimeError, OSError) as error:
                print(f"{package.title}: {error}", file=sys.stderr, flush=True)
                missing.append(package.title)
                continue
            yield package.title, prepare(package.title, source, options.limit, code_only=options.code_only)
    for path in options.git:
        source = Path(path).resolve()
        yield source.name, prepare(f"{source.name} (git)", source, options.limit, code_only=options.code_only)


def _ask(corpus: Corpus, questions: list[Question], minilm: Embedder, static: systems.Wordllama) -> list[Asked]:
    with ExitStack() as stack:
        ours = Indexed(corpus, minilm, minilm.dimensions)
        stack.callback(ours.close)
        ours_static = Indexed(corpus, static, static.dimensions)
        stack.callback(ours_static.close)
        chunks = corpus.chunks = ours.chunks()
        vectors = ours.vectors(chunks)
        semble = systems.Semble(corpus)
        stack.callback(semble.close)
        words = systems.bm25(chunks)
        cosine = systems.by_vector(chunks, vectors, minilm)
        searches: dict[str, Search | None] = {
            GARDENER: ours.search,
            GARDENER_STATIC: ours_static.search,
            SEMBLE: semble.search,
            "lancedb hybrid, minilm": systems.lancedb_hybrid(chunks, vectors, minilm, WORK / "lancedb"),
            "rrf bm25 + minilm": systems.fused(words, cosine),
            "minilm": cosine,
            "bm25": words,
            "ripgrep": systems.ripgrep(corpus, chunks),
        }
        return [
            Asked(
                corpus.title,
                question,
                language_of(question.relevant[0].path, ""),
                {
                    name: score(question, search(question.query, DEPTH))
                    for name, search in searches.items()
                    if search is not None
                },
            )
            for question in questions
        ]


def _progress(title: str, corpus: Corpus, asked: Sequence[Asked], elapsed: float) -> None:
    here = [one for one in asked if one.package == corpus.title]
    means = {name: sum(one.scores[name].mrr for one in here) / len(here) for name in here[0].scores}
    best = "  ".join(f"{name} {mean:.3f}" for name, mean in sorted(means.items(), key=lambda item: -item[1])[:4])
    print(
        f"{title}: {len(corpus.chunks):,} chunks, {len(here)} questions, {elapsed:.0f} s so far; MRR@10: {best}",
        flush=True,
    )


# ---- tables ---------------------------------------------------------------------------------------------


def _report(part: str, asked: Sequence[Asked], missing: Sequence[str], elapsed: float) -> None:
    tables = {"all questions": list(asked)}
    for kind in sorted({one.question.kind for one in asked}):
        tables[f"{kind} questions"] = [one for one in asked if one.question.kind == kind]
    if len(tables) == 2:
        del tables["all questions"]
    by_language: dict[str, list[Asked]] = {}
    for one in asked:
        by_language.setdefault(one.language or "other", []).append(one)
    results = {title: _scores(rows) for title, rows in tables.items()}
    names = [name for name in ORDER if all(name in one.scores for one in asked)]
    for title, rows in tables.items():
        packages = len({one.package for one in rows})
        print(f"\n{part}: {title}, {len(rows)} from {packages} packages\n")
        _print_table(names, results[title])
    print(f"\n{part}: MRR@10 by language\n")
    _print_languages(names, by_language)
    if missing:
        print(f"\nNot measured, because it could not be had: {', '.join(missing)}")
    folder = RESULTS / "local"
    folder.mkdir(parents=True, exist_ok=True)
    data = {
        "benchmark": "retrieval",
        "part": part,
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seconds": round(elapsed, 1),
        "machine": {"cores": os.cpu_count(), "system": platform.platform(), "python": sys.version.split()[0]},
        "missing": list(missing),
        "tables": results,
        "by_language": {language: _scores(rows) for language, rows in by_language.items()},
        "questions": [
            {
                "package": one.package,
                "language": one.language,
                "kind": one.question.kind,
                "id": one.question.id,
                "query": one.question.query,
                "mrr": {name: round(scores.mrr, 4) for name, scores in one.scores.items()},
                "ndcg": {name: round(scores.ndcg, 4) for name, scores in one.scores.items()},
            }
            for one in asked
        ],
    }
    target = folder / f"retrieval-{part.replace(', ', '-').replace(' ', '-')}.json"
    target.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"\n{elapsed:.0f} s; every question's figures are in {target.relative_to(RESULTS.parent.parent)}")


def _scores(rows: Sequence[Asked]) -> dict[str, Any]:
    """Per system the metrics with intervals, and how far Gardener is ahead, by a paired bootstrap."""
    table: dict[str, Any] = {}
    for name in rows[0].scores:
        values = intervals([one.scores[name] for one in rows])
        table[name] = {metric: [round(value, 4) for value in interval] for metric, interval in values.items()}
        reference = GARDENER_STATIC if name == SEMBLE else GARDENER
        ahead = difference([one.scores[name].mrr for one in rows], [one.scores[reference].mrr for one in rows])
        table[name]["ahead"] = [round(value, 4) for value in ahead]
    return {"questions": len(rows), "systems": table}


def _print_table(names: Sequence[str], result: dict[str, Any]) -> None:
    lines: list[tuple[str, ...]] = [("system", "MRR@10", "NDCG@10", "recall@10", "gardener ahead, MRR@10")]
    for name in names:
        row = result["systems"][name]
        cells = [f"{mean:.3f} ({low:.3f}-{high:.3f})" for mean, low, high in (row["mrr"], row["ndcg"])]
        mean, low, high = row["ahead"]
        ahead = "" if name == GARDENER else f"{mean:+.3f} ({low:+.3f} to {high:+.3f})"
        lines.append((name, *cells, f"{row['recall_10'][0]:.3f}", ahead))
    _print_aligned(lines)
    print("\n95 % bootstrap intervals over questions. semble is held against Gardener with the same vectors.")


def _print_languages(names: Sequence[str], by_language: dict[str, list[Asked]]) -> None:
    lines: list[tuple[str, ...]] = [("language", "n", *(_short(name) for name in names))]
    for language, rows in sorted(by_language.items(), key=lambda item: -len(item[1])):
        means = [sum(one.scores[name].mrr for one in rows) / len(rows) for name in names]
        lines.append((language, str(len(rows)), *(f"{mean:.3f}" for mean in means)))
    _print_aligned(lines)


def _short(name: str) -> str:
    return {GARDENER_STATIC: "gardener-wl", SEMBLE: "semble-wl"}.get(name, name.split(" ")[0])


def _print_aligned(lines: Sequence[Sequence[str]]) -> None:
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
