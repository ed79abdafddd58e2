"""The tables of Java, C#, Kotlin, Scala, Swift and PHP."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gardener.index.declared import Declared, Grammar, Rule, declares, first_child, text_of

if TYPE_CHECKING:
    from tree_sitter import Node

_FUNCTION = declares("function")


def _child_text(*types: str) -> Callable[[Node], str]:
    return lambda node: text_of(first_child(node, *types))


def _has_token(node: Node, *tokens: str) -> bool:
    return any(child.type in tokens for child in node.children)


# ---- Java, C#, Kotlin, Scala

JAVA = Grammar(
    rules={
        "class_declaration": declares("class", members=True),
        "record_declaration": declares("class", members=True),
        "interface_declaration": declares("interface", members=True),
        "annotation_type_declaration": declares("interface", members=True),
        "enum_declaration": declares("enum", members=True),
        "method_declaration": _FUNCTION,
        "constructor_declaration": _FUNCTION,
        "compact_constructor_declaration": _FUNCTION,
    },
    comments=frozenset(("line_comment", "block_comment")),
    transparent=frozenset(("enum_body_declarations",)),
    annotations=frozenset(("annotation", "marker_annotation")),
)


def _cs_property(node: Node) -> Declared | None:
    accessors = node.child_by_field_name("accessors")
    if node.end_point[0] - node.start_point[0] < 3:
        return None
    name = text_of(node.child_by_field_name("name")) or "this"
    return Declared("function", name, accessors)


def _cs_operator(node: Node) -> Declared:
    sign = text_of(node.child_by_field_name("operator") or node.child_by_field_name("type"))
    return Declared("function", f"operator {sign}", node.child_by_field_name("body"))


CSHARP = Grammar(
    rules={
        "namespace_declaration": declares("module", members=True, flat=True),
        "class_declaration": declares("class", members=True),
        "record_declaration": declares("class", members=True),
        "struct_declaration": declares("struct", members=True),
        "interface_declaration": declares("interface", members=True),
        "enum_declaration": declares("enum"),
        "delegate_declaration": declares("type"),
        "method_declaration": _FUNCTION,
        "constructor_declaration": _FUNCTION,
        "destructor_declaration": declares("function", name=lambda n: "~" + text_of(n.child_by_field_name("name"))),
        "operator_declaration": _cs_operator,
        "conversion_operator_declaration": _cs_operator,
        "property_declaration": _cs_property,
        "indexer_declaration": _cs_property,
        "local_function_statement": _FUNCTION,
    },
    transparent=frozenset(("global_statement", "preproc_if", "preproc_else", "preproc_elif", "preproc_region")),
    annotations=frozenset(("attribute_list",)),
)


def _kotlin_class(node: Node) -> Declared:
    body = first_child(node, "class_body", "enum_class_body")
    name = text_of(first_child(node, "type_identifier", "simple_identifier"))
    kind = "interface" if _has_token(node, "interface") else "class"
    if _has_token(node, "enum") or (body is not None and body.type == "enum_class_body"):
        kind = "enum"
    if node.type == "companion_object":
        name = name or "Companion"
    return Declared(kind, name, body, body)


def _kotlin_function(node: Node) -> Declared:
    receiver = node.child_by_field_name("receiver")
    owner: tuple[str, ...] = ()
    if receiver is not None:
        owner = (text_of(receiver).split("<", 1)[0].rstrip("?").rsplit(".", 1)[-1].strip("() "),)
    return Declared("function", _child_text("simple_identifier")(node), first_child(node, "function_body"), owner=owner)


def _kotlin_property(node: Node) -> Declared | None:
    name = text_of(first_child(first_child(node, "variable_declaration") or node, "simple_identifier"))
    getter = first_child(node, "getter", "property_delegate")
    if getter is not None and node.end_point[0] - node.start_point[0] >= 3:
        return Declared("function", name, getter)
    parent = node.parent
    return Declared("constant", name) if name and parent is not None and parent.type == "source_file" else None


def _kotlin_constructor(node: Node) -> Declared:
    return Declared("function", "constructor" if node.type == "secondary_constructor" else "init",
                    first_child(node, "statements", "block"))  # fmt: skip


KOTLIN = Grammar(
    rules={
        "class_declaration": _kotlin_class,
        "object_declaration": _kotlin_class,
        "companion_object": _kotlin_class,
        "function_declaration": _kotlin_function,
        "property_declaration": _kotlin_property,
        "secondary_constructor": _kotlin_constructor,
        "type_alias": declares("type", name=_child_text("type_identifier", "simple_identifier")),
    },
    comments=frozenset(("line_comment", "multiline_comment")),
    annotations=frozenset(("annotation",)),
    swallows=frozenset(("import_list", "package_header")),
)


def _scala_value(node: Node) -> Declared | None:
    name = text_of(node.child_by_field_name("pattern") or node.child_by_field_name("name"))
    return Declared("constant", name) if name.isidentifier() else None


def _scala_extension(node: Node) -> Declared:
    body = node.child_by_field_name("body")
    return Declared("block", "", body, node if body is None or body.type == "function_definition" else body, flat=True)


SCALA = Grammar(
    rules={
        "class_definition": declares("class", members=True),
        "object_definition": declares("class", members=True),
        "package_object": declares("class", members=True),
        "trait_definition": declares("trait", members=True),
        "enum_definition": declares("enum", members=True),
        "given_definition": declares("constant", members=True),
        "extension_definition": _scala_extension,
        "function_definition": _FUNCTION,
        "function_declaration": _FUNCTION,
        "type_definition": declares("type"),
        "val_definition": _scala_value,
    },
    comments=frozenset(("comment", "block_comment")),
    annotations=frozenset(("annotation",)),
    transparent=frozenset(("package_clause", "template_body")),
)


# ---- Swift

_SWIFT_KINDS = {"struct": "struct", "enum": "enum", "protocol": "interface"}


def _swift_class(node: Node) -> Declared:
    body = node.child_by_field_name("body")
    name = text_of(node.child_by_field_name("name")).split("<", 1)[0]
    kind = next((_SWIFT_KINDS[child.type] for child in node.children if child.type in _SWIFT_KINDS), "class")
    return Declared(kind, name, body, body)


def _swift_property(node: Node) -> Declared | None:
    computed = node.child_by_field_name("computed_value")
    name = text_of(node.child_by_field_name("name"))
    if computed is not None and node.end_point[0] - node.start_point[0] >= 2:
        return Declared("function", name, computed)
    parent = node.parent
    return Declared("constant", name) if name and parent is not None and parent.type == "source_file" else None


def _swift_special(name: str) -> Rule:
    return lambda node: Declared(
        "function", name, node.child_by_field_name("body") or first_child(node, "computed_property")
    )


SWIFT = Grammar(
    rules={
        "class_declaration": _swift_class,
        "protocol_declaration": declares("interface"),
        "function_declaration": _FUNCTION,
        "init_declaration": _swift_special("init"),
        "deinit_declaration": _swift_special("deinit"),
        "subscript_declaration": _swift_special("subscript"),
        "property_declaration": _swift_property,
        "typealias_declaration": declares("type"),
    },
    comments=frozenset(("comment", "multiline_comment")),
    annotations=frozenset(("attribute",)),
)


# ---- PHP


def _php_namespace(node: Node) -> Declared | None:
    body = node.child_by_field_name("body")
    if body is None:
        return None
    return Declared("module", text_of(node.child_by_field_name("name")), body, body, flat=True)


def _php_constant(node: Node) -> Declared | None:
    element = first_child(node, "const_element")
    parent = node.parent
    if element is None or parent is None or parent.type == "declaration_list":
        return None
    return Declared("constant", text_of(first_child(element, "name")))


PHP = Grammar(
    rules={
        "namespace_definition": _php_namespace,
        "function_definition": _FUNCTION,
        "class_declaration": declares("class", members=True),
        "interface_declaration": declares("interface", members=True),
        "trait_declaration": declares("trait", members=True),
        "enum_declaration": declares("enum", members=True),
        "method_declaration": _FUNCTION,
        "const_declaration": _php_constant,
    },
    transparent=frozenset(("if_statement", "compound_statement", "else_clause")),
    annotations=frozenset(("attribute_list",)),
)
