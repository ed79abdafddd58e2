"""Makes a search out of a follow-up question: "and who calls it?" is searched for with what "it" stands for.

Deterministic: words only, no model. What was searched for is always shown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from gardener.models.questions import is_overview, question_kind
from gardener.models.relevance import Terms, question_terms
from gardener.types import Message

_REFERS = re.compile(
    r"\b(?:it|its|that|this|these|those|they|them|their|he|she|the same|there"
    r"|the (?:first|second|third|last|other) one|one of them"
    r"|the (?:function|method|class|file|module|code))\b"
)
_CONTINUES = re.compile(
    r"^(?:and|but|so|then|also|or|what about|how about|why|why not|where else|anything else|more)\b"
)
_FIRST_NAME = re.compile(r"\*\*(`+) ?([^`\n]{1,120}?) ?\1\*\*|(?<!`)`([A-Za-z_][\w.:#]{2,119}?)(?:\(\))?`(?!`)")
_FIRST_CALLABLE = re.compile(r"\*\*(`+) ?([^`\n]{1,120}?) ?\1\*\* (?:— |\()(?:function|method)\b")
_MAX_BACK = 4
_MAX_TERMS = 8


def condense(question: str, history: Sequence[Message], project: str = "") -> str:
    """The query to search for: `question` itself, or joined with what it refers to in the conversation.

    A question that names something in code, or has three or more words of its own and no pronoun, stands
    alone. A question about the project as a whole is searched for as its introduction.
    """
    terms = question_terms(question)
    if is_overview(question, terms):
        return f"{project} README introduction overview".strip()
    if not history or not _is_follow_up(question, terms):
        return _without_project(question, project)
    carried = _subject(history, question_kind(question) == "callers")
    own = [word for word in terms.words.values() if word.lower() not in " ".join(carried).lower()]
    return " ".join([*own, *carried]) if carried else question


def _is_follow_up(question: str, terms: Terms) -> bool:
    if terms.identifiers:
        return False
    text = " ".join(question.lower().split())
    if _REFERS.search(text):
        return len(terms.words) <= 4
    return len(terms.words) <= 2 if _CONTINUES.match(text) else not terms.words


def _without_project(question: str, project: str) -> str:
    """The question without the project's name where it is the actor or the place: "how does requests retry?".

    In the project itself that name is everywhere and finds nothing; as anything else it stays.
    """
    name = re.split(r"[-_ ]?v?\d", project)[0].strip("-_. ")
    if len(name) < 2:
        return question
    shorter = re.sub(rf"(?i)\b(does|do|did|can|in|inside|within|of) {re.escape(name)}\b(?![.\w/-])", r"\1 it", question)
    return shorter if question_terms(shorter).words else question


def _subject(history: Sequence[Message], called: bool) -> list[str]:
    """What the conversation is about: names in the last self-contained question, else what its answer put
    first.
    """
    answer = ""
    back = 0
    for message in reversed(history):
        if message.role == "assistant" and not answer:
            answer = message.content
        if message.role != "user":
            continue
        back += 1
        terms = question_terms(message.content)
        if terms.identifiers:
            return list(terms.identifiers[:_MAX_TERMS])
        if terms.words and (not _is_follow_up(message.content, terms) or back == _MAX_BACK):
            first = _first_name(answer, called)
            return [*([first] if first else []), *list(terms.words.values())[: _MAX_TERMS - 1]]
        if back == _MAX_BACK:
            break
    first = _first_name(answer, called)
    return [first] if first else []


def _first_name(answer: str, called: bool) -> str:
    """The first definition of an answer; for a question about callers the first that can be called."""
    match = (_FIRST_CALLABLE.search(answer) if called else None) or _FIRST_NAME.search(answer)
    return next((group for group in match.groups()[1:] if group), "") if match else ""
