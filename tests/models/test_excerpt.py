from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gardener.models.excerpt import (
    Line,
    call_line,
    called_as,
    decisive_lines,
    declaration,
    first_sentences,
    introduction_of,
    opening_of,
    term_weights,
)
from gardener.models.relevance import question_terms
from tests.chat_samples import EXPIRE, FILES, HITS, LOAD, LOGIN, STORE_CLASS, TESTED, make_hit


def weights(question: str) -> dict[str, float]:
    return term_weights(question_terms(question).words, HITS)


def test_the_declaration_is_at_its_line() -> None:
    assert declaration(LOAD) == Line(12, "    def load_session(self, name):")
    decorated = make_hit(
        "a.py",
        5,
        "@cache(load)\n# load\ndef load(x):\n    return x",
        symbol="A.load",
        signature="def load(x)",
    )
    assert declaration(decorated) == Line(7, "def load(x):")
    assert declaration(make_hit("a.py", 5, "x = 1")) is None


def test_decisive_lines_are_the_lines_of_the_file_that_have_the_words() -> None:
    lines = decisive_lines(LOAD, weights("what if the file is empty after a crash?"), 4)
    of_file = FILES["src/store.py"].split("\n")
    assert all(line.text == of_file[line.number - 1] for line in lines)
    assert 21 in {line.number for line in lines}  # "# An empty file is what a crash leaves behind."
    assert len(lines) <= 4
    assert [line.number for line in lines] == sorted(line.number for line in lines)


def test_declaration_and_documentation_are_not_repeated() -> None:
    shown = {line.number for line in decisive_lines(LOAD, weights("session disk KeyError"), 99)}
    assert shown == set(range(17, 31))
    assert [line.text.strip() for line in decisive_lines(STORE_CLASS, {}, 9)] == [
        "def __init__(self, folder):",
        "self.folder = folder",
    ]


def test_without_a_word_the_ends_of_the_paths_stand_for_the_body() -> None:
    assert [line.number for line in decisive_lines(LOAD, weights("zebra"), 5)] == [19, 23, 30]


def test_a_declaration_over_several_lines_is_left_out_whole() -> None:
    text = "def f(\n    alpha,\n    beta,\n):\n    return alpha"
    hit = make_hit("a.py", 1, text, symbol="f", signature="def f(alpha, beta)")
    assert [line.number for line in decisive_lines(hit, {}, 9)] == [5]


def test_a_word_that_is_everywhere_weighs_less() -> None:
    result = weights("session crash")
    assert result["crash"] > result["sess"]


def test_the_line_that_calls() -> None:
    assert call_line(LOGIN, "SessionStore.load_session") == Line(6, "    session = store.load_session(request.cookie)")
    assert call_line(EXPIRE, "load_session") == Line(35, "        store.load_session(name).clear()")
    assert call_line(TESTED, "SessionStore") == Line(2, "    store = SessionStore(tmp_path)")
    assert call_line(LOGIN, "expire") is None
    assert call_line(LOAD, "load_session") is None  # its own declaration
    assert call_line(LOGIN, "load") is None  # part of another name


def test_a_comment_or_an_import_is_no_call() -> None:
    hit = make_hit("a.py", 1, "# send(x)\nfrom b import send\nfoo = send\nsend (1)")
    assert call_line(hit, "send") == Line(4, "send (1)")
    assert call_line(make_hit("a.py", 1, "# send_it(x)\nfrom b import send_it\nfoo = send_it"), "send_it") == Line(
        3, "foo = send_it"
    )


def test_first_sentences() -> None:
    assert (
        first_sentences("Reads it. Then, e.g. 3.5 times, stops.\n\nMore.") == "Reads it. Then, e.g. 3.5 times, stops."
    )
    assert first_sentences("Reads\nit\n\n:param x: y") == "Reads it"
    assert first_sentences(":param x: y") == ""
    assert first_sentences("word " * 200).endswith(" …")
    assert len(first_sentences("word " * 200)) <= 282


def test_prose_opens_with_its_first_paragraph_not_with_badges() -> None:
    readme = make_hit(
        "README.md", 1, "# Shop\n\n[![x](http://a)](http://b)\n<img>\n\nShop sells **things**.\n\nMore.",
        symbol="Shop", kind="section", language="markdown",
    )  # fmt: skip
    assert opening_of(readme) == "Shop sells **things**."


@given(st.text(), st.text(), st.text(), st.text(max_size=20), st.integers(0, 12))
def test_any_chunk_gives_its_own_lines(text: str, signature: str, docstring: str, symbol: str, limit: int) -> None:
    hit = make_hit("a.py", 7, text, symbol=symbol, signature=signature, docstring=docstring)
    lines = decisive_lines(hit, {"a": 1.0, "sess": 2.0}, limit)
    of_chunk = text.split("\n")
    assert len(lines) <= limit
    assert all(line.text == of_chunk[line.number - 7] for line in lines)
    first_sentences(docstring)
    found = call_line(hit, symbol)
    assert found is None or found.text == of_chunk[found.number - 7]


def test_an_introduction_goes_on_over_code_until_it_says_enough() -> None:
    readme = make_hit(
        "README.md", 1,
        "# Shop\n\nShop sells.\n\n```\nbuy()\n```\n\n$ shop run\n\nIt also\nbuys.\n\n" + "More. " * 99,
        symbol="Shop", kind="section", language="markdown",
    )  # fmt: skip
    assert introduction_of(readme, 20) == "Shop sells. It also buys."


def test_a_constructor_is_called_by_its_class_s_name() -> None:
    assert called_as("Session.__init__") == "Session"
    assert called_as("Session.__enter__") == ""
    assert called_as("__init__") == ""
    assert called_as("Session.send") == "Session.send"
    hit = make_hit("a.py", 1, "x.__init__()\ns = Session()")
    assert call_line(hit, "Session.__init__") == Line(2, "s = Session()")


def test_documentation_that_mentions_a_call_is_no_call() -> None:
    documentation = "Wraps :meth:`push() <x.push>`.\n    push() is done.\n\n    >>> push()"
    text = f'def app_context(self):\n    """{documentation}\n    """\n    c.push()'
    hit = make_hit("a.py", 1, text, docstring=documentation)
    assert call_line(hit, "push") == Line(7, "    c.push()")


def test_a_parameter_of_the_name_is_no_use_of_it_but_an_attribute_is() -> None:
    assert call_line(make_hit("a.py", 1, "def strip(self, size: int) -> None:\n    x = size"), "C.size") is None
    assert call_line(make_hit("a.py", 1, "def f(size):\n    return c.size"), "C.size") == Line(2, "    return c.size")


def test_rows_of_links_are_no_introduction() -> None:
    links = " • ".join(f"[readme {n}](https://example.org/a_({n}).md)" for n in range(5))
    readme = make_hit("README.md", 1, f"{links}\n\nShop sells.", symbol="Shop", kind="section", language="markdown")
    assert introduction_of(readme) == "Shop sells."


def test_reference_links_of_prose_leave_their_words() -> None:
    readme = make_hit("README.md", 1, "A [WSGI] thing, see [the docs][d] and [1].", kind="section", language="markdown")
    assert opening_of(readme) == "A WSGI thing, see the docs and [1]."
