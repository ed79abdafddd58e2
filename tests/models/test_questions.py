from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gardener.models.questions import question_kind


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("where is Session defined?", "where"),
        ("Where are cookies stored", "where"),
        ("which file handles redirects?", "where"),
        ("find the retry logic", "where"),
        ("what does HTTPAdapter do?", "what"),
        ("What is a Session?", "what"),
        ("explain the retry logic", "what"),
        ("how does it follow redirects?", "how"),
        ("And how are timeouts handled?", "how"),
        ("explain how redirects work", "how"),
        ("who calls send?", "callers"),
        ("where is load_session called?", "callers"),
        ("what uses SessionStore", "callers"),
        ("callers of expire", "callers"),
        ("usages of Session", "callers"),
        ("which functions call send", "callers"),
        ("what does Session use for cookies?", "what"),
        ("what is urllib3 used for?", "what"),
        ("how is it used?", "how"),
        ("list all exceptions", "list"),
        ("which exceptions are raised", "list"),
        ("what are the CLI commands?", "list"),
        ("what does this project do?", "overview"),
        ("Give me an overview", "overview"),
        ("what is this repo about", "overview"),
        ("summarize the code base", "overview"),
        ("what does the project registry do?", "what"),
        ("timeouts", "general"),
        ("", "general"),
    ],
)
def test_kinds(question: str, kind: str) -> None:
    assert question_kind(question) == kind


@given(st.text())
def test_every_text_has_a_kind(question: str) -> None:
    assert question_kind(question)
