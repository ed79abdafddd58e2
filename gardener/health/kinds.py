"""Every kind of trouble that a check can find: one row each, with what it is called and how bad it can be.

Two troubles are two kinds when a person does something different about them. Each kind has its runbook,
runbooks/<id>.md. An id is never given another meaning: issues, alerts and people's scripts keep it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Severity = Literal["ok", "info", "warning", "error"]
Bad = Literal["warning", "error"]

_BOTH: tuple[Bad, ...] = ("warning", "error")
_WARNING: tuple[Bad, ...] = ("warning",)
_ERROR: tuple[Bad, ...] = ("error",)


@dataclass(frozen=True, slots=True)
class Kind:
    id: str
    title: str
    """A sentence without its full stop, true whenever such a finding is there."""
    severities: tuple[Bad, ...]
    noisy: bool = False
    """What is measured goes up and down by itself: one round proves nothing."""

    @property
    def runbook(self) -> str:
        """Where it says what to do, as a path from the top of the project."""
        return f"runbooks/{self.id}.md"


_ROWS = (
    # the machine
    Kind("cpu-busy", "The processor has been busy for a while", _BOTH, noisy=True),
    Kind("memory-short", "Memory is short", _BOTH, noisy=True),
    Kind("swap-heavy", "The machine swaps", _BOTH, noisy=True),
    Kind("disk-full", "The disk is full or nearly so", _BOTH, noisy=True),
    Kind("machine-hot", "The machine is hot and slows itself down", _BOTH, noisy=True),
    Kind("battery-low", "The battery is low", _BOTH, noisy=True),
    Kind("clock-jumped", "The clock was set, or is wrong", _WARNING),
    Kind("sqlite-old", "SQLite is older than it should be", _WARNING),
    Kind("git-missing", "git was not found", _WARNING),
    # the data folder
    Kind("home-unwritable", "The data folder cannot be written", _ERROR),
    Kind("modes-open", "Others can read Gardener's files", _ERROR),
    Kind("token-exposed", "Others can read a token", _ERROR),
    Kind("config-invalid", "A setting is wrong", _BOTH),
    Kind("state-damaged", "state.db is damaged", _ERROR),
    Kind("health-damaged", "health.db could not be read and was begun anew", _WARNING),
    Kind("state-newer", "A newer Gardener has written the data", _ERROR),
    Kind("folders-orphaned", "There are folders of no project", _WARNING),
    # projects and their indexes
    Kind("project-folder-gone", "A project's folder is gone", _ERROR),
    Kind("project-unreadable", "A project's folder cannot be read", _ERROR),
    Kind("index-missing", "A project has no index", _WARNING),
    Kind("index-damaged", "An index is damaged", _ERROR),
    Kind("index-stale", "An index has been behind its folder for a while", _WARNING, noisy=True),
    Kind("index-fragmented", "An index lies in many small pieces", _WARNING),
    Kind("vectors-damaged", "The shared vectors are damaged", _ERROR),
    Kind("watch-polling", "A project is polled instead of watched", _WARNING),
    # models
    Kind("embedder-damaged", "The packaged embedder is damaged", _ERROR),
    Kind("embedder-unreachable", "The embedder cannot be used", _ERROR, noisy=True),
    Kind("embedder-changed", "The embedder is not the one that made the vectors", _WARNING, noisy=True),
    Kind("model-unreachable", "The model server cannot be reached", _WARNING, noisy=True),
    Kind("model-missing", "The chosen model is not there", _WARNING),
    Kind("model-damaged", "The chosen model's files are damaged", _WARNING),
    Kind("model-slow", "The model writes slower than it used to", _WARNING, noisy=True),
    Kind("model-reloads", "The model is loaded again and again", _WARNING, noisy=True),
    Kind("answers-late", "Answers begin late", _BOTH, noisy=True),
    # the app and the monitor
    Kind("app-down", "The app should run and does not answer", _ERROR, noisy=True),
    Kind("app-unready", "The app runs and is not ready", _BOTH, noisy=True),
    Kind("app-outdated", "The running app is of another version than the installed one", _WARNING),
    Kind("port-taken", "Another program has the app's port", _WARNING, noisy=True),
    Kind("monitor-down", "The monitor should run and does not", _WARNING, noisy=True),
    # versions
    Kind("upgrade-unfinished", "An upgrade was interrupted", _WARNING),
    # backups
    Kind("backup-old", "The newest backup is too old", _WARNING),
    Kind("backup-damaged", "A backup is damaged", _BOTH),
    Kind("backup-unproven", "No backup has been proved for a while", _WARNING),
    Kind("backup-disk-absent", "The second folder for backups has not been there for a while", _WARNING, noisy=True),
    # the checks and the alerts themselves
    Kind("check-failed", "A check could not be made", _BOTH, noisy=True),
    Kind("alert-failed", "An alert could not be delivered", _WARNING),
)

KINDS: Mapping[str, Kind] = {kind.id: kind for kind in _ROWS}

_OF_ERRORS = {
    "config": "config-invalid",
    "disk-full": "disk-full",
    "index-damaged": "index-damaged",
    "schema-too-new": "state-newer",
    "state-damaged": "state-damaged",
}


def kind_of_error(code: str) -> str:
    """The id for a GardenerError with this code that ended a check; "check-failed" for those that are about that."""
    return _OF_ERRORS.get(code, "check-failed")
