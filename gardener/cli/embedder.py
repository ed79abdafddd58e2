"""`gardener embedder`: which model makes the vectors, and changing it without a gap."""

from __future__ import annotations

from gardener.cli.console import Console, duration, inert
from gardener.cli.target import open_gardener
from gardener.errors import NotFoundError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gardener.app import Gardener
    from gardener.models.embedder_spec import EmbedderSpec

_TRIAL = (
    "def parse_cookie(header: str) -> dict[str, str]:\n    return dict(part.split('=') for part in header.split(';'))",
    "class RetryPolicy:\n    def __init__(self, attempts: int, wait_s: float) -> None:\n        self.wait_s = wait_s",
)

_SAMPLE = 16


def configure_embedder(parser: argparse.ArgumentParser) -> None:
    parser.epilog = """A change makes the new vectors beside the old ones, in the background; until a project has
them all it is searched with the old ones. Vectors of two models are never compared. The score before and after:
gardener eval, the change, gardener index --wait, gardener eval --gate.

examples:
  gardener embedder                              what makes the vectors, project by project
  gardener embedder use folder:~/models/bge-small --query-prefix "query: "
  gardener embedder use ollama:nomic-embed-text
  gardener embedder use openai:text-embedding-3-small --url https://api.example.com/v1 --key-variable KEY
  gardener embedder cancel                       back to the one that still answers
  gardener embedder use packaged                 back to the one that comes with Gardener
"""
    commands = parser.add_subparsers(dest="what", metavar="COMMAND")
    commands.add_parser("show", help="the embedder and every project's vectors (the default)")
    use = commands.add_parser("use", help="try another embedder, and change to it")
    use.add_argument("spec", metavar="SPEC", help="packaged, folder:PATH, ollama:MODEL or openai:MODEL")
    use.add_argument("--url", default="", help="address of the server")
    use.add_argument("--key-variable", default="", metavar="NAME", help="environment variable with the server's key")
    use.add_argument("--query-prefix", default="", metavar="TEXT", help="what the model wants in front of a question")
    use.add_argument("--text-prefix", default="", metavar="TEXT", help="what the model wants in front of the code")
    use.add_argument("--yes", "-y", action="store_true", help="do not ask")
    commands.add_parser("cancel", help="go back to the embedder with which the projects are still searched")
    parser.set_defaults(run=embedder)


def embedder(args: argparse.Namespace, console: Console) -> int:
    with open_gardener(console) as gardener:
        if args.what == "use":
            return _use(args, gardener, console)
        return _cancel(gardener, console) if args.what == "cancel" else _show(gardener, console)


def _show(gardener: Gardener, console: Console) -> int:
    from gardener.index.facts import summary
    from gardener.paths import index_directory

    service = gardener.embedding
    spec, problem = service.spec, service.problem(ask=True)
    wanted = service.fingerprint
    rows = []
    for context in gardener.registry.list():
        facts = summary(index_directory(context.home))
        if not facts.get("table_version"):
            continue
        serving = gardener.serving_embedder(context)
        known = service.known(serving)
        rows.append(
            {
                "project": context.name,
                "searched with": known.spec.text if known else serving,
                "vectors": "complete" if service.finished(facts) else _progress(facts, wanted, serving == wanted),
            }
        )
    if console.as_json:
        console.json({"embedder": spec.text, "fingerprint": wanted, "problem": problem, "projects": rows})
        return 0
    known = service.known(wanted)
    size = f", {known.dimensions} numbers each" if known else ""
    console.line(f"Vectors are made by {inert(spec.text)}{size}.")
    if spec.leaves_the_machine:
        console.line(f"Code and questions are sent to {inert(spec.url)}.")
    if problem:
        console.note(f"It cannot be used now: {problem}")
    if rows:
        console.table(rows, ["project", "searched with", "vectors"])
    return 0


def _progress(facts: dict[str, str], wanted: str, serving: bool) -> str:
    done, total = int(facts.get("vectors", "0")), int(facts.get("contents", "0"))
    if not serving and facts.get("vectors_counted_of") != wanted:
        return "none of the new ones made"  # what was counted is the former embedder's
    share = f"{100 * done // total} %" if total else "none yet"
    return f"{share} made" if serving else f"{share} of the new ones made"


def _use(args: argparse.Namespace, gardener: Gardener, console: Console) -> int:
    import time

    from gardener.errors import EmbedderUnavailable
    from gardener.models.embedder_registry import load
    from gardener.models.embedder_spec import parse_spec

    spec = parse_spec(
        args.spec, url=args.url, key_variable=args.key_variable, query_prefix=args.query_prefix,
        text_prefix=args.text_prefix,
    )  # fmt: skip
    if spec.leaves_the_machine:
        console.note(f"Code and questions will be sent to {spec.url}.")
    made = load(spec, gardener.paths.models)
    try:
        vectors = made.embed(list(_TRIAL))
        begun = time.monotonic()
        # As long as a usual chunk, and as many as are sent at once: the user's own code stays here until "yes".
        made.embed([f"# {number}\n" + "\n".join(_TRIAL) * 3 for number in range(_SAMPLE)])
        seconds = (time.monotonic() - begun) / _SAMPLE
        if float(vectors[0] @ vectors[1]) > 0.9999:
            raise EmbedderUnavailable(
                f"{spec.text} gives the same vector for two different texts; it is not a text embedder.",
                next_step="gardener embedder",
            )
    finally:
        made.close()
    chunks = _chunks(gardener)
    console.note(
        f"{spec.text} works: {made.dimensions} numbers each, {1000 * seconds:.0f} ms for a text. "
        f"{chunks:,} chunks of all projects: about {duration(chunks * seconds)}, less what the store has already."
    )
    if not args.yes and not console.confirm("Change to it?"):
        if not console.interactive:
            raise UsageError(
                "Nothing was changed: there is nobody to ask.", next_step=f"gardener embedder use {args.spec} --yes"
            )
        console.note("Nothing was changed.")
        return 0
    _write(gardener, spec)
    _begin(gardener)
    if console.as_json:
        console.json({"embedder": spec.text, "fingerprint": made.fingerprint, "dimensions": made.dimensions})
        return 0
    console.line(f"From now on {inert(spec.text)} makes the vectors.")
    console.note("Until a project has them all it is searched with the vectors that it has.")
    console.note("All at once: gardener index --wait; better or worse: gardener eval --gate")
    return 0


def _cancel(gardener: Gardener, console: Console) -> int:
    """Back to the embedder that still answers for the active project, else for any."""
    service = gardener.embedding
    wanted = service.spec
    for context in gardener.projects_by_use():
        known = service.known(gardener.serving_embedder(context))
        if known is not None and known.spec != wanted:
            break
    else:
        raise NotFoundError(
            f"No change is under way: every project is searched with {wanted.text}.", next_step="gardener embedder"
        )
    _write(gardener, known.spec)
    _begin(gardener)
    if console.as_json:
        console.json({"embedder": known.spec.text, "fingerprint": known.fingerprint, "dimensions": known.dimensions})
        return 0
    console.line(f"{inert(known.spec.text)} makes the vectors again.")
    return 0


def _begin(gardener: Gardener) -> None:
    """Has the vectors made in the background; a running app follows the settings by itself."""
    from gardener.cli.index import resume_vectors

    for context in gardener.projects_by_use()[:1]:
        resume_vectors(gardener, context)


def _write(gardener: Gardener, spec: EmbedderSpec) -> None:
    from gardener.models.embedder_spec import PACKAGED
    from gardener.settings_edit import set_value

    values = {
        "embedder.url": spec.url if spec.kind != PACKAGED else "",
        "embedder.key_variable": spec.key_variable,
        "embedder.query_prefix": spec.query_prefix,
        "embedder.text_prefix": spec.text_prefix,
        "embedder.name": spec.text,
    }
    for key, value in values.items():
        set_value(gardener.paths, gardener.paths.config, key, value)


def _chunks(gardener: Gardener) -> int:
    from gardener.index.facts import summary
    from gardener.paths import index_directory

    return sum(int(summary(index_directory(context.home)).get("chunks", "0")) for context in gardener.registry.list())
