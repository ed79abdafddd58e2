"""The programs that Gardener can be set up in: where each keeps its MCP servers, and in which shape.

Checked against their documentation in November 2026. `mcp install` edits files and needs no MCP library.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

SERVER_NAME = "gardener"


@dataclass(frozen=True, slots=True)
class Client:
    name: str
    title: str
    key: str
    """The object of the file in which each server has a member."""
    user_file: Callable[[Mapping[str, str]], str]
    """The absolute path of the user's own file, for an environment."""
    project_file: str
    """Relative to a project's folder."""
    extra: Mapping[str, str]
    """What an entry holds besides command and arguments."""
    then: str
    """What the user does next."""

    def entry(self, command: list[str]) -> dict[str, object]:
        """The server's entry that starts `command`."""
        return {**self.extra, "command": command[0], "args": command[1:]}


def _home(environment: Mapping[str, str]) -> str:
    return environment.get("HOME") or os.path.expanduser("~")


def _config(environment: Mapping[str, str]) -> str:
    """$XDG_CONFIG_HOME, which must be absolute to count."""
    named = environment.get("XDG_CONFIG_HOME", "")
    return named if os.path.isabs(named) else os.path.join(_home(environment), ".config")


def _claude_file(environment: Mapping[str, str]) -> str:
    return os.path.join(environment.get("CLAUDE_CONFIG_DIR") or _home(environment), ".claude.json")


def _vscode_file(environment: Mapping[str, str]) -> str:
    mac = os.path.join(_home(environment), "Library", "Application Support")
    return os.path.join(mac if sys.platform == "darwin" else _config(environment), "Code", "User", "mcp.json")


def _zed_file(environment: Mapping[str, str]) -> str:
    # Zed keeps to ~/.config on macOS too, and there without looking at XDG_CONFIG_HOME.
    folder = os.path.join(_home(environment), ".config") if sys.platform == "darwin" else _config(environment)
    return os.path.join(folder, "zed", "settings.json")


CLIENTS: Mapping[str, Client] = {
    client.name: client
    for client in (
        Client(
            "claude-code",
            "Claude Code",
            "mcpServers",
            _claude_file,
            ".mcp.json",
            {"type": "stdio"},
            "Start a new session of Claude Code; /mcp shows the server.",
        ),
        Client(
            "cursor",
            "Cursor",
            "mcpServers",
            lambda environment: os.path.join(_home(environment), ".cursor", "mcp.json"),
            os.path.join(".cursor", "mcp.json"),
            {"type": "stdio"},
            "Cursor reads the file again by itself; its settings list the server under MCP.",
        ),
        Client(
            "vscode",
            "VS Code",
            "servers",
            _vscode_file,
            os.path.join(".vscode", "mcp.json"),
            {"type": "stdio"},
            "In VS Code: MCP: List Servers. A profile other than the default has a file of its own.",
        ),
        Client(
            "zed",
            "Zed",
            "context_servers",
            _zed_file,
            os.path.join(".zed", "settings.json"),
            {"source": "custom"},
            "Zed reads the file again by itself; the agent panel's settings list the server.",
        ),
    )
}
