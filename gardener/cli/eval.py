"""`gardener eval`: how well search works on a project, measured with questions that the project answers itself."""

from __future__ import annotations

from gardener.cli.console import Console, duration, inert
from gardener.cli.target import add_project_option, open_gardener

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping
    from typing import Any

    from gardener.evaluation.record import Comparison
    from gardener.project_evaluation import EvaluationReport
    from gardener.types import ProjectContext

_PHASES = {"copy": "Hiding documentation", "index": "Reading", "vectors": "Vectors", "ask": "Asking"}
_UNITS = {"copy": "files", "index": "files", "vectors": "chunks", "ask": "questions"}
_METRICS = {"mrr": "MRR@10", "ndcg": "NDCG@10", "recall_1": "recall@1", "recall_5": "@5", "recall_10": "@10"}


def configure_eval(parser: argparse.ArgumentParser) -> None:
    parser.epilog = """Without a FILE the questions come from the project: what a function's documentation says
asks for the function, with all functions' documentation hidden from the index that is searched; what a commit's
subject says asks for the files that it touched. They are the same from run to run, split into two halves by their
ids: change things while you look at the development half, and look at the held-out half once, at the end.

FILE has one JSON object a line:
  {"id": "1", "query": "where are cookies parsed", "relevant": [{"path": "http/cookies.py", "symbol": "parse"}]}
A place may also have "start_line" and "end_line"; a place that is only a path means any lines of it.

examples:
  gardener eval                      measure, and compare with the last time
  gardener eval --gate               exit with 1 when it has become worse
  gardener eval --history
"""
    parser.add_argument("file", nargs="?", metavar="FILE", help="questions as JSON lines, instead of the project's own")
    parser.add_argument("--kind", choices=("documentation", "commit"), help="only questions of this kind")
    parser.add_argument(
        "--part", choices=("development", "held-out", "all"), help="which half (default: development; all of FILE)"
    )
    parser.add_argument(
        "--limit", type=int, default=150, metavar="N", help="most questions of each kind (default: 150)"
    )
    parser.add_argument("--words-only", action="store_true", help="search without vectors")
    parser.add_argument("--gate", action="store_true", help="exit with 1 when MRR@10 is worse than the last time")
    parser.add_argument("--history", action="store_true", help="what was measured before")
    add_project_option(parser)
    parser.set_defaults(run=evaluate)


def evaluate(args: argparse.Namespace, console: Console) -> int:
    from gardener.errors import UsageError
    from gardener.evaluation.questions import read_questions
    from gardener.evaluation.record import WORSE
    from gardener.project_evaluation import EvaluationRequest, evaluate_project

    if args.limit < 1:
        raise UsageError(f"--limit must be at least 1, not {args.limit}.", next_step="gardener eval --help")
    if args.file and args.kind:
        raise UsageError(
            "--kind chooses among the project's own questions; FILE has its own.", next_step="gardener eval FILE"
        )
    with open_gardener(console) as gardener:
        context = gardener.context(args.project)
        if args.history:
            return _history(context, console)
        questions, broken = read_questions(args.file) if args.file else (None, [])
        for line in broken:
            console.note(f"{args.file}, line {line.line}: {line.problem}; left out.")
        request = EvaluationRequest(
            questions=questions,
            kinds=(args.kind,) if args.kind else ("documentation", "commit"),
            part=args.part or ("all" if args.file else "development"),
            limit=args.limit,
            vectors=not args.words_only,
            gate=args.gate,
        )
        report = evaluate_project(gardener, context, request, _show_progress(console))
    _print(report, context, console)
    worse = report.comparison is not None and report.comparison.verdict == WORSE
    if args.gate and worse:
        console.note(
            "Search has become worse; --gate makes that an error, and this run is not what the next is held to."
        )
    return 1 if broken or (args.gate and worse) else 0


def _show_progress(console: Console) -> Callable[[str, int, int], None]:
    import time

    begun: dict[str, tuple[float, int]] = {}

    def show(phase: str, done: int, total: int) -> None:
        since, first = begun.setdefault(phase, (time.monotonic(), done))
        text = f"{_PHASES.get(phase, phase)} {done:,} of {total:,} {_UNITS.get(phase, '')}"
        elapsed = time.monotonic() - since
        if elapsed > 2 and done > first:
            text += f", {duration((total - done) * elapsed / (done - first))} left"
        console.progress(text)

    return show


def _print(report: EvaluationReport, context: ProjectContext, console: Console) -> None:
    evaluation, comparison = report
    if console.as_json:
        console.json(
            {"project": context.name, **evaluation.as_json(), "comparison": comparison and comparison.as_json()}
        )
        return
    part = "" if evaluation.part == "all" else f", {evaluation.part} half"
    console.line(f"{inert(context.name)}: {len(evaluation.questions)} questions{part}")
    rows = []
    for kind, table in evaluation.tables.items():
        row = {"kind": kind, "n": str(evaluation.count(kind))}
        for metric, title in _METRICS.items():
            mean, low, high = table[metric]
            row[title] = f"{mean:.3f} ({low:.2f}-{high:.2f})" if metric in ("mrr", "ndcg") else f"{mean:.2f}"
        rows.append(row)
    console.table(rows, ["kind", "n", *_METRICS.values()])
    console.line("In brackets: 95 % intervals." + ("" if evaluation.setup["vectors"] else " Searched without vectors."))
    for note in evaluation.notes:
        console.note(note)
    if comparison is not None:
        console.line(_compared(comparison))


def _compared(comparison: Comparison) -> str:
    changes = ", ".join(
        f"{_METRICS[metric]} {change.mean:+.3f} ({change.low:+.3f} to {change.high:+.3f})"
        for metric, change in comparison.changes.items()
    )
    differs = f"; changed since: {', '.join(comparison.differs)}" if comparison.differs else ""
    before = f"Against {_when(comparison.before_at)}, same {comparison.questions} questions"
    return f"{before}: {comparison.verdict}. {changes}{differs}."


def _when(at: float) -> str:
    import time

    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


def _history(context: ProjectContext, console: Console) -> int:
    from gardener.evaluation.record import read

    entries = [{name: value for name, value in entry.items() if name != "by_question"} for entry in read(context.home)]
    if console.as_json:
        console.json({"project": context.name, "evaluations": entries})
        return 0
    if not entries:
        console.note(f"'{context.name}' has not been evaluated yet: gardener eval")
        return 0
    console.table(
        [_history_row(entry) for entry in entries], ["when", "part", "n", "MRR@10", "NDCG@10", "vectors", "ranking", ""]
    )
    return 0


def _history_row(entry: Mapping[str, Any]) -> dict[str, str]:
    kinds = entry["kinds"]
    table = kinds.get("all") or next(iter(kinds.values()))
    setup = entry.get("setup", {})
    return {
        "when": _when(entry["at"]),
        "part": entry["part"],
        "n": str(entry["questions"]),
        "MRR@10": f"{table['mrr'][0]:.3f}",
        "NDCG@10": f"{table['ndcg'][0]:.3f}",
        "vectors": (setup.get("vectors") or "none")[:24],
        "ranking": setup.get("ranking", ""),
        "": "" if entry.get("kept", True) else "refused",
    }
