"""Finds the declarations in a syntax tree without visiting function bodies.

`collect` walks the named children of the root and of whatever a rule says has members, so the cost follows
the number of declarations, not the number of nodes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gardener.index.declared import CLASS_KINDS, Grammar, Item, end_row
from gardener.index.documentation import leading_documentation, signature_of

if TYPE_CHECKING:
    from tree_sitter import Node

MAX_DEPTH: Final = 24
"""Nested declarations deeper than this stay inside their parent's text: no input can exhaust the stack."""


def collect(container: Node, grammar: Grammar, source: bytes, in_class: bool = False, depth: int = 0) -> list[Item]:
    """The declarations among the named children of `container`, in order, with their members."""
    found: list[Item] = []
    _collect(container, grammar, source, in_class, depth, found)
    return found


def _collect(container: Node, grammar: Grammar, source: bytes, in_class: bool, depth: int, found: list[Item]) -> None:
    rules = grammar.rules
    transparent = grammar.transparent
    docstring = grammar.docstring
    run_start = -1  # first row of the comments and attributes right above the next node
    run_end = -9
    run: list[Node] = []
    previous_end = -1
    run = _comments_before(container, grammar.comments)
    if run:
        run_start, run_end = run[0].start_point[0], end_row(run[-1])
    for node in container.named_children:
        kind = node.type
        rule = rules.get(kind)
        declared = rule(node) if rule is not None else None
        if declared is None:
            row, (last, column) = node.start_point[0], node.end_point
            if column == 0 and last > row:
                last -= 1
            if kind in grammar.comments:
                if row != previous_end:
                    if row > run_end + 1:
                        run_start = row
                        run = []
                    run.append(node)
                    run_end = last
                    continue
            elif kind in grammar.attributes:
                if row > run_end + 1:
                    run_start = row
                    run = []
                run_end = last
                continue
            elif last > row and (kind in transparent or kind == "ERROR") and depth < MAX_DEPTH:
                _collect(node, grammar, source, in_class, depth + 1, found)
            previous_end = last
            run_end = -9
            if kind in grammar.swallows:
                run = _trailing_comments(node, grammar.comments)
                if run:
                    run_start, run_end = run[0].start_point[0], end_row(run[-1])
            continue
        row, (last, column) = node.start_point[0], node.end_point
        if column == 0 and last > row:
            last -= 1
        if not declared.kind:
            if declared.inside is not None and depth < MAX_DEPTH:
                _collect(declared.inside, grammar, source, in_class, depth + 1, found)
            previous_end = last
            run_end = -9
            continue
        led = run_end >= row - 1
        item = Item(run_start if led else row, row, last, declared.kind, declared.name)
        item.node = node
        item.owner = declared.owner
        if item.kind == "function" and (in_class or declared.owner):
            item.kind = "method"
        signature = declared.signature
        item.signature = signature if signature is not None else signature_of(node, declared, grammar, source)
        if docstring is not None and declared.body is not None:
            item.doc = docstring(declared.body)
        elif led and run:
            item.doc = leading_documentation(run)
        if declared.inside is not None and depth < MAX_DEPTH:
            item.flat = declared.flat
            classy = item.kind in CLASS_KINDS or item.kind == "constant"  # an object literal has methods too
            if item.flat and item.kind == "block":  # so has an impl block
                classy = True
            item.members = collect(declared.inside, grammar, source, classy, depth + 1)
        found.append(item)
        previous_end = last
        run_end = -9


def _comments_before(container: Node, comments: frozenset[str]) -> list[Node]:
    """The comments right in front of a body that starts with its first statement, as Ruby's does."""
    run: list[Node] = []
    parent = container.parent
    sibling = container.prev_named_sibling if parent is not None else None
    while sibling is not None and parent is not None and sibling.type in comments:
        row = sibling.start_point[0]
        below = run[0].start_point[0] if run else container.start_point[0]
        if end_row(sibling) != below - 1 or row == parent.start_point[0]:
            break
        run.insert(0, sibling)
        sibling = sibling.prev_named_sibling
    return run


def _trailing_comments(node: Node, comments: frozenset[str]) -> list[Node]:
    """The comments at the end of `node` that stand right below one another."""
    run: list[Node] = []
    for _ in range(3):
        children = node.named_children
        if not children or children[-1].type in comments:
            break
        node = children[-1]
    for child in reversed(node.named_children):
        if child.type not in comments or (run and end_row(child) != run[0].start_point[0] - 1):
            break
        run.insert(0, child)
    return run
