"""A conversation as the Chatbot shows it: questions, answers, and under each answer what it stands on.

Every text that comes from a model or a repository passes `inert` or `html.escape` here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

from ui.inert import inert

if TYPE_CHECKING:
    from gardener.projects.conversations import StoredMessage

RECEIPT_HEADINGS = "".join(f"<th>{name}</th>" for name in ("Place", "Symbol", "Found by", "Tokens", "Sent"))
ChatMessage = dict[str, Any]
Citations = list[dict[str, Any]]


@dataclass(slots=True)
class Transcript:
    """What one page shows of one conversation. `turns[i]` holds the citations of answer i."""

    messages: list[ChatMessage] = field(default_factory=list)
    turns: list[Citations] = field(default_factory=list)

    def add_question(self, text: str) -> None:
        self.messages.append({"role": "user", "content": inert(text)})

    def add_answer(self, answer: Mapping[str, Any]) -> None:
        """`answer` in the form of `gardener ask --json`."""
        turn = len(self.turns)
        self.turns.append([dict(citation) for citation in answer.get("citations", ())])
        self.messages.append({"role": "assistant", "content": answer_markdown(answer, turn)})

    def add_problem(self, message: str, next_step: str) -> None:
        """An answer that did not come about."""
        step = f"\n\nIn a terminal: `{next_step.replace('`', '')}`" if next_step else ""
        self.turns.append([])
        self.messages.append({"role": "assistant", "content": f"**{inert(message)}**{step}"})


def transcript_of(stored: Sequence[StoredMessage]) -> Transcript:
    """The conversation as it was kept; the index's freshness was shown when the answer was new."""
    transcript = Transcript()
    for message in stored:
        if message.role == "user":
            transcript.add_question(message.content)
        elif message.role == "assistant":
            transcript.add_answer({**message.as_json(), "answer": message.content, "degradation_reason": ""})
    return transcript


def growing(transcript: Transcript, text: str, waiting_for: str) -> list[ChatMessage]:
    """The messages while an answer is being written."""
    content = inert(text) if text else f"*{waiting_for}*"
    return [*transcript.messages, {"role": "assistant", "content": content}]


def marker(turn: int, n: int) -> str:
    """A citation in the text, as a link that page.js opens in the sources panel."""
    return f"[\\[{n}\\]](#cite-{turn}-{n})"


def answer_markdown(answer: Mapping[str, Any], turn: int) -> str:
    numbers = {int(citation["n"]) for citation in answer.get("citations", ())}
    text = inert(str(answer.get("answer", "")), lambda n: marker(turn, n), numbers)
    parts = [text or "*Nothing was written.*"]
    if not answer.get("complete", True):
        parts.append("**This answer is incomplete.** " + inert(str(answer.get("error") or "It was stopped.")))
    parts.append(facts_html(answer))
    return "\n\n".join(part for part in parts if part)


def facts_html(answer: Mapping[str, Any]) -> str:
    """The lines under an answer: degradation, freshness, cost, and the receipt to unfold."""
    lines = [line for line in (degradation_line(answer), freshness_line(answer)) if line]
    lines += [f'<span class="warn">{escape(str(warning))}</span>' for warning in answer.get("warnings", ())]
    shown = "".join(f"<div>{line}</div>" for line in lines)
    return f'<div class="facts">{shown}{receipt_html(answer)}</div>'


def degradation_line(answer: Mapping[str, Any]) -> str:
    level = str(answer.get("degradation") or "")
    who = " · ".join(str(answer[key]) for key in ("backend", "model") if answer.get(key))
    if not level:
        return escape(who)
    reason = str(answer.get("degradation_reason") or "")
    kind = "level good" if level == "full" else "level"
    return f'<span class="{kind}">{escape(level)}</span> {escape(who)}' + (f" — {escape(reason)}" if reason else "")


def freshness_line(answer: Mapping[str, Any]) -> str:
    """How the index that was asked compares with the disk, and with the checked-out commit."""
    index = answer.get("index")
    if not index:
        return ""
    head, now = index.get("head"), index.get("current_head")
    at = f" at commit {escape(str(head)[:8])}" if head else ""
    if index.get("fresh"):
        line = f"Index is up to date with the disk{at}."
    else:
        line = f'<span class="warn">{int(index.get("changed_files", 0))} files differ from the index{at}.</span>'
    if head and now and head != now:
        line += f" Checked out now: {escape(str(now)[:8])}."
    embedded = float(index.get("embedded_fraction", 1.0))
    return line + (f" {embedded:.0%} of the chunks have vectors." if embedded < 1.0 else "")


def receipt_html(answer: Mapping[str, Any]) -> str:
    """What was retrieved and what of it was sent, to unfold."""
    receipt = answer.get("receipt") or {}
    retrieved = receipt.get("retrieved") or ()
    if not retrieved:
        return ""
    sent = sum(bool(entry.get("sent")) for entry in retrieved)
    rows = "".join(f"<tr>{receipt_cells(entry)}</tr>" for entry in retrieved)
    timings = answer.get("timings_ms") or {}
    took = ", ".join(f"{escape(str(name))} {float(value):.0f} ms" for name, value in timings.items())
    used = f"{int(receipt.get('prompt_tokens', 0)):,} of {int(receipt.get('budget_tokens', 0)):,} tokens"
    return (
        f"<details><summary>Receipt: {sent} of {len(retrieved)} places sent, {used}</summary>"
        f"<table><thead><tr>{RECEIPT_HEADINGS}</tr></thead><tbody>{rows}</tbody></table>"
        f"<div>Counted by {escape(str(receipt.get('counted_by', '')))}. {took}</div></details>"
    )


def receipt_cells(entry: Mapping[str, Any]) -> str:
    cells = (
        f"{entry.get('path', '')}:{entry.get('start_line', 0)}–{entry.get('end_line', 0)}",
        str(entry.get("symbol") or ""),
        ", ".join(map(str, entry.get("sources", ()))),
        str(entry.get("tokens", 0)),
        "yes" if entry.get("sent") else "no",
    )
    return "".join(f"<td>{escape(cell)}</td>" for cell in cells)
