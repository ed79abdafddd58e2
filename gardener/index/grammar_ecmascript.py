"""The tables of JavaScript, TypeScript and TSX.

Functions come in many shapes there: declarations, constants that hold arrows, assignments to exports or
prototypes, class fields, members of object literals, callbacks of `describe` and `it`, wrappers called at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gardener.index.declared import Declared, Grammar, Rule, declares, end_row, nth, text_of

if TYPE_CHECKING:
    from tree_sitter import Node

_FUNCTIONS = frozenset(
    (
        "arrow_function",
        "function_expression",
        "function",
        "generator_function",
        "generator_function_declaration",
    )
)
_CLASSES = frozenset(("class", "class_expression"))
_OBJECT_ROWS = 30
"""An object literal of more rows than this gives its functions chunks of their own."""


def _value(name: str, value: Node | None, owner: tuple[str, ...] = (), head: Node | None = None) -> Declared | None:
    """What `name = value` declares."""
    if value is None:
        return Declared("constant", name, owner=owner, head=head)
    while value.type in (
        "as_expression",
        "satisfies_expression",
        "parenthesized_expression",
        "non_null_expression",
    ):
        inner = nth(value, 0)
        if inner is None:
            break
        value = inner
    kind = value.type
    if kind in _FUNCTIONS:
        return Declared("function", name, value.child_by_field_name("body"), owner=owner, head=head)
    if kind in _CLASSES:
        body = value.child_by_field_name("body")
        return Declared("class", name, body, body, owner=owner, head=head)
    if kind == "object":
        inside = value if value.end_point[0] - value.start_point[0] > _OBJECT_ROWS else None
        return Declared("constant", name, value, inside, owner=owner, head=head)
    if kind == "call_expression":
        callback = _callback(value)
        if callback is not None:  # memo(function () {...}), forwardRef((props) => ...)
            return Declared("function", name, callback.child_by_field_name("body"), owner=owner, head=head)
    return Declared("constant", name, owner=owner, head=head)


def _callback(call: Node) -> Node | None:
    """The first function among a call's arguments, when it has several rows."""
    arguments = call.child_by_field_name("arguments")
    if arguments is None:
        return None
    for argument in arguments.named_children[:6]:
        if argument.type in _FUNCTIONS and argument.end_point[0] > argument.start_point[0]:
            return argument
    return None


def _variables(node: Node) -> Declared | None:
    declarator = None
    for child in node.named_children:
        if child.type == "variable_declarator":
            if declarator is not None and child.end_point[0] != declarator.end_point[0]:
                break
            declarator = declarator or child
    if declarator is None:
        return None
    name = declarator.child_by_field_name("name")
    if name is None:
        return None
    if name.type != "identifier":
        return None  # destructuring: several names, none of them the thing's own
    declared = _value(text_of(name), declarator.child_by_field_name("value"))
    if declared is not None and declared.kind == "constant" and declared.body is not None and declared.inside is None:
        declared.body = None
    return declared


def _expression(node: Node) -> Declared | None:
    inner = nth(node, 0)
    if inner is None:
        return None
    kind = inner.type
    if kind == "assignment_expression":
        return _assignment(inner)
    if kind == "await_expression" or kind == "unary_expression":
        inner = nth(inner, 0)
        if inner is None:
            return None
        kind = inner.type
    if kind == "internal_module":  # namespace X {}: an expression statement in the grammar
        return _NAMESPACE(inner)
    return _call(inner) if kind == "call_expression" else None


def _assignment(node: Node) -> Declared | None:
    left = node.child_by_field_name("left")
    right = node.child_by_field_name("right")
    if left is None or right is None or left.type not in ("member_expression", "identifier"):
        return None
    if right.type == "assignment_expression":  # exports.a = exports.b = function
        right = right.child_by_field_name("right")
    path = [
        part for part in text_of(left).split(".") if part not in ("prototype", "window", "globalThis", "self", "this")
    ]
    if path[0] in ("module", "exports") and len(path) > 1 and path[1:] != ["exports"]:
        path = path[2:] if path[:2] == ["module", "exports"] else path[1:]
    elif path == ["module", "exports"]:
        path = ["module.exports"]
    if not path or not all(part.replace("$", "_").replace("#", "_").replace(".", "_").isidentifier() for part in path):
        return None
    declared = _value(path[-1], right, owner=tuple(path[:-1]))
    if declared is None or (declared.kind == "constant" and declared.inside is None and path != ["module.exports"]):
        return None
    return declared


def _call(node: Node) -> Declared | None:
    function = node.child_by_field_name("function")
    if function is None or end_row(node) - node.start_point[0] < 2:
        return None
    if function.type == "parenthesized_expression":  # (function () {...})()
        inner = nth(function, 0)
        if inner is not None and inner.type in _FUNCTIONS:
            return Declared("", "", inside=inner.child_by_field_name("body"))
    if function.type in _FUNCTIONS:
        return Declared("", "", inside=function.child_by_field_name("body"))
    if function.type == "member_expression":
        target = function.child_by_field_name("object")
        if target is not None and target.type == "parenthesized_expression":
            inner = nth(target, 0)
            if inner is not None and inner.type in _FUNCTIONS:
                return Declared("", "", inside=inner.child_by_field_name("body"))
    callback = _callback(node)
    if callback is None:
        return None
    body = callback.child_by_field_name("body")
    arguments = node.child_by_field_name("arguments")
    first = nth(arguments, 0) if arguments is not None else None
    if first is not None and first.type in ("string", "template_string"):  # describe("...", () => {...})
        return Declared("block", "", body, body)
    if text_of(function) in ("define", "require", "$", "jQuery"):
        return Declared("", "", inside=body)
    return Declared("block", "", body, body)


def _exported(node: Node) -> Declared | None:
    inner = node.child_by_field_name("declaration") or node.child_by_field_name("value")
    if inner is None:
        return None
    if inner.type in _FUNCTIONS or inner.type in _CLASSES or inner.type in ("object", "call_expression"):
        name = text_of(inner.child_by_field_name("name")) or "default"
        declared = _value(name, inner)
    else:
        rule = TYPESCRIPT.rules.get(inner.type)
        declared = rule(inner) if rule is not None else None
    if declared is not None and declared.kind:
        declared.head = node
    return declared


def _field(node: Node) -> Declared | None:
    name = node.child_by_field_name("name") or node.child_by_field_name("property")
    value = node.child_by_field_name("value")
    if name is None or value is None:
        return None
    declared = _value(text_of(name), value)
    return declared if declared is not None and declared.kind == "function" else None


def _pair(node: Node) -> Declared | None:
    key = node.child_by_field_name("key")
    if key is None:
        return None
    declared = _value(text_of(key).strip("'\""), node.child_by_field_name("value"))
    if declared is None or (declared.kind != "function" and declared.inside is None):
        return None
    return declared


def _unquoted(node: Node) -> str:
    return text_of(node.child_by_field_name("name")).strip("'\"")


def _named(kind: str, members: bool = False) -> Rule:
    return declares(kind, members=members)


_NAMESPACE = declares(
    "module",
    name=lambda node: text_of(node.child_by_field_name("name")).strip("'\""),
    members=True,
    flat=True,
)


def _ambient(node: Node) -> Declared | None:
    inner = nth(node, 0)
    if inner is None:
        return None
    rule = TYPESCRIPT.rules.get(inner.type)
    declared = rule(inner) if rule is not None else None
    if declared is not None and declared.kind:
        declared.head = node
    return declared


TYPESCRIPT = Grammar(
    rules={
        "function_declaration": declares("function"),
        "generator_function_declaration": declares("function"),
        "function_signature": declares("function"),
        "class_declaration": _named("class", members=True),
        "abstract_class_declaration": _named("class", members=True),
        "class": _named("class", members=True),
        "method_definition": declares("function", name=_unquoted),
        "field_definition": _field,
        "public_field_definition": _field,
        "pair": _pair,
        "interface_declaration": declares("interface"),
        "type_alias_declaration": declares("type"),
        "enum_declaration": declares("enum"),
        "internal_module": _NAMESPACE,
        "module": _NAMESPACE,
        "ambient_declaration": _ambient,
        "lexical_declaration": _variables,
        "variable_declaration": _variables,
        "expression_statement": _expression,
        "export_statement": _exported,
    },
    comments=frozenset(("comment",)),
    attributes=frozenset(("decorator",)),
    annotations=frozenset(("decorator",)),
    transparent=frozenset(("if_statement", "statement_block", "else_clause", "try_statement", "labeled_statement")),
)
