"""Settings files that are wrong, hostile or unusual, and the line numbers of their keys."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import tomlkit
from hypothesis import given

from gardener.errors import ConfigError
from gardener.paths import Paths
from gardener.settings import Settings, load_settings
from gardener.settings_file import key_lines
from tests.settings_documents import documents, in_one_folder

ROOT = Path(__file__).parent.parent


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(str(tmp_path / "home")).ensure()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    return folder


def write_user(paths: Paths, text: str) -> None:
    Path(paths.config).write_text(text, encoding="utf-8")


def load(paths: Paths, **layers: object) -> Settings:
    layers.setdefault("environment", {})
    return load_settings(paths, **layers)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[search]\nlimit = 'ten'\n", 2, ["search.limit", "from 1 to 200", "'ten'"]),
        ("[search]\n\nlimit = 0\n", 3, ["search.limit", "from 1 to 200", "not 0"]),
        ("[search]\nlimit = 10.0\n", 2, ["search.limit", "a whole number"]),
        ("[search]\nlimit = true\n", 2, ["search.limit", "not true"]),
        ("[ui]\nopen_browser = 1\n", 2, ["ui.open_browser", "true or false"]),
        ("[log]\nlevel = 'loud'\n", 2, ["log.level", '"debug", "info", "warning", "error"']),
        ("[search]\non_demand_budget_ms = nan\n", 2, ["search.on_demand_budget_ms", "from 0 to 60000"]),
        ("[index]\nexclude = 'a'\n", 2, ["index.exclude", "a list of texts"]),
        ("[index]\nexclude = ['a', '']\n", 2, ["index.exclude"]),
        ("[models]\norder = ['gpt']\n", 2, ["models.order", '"extractive"']),
        ("a = 1\n[search]\nlimti = 3\n", 3, ["search.limti", "Did you mean search.limit?"]),
        ("[serach]\n", 1, ["[serach]", "Did you mean [search]?"]),
        ("\n[zzz]\na = 1\n", 2, ["[zzz]", "Sections: index, embedder, search"]),
        ("limit = 3\n", 1, ["limit", "Did you mean search.limit?"]),
        ("index = 3\n", 1, ["index"]),
        ("[index.exclude]\na = 1\n", 1, ["index.exclude", "a list of texts"]),
        ("search = {limit = 'x'}\n", 1, ["search.limit"]),
        ("[search]\nlimit = \n", 2, ["not valid TOML"]),
        ("[search]\nlimit = 3\nlimit = 4\n", 3, ["not valid TOML"]),
        ("a = [1,\n\n", 3, ["not valid TOML"]),
        ("config_version = 2\nfuture = 1\n", 1, ["config_version is 2", "newer Gardener"]),
        ("config_version = 'x'\n", 1, ["config_version"]),
        ("config_version = true\n", 1, ["config_version"]),
        ("a = " + "9" * 5_000 + "\n", 0, ["not valid TOML"]),
        ("a = " + "[" * 50_000 + "\n", 0, []),
        ('"\\u202eevil\\n" = 1\n', 0, ["u202e"]),
    ],
)
def test_a_wrong_file_names_file_line_key_and_what_is_allowed(
    paths: Paths, text: str, line: int, words: list[str]
) -> None:
    write_user(paths, text)
    with pytest.raises(ConfigError) as caught:
        load(paths)
    message = caught.value.message
    assert paths.config in message
    if line:
        assert f"{paths.config}, line {line}: " in message
    for word in words:
        assert word in message
    assert "\u202e" not in message
    assert paths.config in caught.value.next_step
    assert caught.value.exit_code == 3


def test_all_problems_of_all_layers_are_listed(paths: Paths, project: Path) -> None:
    write_user(paths, "[search]\nlimit = 0\n[log]\nlevel = 'x'\n")
    (project / ".gardener.toml").write_text("[answer]\nhits = 0\n")
    with pytest.raises(ConfigError) as caught:
        load(paths, project_root=str(project), environment={"GARDENER_SERVER_PORT": "x"})
    lines = caught.value.message.splitlines()
    assert len(lines) == 4
    expected = ["search.limit", "log.level", "answer.hits", "SERVER_PORT"]
    assert all(word in line for word, line in zip(expected, lines, strict=True))


def test_a_flood_of_problems_is_cut(paths: Paths) -> None:
    write_user(paths, "".join(f"zq{number} = 1\n" for number in range(1_000)))
    with pytest.raises(ConfigError, match=r"and 980 more\.$"):
        load(paths)


def test_not_utf8_is_named_with_its_line(paths: Paths) -> None:
    Path(paths.config).write_bytes(b"[search]\n# caf\xe9\n")
    with pytest.raises(ConfigError, match=r"line 2: the file is not UTF-8 text \(byte 0xe9\)"):
        load(paths)


def test_byte_order_mark_and_windows_line_ends_are_read(paths: Paths) -> None:
    Path(paths.config).write_bytes(b"\xef\xbb\xbf[search]\r\nlimit = 7\r\n")
    loaded = load(paths)
    assert loaded.integer("search.limit") == 7
    assert loaded.origin("search.limit").line == 2


def _make_folder(path: Path) -> None:
    path.mkdir()


def _make_pipe(path: Path) -> None:
    os.mkfifo(path)


def _make_loop(path: Path) -> None:
    path.symlink_to(path)


def _make_huge(path: Path) -> None:
    path.write_bytes(b"#" * 300_000)


def _make_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [_make_folder, _make_pipe, _make_loop, _make_huge, _make_device])
@pytest.mark.parametrize("of_project", [False, True])
def test_what_is_no_ordinary_file_is_refused_at_once(
    paths: Paths, project: Path, make: Callable[[Path], None], of_project: bool
) -> None:
    path = project / ".gardener.toml" if of_project else Path(paths.config)
    make(path)
    with pytest.raises(ConfigError) as caught:
        load(paths, project_root=str(project))
    assert str(path) in caught.value.message
    assert caught.value.next_step


def test_a_file_without_permission_is_named(paths: Paths, tmp_path: Path) -> None:
    write_user(paths, "")
    if os.geteuid() == 0:  # root may read everything: ask as somebody else, in a process of its own
        program = (
            "import os, sys, shlex\n"
            "sys.path.insert(0, sys.argv[2])\n"
            "from gardener.errors import ConfigError\n"
            "from gardener.paths import Paths\n"
            "from gardener.settings import load_settings\n"
            "os.setuid(65534)\n"
            "try: load_settings(Paths(sys.argv[1]), environment={})\n"
            "except ConfigError as error: print(error.message, '|', error.next_step)\n"
        )
        arguments = [sys.executable, "-c", program, paths.home, str(ROOT)]
        said = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
    else:
        Path(paths.config).chmod(0)
        with pytest.raises(ConfigError) as caught:
            load(paths)
        said = f"{caught.value.message} | {caught.value.next_step}"
    assert paths.config in said
    assert "Permission denied" in said
    assert "chmod u+rw" in said


def test_the_user_may_link_to_a_file_elsewhere_but_a_project_may_not(
    paths: Paths, project: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "dotfiles.toml"
    elsewhere.write_text("[search]\nlimit = 9\n")
    Path(paths.config).symlink_to(elsewhere)
    assert load(paths).integer("search.limit") == 9
    (project / ".gardener.toml").symlink_to(elsewhere)
    with pytest.raises(ConfigError, match="symbolic link"):
        load(paths, project_root=str(project))


@in_one_folder
@given(document=documents())
def test_law_what_is_written_is_read_with_its_line(paths: Paths, document: dict[str, dict[str, object]]) -> None:
    text = tomlkit.dumps(document)
    write_user(paths, text)
    loaded = load(paths)
    for section, values in document.items():
        for name, value in values.items():
            key = f"{section}.{name}"
            assert loaded.value(key) == (tuple(value) if isinstance(value, list) else value)
            assert text.splitlines()[loaded.origin(key).line - 1].startswith(f"{name} =")


def test_lines_of_keys_in_every_form_of_toml() -> None:
    text = """\
# a = "comment with = and ["
title = \"\"\"
[not.a.table]
key = 1 \\\"\"\" still
\"\"\"
'quoted key' = 1   # x = 2
[a . "b"]
list = [ # comment ]
  "]", '[',
  { x = 1 },
]
c.d = '''
z = 1'''
[[rows]]
e = { f = 1, g = "\\\"}" }
h = 1979-05-27"""
    assert key_lines(text) == {
        "title": 2,
        "quoted key": 6,
        "a.b": 7,
        "a.b.list": 8,
        "a.b.c.d": 12,
        "rows": 14,
        "rows.e": 15,
        "rows.h": 16,
    }
