"""The training set of a project: what its own files ask and answer, cut into examples, a part of the files held out.

Only indexed files are read, through the same redaction as the index. Tests, vendored and generated code and data are
left out. Files are held out whole, because functions of one file resemble each other.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from gardener.errors import Interrupted, UsageError
from gardener.evaluation.mining import commit_questions, documentation_questions, sample
from gardener.index.rank import ROLE_CODE, ROLE_PROSE, role_of
from gardener.training.functions import Function, functions_in

if TYPE_CHECKING:
    import threading

    from gardener.index.manifest import FileRecord
    from gardener.index.undocumented import Documented

FUNCTION, QUESTION, DOCUMENTATION, COMMIT = "function", "question", "documentation", "commit"
KINDS = (FUNCTION, QUESTION, DOCUMENTATION, COMMIT)

FEWEST_EXAMPLES = 20
"""To train on; with less an adapter only learns them by heart."""
FEWEST_HELD_OUT = 4
HELD_OUT_SHARE = 0.1
MOST_OF_A_KIND = 8_000
MOST_COMMITS = 300
_SHORTEST, _LONGEST = 40, 12_000
"""Characters of a completion. Shorter ones (`pass`, a getter) teach nothing; longer ones would be cut off by far."""
_MOST_DOCUMENTATION = 2_000
_MOST_HEAD = 1_200
_RECORD_FILES = re.compile(
    r"(^|/)(change(s|log)|history|news|releases?|licen[cs]e|copying|authors|contributors|code_of_conduct)\b",
    re.IGNORECASE,
)


class Example(NamedTuple):
    kind: str
    """One of KINDS."""
    path: str
    """The file that it is about; of a commit the first."""
    prompt: str
    completion: str

    def as_json(self) -> dict[str, str]:
        return self._asdict()


class ExampleSet(NamedTuple):
    train: tuple[Example, ...]
    held_out: tuple[Example, ...]
    left_out: dict[str, int]
    """How many candidates were not taken, by reason."""
    files: int
    held_out_files: int

    def as_json(self) -> dict[str, object]:
        return {
            "train": len(self.train),
            "held_out": len(self.held_out),
            "kinds": {
                kind: {"train": count_of(kind, self.train), "held_out": count_of(kind, self.held_out)} for kind in KINDS
            },
            "characters": sum(len(example.prompt) + len(example.completion) for example in self.train),
            "files": self.files,
            "held_out_files": self.held_out_files,
            "left_out": self.left_out,
        }


def count_of(kind: str, examples: Iterable[Example]) -> int:
    return sum(example.kind == kind for example in examples)


class _Candidate(NamedTuple):
    example: Example
    paths: tuple[str, ...]


def collect_examples(
    root: str,
    records: Mapping[str, FileRecord],
    *,
    max_file_bytes: int,
    redact: Callable[[str, str], str],
    progress: Callable[[int, int], None] = lambda done, total: None,
    cancel: threading.Event | None = None,
) -> ExampleSet:
    """Examples of the indexed files below `root`, the same ones for the same files.

    `redact(text, path)` is what was applied before indexing. Raises Interrupted when `cancel` is set.
    """
    candidates: list[_Candidate] = []
    documented: list[tuple[str, str, Documented]] = []
    heads: dict[tuple[str, str, int], tuple[str, Function]] = {}
    for path, language, text in _texts(root, records, max_file_bytes, redact, progress, cancel):
        if role_of(path, language) == ROLE_PROSE:
            candidates += _sections(path, text, language)
            continue
        found = functions_in(path, text)
        documented += [(path, language, function) for function in found.documented]
        for function in found.functions:
            if "tests" in function.symbol.split("."):  # Rust's `mod tests`
                continue
            heads[path, function.symbol, function.start_line] = language, function
            candidates.append(_of_function(path, language, function))
    for question in documentation_questions(documented):
        place = question.relevant[0]
        known = heads.get((place.path, place.symbol, place.start_line))
        if known is not None:
            candidates.append(_of_question(question.query, place.path, *known))
    candidates += _of_commits(root, records, max_file_bytes, redact, cancel)
    return _split(candidates)


def check_enough(examples: ExampleSet, name: str) -> None:
    """Raises UsageError, with the numbers, when there is too little to train on or to hold out."""
    if len(examples.train) >= FEWEST_EXAMPLES and len(examples.held_out) >= FEWEST_HELD_OUT:
        return
    kinds = ", ".join(f"{count_of(kind, (*examples.train, *examples.held_out))} of kind {kind}" for kind in KINDS)
    raise UsageError(
        f"{name!r} has too little to train on: {len(examples.train)} examples and {len(examples.held_out)} held out, "
        f"out of {examples.files} files; at least {FEWEST_EXAMPLES} and {FEWEST_HELD_OUT} are needed, from two files "
        f"or more. There are {kinds}. Tests, vendored code and bodies below {_SHORTEST} characters do not count.",
        next_step="gardener show --skipped",
    )


def _texts(
    root: str,
    records: Mapping[str, FileRecord],
    max_file_bytes: int,
    redact: Callable[[str, str], str],
    progress: Callable[[int, int], None],
    cancel: threading.Event | None,
) -> Iterator[tuple[str, str, str]]:
    """(path, language, redacted text) of code and prose."""
    from gardener.index.classify import decode
    from gardener.index.walk import FileEntry, SkippedFile, read_file

    for done, (path, record) in enumerate(sorted(records.items())):
        if cancel is not None and cancel.is_set():
            raise Interrupted("Collecting examples was interrupted; nothing was kept.", next_step="gardener train")
        progress(done, len(records))
        if record.skipped or role_of(path, record.language) not in (ROLE_CODE, ROLE_PROSE):
            continue
        try:
            data = read_file(root, FileEntry(path, record.size, record.mtime_ns), max_file_bytes)
        except SkippedFile:
            continue  # gone since it was indexed
        yield path, record.language, redact(decode(data), path)


def _untold(done: int, total: int) -> None:
    """Files that are read a second time are not counted again."""


def _of_function(path: str, language: str, function: Function) -> _Candidate:
    documentation = function.documentation.strip()[:_MOST_DOCUMENTATION]
    prompt = f"Write the body of `{function.symbol}` in `{path}`."
    if documentation:
        prompt += f" It is documented so:\n\n{documentation}"
    prompt += f"\n\n```{language}\n{function.head[:_MOST_HEAD]}\n```"
    return _Candidate(Example(FUNCTION, path, prompt, f"```{language}\n{function.body}\n```"), (path,))


def _of_question(query: str, path: str, language: str, function: Function) -> _Candidate:
    answer = f"That is `{function.symbol}` in `{path}`:\n\n```{language}\n{function.head[:_MOST_HEAD]}\n```"
    return _Candidate(Example(QUESTION, path, f"Which part of the code does this: {query}", answer), (path,))


def _sections(path: str, text: str, language: str) -> Iterator[_Candidate]:
    from gardener.index.chunker import chunk_file

    if _RECORD_FILES.search(path):
        return
    for chunk in chunk_file(path, text, language):
        if chunk.kind != "section" or not chunk.symbol:
            continue
        prompt = f"What does `{path}` say about “{' '.join(chunk.symbol.split())[:200]}”?"
        yield _Candidate(Example(DOCUMENTATION, path, prompt, chunk.text.strip()), (path,))


def _of_commits(
    root: str,
    records: Mapping[str, FileRecord],
    max_file_bytes: int,
    redact: Callable[[str, str], str],
    cancel: threading.Event | None,
) -> Iterator[_Candidate]:
    from gardener.training.commits import touched_functions

    indexed = {
        path
        for path, record in records.items()
        if not record.skipped and role_of(path, record.language) in (ROLE_CODE, ROLE_PROSE)
    }
    questions = sample(commit_questions(root, indexed), MOST_COMMITS)
    touched = touched_functions(root, [question.id.rpartition(":")[2] for question in questions])
    mentioned = {path: records[path] for question in questions for path in (place.path for place in question.relevant)}
    texts = {path: text for path, _, text in _texts(root, mentioned, max_file_bytes, redact, _untold, cancel)}
    for question in questions:
        paths = tuple(place.path for place in question.relevant)
        functions = touched.get(question.id.rpartition(":")[2], {})
        lines = []
        for path in paths:
            # git's line is of an older text and cut off: alone it would hide half a key, or one of a key's lines, from
            # the redaction. What stands in today's redacted text is no secret.
            names = [name for name in functions.get(path, ()) if name in texts.get(path, "")]
            lines.append(f"- `{path}`" + (f": {', '.join(f'`{name}`' for name in names)}" if names else ""))
        query = redact(question.query, "subject.txt")
        answer = "This concerns:\n" + "\n".join(lines)
        yield _Candidate(Example(COMMIT, paths[0], f"Where does this change belong: {query}", answer), paths)


# ---- choosing and splitting -------------------------------------------------------------------------------


def _split(candidates: Sequence[_Candidate]) -> ExampleSet:
    left_out: Counter[str] = Counter()
    seen: set[bytes] = set()
    kept: list[_Candidate] = []
    for candidate in candidates:
        example = candidate.example
        # A question's and a commit's answer is short by nature.
        shortest = _SHORTEST if example.kind in (FUNCTION, DOCUMENTATION) else 1
        if len("".join(example.completion.strip("`").split())) < shortest:
            left_out["too short"] += 1
        elif len(example.completion) > _LONGEST:
            left_out["too long"] += 1
        else:
            # What stands twice in a project must not be trained on in one place and held out in the other.
            keys = {_digest(example.prompt)}
            if example.kind in (FUNCTION, DOCUMENTATION):
                keys.add(_digest(example.completion))
            if seen & keys:
                left_out["duplicate"] += 1
            else:
                kept.append(candidate)
            seen |= keys
    chosen: list[_Candidate] = []
    for kind in KINDS:
        of_kind = sorted((c for c in kept if c.example.kind == kind), key=lambda c: _digest(c.example.prompt))
        left_out["more than is needed"] += max(0, len(of_kind) - MOST_OF_A_KIND)
        chosen += of_kind[:MOST_OF_A_KIND]
    prose = [candidate for candidate in chosen if candidate.example.kind == DOCUMENTATION]
    code = [candidate for candidate in chosen if candidate.example.kind != DOCUMENTATION]
    away = _held_out_files(code, fewest=FEWEST_HELD_OUT)
    away |= _held_out_files(prose, fewest=0 if away else FEWEST_HELD_OUT)
    train = tuple(c.example for c in chosen if not away.intersection(c.paths))
    held_out = tuple(c.example for c in chosen if away.intersection(c.paths))
    files = {path for candidate in chosen for path in candidate.paths}
    return ExampleSet(train, held_out, {why: count for why, count in left_out.items() if count}, len(files), len(away))


def _held_out_files(candidates: Sequence[_Candidate], fewest: int) -> set[str]:
    """About a tenth of the files by the digest of their names, more when that gives hardly any examples, and fewer
    when one large file would take them all."""
    weights = Counter(candidate.example.path for candidate in candidates)
    total = sum(weights.values())
    order = sorted(weights, key=_digest)
    wanted = max(fewest, round(total * HELD_OUT_SHARE / 2))
    away: set[str] = set()
    held = 0
    for path in order:
        natural = int.from_bytes(_digest(path)[:4]) / 2**32 < HELD_OUT_SHARE
        if (
            (natural or held < wanted)
            and held + weights[path] <= max(wanted, total // 4)
            and len(away) < len(order) - 1
        ):
            away.add(path)
            held += weights[path]
    return away


def _digest(text: str) -> bytes:
    return hashlib.sha256(" ".join(text.split()).encode("utf-8", "replace")).digest()
