"""Fuses what the retrievers found into one order. Pure functions over arrays; no I/O, no heavy imports but NumPy.

A candidate's score is a weighted sum: z-scores of BM25 and cosine over the candidates, the best BM25 in its file, and
evidence that neither sees (how much of the symbol's name the question has, how much of the question the signature has,
an exact symbol, words of the file's name). Tests, documentation, data, vendored files and bare type headers are
demoted, never hidden, unless the question asks for them. docs/retrieval.md says how the constants were chosen, on
which questions, and what was tried and left out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from gardener.index.words import split_identifier, stem

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class RankWeights:
    """The constants of the ranking. All act on z-scores, so their unit is one standard deviation."""

    lexical: float = 0.3
    vector: float = 0.6
    lexical_alone: float = 0.6
    """Instead of both where no candidate has a vector."""
    file_lexical: float = 0.2
    """Times the best lexical z-score among the file's candidates: the places of one file corroborate each other."""
    exact_symbol: float = 2.0
    """The query is the name of this symbol."""
    mentioned_symbol: float = 0.5
    """A longer query mentions the name of this symbol."""
    symbol_words: float = 1.0
    """Times the share of the symbol's words that the query has."""
    signature_words: float = 1.0
    """Times the share of the query's words that the symbol's name and signature have."""
    path_words: float = 0.27
    """Times the share of the file name's words that the query has."""
    crowding: float = 0.1
    """Taken from a candidate for each better one of the same file: ten places in one file hide the other files."""
    test: float = -1.2
    prose: float = -1.5
    data: float = -0.6
    vendored: float = -1.0
    type_header: float = -1.0
    """The head of a class or type: what a question describes is done by its functions, which are rows of their own."""

    @property
    def fingerprint(self) -> str:
        """Changes with every constant, so that evaluations with other weights can be told apart; 12 digits."""
        import hashlib

        return hashlib.sha256(repr(self).encode()).hexdigest()[:12]


DEFAULT_WEIGHTS = RankWeights()

NO_DEFINITION = frozenset({"section", "text", "table", "rule", ""})
"""Kinds of chunks whose symbol is a heading or a key rather than a definition."""
TYPE_KINDS = frozenset({"class", "interface", "struct", "trait", "type", "enum"})
_ASKS_TYPE = TYPE_KINDS | {"classes", "interfaces", "structs", "traits", "types", "enums", "protocol", "exception"}

ROLE_CODE, ROLE_TEST, ROLE_PROSE, ROLE_DATA, ROLE_VENDORED = "code", "test", "prose", "data", "vendored"

_TEST = re.compile(
    r"(^|/)(tests?|testing|specs?|__tests__|testdata|fixtures|e2e|test[-_]suite)(/|$)"
    r"|(^|/)(test_[^/]*|conftest\.py|[^/]*[._-](test|tests|spec)\.[^/]+|[^/]*_test\.[^/]+|[A-Z]\w*Tests?\.\w+)$"
)
_VENDORED = re.compile(r"(^|/)(vendor|vendored|_vendor|third[-_]party|external|extern|legacy|deprecated)(/|$)")
_PROSE_LANGUAGES = frozenset({"markdown", "rst", "text", "asciidoc", "org"})
_DATA_LANGUAGES = frozenset({"json", "yaml", "toml", "xml", "csv", "ini", "css", "html", "sql"})

_ASKS = {
    ROLE_TEST: frozenset({"test", "tests", "testing", "tested", "spec", "specs", "fixture", "fixtures", "mock"}),
    ROLE_PROSE: frozenset({"readme", "docs", "documentation", "changelog", "guide", "tutorial", "license", "install"}),
    ROLE_DATA: frozenset(
        {"json", "yaml", "toml", "xml", "csv", "ini", "css", "html", "sql", "config", "configuration", "template"}
    ),
    ROLE_VENDORED: frozenset({"vendor", "vendored", "legacy", "deprecated"}),
}


@lru_cache(maxsize=100_000)
def role_of(path: str, language: str) -> str:
    """What part a file plays, by its path and language."""
    if _VENDORED.search(path):
        return ROLE_VENDORED
    if _TEST.search(path):
        return ROLE_TEST
    if language in _PROSE_LANGUAGES:
        return ROLE_PROSE
    if language in _DATA_LANGUAGES:
        return ROLE_DATA
    return ROLE_CODE


def demotion(role: str, kind: str, words: frozenset[str], weights: RankWeights) -> float:
    """What is added to a candidate's score for the part it plays; 0.0 when the question's words ask for such places."""
    if role != ROLE_CODE and not words & _ASKS[role]:
        of_role = {
            ROLE_TEST: weights.test,
            ROLE_PROSE: weights.prose,
            ROLE_DATA: weights.data,
            ROLE_VENDORED: weights.vendored,
        }
        return of_role[role]
    if kind in TYPE_KINDS and not words & _ASKS_TYPE:
        return weights.type_header
    return 0.0


@dataclass(frozen=True, slots=True)
class Candidates:
    """Parallel columns, one entry per candidate. `bm25` is 0 where words did not find it, `cosine` NaN where there is
    no vector; both float32 of shape (n,)."""

    paths: Sequence[str]
    languages: Sequence[str]
    symbols: Sequence[str]
    kinds: Sequence[str]
    signatures: Sequence[str]
    bm25: NDArray[np.float32]
    cosine: NDArray[np.float32]


def fuse(
    candidates: Candidates, query: str, words: Sequence[str], weights: RankWeights = DEFAULT_WEIGHTS
) -> NDArray[np.float64]:
    """A score for each candidate, shape (n,); larger is better, all positive. `words` are `words.query_words`."""
    import numpy as np

    n = len(candidates.paths)
    if n == 0:
        return np.empty(0, np.float64)
    lexical = _standardised(candidates.bm25.astype(np.float64))
    has_vector = ~np.isnan(candidates.cosine)
    if has_vector.any():
        cosine = candidates.cosine.astype(np.float64)
        vector = np.zeros(n)
        vector[has_vector] = _standardised(cosine[has_vector])
        if not has_vector.all():
            # Nothing is known of these: a place below the middle, so that proof outranks absence of proof.
            vector[~has_vector] = np.quantile(vector[has_vector], 0.25)
        score = weights.lexical * lexical + weights.vector * vector
    else:
        score = weights.lexical_alone * lexical
    score = score + weights.file_lexical * _best_of_file(candidates.paths, lexical)
    asked = frozenset(words)
    stems = frozenset(stem(word) for word in words)
    named = named_symbols(query)
    exact = weights.exact_symbol if len(query.split()) <= 2 else weights.mentioned_symbol
    columns = zip(
        candidates.paths,
        candidates.languages,
        candidates.symbols,
        candidates.kinds,
        candidates.signatures,
        strict=True,
    )
    score = score + np.array(
        [
            _evidence(path, symbol, kind, signature, stems, named, exact, weights)
            + (0.0 if symbol_is_named(symbol, named) else demotion(role_of(path, language), kind, asked, weights))
            for path, language, symbol, kind, signature in columns
        ]
    )
    score -= weights.crowding * _better_of_file(candidates.paths, score)
    total: NDArray[np.float64] = score - score.min() + 0.1
    return total


def _standardised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    deviation = float(values.std())
    return (values - values.mean()) / deviation if deviation > 1e-9 else values * 0.0


_IDENTIFIER = re.compile(r"[^\W\d_][\w$]*")
_NAMED = re.compile(r"[A-Za-z_$][\w$]*(?:(?:\.|::|#|->)[A-Za-z_$][\w$]*)*")


def named_symbols(query: str) -> frozenset[str]:
    """Words of the query that look like names of symbols rather than like English, lower-cased, by last part."""
    names: set[str] = set()
    tokens = _NAMED.findall(query[:20_000])
    for token in tokens:
        parts = re.split(r"\.|::|#|->", token)
        distinctive = len(parts) > 1 or "_" in token or not (token.islower() or token.istitle())
        if distinctive or len(tokens) <= 2:
            names.add(parts[-1].lower())
            if len(parts) > 1:
                names.add(".".join(parts).lower())
    return frozenset(names)


def symbol_is_named(symbol: str, named: frozenset[str]) -> bool:
    """Whether a symbol, or its last part, is one of these lower-case names."""
    lowered = symbol.lower()
    return bool(symbol) and (lowered in named or lowered.rsplit(".", 1)[-1] in named)


@lru_cache(maxsize=20_000)  # about 20 MB when full
def _stems_of(text: str) -> frozenset[str]:
    """The stems of the words in the identifiers of a name, path or signature."""
    return frozenset(
        stem(part) for name in _IDENTIFIER.findall(text) for part in split_identifier(name) if len(part) > 1
    )


def _evidence(
    path: str,
    symbol: str,
    kind: str,
    signature: str,
    asked: frozenset[str],
    named: frozenset[str],
    exact: float,
    weights: RankWeights,
) -> float:
    """What name, signature and path say for a candidate. `asked` are the stems of the question's words."""
    evidence = 0.0
    if symbol and kind not in NO_DEFINITION:
        if symbol_is_named(symbol, named):
            evidence += exact
        evidence += weights.symbol_words * _covered(_stems_of(symbol.rsplit(".", 1)[-1]), asked)
        evidence += weights.signature_words * _covered(asked, _stems_of(signature))
    return evidence + weights.path_words * _covered(_stems_of(_telling_name(path)), asked)


def _covered(words: frozenset[str], by: frozenset[str]) -> float:
    return len(words & by) / len(words) if words else 0.0


def _telling_name(path: str) -> str:
    """The file's name without its ending, or its folder's where every package has a file of that name."""
    name = path.rsplit("/", 1)[-1].split(".", 1)[0]
    if name in ("__init__", "index", "mod", "lib", "main") and "/" in path:
        return path.rsplit("/", 2)[-2]
    return name


def _best_of_file(paths: Sequence[str], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each candidate the largest value among those of its file."""
    import numpy as np

    best: dict[str, float] = {}
    for path, value in zip(paths, values.tolist(), strict=True):
        if value > best.get(path, -np.inf):
            best[path] = value
    return np.array([best[path] for path in paths])


def _better_of_file(paths: Sequence[str], score: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each candidate how many of its file's are better, at most five."""
    import numpy as np

    better = np.zeros(len(paths))
    seen: dict[str, int] = {}
    for position in np.argsort(-score, kind="stable").tolist():
        before = seen.get(paths[position], 0)
        better[position] = min(before, 5)
        seen[paths[position]] = before + 1
    return better
