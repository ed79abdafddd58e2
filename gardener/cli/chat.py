"""`gardener chat`: a conversation in the terminal."""

from __future__ import annotations

import sys

from gardener.cli.ask import print_sources, stream_answer
from gardener.cli.console import Console
from gardener.cli.target import add_project_option, open_gardener
from gardener.errors import GardenerError, Interrupted

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

HELP = (
    "/new starts over, /continue finishes an answer that broke off, /sources shows the last citations again, "
    "/quit or Ctrl-D ends; Ctrl-C stops an answer"
)


def configure_chat(parser: argparse.ArgumentParser) -> None:
    parser.epilog = f"""Follow-up questions know what came before. In the conversation: {HELP}.

examples:
  gardener chat
  gardener chat --conversation 3f2a       go on where you were
  printf 'what is a queryset?\\nwho calls it?\\n' | gardener chat
"""
    add_project_option(parser)
    parser.add_argument("--conversation", metavar="ID", help="go on in this conversation")
    parser.set_defaults(run=chat)


def chat(args: argparse.Namespace, console: Console) -> int:
    failed = 0
    with open_gardener(console) as gardener:
        context = gardener.context(args.project)
        conversation = gardener.history.find(context.id, args.conversation).id if args.conversation else ""
        if console.interactive:
            console.note(f"{context.name}: ask away. {HELP}.")
        answer: dict[str, object] = {}
        while (question := _read(console)) is not None:
            if not question:
                continue
            if question in ("/quit", "/exit"):
                break
            if question == "/new":
                conversation = ""
                console.note("A new conversation.")
                continue
            if question == "/sources":
                if answer:
                    print_sources(console, answer)
                continue
            going_on = question == "/continue"
            if question.startswith("/") and not going_on:
                console.note(HELP)
                continue
            if going_on and not conversation:  # the first answer was interrupted before it was over
                latest = gardener.history.list(context.id, limit=1)
                if not latest:
                    console.note("There is nothing to continue yet.")
                    continue
                conversation = latest[0].id
            try:
                answer = stream_answer(gardener, context, None if going_on else question, conversation, console)
            except Interrupted as error:
                console.error(error)
                continue
            except GardenerError as error:
                console.error(error)
                failed = error.exit_code
                if not console.interactive:
                    return failed
                continue
            conversation = str(answer["conversation"])
            if console.as_json:
                console.json(answer)
            else:
                print_sources(console, answer)
            if not answer["complete"]:
                console.note("Have it finished: /continue")
        if conversation:
            console.note(f"Go on later: gardener chat --conversation {conversation}")
    return 0


def _read(console: Console) -> str | None:
    """The next question, None at the end of input."""
    if console.interactive:
        try:
            import readline  # noqa: F401 - line editing and recall in input()

            return input("> ").strip()
        except EOFError:
            return None
        except KeyboardInterrupt:
            console.note("")
            return None
    line = sys.stdin.readline()
    return line.strip() if line else None
