"""What a mention means: its name, resolved to definitions as far as syntax and paths allow.

A mention resolves by the first rule that gives anything: a definition in the same file; one in a file that is
imported under that name; a method of the type that the signature around it gives to the object; one in the same
folder (for languages whose packages are folders); the only one of that name in the project; else all of that name.
Types are known from signatures only, so a method of any other object is resolved by its name alone.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, Literal

from gardener.index.rank import ROLE_CODE, role_of
from gardener.index.symbol_store import Definition, ImportOf, Mention, SymbolStore

Resolution = Literal["local", "import", "type", "package", "unique", "name"]
SURENESS: Final[dict[Resolution, int]] = {
    "local": 0, "import": 1, "type": 2, "package": 3, "unique": 4, "name": 5,
}  # fmt: skip
"""Best first."""

MOST_AMBIGUOUS = 20
"""Definitions that one mention may stand for; of a more common name nothing is said."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_OWN = frozenset({"self", "cls", "this", "super", "Self", "$this", "static", "parent", "me"})
_FOLDER_PACKAGES = frozenset({"go", "java", "kotlin", "scala", "csharp", "swift", "c", "cpp", "php", "ruby", "elixir"})
_FREE_CALLS_REACH_METHODS = frozenset({"java", "kotlin", "scala", "csharp", "swift", "cpp", "ruby", "php", "groovy"})
"""Languages in which f() may call a method of the class that it stands in, or of one above it."""
_CLASS_KINDS = frozenset({"class", "struct", "interface", "trait", "enum", "type", "module"})
_EVERYBODYS = _words(
    """
    get set add append pop push remove insert update clear copy items keys values join split strip replace format
    read write close open flush seek find index count sort map filter reduce forEach then catch finally next toString
    equals hashCode len size length contains put first last start stop run call apply bind test match exec send main
    print log error warn info debug emit on off once has delete slice concat includes indexOf some every iter clone
    unwrap expect into from new default build parse encode decode load save init execute begin end create make
    """
)
"""Names that libraries' objects have too: on an unknown object the only definition in the project proves nothing."""


class Resolver:
    """Resolves the mentions of one project; keeps the files' paths and imports in memory."""

    def __init__(self, store: SymbolStore) -> None:
        self.store = store
        self._version = -1
        self._paths: dict[str, list[str]] = {}
        """Last part of a path without its ending, to paths."""
        self._by_folder: dict[str, list[str]] = {}
        """Last part of a folder's path, to the paths in it."""
        self._imports: dict[str, dict[str, list[ImportOf]]] = {}
        """By importing file and by what the file calls it; "" for whatever brings names without naming them."""
        self._renamed: dict[str, set[tuple[str, str]]] = {}
        """By original name: the files that import it under another, and that other name."""
        self._known_files: dict[tuple[str, str], frozenset[str]] = {}

    def other_names(self, name: str) -> list[tuple[str, str]]:
        """Files that import something of this name under another, and that other name."""
        return sorted(self._renamed.get(name, ()))

    def original(self, mention: Mention) -> Mention:
        """The same with the name that the symbol has where it is defined, if the file has imported it under another."""
        if mention.receiver:
            return mention
        for item in self._imports.get(mention.path, {}).get(mention.name, ()):
            if item.alias == mention.name and item.name not in ("", "*", "default", item.alias):
                return mention._replace(name=item.name)
        return mention

    def resolve(
        self, mention: Mention, definitions: Sequence[Definition], around: Definition | None
    ) -> tuple[Resolution, list[Definition]]:
        """Which of the definitions of its name a mention stands for; none when there are too many to say.

        Of overloads, which share path and qualified name, only the longest is given. Call `refresh` before.
        """
        if not definitions:
            return "name", []
        return self._resolve(mention, _without_overloads(definitions), around)

    def _resolve(
        self, mention: Mention, definitions: Sequence[Definition], around: Definition | None
    ) -> tuple[Resolution, list[Definition]]:
        receiver = mention.receiver
        root = receiver.split(".", 1)[0]
        last = receiver.rsplit(".", 1)[-1]
        if receiver in _OWN:
            own_class = around.qualified.rpartition(".")[0] if around else ""
            same = [one for one in definitions if one.path == mention.path and owner_of(one) == own_class and own_class]
            if same and receiver != "super":
                return "local", same
            methods = [one for one in definitions if owner_of(one)]
            return self._unsure(mention, methods, known=True)
        if not receiver:
            local = [one for one in definitions if one.path == mention.path and self._reachable(one, mention, around)]
            if local:
                owner = owner_of(around) if around else ""
                return "local", [one for one in local if owner and owner_of(one) == owner] or local
            top = [one for one in definitions if not owner_of(one) or one.kind in _CLASS_KINDS]
            imported = self._imported(mention.path, mention.name, top)
            if imported:
                return "import", imported
            free = [one for one in definitions if not owner_of(one) or mention.language in _FREE_CALLS_REACH_METHODS]
            if mention.language in _FOLDER_PACKAGES:
                folder = posixpath.dirname(mention.path)
                near = [one for one in free if posixpath.dirname(one.path) == folder]
                if near:
                    return "package", near
            return self._unsure(mention, free, known=True)
        of_class = [one for one in definitions if owner_of(one).rsplit(".", 1)[-1] == last and last]
        if of_class:
            here = [one for one in of_class if one.path == mention.path]
            return ("local", here) if here else self._unsure(mention, of_class, known=True)
        typed = _declared_type(around.signature, receiver) if around else ""
        if typed:
            of_type = [one for one in definitions if owner_of(one).rsplit(".", 1)[-1] == typed]
            if of_type:
                return "type", of_type
        by_module = self._in_module(mention.path, root, receiver, definitions)
        if by_module:
            return "import", by_module
        if any(not item.name for item in self._imports.get(mention.path, {}).get(root, ())):
            return "name", []  # a function of a module that is not in the project
        # What is called on an object is a method, but where modules are plain tables.
        methods = [one for one in definitions if owner_of(one) or mention.language == "lua"]
        return self._unsure(mention, methods, known=False)

    def _unsure(
        self, mention: Mention, definitions: Sequence[Definition], *, known: bool
    ) -> tuple[Resolution, list[Definition]]:
        """By name alone. `known` says that the mention is not a method of some unknown object."""
        if role_of(mention.path, mention.language) == ROLE_CODE:  # code does not call what tests define
            definitions = [one for one in definitions if role_of(one.path, one.language) == ROLE_CODE]
        definitions = [one for one in definitions if _same_family(one.language, mention.language)]
        if len(definitions) == 1 and (known or mention.name not in _EVERYBODYS):
            return "unique", list(definitions)
        return "name", list(definitions) if len(definitions) <= MOST_AMBIGUOUS else []

    @staticmethod
    def _reachable(one: Definition, mention: Mention, around: Definition | None) -> bool:
        """Whether a bare call in the same file can mean this definition."""
        owner = owner_of(one)
        if not owner or one.kind in _CLASS_KINDS:
            return True
        if mention.language in _FREE_CALLS_REACH_METHODS:
            return True
        return around is not None and around.qualified == owner  # in the body of the class itself

    def _imported(self, path: str, name: str, definitions: Sequence[Definition]) -> list[Definition]:
        """Definitions that a file imports under this name, or with everything else of a module."""
        found: list[Definition] = []
        imports = self._imports.get(path)
        if not imports or not definitions:
            return found
        for item in (*imports.get(name, ()), *imports.get("", ())):
            modules = self._files_of(path, item.module)
            found += [one for one in definitions if one.path in modules]
        return list(dict.fromkeys(found))

    def _in_module(self, path: str, root: str, receiver: str, definitions: Sequence[Definition]) -> list[Definition]:
        """Definitions in the module, or of the class, that the receiver is an import of."""
        found: list[Definition] = []
        for item in self._imports.get(path, {}).get(root, ()):
            rest = receiver[len(item.alias) :].strip(".") if receiver.startswith(item.alias) else ""
            module = item.module if not item.name else _below(item.module, item.name)
            if rest:
                module = _below(module, rest)
            modules = self._files_of(path, module)
            if item.name:  # the name of a class in the module, rather than of a module
                named = self._files_of(path, item.module)
                found += [
                    one for one in definitions if one.path in named and owner_of(one).rsplit(".", 1)[-1] == item.name
                ]
            found += [one for one in definitions if one.path in modules and not owner_of(one)]
        return list(dict.fromkeys(found))

    def _files_of(self, path: str, module: str) -> frozenset[str]:
        """Paths that a module's name, as written in the file at `path`, can stand for."""
        key = (posixpath.dirname(path) if module.startswith(".") else "", module)
        if key not in self._known_files:
            self._known_files[key] = frozenset(self._module_files(path, module))
        return self._known_files[key]

    def _module_files(self, path: str, module: str) -> Iterable[str]:
        parts = _module_path(path, module)
        if not parts:
            return
        last = parts[-1]
        for candidate in self._paths.get(last, ()):
            stem = posixpath.splitext(candidate)[0].removesuffix(".d")
            if _ends_with(stem, parts):
                yield candidate
        for candidate in self._by_folder.get(last, ()):  # a package: what it gives may come from any of its files
            if _ends_with(posixpath.dirname(candidate), parts):
                yield candidate

    def refresh(self) -> None:
        """Reads the files' paths and imports again if the symbols have changed; `resolve` goes by them."""
        version = self.store.version()
        if version == self._version:
            return
        self._version = version
        self._paths = {}
        self._by_folder = {}
        for path in self.store.paths():
            name = posixpath.basename(path).split(".", 1)[0]
            self._paths.setdefault(name, []).append(path)
            folder = posixpath.basename(posixpath.dirname(path))
            if folder:
                self._by_folder.setdefault(folder, []).append(path)
        self._known_files = {}
        self._imports = {}
        self._renamed = {}
        for item in self.store.imports():
            of_file = self._imports.setdefault(item.path, {})
            of_file.setdefault(item.alias.split(".", 1)[0] if item.name != "*" else "", []).append(item)
            if item.name not in ("", "*", "default", item.alias):
                of_file.setdefault(item.name, []).append(item)
                self._renamed.setdefault(item.name, set()).add((item.path, item.alias))


def _without_overloads(definitions: Sequence[Definition]) -> list[Definition]:
    longest: dict[tuple[str, str], Definition] = {}
    for one in definitions:
        known = longest.get((one.path, one.qualified))
        if known is None or one.end_line - one.start_line > known.end_line - known.start_line:
            longest[one.path, one.qualified] = one
    return list(longest.values())


@lru_cache(maxsize=50_000)
def _declared_type(signature: str, variable: str) -> str:
    """The type that a signature gives to a variable, as `name: Type`, `name *pkg.Type` or `Type name`; "" for none."""
    if variable not in signature or not variable.isidentifier():
        return ""
    name = re.escape(variable)
    # Name first (Python, TypeScript, Go, Rust, Kotlin, Swift), then type first (C's family, Java, C#).
    name_first = rf"\b{name}\b\s*:?\s*(?:[&*'\w]*\s?mut\s+)?[&*]*(?:\w+(?:\.|::))*([A-Z]\w*)"
    type_first = rf"\b([A-Z]\w*)(?:<[^<>]*>)?(?:\[\])?\s*[&*]*\s+[&*]*{name}\b\s*[,)=]"
    match = re.search(name_first, signature) or re.search(type_first, signature)
    return match[1] if match else ""


def owner_of(definition: Definition) -> str:
    """The qualified name of what the definition is in; "" at the top level."""
    return definition.qualified.rpartition(".")[0]


def _below(module: str, name: str) -> str:
    if "::" in module:
        return f"{module}::{name}"
    return f"{module}/{name}" if "/" in module else f"{module}.{name}" if not module.endswith(".") else module + name


def _module_path(path: str, module: str) -> list[str]:
    """A module's name as the parts of a path; relative ones joined with the importing file's folder."""
    folder = posixpath.dirname(path)
    if module.startswith(("./", "../")):
        joined = posixpath.normpath(posixpath.join(folder, module))
        return [] if joined.startswith("..") else [part for part in _without_ending(joined).split("/") if part != "."]
    if module.startswith("."):
        up = len(module) - len(module.lstrip("."))
        parts = folder.split("/") if folder else []
        if up - 1 > len(parts):
            return []
        return [*parts[: len(parts) - (up - 1)], *filter(None, module.lstrip(".").split("."))]
    if "::" in module:
        return [part for part in module.split("::") if part not in ("crate", "self", "super")]
    if "/" in module:
        return [part for part in _without_ending(module).split("/") if part and part != "@"]
    if module.endswith((".h", ".hpp", ".hh", ".hxx", ".js", ".ts", ".rb")):
        return [_without_ending(module)]
    return [part for part in module.split(".") if part]


def _without_ending(path: str) -> str:
    stem, ending = posixpath.splitext(path)
    return stem if 1 < len(ending) <= 5 else path


def _ends_with(path: str, parts: Sequence[str]) -> bool:
    """Whether a path without its ending ends with these folders and names. Go's module path in front may be missing,
    and so may the folders above a source root."""
    have = path.split("/")
    if len(have) >= len(parts):
        return have[-len(parts) :] == list(parts)
    return len(have) >= 1 and list(parts)[-len(have) :] == have and len(parts) - len(have) <= 3


_FAMILIES = ({"javascript", "typescript", "tsx", "jsx", "vue", "svelte"}, {"c", "cpp", "objc", "cuda"},
             {"java", "kotlin", "scala", "groovy"})  # fmt: skip


def _same_family(one: str, other: str) -> bool:
    return one == other or any(one in family and other in family for family in _FAMILIES)
