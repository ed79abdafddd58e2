"""A state machine over registry and history: in whatever order, no project shows another's words."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from gardener.errors import ConversationNotFound, NameTaken, ProjectExists, ProjectNotFound
from gardener.paths import Paths
from gardener.projects.history import History
from gardener.projects.registry import Registry
from gardener.projects.switch import switch
from gardener.state import State

NAMES = st.sampled_from(["one", "ONE", "two", "three"])
FOLDERS = st.sampled_from(["a", "b", "c", "d"])
WORDS = st.sampled_from(["apple", "pear", "plum"])


@dataclass
class Expected:
    """What one project should hold."""

    id: str
    name: str
    removed: bool = False
    conversations: dict[str, list[str]] = field(default_factory=dict)


class Isolation(RuleBasedStateMachine):
    projects = Bundle("projects")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.paths = Paths(os.path.join(self.folder.name, "home"))
        self.state = State(self.paths.state_db)
        # Durability is tested elsewhere; thousands of fsyncs would only make this slow.
        self.state.read().execute("PRAGMA synchronous = OFF")
        self.registry = Registry(self.state, self.paths)
        self.history = History(self.state)
        self.all: list[Expected] = []
        self.active = ""

    def teardown(self) -> None:
        self.state.close()
        self.folder.cleanup()

    @rule(target=projects, folder=FOLDERS, name=NAMES)
    def add(self, folder: str, name: str) -> object:
        root = os.path.join(os.path.realpath(self.folder.name), folder)
        os.makedirs(root, exist_ok=True)
        live = [project for project in self.all if not project.removed]
        try:
            context = self.registry.add(root, name)
        except NameTaken:
            assert any(project.name.lower() == name.lower() for project in live)
            return multiple()
        except ProjectExists:
            return multiple()
        assert not any(project.name.lower() == name.lower() for project in live)
        made = Expected(context.id, name)
        self.all.append(made)
        self.active = self.active or made.id
        return made

    @rule(project=projects, name=NAMES)
    def rename(self, project: Expected, name: str) -> None:
        try:
            self.registry.rename(project.id, name)
        except (NameTaken, ProjectNotFound):
            return
        project.name = name

    @rule(project=projects)
    def switch(self, project: Expected) -> None:
        try:
            assert switch(self.registry, self.state, project.id).id == project.id
        except ProjectNotFound:
            assert project.removed
            return
        self.active = project.id

    @rule(project=projects)
    def remove(self, project: Expected) -> None:
        try:
            self.registry.remove(project.id)
        except ProjectNotFound:
            assert project.removed
            return
        project.removed = True
        self.active = "" if self.active == project.id else self.active

    @rule(project=projects)
    def restore(self, project: Expected) -> None:
        try:
            self.registry.restore(project.id)
        except (NameTaken, ProjectExists):
            return
        except ProjectNotFound:
            assert not project.removed
            return
        project.removed = False

    @rule(project=consumes(projects))
    def purge(self, project: Expected) -> None:
        report = self.registry.purge(project.id)
        assert report.messages == sum(len(texts) for texts in project.conversations.values())
        self.all.remove(project)
        self.active = "" if self.active == project.id else self.active

    @rule(project=projects, word=WORDS)
    def converse(self, project: Expected, word: str) -> None:
        try:
            conversation = self.history.start(project.id)
        except ProjectNotFound:
            assert project.removed
            return
        text = f"{word} of {project.id}"
        self.history.append(project.id, conversation.id, "user", text)
        project.conversations[conversation.id] = [text]

    @rule(project=projects, other=projects, word=WORDS)
    def append_across(self, project: Expected, other: Expected, word: str) -> None:
        for conversation in project.conversations:
            text = f"{word} again, {other.id}"
            try:
                self.history.append(other.id, conversation, "user", text)
            except ConversationNotFound:
                assert other is not project
            else:
                assert other is project
                project.conversations[conversation].append(text)

    @rule(word=WORDS)
    def search(self, word: str) -> None:
        for project in self.all:
            texts = [text for texts in project.conversations.values() for text in texts]
            found = [hit.message.content for hit in self.history.search(project.id, word, limit=1000)]
            assert sorted(found) == sorted(text for text in texts if word in text)

    @invariant()
    def everybody_sees_exactly_their_own(self) -> None:
        for project in self.all:
            listed = {conversation.id for conversation in self.history.list(project.id, limit=1000)}
            assert listed == set(project.conversations)
            for conversation, texts in project.conversations.items():
                assert [m.content for m in self.history.show(project.id, conversation)] == texts
        live = [project for project in self.all if not project.removed]
        assert {context.id: context.name for context in self.registry.list()} == {
            project.id: project.name for project in live
        }
        active = self.registry.active()
        assert (active.id if active else "") == self.active
        if os.path.isdir(self.paths.projects):
            assert set(os.listdir(self.paths.projects)) == {project.id for project in live}


Isolation.TestCase.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestIsolation = pytest.mark.timeout(200)(Isolation.TestCase)
