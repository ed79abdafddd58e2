"""What a home tells about itself: its index, its memory, its answers. The fault programs compare this before and after.

`Garden.look` runs it as a process that ends, so that nothing that was read before a fault is still in memory.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from typing import Any
from unittest import mock

from gardener.app import Gardener

ALL = 1_000_000
"""Lists end after fifty by themselves."""


def command(*words: str) -> tuple[int, str, str]:
    """Runs a command in this process. Returns exit code, stdout and stderr."""
    from gardener.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    with mock.patch.object(sys, "argv", ["gardener", *words]), redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
    return code, out.getvalue(), err.getvalue()


def chunks(project: str) -> str:
    """A hash over every row of the index, whatever its order: place, content and symbol."""
    with Gardener() as gardener:
        context = gardener.registry.get(project)
        rows = gardener.index(context).searcher.snapshot().table.meta().to_pylist()
    names = ("path", "start_line", "end_line", "symbol", "hash")
    lines = sorted(repr([row[name] for name in names]) for row in rows)
    return f"{len(lines)} {hashlib.sha256(chr(10).join(lines).encode()).hexdigest()}"


def memory() -> dict[str, list[str]]:
    """What people told Gardener: projects, which is active, and every message of every conversation."""
    with Gardener() as gardener:
        found = {"active": [getattr(gardener.registry.active(), "name", "")], "projects": []}
        for context in gardener.registry.list():
            found["projects"].append(context.name)
            for talk in gardener.history.list(context.id, limit=ALL):
                said = [message.content for message in gardener.history.show(context.id, talk.id, limit=ALL)]
                found[f"{context.name}/{talk.id}"] = said
    return found


def answers(project: str, *questions: str) -> dict[str, Any]:
    """Memory, index, and what a search finds; what a command refuses to say is its answer."""
    hits: list[Any] = []
    for question in questions:
        _, out, err = command("search", question, "--json")
        found = json.loads(out)["hits"] if out else None
        hits.append(err if found is None else [[hit["path"], hit["start_line"], hit["text"]] for hit in found])
    return {"memory": memory(), "hits": hits, "chunks": chunks(project)}


LOOKS: dict[str, Callable[..., Any]] = {"chunks": chunks, "memory": memory, "answers": answers}

if __name__ == "__main__":
    print(json.dumps(LOOKS[sys.argv[1]](*sys.argv[2:])))
