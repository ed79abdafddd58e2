"""What the language tables are made of: a `Grammar` maps node types to rules, a rule says what a node
declares.

A rule looks at one node and returns a `Declared`, or None when the node is a plain statement.
`outline.collect` applies the rules and makes `Item`s. Rows are 0-based and inclusive here; `types.Chunk`
has 1-based lines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tree_sitter import Node

SIGNATURE_LIMIT: Final = 400

CLASS_KINDS: Final = frozenset(("class", "interface", "struct", "enum", "trait"))


class Declared:
    """What a rule found in a node.

    kind: as in types.Chunk; "" for a node that only holds others (a conditional, `extern "C"`).
    name: the declared name; "" for a block without one.
    body: the node where the signature ends, None when there is no body.
    inside: the node whose children are the members, None when it has none.
    flat: the members belong to the same run of chunks as the surroundings (a namespace), they do not form a
    class. owner: names that qualify this one and are not around it in the file (a receiver, `Class::`).
    head: the node whose start is the signature's start, when that is not the node itself.
    """

    __slots__ = ("body", "flat", "head", "inside", "kind", "name", "owner", "signature")

    def __init__(
        self,
        kind: str,
        name: str,
        body: Node | None = None,
        inside: Node | None = None,
        flat: bool = False,
        owner: tuple[str, ...] = (),
        head: Node | None = None,
        signature: str | None = None,
    ) -> None:
        self.kind = kind
        self.name = name
        self.body = body
        self.inside = inside
        self.flat = flat
        self.owner = owner
        self.head = head
        self.signature = signature


class Item:
    """A declaration with its place: rows `start` (leading comments and decorators included) to `end`."""

    __slots__ = (
        "doc",
        "end",
        "flat",
        "kind",
        "members",
        "name",
        "node",
        "owner",
        "row",
        "signature",
        "start",
    )

    def __init__(self, start: int, row: int, end: int, kind: str, name: str) -> None:
        self.start = start
        self.row = row
        self.end = end
        self.kind = kind
        self.name = name
        self.signature = ""
        self.doc = ""
        self.owner: tuple[str, ...] = ()
        self.members: list[Item] | None = None
        self.flat = False
        self.node: Node | None = None


Rule = Callable[["Node"], Declared | None]


@dataclass(frozen=True, slots=True)
class Grammar:
    """The table of one language.

    rules: node type to rule. transparent: types whose children are looked at as if they stood in their
    parent's place. comments, attributes: types that belong to the declaration right below them.
    annotations: types that stand first inside a declaration (perhaps within a `modifiers` node) and are
    left out of its signature. docstring: reads the documentation out of a body. swallows: types that hold,
    at their end, the comments which belong to the next declaration. own_rows: from how many rows on a
    declaration that is no function gets a chunk of its own. collapse_rows: up to how many rows a class
    stays one chunk.
    """

    rules: Mapping[str, Rule]
    comments: frozenset[str] = frozenset(("comment",))
    transparent: frozenset[str] = frozenset()
    attributes: frozenset[str] = frozenset()
    annotations: frozenset[str] = frozenset()
    docstring: Callable[[Node], str] | None = None
    swallows: frozenset[str] = frozenset()
    own_rows: int = 4
    collapse_rows: int = 8


# ---- Reading nodes ---------------------------------------------------------------------------------------


def text_of(node: Node | None) -> str:
    """The node's source text; "" for None."""
    if node is None:
        return ""
    raw = node.text
    return raw.decode("utf-8", "replace") if raw else ""


def first_child(node: Node, *types: str) -> Node | None:
    for child in node.named_children:
        if child.type in types:
            return child
    return None


def nth(node: Node, index: int) -> Node | None:
    """The named child at `index`, None when there are not so many."""
    children = node.named_children
    return children[index] if index < len(children) else None


def declares(
    kind: str,
    *,
    name: Callable[[Node], str] | None = None,
    body: str = "body",
    members: bool = False,
    flat: bool = False,
) -> Rule:
    """The usual rule: the name in the field "name", the body in the field `body`, members inside the body."""

    def rule(node: Node) -> Declared | None:
        block = node.child_by_field_name(body)
        found = name(node) if name is not None else text_of(node.child_by_field_name("name"))
        return Declared(kind, found, block, block if members else None, flat)

    return rule


def end_row(node: Node) -> int:
    """Last row that the node has text on: some grammars count the newline, and end in column 0 of the next
    row.
    """
    span = node.range
    row, column = span.end_point
    return row - 1 if column == 0 and row > span.start_point[0] else row


def fold(text: str, limit: int = SIGNATURE_LIMIT) -> str:
    """`text` in one line, at most `limit` characters."""
    folded = " ".join(text.split())
    if "( " in folded or " )" in folded:  # a list of parameters that stood on lines of its own
        folded = folded.replace("( ", "(").replace(", )", ")").replace(" )", ")")
    return folded if len(folded) <= limit else folded[: limit - 1].rstrip() + "…"
