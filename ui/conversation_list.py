"""The conversations of a project beside the open one, and the line above it, as HTML.

Branches of one conversation are one entry: the one used last stands for all, the others are reached from its questions.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gardener.projects.conversations import UNTITLED, Conversation
from gardener.server.conversation_key import LISTED
from gardener.sizes import counted
from ui.markup import text

if TYPE_CHECKING:
    from gardener.projects.history import History
    from ui.desk import Tab

DAY_S = 24 * 3600.0


def list_html(history: History, tab: Tab) -> str:
    """The list, the last used first; with a query, what matches in titles or messages."""
    if tab.project is None:
        return ""
    found = search(history, tab.project.id, tab.query) if tab.query.strip() else together(history, tab.project.id)
    if not found:
        what = "No conversation has these words." if tab.query.strip() else "No conversations yet."
        return f'<p class="quiet">{what}</p>'
    ids = {one.id for one, _ in found}
    items = "".join(_item(one, len(kin), tab.conversation in kin) for one, kin in found)
    more = f'<p class="quiet">The last {LISTED} are listed; search finds older ones.</p>' if len(ids) >= LISTED else ""
    return f'<ol class="conversations">{items}</ol>{more}'


def together(history: History, project_id: str) -> list[tuple[Conversation, Sequence[str]]]:
    """One conversation for each family of branches, with the ids of all of them."""
    listed = history.list(project_id, limit=LISTED)
    parent = {one.id: one.parent_id for one in listed}

    def eldest(one: str) -> str:
        while parent.get(one):
            one = parent[one]
        return one

    first: dict[str, Conversation] = {}
    kin: dict[str, list[str]] = {}
    for one in listed:
        family = eldest(one.id)
        first.setdefault(family, one)
        kin.setdefault(family, []).append(one.id)
    return [(one, kin[family]) for family, one in first.items()]


def search(history: History, project_id: str, query: str) -> list[tuple[Conversation, Sequence[str]]]:
    """Conversations with the words in their title, then those with a message that has them."""
    words = query.casefold().split()
    found = {
        one.id: one
        for one in history.list(project_id, limit=1_000)
        if all(word in one.title.casefold() for word in words)
    }
    for hit in history.search(project_id, query, limit=LISTED):
        found.setdefault(hit.conversation.id, hit.conversation)
    return [(one, (one.id,)) for one in list(found.values())[:LISTED]]


def head_html(history: History, tab: Tab) -> str:
    """The open conversation's title and what can be done with it; above it, what was deleted can be brought back."""
    undo = ""
    if tab.deleted:
        undo = (
            '<p class="undo" role="status">Deleted. '
            f'<button type="button" data-act="undelete" data-argument="{text(tab.deleted[0])}">Undo</button></p>'
        )
    if tab.project is None or not tab.conversation:
        return f"{undo}<h2>{text(UNTITLED)}</h2>"
    title = history.find(tab.project.id, tab.conversation).title
    buttons = "".join(
        f'<button type="button" data-act="{what}" data-argument="{text(tab.conversation)}">{name}</button>'
        for what, name in (
            ("rename", "Rename"),
            ("markdown", "Export .md"),
            ("json", "Export .json"),
            ("delete", "Delete"),
        )
    )
    return f'{undo}<h2 title="{text(title)}">{text(title)}</h2><div class="acts">{buttons}</div>'


def earlier_html(tab: Tab) -> str:
    if not tab.transcript.earlier:
        return ""
    return (
        '<button type="button" data-act="earlier" data-argument="0">'
        f"Load earlier ({counted(tab.transcript.earlier, 'message')})</button>"
    )


def _item(one: Conversation, branches: int, is_open: bool) -> str:
    extra = f" · {branches} branches" if branches > 1 else ""
    current = ' aria-current="true"' if is_open else ""
    return (
        f'<li><button type="button" data-act="open" data-argument="{text(one.id)}"{current}'
        f' title="{text(one.title)}">'
        f'<span class="title">{text(one.title)}</span>'
        f'<span class="when">{ago(one.updated_at)} · {_messages(one.messages)}{extra}</span></button></li>'
    )


def _messages(count: int) -> str:
    return counted(count, "message")


def ago(at: float, now: float | None = None) -> str:
    """A time as people say it; Unix seconds, local time."""
    now = time.time() if now is None else now
    then, today = time.localtime(at), time.localtime(now)
    if then[:3] == today[:3]:
        return time.strftime("%H:%M", then)
    if then[:3] == time.localtime(now - DAY_S)[:3]:
        return "yesterday"
    return time.strftime("%d %b" if then[0] == today[0] else "%d %b %Y", then)


def kin_ids(kin: Sequence[Conversation]) -> tuple[str, ...]:
    """Of a family, those that are not deleted."""
    return tuple(one.id for one in kin if one.deleted_at is None)
