from __future__ import annotations

import re
import threading
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from gardener.models.base import ChatRequest, Evidence, numbered_sources
from gardener.models.composition import HOW_TO_GET_A_MODEL, MAX_LINES, OPENING, compose
from gardener.models.extractive import ExtractiveBackend
from gardener.types import SearchHit, TextDelta
from tests.chat_samples import EXPIRE, FILES, HITS, LOAD, LOGIN, STORE_CLASS, TESTED, make_hit

EVIDENCE = (Evidence(LOAD, (TESTED, LOGIN, EXPIRE)), Evidence(STORE_CLASS, (TESTED,)), Evidence(LOGIN))


def ask(question: str, evidence: tuple[Evidence, ...] = EVIDENCE, searched_for: str = "") -> str:
    request = ChatRequest((), question, evidence, 10_000, project="shop", searched_for=searched_for)
    return "\n\n".join(compose(request))


def test_it_opens_by_saying_that_no_model_was_used_and_how_to_get_one() -> None:
    first = ask("how does load_session work?").split("\n")[0]
    assert "No language model was used" in first
    assert HOW_TO_GET_A_MODEL in first


def test_how() -> None:
    answer = ask("How does load_session treat an empty file?")
    assert "**`SessionStore.load_session`** — method in `src/store.py:12-30` [1]" in answer
    assert "Reads a session from the disk." in answer
    assert "```python\n12 | def load_session(self, name):\n" in answer
    assert "21 |     # An empty file is what a crash leaves behind." in answer


def test_every_quoted_line_stands_in_its_file() -> None:
    answer = ask("How does load_session treat an empty file?")
    quoted = re.findall(r"^\s*(\d+) \| (.*)$", answer, re.MULTILINE)
    assert len(quoted) >= 5
    lines = FILES["src/store.py"].split("\n") + FILES["src/handlers.py"].split("\n")
    for _, text in quoted:
        assert any(text.strip() in line for line in lines), text


def test_where() -> None:
    answer = ask("where is SessionStore defined?")
    assert "**`SessionStore`** (class) is defined in `src/store.py:6-11` [2]." in answer
    assert ask("where are sessions read?").count("Closest match: ") == 1


def test_what_names_the_symbol_first_and_its_callers_code_before_tests() -> None:
    answer = ask("what does load_session do?")
    called = re.search(r"Called by, as far as names tell: (.*)\.\n", answer)
    assert called
    assert re.findall(r"`([^`]+:\d+)` \[(\d)\]", called.group(1)) == [
        ("src/handlers.py:6", "3"),
        ("src/store.py:35", "5"),
    ]
    assert called.group(1).endswith("and 1 more in tests")


def test_who_calls() -> None:
    answer = ask("who calls load_session?")
    assert "- `src/handlers.py:6` in `login`: `session = store.load_session(request.cookie)` [3]" in answer
    assert "- `src/store.py:35` in `expire`" in answer


def test_who_calls_something_that_nobody_calls() -> None:
    assert "No caller of `login` was found" in ask("who calls `login`?")


def test_list() -> None:
    answer = ask("list the session functions")
    assert "not a complete inventory" in answer
    assert "- `SessionStore.load_session` in `src/store.py:12-30` [1] — Reads a session from the disk." in answer


def test_words_that_nothing_has_are_named() -> None:
    assert "Nothing that was found contains `redis`." in ask("how is a session loaded from redis?")


def test_where_to_look_next() -> None:
    answer = ask("where is SessionStore defined?")
    assert "Where to look next:" in answer
    assert "- `SessionStore.load_session` in `src/store.py:12-30` [1]" in answer


def test_a_definition_in_two_chunks_is_one_entry() -> None:
    head = make_hit("src/store.py", 12, LOAD.text[:120], symbol=LOAD.symbol, kind="method", signature=LOAD.signature)
    tail = make_hit("src/store.py", 40, LOAD.text[120:], symbol=LOAD.symbol, kind="method")
    answer = ask("what does load_session do?", (Evidence(tail), Evidence(head)))
    assert answer.count("**`SessionStore.load_session`**") == 1
    assert f"`src/store.py:12-{head.end_line}` [2], 40-{tail.end_line} [1]" in answer


def test_definitions_of_one_file_stand_together() -> None:
    answer = ask("sessions", (EVIDENCE[0], EVIDENCE[2], EVIDENCE[1]))
    order = re.findall(r"^\*\*`(.*?)`\*\*", answer, re.MULTILINE)
    assert order == ["SessionStore.load_session", "SessionStore", "login"]


def test_imports_come_after_definitions() -> None:
    imports = make_hit("src/a.py", 1, "from store import load_session, expire", kind="block")
    answer = ask("how are sessions loaded from the disk", (Evidence(imports), *EVIDENCE))
    assert answer.index("**`SessionStore.load_session`**") < answer.index("`a.py`")


def test_what_was_searched_for_is_said() -> None:
    answer = ask("and who calls it?", searched_for="load_session")
    assert "Searched for: `load_session`" in answer
    assert "`src/handlers.py:6` in `login`" in answer


@pytest.mark.parametrize("question", ["recipe for lasagna", "who won the world cup?", "what is the capital of France?"])
def test_nothing_relevant(question: str) -> None:
    answer = ask(question)
    assert "**Nothing relevant found in `shop`.**" in answer
    assert not re.search(r"\[\d+\]", answer)
    assert "gardener search" in answer


def test_nothing_relevant_says_why() -> None:
    assert "The search returned nothing." in ask("recipe for lasagna", ())
    assert "no word in common" in ask("recipe for lasagna")
    assert "has only `session` in common" in ask("the session of the French parliament in Versailles")
    assert "no word that could be looked up" in ask("what is it?")
    assert "A name that shares a word with the question: `SessionStore.load_session` in `src/store.py:12`" in ask(
        "the session of the French parliament in Versailles"
    )


def test_the_command_that_it_suggests_is_quoted_for_the_shell() -> None:
    answer = ask("lasagna'; rm -rf ~ $(boom) `boom`")
    command = re.search(r"gardener search (.*?)`", answer)
    assert command
    assert re.fullmatch(r"'[\w -]+'|[\w-]+", command.group(1))


def test_overview_begins_with_the_readme() -> None:
    readme = make_hit(
        "README.md", 1, "# Shop\n\nShop keeps sessions.", symbol="Shop", kind="section", language="markdown"
    )
    answer = ask("what does this project do?", (*EVIDENCE, Evidence(readme)), searched_for="shop README introduction")
    assert "Shop keeps sessions." in answer
    assert "SessionStore" not in answer.split("Where to look next")[0]


@pytest.mark.parametrize(
    "question", ["how does load work", "what does load do", "list load", "who calls load", "where is load"]
)
def test_never_longer_than_a_screen_and_a_half(question: str) -> None:
    body = "\n".join("    load(it)" if line % 4 == 0 else "    x = 1" for line in range(300))
    long = [
        make_hit(
            f"src/f{n}.py", 1, body, symbol=f"load_{n}",
            signature=f"def load_{n}(x)", docstring="Loads it. " * 40,
        )
        for n in range(30)
    ]  # fmt: skip
    calls = tuple(
        make_hit(f"src/c{n}.py", 1, "\n".join(f"load_{m}()" for m in range(30)), symbol=f"c{n}") for n in range(30)
    )
    answer = ask(question, tuple(Evidence(hit, calls) for hit in long))
    assert 3 < answer.count("\n") < MAX_LINES
    assert answer.count("\n- `load_") + answer.count("**`load_") >= 5


PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
INERT = {
    "paragraph_open", "paragraph_close", "inline", "text", "text_special", "code_inline", "fence",
    "softbreak",     "strong_open", "strong_close", "em_open", "em_close",
    "bullet_list_open", "bullet_list_close", "list_item_open", "list_item_close",
}  # fmt: skip
HOSTILE = st.one_of(
    st.text(max_size=80),
    st.text(alphabet="`~*_[]()!<>#|\\&:/@$-+=1 \n\tload\x1b\u202e\u2028", max_size=80),
    st.sampled_from(
        ["load\n````\n![x](http://evil)", "[load](javascript:x)", "<script>load()</script>", "[1]: http://x"]
    ),
)


@st.composite
def hostile_hit(draw: st.DrawFn) -> SearchHit:
    return make_hit(
        draw(HOSTILE), draw(st.integers(1, 99)), draw(HOSTILE), symbol=draw(HOSTILE), kind=draw(HOSTILE),
        language=draw(HOSTILE), signature=draw(HOSTILE), docstring=draw(HOSTILE),
    )  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["load", "where is load", "who calls load?", "list load", "what does this project do?", "zebra"]),
    st.lists(st.builds(Evidence, hostile_hit(), st.lists(hostile_hit(), max_size=2).map(tuple)), max_size=3),
    HOSTILE,
)
def test_whatever_the_repository_holds_is_inert(question: str, evidence: list[Evidence], project: str) -> None:
    request = ChatRequest((), question, tuple(evidence), 10_000, project=project)
    answer = "\n\n".join(compose(request))
    types = {token.type for block in PARSER.parse(answer) for token in (block, *(block.children or ()))}
    assert types <= INERT
    outside = re.sub(r"```.*?```|`[^`]*`", "", answer, flags=re.DOTALL)
    cited = {int(n) for n in re.findall(r"(?<!\\)\[(\d+)\]", outside)}
    assert cited <= set(range(1, len(numbered_sources(evidence)) + 1))


def test_it_streams_the_blocks_as_they_are_composed() -> None:
    events = list(
        ExtractiveBackend().stream(
            ChatRequest((), "how does load_session work?", EVIDENCE, 10_000, project="shop"),
            threading.Event(),
        )
    )
    pieces = [event.text for event in events if isinstance(event, TextDelta)]
    assert len(pieces) >= 3
    assert pieces[0] == OPENING
    assert "".join(pieces) == ask("how does load_session work?")


def test_hits_are_not_invented_for_a_question_with_other_words() -> None:
    other = replace(HITS[2], text="x = 1", signature="", docstring="", symbol="y", path="z.py")
    assert "Nothing relevant" in ask("how does load_session work?", (Evidence(other),))


def test_a_later_chunk_shows_the_signature_without_a_number_it_does_not_have() -> None:
    tail = make_hit(
        "src/store.py", 24, "\n".join(LOAD.text.split("\n")[12:]), symbol=LOAD.symbol, kind="method",
        signature=LOAD.signature,
    )  # fmt: skip
    answer = ask("what does load_session do?", (Evidence(tail),))
    assert " … | def load_session(self, name)\n" in answer
    assert "24 |" in answer


def test_callers_in_tests_are_counted_when_the_code_has_callers() -> None:
    calls = tuple(make_hit(f"tests/test_{n}.py", n, "load_session('a')", symbol=f"test_{n}") for n in range(1, 4))
    answer = ask("what does load_session do?", (Evidence(LOAD, (*calls, LOGIN)),))
    assert "Called by, as far as names tell: `login` at `src/handlers.py:6` [5], and 3 more in tests." in answer
    assert "`test_1` at `tests/test_1.py:1` [2]" in ask("what does load_session do?", (Evidence(LOAD, calls),))


def test_an_overview_without_an_introduction_says_so() -> None:
    assert "No README or other introduction was found" in ask("what does this project do?", searched_for="shop README")
