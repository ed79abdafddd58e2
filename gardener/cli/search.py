"""`gardener search`: places in the code, through the running app when there is one."""

from __future__ import annotations

from gardener.cli.console import Console, inert, json_text, one_line
from gardener.cli.target import add_project_option, open_gardener
from gardener.errors import GardenerError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from typing import Any

    from gardener.app import Gardener
    from gardener.project_context import ProjectContext
    from gardener.server.client import AppClient
    from gardener.settings import Settings

SNIPPET_LINES = 6


def configure_search(parser: argparse.ArgumentParser) -> None:
    parser.epilog = """examples:
  gardener search "where is the session cookie set"
  gardener search get_or_create --language python --no-tests
  gardener search --symbol Model.save
  gardener search "rate limit" --path src/api --json | jq '.hits[].path'
  gardener search --batch questions.jsonl --json > answers.jsonl
"""
    parser.add_argument("query", nargs="*", metavar="QUERY", help="words, a question, or the name of a symbol")
    add_project_option(parser)
    parser.add_argument("--limit", "-n", type=int, metavar="N", help="at most N results (default: search.limit, 10)")
    parser.add_argument(
        "--language", action="append", default=[], metavar="NAME", help="only this language; repeatable"
    )
    parser.add_argument("--path", default="", metavar="GLOB", help="only this folder, file or glob")
    parser.add_argument("--symbol", default="", metavar="NAME", help="only definitions of this name")
    parser.add_argument("--no-tests", action="store_true", help="leave tests out")
    parser.add_argument("--all-projects", action="store_true", help="every project; results say which")
    parser.add_argument("--batch", metavar="FILE", help='JSON lines of {"id","query"}; - reads standard input')
    parser.set_defaults(run=search)


def search(args: argparse.Namespace, console: Console) -> int:
    query = " ".join(args.query)
    if args.batch is not None:
        return _batch(args, console)
    if not query.strip() and not args.symbol:
        raise UsageError("The query is empty.", next_step='gardener search "what to look for"')
    with open_gardener(console) as gardener:
        limit = _limit(args, gardener)
        client = _client(gardener)
        if args.all_projects:
            return _search_all(gardener, client, query, limit, args, console)
        result = _search_one(gardener, client, gardener.context(args.project), query, limit, args)
    if console.as_json:
        console.json(result)
        return 0
    _print(console, result["hits"], label=False)
    _print_notes(console, result)
    return 0


def _limit(args: argparse.Namespace, gardener: Gardener) -> int:
    limit = args.limit if args.limit is not None else _settings(args, gardener).integer("search.limit")
    if limit < 1:
        raise UsageError(f"--limit must be at least 1, not {limit}.", next_step="gardener search --help")
    return int(limit)


def _settings(args: argparse.Namespace, gardener: Gardener) -> Settings:
    """The project's own settings, unless the search is over all of them."""
    return gardener.settings if args.all_projects else gardener.settings_for(gardener.context(args.project))


def _client(gardener: Gardener) -> AppClient | None:
    from gardener.server.client import AppClient, find_app

    app = find_app(gardener.paths)
    return None if app is None else AppClient(app)


def _search_one(
    gardener: Gardener,
    client: AppClient | None,
    context: ProjectContext,
    query: str,
    limit: int,
    args: argparse.Namespace,
) -> dict[str, Any]:
    """One project's result, as it is printed with --json. A warm app answers; else this process does."""
    if client is not None:
        return client.request(
            "POST",
            "/api/search",
            {
                "project": context.name,
                "query": query,
                "limit": limit,
                "languages": args.language,
                "path": args.path,
                "symbol": args.symbol,
                "no_tests": args.no_tests,
            },
        )
    from gardener.index.search import SearchRequest

    request = SearchRequest(query, limit, tuple(args.language), args.path, args.symbol, args.no_tests)
    result = gardener.search(context, request)
    if result.index.embedded_fraction < 1:
        from gardener.cli.index import resume_vectors

        resume_vectors(gardener, context)
    return {"project": context.name, "query": query, **result.as_json()}


def _batch(args: argparse.Namespace, console: Console) -> int:
    """One answer a line, in the order of the questions. A broken line is named and the others are served."""
    import json

    failures = 0
    with open_gardener(console) as gardener:
        limit = _limit(args, gardener)
        client = _client(gardener)
        context = gardener.context(args.project)
        for number, line in _lines(args.batch):
            if not line.strip():
                continue
            identifier: object = None
            try:
                entry = json.loads(line)
                if not isinstance(entry, dict) or not isinstance(entry.get("query"), str):
                    raise ValueError('it must be an object with a text "query"')
                identifier = entry.get("id")
                answer = {"id": identifier, **_search_one(gardener, client, context, entry["query"], limit, args)}
            except (ValueError, GardenerError) as error:
                if isinstance(error, GardenerError) and error.exit_code != UsageError.exit_code:
                    raise  # not this line's fault
                failures += 1
                console.note(f"{args.batch}, line {number}: {error}")
                answer = {"id": identifier, "line": number, "error": {"code": "usage", "message": str(error)}}
            console.stdout.write(json_text(answer) + "\n")
            console.stdout.flush()
    if failures:
        raise UsageError(
            f"{failures} line(s) of {args.batch} could not be served; the others were.",
            next_step="gardener search --help",
        )
    return 0


def _search_all(
    gardener: Gardener, client: AppClient | None, query: str, limit: int, args: argparse.Namespace, console: Console
) -> int:
    """Every project that can be searched; what stands in the way of one is said and costs only that one."""
    results = []
    for context in gardener.registry.list():
        try:
            results.append(_search_one(gardener, client, context, query, limit, args))
        except UsageError:
            raise
        except GardenerError as error:
            console.note(f"{context.name}: {error.message} Try: {error.next_step}")
    return _print_all(console, query, results, limit)


def _lines(path: str) -> Iterator[tuple[int, str]]:
    import sys

    from gardener.errors import PathNotFound

    if path == "-":
        yield from enumerate(sys.stdin, 1)
        return
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            yield from enumerate(handle, 1)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise PathNotFound(f"{path} is not a file that can be read.", next_step="gardener search --help") from error


def _print_all(console: Console, query: str, results: list[dict[str, Any]], limit: int) -> int:
    """Every project's best, side by side. Scores of different indexes are not comparable, so ranks are merged."""
    merged = sorted(
        (
            (rank, number, {**hit, "project": result["project"]})
            for number, result in enumerate(results)
            for rank, hit in enumerate(result["hits"])
        ),
        key=lambda item: item[:2],
    )
    hits = [hit for _, _, hit in merged[:limit]]
    if console.as_json:
        indexes = {result["project"]: result["index"] for result in results}
        console.json({"project": None, "query": query, "index": indexes, "hits": hits})
        return 0
    _print(console, hits, label=True)
    return 0


def _print(console: Console, hits: list[dict[str, Any]], *, label: bool) -> None:
    if not hits:
        console.note("Nothing found. Which files are not in the index, and why: gardener show --skipped")
    for hit in hits:
        place = f"{hit['path']}:{hit['start_line']}-{hit['end_line']}"
        if label:
            place = f"[{hit['project']}] {place}"
        symbol = f"  {hit['kind']} {hit['symbol']}" if hit["symbol"] else ""
        console.line(console.bold(one_line(place)) + one_line(symbol))
        lines = [line for line in hit["text"].split("\n") if line.strip()]
        for line in lines[:SNIPPET_LINES]:
            console.line(console.dim("    " + inert(line.replace("\t", "    "))[:160]))
        if len(lines) > SNIPPET_LINES:
            console.line(console.dim(f"    … {len(lines) - SNIPPET_LINES} more lines"))


def _print_notes(console: Console, result: dict[str, Any]) -> None:
    for note in result.get("notes", ()):
        console.note(note)
    index = result["index"]
    if not index["fresh"]:
        console.note(f"The index is behind the disk by {index.get('changed_files', 0)} files: gardener index")
