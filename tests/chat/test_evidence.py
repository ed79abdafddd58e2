from __future__ import annotations

from gardener.chat.evidence import call_site, introductions_first, with_callers
from tests.chat_samples import EXPIRE, FILES, HITS, LOAD, LOGIN, TESTED, callers_of, make_hit


def test_the_subject_carries_its_callers_at_the_calls_code_before_tests() -> None:
    evidence = with_callers("what does load_session do?", "what does load_session do?", HITS, callers_of)
    assert tuple(item.hit for item in evidence) == HITS
    assert [(site.path, site.symbol) for site in evidence[0].callers] == [
        ("src/handlers.py", "login"), ("src/store.py", "expire"), ("tests/test_store.py", "test_session"),
    ]  # fmt: skip
    for site in evidence[0].callers:
        assert site.text.split("\n") == FILES[site.path].split("\n")[site.start_line - 1 : site.end_line]


def test_only_what_the_question_is_about_is_asked_for() -> None:
    asked: list[str] = []

    def callers(symbol: str) -> list[object]:
        asked.append(symbol)
        return []

    for question in ("list the session functions", "what does this project do?", "recipe for lasagna"):
        with_callers(question, question, HITS, callers)  # type: ignore[arg-type]
    assert not asked
    with_callers("who calls login?", "who calls login?", (LOAD, LOGIN), callers)  # type: ignore[arg-type]
    assert asked == ["login"]


def test_sections_are_not_called() -> None:
    section = make_hit("README.md", 1, "# load_session\nwords", symbol="load_session", kind="section")
    assert with_callers("load_session", "load_session", [section], callers_of)[0].callers == ()


def test_a_definition_is_not_its_own_caller() -> None:
    recursive = make_hit("a.py", 1, "def walk(x):\n    walk(x.left)", symbol="walk")
    evidence = with_callers("what does walk do", "what does walk do", [recursive], lambda symbol: [recursive])
    assert evidence[0].callers == ()


def test_a_site_is_the_call_and_two_lines_around_it() -> None:
    lines = [f"line{n}" for n in range(1, 21)]
    lines[9] = "load_session(x)"
    site = call_site(make_hit("a.py", 101, "\n".join(lines)), "SessionStore.load_session")
    assert site is not None
    assert (site.start_line, site.end_line) == (108, 112)
    assert site.text.split("\n")[2] == "load_session(x)"
    assert call_site(EXPIRE, "nothing") is None
    assert call_site(TESTED, "load_session") == TESTED


def test_the_introduction_nearest_to_the_root_comes_first() -> None:
    deep = make_hit("examples/x/README.md", 1, "deep", language="markdown")
    late = make_hit("README.md", 9, "late", language="markdown")
    top = make_hit("README.md", 1, "top", language="markdown")
    assert introductions_first((LOAD, deep, late, LOGIN, top)) == (top, late, deep, LOAD, LOGIN)
    assert introductions_first((LOGIN, LOAD)) == (LOGIN, LOAD)
