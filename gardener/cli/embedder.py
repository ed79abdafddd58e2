"""`gardener embedder`: which model makes the vectors, and changing it without a gap."""

from __future__ import annotations

from gardener.cli.console import Console, duration, inert, one_line
from gardener.cli.target import add_common_options, open_gardener
from gardener.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gardener.app import Gardener


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
    for action in commands.choices.values():
        add_common_options(action)
    parser.set_defaults(run=embedder)


def embedder(args: argparse.Namespace, console: Console) -> int:
    with open_gardener(console) as gardener:
        if args.what == "use":
            return _use(args, gardener, console)
        return _cancel(gardener, console) if args.what == "cancel" else _show(gardener, console)


def _show(gardener: Gardener, console: Console) -> int:
    from gardener.embedder_change import embedder_json

    listed = embedder_json(gardener)
    if console.as_json:
        console.json(listed)
        return 0
    service = gardener.embedding
    spec, known = service.spec, service.known(listed["fingerprint"])
    size = f", {known.dimensions} numbers each" if known else ""
    console.line(f"Vectors are made by {inert(spec.text)}{size}.")
    if spec.leaves_the_machine:
        console.line(f"Code and questions are sent to {inert(spec.url)}.")
    if listed["problem"]:
        console.note(f"It cannot be used now: {listed['problem']}")
    if listed["projects"]:
        console.table(listed["projects"], ["project", "searched with", "vectors"])
    return 0


def _use(args: argparse.Namespace, gardener: Gardener, console: Console) -> int:
    from gardener.embedder_change import choose_embedder, try_embedder
    from gardener.models.embedder_spec import parse_spec
    from gardener.projects.names import shell_word

    spec = parse_spec(
        args.spec, url=args.url, key_variable=args.key_variable, query_prefix=args.query_prefix,
        text_prefix=args.text_prefix,
    )  # fmt: skip
    if spec.leaves_the_machine:
        console.note(f"Code and questions will be sent to {spec.url}.")
    tried = try_embedder(gardener, spec)
    chunks = _chunks(gardener)
    console.note(
        f"{spec.text} works: {tried.dimensions} numbers each, {1000 * tried.seconds_per_text:.0f} ms for a text. "
        f"{chunks:,} chunks of all projects: about {duration(chunks * tried.seconds_per_text)}, "
        "less what the store has already."
    )
    if not args.yes and not console.confirm("Change to it?"):
        if not console.interactive:
            raise UsageError(
                "Nothing was changed: there is nobody to ask.", next_step=f"gardener embedder use {args.spec} --yes"
            )
        console.note("Nothing was changed.")
        return 0
    choose_embedder(gardener, spec)
    _begin(gardener)
    if console.as_json:
        console.json(tried.as_json())
        return 0
    console.line(f"From now on {inert(spec.text)} makes the vectors.")
    console.note("Until a project has them all it is searched with the vectors that it has.")
    console.note("They are made in the background, project after project; how far: gardener embedder")
    for context in gardener.projects_by_use()[:3]:
        console.note(f"Now, for {one_line(context.name)}: gardener index --project {shell_word(context.name)} --wait")
    console.note("Better or worse than before: gardener eval --gate")
    return 0


def _cancel(gardener: Gardener, console: Console) -> int:
    """Back to the embedder that still answers for the active project, else for any."""
    from gardener.embedder_change import choose_embedder, former_embedder

    known = former_embedder(gardener)
    choose_embedder(gardener, known.spec)
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


def _chunks(gardener: Gardener) -> int:
    from gardener.index.facts import summary
    from gardener.paths import index_directory

    return sum(int(summary(index_directory(context.home)).get("chunks", "0")) for context in gardener.registry.list())
