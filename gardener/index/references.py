"""What a file mentions: calls with what stands in front of them, and imports. Found by a lexer, not by a tree.

One regular expression passes over the text once and skips comments and strings; the trees, which know the
declarations, are not walked again, because visiting every node costs more than all the rest of indexing. What is not
followed by a parenthesis (a function handed over by name, a type) is not seen.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

MOST_REFERENCES: Final = 20_000
"""Per file; generated code can have millions."""
NAME_LIMIT: Final = 200


_JOINS: Final = frozenset(".:>\\")
"""The last character of what can join a receiver with a name."""


class Reference(NamedTuple):
    name: str
    receiver: str
    """What stands in front of the name: "os.path" for os.path.join(); "?" for the result of a call or an index; ""
    when nothing does."""
    line: int
    """1-based."""


class Import(NamedTuple):
    """What a file imports: ("numpy", "", "np") for `import numpy as np`, ("a", "b", "b") for `from a import b`."""

    module: str
    """As it is written: "a.b", "./a", "crate::a", "a/b.h"."""
    name: str
    alias: str
    """How the file calls it."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_HASH: Final = _words("python ruby bash perl r elixir julia nim fish crystal")
_DASH: Final = _words("lua haskell sql elm ada purescript")
_SEMICOLON: Final = _words("clojure scheme commonlisp racket")
_CHARACTERS: Final = _words("c cpp java csharp rust go kotlin scala swift zig objc haskell")
"""Languages where ' quotes one character, and may stand alone (a lifetime)."""
_BACKTICKS: Final = _words("javascript typescript tsx jsx go vue svelte")
NOT_PROGRAMS: Final = _words(
    "text markdown rst asciidoc org latex html css scss less json yaml toml xml ini csv sql proto po make batch diff "
    "properties dotenv terraform hcl dockerfile cmake"
)
_NEVER_CALLED: Final = _words(
    """
    if elif else for foreach while until unless switch case when match return yield await async throw raise except
    catch finally try with assert del lambda not and or in is as new delete typeof instanceof void sizeof alignof
    decltype static_assert defined function func fn def fun sub class struct enum interface trait impl type let var
    val const mut ref using fixed checked unchecked nameof default import export package module
    extern union goto do go defer chan macro_rules super this self base constructor operator template
    typename noexcept requires concept explicit virtual override abstract final public private protected internal
    static inline isset unset elseif endif __attribute__ __declspec asm volatile
    """
)

_CALL: Final = re.compile(
    r"\b(?P<chain>(?:[\w$]++(?:\.|::|->|\?\.|!!\.|\\))*+)(?P<name>[^\W\d][\w$]*+)(?P<mark>[!?]?)"
    r"(?:(?:::)?<[\w$, .:*&\[\]?<>]{1,80}>)?[ \t]*\("
)
_DECORATOR: Final = re.compile(r"^[ \t]*@(?P<name>[^\W\d][\w$.]*+)(?![\w$.(])", re.MULTILINE)


@lru_cache(maxsize=64)
def _not_code(language: str) -> re.Pattern[str]:
    """Comments and strings of a language."""
    kinds = []
    if language == "python":
        kinds += [r'"""(?:[^"\\]|\\.|"(?!""))*+"""', r"'''(?:[^'\\]|\\.|'(?!''))*+'''"]
    if language in _BACKTICKS:
        kinds.append(r"`(?:[^`\\]|\\.)*+`" if language != "go" else r"`[^`]*+`")
    kinds.append(r'"(?:[^"\\\n]|\\.)*+"')
    kinds.append(r"'(?:[^'\\\n]|\\[^\n]{1,8}?)'" if language in _CHARACTERS else r"'(?:[^'\\\n]|\\.)*+'")
    if language in _HASH or language == "php":
        kinds.append(r"#[^\n]*+")
    if language in _DASH:
        kinds.append(r"--[^\n]*+")
    if language in _SEMICOLON:
        kinds.append(r";[^\n]*+")
    if language not in _HASH and language not in _DASH:
        kinds += [r"//[^\n]*+", r"/\*(?:[^*]|\*(?!/))*+\*/"]
    return re.compile("|".join(kinds), re.DOTALL)


def _blank(match: re.Match[str]) -> str:
    """What takes the place of a string or comment: nothing that can be read as code, and as many lines."""
    text = match[0]
    return "\n" * text.count("\n") if "\n" in text else '""' if text[0] in "\"'`" else ""


def references(language: str, text: str) -> list[Reference]:
    """The calls in a text, in order, and then what its decorators name."""
    if language in NOT_PROGRAMS:
        return []
    code = _not_code(language).sub(_blank, text)
    marked = language in ("rust", "ruby", "elixir", "swift")
    found: list[Reference] = []
    line, counted = 1, 0
    for match in _CALL.finditer(code):
        name = match["name"]
        if name in _NEVER_CALLED or len(name) > NAME_LIMIT or (match["mark"] and not marked):
            continue
        start = match.start()
        line += code.count("\n", counted, start)
        counted = start
        chain = match["chain"]
        if chain:
            receiver = chain if chain[-1] == "." and "?" not in chain and "!" not in chain else _dotted(chain)
            receiver = receiver.rstrip(".")[-NAME_LIMIT:]
        else:
            receiver = "?" if start and code[start - 1] in _JOINS else ""
        found.append(Reference(name, receiver, line))
        if len(found) >= MOST_REFERENCES:
            return found
    if "@" in code:
        line, counted = 1, 0
        for match in _DECORATOR.finditer(code):
            receiver, _, name = match["name"].strip(".").rpartition(".")
            line += code.count("\n", counted, match.start("name"))
            counted = match.start("name")
            if 0 < len(name) <= NAME_LIMIT:
                found.append(Reference(name, receiver[:NAME_LIMIT], line))
    return found[:MOST_REFERENCES]


def _dotted(chain: str) -> str:
    """`a::b->c?.` as a.b.c."""
    return chain.replace("::", ".").replace("->", ".").replace("?.", ".").replace("!!.", ".").replace("\\", ".")


# ---- imports ---------------------------------------------------------------------------------------------

_PYTHON_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(?P<module>\.*[\w.]*)[ \t]+import[ \t]+(?:\((?P<block>[^)]*)\)|(?P<names>[^\n#(]+))"
    r"|import[ \t]+(?P<modules>[^\n#]+))",
    re.MULTILINE,
)
_SCRIPT_IMPORT = re.compile(
    r"""(?:\bimport\s+(?P<type>type\s+)?(?P<what>[^'"`;()]{0,2000}?)\s*from\s*|\bexport\s+(?P<again>[^'"`;()=]{0,2000}?)\s*from\s*"""
    r"""|\b(?:const|let|var)\s+(?P<bound>[^=;'"`]{1,500})=\s*require\s*\(\s*|\bimport\s*\(?\s*)['"](?P<module>[^'"\n]{1,300})['"]"""
)
_GO_BLOCK = re.compile(r"^import\s*(?:\((?P<block>[^)]*)\)|(?P<one>[^\n]+))", re.MULTILINE)
_GO_SPEC = re.compile(r'(?P<alias>[\w.]+)?[ \t]*"(?P<module>[^"\n]+)"')
_DOTTED_IMPORT = re.compile(
    r"^[ \t]*(?:global[ \t]+)?(?:import|using)[ \t]+(?:static[ \t]+)?(?:(?P<alias>\w+)[ \t]*=[ \t]*)?"
    r"(?P<module>[\w.]+?)(?P<all>\.\*|\._)?(?:\.\{(?P<names>[^}]*)\})?(?:[ \t]+as[ \t]+(?P<as>\w+))?[ \t]*;?[ \t]*$",
    re.MULTILINE,
)
_RUST_USE = re.compile(r"^[ \t]*(?:pub(?:\([^)]*\))?[ \t]+)?use[ \t]+(?P<path>[^;]{1,2000});", re.MULTILINE)
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*(?:include|import)[ \t]*[<"](?P<module>[^>"\n]{1,300})[>"]', re.MULTILINE)
_PHP_USE = re.compile(
    r"^[ \t]*use[ \t]+(?:function[ \t]+|const[ \t]+)?(?P<path>[\w\\]+)(?:[ \t]+as[ \t]+(?P<alias>\w+))?[ \t]*;",
    re.MULTILINE,
)
_REQUIRE = re.compile(r"""\brequire(?P<relative>_relative)?[ \t(]*['"](?P<module>[^'"\n]{1,300})['"]""")

MOST_IMPORTS: Final = 2_000


def imports(language: str, text: str) -> list[Import]:
    """The imports of a file, in order."""
    if language == "python":
        found = _python_imports(text)
    elif language in ("javascript", "typescript", "tsx", "jsx", "vue", "svelte"):
        found = _script_imports(text)
    elif language == "go":
        found = [
            Import(spec["module"], "", spec["alias"] or spec["module"].rsplit("/", 1)[-1])
            for block in _GO_BLOCK.finditer(text)
            for spec in _GO_SPEC.finditer(block["block"] or block["one"] or "")
        ]
    elif language in ("java", "kotlin", "scala", "csharp", "swift", "groovy", "haskell", "julia"):
        found = _dotted_imports(text)
    elif language == "rust":
        found = [item for match in _RUST_USE.finditer(text) for item in _rust_paths("", match["path"])]
    elif language in ("c", "cpp", "objc", "objective-c", "cuda"):
        found = [Import(match["module"], "", "") for match in _INCLUDE.finditer(text)]
    elif language == "php":
        found = []
        for match in _PHP_USE.finditer(text):
            module, _, name = match["path"].replace("\\", ".").rpartition(".")
            found.append(Import(module, name, match["alias"] or name))
    elif language in ("ruby", "lua", "crystal"):
        found = [
            Import(("./" if match["relative"] else "") + match["module"], "", match["module"].rsplit("/", 1)[-1])
            for match in _REQUIRE.finditer(text)
        ]
    else:
        found = []
    return found[:MOST_IMPORTS]


def _python_imports(text: str) -> list[Import]:
    found: list[Import] = []
    for match in _PYTHON_IMPORT.finditer(text):
        if match["modules"] is not None:
            for part in match["modules"].split(","):
                words = part.split()
                if words:
                    alias = words[2] if len(words) == 3 and words[1] == "as" else words[0]
                    found.append(Import(words[0], "", alias))
            continue
        names = re.sub(r"#[^\n]*", "", match["block"] or match["names"] or "")
        for part in names.replace("\\", " ").split(","):
            words = part.split()
            if words:
                found.append(Import(match["module"], words[0], words[2] if len(words) == 3 else words[0]))
    return found


def _script_imports(text: str) -> list[Import]:
    found: list[Import] = []
    for match in _SCRIPT_IMPORT.finditer(text):
        module, what = match["module"], match["what"] or match["bound"] or match["again"] or ""
        block = re.search(r"\{([^}]*)\}", what)
        outside = re.sub(r"\{[^}]*\}", "", what)
        for part in (block[1] if block else "").split(","):
            words = [word for word in re.split(r"[\s:]+|\bas\b", part) if word and word != "type"]
            if words:
                found.append(Import(module, words[0], words[-1]))
        for part in outside.split(","):
            words = [word for word in part.replace("*", " ").split() if word != "as"]
            if words:
                found.append(Import(module, "" if "*" in part else "default", words[-1]))
        if not what:
            found.append(Import(module, "", ""))
    return found


def _dotted_imports(text: str) -> list[Import]:
    found: list[Import] = []
    for match in _DOTTED_IMPORT.finditer(text):
        module = match["module"]
        if match["names"] is not None:
            found += [
                Import(module, name.split()[0], name.split()[-1]) for name in match["names"].split(",") if name.strip()
            ]
        elif match["all"]:
            found.append(Import(module, "*", ""))
        else:
            package, _, name = module.rpartition(".")
            found.append(Import(package, name, match["alias"] or match["as"] or name))
            found.append(Import(module, "*", ""))  # C# and Swift import whole namespaces in the same form
    return found


def _rust_paths(prefix: str, path: str, depth: int = 0) -> list[Import]:
    """`a::{b, c::d as e}` as two imports."""
    path = path.strip()
    opening = path.find("{")
    if opening < 0 or depth > 8:
        whole, _, alias = f"{prefix}{path}".partition(" as ")
        module, _, name = whole.strip().rpartition("::")
        return [Import(module, name, alias.strip() or name)] if name else []
    found: list[Import] = []
    start, nesting = opening + 1, 0
    for at in range(opening + 1, len(path)):
        character = path[at]
        if character == "{":
            nesting += 1
        elif character == "}" and nesting:
            nesting -= 1
        elif character in ",}" and not nesting:
            if path[start:at].strip():
                found += _rust_paths(prefix + path[:opening], path[start:at], depth + 1)
            start = at + 1
            if character == "}":
                break
    return found
