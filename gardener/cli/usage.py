"""`gardener usage`: what answers took, and how much of the day's budget is left."""

from __future__ import annotations

from gardener.cli.console import Console, duration, one_line
from gardener.cli.target import open_gardener
from gardener.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from gardener.usage import Budget
    from gardener.usage_report import UsageLine

LONGEST_DAYS = 400


def configure_usage(parser: argparse.ArgumentParser) -> None:
    parser.epilog = """A day begins at midnight by this machine's clock. Answers are counted for 400 days; what was
asked and answered is not part of the figures.

examples:
  gardener usage                    the last 30 days, by project
  gardener usage --days 1           today
  gardener usage --by model
  gardener usage --by day --project django --json
  gardener config set usage.daily_tokens 2000000      a daily budget; then search answers alone
  gardener config set usage.price_completion 0.6      what a million written tokens cost
"""
    parser.add_argument("--days", type=int, default=30, metavar="N", help="today and the days before it (default 30)")
    parser.add_argument("--by", choices=("project", "model", "day"), default="project", help="default: project")
    parser.add_argument("--project", "-p", metavar="NAME", help="of this project only")
    parser.set_defaults(run=usage)


def usage(args: argparse.Namespace, console: Console) -> int:
    import time

    from gardener.usage import day_limits
    from gardener.usage_report import usage_report

    if not 1 <= args.days <= LONGEST_DAYS:
        raise UsageError(f"--days is between 1 and {LONGEST_DAYS}, not {args.days}.", next_step="gardener usage --help")
    with open_gardener(console) as gardener:
        project = gardener.context(args.project) if args.project else None
        since = day_limits(time.time(), -(args.days - 1))[0]
        lines = usage_report(gardener.state, since, args.by, project_id=project.id if project else "")
        budget = gardener.usage.today()
    if console.as_json:
        console.json(
            {
                "since": since,
                "by": args.by,
                "project": project.name if project else None,
                "lines": [line.as_json() for line in lines],
                "today": budget.as_json(),
            }
        )
        return 0
    if lines:
        _show(console, args.by, lines)
    else:
        console.note('No answers yet in that time: gardener ask "..."')
    _show_budget(console, budget)
    return 0


def _show(console: Console, by: str, lines: Sequence[UsageLine]) -> None:
    columns = ["answers", "read", "cached", "written", "first token p50", "p95", "read/s", "written/s"]
    if any(line.cost for line in lines):
        columns.append("cost")
    console.table([{by: line.name, **_cells(line)} for line in lines], [by, *columns])
    for line in lines:
        if details := _details(line):
            console.line(f"{one_line(line.name)}: {details}")
    if any(line.estimated for line in lines):
        console.note("~: some backends do not count their tokens; those are estimates.")


def _cells(line: UsageLine) -> dict[str, str]:
    from gardener.usage_report import percentile

    about = "~" if line.estimated else ""
    written, read = line.completion_rate, line.prompt_rate
    return {
        "answers": f"{line.answers:,}",
        "read": f"{about}{line.prompt_tokens:,}",
        "cached": f"{line.cached_tokens:,}",
        "written": f"{about}{line.completion_tokens:,}",
        "first token p50": _milliseconds(percentile(line.first_token_ms, 50)),
        "p95": _milliseconds(percentile(line.first_token_ms, 95)),
        "read/s": f"{read:,.0f}" if read else "-",
        "written/s": f"{written:,.1f}" if written else "-",
        "cost": f"{line.cost:,.4f}",
    }


def _details(line: UsageLine) -> str:
    """What is worth a sentence: levels below full, loads, where prefixes came from, what went wrong."""
    parts = []
    if set(line.levels) != {"full"}:
        parts.append("levels " + _counts(line.levels))
    if line.loads:
        parts.append(f"model loaded {line.loads}x ({duration(line.load_s)})")
    if line.prefixes:
        parts.append("prefixes " + _counts(line.prefixes))
    if line.incomplete:
        parts.append(f"{line.incomplete} incomplete")
    if line.problems:
        parts.append("problems " + _counts(line.problems))
    return "; ".join(parts)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda item: -item[1]))


def _milliseconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f} ms" if value < 10_000 else f"{value / 1000:.1f} s"


def _show_budget(console: Console, budget: Budget) -> None:
    if not budget.limited:
        return
    console.line(f"Today: {budget.used()}, {budget.percent:.0f} % of the daily budget.")
    if budget.percent >= 100:
        console.note("Models answer again from midnight; until then search answers alone.")
        console.note(f"Raise it: {budget.how_to_raise()}")
