"""A state machine over whole answers: whatever is switched meanwhile, no project's words reach another's prompt.

Real indexes, real conversations, real threads of work; only the model is scripted, because what matters here is what
it is sent: every request is kept and looked at.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from gardener.app import Gardener
from gardener.models.base import Capabilities, ChatRequest
from gardener.types import Answer, AnswerEvent, TextDelta
from tests.chat_samples import ScriptedBackend

MARKERS = ("lantern", "compass", "anchor")
PROJECTS = st.sampled_from(MARKERS)


def write(root: Path, marker: str) -> Path:
    """Three projects that differ in one word only, which stands in code, names, README and rules."""
    (root / "src").mkdir(parents=True)
    (root / "src" / f"{marker}.py").write_text(
        f'def light(thing):\n    """Lights the {marker} that is near."""\n    return "{marker}", thing\n\n\n'
        f"class {marker.title()}:\n    def shine(self):\n        return light(self)\n"
    )
    (root / "README.md").write_text(f"# Things\n\nThis project is about the {marker}.\n")
    (root / "CONTRIBUTING.md").write_text(f"Every change is reviewed by the {marker} people.\n")
    return root


@dataclass
class Held:
    """An answer in the middle of its stream."""

    marker: str
    events: Iterator[AnswerEvent]
    cancel: threading.Event = field(default_factory=threading.Event)


class NoLeaks(RuleBasedStateMachine):
    gardener: Gardener
    backend: ScriptedBackend

    def __init__(self) -> None:
        super().__init__()
        self.held: list[Held] = []
        self.conversations: dict[str, str] = {}
        self.backend.requests.clear()

    def teardown(self) -> None:
        for held in self.held:
            held.cancel.set()
            list(held.events)

    @rule(marker=PROJECTS)
    def switch(self, marker: str) -> None:
        assert self.gardener.switch(marker).name == marker

    @rule(marker=PROJECTS, word=st.sampled_from(["light", "shine", "review"]), new=st.booleans())
    def ask(self, marker: str, word: str, new: bool) -> None:
        conversation = "" if new else self.conversations.get(marker, "")
        self.check(marker, self.begin(marker, f"what does {word} do?", conversation).events)

    @rule(word=st.sampled_from(["light", "shine"]))
    def ask_the_active_one(self, word: str) -> None:
        context = self.gardener.context()
        self.check(context.name, self.begin(context.name, f"where is {word}?", None).events)

    @rule(marker=PROJECTS)
    def begin_and_hold(self, marker: str) -> None:
        held = self.begin(marker, "how does light work?", self.conversations.get(marker, ""))
        for event in held.events:
            if isinstance(event, TextDelta):
                break
        self.held.append(held)

    @rule(stop=st.booleans())
    def end_what_was_held(self, stop: bool) -> None:
        if self.held:
            held = self.held.pop(0)
            if stop:
                held.cancel.set()
            self.check(held.marker, held.events, complete=not stop)

    @rule(marker=PROJECTS)
    def prepare(self, marker: str) -> None:
        self.gardener.prepare(self.gardener.context(marker))

    def begin(self, marker: str, question: str, conversation: str | None) -> Held:
        cancel = threading.Event()
        return Held(marker, self.gardener.ask(self.gardener.context(marker), question, conversation, cancel), cancel)

    def check(self, marker: str, events: Iterator[AnswerEvent], *, complete: bool = True) -> None:
        answer = [event for event in events if isinstance(event, Answer)][-1]
        assert answer.project == marker
        assert answer.complete or not complete
        if answer.conversation_id:
            self.conversations[marker] = answer.conversation_id
        for path in [str(entry["path"]) for entry in answer.receipt.retrieved] + [c.path for c in answer.citations]:
            assert path in (f"src/{marker}.py", "README.md", "CONTRIBUTING.md")
        for request in self.backend.requests:
            self.belongs(request)

    def belongs(self, request: ChatRequest) -> None:
        marker = request.project
        context = self.gardener.context(marker)
        assert request.scope == context.id
        text = "\n".join(message.content.lower() for message in request.messages) + request.question.lower()
        assert marker in text
        for other in MARKERS:
            assert other == marker or other not in text, f"{other} in a prompt of {marker}"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[type[NoLeaks]]:
    base = tmp_path_factory.mktemp("leaks")
    backend = ScriptedBackend(script=("It is", " lit [1]", " and shines."), capabilities=Capabilities(adapters=True))
    gardener = Gardener(str(base / "home"), {"search.on_demand_vectors": False})
    gardener.state.read().execute("PRAGMA synchronous = OFF")
    gardener.backends.register("scripted", lambda: backend)
    for marker in MARKERS:
        gardener.update_index(gardener.registry.add(str(write(base / marker, marker)), marker))
    yield type("Leaks", (NoLeaks,), {"gardener": gardener, "backend": backend})
    gardener.close()


def test_no_word_of_one_project_reaches_another(machine: type[NoLeaks]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=12, stateful_step_count=14, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
