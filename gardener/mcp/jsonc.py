"""Small edits of JSON with comments and trailing commas, which keep every other character of the file.

Editors write their settings so, and people write comments into them. Libraries that read this lose the comments, or
lay the whole file out anew, so this finds the places in the text and changes only those.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

_BLANK = re.compile(r"(?:[ \t\r\n]+|//[^\r\n]*|/\*.*?\*/)+", re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"')
_SCALAR = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null")
_SAME_LINE = re.compile(r"(?:[ \t]+|//[^\r\n]*|/\*[^\r\n]*?\*/)+")
MOST_DEPTH = 200


class NotJson(ValueError):
    """The text is not JSON with comments; says where it stops being it."""

    def __init__(self, text: str, position: int, expected: str) -> None:
        line = text.count("\n", 0, position) + 1
        column = position - (text.rfind("\n", 0, position) + 1) + 1
        super().__init__(f"line {line}, column {column}: {expected} was expected")


@dataclass(slots=True)
class Member:
    key: str
    start: int
    """Where the key's quote stands."""
    value: Node
    comma: int | None = None
    """Where the comma after it stands."""


@dataclass(slots=True)
class Node:
    """A value and its place, [start, end) in characters."""

    start: int
    end: int
    data: Any
    members: list[Member] = field(default_factory=list)
    """In their order, of an object; a key may stand there twice, and the last counts."""

    def member(self, key: str) -> Member | None:
        return next((member for member in reversed(self.members) if member.key == key), None)


def parse(text: str) -> Node | None:
    """The value of the text; None when there is nothing but blanks and comments. Raises NotJson."""
    reader = _Reader(text)
    position = reader.skip(1 if text.startswith("\ufeff") else 0)
    if position == len(text):
        return None
    node = reader.value(position, 0)
    position = reader.skip(node.end)
    if position != len(text):
        raise NotJson(text, position, "the end")
    return node


def set_value(text: str, path: Sequence[str], value: Any) -> str:
    """The text with `value` at `path` (keys of nested objects, which are made as needed).

    Raises NotJson, and ValueError when something on the way is not an object.
    """
    node = parse(text)
    if node is None:
        head = text.rstrip()
        return (f"{head}\n" if head not in ("", "\ufeff") else head) + json.dumps(_nest(path, value), indent=2) + "\n"
    layout = _Layout(text, node)
    for depth, key in enumerate(path):
        if not isinstance(node.data, dict):
            raise ValueError(f"{'.'.join(path[:depth]) or 'the whole'} is not an object")
        member = node.member(key)
        if member is None:
            return _insert(text, layout, node, key, _nest(path[depth + 1 :], value))
        node = member.value
    if node.data == value and type(node.data) is type(value):
        return text
    return text[: node.start] + layout.dump(value, layout.indent_at(node.start)) + text[node.end :]


def remove(text: str, path: Sequence[str]) -> str:
    """The text without the member at `path`, however often it is there; unchanged when it is not. Raises NotJson."""
    while True:
        node = parse(text)
        for key in path[:-1]:
            member = node.member(key) if node is not None else None
            node = member.value if member is not None else None
        member = node.member(path[-1]) if node is not None else None
        if node is None or member is None:
            return text
        text = _cut(text, node, member)


def _nest(path: Sequence[str], value: Any) -> Any:
    for key in reversed(path):
        value = {key: value}
    return value


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text

    def skip(self, position: int) -> int:
        found = _BLANK.match(self.text, position)
        return found.end() if found else position

    def value(self, position: int, depth: int) -> Node:
        character = self.text[position : position + 1]
        if depth > MOST_DEPTH:
            raise NotJson(self.text, position, f"nesting of at most {MOST_DEPTH}")
        if character == "{":
            return self._object(position, depth)
        if character == "[":
            return self._array(position, depth)
        found = (_STRING if character == '"' else _SCALAR).match(self.text, position)
        if found is None:
            raise NotJson(self.text, position, "a value")
        return Node(position, found.end(), json.loads(found.group()))

    def _object(self, start: int, depth: int) -> Node:
        members: list[Member] = []
        position = self.skip(start + 1)
        while self.text[position : position + 1] != "}":
            if members and members[-1].comma is None:
                raise NotJson(self.text, position, "a comma or }")
            key = _STRING.match(self.text, position)
            if key is None:
                raise NotJson(self.text, position, "a key in double quotes")
            colon = self.skip(key.end())
            if self.text[colon : colon + 1] != ":":
                raise NotJson(self.text, colon, "a colon")
            value = self.value(self.skip(colon + 1), depth + 1)
            members.append(Member(json.loads(key.group()), position, value))
            position, members[-1].comma = self._comma(value.end)
        return Node(start, position + 1, {member.key: member.value.data for member in members}, members)

    def _array(self, start: int, depth: int) -> Node:
        items: list[Any] = []
        position = self.skip(start + 1)
        comma: int | None = start
        while self.text[position : position + 1] != "]":
            if comma is None:
                raise NotJson(self.text, position, "a comma or ]")
            item = self.value(position, depth + 1)
            items.append(item.data)
            position, comma = self._comma(item.end)
        return Node(start, position + 1, items)

    def _comma(self, position: int) -> tuple[int, int | None]:
        """Where the next thing stands, and where the comma before it does."""
        position = self.skip(position)
        if self.text[position : position + 1] != ",":
            return position, None
        return self.skip(position + 1), position


class _Layout:
    """How the file is laid out: its line ends and its step of indentation."""

    def __init__(self, text: str, root: Node) -> None:
        self.text = text
        self.newline = "\r\n" if "\r\n" in text else "\n"
        first = root.members[0].start if root.members else None
        self.step = (self.indent_at(first) if first is not None and self.starts_line(first) else "") or "  "

    def indent_at(self, position: int) -> str:
        """The blanks with which the line of this position begins."""
        begin = self.text.rfind("\n", 0, position) + 1
        found = re.compile(r"[ \t]*").match(self.text, begin)
        return found.group() if found else ""

    def starts_line(self, position: int) -> bool:
        begin = self.text.rfind("\n", 0, position) + 1
        return begin > 0 and not self.text[begin:position].strip(" \t")

    def dump(self, value: Any, indent: str) -> str:
        lines = json.dumps(value, indent=self.step, ensure_ascii=False).split("\n")
        return (self.newline + indent).join(lines)


def _insert(text: str, layout: _Layout, node: Node, key: str, value: Any) -> str:
    """The text with one more member at the end of an object."""
    outer = layout.indent_at(node.start)
    last = node.members[-1] if node.members else None
    inner = layout.indent_at(last.start) if last and layout.starts_line(last.start) else outer + layout.step
    entry = f"{layout.newline}{inner}{json.dumps(key)}: {layout.dump(value, inner)}"
    if last is None:
        head = text[: node.end - 1].rstrip()  # "{", or the comments that stand in it
        return f"{head}{entry}{layout.newline}{outer}{text[node.end - 1 :]}"
    after = last.comma + 1 if last.comma is not None else last.value.end
    rest = _SAME_LINE.match(text, after)
    place = rest.end() if rest else after  # a comment on the last member's line stays with it
    if text[place : place + 1] not in ("\r", "\n"):
        place = after
    comma = "" if last.comma is not None else ","
    tail = text[place : node.end - 1]
    end = "," if last.comma is not None else ""
    close = "" if "\n" in tail else layout.newline + outer
    return f"{text[:after]}{comma}{text[after:place]}{entry}{end}{close}{text[place:]}"


def _cut(text: str, node: Node, member: Member) -> str:
    """The text without one member. Comments outside it stay."""
    index = next(i for i, other in enumerate(node.members) if other is member)
    start, end = member.start, member.value.end
    if member.comma is not None:
        between = text[end : member.comma]
        if between.strip():  # a comment between the value and its comma
            text = text[: member.comma] + text[member.comma + 1 :]
        else:
            end = member.comma + 1
    elif index and (comma := node.members[index - 1].comma) is not None:
        text = text[:comma] + text[comma + 1 :]
        start, end = start - 1, end - 1
    begin = text.rfind("\n", 0, start) + 1
    line_end = text.find("\n", end)
    if not text[begin:start].strip() and line_end >= 0 and not text[end:line_end].strip():
        start, end = begin, line_end + 1
    return text[:start] + text[end:]
