"""What a file imports, in the words of its language. Found by regular expressions; each is linear in the length of the
text, whatever a repository contains.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple


class Import(NamedTuple):
    """What a file imports: ("numpy", "", "np") for `import numpy as np`, ("a", "b", "b") for `from a import b`."""

    module: str
    """As it is written: "a.b", "./a", "crate::a", "a/b.h"."""
    name: str
    alias: str
    """How the file calls it."""


_PYTHON_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(?P<module>\.*[\w.]*)[ \t]+import[ \t]+(?:\((?P<block>[^)]{0,10000}+)\)|(?P<names>[^\n#(]+))"
    r"|import[ \t]+(?P<modules>[^\n#]+))",
    re.MULTILINE,
)
_SCRIPT_IMPORT = re.compile(
    r"""(?:\bimport\s++(?P<what>[^'"`;()]{0,2000}+)|\bexport\s++(?P<again>[^'"`;()=]{0,2000}+)"""
    r"""|\b(?:const|let|var)\s++(?P<bound>[^=;'"`]{1,500}+)=\s*+require\s*+\(\s*+|\bimport\s*+\(?\s*+)['"](?P<module>[^'"\n]{1,300})['"]"""
)
_GO_BLOCK = re.compile(r"^import[ \t]*+(?:\((?P<block>[^)]{0,20000}+)\)|(?P<one>[^\n]+))", re.MULTILINE)
_GO_SPEC = re.compile(r'(?P<alias>[\w.]+)?[ \t]*"(?P<module>[^"\n]+)"')
_DOTTED_IMPORT = re.compile(
    r"^[ \t]*(?:global[ \t]+)?(?:import|using)[ \t]+(?:static[ \t]+)?(?:(?P<alias>\w+)[ \t]*=[ \t]*)?"
    r"(?P<module>[\w.]+?)(?P<all>\.\*|\._)?(?:\.\{(?P<names>[^}]{0,2000}+)\})?"
    r"(?:[ \t]+as[ \t]+(?P<as>\w+))?[ \t]*;?[ \t]*$",
    re.MULTILINE,
)
_RUST_USE = re.compile(r"^[ \t]*(?:pub(?:\([^)]*\))?[ \t]+)?use[ \t]+(?P<path>[^;]{1,2000}+);", re.MULTILINE)
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
        module, what = match["module"], (match["what"] or match["again"] or "").rstrip()
        if what:  # up to a quote: an import only if "from" stands right before that
            if not what.endswith("from") or what[-5:-4].isalnum():
                continue
            what = what[:-4].removeprefix("type ")
        what = match["bound"] or what
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
