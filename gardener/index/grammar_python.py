"""The tables of Python and Ruby."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gardener.index.declared import Declared, Grammar, declares, first_child, fold, nth, text_of
from gardener.index.documentation import clean_docstring

if TYPE_CHECKING:
    from tree_sitter import Node


# ---- Python


def _python_docstring(body: Node) -> str:
    for child in body.named_children:
        kind = child.type
        if kind == "comment":
            continue
        if kind == "expression_statement":
            inner = nth(child, 0)
            if inner is None:
                return ""
            child, kind = inner, inner.type
        return clean_docstring(text_of(child)) if kind in ("string", "concatenated_string") else ""
    return ""


_FUNCTION = declares("function")
_CLASS = declares("class", members=True)


def _python_decorated(node: Node) -> Declared | None:
    inner = node.child_by_field_name("definition")
    if inner is None:
        return None
    declared = _CLASS(inner) if inner.type == "class_definition" else _FUNCTION(inner)
    if declared is not None:
        declared.head = inner
    return declared


def _python_assignment(node: Node) -> Declared | None:
    if node.type == "expression_statement":
        inner = nth(node, 0)
        if inner is None or inner.type != "assignment":
            return None
        node = inner
    parent = node.parent
    if parent is not None and parent.type == "expression_statement":
        parent = parent.parent
    if parent is None or parent.type != "module":
        return None  # a class's fields belong to its header
    left = node.child_by_field_name("left")
    if left is None or left.type != "identifier":
        return None
    return Declared("constant", text_of(left), head=node)


PYTHON = Grammar(
    rules={
        "function_definition": _FUNCTION,
        "class_definition": _CLASS,
        "decorated_definition": _python_decorated,
        "assignment": _python_assignment,
        "expression_statement": _python_assignment,
        "type_alias_statement": declares("type", name=lambda node: text_of(node.child_by_field_name("left"))),
    },
    transparent=frozenset(
        ("if_statement", "elif_clause", "else_clause", "try_statement", "except_clause",
         "finally_clause", "with_statement", "block", "match_statement", "case_clause")
    ),
    docstring=_python_docstring,
)  # fmt: skip


# ---- Ruby


def _ruby_module(node: Node) -> Declared:
    body = node.child_by_field_name("body")
    return Declared("module", text_of(node.child_by_field_name("name")), body, body, flat=True)


def _ruby_assignment(node: Node) -> Declared | None:
    left = node.child_by_field_name("left")
    if left is None or left.type != "constant":
        return None
    right = node.child_by_field_name("right")
    block = right.child_by_field_name("block") if right is not None and right.type == "call" else None
    if block is not None:  # Point = Struct.new(:x, :y) do ... end
        inside = block.child_by_field_name("body")
        return Declared("class", text_of(left), block, inside)
    return Declared("constant", text_of(left))


def _ruby_call(node: Node) -> Declared | None:
    block = node.child_by_field_name("block")
    if block is not None:
        if block.end_point[0] - block.start_point[0] < 2:
            return None
        body = block.child_by_field_name("body")
        return Declared("block", "", block, body)
    arguments = node.child_by_field_name("arguments")
    if arguments is not None:  # private def name ... end
        method = first_child(arguments, "method", "singleton_method")
        if method is not None:
            return Declared("function", text_of(method.child_by_field_name("name")), method.child_by_field_name("body"))
    return None


def _ruby_method(node: Node) -> Declared:
    body = node.child_by_field_name("body")
    parameters = node.child_by_field_name("parameters")
    name = node.child_by_field_name("name")
    end = parameters or name
    text = (node.text or b"")[: (end.end_byte - node.start_byte) if end is not None else 200]
    return Declared("function", text_of(name), body, signature=fold(text.decode("utf-8", "replace")))


RUBY = Grammar(
    rules={
        "class": declares("class", members=True),
        "module": _ruby_module,
        "method": _ruby_method,
        "singleton_method": _ruby_method,
        "assignment": _ruby_assignment,
        "call": _ruby_call,
    },
    transparent=frozenset(("singleton_class", "body_statement", "if", "unless", "begin", "block_body", "then", "else")),
)
