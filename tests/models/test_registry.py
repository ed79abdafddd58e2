from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from gardener.errors import BackendUnavailable, ConfigError, ModelNotFound
from gardener.models.base import ChatBackend, Readiness
from gardener.models.registry import BackendRegistry
from tests.chat_samples import ScriptedBackend


def a_registry(**factories: Callable[[], ChatBackend]) -> BackendRegistry:
    registry = BackendRegistry()
    for name, factory in factories.items():
        registry.register(name, factory, install_hint=f"pip install {name}")
    return registry


def raising(error: Exception) -> Callable[[], ChatBackend]:
    def factory() -> ChatBackend:
        raise error

    return factory


def test_alone_the_extractive_backend_answers_and_the_choice_says_why_and_how_to_do_better() -> None:
    choice = BackendRegistry().choose()
    assert choice.backend.name == "extractive"
    assert choice.degradation == "search only"
    assert choice.next_step == "gardener models recommend"


def test_auto_takes_the_first_ready_one_in_the_order() -> None:
    registry = a_registry(
        a=lambda: ScriptedBackend(name="a"),
        b=lambda: ScriptedBackend(name="b", ready=Readiness(False, "It is asleep.", "wake b")),
        c=lambda: ScriptedBackend(name="c"),
    )
    assert registry.names() == ("a", "b", "c", "extractive")
    assert registry.names(("extractive", "c")) == ("c", "a", "b", "extractive")
    assert registry.choose().backend.name == "a"
    choice = registry.choose(order=("b", "c"))
    assert (choice.backend.name, choice.degradation, choice.reason) == ("c", "full", "")
    assert [item.name for item in choice.passed_over] == ["b"]


def test_the_registry_s_own_order_holds_when_no_other_is_given() -> None:
    registry = BackendRegistry(("b", "a"))
    for name in ("a", "b"):
        registry.register(name, lambda name=name: ScriptedBackend(name=name))  # type: ignore[misc]
    assert registry.choose().backend.name == "b"
    assert registry.choose(order=("a",)).backend.name == "a"


def test_extractive_is_last_wherever_the_order_puts_it() -> None:
    assert a_registry(a=ScriptedBackend).choose(order=("extractive", "a")).backend.name == "scripted"


def test_why_each_better_one_was_not_used() -> None:
    registry = a_registry(
        a=raising(ModuleNotFoundError("No module named 'nolib'", name="nolib")),
        b=lambda: ScriptedBackend(ready=Readiness(False, "The server is down.", "start b")),
        c=raising(ZeroDivisionError("oops")),
    )
    choice = registry.choose()
    assert choice.backend.name == "extractive"
    assert choice.degradation == "search only"
    assert "a: The chat backend 'a' needs nolib, which is not installed." in choice.reason
    assert "b: The server is down." in choice.reason
    assert "c: The chat backend 'c' could not be started: ZeroDivisionError: oops" in choice.reason
    assert choice.next_step == "pip install a"


def test_a_named_backend_that_is_not_ready_is_replaced_by_extractive_not_by_another_model() -> None:
    registry = a_registry(a=lambda: ScriptedBackend(ready=Readiness(False, "Down.")), b=ScriptedBackend)
    choice = registry.choose("a")
    assert choice.backend.name == "extractive"
    assert choice.reason == "a: Down."


def test_extractive_by_choice() -> None:
    choice = a_registry(a=ScriptedBackend).choose("extractive")
    assert choice.backend.name == "extractive"
    assert choice.degradation == "search only"
    assert choice.reason == "The extractive backend is configured."


def test_the_model_goes_with_the_choice() -> None:
    registry = a_registry(a=ScriptedBackend)
    assert registry.choose("a", "small").model == "small"
    assert "There is no model 'huge'" in registry.choose("a", "huge").reason


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    registry = a_registry(ollama=ScriptedBackend)
    with pytest.raises(ConfigError, match=r"no chat backend 'olama'. Did you mean 'ollama'\?"):
        registry.choose("olama")
    with pytest.raises(ConfigError, match="zzz"):
        registry.choose(order=("zzz",))
    with pytest.raises(ConfigError, match="Known: auto, ollama, extractive"):
        registry.get("zzz")


@pytest.mark.parametrize("name", ["auto", "extractive", "a"])
def test_a_name_is_given_once(name: str) -> None:
    with pytest.raises(ConfigError, match="already taken"):
        a_registry(a=ScriptedBackend).register(name, ScriptedBackend)


def test_backends_are_made_when_needed_and_once_even_by_many_threads() -> None:
    made: list[ScriptedBackend] = []

    def factory() -> ScriptedBackend:
        made.append(ScriptedBackend())
        return made[-1]

    registry = a_registry(a=factory)
    assert not made
    threads = [threading.Thread(target=registry.get, args=("a",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert registry.get("a") is made[0]


def test_get_translates_what_a_factory_raises() -> None:
    registry = a_registry(a=raising(ImportError("no lib")), b=raising(ModelNotFound("no such model")))
    with pytest.raises(BackendUnavailable, match="'a' needs no lib") as caught:
        registry.get("a")
    assert caught.value.next_step == "pip install a"
    with pytest.raises(ModelNotFound):
        registry.get("b")


def test_closing_closes_what_was_made() -> None:
    closed: list[str] = []

    class Closing(ScriptedBackend):
        def close(self) -> None:
            closed.append(self.name)

    registry = a_registry(a=lambda: Closing(name="a"), b=lambda: Closing(name="b"))
    registry.get("a")
    registry.close()
    registry.close()
    assert closed == ["a"]


def test_an_installed_package_brings_its_backend(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """What the module's docstring promises: one class, one entry point."""
    (tmp_path / "parrot_backend.py").write_text(
        "from tests.chat_samples import ScriptedBackend\n"
        "class Parrot(ScriptedBackend):\n"
        "    def __init__(self):\n"
        "        super().__init__(name='parrot')\n"
    )
    info = tmp_path / "parrot_backend-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: parrot-backend\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[gardener.chat_backends]\nparrot = parrot_backend:Parrot\nextractive = parrot_backend:Parrot\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    registry = BackendRegistry()
    registry.register_installed()
    assert registry.names() == ("parrot", "extractive")
    assert registry.choose().backend.name == "parrot"
    assert registry.get("extractive").name == "extractive"


def test_nothing_is_said_of_what_nobody_set_up_and_is_not_there() -> None:
    absent = Readiness(False, "Nothing answers.", "start a", absent=True)

    def registry(*, set_up: bool, ready: Readiness = absent) -> BackendRegistry:
        made = BackendRegistry()
        made.register("a", lambda: ScriptedBackend(ready=ready), set_up=set_up)
        return made

    choice = registry(set_up=False).choose()
    assert choice.reason == "No language model is set up."
    assert choice.next_step == "gardener models recommend"
    assert registry(set_up=True).choose().reason == "a: Nothing answers."
    assert registry(set_up=False).choose("a").reason == "a: Nothing answers.", "it was asked for by name"
    there = Readiness(False, "It has no models.", "pull one")
    assert registry(set_up=False, ready=there).choose().reason == "a: It has no models."
