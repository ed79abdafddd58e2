"""Builds what a language model is sent, within a counted number of tokens, and the receipt of what was sent.

Nothing is cut silently: what does not fit is left out whole, last evidence and oldest messages first, and the
receipt and the notes say so. The system prompt (gardener.chat.system_prompt) is the same for every question of a
project, so that a backend can keep what it has read of it.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from gardener.chat.system_prompt import SystemPrompt
from gardener.errors import UsageError
from gardener.models.base import Evidence, TokenCount, numbered_sources
from gardener.models.inert import one_line, visible
from gardener.types import ContextReceipt, Message, SearchHit

MESSAGE_OVERHEAD = 8
"""Tokens that a chat template puts around one message: role and separators (Llama 3: 5, ChatML: 5, Gemma: 6).
"""
_HISTORY_SHARE = 0.25
_MIN_CUT_LINES = 6  # fewer lines of a chunk say too little to be worth sending

_EVIDENCE_FOLLOWS = "Evidence stands between lines that carry the code {nonce}. Only such lines begin and end it."
_WISHES_CHARACTERS = 2_000
"""Of a caller's own system messages; editors send pages of them, about tools that are not ours."""
_NO_EVIDENCE = "There is no evidence: the search found nothing that could be sent."

Counter = Callable[[str], TokenCount]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt that fits. Marker [n] of the answer means `sources[n - 1]`."""

    messages: tuple[Message, ...]
    evidence: tuple[Evidence, ...]
    """What was sent; a hit that was cut has fewer lines here."""
    sources: tuple[SearchHit, ...]
    receipt: ContextReceipt
    notes: tuple[str, ...]


def build_prompt(
    question: str,
    evidence: Sequence[Evidence],
    history: Sequence[Message],
    *,
    system: SystemPrompt,
    count: Counter,
    budget_tokens: int,
    searched_for: str = "",
    nonce: str | None = None,
) -> Prompt:
    """The messages for `question` in at most `budget_tokens` tokens as `count` counts them.

    `system` comes first, unchanged: see `system_prompt`. `nonce` marks the borders of evidence; it is drawn at
    random, so that no file can imitate a border. Raises UsageError with the numbers when the question alone does
    not fit.
    """
    nonce = nonce or _nonce(evidence, question)
    instructions = _cost(system.message, count)
    wishes = _wishes(history)
    bare = Message("user", _user_text(question, (), nonce, searched_for, wishes))
    fixed = instructions + _cost(bare, count)
    if fixed > budget_tokens:
        question_tokens = count(question).tokens
        raise UsageError(
            f"The question is too long: {question_tokens:,} tokens, and with the instructions {fixed:,}, "
            f"of {budget_tokens:,} that the prompt may have.",
            next_step='gardener ask "a shorter question"',
        )
    room = budget_tokens - fixed
    turns = [_turn(message) for message in history if message.role != "system" and message.content.strip()]
    kept_history, history_cost = _latest(turns, int(room * _HISTORY_SHARE), count)
    # The sentence that introduces evidence is longer than the one that says there is none.
    room -= history_cost + max(0, count(_EVIDENCE_FOLLOWS.format(nonce=nonce)).tokens - count(_NO_EVIDENCE).tokens)
    sent = _fitting(evidence, room, nonce, count)
    while True:
        user = Message("user", _user_text(question, sent, nonce, searched_for, wishes))
        total = instructions + sum(_cost(message, count) for message in kept_history) + _cost(user, count)
        if total <= budget_tokens:
            break
        # Whole texts can count for more than the sum of their pieces.
        if sent:
            room = min(room, sum(_evidence_cost(item.hit, nonce, count) for item in sent)) - (total - budget_tokens)
            sent = _fitting(evidence, room, nonce, count)
        else:
            kept_history = kept_history[1:]
    if len(kept_history) < len(turns):  # evidence may have left room
        more, _ = _latest(turns, budget_tokens - total + sum(_cost(m, count) for m in kept_history), count)
        full = instructions + sum(_cost(message, count) for message in more) + _cost(user, count)
        if len(more) > len(kept_history) and full <= budget_tokens:
            kept_history, total = more, full
    return Prompt(
        messages=(system.message, *kept_history, user),
        evidence=sent,
        sources=numbered_sources(sent),
        receipt=replace(
            _receipt(evidence, sent, count, total, budget_tokens),
            map_tokens=system.map_tokens,
            conventions_tokens=system.conventions_tokens,
        ),
        notes=_notes(evidence, sent, len(turns), len(kept_history)),
    )


def _wishes(history: Sequence[Message]) -> str:
    """What the caller's own system messages say, cut to what leaves room for evidence."""
    said = "\n\n".join(message.content.strip() for message in history if message.role == "system")
    return said[:_WISHES_CHARACTERS].rstrip()


def _user_text(question: str, evidence: Sequence[Evidence], nonce: str, searched_for: str, wishes: str = "") -> str:
    blocks = [_EVIDENCE_FOLLOWS.format(nonce=nonce) if evidence else _NO_EVIDENCE]
    callers = {_place(caller) for item in evidence for caller in item.callers} - {_place(e.hit) for e in evidence}
    for n, source in enumerate(numbered_sources(evidence), 1):
        about = {"path": one_line(source.path, 300), "lines": f"{source.start_line}-{source.end_line}"}
        if source.symbol:
            about["symbol"] = one_line(source.symbol, 120)
        role = "caller" if _place(source) in callers else "found"
        head = f"<evidence {nonce} [{n}] {role} {json.dumps(about, ensure_ascii=False)}>"
        blocks.append(f"{head}\n{visible(source.text)}\n</evidence {nonce}>")
    if wishes:
        blocks.append(f"The program that asks wants this of the form, within the rules above:\n{visible(wishes)}")
    if searched_for:
        blocks.append(f"The question continues the conversation; it was searched for as: {visible(searched_for)}")
    blocks.append(f"Question: {question}")
    return "\n\n".join(blocks)


def _fitting(evidence: Sequence[Evidence], room: int, nonce: str, count: Counter) -> tuple[Evidence, ...]:
    """The evidence that fits into `room` tokens, best first: all hits before any caller."""
    sent: list[Evidence] = []
    used = 0
    for item in evidence:
        bare = Evidence(item.hit)
        cost = _evidence_cost(bare.hit, nonce, count)
        if used + cost > room:
            cut = _cut(item.hit, room - used, nonce, count)
            if cut is None:
                continue
            bare, cost = Evidence(cut), _evidence_cost(cut, nonce, count)
        sent.append(bare)
        used += cost
    whole = {_place(item.hit): item for item in evidence}
    known = {_place(item.hit) for item in sent}
    for position, item in enumerate(sent):
        callers = []
        for caller in whole[_place(item.hit)].callers if _place(item.hit) in whole else ():
            cost = 0 if _place(caller) in known else _evidence_cost(caller, nonce, count)
            if used + cost <= room:
                callers.append(caller)
                known.add(_place(caller))
                used += cost
        sent[position] = replace(item, callers=tuple(callers))
    return tuple(sent)


def _cut(hit: SearchHit, room: int, nonce: str, count: Counter) -> SearchHit | None:
    """The first lines of `hit` that fit into `room`; None when they would be too few to say anything."""
    lines = hit.text.split("\n")
    low, high = 0, len(lines)
    while low < high:
        middle = (low + high + 1) // 2
        if _evidence_cost(_first_lines(hit, lines, middle), nonce, count) <= room:
            low = middle
        else:
            high = middle - 1
    return _first_lines(hit, lines, low) if low >= min(_MIN_CUT_LINES, len(lines)) else None


def _first_lines(hit: SearchHit, lines: Sequence[str], number: int) -> SearchHit:
    return replace(hit, end_line=hit.start_line + number - 1, text="\n".join(lines[:number]))


def _latest(turns: Sequence[Message], room: int, count: Counter) -> tuple[tuple[Message, ...], int]:
    """The last messages that fit, without gaps, from a user's message on; and their tokens."""
    kept: list[Message] = []
    used = 0
    for message in reversed(turns):
        cost = _cost(message, count)
        if used + cost > room:
            break
        kept.insert(0, message)
        used += cost
    while kept and kept[0].role != "user":  # templates want the turns to begin with the user's
        used -= _cost(kept.pop(0), count)
    return tuple(kept), used


def _receipt(
    evidence: Sequence[Evidence], sent: Sequence[Evidence], count: Counter, total: int, budget: int
) -> ContextReceipt:
    sent_hits = {(item.hit.path, item.hit.start_line): item.hit for item in sent}
    retrieved = []
    for item in evidence:
        hit = item.hit
        given = sent_hits.get((hit.path, hit.start_line))
        entry: dict[str, object] = {
            "path": hit.path,
            "start_line": hit.start_line,
            "end_line": hit.end_line,
            "symbol": hit.symbol,
            "score": round(hit.score, 6),
            "sources": list(hit.sources),
            "sent": given is not None,
            "tokens": count(given.text).tokens if given is not None else 0,
        }
        if given is not None and given.end_line != hit.end_line:
            entry["sent_end_line"] = given.end_line
        retrieved.append(entry)
    return ContextReceipt(tuple(retrieved), total, budget, count("").counted_by)


def _notes(evidence: Sequence[Evidence], sent: Sequence[Evidence], turns: int, kept: int) -> tuple[str, ...]:
    notes = []
    ends = {(item.hit.path, item.hit.start_line): item.hit.end_line for item in sent}
    cut = sum(ends.get((e.hit.path, e.hit.start_line), e.hit.end_line) != e.hit.end_line for e in evidence)
    if left := len(evidence) - len(sent):
        notes.append(f"{left} of {len(evidence)} search results did not fit into the prompt.")
    if cut:
        notes.append(f"{cut} search result(s) were sent only in part; the receipt says which lines.")
    if kept < turns:
        notes.append(f"The {turns - kept} oldest of {turns} earlier messages did not fit into the prompt.")
    return tuple(notes)


def _cost(message: Message, count: Counter) -> int:
    return count(message.content).tokens + MESSAGE_OVERHEAD


def _evidence_cost(hit: SearchHit, nonce: str, count: Counter) -> int:
    # The longest number and role stand for all; a few tokens more than are used.
    about = json.dumps(
        {
            "path": one_line(hit.path, 300),
            "lines": f"{hit.start_line}-{hit.end_line}",
            "symbol": one_line(hit.symbol, 120),
        },
        ensure_ascii=False,
    )
    return count(f"<evidence {nonce} [99] caller {about}>\n{visible(hit.text)}\n</evidence {nonce}>\n\n").tokens


def _turn(message: Message) -> Message:
    """An earlier turn without its markers: their numbers meant the evidence of that turn."""
    if message.role != "assistant":
        return message
    return Message("assistant", re.sub(r" ?\[(?:\d{1,4}|\?)\]", "", message.content))


def _place(hit: SearchHit) -> tuple[str, int, int]:
    return hit.path, hit.start_line, hit.end_line


def _nonce(evidence: Sequence[Evidence], question: str) -> str:
    while True:
        nonce = secrets.token_hex(6)
        if nonce not in question and not any(nonce in source.text for source in numbered_sources(evidence)):
            return nonce
