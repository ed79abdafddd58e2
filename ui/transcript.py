"""A conversation as the Chatbot shows it: questions, answers, and under each what can be done with it.

Every text that comes from a model or a repository passes `inert` or `html.escape` here and in ui.facts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from html import escape
from typing import TYPE_CHECKING, Any

from gardener.chat.generation import closing_fence
from gardener.models.inert import code_span
from ui.facts import facts_html
from ui.inert import inert

if TYPE_CHECKING:
    from gardener.projects.conversations import StoredMessage

ChatMessage = dict[str, Any]
Citations = list[dict[str, Any]]

LONGEST_SHOWN = 60_000
"""Characters of one message that are laid out; a longer one is shown in part and can be had whole as a file."""
LONGEST_STEP = 5_000
"""Of a command that is advised: the longest path, quoted."""
GROWING_SHOWN = 12_000
"""Of an answer that is being written, its end: every update lays all of it out again."""


@dataclass(slots=True)
class Transcript:
    """What one page shows of one conversation. `turns[i]` holds the citations of answer i."""

    messages: list[ChatMessage] = field(default_factory=list)
    turns: list[Citations] = field(default_factory=list)
    earlier: int = 0
    """Messages before these, which are not shown."""

    def add_question(self, text: str, acts: str = "") -> None:
        self.messages.append({"role": "user", "content": _with(shown(text), acts)})

    def add_answer(self, answer: Mapping[str, Any], acts: str = "") -> None:
        """`answer` in the form of `gardener ask --json`."""
        turn = len(self.turns)
        self.turns.append([dict(citation) for citation in answer.get("citations", ())])
        self.messages.append({"role": "assistant", "content": _with(answer_markdown(answer, turn), acts)})

    def add_problem(self, message: str, next_step: str, acts: str = "") -> None:
        """An answer that did not come about."""
        step = "\n\n" + inert(f"In a terminal: {code_span(next_step, LONGEST_STEP)}") if next_step else ""
        self.turns.append([])
        self.messages.append({"role": "assistant", "content": _with(f"**{inert(message)}**{step}", acts)})


def transcript_of(
    stored: Sequence[StoredMessage],
    *,
    earlier: int = 0,
    beside: Mapping[int, Sequence[str]] | None = None,
    conversation: str = "",
    latest: Mapping[str, Any] | None = None,
) -> Transcript:
    """The conversation as it was kept. `earlier` messages precede these; `beside` as branches.alternatives gives it.

    `latest` is what the job of the newest answer said last: an answer with its warnings, or an error that the history
    does not keep.
    """
    transcript = Transcript(earlier=earlier)
    spoken = [message for message in stored if message.role != "system"]
    for number, message in enumerate(spoken):
        last = number == len(spoken) - 1
        if message.role == "user":
            others = (beside or {}).get(earlier + number, ())
            transcript.add_question(message.content, question_acts(message.id, others, conversation))
            if last or spoken[number + 1].role == "user":
                error = (latest or {}).get("error") if last and (latest or {}).get("event") == "error" else None
                problem = error if isinstance(error, Mapping) else {}
                why = str(problem.get("message") or "No answer was kept.")
                again = acts_html([act("again", message.id, "Ask again")])
                transcript.add_problem(why, str(problem.get("next_step") or ""), again)
            continue
        answer = {**message.as_json(), "answer": message.content}
        if last and latest is not None and latest.get("answer") == message.content:
            answer |= {"warnings": latest.get("warnings", ())}
        transcript.add_answer(answer, answer_acts(message, last=last))
    return transcript


def growing(transcript: Transcript, text: str, waiting_for: str) -> list[ChatMessage]:
    """The messages while an answer is being written."""
    if len(text) > GROWING_SHOWN:
        at = text.find("\n", len(text) - GROWING_SHOWN, len(text) - GROWING_SHOWN // 2) + 1
        at = at or len(text) - GROWING_SHOWN
        fence = closing_fence(text[:at])[1:]
        content = f"*…{at:,} characters before this…*\n\n" + inert(f"{fence}\n{text[at:]}" if fence else text[at:])
    else:
        content = inert(text) if text else f"*{waiting_for}*"
    return [*transcript.messages, {"role": "assistant", "content": content}]


def marker(turn: int, n: int) -> str:
    """A citation in the text, as a link that ask.js opens in the sources panel."""
    return f"[\\[{n}\\]](#cite-{turn}-{n})"


def answer_markdown(answer: Mapping[str, Any], turn: int) -> str:
    numbers = {int(citation["n"]) for citation in answer.get("citations", ())}
    text = shown(str(answer.get("answer", "")), turn, numbers)
    parts = [text or "*Nothing was written.*"]
    if not answer.get("complete", True):
        parts.append("**This answer is incomplete.** " + inert(str(answer.get("error") or "It was stopped.")))
    parts.append(facts_html(answer))
    return "\n\n".join(part for part in parts if part)


def shown(text: str, turn: int = 0, numbers: set[int] | None = None) -> str:
    """`text` inert, cut to LONGEST_SHOWN; it ends outside code: what follows is ours."""
    if len(text) <= LONGEST_SHOWN:  # a page reads its conversation anew with every question
        return _laid_out(text, turn, frozenset(numbers or ()))
    return _laid_out.__wrapped__(text, turn, frozenset(numbers or ()))


@lru_cache(maxsize=512)
def _laid_out(text: str, turn: int, numbers: frozenset[int]) -> str:
    cut = text
    if len(text) > LONGEST_SHOWN:
        cut = text[: max(text.rfind("\n", LONGEST_SHOWN // 2, LONGEST_SHOWN), LONGEST_SHOWN // 2)]
    whole = inert(cut, (lambda n: marker(turn, n)) if numbers else None, numbers)
    if len(cut) < len(text):
        whole += f"\n\n*{len(cut):,} of {len(text):,} characters are shown; “Copy” and “Export” have all of them.*"
    return whole


# ---- what can be done with a message: links that ask.js takes for buttons -----------------------------------


def act(what: str, argument: object, name: str, hint: str = "") -> str:
    """`argument` must be a number or an id of ours, never text."""
    title = f' title="{escape(hint, quote=True)}"' if hint else ""
    return f'<a href="#do-{what}-{argument}"{title}>{escape(name)}</a>'


def acts_html(acts: Sequence[str]) -> str:
    return f'<div class="acts">{" ".join(acts)}</div>' if acts else ""


def question_acts(message_id: int, others: Sequence[str], conversation: str) -> str:
    """Edit and copy; with alternatives, which of them is shown and the way to the others."""
    acts = [act("edit", message_id, "Edit", "Ask it in other words; both stay"), act("copy", message_id, "Copy")]
    if conversation in others:
        at = others.index(conversation)
        previous, following = others[at - 1], others[(at + 1) % len(others)]
        acts.append(act("open", previous, "‹", "Previous branch"))
        acts.append(f"<span>{at + 1} of {len(others)}</span>")
        acts.append(act("open", following, "›", "Next branch"))
    return acts_html(acts)


def answer_acts(message: StoredMessage, *, last: bool) -> str:
    acts = [act("copy", message.id, "Copy"), act("again", message.id, "Regenerate", "Ask again; both answers stay")]
    if last and can_continue(message):
        acts.insert(0, act("continue", message.id, "Continue", "Go on where it broke off"))
    up, down = message.feedback > 0, message.feedback < 0
    for value, chosen, name in (("good", up, "Helpful"), ("bad", down, "Not helpful")):
        if chosen:
            acts.append(act("unrate", message.id, f"✓ {name}", message.feedback_reason or "Take it back"))
        else:
            acts.append(act(value, message.id, name))
    return acts_html(acts)


def can_continue(message: StoredMessage) -> bool:
    """As gardener.continued_answer decides: a model wrote it, and it broke off."""
    return not message.complete and (message.degradation != "search only" or message.model_characters > 0)


def _with(content: str, acts: str) -> str:
    return f"{content}\n\n{acts}" if acts else content
