"""What a project may be called, and the name that it gets when the user does not say."""

from __future__ import annotations

import os

from gardener.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container

LONGEST_NAME = 100
_JOINER = "\u200d"
"""Zero-width joiner: glues emoji together, and is allowed nowhere else, because it cannot be seen."""


def name_key(name: str) -> str:
    """The form in which two names are the same: case-folded, NFC (Unicode Standard, 3.13, canonical
    caseless).
    """
    return _nfc(_nfc(name).casefold())


def checked_name(name: str) -> str:
    """The name as it is stored: NFC, without surrounding spaces. Raises UsageError saying what is wrong
    with it.
    """
    name = _nfc(name.strip())
    problem = _problem(name)
    if problem:
        raise UsageError(
            f"{name!r} cannot be a project's name: {problem}.",
            next_step=f"gardener add PATH --name {shell_word(_allowed_part(name) or 'NAME')}",
        )
    return name


def default_name(root: str) -> str:
    """The folder's own name, without what a name may not contain; "project" when nothing is left."""
    return _allowed_part(os.path.basename(root)) or "project"


def free_name(name: str, root: str, taken: Container[str]) -> str:
    """A name near `name` that is not in `taken` (of name keys): with the parent folder's name, else
    numbered.
    """
    parent = _allowed_part(os.path.basename(os.path.dirname(root)))
    candidate = f"{parent}-{name}"[:LONGEST_NAME] if parent else f"{name}-2"[:LONGEST_NAME]
    number = 2
    while name_key(candidate) in taken:
        end = f"-{number}"
        candidate = name[: LONGEST_NAME - len(end)] + end
        number += 1
    return candidate


def shell_word(word: str) -> str:
    """`word` as it has to be typed in a shell."""
    import shlex

    return shlex.quote(word)


def _problem(name: str) -> str:
    if not name:
        return "it is empty"
    if len(name) > LONGEST_NAME:
        return f"it has {len(name)} characters; {LONGEST_NAME} are allowed"
    if name[0] in "-.":
        return f"it begins with {name[0]!r}"
    for position, character in enumerate(name):
        if not _allowed(name, position):
            return f"it contains {character!r} (U+{ord(character):04X})"
    return ""


def _allowed(name: str, position: int) -> bool:
    character = name[position]
    if character in "/\\":
        return False
    if character == _JOINER:
        around = name[position - 1 : position] + name[position + 1 : position + 2]
        return len(around) == 2 and all(ord(neighbour) > 0x2000 and neighbour.isprintable() for neighbour in around)
    # Control, format (bidi controls among them), surrogate and separator characters are not printable to
    # Python.
    return character.isprintable()


def _allowed_part(name: str) -> str:
    name = _nfc(name)
    kept = "".join(character for position, character in enumerate(name) if _allowed(name, position))
    # A joiner whose neighbour was dropped has become invalid itself.
    kept = "".join(character for position, character in enumerate(kept) if _allowed(kept, position))
    return kept.lstrip("-. ").rstrip()[:LONGEST_NAME].rstrip()


def _nfc(text: str) -> str:
    if text.isascii():
        return text
    import unicodedata

    return unicodedata.normalize("NFC", text)
