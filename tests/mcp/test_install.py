"""Setting up a client: its own file, with everything else in it kept."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import pytest

from gardener.errors import ConfigError, ConflictError, GardenerError, InvalidPath, PermissionProblem
from gardener.mcp.clients import CLIENTS, Client
from gardener.mcp.install import apply, plan
from gardener.mcp.jsonc import parse

COMMAND = ["/opt/bin/gardener", "mcp"]


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> Client:
    return CLIENTS[request.param]


def file_of(client: Client, base: Path, text: str | None = None) -> Path:
    path = base / client.project_file
    path.parent.mkdir(parents=True, exist_ok=True)
    if text is not None:
        path.write_bytes(text.encode())
    return path


def commented(client: Client) -> str:
    return (
        "// my own words\n{\n"
        '    "other": [1, 2,], /* kept */\n'
        f'    "{client.key}": {{\n        // the first\n'
        '        "one": {"command": "one", "env": {"KEY": "v"}}, // yes\n'
        "    },\n}\n"
    )


def test_the_users_files_are_where_the_clients_look(monkeypatch: pytest.MonkeyPatch) -> None:
    home = {"HOME": "/home/me"}

    def files(environment: dict[str, str]) -> dict[str, str]:
        return {name: client.user_file(environment) for name, client in CLIENTS.items()}

    monkeypatch.setattr(sys, "platform", "linux")
    assert files(home) == {
        "claude-code": "/home/me/.claude.json",
        "cursor": "/home/me/.cursor/mcp.json",
        "vscode": "/home/me/.config/Code/User/mcp.json",
        "zed": "/home/me/.config/zed/settings.json",
    }
    moved = files({**home, "XDG_CONFIG_HOME": "/etc/mine", "CLAUDE_CONFIG_DIR": "/home/me/claude"})
    assert moved["zed"] == "/etc/mine/zed/settings.json"
    assert moved["vscode"] == "/etc/mine/Code/User/mcp.json"
    assert moved["claude-code"] == "/home/me/claude/.claude.json"
    assert files({**home, "XDG_CONFIG_HOME": "relative"})["zed"] == "/home/me/.config/zed/settings.json"
    monkeypatch.setattr(sys, "platform", "darwin")
    mac = files({**home, "XDG_CONFIG_HOME": "/etc/mine"})
    assert mac["vscode"] == "/home/me/Library/Application Support/Code/User/mcp.json"
    assert mac["zed"] == "/home/me/.config/zed/settings.json"


def test_a_new_file_is_made(client: Client, tmp_path: Path) -> None:
    path = tmp_path / client.project_file
    change = plan(client, str(path), COMMAND)
    assert (change.before, change.needed, change.backup) == (None, True, "")
    assert change.diff()[0].startswith("--- /dev/null")
    assert not path.exists()
    apply(change)
    assert json.loads(path.read_text()) == {client.key: {"gardener": client.entry(COMMAND)}}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not plan(client, str(path), COMMAND).needed


def test_everything_else_stays_and_the_old_file_is_beside_it(client: Client, tmp_path: Path) -> None:
    before = commented(client)
    path = file_of(client, tmp_path, before)
    path.chmod(0o640)
    change = plan(client, str(path), COMMAND)
    assert [line for line in change.diff() if line.startswith("-") and not line.startswith("---")] == []
    apply(change)
    after = path.read_text()
    kept = iter(after.splitlines())
    assert all(line in kept for line in before.splitlines())  # each line, in its order
    node = parse(after)
    assert node is not None
    assert node.data["other"] == [1, 2]
    assert node.data[client.key] == {
        "one": {"command": "one", "env": {"KEY": "v"}},
        "gardener": client.entry(COMMAND),
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    backup = Path(change.backup)
    assert backup.parent == path.parent
    assert backup.read_text() == before
    assert stat.S_IMODE(backup.stat().st_mode) == 0o640
    again = plan(client, str(path), COMMAND)
    assert not again.needed
    out = plan(client, str(path), COMMAND, take_out=True)
    apply(out)
    assert path.read_text() == before
    assert not plan(client, str(path), COMMAND, take_out=True).needed


def test_an_entry_that_is_there_keeps_what_is_not_ours(client: Client, tmp_path: Path) -> None:
    entry = (
        '{"command": "/old/gardener", /* mine */ "args": ["mcp", "--project", "shop"], '
        '"env": {"A": "b"}, "enabled": false}'
    )
    path = file_of(client, tmp_path, f'{{"{client.key}": {{"gardener": {entry}}}}}')
    apply(plan(client, str(path), COMMAND))
    node = parse(path.read_text())
    assert node is not None
    assert node.data[client.key]["gardener"] == {
        **client.entry(COMMAND),
        "args": ["mcp", "--project", "shop"],
        "env": {"A": "b"},
        "enabled": False,
    }
    assert "/* mine */" in path.read_text()


def test_an_entry_of_another_kind_is_replaced(client: Client, tmp_path: Path) -> None:
    path = file_of(client, tmp_path, json.dumps({client.key: {"gardener": {"url": "http://127.0.0.1:7468/mcp"}}}))
    apply(plan(client, str(path), COMMAND))
    assert json.loads(path.read_text()) == {client.key: {"gardener": client.entry(COMMAND)}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1', "line 1, column 8"),
        ("{'a': 1}", "not valid JSON"),
        ("[]", "another form: the whole is not an object"),
        ('{"KEY": ["x"]}', "another form: KEY is not an object"),
        ("\udcff", "not UTF-8"),
    ],
)
def test_what_does_not_parse_is_left_alone(client: Client, tmp_path: Path, text: str, said: str) -> None:
    path = file_of(client, tmp_path)
    before = text.replace("KEY", client.key).encode("utf-8", "surrogateescape")
    path.write_bytes(before)
    with pytest.raises(ConfigError, match="nothing was written") as refused:
        plan(client, str(path), COMMAND)
    assert said.replace("KEY", client.key) in refused.value.message
    assert str(path) in refused.value.message
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name] or path.parent == tmp_path


def test_a_read_only_file_stays(client: Client, tmp_path: Path) -> None:
    path = file_of(client, tmp_path, "{}")
    path.chmod(0o400)
    with pytest.raises(PermissionProblem, match="read-only"):
        plan(client, str(path), COMMAND)
    assert path.read_text() == "{}"


def test_a_link_to_dotfiles_is_followed_and_stays(client: Client, tmp_path: Path) -> None:
    dotfiles = tmp_path / "dotfiles.json"
    dotfiles.write_text("{}")
    path = file_of(client, tmp_path / "home")
    path.symlink_to(dotfiles)
    change = plan(client, str(path), COMMAND)
    assert change.file == str(dotfiles)
    apply(change)
    assert path.is_symlink()
    assert "gardener" in dotfiles.read_text()


def test_a_repository_cannot_lead_us_out_of_it(client: Client, tmp_path: Path) -> None:
    victim = tmp_path / "victim.json"
    victim.write_text("{}")
    project = tmp_path / "project"
    path = file_of(client, project)
    path.symlink_to(victim)
    with pytest.raises(InvalidPath, match="leads out of its project"):
        plan(client, str(path), COMMAND, inside=str(project))
    path.unlink()
    if path.parent != project:
        path.parent.rmdir()
        path.parent.symlink_to(tmp_path)
        with pytest.raises(InvalidPath, match="leads out of its project"):
            plan(client, str(path), COMMAND, inside=str(project))
    assert victim.read_text() == "{}"


def test_a_file_that_changes_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    client = CLIENTS["claude-code"]
    path = file_of(client, tmp_path, "{}")
    change = plan(client, str(path), COMMAND)
    path.write_text('{"numStartups": 3}')
    with pytest.raises(ConflictError, match="changed meanwhile"):
        apply(change)
    assert path.read_text() == '{"numStartups": 3}'


def test_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".mcp.json").mkdir()
    with pytest.raises(GardenerError, match="not a regular file"):
        plan(CLIENTS["claude-code"], str(tmp_path / ".mcp.json"), COMMAND)
