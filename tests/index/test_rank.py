from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gardener.index.rank import (
    ROLE_CODE,
    ROLE_DATA,
    ROLE_PROSE,
    ROLE_TEST,
    ROLE_VENDORED,
    Candidates,
    fuse,
    named_symbols,
    role_of,
)
from gardener.index.words import query_words

NAN = float("nan")


def candidates(*rows: tuple[str, str, float, float], kind: str = "function", signature: str = "") -> Candidates:
    """Rows of (path, symbol, bm25, cosine), all of one kind; `{}` in the signature is replaced by the symbol."""
    return Candidates(
        paths=[row[0] for row in rows],
        languages=["python"] * len(rows),
        symbols=[row[1] for row in rows],
        kinds=[kind] * len(rows),
        signatures=[signature.replace("{}", row[1]) for row in rows],
        bm25=np.array([row[2] for row in rows], np.float32),
        cosine=np.array([row[3] for row in rows], np.float32),
    )


def order(question: str, *rows: tuple[str, str, float, float]) -> list[str]:
    scores = fuse(candidates(*rows), question, query_words(question))
    return [rows[int(i)][1] for i in np.argsort(-scores, kind="stable")]


def test_both_retrievers_agreeing_wins() -> None:
    found = order("cache eviction", ("a.py", "x", 9.0, 0.2), ("b.py", "y", 8.0, 0.7), ("c.py", "z", 1.0, 0.1))
    assert found[0] == "y"


def test_a_named_symbol_beats_a_mention() -> None:
    found = order("get_or_create", ("a.py", "other", 9.0, 0.6), ("b.py", "Manager.get_or_create", 6.0, 0.55))
    assert found[0] == "Manager.get_or_create"


def test_a_name_that_the_question_spells_out_beats_a_slightly_better_match() -> None:
    rows = (("a.py", "encode", 9.0, 0.60), ("b.py", "parse_cookie", 8.5, 0.58), ("c.py", "z", 1.0, 0.1))
    assert order("parse the cookie of a request", *rows)[0] == "parse_cookie"


def test_a_signature_that_names_what_is_asked_for_counts() -> None:
    rows = [("a.py", "run", 5.0, 0.5), ("b.py", "run", 5.0, 0.5), ("c.py", "z", 1.0, 0.1)]
    given = candidates(*rows)
    signatures = ["def run(self)", "def run(self, retries: int, timeout: float)", "def z()"]
    told = replace(given, signatures=signatures)
    scores = fuse(told, "retries with a timeout", ["retries", "timeout"])
    assert int(np.argmax(scores)) == 1


def test_the_head_of_a_class_gives_way_to_its_functions_unless_a_class_is_asked_for() -> None:
    rows = (("a.py", "Session", 9.0, 0.6), ("b.py", "send", 8.5, 0.58), ("c.py", "z", 1.0, 0.0))
    given = replace(candidates(*rows), kinds=["class", "function", "function"])
    assert int(np.argmax(fuse(given, "sends what was prepared", ["sends", "prepared"]))) == 1
    assert int(np.argmax(fuse(given, "class that delivers", ["class", "delivers"]))) == 0
    assert int(np.argmax(fuse(given, "Session", ["session"]))) == 0, "named outright"


def test_many_places_of_one_file_do_not_hide_the_others() -> None:
    rows = [("a.py", f"x{i}", 9.0 - i / 100, 0.60 - i / 1000) for i in range(8)]
    found = order("omega", *rows, ("b.py", "other", 8.9, 0.59), ("c.py", "z", 1.0, 0.0))
    assert found.index("other") < 4


def test_tests_are_demoted_unless_asked_for() -> None:
    rows = (("tests/test_a.py", "test_flush", 9.0, 0.6), ("a.py", "flush", 8.5, 0.58), ("b.py", "z", 1.0, 0.0))
    assert order("flush buffer", *rows)[0] == "flush"
    assert order("which test covers flush buffer", *rows)[0] == "test_flush"


def test_without_vectors_words_decide() -> None:
    assert order("alpha", ("a.py", "p", 3.0, NAN), ("b.py", "q", 5.0, NAN))[0] == "q"


def test_a_missing_vector_is_neither_proof_nor_refutation() -> None:
    rows = (("a.py", "known_good", 5.0, 0.9), ("b.py", "unknown", 5.0, NAN), ("c.py", "known_bad", 5.0, 0.0),
            ("d.py", "middling", 5.0, 0.5))  # fmt: skip
    found = order("omega", *rows)
    assert found[0] == "known_good"
    assert found.index("unknown") > found.index("middling")


@pytest.mark.parametrize(
    ("path", "language", "role"),
    [
        ("src/app.py", "python", ROLE_CODE),
        ("tests/app.py", "python", ROLE_TEST),
        ("src/app.test.ts", "typescript", ROLE_TEST),
        ("pkg/store_test.go", "go", ROLE_TEST),
        ("src/test/java/AppTest.java", "java", ROLE_TEST),
        ("src/contest.py", "python", ROLE_CODE),
        ("latest/attestation.py", "python", ROLE_CODE),
        ("docs/guide.md", "markdown", ROLE_PROSE),
        ("package.json", "json", ROLE_DATA),
        ("third_party/zlib/inflate.c", "c", ROLE_VENDORED),
    ],
)
def test_roles(path: str, language: str, role: str) -> None:
    assert role_of(path, language) == role


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("QuerySet.filter", {"filter", "queryset.filter"}),
        ("how does parseHeaders work", {"parseheaders"}),
        ("where is the cache cleared", set()),
        ("std::vector", {"vector", "std.vector"}),
        ("dumps", {"dumps"}),
    ],
)
def test_names_in_a_question(query: str, names: set[str]) -> None:
    assert named_symbols(query) == names


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a.py", "b.py", "tests/c.py"]),
            st.sampled_from(["x", "Y.z", ""]),
            st.floats(0, 50, width=32),
            st.one_of(st.just(NAN), st.floats(-1, 1, width=32)),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_scores_are_finite_positive_and_repeatable(rows: list[tuple[str, str, float, float]]) -> None:
    first = fuse(candidates(*rows), "y z", ["y", "z"])
    assert np.isfinite(first).all()
    assert (first > 0).all()
    assert (first == fuse(candidates(*rows), "y z", ["y", "z"])).all()


def test_nothing_to_rank() -> None:
    assert fuse(candidates(), "x", ["x"]).shape == (0,)
