"""Every command of README, docs and runbooks is really typed here, and prints what the page shows.

What cannot run here stands in exceptions.py with its reason.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from gardener.cli.commands import COMMANDS
from gardener.cli.main import build_parser
from gardener.errors import UsageError
from tests.docs.breaks import BREAKS
from tests.docs.documented import LANGUAGES, TOP, Command, commands, documents, fences, inline_mentions, missing
from tests.docs.exceptions import CODES, MOST_UNRUN, UNRUN, Unrun
from tests.docs.world import World
from tests.ollama_server import OllamaServer
from tests.tiny_mlx import write_tokenizer

PAGES = {page.relative_to(TOP).as_posix(): page for page in documents()}
REFERENCE = "docs/cli.md"
WITH_COMMANDS = [n for n, page in PAGES.items() if commands(page) and page.stem not in BREAKS and n != REFERENCE]
"""test_runbooks.py types those of the others, on a machine that is broken as they say."""


def unrun(text: str) -> Unrun | None:
    if "--dry-run" in text or "--print" in text:
        return None
    return next((entry for entry in UNRUN if text.startswith(entry.start)), None)


@pytest.mark.parametrize("name", WITH_COMMANDS)
def test_every_command_does_what_its_page_says(name: str, world: World, ollama: OllamaServer) -> None:
    wrong = []
    for command in commands(PAGES[name]):
        if entry := unrun(command.text):
            _read_only(command, entry)
            continue
        for start, prepare in PREPARE.items():
            if command.text.startswith(start):
                prepare(world, ollama)
        said = world.type(command.text)
        expected, _ = CODES.get(command.text, ({0}, ""))
        if said.code not in expected:
            wrong.append(f"{command.where}\n  exit code {said.code}: {said.err or said.out}")
        elif absent := missing(command.shown, said.printed):
            wrong.append(f"{command.where}\n  shows, but did not print: {absent}\n  printed: {said.printed}")
        if command.text.startswith("gardener add"):  # its project had to be forgotten for it
            world.reset()
    assert not wrong, "\n".join(wrong)


def _read_only(command: Command, entry: Unrun) -> None:
    """What is not run is at least read: by the command's own parser, or found in the Makefile."""
    words = shlex.split(command.text)
    if words[0] == "gardener":
        build_parser(COMMANDS[words[1]]).parse_args(words[2:])
    elif words[0] == "make":
        target = next(word for word in words[1:] if "=" not in word)
        assert re.search(rf"^{re.escape(target)}:|^bench-%:", (TOP / "Makefile").read_text(), re.M), command.where


def test_every_example_of_a_help_is_taken_by_its_parser() -> None:
    """The reference is made of the helps' examples: there are many, and the other pages run what matters."""
    examples = [command for command in commands(PAGES[REFERENCE]) if command.text.startswith("gardener ")]
    assert len(examples) > 100
    for command in examples:
        words = shlex.split(command.text.split(" | ")[0].split(" > ")[0].split(" < ")[0])
        try:
            build_parser(COMMANDS[words[1]]).parse_args(words[2:])
        except UsageError as error:
            pytest.fail(f"{command.where}\n  {error.message}")


def test_what_is_not_run_is_few_is_needed_and_is_run_elsewhere() -> None:
    assert len(UNRUN) <= MOST_UNRUN
    typed = [command.text for name in WITH_COMMANDS for command in commands(PAGES[name])]
    typed += [command.text for kind in BREAKS for command in commands(TOP / f"runbooks/{kind}.md")]
    for entry in UNRUN:
        assert entry.reason
        assert any(unrun(text) is entry for text in typed), f"{entry.start}: no page needs this any more"
        if entry.elsewhere:
            assert entry.proof in (TOP / entry.elsewhere).read_text(), entry
    assert set(CODES) <= set(typed)
    assert all(any(text.startswith(start) for text in typed) for start in PREPARE), "a preparation for nothing"


def test_what_is_typed_stands_where_it_is_run() -> None:
    """A command outside of a console block would be run by nobody."""
    for page in PAGES.values():
        for fence in fences(page):
            assert fence.language in LANGUAGES, f"{fence.page}:{fence.line}: ```{fence.language}"
            typed = [line for line in fence.lines if re.match(r"\s*(\$ )?gardener [a-z]", line)]
            assert fence.language == "console" or not typed, f"{fence.page}:{fence.line}: {typed}"
        assert not re.search(r"^    (\$ )?gardener [a-z]", page.read_text(encoding="utf-8"), re.M), page


@pytest.mark.parametrize("name", PAGES)
def test_commands_in_the_text_exist_with_their_options(name: str) -> None:
    wrong = []
    for line, said in inline_mentions(PAGES[name]):
        words = said.split()[1:]
        if not words or words[0].startswith("-") or not words[0].isalpha() or words[0].isupper():
            continue
        for alternative in words[0].split("|"):
            if alternative not in COMMANDS:
                wrong.append(f"{name}:{line}: there is no {said!r}")
                continue
            options, actions = _vocabulary(build_parser(COMMANDS[alternative]))
            wrong += [
                f"{name}:{line}: {said!r} has no {option}"
                for option in re.findall(r"--[a-z][a-z-]*", said)
                if option not in options
            ]
            if actions and len(words) > 1 and re.fullmatch(r"[a-z]+", words[1]) and words[1] not in actions:
                wrong.append(f"{name}:{line}: {said!r}: there is no {words[1]!r}")
    assert not wrong, "\n".join(wrong)


def _vocabulary(parser: argparse.ArgumentParser) -> tuple[set[str], set[str]]:
    """The options of a command and of what is below it, and the words that may come first."""
    options, actions = set(parser._option_string_actions), set()
    for action in parser._actions:
        if isinstance(action.choices, dict):
            for below in action.choices.values():
                options |= _vocabulary(below)[0]
        if action.choices and not action.option_strings:
            actions |= set(action.choices)
    return options, actions


def test_a_wrong_command_or_output_would_be_seen(world: World) -> None:
    """The comparison itself: numbers may differ, words may not."""
    said = world.type("gardener list")
    assert said.code == 0 and not missing(["…shop…"], said.printed)
    assert missing(["there is no such line"], said.printed) == ["there is no such line"]
    assert missing(["4 files, 1.5 MB after 3 s"], "17 files, 200 kB after 12.1 s\n") == []
    assert world.type("gardener lsit").code == 2
    with pytest.raises(UsageError):
        build_parser(COMMANDS["search"]).parse_args(["x", "--nonsense"])


TINY = {
    "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4,
    "num_key_value_heads": 2, "intermediate_size": 128, "max_position_embeddings": 8192,
}  # fmt: skip


# ---- what a page takes for granted -------------------------------------------------------------------


def _forget_shop(world: World, ollama: OllamaServer) -> None:
    assert world.type("gardener remove shop --purge").code == 0


def _broken_off(world: World, ollama: OllamaServer) -> None:
    """The last answer was interrupted."""
    with closing(sqlite3.connect(world.home / "state.db")) as database, database:
        database.execute("UPDATE messages SET complete = 0 WHERE id = (SELECT max(id) FROM messages)")
    world.untouched = False


def _questions(world: World, ollama: OllamaServer) -> None:
    with world.inside():
        Path("questions.jsonl").write_text(
            json.dumps({"id": 1, "query": "tax", "relevant": [{"path": "src/orders.py", "symbol": "with_tax"}]}) + "\n"
        )
    world.untouched = False


def _typed(world: World, line: str) -> None:
    assert world.type(line).code == 0


def _own_model(world: World, ollama: OllamaServer) -> None:
    """A model's files as far as they are read without loading it; `use` and `rm` look below models/ of the home."""
    weights = {"model.embed_tokens.weight": {"dtype": "F16", "shape": [64, 64], "data_offsets": [0, 8192]}}
    header = json.dumps(weights).encode()
    for folder in (world.person / "models/my-model", world.home / "models/my-model"):
        folder.mkdir(parents=True)
        vocabulary = write_tokenizer(folder)
        (folder / "config.json").write_text(json.dumps(TINY | {"vocab_size": vocabulary}))
        (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8192))
    world.untouched = False


def _ollama(world: World, ollama: OllamaServer) -> None:
    world.environment["GARDENER_OLLAMA_URL"] = ollama.url


PREPARE: dict[str, Callable[[World, OllamaServer], None]] = {
    "gardener add ~/code/shop": _forget_shop,
    "gardener search --batch questions.jsonl": _questions,
    "gardener eval questions.jsonl": _questions,
    "gardener ask --continue": _broken_off,
    "gardener embedder use ollama:": _ollama,
    "gardener models pull": _ollama,
    "gardener token revoke editor": lambda world, _: _typed(world, "gardener token create editor"),
    "gardener models check ~/models/my-model": _own_model,
}
