"""The tables of C, C++ and Objective-C: names hide in declarators, macros stand where declarations should."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gardener.index.declared import Declared, Grammar, declares, first_child, fold, text_of

if TYPE_CHECKING:
    from tree_sitter import Node

_NAMES = frozenset(
    ("identifier", "field_identifier", "type_identifier", "destructor_name", "operator_name", "operator_cast",
     "template_function", "template_method", "qualified_identifier", "structured_binding_declarator")
)  # fmt: skip
_AGGREGATES = {
    "struct_specifier": "struct",
    "union_specifier": "struct",
    "class_specifier": "class",
    "enum_specifier": "enum",
}
_MOST_DECLARATORS = 30


def _innermost(declarator: Node | None) -> tuple[Node | None, bool]:
    """The name inside nested declarators, and whether one of them makes it a function."""
    is_function = False
    node = declarator
    for _ in range(_MOST_DECLARATORS):
        if node is None or node.type in _NAMES:
            break
        if node.type == "function_declarator":
            is_function = True
        inner = node.child_by_field_name("declarator")
        if inner is None:
            inner = first_child(
                node, "function_declarator", "pointer_declarator", "reference_declarator",
                "parenthesized_declarator", "array_declarator", "attributed_declarator", *_NAMES,
            )  # fmt: skip
        node = inner
    return node, is_function


def _plain(name: str) -> str:
    """A name without template arguments and spaces."""
    cut = name.find("<")
    if cut > 0 and not name.startswith("operator"):
        name = name[:cut]
    return fold(name, 120)


def _qualified(node: Node | None) -> tuple[str, tuple[str, ...]]:
    """The name and its owners: `geo::Box<T>::reset` gives ("reset", ("geo", "Box"))."""
    owner: list[str] = []
    for _ in range(_MOST_DECLARATORS):
        if node is None or node.type != "qualified_identifier":
            break
        scope = node.child_by_field_name("scope")
        if scope is not None:
            owner.append(_plain(text_of(scope)))
        node = node.child_by_field_name("name")
    name = text_of(node)
    if node is not None and node.type == "operator_cast":
        name = name.split("(", 1)[0].strip()
    return _plain(name), tuple(part for part in owner if part)


def _function(node: Node) -> Declared | None:
    declarator = node.child_by_field_name("declarator")
    body = node.child_by_field_name("body") or first_child(node, "try_statement")
    if body is None:
        body = first_child(node, "default_method_clause", "delete_method_clause", "field_initializer_list")
    start = first_child(node, "field_initializer_list") or body
    inner, is_function = _innermost(declarator)
    kind = node.child_by_field_name("type")
    if inner is None:
        return None
    name, owner = _qualified(inner)
    if not is_function and inner.type != "operator_cast" and inner.type != "qualified_identifier":
        # `class EXPORT Name { ... }` is read as a function that returns `class EXPORT`.
        if kind is not None and kind.type in _AGGREGATES and body is not None:
            return Declared(_AGGREGATES[kind.type], name, start, body)
        if (body is not None and name == "namespace") or (kind is not None and text_of(kind) == "namespace"):
            return Declared("module", "" if name == "namespace" else name, body, body, flat=True)
        return Declared("block", "", body, body)
    if kind is None and not owner and name.isupper() and "_" not in name[:1]:
        name = _macro_name(declarator) or name  # TEST(Suite, Case) { ... }
    return Declared("function", name, start, owner=owner)


def _macro_name(declarator: Node | None) -> str:
    parameters = declarator.child_by_field_name("parameters") if declarator is not None else None
    if parameters is None:
        return ""
    words = [text_of(child) for child in parameters.named_children[:3]]
    return ".".join(word for word in words if word.isidentifier())


def _aggregate(node: Node) -> Declared | None:
    body = node.child_by_field_name("body")
    if body is None:
        return None
    name, owner = _qualified(node.child_by_field_name("name"))
    inside = body if node.type in ("class_specifier", "struct_specifier") else None
    return Declared(_AGGREGATES[node.type], name, body, inside, owner=owner)


def _typedef(node: Node) -> Declared | None:
    kind = node.child_by_field_name("type")
    inner, _ = _innermost(node.child_by_field_name("declarator"))
    name = text_of(inner)
    if kind is not None and kind.type in _AGGREGATES:
        body = kind.child_by_field_name("body")
        if body is not None:
            tag = text_of(kind.child_by_field_name("name"))
            words = fold(f"typedef {kind.type.removesuffix('_specifier')} {tag} {name}")
            return Declared(_AGGREGATES[kind.type], name or tag, body, signature=words)
    return Declared("type", name) if name else None


def _declaration(node: Node) -> Declared | None:
    kind = node.child_by_field_name("type")
    declarator = node.child_by_field_name("declarator")
    inner, is_function = _innermost(declarator)
    if kind is not None and kind.type in _AGGREGATES and kind.child_by_field_name("body") is not None:
        found = _aggregate(kind)
        if found is not None:
            found.name = found.name or text_of(inner)
            return found
    if inner is None:
        return None
    name, owner = _qualified(inner)
    if is_function:
        return Declared("function", name, owner=owner)
    start = declarator.child_by_field_name("value") if declarator is not None else None
    return Declared("constant", name, start, owner=owner)


def _member_declaration(node: Node) -> Declared | None:
    """Fields belong to the header of their class; a nested type does not."""
    kind = node.child_by_field_name("type")
    if kind is not None and kind.type in _AGGREGATES and kind.child_by_field_name("body") is not None:
        return _aggregate(kind)
    return None


def _template(node: Node) -> Declared | None:
    for child in node.named_children:
        rule = CPP.rules.get(child.type)
        if rule is not None and child.type not in ("preproc_def", "preproc_function_def"):
            declared = rule(child)
            if declared is not None and declared.kind:
                declared.head = node
            return declared
    return None


def _macro(node: Node) -> Declared | None:
    name = text_of(node.child_by_field_name("name"))
    value = node.child_by_field_name("value")
    if value is None and node.type == "preproc_def":
        return None  # an include guard or a switch
    kind = "function" if node.type == "preproc_function_def" else "constant"
    return Declared(kind, name, value)


def _namespace(node: Node) -> Declared:
    body = node.child_by_field_name("body")
    name = text_of(node.child_by_field_name("name")).replace("::", ".")
    return Declared("module", name, body, body, flat=True)


def _linkage(node: Node) -> Declared | None:
    body = node.child_by_field_name("body")
    if body is None:
        return None
    if body.type == "declaration_list":
        return Declared("", "", inside=body)
    rule = CPP.rules.get(body.type)
    return rule(body) if rule is not None else None


_C_RULES = {
    "function_definition": _function,
    "struct_specifier": _aggregate,
    "union_specifier": _aggregate,
    "enum_specifier": _aggregate,
    "type_definition": _typedef,
    "declaration": _declaration,
    "preproc_def": _macro,
    "preproc_function_def": _macro,
    "linkage_specification": _linkage,
}
_CONDITIONALS = frozenset(("preproc_ifdef", "preproc_if", "preproc_else", "preproc_elif", "preproc_elifdef"))

C = Grammar(rules=_C_RULES, transparent=_CONDITIONALS)

CPP = Grammar(
    rules={
        **_C_RULES,
        "class_specifier": _aggregate,
        "field_declaration": _member_declaration,
        "template_declaration": _template,
        "namespace_definition": _namespace,
        "alias_declaration": declares("type", body="type"),
        "concept_definition": declares("type"),
    },
    transparent=_CONDITIONALS,
)


def _objc_container(node: Node) -> Declared:
    name = text_of(first_child(node, "identifier"))
    kind = "interface" if node.type == "protocol_declaration" else "class"
    head = text_of(node).split("\n", 1)[0]
    return Declared(kind, name, inside=node, signature=fold(head, 200))


def _objc_method(node: Node) -> Declared:
    words = [text_of(child) for child in node.named_children if child.type == "identifier"]
    return Declared("function", ":".join(words[:6]), first_child(node, "compound_statement"))


OBJC = Grammar(
    rules={
        **_C_RULES,
        "class_interface": _objc_container,
        "class_implementation": _objc_container,
        "protocol_declaration": _objc_container,
        "method_definition": _objc_method,
    },
    transparent=_CONDITIONALS | frozenset(("implementation_definition",)),
)
