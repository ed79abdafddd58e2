"""Conversations about a small real project, with a real index, history and state; the model is scripted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gardener.app import Gardener
from gardener.projects.conversations import StoredMessage
from gardener.types import Answer, TextDelta
from tests.chat_samples import ScriptedBackend


class Talk:
    def __init__(self, home: Path, root: Path) -> None:
        self.gardener = Gardener(str(home))
        self.model = ScriptedBackend()
        self.gardener.backends.register("scripted", lambda: self.model)
        self.context = self.gardener.registry.add(str(root), "shop")
        self.gardener.update_index(self.context)
        self.conversation = ""

    def ask(self, *script: object, question: str = "what does pay return?") -> Answer:
        self.model.script = script  # type: ignore[assignment]
        answer = list(self.gardener.ask(self.context, question, self.conversation))[-1]
        assert isinstance(answer, Answer)
        self.conversation = answer.conversation_id
        return answer

    def go_on(self, *script: object) -> tuple[str, Answer]:
        self.model.script = script  # type: ignore[assignment]
        events = list(self.gardener.go_on(self.context, self.conversation))
        assert isinstance(events[-1], Answer)
        return "".join(event.text for event in events if isinstance(event, TextDelta)), events[-1]

    def stored(self) -> Sequence[StoredMessage]:
        return self.gardener.history.show(self.context.id, self.conversation)


@contextmanager
def talking(home: Path, folder: Path) -> Iterator[Talk]:
    root = folder / "shop"
    root.mkdir()
    (root / "pay.py").write_text("def pay():\n    return 1\n\n\ndef refund():\n    return pay() - 1\n")
    made = Talk(home, root)
    try:
        yield made
    finally:
        made.gardener.close()
