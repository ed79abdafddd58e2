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

Among = Literal["every", "free", "methods"]
_INHERITANCE_DEPTH = 4
_CLASS_NAME: Final = re.compile(r"\b[A-Z]\w*")
_HEADER: Final = re.compile(r"\.(?:h|hh|hpp|hxx|inl|inc|ipp|tpp)$")

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
        self._classes: dict[str, list[Definition]] = {}
        """By name: what others can be based on."""

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
        self, mention: Mention, named: Candidates, around: Definition | None
    ) -> tuple[Resolution, list[Definition]]:
        """Which of the definitions of its name a mention stands for; none when there are too many to say.

        Of overloads, which share path and qualified name, only the longest is given. A name that is not called is
        never guessed: it may be a variable. Call `refresh` before.
        """
        if not named.every:
            return "name", []
        resolution, found = self._resolve(mention, named, around)
        if not mention.called:
            if not mention.receiver:  # x without an object is no method
                found = [one for one in found if one.kind != "method"]
            if resolution == "name" or (resolution == "unique" and any(one.kind not in _CLASS_KINDS for one in found)):
                return "name", []
        return resolution, found

    def _resolve(
        self, mention: Mention, named: Candidates, around: Definition | None
    ) -> tuple[Resolution, list[Definition]]:
        receiver = mention.receiver
        root = receiver.split(".", 1)[0]
        last = receiver.rsplit(".", 1)[-1]
        here = named.by_path.get(mention.path, [])
        if receiver in _OWN:
            own_class = owner_of(around) if around else ""
            same = [one for one in here if own_class and owner_of(one) == own_class]
            if same and receiver != "super":
                return "local", same
            inherited = self._inherited(own_class, mention.path, named) if own_class else []
            if inherited:
                return "type", inherited
            return self._unsure(mention, named, "methods", known=receiver != "super")
        if not receiver:
            local = [one for one in here if self._reachable(one, mention, around)]
            if local:
                owner = owner_of(around) if around else ""
                return "local", [one for one in local if owner and owner_of(one) == owner] or local
            imported = self._imported(mention.path, mention.name, named)
            if imported:
                return "import", imported
            anywhere: Among = "every" if mention.language in _FREE_CALLS_REACH_METHODS else "free"
            if anywhere == "every" and around and owner_of(around):
                inherited = self._inherited(owner_of(around), mention.path, named)
                if inherited:
                    return "type", inherited
            if mention.language in _FOLDER_PACKAGES:
                near = [
                    one
                    for one in named.by_folder.get(posixpath.dirname(mention.path), ())
                    if (anywhere == "every" or _is_free(one)) and _visible(one, mention.path)
                ]
                if near:
                    return "package", near
            return self._unsure(mention, named, anywhere, known=True)
        of_class = named.by_class.get(last, [])
        if of_class:
            same = [one for one in of_class if one.path == mention.path]
            return ("local", same) if same else self._few(mention, of_class)
        typed = _declared_type(around.signature, receiver) if around else ""
        if typed and typed in named.by_class:
            return "type", named.by_class[typed]
        by_module = self._in_module(mention.path, root, receiver, named)
        if by_module:
            return "import", by_module
        if any(not item.name for item in self._imports.get(mention.path, {}).get(root, ())):
            return "name", []  # a function of a module that is not in the project
        # What is called on an object is a method, but where modules are plain tables.
        return self._unsure(mention, named, "every" if mention.language == "lua" else "methods", known=False)

    def _unsure(
        self, mention: Mention, named: Candidates, among: Among, *, known: bool
    ) -> tuple[Resolution, list[Definition]]:
        """By name alone. `known` says that the mention is not a method of some unknown object."""
        found = named.visible_to(mention, among)
        if _one_symbol(found) and (known or mention.name not in _EVERYBODYS):
            return "unique", found
        return "name", found if len(found) <= MOST_AMBIGUOUS else []

    @staticmethod
    def _few(mention: Mention, definitions: Sequence[Definition]) -> tuple[Resolution, list[Definition]]:
        found = visible_to(mention, definitions)
        return ("unique" if _one_symbol(found) else "name"), found if len(found) <= MOST_AMBIGUOUS else []

    def _inherited(self, own_class: str, path: str, named: Candidates) -> list[Definition]:
        """Methods of that name in the nearest classes that the class in this file says it is based on."""
        name = own_class.rsplit(".", 1)[-1]
        level = [one for one in self._classes.get(name, ()) if one.path == path] or self._classes.get(name, [])[:1]
        seen = {name}
        for _ in range(_INHERITANCE_DEPTH):
            bases = {word for one in level for word in _CLASS_NAME.findall(one.signature)} - seen
            found = [one for base in sorted(bases) for one in named.by_class.get(base, ())]
            if found:
                return found if len(found) <= MOST_AMBIGUOUS else []
            level = [one for base in sorted(bases) for one in self._classes.get(base, ())[:4]]
            seen |= bases
        return []

    @staticmethod
    def _reachable(one: Definition, mention: Mention, around: Definition | None) -> bool:
        """Whether a bare name in the same file can mean this definition."""
        owner = owner_of(one)
        if not owner or one.kind in _CLASS_KINDS:
            return True
        if mention.language in _FREE_CALLS_REACH_METHODS:
            return True
        # In the body of the class itself, or defined inside the function that calls it or in one around that.
        return (
            around is not None
            and (around.qualified == owner or around.qualified.startswith(owner + "."))
            and (one.kind != "method" or around.qualified == owner)
        )

    def _imported(self, path: str, name: str, named: Candidates) -> list[Definition]:
        """Definitions that a file imports under this name, or with everything else of a module."""
        imports = self._imports.get(path)
        if not imports:
            return []
        found: list[Definition] = []
        for item in (*imports.get(name, ()), *imports.get("", ())):
            found += [one for one in named.inside(self._files_of(path, item.module)) if _is_free(one)]
        return [one for one in dict.fromkeys(found) if _visible(one, path)]

    def _in_module(self, path: str, root: str, receiver: str, named: Candidates) -> list[Definition]:
        """Definitions in the module, or of the class, that the receiver is an import of."""
        found: list[Definition] = []
        for item in self._imports.get(path, {}).get(root, ()):
            rest = receiver[len(item.alias) :].strip(".") if receiver.startswith(item.alias) else ""
            module = item.module if not item.name else _below(item.module, item.name)
            if rest:
                module = _below(module, rest)
            if item.name:  # the name of a class in the module, rather than of a module
                found += [
                    one
                    for one in named.inside(self._files_of(path, item.module))
                    if owner_of(one).rsplit(".", 1)[-1] == item.name
                ]
            found += [one for one in named.inside(self._files_of(path, module)) if not owner_of(one)]
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
        self._classes = {}
        for one in self.store.of_kinds(("class", "struct", "interface", "trait")):
            self._classes.setdefault(one.name, []).append(one)
        self._imports = {}
        self._renamed = {}
        for item in self.store.imports():
            of_file = self._imports.setdefault(item.path, {})
            of_file.setdefault(item.alias.split(".", 1)[0] if item.name != "*" else "", []).append(item)
            if item.name not in ("", "*", "default", item.alias):
                of_file.setdefault(item.name, []).append(item)
                self._renamed.setdefault(item.name, set()).add((item.path, item.alias))


class Candidates:
    """The definitions of one name, without overloads, in the ways that resolution asks for them."""

    __slots__ = ("_visible", "by_class", "by_folder", "by_path", "every", "free", "methods")

    def __init__(self, definitions: Sequence[Definition]) -> None:
        longest: dict[tuple[str, str], Definition] = {}
        for one in definitions:
            known = longest.get((one.path, one.qualified))
            if known is None or one.end_line - one.start_line > known.end_line - known.start_line:
                longest[one.path, one.qualified] = one
        self.every = [
            one  # but constructors, which are called by the name of their class
            for one in longest.values()
            if (owner_of(one).rsplit(".", 1)[-1] != one.name or (one.path, owner_of(one)) not in longest)
            and not is_extension(one)
        ]
        self.free: list[Definition] = []
        self.methods: list[Definition] = []
        self.by_path: dict[str, list[Definition]] = {}
        self.by_folder: dict[str, list[Definition]] = {}
        self.by_class: dict[str, list[Definition]] = {}
        """By the last name of what they are in."""
        self._visible: dict[tuple[Among, str, bool], list[Definition]] = {}
        for one in self.every:
            owner = owner_of(one)
            (self.methods if owner else self.free).append(one)
            self.by_path.setdefault(one.path, []).append(one)
            self.by_folder.setdefault(posixpath.dirname(one.path), []).append(one)
            if owner:
                self.by_class.setdefault(owner.rsplit(".", 1)[-1], []).append(one)

    def inside(self, paths: frozenset[str]) -> list[Definition]:
        if len(paths) < len(self.by_path):
            return [one for path in sorted(paths) for one in self.by_path.get(path, ())]
        return [one for path, ones in self.by_path.items() if path in paths for one in ones]

    def visible_to(self, mention: Mention, among: Among) -> list[Definition]:
        """Those of a group that the mention may mean as far as its language and the part of its file go."""
        key = (among, mention.language, role_of(mention.path, mention.language) == ROLE_CODE)
        if key not in self._visible:
            group = self.every if among == "every" else self.free if among == "free" else self.methods
            self._visible[key] = visible_to(mention, group)
        # What only its own file sees depends on the file.
        return [one for one in self._visible[key] if _visible(one, mention.path)][: MOST_AMBIGUOUS + 1]


def visible_to(mention: Mention, definitions: Sequence[Definition]) -> list[Definition]:
    """Those of the same family of languages; code does not call what tests define."""
    code = role_of(mention.path, mention.language) == ROLE_CODE
    return [
        one
        for one in definitions
        if _same_family(one.language, mention.language) and not (code and role_of(one.path, one.language) != ROLE_CODE)
    ]


def is_extension(one: Definition) -> bool:
    """Swift's extensions are found by the name of the type that they add to, which is defined elsewhere."""
    return one.language == "swift" and "extension" in one.signature.split("(", 1)[0].split(" where ", 1)[0].split()


def _one_symbol(definitions: Sequence[Definition]) -> bool:
    """Whether these are one thing: the parts of a class, or a function with its prototype."""
    return len({(one.qualified, posixpath.dirname(one.path)) for one in definitions}) == 1


def _is_free(one: Definition) -> bool:
    """Whether it can be named without an object."""
    return not owner_of(one) or one.kind in _CLASS_KINDS


def _visible(one: Definition, path: str) -> bool:
    """Whether another file can see a definition: not static ones and bare prototypes in C's source files."""
    if one.language not in ("c", "cpp", "objc") or one.path == path or _HEADER.search(one.path):
        return True
    return not (one.signature.startswith("static ") or (one.kind == "function" and one.start_line == one.end_line))


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
    return _owner(definition.qualified)


@lru_cache(maxsize=200_000)
def _owner(qualified: str) -> str:
    return qualified.rpartition(".")[0]


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
