"""The last answer of a conversation goes on where it broke off, in the same message of the history."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from gardener.chat.citations import renumber_markers
from gardener.chat.continuation import Partial
from gardener.chat.generation import closing_fence
from gardener.errors import UsageError
from gardener.projects.conversations import citation_from
from gardener.projects.history import History
from gardener.recorded_answer import SAVE_EVERY_S
from gardener.types import Answer, AnswerEvent, Message, ProjectContext, TextDelta


@dataclass(frozen=True, slots=True)
class Broken:
    """The last answer of a conversation, which is not complete."""

    conversation_id: str
    message_id: int
    question: str
    earlier: Sequence[Message]
    """The turns before the question."""
    partial: Partial


_CUT_MARKER = re.compile(r" ?\[[\d,; –-]{0,20}\Z")


def continued_answer(
    history: History,
    context: ProjectContext,
    conversation: str,
    go_on: Callable[[Broken], Iterator[AnswerEvent]],
) -> Iterator[AnswerEvent]:
    """The events of `go_on`; the message grows in the history as they come.

    When nothing new was said the message stays as it was. Raises what `broken_answer` and `go_on` raise.
    """
    broken = broken_answer(history, context, conversation)
    before, message_id = broken.partial.text, broken.message_id
    said: list[str] = []
    saved_at = time.monotonic()
    ended = False
    events = go_on(broken)
    try:
        for event in events:
            if isinstance(event, TextDelta):
                said.append(event.text)
                if time.monotonic() - saved_at > SAVE_EVERY_S:
                    history.revise(context.id, message_id, before + "".join(said))
                    saved_at = time.monotonic()
            elif isinstance(event, Answer):
                ended = True
                if said or event.complete:
                    history.finish(context.id, message_id, event)
                event = replace(event, conversation_id=broken.conversation_id, message_id=message_id)
            yield event
    finally:
        close = getattr(events, "close", None)
        if close is not None:
            close()
        if said and not ended:
            history.revise(context.id, message_id, before + "".join(said))


def broken_answer(history: History, context: ProjectContext, conversation: str) -> Broken:
    """What can be continued. Raises ConversationNotFound, and UsageError when the last answer is complete or no model
    wrote it."""
    conversation_id = history.find(context.id, conversation).id
    messages = [message for message in history.show(context.id, conversation_id, limit=22) if message.content]
    next_step = f'gardener ask --conversation {conversation_id} "..."'
    asked = max((at for at, message in enumerate(messages) if message.role == "user"), default=-1)
    last = messages[-1] if messages else None
    if last is None or asked < 0 or last.role != "assistant":
        raise UsageError(
            f"There is nothing to continue: conversation {conversation_id} does not end with an answer.",
            next_step=next_step,
        )
    if last.complete:
        raise UsageError(
            f"There is nothing to continue: the last answer of conversation {conversation_id} is complete.",
            next_step=next_step,
        )
    if last.degradation == "search only" and not last.model_characters:
        raise UsageError(
            f"No model wrote the last answer of conversation {conversation_id}, so none can continue it.",
            next_step=next_step,
        )
    earlier = [Message(message.role, message.content) for message in messages[:asked]]
    text = last.content[: last.model_characters or None]
    if not closing_fence(text):  # half a marker would be neither one nor the other
        text = _CUT_MARKER.sub("", text)
    # What was quoted from the index after the model had failed has citations of its own.
    known = {citation.n: citation for citation in map(citation_from, last.citations)}
    cited = renumber_markers(text, {n: n for n in known}).cited
    partial = Partial(text, tuple(known[n] for n in cited))
    return Broken(conversation_id, last.id, messages[asked].content, earlier, partial)
