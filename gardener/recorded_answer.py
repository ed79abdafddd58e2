"""An answer that ends up in the history whatever happens: complete, cut short, or cut off by a crash."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from gardener.projects.history import History
from gardener.types import Answer, AnswerEvent, Message, ProjectContext, TextDelta

SAVE_EVERY_S = 2.0
"""A crash in the middle of an answer loses at most this much of it; a save is one small transaction."""


def recorded_answer(
    history: History,
    context: ProjectContext,
    question: str,
    conversation_id: str,
    answer: Callable[[Sequence[Message]], Iterator[AnswerEvent]],
) -> Iterator[AnswerEvent]:
    """The events of `answer`, stored as they come; `conversation_id` "" starts a conversation.

    The question is stored before the work begins, and the text so far while it goes on. The last event carries the
    conversation and message ids. Raises ConversationNotFound, and whatever `answer` raises (the question stays).
    """
    if conversation_id:
        conversation = history.find(context.id, conversation_id)
        turns = history.turns(context.id, conversation.id)
    else:
        conversation = history.start(context.id)
        turns = ()
    history.append(context.id, conversation.id, "user", question)
    said: list[str] = []
    message_id = 0
    saved_at = time.monotonic()
    ended = False
    try:
        for event in answer(turns):
            if isinstance(event, TextDelta):
                said.append(event.text)
                if message_id == 0:
                    message_id = history.append(context.id, conversation.id, "assistant", "".join(said), complete=False)
                elif time.monotonic() - saved_at > SAVE_EVERY_S:
                    history.revise(context.id, message_id, "".join(said))
                    saved_at = time.monotonic()
            elif isinstance(event, Answer):
                ended = True
                if message_id:
                    history.finish(context.id, message_id, event)
                else:
                    message_id = history.append_answer(context.id, conversation.id, event)
                yield replace(event, conversation_id=conversation.id, message_id=message_id)
                continue
            yield event
    finally:
        if not ended and message_id:
            history.revise(context.id, message_id, "".join(said))
