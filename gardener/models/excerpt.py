"""Picks the lines of a chunk that decide a question, and the line of a caller that makes the call."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gardener.models.relevance import stems, term_match
from gardener.types import SearchHit

_COMMENT = re.compile(r"^\s*(?:#|//|--|/\*|\*(?:\s|/|$)|;;|%|<!--)")
_DECIDES = re.compile(
    r"^\s*(?:return|raise|throw|yield|await|if|elif|else if|for|while|case|match|switch|except|catch)\b"
)
_ENDS = re.compile(r"^\s*(?:return|raise|throw|yield)\b")
_LETTERS = re.compile(r"[^\W_]{2,}")
PROSE_LANGUAGES = frozenset({"markdown", "rst", "restructuredtext", "text", "asciidoc", "org", "html"})
# Badges, images, raw HTML, directives, rules under headings: nothing to read.
_ORNAMENT = re.compile(r"^\s*(?:\[?!\[|</?\w|<!--|\.\. |:\w+:|[-=~^*_`\"]{3,}\s*$|\[[^\]]*\]:\s|\|?\s*$)")
_LINK = re.compile(r"!?\[[^\[\]]*\]\([^()\s]*(?:\([^()\s]*\)[^()\s]*)*\)")
_REFERENCE = re.compile(r"\[([^\[\]\d][^\[\]]*)\](?:\[[^\[\]]*\])?(?!\()")  # Flask's "[WSGI]" and "[text][name]"
_STRING = re.compile(r"\"[^\"]*\"|'[^']*'|#.*|//.*")
_CONSTRUCTORS = frozenset({"__init__", "__new__", "constructor", "initialize", "__construct"})
_LONGEST_DECLARATION = 60
MOST_DECLARATION_LINES = 12
_SPLIT_NAME = re.compile(r"\.|::|->|#")


@dataclass(frozen=True, slots=True)
class Line:
    number: int
    """1-based, in the file."""
    text: str


def term_weights(keys: Iterable[str], hits: Sequence[SearchHit]) -> dict[str, float]:
    """Stem → ln(1 + hits / hits that have it): what is everywhere decides nothing."""
    bags = [stems(hit.text) for hit in hits]
    return {key: math.log1p(len(bags) / max(1, sum(key in bag for bag in bags))) for key in keys}


def declaration(hit: SearchHit) -> Line | None:
    """The first line of the hit's declaration, as it stands in the file; None when the chunk does not have it.

    The later chunks of a long definition know its signature and do not contain it. Prose has no declarations.
    """
    if not hit.signature.strip() or hit.language in PROSE_LANGUAGES:
        return None
    name = _SPLIT_NAME.split(hit.symbol)[-1]
    squeezed = _squeezed(hit.signature)
    at = squeezed.find(_squeezed(name)) if name else -1
    key = squeezed[: at + len(_squeezed(name))] if at >= 0 else squeezed[:24]
    for offset, text in enumerate(hit.text.split("\n")):
        if not _COMMENT.match(text) and key in _squeezed(text):
            return Line(hit.start_line + offset, text)
    return None


def declaration_lines(hit: SearchHit) -> list[Line]:
    """All lines of the declaration, exactly as they stand in the file; a very long one is cut after its beginning."""
    head = declaration(hit)
    if head is None:
        return []
    rest = hit.text.split("\n")[head.number - hit.start_line :]
    height = min(_declaration_height(rest), MOST_DECLARATION_LINES)
    return [Line(head.number + offset, text) for offset, text in enumerate(rest[:height])]


def decisive_lines(hit: SearchHit, weights: Mapping[str, float], limit: int) -> list[Line]:
    """At most `limit` lines of the hit, in file order, that have most of the question's words.

    The declaration and the documentation are left out, for they are shown on their own; a body that fits is
    given whole. Without any such word the lines that end a path (return, raise) stand for the body.
    """
    body = _body(hit)
    if len(body) <= limit:
        return _trimmed(body)
    scores = {line.number: _score(line.text, weights) for line in body}
    chosen = {n for n in sorted(scores, key=lambda n: (-scores[n], n))[:limit] if scores[n] > 0}
    if not chosen:
        ends = [line for line in body if _ENDS.match(line.text)]
        return ends[:limit] if ends else _trimmed(body[:limit])
    for line in body:  # what is left of the room goes to lines between chosen ones, then below them
        if len(chosen) < limit and line.text.strip() and {line.number - 1, line.number + 1} <= chosen:
            chosen.add(line.number)
    for line in body:
        if len(chosen) < limit and line.text.strip() and line.number - 1 in chosen:
            chosen.add(line.number)
    return [line for line in body if line.number in chosen]


def called_as(symbol: str) -> str:
    """The symbol whose name calls of `symbol` bear: the class for a constructor; "" when they bear none."""
    parts = _SPLIT_NAME.split(symbol)
    if parts[-1] in _CONSTRUCTORS:
        return parts[-2] if len(parts) > 1 else ""
    return "" if re.fullmatch(r"__\w+__", parts[-1]) else symbol


def call_line(caller: SearchHit, symbol: str) -> Line | None:
    """The first line of `caller` that uses the last part of `symbol`, a call rather than a mention.

    None when there is none; declarations, comments and imports do not count.
    """
    name = _SPLIT_NAME.split(called_as(symbol))[-1]
    if not name:
        return None
    word = re.compile(rf"(?<![\w]){re.escape(name)}(?!\w)")
    call = re.compile(rf"(?<![\w]){re.escape(name)}(?:\s*(?:<[^<>()]*>)?\s*\(|!\s*[(\[{{])")
    quoted = re.compile(rf"`[^`]*(?<!\w){re.escape(name)}(?!\w)[^`]*`|^\s*(?:>>>|:\w+)")
    declared = re.compile(
        rf"\b(?:def|class|func|function|fn|interface|struct|enum|trait|type|import|from|use|include|require|sub)\b"
        rf"[^=(]*(?<!\w){re.escape(name)}(?!\w)"
    )
    documented = {line.strip() for line in caller.docstring.split("\n") if _LETTERS.search(line)}
    telling = "_" in name.strip("_") or name != name.lower()
    attribute = re.compile(rf"(?:\.|->|::){re.escape(name)}(?!\w)")
    mention: Line | None = None
    for offset, text in enumerate(caller.text.split("\n")):
        if _COMMENT.match(text) or declared.search(text) or not word.search(text):
            continue
        if text.strip() in documented or (caller.language == "python" and quoted.search(text)):
            continue
        line = Line(caller.start_line + offset, text)
        if call.search(text):
            return line
        # Without parentheses an attribute or a name that is no plain word is used; "size" may be a parameter.
        mention = mention or (line if telling or attribute.search(text) else None)
    return mention


def opening_of(hit: SearchHit) -> str:
    """What a chunk says about itself: its documentation's first sentences, or for prose those of its text."""
    if hit.language in PROSE_LANGUAGES:
        return first_sentences("\n\n".join(_paragraphs(hit)[:1]))
    return first_sentences(hit.docstring)


def introduction_of(hit: SearchHit, enough: int = 300) -> str:
    """The first paragraphs of a piece of prose until they have `enough` characters; no code, no badges."""
    text = ""
    for paragraph in _paragraphs(hit):
        text = f"{text} {paragraph}".strip()
        if len(text) >= enough:
            break
    return text


def _paragraphs(hit: SearchHit) -> list[str]:
    heading = re.split(r" > |\.", hit.symbol)[-1].strip().lower()
    paragraphs: list[list[str]] = [[]]
    fenced = False
    for line in hit.text.split("\n"):
        stripped = line.strip()
        if re.match(r"`{3,}|~{3,}", stripped):
            fenced = not fenced
        elif fenced or not stripped or _ORNAMENT.match(line) or re.match(r"#{1,6}\s|\$\s|>>>", stripped):
            paragraphs.append([])
        elif stripped.lower() != heading:
            paragraphs[-1].append(stripped)
    texts = (" ".join(lines) for lines in paragraphs if lines)
    # A row of links (languages, badges, a table of contents) says nothing.
    telling = (text for text in texts if 2 * sum(map(len, _LINK.findall(text))) < len(text))
    return [_REFERENCE.sub(r"\1", text) for text in telling]


def first_sentences(documentation: str, limit: int = 280) -> str:
    """The first sentence or two of a docstring, its first paragraph at most, uncut words."""
    paragraph: list[str] = []
    for line in documentation.strip().split("\n"):
        stripped = re.sub(r"^[:!<]+\s", "", line.strip())  # "#: documented" leaves ": documented"
        if not stripped or re.match(r"(?::\w+|@\w+|\.\. |Args:|Parameters|Returns:|>>> |```|[-=~^]{4,}$)", stripped):
            if paragraph:
                break
            continue
        paragraph.append(stripped)
    text = " ".join(paragraph)
    end = 0
    for match in re.finditer(r"[.!?。](?=\s+[A-Z\"'(`]|\s*$)", text):
        if match.end() > limit:
            break
        end = match.end()
        if end >= 80:
            break
    if end:
        return text[:end]
    if len(text) <= limit:
        return text
    return text[:limit].rsplit(" ", 1)[0] + " …"


def _body(hit: SearchHit) -> list[Line]:
    lines = [Line(hit.start_line + offset, text) for offset, text in enumerate(hit.text.split("\n"))]
    head = declaration(hit)
    if head is not None:
        start = head.number - hit.start_line
        lines = lines[start + _declaration_height([line.text for line in lines[start:]]) :]
    if hit.language in PROSE_LANGUAGES:
        return [line for line in lines if not _ORNAMENT.match(line.text)]
    documented = {line.strip() for line in hit.docstring.split("\n") if _LETTERS.search(line)}
    kept = []
    inside = False
    for line in lines:
        stripped = line.text.strip()
        quotes = stripped.count('"""') + stripped.count("'''")
        bare = re.sub(r"^(?:[rRuUbBfF]{0,2}(?:\"\"\"|'''))|(?:\"\"\"|''')$|^(?:///?|\*|#)\s?", "", stripped).strip()
        if hit.docstring and (inside or quotes) and (bare in documented or inside or not bare):
            inside = inside != (quotes % 2 == 1)
            continue
        if bare and bare in documented:
            continue
        kept.append(line)
    return kept


def _score(text: str, weights: Mapping[str, float]) -> float:
    bag = stems(text)
    score = sum(weight * term_match(key, bag) for key, weight in weights.items())
    if not score:
        return 0.0
    if _COMMENT.match(text):
        return score * 0.4
    return score * (1.25 if _DECIDES.match(text) else 1.0)


def _declaration_height(lines: Sequence[str]) -> int:
    """Lines until the round and square brackets of a declaration are closed; 1 when they are not."""
    depth = 0
    for number, line in enumerate(lines[:_LONGEST_DECLARATION], 1):
        code = _STRING.sub("", line)
        depth += sum(code.count(bracket) for bracket in "([") - sum(code.count(bracket) for bracket in ")]")
        if depth <= 0:
            return number
    return 1


def _squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


def _trimmed(lines: list[Line]) -> list[Line]:
    solid = [index for index, line in enumerate(lines) if line.text.strip()]
    return lines[solid[0] : solid[-1] + 1] if solid else []
