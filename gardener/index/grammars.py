"""The tables of Go, Rust, Bash, SQL, CSS and Lua, and `grammar_for`, the one door to all of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from gardener.index.declared import (
    Declared,
    Grammar,
    declares,
    first_child,
    fold,
    nth,
    text_of,
)
from gardener.index.grammar_c import CPP, OBJC, C
from gardener.index.grammar_ecmascript import TYPESCRIPT
from gardener.index.grammar_more import ELIXIR, HASKELL, JULIA, PERL, PROTO, TERRAFORM, ZIG, R
from gardener.index.grammar_objects import CSHARP, JAVA, KOTLIN, PHP, SCALA, SWIFT
from gardener.index.grammar_python import PYTHON, RUBY

if TYPE_CHECKING:
    from tree_sitter import Node

_FUNCTION = declares("function")


def _constant(node: Node) -> Declared | None:
    """`name = value` in the fields "name" and "value"."""
    name = text_of(node.child_by_field_name("name"))
    return Declared("constant", name) if name else None


def _child_text(*types: str) -> Callable[[Node], str]:
    return lambda node: text_of(first_child(node, *types))


def _has_token(node: Node, *tokens: str) -> bool:
    return any(child.type in tokens for child in node.children)


# ---- Go


def _go_spec(node: Node, kind: str) -> Declared | None:
    specs = [
        child for child in node.named_children if child.type in ("type_spec", "type_alias", "const_spec", "var_spec")
    ]
    listed = first_child(node, "var_spec_list")
    if listed is not None:
        specs = [child for child in listed.named_children if child.type == "var_spec"]
    if not specs:
        return None
    if kind == "type":
        if len(specs) > 1 or _has_token(node, "("):
            return Declared("", "", inside=node)
        return _go_type(specs[0])
    name = text_of(specs[0].child_by_field_name("name")) if len(specs) == 1 else ""
    value = specs[0].child_by_field_name("value") if len(specs) == 1 else None
    body = value if value is not None and value.end_point[0] > value.start_point[0] else None
    return Declared("constant", name, body, signature=None if name else fold(text_of(specs[0]), 100))


def _go_type(node: Node) -> Declared:
    name = text_of(node.child_by_field_name("name"))
    body = node.child_by_field_name("type")
    shape = body.type if body is not None else ""
    kind = {"struct_type": "struct", "interface_type": "interface"}.get(shape, "type")
    if body is not None and kind != "type":
        fields = first_child(body, "field_declaration_list") or next(
            (child for child in body.children if child.type == "{"), body
        )
        return Declared(kind, name, fields)
    return Declared("type", name)


def _go_method(node: Node) -> Declared:
    receiver = text_of(node.child_by_field_name("receiver")).strip("() ")
    owner = receiver.rsplit(" ", 1)[-1] if "[" not in receiver else receiver.split("[", 1)[0].rsplit(" ", 1)[-1]
    owner = owner.lstrip("*")
    return Declared(
        "function",
        text_of(node.child_by_field_name("name")),
        node.child_by_field_name("body"),
        owner=(owner,) if owner else (),
    )


GO = Grammar(
    rules={
        "function_declaration": _FUNCTION,
        "method_declaration": _go_method,
        "type_declaration": partial(_go_spec, kind="type"),
        "type_spec": _go_type,
        "type_alias": _go_type,
        "const_declaration": partial(_go_spec, kind="constant"),
        "var_declaration": partial(_go_spec, kind="constant"),
    },
)


# ---- Rust


def _rust_type_name(node: Node | None) -> str:
    """The name of the type that an impl block is for: no arguments, no references, no path."""
    for _ in range(8):
        if node is None:
            return ""
        inner = node.child_by_field_name("type") or node.child_by_field_name("name")
        if node.type in ("type_identifier", "primitive_type", "identifier") or inner is None:
            break
        node = inner
    return fold(text_of(node), 80)


def _rust_impl(node: Node) -> Declared:
    body = node.child_by_field_name("body")
    return Declared("block", _rust_type_name(node.child_by_field_name("type")), body, body, flat=True)


def _rust_mod(node: Node) -> Declared | None:
    body = node.child_by_field_name("body")
    if body is None:
        return None
    return Declared("module", text_of(node.child_by_field_name("name")), body, body, flat=True)


def _rust_macro(node: Node) -> Declared:
    rules = first_child(node, "macro_rule")
    return Declared("function", text_of(node.child_by_field_name("name")), rules)


RUST = Grammar(
    rules={
        "function_item": _FUNCTION,
        "function_signature_item": _FUNCTION,
        "struct_item": declares("struct"),
        "union_item": declares("struct"),
        "enum_item": declares("enum"),
        "trait_item": declares("trait", members=True),
        "impl_item": _rust_impl,
        "mod_item": _rust_mod,
        "macro_definition": _rust_macro,
        "const_item": declares("constant", body="value"),
        "static_item": declares("constant", body="value"),
        "type_item": declares("type", body="type"),
        "foreign_mod_item": lambda node: Declared("", "", inside=node.child_by_field_name("body")),
    },
    comments=frozenset(("line_comment", "block_comment")),
    attributes=frozenset(("attribute_item",)),
)


# ---- Bash, Lua, SQL, CSS


BASH = Grammar(
    rules={"function_definition": _FUNCTION, "variable_assignment": _constant},
    transparent=frozenset(("if_statement", "else_clause", "elif_clause")),
)

_SQL_KINDS = {
    "create_table": "table",
    "create_view": "table",
    "create_materialized_view": "table",
    "create_function": "function",
    "create_procedure": "function",
    "create_trigger": "function",
    "create_type": "type",
    "create_index": "block",
    "create_sequence": "block",
    "create_role": "block",
    "create_extension": "block",
    "create_policy": "block",
    "create_schema": "module",
    "create_database": "module",
}


def _sql_statement(node: Node) -> Declared | None:
    inner = nth(node, 0)
    if inner is None or inner.type not in _SQL_KINDS:
        return None
    target = inner.child_by_field_name("column") if inner.type == "create_index" else None
    name = text_of(target or first_child(inner, "object_reference", "identifier"))
    body = first_child(inner, "column_definitions", "create_query", "function_body")
    return Declared(_SQL_KINDS[inner.type], name.replace('"', "").replace("`", ""), body)


SQL = Grammar(
    rules={"statement": _sql_statement},
    comments=frozenset(("comment", "marginalia")),
    transparent=frozenset(("transaction", "block")),
    own_rows=3,
)


def _css_rule(node: Node) -> Declared:
    block = first_child(node, "block", "keyframe_block_list")
    head = (node.text or b"")[: block.start_byte - node.start_byte] if block is not None else (node.text or b"")[:200]
    selector = fold(head.decode("utf-8", "replace"), 200)
    return Declared("rule", selector.rstrip("{; "), block, signature=selector)


def _css_group(node: Node) -> Declared | None:
    block = first_child(node, "block")
    if block is None:
        return None
    declared = _css_rule(node)
    return Declared("rule", declared.name, block, block, flat=node.end_point[0] - node.start_point[0] > 40)


CSS = Grammar(
    rules={
        "rule_set": _css_rule,
        "keyframes_statement": _css_rule,
        "at_rule": _css_rule,
        "mixin_statement": _css_rule,
        "function_statement": _css_rule,
        "media_statement": _css_group,
        "supports_statement": _css_group,
    },
    comments=frozenset(("comment", "js_comment")),
    own_rows=12,
)


def _lua_function(node: Node) -> Declared:
    path = text_of(node.child_by_field_name("name")).replace(":", ".").split(".")
    return Declared("function", path[-1], node.child_by_field_name("body"), owner=tuple(path[:-1]))


LUA = Grammar(rules={"function_declaration": _lua_function})


GRAMMARS: dict[str, tuple[str, Grammar]] = {
    "python": ("python", PYTHON),
    "javascript": ("javascript", TYPESCRIPT),
    "typescript": ("typescript", TYPESCRIPT),
    "tsx": ("tsx", TYPESCRIPT),
    "go": ("go", GO),
    "rust": ("rust", RUST),
    "java": ("java", JAVA),
    "c": ("c", C),
    "cpp": ("cpp", CPP),
    "objc": ("objc", OBJC),
    "csharp": ("csharp", CSHARP),
    "ruby": ("ruby", RUBY),
    "php": ("php", PHP),
    "swift": ("swift", SWIFT),
    "kotlin": ("kotlin", KOTLIN),
    "scala": ("scala", SCALA),
    "bash": ("bash", BASH),
    "sql": ("sql", SQL),
    "css": ("css", CSS),
    "scss": ("scss", CSS),
    "lua": ("lua", LUA),
    "elixir": ("elixir", ELIXIR),
    "zig": ("zig", ZIG),
    "julia": ("julia", JULIA),
    "r": ("r", R),
    "perl": ("perl", PERL),
    "haskell": ("haskell", HASKELL),
    "proto": ("proto", PROTO),
    "terraform": ("terraform", TERRAFORM),
    "starlark": ("python", PYTHON),
}
"""Our name of a language: the name of its grammar in tree-sitter-language-pack, and our table."""


def grammar_for(language: str) -> tuple[str, Grammar] | None:
    """The parser's name and the table of `language`; None when its files are chunked without a parser."""
    return GRAMMARS.get(language)
