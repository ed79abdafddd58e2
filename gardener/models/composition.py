"""Composes an answer in Markdown out of search results alone: what was found, where, and who calls it.

Everything here is quoted or counted, nothing is made up. The pieces are yielded as they are composed. All
text that comes from the repository goes through `inert`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence

from gardener.models.base import ChatRequest, numbered_sources
from gardener.models.definitions import (
    Definition,
    by_file,
    definitions_of,
    introduces,
    place_of,
    subject_order,
)
from gardener.models.excerpt import (
    PROSE_LANGUAGES,
    Line,
    call_line,
    decisive_lines,
    declaration_lines,
    introduction_of,
    opening_of,
    term_weights,
)
from gardener.models.inert import clipped, code_span, fenced, prose
from gardener.models.questions import QuestionKind, question_kind
from gardener.models.relevance import Relevance, Terms, aside, judge, question_terms, stems
from gardener.types import SearchHit

HOW_TO_GET_A_MODEL = "To choose one that fits this machine: `gardener models recommend`."
"""The one place that says how to get a language model."""

OPENING = f"*No language model was used: what follows is quoted from the index.* {HOW_TO_GET_A_MODEL}"

MAX_LINES = 60
"""Lines of a whole answer: about one screen and a half."""
_MAX_NEXT = 5
_MAX_LISTED = 12
_MAX_CALLERS = 4
_MAX_CALL_SITES = 12
_FULL_DEFINITIONS: dict[QuestionKind, int] = {
    "where": 2,
    "what": 2,
    "how": 3,
    "callers": 1,
    "list": 0,
    "overview": 3,
    "general": 3,
}
_EMPTY_NEXT = "Where to look next:\n"
_LANGUAGE_OF_FENCE = {"restructuredtext": "rst", "text": "", "unknown": ""}


def compose(request: ChatRequest) -> Iterator[str]:
    """The answer to `request` in blocks, to be joined by blank lines; about 60 lines at most."""
    yield OPENING
    query = request.searched_for or request.question
    terms = question_terms(query)
    kind = question_kind(request.question)
    hits = [item.hit for item in request.evidence]
    relevance = judge(terms, hits)
    definitions = definitions_of(request.evidence, relevance)
    if kind == "overview":
        found = [item for item in definitions if introduces(item.hit.path) and introduction_of(item.head)]
        found = found or definitions
    else:
        found = [item for item in definitions if item.relevant]
        found.sort(key=lambda item: subject_order(item.matches[0], kind, query))
    if not found:
        yield from _nothing(request, terms, relevance)
        return
    yield from _Answer(request, kind, terms, definitions, found).blocks(relevance)


class _Answer:
    """The blocks of an answer that has found something."""

    def __init__(
        self,
        request: ChatRequest,
        kind: QuestionKind,
        terms: Terms,
        definitions: list[Definition],
        found: list[Definition],
    ) -> None:
        self._kind = kind
        self._terms = terms
        self._definitions = definitions
        self._found = found
        self._searched_for = request.searched_for
        self._query = request.searched_for or request.question
        self._numbers = {place_of(hit): n for n, hit in enumerate(numbered_sources(request.evidence), 1)}
        self._weights = term_weights(terms.words, [item.hit for item in request.evidence])
        self._shown: list[Definition] = []
        self._led = False

    def blocks(self, relevance: Relevance) -> Iterator[str]:
        """In the order of reading. A definition for which no room is left goes to where to look next."""
        room = MAX_LINES - 1 - _height(_EMPTY_NEXT) - _MAX_NEXT
        if self._searched_for:
            room -= 2
            yield f"Searched for: {code_span(self._searched_for)}"
        if relevance.missing:
            room -= 2
        for block in self._lead():
            room -= _height(block)
            yield block
        count = _FULL_DEFINITIONS[self._kind]
        if self._kind in ("where", "what") and self._found[0].named >= 2:
            # The question names it: its namesakes are worth showing, its neighbours are not.
            count = max(1, min(count, sum(item.named >= 2 for item in self._found)))
        for position, item in enumerate(by_file(self._found[:count])):
            block = self._definition(item, 0 if self._kind == "callers" else 9 if position == 0 else 6)
            if _height(block) <= room:
                room -= _height(block)
                self._shown.append(item)
                yield block
        if relevance.missing and self._kind != "overview":
            words = ", ".join(code_span(word) for word in relevance.missing[:6])
            yield f"Nothing that was found contains {words}."
        yield from self._next()

    def _lead(self) -> Iterator[str]:
        if self._kind == "overview" and not introduces(self._found[0].hit.path):
            yield "No README or other introduction was found; this came closest."
        elif self._kind == "callers":
            yield from self._call_sites()
        elif self._kind == "list":
            yield from self._listing()

    def _definition(self, item: Definition, limit: int) -> str:
        hit = item.hit
        label = hit.kind if hit.kind and hit.kind != "text" else hit.language
        if self._kind == "where" and not self._led:
            self._led = True
            if item.named:
                block = [f"**{_name(hit)}** ({prose(label, 40)}) is defined in {self._place(item)}."]
            else:
                block = [f"Closest match: **{_name(hit)}** ({prose(label, 40)}) in {self._place(item)}."]
        else:
            block = [f"**{_name(hit)}** — {prose(label, 40)} in {self._place(item)}"]
        prose_only = self._kind == "overview" and hit.language in PROSE_LANGUAGES
        documentation = prose(introduction_of(item.head), 600) if prose_only else prose(opening_of(item.head))
        if documentation:
            block += ["", documentation]
        language = _LANGUAGE_OF_FENCE.get(hit.language, hit.language)
        quoted = self._quoted(item, limit)
        if quoted and not (prose_only and documentation):
            block += ["", *fenced(quoted, language)]
        if self._kind != "callers":
            calls = self._called_by(item)
            if calls:
                block += ["", f"Called by, as far as names tell: {', '.join(calls)}."]
        return "\n".join(block)

    def _quoted(self, item: Definition, limit: int) -> list[str]:
        """The declaration and the decisive lines with their numbers; "…" where lines are left out."""
        lines = declaration_lines(item.head)
        head = lines[0] if lines else None
        for match in item.matches[:2] if limit else ():
            lines += decisive_lines(match.hit, self._weights, limit if match is item.matches[0] else limit // 2)
        lines = sorted({line.number: line for line in reversed(lines)}.values(), key=lambda line: line.number)
        elsewhere = head is None and bool(item.hit.signature) and item.hit.language not in PROSE_LANGUAGES
        if not lines:
            return []
        width = len(str(lines[-1].number))
        shown: list[str] = [clipped(f"{'…'.rjust(width)} | {item.hit.signature}")] if elsewhere else []
        previous = lines[0].number - 1 if not elsewhere else 0
        for line in _dedented(lines, 4 if elsewhere else 0):
            if line.number > previous + 1:
                shown.append(f"{'…'.rjust(width)} |")
            shown.append(clipped(f"{line.number:>{width}} | {line.text}"))
            previous = line.number
        return shown

    def _called_by(self, item: Definition) -> list[str]:
        calls: list[str] = []
        in_tests = 0
        for caller in sorted(item.callers, key=lambda caller: aside(caller.path, self._query)):
            line = call_line(caller, item.hit.symbol)
            if caller.language in PROSE_LANGUAGES:
                continue
            if line is not None and place_of(caller) in self._numbers:
                if calls and aside(caller.path, self._query):
                    in_tests += 1
                    continue
                where = code_span(f"{caller.path}:{line.number}")
                enclosing = f"{code_span(caller.symbol)} at " if caller.symbol else ""
                calls.append(f"{enclosing}{where} [{self._numbers[place_of(caller)]}]")
        shown = calls[:_MAX_CALLERS]
        if more := len(calls) - len(shown) + in_tests:
            shown.append(f"and {more} more" + (" in tests" if more == in_tests else ""))
        return shown

    def _call_sites(self) -> Iterator[str]:
        sites: list[str] = []
        seen: set[tuple[str, int]] = set()
        first = self._found[0]
        targets = [item for item in self._found if item.named == first.named > 0] or [first]
        for item in targets:
            for caller in sorted(item.callers, key=lambda caller: aside(caller.path, self._query)):
                line = call_line(caller, item.hit.symbol)
                if caller.language in PROSE_LANGUAGES:
                    continue
                if line is None or place_of(caller) not in self._numbers or (caller.path, line.number) in seen:
                    continue
                seen.add((caller.path, line.number))
                inside = f" in {code_span(caller.symbol)}" if caller.symbol else ""
                sites.append(
                    f"- {code_span(f'{caller.path}:{line.number}')}{inside}: {code_span(line.text, 110)} "
                    f"[{self._numbers[place_of(caller)]}]"
                )
        name = _name(first.hit)
        if not sites:
            yield (
                f"No caller of {name} was found. The index sees calls by name: reflection, callbacks and "
                "other repositories escape it."
            )
            return
        more = len(sites) - _MAX_CALL_SITES
        tail = [f"- and {more} more"] if more > 0 else []
        yield f"{name} is used here, as far as names tell:"
        yield "\n".join(sites[:_MAX_CALL_SITES] + tail)

    def _listing(self) -> Iterator[str]:
        yield "The best matches (a search result, not a complete inventory):"
        rows = []
        for item in by_file(self._found[:_MAX_LISTED]):
            self._shown.append(item)
            says = prose(opening_of(item.hit), 110)
            rows.append(f"- {_name(item.hit)} in {self._place(item)}" + (f" — {says}" if says else ""))
        yield "\n".join(rows)

    def _next(self) -> Iterator[str]:
        rest = [item for item in self._definitions if item not in self._shown and item.touched]
        rest.sort(key=lambda item: not item.relevant)
        if rest:
            rows = [f"- {_name(item.hit)} in {self._place(item)}" for item in rest[:_MAX_NEXT]]
            yield "\n".join([_EMPTY_NEXT, *rows])

    def _place(self, item: Definition) -> str:
        """`path:start-end` [n], once for every chunk of the definition."""
        places: list[str] = []
        for hit in sorted((match.hit for match in item.matches), key=lambda hit: hit.start_line)[:4]:
            lines = f"{hit.start_line}-{hit.end_line}"
            where = lines if places else code_span(f"{hit.path}:{lines}")
            places.append(f"{where} [{self._numbers[place_of(hit)]}]")
        return ", ".join(places)


def _nothing(request: ChatRequest, terms: Terms, relevance: Relevance) -> Iterator[str]:
    project = code_span(request.project) or "this project"
    words = list(terms.words.values())
    bags = [stems(f"{item.hit.path} {item.hit.symbol} {item.hit.text}") for item in request.evidence]
    shared = [word for key, word in terms.words.items() if any(key in bag for bag in bags)]
    if not request.evidence:
        why = "The search returned nothing."
    elif not words and not terms.identifiers:
        why = "The question has no word that could be looked up in code."
    elif shared:
        why = (
            f"What the search returned has only {', '.join(map(code_span, shared[:6]))} in common with "
            "the question, in passing."
        )
    else:
        why = "What the search returned has no word in common with the question."
    yield f"**Nothing relevant found in {project}.** {why}"
    lookup = " ".join(word for word in words[:6] if re.fullmatch(r"[\w-]+", word))
    rows = ["- Name a function, class, file or message the way it stands in the code."]
    near = [
        match.hit for match in relevance.matches if match.hit.symbol and max(match.strengths.values(), default=0) == 1
    ]
    if near:
        # Without numbers: they are suggestions, not evidence.
        places = [f"{_name(hit)} in {code_span(f'{hit.path}:{hit.start_line}')}" for hit in near[:3]]
        rows.append(f"- A name that shares a word with the question: {', '.join(places)}.")
    if lookup:
        rows.append(f"- {code_span('gardener search ' + shlex.quote(lookup))} lists the nearest chunks all the same.")
    rows.append("- `gardener show --skipped` lists the files that are not in the index, and why.")
    yield "\n".join(rows)


def _height(block: str) -> int:
    """Lines that a block takes, with the blank one before it."""
    return block.count("\n") + 2


def _name(hit: SearchHit) -> str:
    return code_span(hit.symbol, 80) or code_span(hit.path.rsplit("/", 1)[-1], 80)


def _dedented(lines: Sequence[Line], keep: int) -> list[Line]:
    """Without the indentation that all lines share but for `keep` columns."""
    depths = [len(line.text) - len(line.text.lstrip()) for line in lines if line.text.strip()]
    common = max(0, min(depths, default=0) - keep)
    return [Line(line.number, line.text[common:]) for line in lines]
