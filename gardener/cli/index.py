"""`gardener index`: bring the index up to date with the disk, and make vectors."""

from __future__ import annotations

from gardener.cli.console import Console, duration, size
from gardener.cli.progress import show_embed_progress, show_index_progress
from gardener.cli.target import add_project_option, open_gardener

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from gardener.app import Gardener
    from gardener.types import ProjectContext


WAIT_FOR_VECTORS_S = 3600.0
VECTOR_PROCESS_GRACE_S = 3.0
"""After `gardener add` one asks: the background process leaves the machine to that first question."""


def configure_index(parser: argparse.ArgumentParser) -> None:
    parser.epilog = """examples:
  gardener index                  the active project: what has changed on the disk
  gardener index --wait           and every vector, before returning
  gardener index --rebuild        from nothing, beside the old index, which serves until then
  gardener index --repair         make again what is damaged, and only that
"""
    add_project_option(parser)
    parser.add_argument("--rebuild", action="store_true", help="build the index anew; vectors are kept by content")
    parser.add_argument(
        "--repair", action="store_true", help="compare all files with their hashes, mend what is damaged"
    )
    parser.add_argument("--wait", action="store_true", help="make all vectors before returning")
    parser.add_argument("--no-vectors", action="store_true", help="only text and words")
    parser.add_argument("--vectors-only", action="store_true", help="make vectors for what is indexed, then return")
    # For the process that `add` starts: gives way to everything else.
    parser.add_argument("--background", action="store_true", help=suppressed())
    parser.set_defaults(run=index)


def suppressed() -> str:
    import argparse

    return argparse.SUPPRESS


def index(args: argparse.Namespace, console: Console) -> int:
    from gardener.cli.add import note_index

    with open_gardener(console) as gardener:
        context = gardener.context(args.project)
        if args.vectors_only:
            if args.background:
                import os
                import time

                os.nice(10)  # nobody is watching: everything else goes first
                time.sleep(VECTOR_PROCESS_GRACE_S)
                make_all_vectors(gardener)
                return 0
            vectors = make_vectors(gardener, console, context, wait=True)
            if console.as_json:
                console.json({"project": context.name, "vectors": vectors})
            return 0
        if args.repair:
            _repair(gardener, console, context)
        report = bring_up_to_date(
            gardener, console, context, rebuild=args.rebuild, vectors=not args.no_vectors and not args.wait
        )
        if report["rebuilt"]:
            note_index(console, context.name, report)
        else:
            console.line_unless_json(
                f"{context.name}: {report['added']:,} added, {report['changed']:,} changed, "
                f"{report['removed']:,} removed, {report['unchanged']:,} unchanged; "
                f"{report['chunks']:,} chunks in {report['files']:,} files."
            )
        vectors = make_vectors(gardener, console, context, wait=args.wait, skip=args.no_vectors)
        if console.as_json:
            console.json({"project": context.name, "index": report, "vectors": vectors})
    return 0


def _repair(gardener: Gardener, console: Console, context: ProjectContext) -> None:
    """Says what was damaged and what was done about it; the update that follows makes what is missing."""
    from gardener.upkeep import repair_index, repair_store

    indexer = gardener.index(context).indexer
    verdict = indexer.hashes.verify(context)
    for damage in verdict.damaged:
        console.note(f"Damaged: {damage.path} ({damage.what}).")
    done = repair_index(gardener, context, verdict, show_index_progress(console)) + repair_store(gardener)
    for sentence in done:
        console.note(f"{sentence[:1].upper()}{sentence[1:]}.")
    if not done:
        console.note(f"Nothing is damaged: {verdict.files:,} files, {size(verdict.bytes)} compared.")


def bring_up_to_date(
    gardener: Gardener, console: Console, context: ProjectContext, *, rebuild: bool = False, vectors: bool = True
) -> dict[str, Any]:
    """Updates the index, in the running app when there is one, and returns its report as JSON."""
    from gardener.errors import AppUnreachable
    from gardener.index.index_report import IndexProgress
    from gardener.server.client import AppClient, AppError, find_app

    show = show_index_progress(console)
    app = find_app(gardener.paths)
    if app is None:
        return gardener.update_index(context, show, rebuild=rebuild).as_json()
    client = AppClient(app)
    job = client.request("POST", "/api/index", {"project": context.name, "rebuild": rebuild, "vectors": vectors})["job"]
    for event in client.stream("GET", f"/api/jobs/{job}/events"):
        if event["event"] == "progress":
            show(IndexProgress(event["phase"], event["done"], event["total"], event["rate"], event["eta_s"]))
        elif event["event"] == "error":
            raise AppError(event, 500)
        elif event["event"] == "report":
            return event
    raise AppUnreachable("The app ended the index update without a report.", next_step="gardener status")


def make_vectors(
    gardener: Gardener, console: Console, context: ProjectContext, *, wait: bool = False, skip: bool = False
) -> dict[str, object]:
    """Makes vectors now (`wait`), or leaves them to the running app, else to a process in the background.

    Returns what was done, for --json.
    """
    if gardener.index(context).indexer.manifest.facts().get("chunks", "0") == "0":
        return {"made_by": "nobody"}  # an empty project: nothing to make, nothing to say
    if skip or (not gardener.settings_for(context).flag("index.background_embedding") and not wait):
        console.note("No vectors were made. Search makes those it needs; all of them: gardener index --wait")
        return {"made_by": "nobody"}
    if wait:
        # The app, or a background process, may be at it: wait for its lock instead of failing.
        report = gardener.embed(
            context, show_embed_progress(console), lock_timeout_s=WAIT_FOR_VECTORS_S, asked_for=True
        )
        console.note(
            f"Vectors: {report.embedded:,} made, {report.reused:,} reused, {report.remaining:,} missing, "
            f"in {duration(report.seconds)}."
        )
        return {"made_by": "this command", **report.as_json()}
    from gardener.locks import ProcessLock
    from gardener.paths import embed_lock
    from gardener.server.client import find_app

    if find_app(gardener.paths) is not None:
        console.note("Vectors are being made by the running app; search is complete meanwhile: gardener status")
        return {"made_by": "app"}
    maker = ProcessLock(embed_lock(context.home), "").holder()
    if maker is not None:
        console.note(f"Vectors are being made by process {maker['pid']}. Progress: gardener status")
        return {"made_by": "background process", "pid": maker["pid"]}
    pid = _start_vector_process(gardener.paths.home, gardener.paths.logs, context.id)
    console.note(
        f"Vectors are being made in the background (process {pid}); search makes those it needs meanwhile. "
        f"Progress: gardener status"
    )
    return {"made_by": "background process", "pid": pid}


def make_all_vectors(gardener: Gardener) -> None:
    """What the background process does: every project's vectors, the active project's first, until all are there or
    an app has come that does it. Of several processes one works; it sees what the others were started for."""
    import os

    from gardener.errors import LockedError
    from gardener.locks import ProcessLock
    from gardener.paths import ensure_directory
    from gardener.server.client import find_app
    from gardener.vector_work import missing_vectors, work_off

    def app_is_there() -> bool:
        return find_app(gardener.paths) is not None

    lock = ProcessLock(
        os.path.join(ensure_directory(gardener.paths.run), "vectors.lock"), "gardener index --vectors-only"
    )
    seen: set[str] = set()
    # Again after the lock is free: who came in between has left his project to this process.
    while not app_is_there():
        waiting = {context.id for context in missing_vectors(gardener)} - seen
        if not waiting:
            return
        seen |= waiting
        try:
            with lock:
                work_off(gardener, app_is_there)
        except LockedError:
            return


def resume_vectors(gardener: Gardener, context: ProjectContext) -> None:
    """Starts the background process again if vectors are missing, none is at work, and there is no app to do it."""
    from gardener.index.facts import summary
    from gardener.locks import ProcessLock
    from gardener.paths import embed_lock, index_directory
    from gardener.server.client import find_app

    facts = summary(index_directory(context.home))
    if gardener.embedding.finished(facts) or not gardener.settings_for(context).flag("index.background_embedding"):
        return
    if ProcessLock(embed_lock(context.home), "").holder() is None and find_app(gardener.paths) is None:
        _start_vector_process(gardener.paths.home, gardener.paths.logs, context.id)


def _start_vector_process(home: str, logs: str, project_id: str) -> int:
    """A process of its own that makes the vectors at low priority, ends by itself, and outlives the terminal."""
    import os
    import subprocess
    import sys

    from gardener.paths import ensure_directory, open_private

    ensure_directory(logs)
    log = open(os.path.join(logs, "vectors.log"), "ab", opener=open_private)  # noqa: SIM115 - the child keeps it
    with log:
        command = [sys.executable, "-m", "gardener.cli.main", "index", "--vectors-only", "--background"]
        process = subprocess.Popen(
            [*command, "--quiet", "--project", project_id, "--home", home],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=home,
        )
    return process.pid
