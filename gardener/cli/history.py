"""`gardener history`: what was asked and answered, project by project."""

from __future__ import annotations

from gardener.cli.console import Console, inert
from gardener.cli.target import add_common_options, add_project_option, open_gardener

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gardener.app import Gardener
    from gardener.project_context import ProjectContext


def configure_history(parser: argparse.ArgumentParser) -> None:
    parser.epilog = """examples:
  gardener history                         conversations of the active project
  gardener history show                    the last one
  gardener history search "connection pool"
  gardener history export 3f2a --format markdown > notes.md
  gardener history delete 3f2a             and: gardener history restore 3f2a
"""
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    listing = actions.add_parser("list", help="conversations, the last used first")
    listing.add_argument("--deleted", action="store_true", help="those that were deleted")
    show = actions.add_parser("show", help="one conversation in full (default: the last)")
    show.add_argument("conversation", nargs="?", metavar="ID", help="of history list (default: the last one)")
    search = actions.add_parser("search", help="messages that have all these words")
    search.add_argument("words", nargs="+", metavar="WORD", help="what a message has to hold")
    export = actions.add_parser("export", help="one conversation as Markdown or JSON, to stdout")
    export.add_argument("conversation", metavar="ID", help="of history list")
    export.add_argument("--format", choices=("markdown", "json"), default="markdown", help="default: markdown")
    for name, text in (("delete", "hide a conversation; can be undone"), ("restore", "bring a deleted one back")):
        action = actions.add_parser(name, help=text)
        action.add_argument("conversation", metavar="ID", help="of history list")
    for action in actions.choices.values():
        add_project_option(action)
        add_common_options(action)
        action.add_argument("--limit", "-n", type=int, default=50, metavar="N", help="at most N (default 50)")
    add_project_option(parser)
    parser.set_defaults(run=history)


def history(args: argparse.Namespace, console: Console) -> int:
    with open_gardener(console) as gardener:
        context = gardener.context(args.project)
        action = args.action or "list"
        return {
            "list": _list,
            "show": _show,
            "search": _search,
            "export": _export,
            "delete": _delete,
            "restore": _restore,
        }[action](args, gardener, context, console)


def _list(args: argparse.Namespace, gardener: Gardener, context: ProjectContext, console: Console) -> int:
    limit, deleted = getattr(args, "limit", 50), getattr(args, "deleted", False)
    found = gardener.history.list(context.id, limit=limit, deleted=deleted)
    if console.as_json:
        console.json({"project": context.name, "conversations": [item.as_json() for item in found]})
        return 0
    if not found:
        console.note(f"'{context.name}' has no conversations yet: gardener ask \"...\"" if not deleted else "None.")
        return 0
    console.table(
        [
            {"id": item.id, "when": _when(item.updated_at), "messages": str(item.messages), "title": item.title}
            for item in found
        ],
        ["id", "when", "messages", "title"],
    )
    return 0


def _show(args: argparse.Namespace, gardener: Gardener, context: ProjectContext, console: Console) -> int:
    from gardener.errors import ConversationNotFound

    wanted = args.conversation
    if wanted is None:
        latest = gardener.history.list(context.id, limit=1)
        if not latest:
            raise ConversationNotFound(f"'{context.name}' has no conversations yet.", next_step='gardener ask "..."')
        wanted = latest[0].id
    if console.as_json:
        console.json(gardener.history.export_json(context.id, wanted))
    else:
        console.line(inert(gardener.history.export_markdown(context.id, wanted)))
    return 0


def _search(args: argparse.Namespace, gardener: Gardener, context: ProjectContext, console: Console) -> int:
    query = " ".join(args.words)
    found = gardener.history.search(context.id, query, limit=args.limit)
    if console.as_json:
        console.json({"project": context.name, "query": query, "hits": [hit.as_json() for hit in found]})
        return 0
    if not found:
        console.note("Nothing found.")
        return 0
    console.table(
        [
            {
                "id": hit.conversation.id,
                "when": _when(hit.message.created_at),
                "who": hit.message.role,
                "text": " ".join(hit.message.content.split())[:200],
            }
            for hit in found
        ],
        ["id", "when", "who", "text"],
    )
    return 0


def _export(args: argparse.Namespace, gardener: Gardener, context: ProjectContext, console: Console) -> int:
    if args.format == "json" or console.as_json:
        console.json(gardener.history.export_json(context.id, args.conversation))
    else:
        console.line(gardener.history.export_markdown(context.id, args.conversation))
    return 0


def _delete(args: argparse.Namespace, gardener: Gardener, context: ProjectContext, console: Console) -> int:
    conversation = gardener.history.delete(context.id, args.conversation)
    if console.as_json:
        console.json({"deleted": conversation.as_json()})
    else:
        console.line(f"Deleted {conversation.id}: {inert(conversation.title)}")
        console.note(f"Undo: gardener history restore {conversation.id}")
    return 0


def _restore(args: argparse.Namespace, gardener: Gardener, context: ProjectContext, console: Console) -> int:
    conversation = gardener.history.restore(context.id, args.conversation)
    if console.as_json:
        console.json({"restored": conversation.as_json()})
    else:
        console.line(f"Restored {conversation.id}: {inert(conversation.title)}")
    return 0


def _when(seconds: float) -> str:
    import time

    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
