"""Small tables: Elixir, Zig, Julia, R, Perl, Haskell, Protocol Buffers, Terraform."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gardener.index.declared import Declared, Grammar, declares, first_child, fold, nth, text_of

if TYPE_CHECKING:
    from tree_sitter import Node

_FUNCTION = declares("function")


def _child_text(*types: str) -> Callable[[Node], str]:
    return lambda node: text_of(first_child(node, *types))


# ---- More, where a few lines suffice


def _dart_pair(node: Node) -> Declared | None:
    name = text_of(node.child_by_field_name("name")) or text_of(first_child(node, "identifier"))
    return Declared("function", name) if name else None


def _elixir_call(node: Node) -> Declared | None:
    target = text_of(node.child_by_field_name("target"))
    kinds = {"defmodule": "module", "def": "function", "defp": "function", "defmacro": "function",
             "defmacrop": "function", "defprotocol": "interface", "defimpl": "block", "test": "block",
             "describe": "block"}  # fmt: skip
    if target not in kinds:
        return None
    arguments = first_child(node, "arguments")
    block = first_child(node, "do_block")
    first = nth(arguments, 0) if arguments is not None else None
    name = "" if kinds[target] == "block" else text_of(first).split("(", 1)[0].split(" when ", 1)[0].strip()
    inside = block if target in ("defmodule", "defprotocol", "defimpl", "describe") else None
    return Declared(kinds[target], fold(name, 100), block, inside)


ELIXIR = Grammar(rules={"call": _elixir_call})


def _zig_declaration(node: Node) -> Declared | None:
    prototype = first_child(node, "FnProto")
    if prototype is not None:
        return Declared("function", text_of(prototype.child_by_field_name("function")), first_child(node, "Block"))
    variable = first_child(node, "VarDecl")
    name = text_of(variable.child_by_field_name("variable_type_function")) if variable is not None else ""
    return Declared("constant", name) if name else None


ZIG = Grammar(
    rules={"Decl": _zig_declaration, "TestDecl": lambda node: Declared("block", "", first_child(node, "Block"))},
    comments=frozenset(("doc_comment", "line_comment")),
)


def _julia_struct(node: Node) -> Declared:
    head = text_of(node).split("\n", 1)[0]
    name = text_of(nth(node, 0)).split("{", 1)[0].split("<", 1)[0].strip()
    return Declared("struct", name, signature=fold(head))


def _julia_module(node: Node) -> Declared:
    name = text_of(first_child(node, "identifier"))
    return Declared("module", name, inside=node, flat=True, signature=f"module {name}")


JULIA = Grammar(
    rules={
        "module_definition": _julia_module,
        "function_definition": lambda n: Declared(
            "function", text_of(nth(n, 0)).split("(", 1)[0].split("::", 1)[0].strip(), nth(n, 1)
        ),
        "struct_definition": _julia_struct,
        "macro_definition": lambda n: Declared("function", text_of(nth(n, 0)).split("(", 1)[0]),
    },
    comments=frozenset(("line_comment", "block_comment")),
)

R = Grammar(
    rules={
        "binary_operator": lambda node: (
            Declared("function", text_of(node.child_by_field_name("lhs")), right.child_by_field_name("body"))
            if (right := node.child_by_field_name("rhs")) is not None and right.type == "function_definition"
            else None
        )
    }
)

PERL = Grammar(rules={"subroutine_declaration_statement": _FUNCTION})

HASKELL = Grammar(
    rules={
        "function": declares("function", body="match"),
        "signature": lambda node: Declared("function", text_of(node.child_by_field_name("name"))),
        "data_type": declares("type", body="constructors"),
        "newtype": declares("type"),
        "type_synomym": declares("type"),
        "class": declares("interface", body="declarations"),
        "instance": declares("block", body="declarations"),
    },
    transparent=frozenset(("declarations", "haddock")),
    comments=frozenset(("comment", "haddock")),
)

_PROTO_NAMES = ("message_name", "enum_name", "service_name")
PROTO = Grammar(
    rules={
        "message": declares("struct", name=_child_text(*_PROTO_NAMES)),
        "enum": declares("enum", name=_child_text(*_PROTO_NAMES)),
        "service": declares("interface", name=_child_text(*_PROTO_NAMES)),
    }
)


def _terraform_block(node: Node) -> Declared:
    words = [text_of(child).strip('"') for child in node.named_children if child.type in ("identifier", "string_lit")]
    return (
        Declared("block", "", signature=" ".join(words))
        if not words
        else Declared("block", ".".join(words), first_child(node, "body"))
    )


TERRAFORM = Grammar(rules={"block": _terraform_block}, transparent=frozenset(("body",)))
