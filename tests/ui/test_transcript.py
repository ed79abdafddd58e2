"""What can be done with a message, long texts, and texts that break off in the middle of a code block."""

from __future__ import annotations

import time
from dataclasses import replace

from gardener.projects.conversations import Conversation, StoredMessage
from ui.ask_handlers import key_html, place_from
from ui.conversation_list import ago
from ui.desk import Tab
from ui.facts import usage_line
from ui.transcript import GROWING_SHOWN, LONGEST_SHOWN, Transcript, can_continue, growing, shown, transcript_of

EVIL = '"><img src=x onerror=alert(1)>'
QUESTION = StoredMessage(1, "c0ffee00", "user", "Why?", 0.0, True)
ANSWER = StoredMessage(2, "c0ffee00", "assistant", "Because.", 0.0, True, "scripted", "small", "full")


def contents(*stored: StoredMessage, **more: object) -> list[str]:
    return [message["content"] for message in transcript_of(stored, **more).messages]  # type: ignore[arg-type]


def test_a_question_can_be_edited_and_shows_which_branch_it_is() -> None:
    (question, _) = contents(QUESTION, ANSWER, beside={4: ["aaaaaaaa", "c0ffee00", "bbbbbbbb"]}, earlier=4,
                             conversation="c0ffee00")  # fmt: skip
    assert 'href="#do-edit-1"' in question and "2 of 3" in question
    assert 'href="#do-open-aaaaaaaa"' in question and 'href="#do-open-bbbbbbbb"' in question
    (alone, _) = contents(QUESTION, ANSWER, beside={0: ["aaaaaaaa", "c0ffee00"]}, earlier=4, conversation="c0ffee00")
    assert "do-open" not in alone


def test_only_the_last_answer_that_a_model_broke_off_can_be_continued() -> None:
    broken = replace(ANSWER, complete=False)
    assert can_continue(broken) and "#do-continue-2" in contents(QUESTION, broken)[1]
    again = replace(QUESTION, id=3)
    assert "#do-continue" not in contents(QUESTION, broken, again, replace(ANSWER, id=4))[1]
    assert not can_continue(replace(broken, degradation="search only"))
    assert can_continue(replace(broken, degradation="search only", model_characters=3))
    assert not can_continue(ANSWER)


def test_thumbs_are_shown_with_their_reason_escaped() -> None:
    (_, bad) = contents(QUESTION, replace(ANSWER, feedback=-1, feedback_reason=EVIL))
    assert "✓ Not helpful" in bad and "#do-unrate-2" in bad and "#do-good-2" in bad
    assert "<img" not in bad and "&gt;&lt;img" in bad


def test_a_question_without_an_answer_can_be_asked_again_and_says_why() -> None:
    latest = {"event": "error", "error": {"message": "The <disk> is full.", "next_step": "gardener doctor"}}
    (_, problem) = contents(QUESTION, latest=latest)
    assert (
        "The &lt;disk> is full." in problem and "<code>gardener doctor</code>" in problem and "#do-again-1" in problem
    )
    assert "No answer was kept." in contents(QUESTION)[1]
    turns = transcript_of([QUESTION, replace(QUESTION, id=3), ANSWER]).turns
    assert len(turns) == 2  # one for each thing that answers


def test_what_follows_a_code_block_that_breaks_off_is_not_code() -> None:
    cut = replace(ANSWER, content="So:\n\n```python\nx = 1", complete=False)
    (_, answer) = contents(QUESTION, cut)
    assert "x = 1\n```\n\n**This answer is incomplete.**" in answer
    assert shown("~~~~\ncode").endswith("code\n```")


def test_long_texts_are_laid_out_in_part_and_say_so() -> None:
    line = "words and words\n"
    part = shown(line * 400_000)
    assert LONGEST_SHOWN / 2 < len(part) < LONGEST_SHOWN + 200 and "of 6,400,000 characters" in part
    assert len(shown("x" * 5_000_000)) < LONGEST_SHOWN + 200
    text = "```\n" + line * 10_000
    (message,) = growing(Transcript(), text, "…")
    assert len(message["content"]) < GROWING_SHOWN + 200
    assert "characters before this" in message["content"] and "\n\n```\nwords" in message["content"]
    assert growing(Transcript(), "short", "…")[0]["content"] == "short"


def test_usage_says_only_what_was_measured() -> None:
    usage = {"prompt_tokens": 1200, "completion_tokens": 100, "estimated": False, "cached_tokens": 1000}
    timings = {"first_token": 250.0, "total": 1250.0}
    assert usage_line({"usage": usage, "timings_ms": timings}) == (
        "1,200 tokens read (1,000 from the cache) · 100 written · first token after 250 ms · 100.0 tokens/s"
    )
    assert "tokens/s" not in usage_line({"backend": "extractive", "usage": usage, "timings_ms": timings})
    assert usage_line({"usage": {**usage, "estimated": True}}) == (
        "about 1,200 tokens read (1,000 from the cache) · about 100 written"
    )
    assert usage_line({"usage": {"completion_tokens": 0}, "timings_ms": timings}) == ""
    assert usage_line({"usage": usage, "timings_ms": timings, "backend": "extractive"}) == "", "it was only quoted"


def test_places_in_addresses() -> None:
    assert place_from({"path": "a.py", "lines": "3-9"}) == ("a.py", 3, 9)
    assert place_from({"path": "a.py", "lines": "7"}) == ("a.py", 7, 7)
    assert place_from({"path": "a.py"}) == ("a.py", 1, 1)
    assert place_from({"path": "a.py", "lines": "9-3"}) == ("a.py", 9, 9)
    assert place_from({"path": "a.py", "lines": "1-999999999999"}) == ("a.py", 1, 2001)
    for wrong in ("x", "-3", "1-x", "²", ""):
        assert place_from({"path": "a.py", "lines": wrong}) is None
    assert place_from({"lines": "3"}) is None


def test_what_the_page_shows_is_escaped() -> None:
    html = key_html(Tab(conversation="c0ffee00", key=EVIL, place=(EVIL, 1, 2)))
    assert "<img" not in html and html.count("<") == 2


def test_times_as_people_say_them() -> None:
    now = time.mktime((2026, 11, 21, 12, 0, 0, 0, 0, -1))
    assert ago(now - 3600, now) == "11:00"
    assert ago(now - 86_400, now) == "yesterday"
    assert ago(now - 10 * 86_400, now) == "11 Nov"
    assert ago(now - 400 * 86_400, now) == "17 Oct 2025"


def test_a_conversation_knows_its_parent() -> None:
    assert Conversation("a" * 8, "p", "t", 0, 0, 0, None, "b" * 8, 4).as_json()["parent"] == "b" * 8


def test_an_advised_command_cannot_leave_its_code() -> None:
    transcript = Transcript()
    transcript.add_problem("Gone.", "gardener add \"/a\n\n<b class='acts'>`<i>`\n\n\"")
    content = str(transcript.messages[-1]["content"])
    assert content.count("\n") == 2 and "<b" not in content and "<i" not in content
