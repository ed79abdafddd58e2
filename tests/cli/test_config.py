"""`gardener config`, through the real parser, with real files and a real project."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gardener.app import Gardener
from gardener.cli.main import run
from gardener.errors import ConfigError, NotFoundError, PathNotFound, ProjectNotFound, UsageError

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("GARDENER_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "home"
    monkeypatch.setenv("GARDENER_HOME", str(folder))
    return folder


@pytest.fixture
def config(home: Path) -> Path:
    return home / "config.toml"


@pytest.fixture
def shop(home: Path, tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "shop"
    folder.mkdir()
    gardener = Gardener()
    gardener.registry.add(str(folder))
    gardener.close()
    yield folder


def out(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert run(["config", *words]) == 0
    return capsys.readouterr().out


def out_json(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    return json.loads(out(capsys, *words, "--json"))


def test_set_get_show_unset(home: Path, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert out(capsys, "get", "search.limit") == "10\n"
    assert out(capsys, "set", "search.limit", "20") == ""
    assert out(capsys, "get", "search.limit") == "20\n"
    assert out(capsys, "set", "index.exclude", "docs/old/", "*.min.js") == ""
    assert out(capsys, "get", "index.exclude") == "docs/old/\n*.min.js\n"
    shown = out(capsys, "show", "--origin")
    assert f"{config}:5" in shown
    assert "ui.open_browser" in shown
    entry = out_json(capsys, "get", "search.limit")
    assert entry["value"] == 20
    assert entry["default"] == 10
    assert entry["origin"] == {"layer": "user file", "file": str(config), "line": 5, "variable": ""}
    assert run(["config", "unset", "search.limit"]) == 0
    assert "in force: 10 (default)" in capsys.readouterr().err
    assert out(capsys, "get", "search.limit") == "10\n"
    assert out(capsys, "path") == f"{config}\n"


def test_every_setting_is_shown_with_its_origin_as_json(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GARDENER_ANSWER_HITS", "3")
    shown = out_json(capsys, "show")
    by_key = {entry["key"]: entry for entry in shown["settings"]}
    assert by_key["answer.hits"]["value"] == 3
    assert by_key["answer.hits"]["origin"]["variable"] == "GARDENER_ANSWER_HITS"
    assert by_key["index.exclude"] == {
        "key": "index.exclude",
        "value": [],
        "default": [],
        "set": False,
        "origin": {"layer": "default", "file": "", "line": 0, "variable": ""},
    }
    assert shown["problems"] == []


@pytest.mark.parametrize(
    ("words", "error", "text"),
    [
        (["set", "search.limit", "0"], ConfigError, "from 1 to 200"),
        (["set", "search.limit", "1", "2"], ConfigError, "from 1 to 200"),
        (["set", "search.limti", "1"], NotFoundError, "Did you mean search.limit"),
        (["get", "nonsense"], NotFoundError, "nonsense"),
        (["unset", "nonsense"], NotFoundError, "nonsense"),
        (["get", "search.limit", "--project", "nobody"], ProjectNotFound, "nobody"),
        (["validate", "does-not-exist.toml"], PathNotFound, "does-not-exist.toml"),
        (["polish"], UsageError, "polish"),
        (["set", "search.limit"], UsageError, "VALUE"),
    ],
)
def test_wrong_words_are_refused_and_nothing_is_written(
    home: Path, config: Path, words: list[str], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        run(["config", *words])
    assert not config.exists()


def test_config_works_when_the_file_is_wrong_and_repairs_it(
    home: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home.mkdir()
    config.write_text("# keep\n[search]\nlimit = 'many'\nlimti = 3\n[answer]\nhits = 5\n")
    assert run(["config", "get", "answer.hits"]) == 0
    said = capsys.readouterr()
    assert said.out == "5\n"
    assert f"{config}, line 3: search.limit must be" in said.err
    problems = out_json(capsys, "show")["problems"]
    places = [(problem["key"], problem["line"]) for problem in problems]
    assert places == [("search.limit", 3), ("search.limti", 4)]
    with pytest.raises(ConfigError, match="line 4: there is no setting"):
        run(["config", "validate"])
    assert run(["config", "set", "search.limit", "7"]) == 0
    assert "wrong: " in capsys.readouterr().err, "what else is wrong is said"
    assert run(["config", "unset", "search.limti"]) == 0
    assert run(["config", "validate"]) == 0
    assert config.read_text().startswith("# keep\n")


def test_validate_a_file_of_ones_own_choice(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text("[search]\nlimit = 3\n")
    bad.write_text("[search]\nlimit = \n")
    assert out_json(capsys, "validate", str(good))["valid"] is True
    with pytest.raises(ConfigError, match=r"bad\.toml, line 2"):
        run(["config", "validate", str(bad), "--json"])
    report = json.loads(capsys.readouterr().out)
    assert report["valid"] is False
    assert report["problems"][0]["line"] == 2
    assert run(["config", "validate"]) == 0
    assert "no settings file" in capsys.readouterr().err


def test_a_projects_own_file(home: Path, config: Path, shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = shop / ".gardener.toml"
    assert run(["config", "set", "answer.hits", "5", "--project", "shop"]) == 0
    assert file.stat().st_mode & 0o777 == 0o600
    assert out(capsys, "get", "answer.hits") == "8\n"
    assert out(capsys, "get", "answer.hits", "--project", "shop") == "5\n"
    assert out(capsys, "path", "--project", "shop") == f"{file}\n"

    assert run(["config", "set", "answer.hits", "50", "--project", "shop"]) == 0
    said = capsys.readouterr().err
    assert "Not in force: default has 8" in said
    assert "may only lower it" in said

    with pytest.raises(ConfigError, match=r"server\.port cannot be set by a project") as caught:
        run(["config", "set", "server.port", "8000", "--project", "shop"])
    assert caught.value.next_step == "gardener config set server.port 8000"
    file.write_text("[server]\nport = 8000\n[answer]\nhits = 0\n")
    with pytest.raises(ConfigError, match=r"line 4: answer\.hits"):
        run(["config", "validate", "--project", "shop"])
    assert "server.port is ignored" in capsys.readouterr().err
    assert run(["config", "unset", "answer.hits", "--project", "shop"]) == 0
    assert run(["config", "validate", "--project", "shop"]) == 0


def test_what_overrides_a_value_that_was_just_set_is_named(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GARDENER_SEARCH_LIMIT", "3")
    assert run(["config", "set", "search.limit", "20"]) == 0
    assert "environment variable GARDENER_SEARCH_LIMIT has 3" in capsys.readouterr().err
    assert run(["config", "set", "server.port", "8000"]) == 0
    assert "A running app applies this when it is started again: gardener stop" in capsys.readouterr().err
    assert run(["config", "set", "health.every_seconds", "30"]) == 0
    assert "A running monitor applies this" in capsys.readouterr().err


def test_the_real_command_has_the_documented_exit_codes(home: Path, config: Path) -> None:
    def command(*words: str) -> subprocess.CompletedProcess[str]:
        arguments = [sys.executable, "-m", "gardener.cli.main", "config", *words]
        return subprocess.run(arguments, capture_output=True, text=True, cwd=ROOT, check=False)

    assert command("set", "search.limit", "20").returncode == 0
    assert command("get", "search.limit").stdout == "20\n"
    assert command().returncode == 2
    assert command("get", "x.y").returncode == 4
    wrong = command("set", "search.limit", "x")
    assert wrong.returncode == 3
    assert "try: gardener config get search.limit" in wrong.stderr
    config.write_text("nonsense")
    assert command("validate").returncode == 3
    assert command("show").returncode == 0
