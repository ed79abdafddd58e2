"""Questions that a project holds the answers to: its documentation, and the subjects of its commits."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from gardener.evaluation.questions import FROM_COMMITS, FROM_DOCUMENTATION, Question, Relevant
from gardener.git import GitFailed, safe_git
from gardener.index.rank import ROLE_CODE, role_of
from gardener.index.undocumented import Documented

FEWEST_WORDS, MOST_WORDS = 5, 60
COMMITS_READ = 5_000
MOST_FILES = 5
"""A commit that touches more files is about none of them in particular."""

_PARAGRAPH_END = re.compile(
    r"\n\s*\n|\n\s*(?:[@\\:](?:param|return|throws|brief|rtype|type|arg)|(?:Args|Arguments|Parameters|Returns?|Raises|"
    r"Example|Examples|Note|Panics|Errors|Safety)\s*:?\s*(?:\n|$)|>>>|```|#\s|[-*]\s|\.\. )",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z`\[])")
_LEADING_TAG = re.compile(r"^\s*[@\\](?:returns?|brief|summary)\s+(?:\[[^\]]*\]|\{[^}]*\})?")
_INLINE_TAG = re.compile(r"\{@\w+\s+([^{}]*)\}")
_MARKUP = re.compile(r"</?[A-Za-z][^<>]{0,80}>|:[a-z]+:(?=`)")
_ASIDE = re.compile(r"https?://|\bTODO\b|\bFIXME\b|\bdeprecated\b|copyright|eslint|doctest", re.IGNORECASE)

_ISSUE = re.compile(r"\s*\(?(?:#|gh-|GH-)\d+\)?")
_SCOPE = re.compile(r"^(?:\[[^\]]{1,30}\]|[\w./-]+(?:\([^)]*\))?!?:)\s*")
_CHORE = re.compile(
    r"\b(bump|release|merge|changelog|version|typos?|revert|readme|dependabot|upgrade|copyright|licen[cs]e|ci|travis|"
    r"workflow|prepare|lint|format|formatting|whitespace|docs?|documentation|translations?|wip)\b",
    re.IGNORECASE,
)
_CHORE_SCOPE = re.compile(r"(docs?|chore|ci|build|tests?|style|deps|release|lint)\b[^:]{0,40}:", re.IGNORECASE)
_UNCODED = re.compile(r"\.(md|rst|txt|ya?ml|toml|lock|json|cfg|ini|po|mo)$")


def documentation_questions(documented: Iterable[tuple[str, str, Documented]]) -> list[Question]:
    """From (path, language, function): the first paragraph of each function's documentation asks for the function.

    Tests and other people's code are left out, and so are texts that more than one function has.
    """
    asked: dict[str, list[Question]] = {}
    for path, language, function in documented:
        if role_of(path, language) != ROLE_CODE or "tests" in function.symbol.split("."):  # Rust's `mod tests`
            continue
        query = question_of(function.documentation, function.symbol)
        if query:
            place = Relevant(path, function.symbol, function.start_line, function.end_line)
            name = f"{FROM_DOCUMENTATION}:{path}:{function.symbol}:{function.start_line}"
            asked.setdefault(query.lower(), []).append(Question(name, query, (place,), FROM_DOCUMENTATION))
    return [questions[0] for questions in asked.values() if len(questions) == 1]


def question_of(documentation: str, symbol: str) -> str:
    """The first paragraph without markup and without the function's name in front; "" when it asks nothing."""
    text = _PARAGRAPH_END.split(documentation.strip(), maxsplit=1)[0]
    text = _LEADING_TAG.sub("", _MARKUP.sub("", _INLINE_TAG.sub(r"\1", text))).strip()
    if text.startswith(("@", "\\", ":param")):
        return ""
    sentences = _SENTENCE_END.split(" ".join(text.split()))
    words = " ".join(sentences[:2]).split()
    if words and words[0].strip("`*_():,.") == symbol.rsplit(".", 1)[-1]:
        words = words[1:]
    query = " ".join(words)
    letters = sum(character.isalpha() or character == " " for character in query)
    if not FEWEST_WORDS <= len(words) <= MOST_WORDS or _ASIDE.search(query) or letters < 0.7 * len(query):
        return ""
    return query


def commit_questions(root: str, indexed: Collection[str]) -> list[Question]:
    """From git's log: a commit's subject asks for the files that it touched, all of which must be indexed still.

    Without a git repository there are none.
    """
    try:
        log = safe_git(
            root, "log", "--no-merges", f"--max-count={COMMITS_READ}", "--format=%x01%H%x02%s", "--name-only", "-z",
            "--no-renames",
        )  # fmt: skip
    except GitFailed:
        return []
    questions: dict[str, Question] = {}
    for entry in log.decode("utf-8", "surrogateescape").split("\x01")[1:]:
        head, _, names = entry.partition("\0")
        commit, _, subject = head.partition("\x02")
        paths = [name.strip("\n") for name in names.split("\0") if name.strip("\n")]
        query = _SCOPE.sub("", _ISSUE.sub("", subject)).strip()
        if not 4 <= len(query.split()) <= MOST_WORDS or _CHORE.search(query) or _CHORE_SCOPE.match(subject):
            continue
        if not 1 <= len(paths) <= MOST_FILES or not all(path in indexed for path in paths):
            continue
        if all(_UNCODED.search(path) for path in paths):
            continue
        places = tuple(Relevant(path) for path in paths)
        questions.setdefault(query.lower(), Question(f"{FROM_COMMITS}:{commit[:16]}", query, places, FROM_COMMITS))
    return list(questions.values())


def sample(questions: Iterable[Question], limit: int) -> list[Question]:
    """At most `limit` of them, chosen by their ids: the same ones again as long as they are there."""
    import hashlib

    def place(question: Question) -> bytes:
        return hashlib.blake2b(question.id.encode("utf-8", "replace"), digest_size=8, person=b"sample").digest()

    return sorted(questions, key=place)[:limit]
