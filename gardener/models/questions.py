"""What kind of question it is, and what it is about, by its words alone."""

from __future__ import annotations

import re
from typing import Literal

from gardener.models.relevance import Terms, question_terms

QuestionKind = Literal["where", "what", "how", "callers", "list", "overview", "general"]

_CALLERS = re.compile(
    r"\b(?:who|what|which\b.{0,30}|where)\b.{0,30}?\b(?:calls?|called|calling|uses?|used|using|invokes?"
    r"|invoked|references?|referenced|depends? on)\b"
    r"|\b(?:callers?|usages?|uses|references|call sites?)\s+(?:of|to|for)\b"
    r"|\bcall sites?\b"
)
# "what does X use", "which X is used for Y": the named thing acts, it is not acted upon.
_NOT_CALLERS = re.compile(r"\b(?:what|which|who)\b.{0,40}\b(?:does|do)\b|\bused\s+(?:for|to|by|as|in)\b|\bhow\b")
_WHERE = re.compile(
    r"^(?:(?:so|and|but|please|can you|could you)\b[ ,]*)*(?:where\b|(?:find|locate|show me where)\b"
    r"|(?:in )?(?:which|what) (?:file|module|place|folder|directory)\b)"
)
_LIST = re.compile(
    r"^(?:please\s+)?(?:list|enumerate|name|show)\b(?!.*\bhow\b)|^(?:what|which) are (?:all |the )"
    r"|^what (?:kinds?|types?) of"
    r"|^which (?:\w+ ){0,2}(?:functions|classes|methods|commands|options|errors|exceptions|files|modules"
    r"|routes|endpoints|tests|settings|types|backends)\b|\ball (?:the )?\w+s\b"
)
_HOW = re.compile(r"^(?:(?:so|and|but|please|explain|describe|tell me)\b[ ,]*)*how\b|\bhow (?:does|do|is|are)\b")
_WHAT = re.compile(r"^(?:(?:so|and|but|please)\b[ ,]*)*(?:what(?:'s| is| does| do| are)\b|explain\b|describe\b|why\b)")
_PROJECT = re.compile(
    r"\b(?:this|the|our|my)\s+(?:\w+\s+)?(?:project|repo|repository|code ?base|code|package|library|app"
    r"|application|program|tool)\b|\bproject\b"
)
_ABOUT = re.compile(r"\b(?:what|about|overview|summar\w*|describe|explain|start|purpose|architecture|structure)\b")

_WHOLE = re.compile(r"\b(?:overview|summar\w*|architecture|getting started)\b")
# Stems of the words that a question about the whole may have besides stop words.
_SAYS_PROJECT = frozenset(
    ("about", "librari", "packag", "app", "applicat", "tool", "architectur", "structur", "start", "bas")
)


def question_kind(question: str, terms: Terms | None = None) -> QuestionKind:
    """The kind of `question`; "general" when its words do not tell. Deterministic, English."""
    text = " ".join(question[:4000].lower().split())
    terms = terms or question_terms(question)
    if is_overview(question, terms):
        return "overview"
    if _CALLERS.search(text) and not _NOT_CALLERS.search(text):
        return "callers"
    if _WHERE.search(text):
        return "where"
    if _LIST.search(text):
        return "list"
    if _HOW.search(text):
        return "how"
    return "what" if _WHAT.search(text) else "general"


def is_overview(question: str, terms: Terms) -> bool:
    """Whether the question is about the project as a whole: "what does this project do?"."""
    text = question[:4000].lower()
    if terms.identifiers or not _ABOUT.search(text):
        return False
    rest = set(terms.words) - _SAYS_PROJECT
    return not rest and bool(_PROJECT.search(text) or _WHOLE.search(text))
