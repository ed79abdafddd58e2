"""`gardener symbols`, `callers`, `callees` and `map`: what a project defines, and who calls whom."""

from __future__ import annotations

from gardener.cli.console import Console, inert, one_line
from gardener.cli.target import add_project_option, open_gardener
from gardener.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from gardener.index.symbol_graph import Edge

_HOW = {
    "local": "same file",
    "import": "imported",
    "type": "declared type",
    "package": "same folder",
    "unique": "only one of that name",
    "name": "by name",
}


def configure_symbols(parser: argparse.ArgumentParser) -> None:
    parser.epilog = """examples:
  gardener symbols                     everything that is defined, file by file
  gardener symbols gRC                 get_response_class, getResponseClass …
  gardener symbols Store --kind class --path src
"""
    parser.add_argument(
        "pattern", nargs="?", default="", metavar="PATTERN", help="a name, its beginning, part or humps"
    )
    parser.add_argument("--kind", default="", metavar="KIND", help="function, method, class, constant …")
    parser.add_argument("--path", default="", metavar="GLOB", help="only this folder, file or glob")
    parser.add_argument("--limit", "-n", type=int, default=50, metavar="N", help="at most N (default: 50)")
    add_project_option(parser)
    parser.set_defaults(run=symbols)


def configure_callers(parser: argparse.ArgumentParser) -> None:
    parser.epilog = """Each line says how sure it is: "by name" means that several symbols of that name come into
question, because the type of the object is not known. "named only" is a use without a call: a function that is handed
over, a type, a base class.

examples:
  gardener callers parse_header
  gardener callers Session.send        the method of that class
  gardener callers src/http.py:send    the one defined in that file
"""
    _configure_edges(parser)
    parser.set_defaults(run=callers)


def configure_callees(parser: argparse.ArgumentParser) -> None:
    _configure_edges(parser)
    parser.set_defaults(run=callees)


def _configure_edges(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("symbol", metavar="SYMBOL", help="a name, Class.name, or FILE:name")
    parser.add_argument("--limit", "-n", type=int, default=50, metavar="N", help="at most N (default: 50)")
    add_project_option(parser)


def configure_map(parser: argparse.ArgumentParser) -> None:
    parser.epilog = """examples:
  gardener map                         what one should know first
  gardener map --tokens 4000 > map.txt
  gardener map --focus src/parser      seen from there
"""
    parser.add_argument("--tokens", type=int, default=1000, metavar="N", help="at most N tokens (default: 1000)")
    parser.add_argument("--focus", default="", metavar="PLACE", help="a symbol, file or folder to look from")
    add_project_option(parser)
    parser.set_defaults(run=show_map)


def symbols(args: argparse.Namespace, console: Console) -> int:
    _require_positive("--limit", args.limit)
    with open_gardener(console) as gardener:
        context = gardener.context(args.project)
        found = gardener.symbols(context).search(args.pattern, kind=args.kind, path=args.path, limit=args.limit + 1)
    more, found = len(found) > args.limit, found[: args.limit]
    if console.as_json:
        console.json({"project": context.name, "symbols": [one.as_json() for one in found], "more": more})
        return 0
    for one in found:
        console.line(f"{one_line(one.path)}:{one.start_line}  {console.bold(one_line(one.qualified))}  {one.kind}")
        if one.signature:
            console.line(f"    {inert(one.signature)}")
    if not found:
        console.note("No symbol matches." if args.pattern or args.kind or args.path else "No symbols are known.")
    if more:
        console.note(f"There are more; these are the best {args.limit}: --limit N")
    return 0


def callers(args: argparse.Namespace, console: Console) -> int:
    _require_positive("--limit", args.limit)
    with open_gardener(console) as gardener:
        context = gardener.context(args.project)
        found = gardener.symbols(context).callers(args.symbol)
    edges = found.edges[: args.limit]
    if console.as_json:
        console.json(
            {
                "project": context.name,
                "symbol": args.symbol,
                "definitions": [one.as_json() for one in found.definitions],
                "callers": [edge.as_json() for edge in edges],
                "more": len(found.edges) > len(edges),
                "unattributed": found.unattributed,
            }
        )
        return 0
    for one in found.definitions[:5]:
        console.note(f"{one.qualified} is defined in {one.path}:{one.start_line}")
    if len(found.definitions) > 5:
        console.note(f"… and {len(found.definitions) - 5} more of that name; choose one with Class.name or FILE:name")
    several = len({one.qualified for one in found.definitions}) > 1
    for edge in edges:
        caller = one_line(edge.caller.qualified) if edge.caller else "(top level)"
        callee = f" of {one_line(edge.callee.qualified)}" if several else ""
        console.line(f"{one_line(edge.path)}:{edge.line}  {console.bold(caller)}{callee}  {_sure(edge)}")
    _note_rest(console, edges, len(found.edges), args.limit, "Nothing calls it that could be seen.")
    if found.unattributed:
        console.note(
            f"{found.unattributed} further places call something of that name on an object whose type is not known."
        )
    return 0


def callees(args: argparse.Namespace, console: Console) -> int:
    _require_positive("--limit", args.limit)
    with open_gardener(console) as gardener:
        context = gardener.context(args.project)
        found = gardener.symbols(context).callees(args.symbol)
    edges = found[: args.limit]
    if console.as_json:
        console.json(
            {
                "project": context.name,
                "symbol": args.symbol,
                "callees": [edge.as_json() for edge in edges],
                "more": len(found) > len(edges),
            }
        )
        return 0
    for edge in edges:
        place = f"{one_line(edge.callee.path)}:{edge.callee.start_line}"
        console.line(f"{place}  {console.bold(one_line(edge.callee.qualified))}  from line {edge.line}, {_sure(edge)}")
    _note_rest(
        console, edges, len(found), args.limit, "It calls nothing that the project defines, as far as can be seen."
    )
    return 0


def _sure(edge: Edge) -> str:
    how = _HOW[edge.resolution]
    if edge.resolution == "name" and edge.candidates > 1:
        how = f"by name, one of {edge.candidates}"
    return how if edge.called else f"named only, {how}"


def _note_rest(console: Console, shown: Sequence[Edge], total: int, limit: int, nothing: str) -> None:
    if not total:
        console.note(nothing)
    elif total > len(shown):
        console.note(f"{total - limit:,} more: --limit {total}")


def show_map(args: argparse.Namespace, console: Console) -> int:
    if args.tokens < 50:
        raise UsageError(f"--tokens must be at least 50, not {args.tokens}.", next_step="gardener map --tokens 1000")
    with open_gardener(console) as gardener:
        context = gardener.context(args.project)
        drawn = gardener.repository_map(context, args.tokens, args.focus)
    if console.as_json:
        console.json({"project": context.name, "focus": args.focus, **drawn.as_json()})
        return 0
    if drawn.text:
        console.line(inert(drawn.text))
    shown = sum(len(entry.definitions) for entry in drawn.entries)
    console.note(
        f"{shown:,} of {drawn.definitions:,} definitions, {len(drawn.entries):,} of {drawn.files:,} files; "
        f"{drawn.tokens:,} tokens."
    )
    return 0


def _require_positive(option: str, value: int) -> None:
    if value < 1:
        raise UsageError(f"{option} must be at least 1, not {value}.", next_step="gardener symbols --help")
