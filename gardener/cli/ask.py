"""`gardener ask`: one question, one answer with citations."""

from __future__ import annotations

import threading

from gardener.cli.asking import answer_events
from gardener.cli.console import Console, inert, one_line
from gardener.cli.target import add_project_option, open_gardener
from gardener.errors import Interrupted, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from gardener.app import Gardener
    from gardener.project_context import ProjectContext


def configure_ask(parser: argparse.ArgumentParser) -> None:
    parser.epilog = """examples:
  gardener ask "where are orders priced?"
  gardener ask "who calls it?" --continue
  gardener ask --continue               the last answer broke off: have it finished
  gardener ask "how are migrations ordered?" --project django --json
  git diff | gardener ask "what does this change break?" -
"""
    parser.add_argument("question", nargs="*", metavar="QUESTION", help="what you want to know; - adds standard input")
    add_project_option(parser)
    parser.add_argument("--continue", "-c", dest="follow", action="store_true", help="go on in the last conversation")
    parser.add_argument("--conversation", metavar="ID", help="go on in this conversation")
    parser.add_argument("--no-history", action="store_true", help="keep neither question nor answer")
    parser.add_argument("--receipt", action="store_true", help="also print what was retrieved and what was sent")
    parser.add_argument("--limit", "-n", type=int, metavar="N", help="at most N search results behind the answer")
    parser.set_defaults(run=ask)


def ask(args: argparse.Namespace, console: Console) -> int:
    # Nothing asked of a conversation: its last answer is to be finished.
    question = None if not args.question and (args.follow or args.conversation) else _question(args.question)
    if args.limit is not None and not 1 <= args.limit <= 100:
        raise UsageError(f"--limit is between 1 and 100, not {args.limit}.", next_step="gardener ask --help")
    with open_gardener(console) as gardener:
        context = gardener.context(args.project)
        conversation = _conversation(args, gardener, context)
        if question is None:
            from gardener.continued_answer import broken_answer

            partial = broken_answer(gardener.history, context, conversation or "").partial.text
            if not console.as_json:
                console.write(inert(partial))
        answer = stream_answer(gardener, context, question, conversation, console, args.limit)
    if console.as_json:
        console.json(answer)
    else:
        print_sources(console, answer)
        if args.receipt:
            print_receipt(console, answer)
    if not answer["complete"] and answer["conversation"]:
        console.note(f"Have it finished: gardener ask --continue --conversation {answer['conversation']}")
    if answer["error"]:
        console.note(f"The answer is incomplete: {answer['error']}")
        return 6
    return 0


def _question(words: list[str]) -> str:
    import sys

    parts = [word for word in words if word != "-"]
    if "-" in words:
        parts.append(sys.stdin.read())
    question = " ".join(parts).strip()
    if not question:
        raise UsageError("The question is empty.", next_step='gardener ask "what does this project do?"')
    return question


def _conversation(args: argparse.Namespace, gardener: Gardener, context: ProjectContext) -> str | None:
    """The conversation to write to: its id, "" for a new one, None for none."""
    if args.no_history:
        return None
    if args.conversation:
        return gardener.history.find(context.id, args.conversation).id
    if args.follow:
        latest = gardener.history.list(context.id, limit=1)
        if not latest:
            raise UsageError(f"'{context.name}' has no conversation to continue.", next_step='gardener ask "..."')
        return latest[0].id
    return ""


def stream_answer(
    gardener: Gardener,
    context: ProjectContext,
    question: str | None,
    conversation: str | None,
    console: Console,
    hits: int | None = None,
) -> dict[str, Any]:
    """Prints an answer as it is written (not with --json) and returns the complete one.

    Without a question the last answer of the conversation is continued, and only what is new is printed.
    """
    cancel = threading.Event()
    final: dict[str, Any] | None = None
    shown = False
    try:
        for event in answer_events(gardener, context, question, conversation, cancel, hits):
            if event["event"] == "text" and not console.as_json:
                console.write(inert(event["text"]))
                shown = True
            elif event["event"] == "answer":
                final = event
    except KeyboardInterrupt as error:
        cancel.set()
        if shown:
            console.line()
        if conversation is None:
            raise Interrupted("The answer was interrupted.", next_step="gardener status") from error
        raise Interrupted(
            "The answer was interrupted; what had been said is in the history and can be continued.",
            next_step="gardener ask --continue",
        ) from error
    if final is None:
        raise Interrupted("The answer ended without a last word.", next_step="gardener status")
    if shown or (question is None and not console.as_json):
        console.line()
    elif not console.as_json:
        console.line(inert(final["answer"]))
    final.pop("event")
    return final


_STATES = {"current": "", "changed": "  (changed since)", "missing": "  (gone)"}


def print_sources(console: Console, answer: dict[str, Any]) -> None:
    """Where each citation is, and what the answer rests on."""
    if answer["citations"]:
        console.line()
        for citation in sorted(answer["citations"], key=lambda citation: int(citation["n"])):
            place = f"{citation['path']}:{citation['start_line']}-{citation['end_line']}"
            symbol = f"  {citation['symbol']}" if citation["symbol"] else ""
            console.line(f"[{citation['n']}] {one_line(place)}{one_line(symbol)}{_STATES[citation['state']]}")
    index = answer["index"]
    at = f" at {index['head'][:10]}" if index["head"] else ""
    fresh = "matches the disk" if index["fresh"] else f"{index['changed_files']} files behind the disk"
    level = answer["degradation"]
    reason = f": {answer['degradation_reason']}" if answer["degradation_reason"] and level != "full" else ""
    console.note("")
    console.note(
        f"{answer['project']}{at}, index {fresh} · vectors {index['embedded_fraction']:.0%} · "
        f"{answer['backend']}{' ' + answer['model'] if answer['model'] else ''} · level: {level}{reason}"
    )
    if (step := answer["degradation_next_step"]) and step not in reason:
        console.note(f"  try: {step}")
    for warning in answer["warnings"]:
        if warning not in reason:  # said a line above
            console.note(warning)


def print_receipt(console: Console, answer: dict[str, Any]) -> None:
    receipt = answer["receipt"]
    console.line()
    console.line(
        f"Context: {receipt['prompt_tokens']:,} of {receipt['budget_tokens']:,} tokens ({receipt['counted_by']})"
    )
    console.table(
        [
            {
                "sent": "yes" if entry["sent"] else "no",
                "tokens": str(entry["tokens"]),
                "score": f"{entry['score']:.3f}",
                "found by": "+".join(entry["sources"]),
                "place": f"{entry['path']}:{entry['start_line']}-{entry['end_line']}",
            }
            for entry in receipt["retrieved"]
        ],
        ["sent", "tokens", "score", "found by", "place"],
    )
