"""What the pages say about answers and citations: complete, honest, and escaped."""

from __future__ import annotations

import re
from typing import Any

from gardener.projects.conversations import StoredMessage
from ui.source import citations_html
from ui.transcript import Transcript, answer_markdown, growing, transcript_of

EVIL = '"><img src=x onerror=alert(1)>'


def an_answer(**changes: Any) -> dict[str, Any]:
    return {
        "answer": "See [1] and [2].",
        "citations": [{"n": 1, "path": "a.py", "start_line": 1, "end_line": 2, "state": "current", "symbol": "f"}],
        "backend": "extractive",
        "model": "",
        "degradation": "search only",
        "degradation_reason": "no model is running",
        "complete": True,
        "warnings": [],
        "timings_ms": {"search": 12.4},
        "index": {"head": "a" * 40, "current_head": "b" * 40, "fresh": False, "changed_files": 3,
                  "embedded_fraction": 0.5},
        "receipt": {"retrieved": [{"path": "a.py", "start_line": 1, "end_line": 2, "symbol": "f",
                                   "sources": ["lexical"], "sent": True, "tokens": 9}],
                    "prompt_tokens": 9, "budget_tokens": 6000, "counted_by": "estimate"},
    } | changes  # fmt: skip


def test_an_answer_shows_level_freshness_and_receipt() -> None:
    shown = answer_markdown(an_answer(), 4)
    assert "[\\[1\\]](#cite-4-1)" in shown and "#cite-4-2" not in shown
    assert '<span class="level">search only</span> extractive — no model is running' in shown
    assert "3 files differ from the index at commit aaaaaaaa" in shown
    assert "Checked out now: bbbbbbbb" in shown and "50% of the chunks" in shown
    assert "1 of 1 places sent, 9 of 6,000 tokens" in shown and "search 12 ms" in shown
    fresh = an_answer(index={"head": None, "fresh": True, "embedded_fraction": 1.0}, degradation="full")
    assert "up to date with the disk." in answer_markdown(fresh, 0)
    assert '<span class="level good">full</span>' in answer_markdown(fresh, 0)


def test_an_incomplete_answer_says_so_and_why() -> None:
    shown = answer_markdown(an_answer(complete=False, error="The server <went> away."), 0)
    assert "**This answer is incomplete.** The server &lt;went> away." in shown
    assert "It was stopped." in answer_markdown(an_answer(complete=False, error="", answer=""), 0)


def test_nothing_in_an_answer_becomes_markup() -> None:
    entry = {"path": EVIL, "start_line": 1, "end_line": 2, "symbol": EVIL, "sources": [EVIL], "tokens": 1, "n": 1}
    answer = an_answer(
        answer=EVIL, degradation=EVIL, degradation_reason=EVIL, backend=EVIL, model=EVIL, warnings=[EVIL],
        error=EVIL, complete=False, timings_ms={EVIL: 1.0}, citations=[{**entry, "state": EVIL}],
        index={"head": EVIL, "current_head": EVIL + "2", "fresh": False, "changed_files": 1},
        receipt={"retrieved": [entry], "counted_by": EVIL},
    )  # fmt: skip
    transcript = Transcript()
    transcript.add_question(EVIL)
    transcript.add_answer(answer)
    transcript.add_problem(EVIL, EVIL)
    everything = "".join(message["content"] for message in transcript.messages)
    everything += citations_html(transcript.turns[0], 0) + growing(transcript, EVIL, "…")[-1]["content"]
    assert "onerror" in everything
    in_code = re.sub(r"`[^`\n]*`", "", everything)
    assert "<img" not in in_code


def test_citations_are_buttons_in_order_and_say_when_they_changed() -> None:
    entries = [
        {"n": 3, "path": "b.py", "start_line": 5, "end_line": 9, "state": "changed", "symbol": ""},
        {"n": 1, "path": "src/a.py", "start_line": 1, "end_line": 2, "state": "current", "symbol": "f"},
    ]
    shown = citations_html(entries, 2, chosen=3)
    assert re.findall(r'data-cite="(\d)" data-turn="(\d)" aria-pressed="(\w+)"', shown) == [
        ("1", "2", "false"),
        ("3", "2", "true"),
    ]
    assert "changed since" in shown
    assert "appear here" in citations_html([], 0)


def test_a_stored_conversation_comes_back_with_its_citations() -> None:
    citation = {"n": 1, "path": "a.py", "start_line": 1, "end_line": 2, "sha256": "x", "state": "current"}
    stored = [
        StoredMessage(1, "c", "user", "Why?", 0.0, True),
        StoredMessage(2, "c", "assistant", "Because [1].", 0.0, True, "scripted", "small", "full", [citation]),
        StoredMessage(3, "c", "system", "hidden", 0.0, True),
    ]
    transcript = transcript_of(stored)
    assert [message["role"] for message in transcript.messages] == ["user", "assistant"]
    assert transcript.turns == [[citation]]
    assert "scripted · small" in transcript.messages[1]["content"]
