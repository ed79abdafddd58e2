"""Names that a file uses without calling them: a function handed over, a type, a base class, a constant.

Almost every word of a program is such a name, so only those are kept that can be another definition's: names that the
file defines or imports itself, and, where files see each other without an import, names that begin with a capital.
Works on code without comments and strings (`references.code_of`). Every expression is linear in its length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from gardener.index.references import NAME_LIMIT, dotted


class Use(NamedTuple):
    name: str
    receiver: str
    """As in `references.Reference`."""
    line: int
    """1-based."""
    binds: bool
    """It stands before "=": a variable or an argument of that name, which is something else."""


OWN: Final = frozenset({"self", "this", "cls", "Self", "static"})
"""What a method calls the object or class that it belongs to."""

_SCRIPTS: Final = frozenset({"javascript", "typescript", "tsx", "jsx", "vue", "svelte"})
_SEEN_WITHOUT_IMPORT: Final = frozenset(
    {"go", "java", "kotlin", "scala", "csharp", "swift", "c", "cpp", "objc", "php", "ruby", "rust", "groovy"}
)
"""Languages in which a file sees what its package, folder, module or included headers define."""

_USE: Final = re.compile(
    r"\b(?P<chain>(?:[\w$]++(?:\.|::|->|\?\.|\\)){0,12}+)(?P<name>[^\W\d][\w$]*+)"
    r"(?P<after>[ \t]*+(?:\(|:(?!:)|=(?![=>~]))|)"
)

_IMPORT_STATEMENT: Final = {
    "python": r"^[ \t]*(?:from[ \t]+[\w.]*[ \t]+import[ \t]+(?:\([^)]{0,10000}+\)|[^\n(]+)|import[ \t][^\n]+)",
    "scripts": r"\bimport\s++[^'\"`;()]{0,2000}+\"\"",
    "go": r"^import[ \t]*+(?:\([^)]{0,20000}+\)|[^\n]+)",
    "rust": r"^[ \t]*(?:pub(?:\([^)\n]*\))?[ \t]+)?use[ \t]+[^;]{1,2000}+;",
    "php": r"^use[ \t][^;\n]+;",
    "c": r"^[ \t]*#[ \t]*(?:include|import)[^\n]*",
    "": r"^[ \t]*(?:import|using|package|namespace)[ \t]+(?:static[ \t]+)?[\w.*{}, ]+;?[ \t]*$",
}
_KIND: Final = {"cpp": "c", "objc": "c"} | dict.fromkeys(_SCRIPTS, "scripts")
_IMPORTS: Final = {kind: re.compile(pattern, re.MULTILINE) for kind, pattern in _IMPORT_STATEMENT.items()}


def uses(language: str, code: str, known: frozenset[str], members: frozenset[str]) -> Iterator[Use]:
    """Uses in the order of the lines. `known` are names that the file defines or imports; `members` what it defines
    inside of classes."""
    code = _IMPORTS.get(_KIND.get(language, language), _IMPORTS[""]).sub(
        lambda match: "\n" * match[0].count("\n"), code
    )
    capitals = language in _SEEN_WITHOUT_IMPORT
    labels = language in _SCRIPTS
    marked = language == "ruby"
    line, counted = 1, 0
    for match in _USE.finditer(code):
        chain, name, after = match.groups()
        if marked and (mark := code[match.end() : match.end() + 1]) in ("!", "?"):
            name += mark
            after = code[match.end() + 1 : match.end() + 2]
        if not chain:
            if name not in known and not (capitals and name[0].isupper() and len(name) > 1):
                continue
            if after and after[-1] == "(":
                continue
        start = match.start()
        if start and code[start - 1] in ".@$\\":
            continue
        if chain:
            chain = dotted(chain).rstrip(".")
            root, _, last = chain.partition(".")
            last = last.rpartition(".")[2] or root
            if root in OWN:
                if name not in members or (after and after[-1] == "("):
                    continue
            elif root not in known and not (capitals and root[:1].isupper()):
                continue
        if len(name) > NAME_LIMIT:
            continue
        line += code.count("\n", counted, start)
        counted = start
        if chain and last[:1].isupper() and len(last) > 1:
            yield Use(last, chain[: -len(last)].rstrip(".")[-NAME_LIMIT:], line, binds=False)
        end = after[-1:]
        if end == "(" or (end == ":" and labels and not chain):
            continue
        annotation = code[max(0, start - 2) : start].rstrip().endswith(":")  # as in `x: Type = …`
        binds = (
            not chain and not annotation and (end == "=" or (end == ":" and code[match.end() : match.end() + 1] == "="))
        )
        yield Use(name, chain[-NAME_LIMIT:], line, binds)


def is_parameter(name: str, signature: str) -> bool:
    """Whether a signature has a parameter of this name, which hides what else is called so."""
    return (
        name in signature
        and not name[:1].isupper()
        and re.search(rf"[(,*&\s]{re.escape(name)}\s*[,):=?]", signature) is not None
    )
