"""Runbooks: one for each kind of finding, all of one form, and each that can be tried here heals what was broken."""

from __future__ import annotations

import re

import pytest

from gardener import runbooks
from gardener.health.kinds import KINDS
from gardener.repair.plan import NotHere
from gardener.repair.table import REPAIRS
from tests.docs.breaks import BREAKS
from tests.docs.documented import TOP, commands, missing
from tests.docs.exceptions import UNRUN
from tests.docs.world import World
from tests.ollama_server import OllamaServer

GENERAL = {
    "capacity-planning",
    "model-will-not-load",
    "move-to-a-new-mac",
    "restore-after-loss",
    "rotate-tokens",
    "slow-answers",
    "upgrade-and-rollback",
}
"""Those that no finding leads to."""
FOLDER = TOP / "runbooks"


def test_each_kind_of_finding_has_its_runbook_and_each_runbook_a_reason() -> None:
    assert set(runbooks.names()) == set(KINDS) | GENERAL
    assert {KINDS[kind].runbook for kind in KINDS} == {f"runbooks/{kind}.md" for kind in KINDS}


def test_a_runbook_names_the_repair_that_there_is() -> None:
    for kind, plan in REPAIRS.items():
        named = f"`gardener repair {kind}`" in runbooks.read(kind).text
        assert named == (not isinstance(plan, NotHere)), kind


@pytest.mark.parametrize("name", runbooks.names())
def test_a_runbook_has_its_five_sections_with_something_in_each(name: str) -> None:
    text = runbooks.read(name).text
    headings = tuple(re.findall(r"^## (.+)$", text, re.M))
    assert headings == runbooks.SECTIONS
    assert all(part.strip() for part in re.split(r"^## .+$", text, flags=re.M)[1:])
    sections = {command.section for command in commands(FOLDER / f"{name}.md")}
    assert {"Check", "Check again"} <= sections, "looking before and after is done with commands"
    if name in KINDS:
        assert text.startswith(f"# {KINDS[name].title}\n")


def test_the_list_of_runbooks_names_all_of_them() -> None:
    listed = dict(re.findall(r"^- \[(.+)\]\((.+)\.md\)", (FOLDER / "README.md").read_text(), re.M))
    assert {name: title for title, name in listed.items()} == {n: runbooks.read(n).title for n in runbooks.names()}


@pytest.mark.parametrize("kind", BREAKS)
def test_following_only_the_runbook_heals_it(kind: str, world: World, ollama: OllamaServer) -> None:
    world.untouched = False
    if kind == "embedder-changed":
        world.environment["GARDENER_OLLAMA_URL"] = ollama.url
    BREAKS[kind](world)
    seen, wrong = False, []
    for command in commands(FOLDER / f"{kind}.md"):
        if any(command.text.startswith(entry.start) for entry in UNRUN):
            continue
        if command.section not in ("Symptom", "Check") and not seen:
            assert kind in found(world), "nothing was broken, or the doctor does not see it"
            seen = True
        said = world.type(command.text)
        if said.code and command.section not in ("Symptom", "Check"):
            wrong.append(f"{command.where}\n  exit code {said.code}: {said.err or said.out}")
        if absent := missing(command.shown, said.printed):
            wrong.append(f"{command.where}\n  shows, but did not print: {absent}\n  printed: {said.printed}")
    assert not wrong, "\n".join(wrong)
    assert seen and kind not in found(world)


def found(world: World) -> set[str]:
    """The kinds of trouble that `gardener doctor --deep` sees."""
    import json

    findings = json.loads(world.type("gardener doctor --deep --json").out)["findings"]
    return {finding["id"] for finding in findings if finding["severity"] in ("warning", "error")}
