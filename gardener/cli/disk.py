"""`gardener disk`: what takes how much room, and `--clean` for what nobody needs."""

from __future__ import annotations

from gardener.cli.console import Console, one_line, size
from gardener.cli.target import open_gardener

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gardener.disk import DiskUse


def configure_disk(parser: argparse.ArgumentParser) -> None:
    parser.epilog = """examples:
  gardener disk                     what takes how much room
  gardener disk --clean --dry-run   what would be removed
  gardener disk --clean             remove what nobody needs; all of it can be made again
"""
    parser.add_argument("--clean", action="store_true", help="remove what nobody needs")
    parser.add_argument("--dry-run", action="store_true", help="with --clean: only say what would be removed")
    parser.set_defaults(run=disk)


def disk(args: argparse.Namespace, console: Console) -> int:
    from gardener.disk import clean, disk_use
    from gardener.errors import UsageError

    if args.dry_run and not args.clean:
        raise UsageError("--dry-run goes with --clean.", next_step="gardener disk --clean --dry-run")
    with open_gardener(console) as gardener:
        if args.clean and not args.dry_run:
            report = clean(gardener, console.progress)
            if console.as_json:
                console.json(report.as_json())
                return 0
            for what in report.done:
                console.line(f"removed  {one_line(what)}")
            for what in report.skipped:
                console.note(f"left out: {what}")
            console.line(f"Freed {size(report.freed)}." if report.done else "There was nothing to remove.")
            return 0
        use = disk_use(gardener)
    cleanable = [item for item in use.freeable if item.how == "gardener disk --clean"]
    if args.dry_run:
        if console.as_json:
            console.json({"would_free": [item.as_json() for item in cleanable]})
            return 0
        for item in cleanable:
            console.line(f"{size(item.bytes):>8}  {one_line(item.what)}")
        console.line(f"Would free about {size(sum(item.bytes for item in cleanable))}.")
        return 0
    if console.as_json:
        console.json(use.as_json())
        return 0
    _show(console, use)
    return 0


def _show(console: Console, use: DiskUse) -> None:
    rows = [
        {
            "project": row["name"] or row["id"],
            "total": size(row["bytes"]),
            **{part: size(count) if count else "" for part, count in row["parts"].items()},
            "": "" if row["state"] == "registered" else row["state"],
        }
        for row in use.projects
    ]
    if rows:
        parts = [part for part in use.projects[0]["parts"] if any(row["parts"][part] for row in use.projects)]
        console.table(rows, ["project", "total", *parts, ""])
        console.line()
    for row in use.shared:
        detail = ""
        if row["what"] == "vectors":
            used = ", ".join(row["used_by"]) or "nobody"
            detail = f"{row['name']}: {row['vectors']:,} vectors, {row['unused']:,} unused; used by {used}"
        if row["bytes"]:
            console.line(f"{row['what']:<10}{size(row['bytes']):>8}  {one_line(detail)}".rstrip())
    console.line(f"{'total':<10}{size(use.total):>8}  {use.home}")
    largest = max((*use.projects, *use.shared), key=lambda row: row["bytes"], default=None)
    if largest is not None and largest["bytes"]:
        name = largest.get("name") or largest.get("id") or largest["what"]
        console.line(f"largest: {one_line(str(name))}, {size(largest['bytes'])}")
    if use.freeable:
        console.line()
        console.line("Can be freed:")
        for item in use.freeable:
            console.line(f"{size(item.bytes):>8}  {one_line(item.what)}")
            console.line(f"          {item.how}")
