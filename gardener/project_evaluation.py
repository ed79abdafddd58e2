"""Evaluates search on one project: its own questions or a file's, with the index and the vectors that it has."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from gardener.errors import NotFoundError

if TYPE_CHECKING:
    from gardener.app import Gardener
    from gardener.evaluation.evaluate import Evaluation
    from gardener.evaluation.questions import Question
    from gardener.evaluation.record import Comparison
    from gardener.index.project_index import ProjectIndex
    from gardener.types import ProjectContext, SearchHit

DEFAULT_LIMIT = 150
WAIT_FOR_VECTORS_S = 1800.0
"""After `gardener add` a background process, or the app, makes the project's vectors; its work is not done twice."""
WAIT_FOR_INDEX_S = 60.0


class EvaluationRequest(NamedTuple):
    questions: Sequence[Question] | None = None
    """None mines them from the project."""
    kinds: tuple[str, ...] = ("documentation", "commit")
    part: str = "development"
    limit: int = DEFAULT_LIMIT
    """Most questions of each mined kind, counted before the part is chosen."""
    vectors: bool = True
    gate: bool = False
    """A result that is worse than the last one is recorded, but the next one is not held against it."""


class EvaluationReport(NamedTuple):
    evaluation: Evaluation
    comparison: Comparison | None
    """With the last one that asked the same; None when there is none."""


Progress = Callable[[str, int, int], None]
"""Told a phase ("copy", "index", "vectors", "ask"), how much of it is done, and how much there is."""


def evaluate_project(
    gardener: Gardener,
    context: ProjectContext,
    request: EvaluationRequest,
    progress: Progress = lambda phase, done, total: None,
    cancel: threading.Event | None = None,
) -> EvaluationReport:
    """Evaluates and records. Every project's index is brought up to date first.

    Raises NotFoundError when the project has no questions to mine, UsageError, LockedError, Interrupted, and whatever
    indexing raises.
    """
    from gardener.evaluation import record
    from gardener.evaluation.evaluate import evaluate
    from gardener.evaluation.mining import commit_questions, documentation_questions, sample
    from gardener.evaluation.questions import FROM_COMMITS, FROM_DOCUMENTATION, of_part
    from gardener.evaluation.scratch import undocumented_copy
    from gardener.index.redact import redact

    index = gardener.index(context)
    index.update(cancel=cancel, lock_timeout_s=WAIT_FOR_INDEX_S)
    notes: list[str] = []
    setup = _setup(gardener, index, request.vectors)
    own: list[Question] = []
    if request.questions is not None:
        own = of_part(request.questions, request.part)
    elif FROM_COMMITS in request.kinds:
        indexed = {path for path, item in index.indexer.manifest.files().items() if not item.skipped}
        own = of_part(sample(commit_questions(context.root, indexed), request.limit), request.part)
    if own and request.vectors:
        _make_vectors(gardener, context, progress, cancel)
    if request.questions is not None or FROM_DOCUMENTATION not in request.kinds:
        if not own:
            raise _nothing_to_ask(context, request)
        evaluation = evaluate(
            [(own, _search(index, request.vectors, notes))],
            part=request.part, setup=setup, notes=notes, progress=_phase(progress, "ask"), cancel=cancel,
        )  # fmt: skip
    else:
        with undocumented_copy(
            context,
            index.indexer.manifest.files(),
            max_file_bytes=gardener.settings_for(context).integer("index.max_file_bytes"),
            redact=lambda text, path: redact(text, path).text,
            progress=_phase(progress, "copy"),
            cancel=cancel,
        ) as copy:
            asked = of_part(sample(documentation_questions(copy.documented), request.limit), request.part)
            if not asked and not own:
                raise _nothing_to_ask(context, request)
            copied = gardener.index(copy.context)
            try:
                if asked:
                    copied.update(progress=lambda step: progress("index", step.done, step.total), cancel=cancel)
                    if request.vectors:
                        _make_vectors(gardener, copy.context, progress, cancel)
                evaluation = evaluate(
                    [
                        (asked, _search(copied, request.vectors, notes)),
                        (own, _search(index, request.vectors, notes)),
                    ],
                    part=request.part, setup=setup, notes=notes, progress=_phase(progress, "ask"), cancel=cancel,
                )  # fmt: skip
            finally:
                gardener.forget_index(copy.context)
    comparison = record.compare(context.home, evaluation)
    worse = comparison is not None and comparison.verdict == record.WORSE
    record.append(context.home, evaluation, kept=not (request.gate and worse))
    return EvaluationReport(evaluation, comparison)


def _setup(gardener: Gardener, index: ProjectIndex, vectors: bool) -> dict[str, str]:
    from gardener import __version__
    from gardener.index.indexer import INDEX_FORMAT

    return {
        "vectors": gardener.serving_embedder(index.context) if vectors else "",
        "ranking": index.searcher.weights.fingerprint,
        "index format": INDEX_FORMAT,
        "version": __version__,
    }


def _make_vectors(
    gardener: Gardener, context: ProjectContext, progress: Progress, cancel: threading.Event | None
) -> None:
    gardener.embed(
        context,
        progress=lambda step: progress("vectors", step.done, step.total),
        cancel=cancel,
        lock_timeout_s=WAIT_FOR_VECTORS_S,
    )


def _search(index: ProjectIndex, vectors: bool, notes: list[str]) -> Callable[[str, int], Sequence[SearchHit]]:
    from gardener.index.search import SearchRequest

    state = index.state()

    def search(query: str, limit: int) -> Sequence[SearchHit]:
        # The searcher, because nothing is to be compared with the disk between two questions.
        result = index.searcher.search(SearchRequest(query, limit, words_only=not vectors), state)
        notes.extend(note for note in result.notes if not note.startswith("The query has no words"))
        return result.hits

    return search


def _phase(progress: Progress, name: str) -> Callable[[int, int], None]:
    return lambda done, total: progress(name, done, total)


def _nothing_to_ask(context: ProjectContext, request: EvaluationRequest) -> NotFoundError:
    kinds = " and ".join("documented functions" if kind == "documentation" else "commits" for kind in request.kinds)
    return NotFoundError(
        f"'{context.name}' has no {kinds} from which questions could be made"
        + ("." if request.part == "all" else f" (of the {request.part} half)."),
        next_step=f'gardener eval QUESTIONS.jsonl --project "{context.name}"',
    )


def evaluations_file(context: ProjectContext) -> str:
    """Where the project's evaluations are recorded."""
    from gardener.evaluation.record import FILE

    return os.path.join(context.home, FILE)
