"""Every command: its name, the module that has it, and one line of help. Importing this imports no command."""

from __future__ import annotations


class Command:
    __slots__ = ("group", "help", "module", "name")

    def __init__(self, name: str, module: str, group: str, help: str) -> None:
        self.name = name
        self.module = "gardener.cli." + module
        self.group = group
        self.help = help


GROUPS = ("projects", "code", "conversations", "app", "care")

COMMANDS: dict[str, Command] = {
    command.name: command
    for command in (
        Command("add", "add", "projects", "register a folder as a project and index it"),
        Command("list", "projects", "projects", "all projects, the active one marked"),
        Command("show", "show", "projects", "one project: folder, git, index, disk; --skipped says what was left out"),
        Command("switch", "switch", "projects", "make another project the active one"),
        Command("status", "status", "projects", "the active project, its index, the app, the level of service"),
        Command("rename", "projects", "projects", "give a project another name"),
        Command("move", "projects", "projects", "tell Gardener that a project's folder has moved"),
        Command("remove", "projects", "projects", "put a project in the trash, or --purge it"),
        Command("restore", "projects", "projects", "take a project back out of the trash"),
        Command("index", "index", "code", "bring the index up to date with the disk"),
        Command("search", "search", "code", "find places in the code"),
        Command("ask", "ask", "code", "ask a question, get an answer with citations"),
        Command("symbols", "symbols", "code", "find definitions by name"),
        Command("callers", "symbols", "code", "who calls a function or method"),
        Command("callees", "symbols", "code", "what a function or method calls"),
        Command("map", "symbols", "code", "the definitions that matter most, within a budget of tokens"),
        Command("eval", "eval", "code", "measure how well search finds things in this project"),
        Command("chat", "chat", "conversations", "a conversation: follow-up questions know what came before"),
        Command("history", "history", "conversations", "list, show, search, export and delete conversations"),
        Command("serve", "serve", "app", "run the app: pages, API, resident model"),
        Command("ui", "serve", "app", "open the app in the browser, starting it if need be"),
        Command("stop", "serve", "app", "stop the running app"),
        Command("mcp", "mcp", "app", "the MCP server for editors and agents; `mcp install` sets one up"),
        Command("service", "service", "app", "keep the app running in the background, from log-in on"),
        Command("monitor", "monitor", "app", "watch over everything: checks, issues, alerts, the schedule of backups"),
        Command("token", "token", "app", "tokens with which editors and scripts use the API"),
        Command("config", "config", "care", "show, get, set and validate settings"),
        Command("embedder", "embedder", "care", "which model makes the vectors, and changing it"),
        Command("models", "models", "care", "which model fits this machine; list, pull, use and remove models"),
        Command("train", "train", "care", "teach the base model this project's code: an adapter, measured before use"),
        Command("adapters", "adapters", "care", "a project's own adapters on the base model: list, use, off, remove"),
        Command("usage", "usage", "care", "what answers took: tokens, times, cost, and the day's budget"),
        Command("backup", "backup", "care", "make, prove, restore, thin out, export and import backups"),
        Command("upgrade", "upgrade", "care", "put a newer version in force, tried on a copy of the data first"),
        Command("rollback", "upgrade", "care", "go back to the version before the last upgrade"),
        Command("health", "health", "care", "issues that are open, what helps, and silence for those that you know"),
        Command("doctor", "doctor", "care", "check everything a support thread would ask"),
        Command("repair", "repair", "care", "mend what the checks find: says what it will do, asks, copies first"),
        Command(
            "diagnostics", "diagnostics", "care", "a file for whoever helps you: shown first, no names, never sent"
        ),
        Command("logs", "logs", "care", "what happened: the main, error, audit and performance logs"),
        Command("runbook", "runbook", "care", "what to do about a trouble, step by step"),
        Command("disk", "disk", "care", "what takes how much room, and --clean for what nobody needs"),
        Command("completion", "completion", "care", "shell completion for bash, zsh and fish"),
        Command("help", "help", "care", "help on a command, exit codes, environment, files"),
    )
}
