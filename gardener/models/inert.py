"""Makes repository text inert, so that it can stand inside Markdown and on a terminal without acting there.

Repository text is hostile input. It must not draw a link, load an image, close a fence, start HTML, move the
cursor or turn the reading direction, and it must not be able to look like one of our own citation markers.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

_MAX_CODE_LINE = 160
_TAB = "    "
# Cc and Cf hold terminal escapes, bidirectional overrides, zero-width and tag characters; Zl and Zp break
# lines where we count none; lone surrogates (Cs) cannot be encoded.
_ACTIVE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_MAYBE_ACTIVE = re.compile(r"[^\x20-\x7e]")
# Quoted code, and names that begin with an underscore, whose underscores would else need escapes.
_CODE_IN_PROSE = re.compile(
    r"(?<!`)(`{1,3})(?!`)(.{1,200}?)(?<!`)\1(?!`)|(?<![\w`])(__\w{1,60}__|_\w{0,60}[^\W_](?:\(\))?)(?![\w`])"
)
# Role markers of reStructuredText in front of a code span (":func:`x`") say nothing to a reader.
_ROLE = re.compile(r":[a-z][a-z0-9:+_-]{0,30}:(?=`)")
# Emphasis and links of Markdown documentation; what they surround is what a reader wants.
_MARKUP = (
    (re.compile(r"!?\[([^\[\]]{0,200})\]\([^()\s]{0,500}\)"), r"\1"),
    (re.compile(r"(?<!\w)_(?=[^\s_])([^_]{1,200})(?<=[^\s_])_(?!\w)"), r"\1"),
    (re.compile(r"(?<![\w*])(\*\*?)(?=[^\s*])([^*]{1,200})(?<=[^\s*])\1(?![\w*])"), r"\2"),
)
_LINE_START = re.compile(r"(?:[#>+=|:-]|\d{1,9}[.)])")


def visible(text: str) -> str:
    """`text` with all control, format and separator characters as escapes, but for tabs and newlines."""

    def escape(match: re.Match[str]) -> str:
        character = match.group()
        if character in "\n\t" or unicodedata.category(character) not in _ACTIVE_CATEGORIES:
            return character
        code = ord(character)
        if code < 0x100:
            return f"\\x{code:02x}"
        return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

    return _MAYBE_ACTIVE.sub(escape, text)


def one_line(text: str, limit: int) -> str:
    """`text` in one line of at most `limit` characters, blanks collapsed, cut with an ellipsis."""
    line = " ".join(visible(text).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def code_span(text: str, limit: int = 160) -> str:
    """`text` as a Markdown code span that it cannot leave; "" for nothing."""
    line = one_line(text, limit)
    if not line:
        return ""
    fence = "`" * (_longest_run(line) + 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def prose(text: str, limit: int = 300) -> str:
    """`text` as one paragraph of plain words: balanced backticks become code spans, other markup is escaped.

    Only what would act is escaped, since the same text is read in terminals.
    """
    line = _ROLE.sub("", one_line(text, limit))
    pieces: list[str] = []
    position = 0
    for match in _CODE_IN_PROSE.finditer(line):
        pieces.append(_escaped(line[position : match.start()]))
        pieces.append(code_span(match.group(2) or match.group(3)))
        position = match.end()
    pieces.append(_escaped(line[position:]))
    result = "".join(pieces)
    if _LINE_START.match(result):
        head = re.match(r"\d*", result)
        cut = head.end() if head else 0
        result = f"{result[:cut]}\\{result[cut:]}"
    return result


def fenced(lines: Sequence[str], language: str = "") -> list[str]:
    """The lines of a fenced code block whose fence is longer than any run of backticks or tildes inside."""
    body = [clipped(line) for line in lines]
    fence = "`" * max(3, *(_longest_run(line) + 1 for line in body), 3)
    info = language if re.fullmatch(r"[a-z0-9][a-z0-9+#_-]{0,20}", language) else ""
    return [fence + info, *body, fence]


def clipped(line: str) -> str:
    """One line of code: controls visible, tabs as four blanks, at most 160 characters."""
    shown = visible(line.rstrip("\r\n").replace("\n", "\\n")).replace("\t", _TAB).rstrip()
    return shown if len(shown) <= _MAX_CODE_LINE else shown[: _MAX_CODE_LINE - 1] + "…"


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)


def _escaped(text: str) -> str:
    for markup, plain in _MARKUP:
        text = markup.sub(plain, text)
    text = re.sub(r"[\\`*\[\]<>~$|]", lambda match: "\\" + match.group(), text)
    text = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)  # inside a word it is not emphasis
    text = re.sub(r"&(?=#?\w{1,32};)", r"\\&", text)
    # Bare addresses become links by themselves in GitHub's dialect and in Gradio's.
    text = re.sub(r"(?<=\w):(?=//)|(?<=mailto):|(?<=xmpp):", r"\\:", text)
    return re.sub(r"(?i)(?<=\bwww)\.|(?<=[\w.+-])@(?=\w)", lambda match: "\\" + match.group(), text)
