"""`gardener usage`: what answers took, by project, model or day, and what is left of today's budget."""

from __future__ import annotations

from gardener.cli.console import Console
from gardener.cli.target import open_gardener

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gardener.usage import UsageRow


def configure_usage(parser: argparse.ArgumentParser) -> None:
    parser.epilog = """examples:
  gardener usage                   the last 30 days, by project
  gardener usage --by model --days 7
  gardener usage --by day --json

Tokens are counted where a model answers. Prices and budgets are settings: gardener config show usage
"""
    parser.add_argument("--days", type=float, default=30.0, metavar="N", help="so many days back (default 30)")
    parser.add_argument("--by", choices=("project", "model", "day"), default="project", help="what to sum by")
    parser.set_defaults(run=usage)


def usage(args: argparse.Namespace, console: Console) -> int:
    from gardener.errors import UsageError

    if not 0 < args.days <= 400:
        raise UsageError("--days must be more than 0 and at most 400.", next_step="gardener usage --days 30")
    with open_gardener(console) as gardener:
        log = gardener.usage
        rows = log.report(args.days, args.by)
        tokens, cost = log.today()
        share, spent = log.share(), log.spent()
    if console.as_json:
        console.json(
            {
                "days": args.days,
                "by": args.by,
                "rows": [row.as_json() for row in rows],
                "today": {"tokens": tokens, "cost": cost, "share_of_budget": share, "spent": spent},
            }
        )
        return 0
    if not rows:
        console.line("No model has answered in that time.")
    else:
        priced = any(row.cost for row in rows)
        columns = [args.by, "answers", "read", "cached", "written", "first word", "loads", "incomplete"]
        console.table([_shown(row, args.by) for row in rows], [*columns, *(["cost"] if priced else [])])
    if share:
        console.note(spent or f"{share:.0%} of today's budget is used ({tokens:,} tokens).")
    return 0


def _shown(row: UsageRow, by: str) -> dict[str, str]:
    return {
        by: row.name,
        "answers": f"{row.answers:,}",
        "read": f"{row.prompt_tokens:,}",
        "cached": f"{row.cached_tokens:,}",
        "written": f"{row.completion_tokens:,}",
        "first word": "" if row.first_token_ms is None else f"{row.first_token_ms / 1000:.2f} s",
        "loads": str(row.loads or ""),
        "incomplete": str(row.incomplete or ""),
        "cost": f"{row.cost:.4f}",
    }
