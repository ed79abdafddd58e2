"""What a file calls, and what stands in front of each name that is called. Found by a lexer, not by a tree.

Regular expressions pass over the text, without its comments and strings; the trees, which know the declarations, are
not walked again, because visiting every node costs more than all the rest of indexing. Every expression is linear in
the length of the text, whatever a repository contains: what repeats is possessive, bounded, or ends at the next match.
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
    r"\b(?P<chain>(?:[\w$]++(?:\.|::|->|\?\.|!!\.|\\)){0,12}+)(?P<name>[^\W\d][\w$]*+)(?P<mark>[!?]?)"
    r"(?:(?:::)?<[\w$, .:*&\[\]?<>]{1,80}>)?[ \t]*\("
)
_DECORATOR: Final = re.compile(r"^[ \t]*@(?P<name>[^\W\d][\w$.]*+)(?![\w$.(])", re.MULTILINE)


@lru_cache(maxsize=64)
def _not_code(language: str) -> re.Pattern[str]:
    """Comments and strings of a language."""
    kinds = []
    if language == "python":
        kinds += [r'"""(?:[^"\\]|\\.|"(?!""))*+(?:"""|\Z)', r"'''(?:[^'\\]|\\.|'(?!''))*+(?:'''|\Z)"]
    if language in _BACKTICKS:
        kinds.append(r"`(?:[^`\\]|\\.)*+(?:`|\Z)" if language != "go" else r"`[^`]*+(?:`|\Z)")
    kinds.append(r'"(?:[^"\\\n]|\\.)*+"')
    kinds.append(r"'(?:[^'\\\n]|\\[^\n]{1,8}?)'" if language in _CHARACTERS else r"'(?:[^'\\\n]|\\.)*+'")
    if language in _HASH or language == "php":
        kinds.append(r"#[^\n]*+")
    if language in _DASH:
        kinds.append(r"--[^\n]*+")
    if language in _SEMICOLON:
        kinds.append(r";[^\n]*+")
    if language not in _HASH and language not in _DASH:
        kinds += [r"//[^\n]*+", r"/\*(?:[^*]|\*(?!/))*+(?:\*/|\Z)"]
    kinds.append(r"\\[\\'\"`]")  # outside of strings: were a quote that begins none, each of them would be tried as one
    return re.compile("|".join(kinds), re.DOTALL)


def _blank(match: re.Match[str]) -> str:
    """What takes the place of a string or comment: nothing that can be read as code, and as many lines."""
    text = match[0]
    return "\n" * text.count("\n") if "\n" in text else '""' if text[0] in "\"'`" else ""


def code_of(language: str, text: str) -> str:
    """A text without its comments and strings, line by line; "" for what is no program."""
    return "" if language in NOT_PROGRAMS else _not_code(language).sub(_blank, text)


def references(language: str, text: str) -> list[Reference]:
    """The calls in a text, in order, and then what its decorators name."""
    return calls(language, code_of(language, text))


def calls(language: str, code: str) -> list[Reference]:
    """The same for what `code_of` has made."""
    ruby = language == "ruby"  # where the mark belongs to the name; elsewhere it is a macro's, or unwraps
    marked = language in ("rust", "ruby", "elixir", "swift")
    found: list[Reference] = []
    line, counted = 1, 0
    for match in _CALL.finditer(code):
        name = match["name"]
        if name in _NEVER_CALLED or len(name) > NAME_LIMIT or (match["mark"] and not marked):
            continue
        start = match.start()
        if code[start - 2 : start] in ('".', "'.") and language != "php":
            continue  # a method of a string
        if ruby:
            name += match["mark"]
        line += code.count("\n", counted, start)
        counted = start
        chain = match["chain"]
        if chain:
            receiver = chain if chain[-1] == "." and "?" not in chain and "!" not in chain else dotted(chain)
            receiver = receiver.rstrip(".")[-NAME_LIMIT:]
        else:
            receiver = "?" if start and code[start - 1] in _JOINS else ""
            if receiver and code[max(0, start - 8) : start] == "super().":
                receiver = "super"
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


def dotted(chain: str) -> str:
    """`a::b->c?.` as a.b.c."""
    return chain.replace("::", ".").replace("->", ".").replace("?.", ".").replace("!!.", ".").replace("\\", ".")
