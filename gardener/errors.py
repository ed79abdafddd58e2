"""Every error that a user can meet, as one tree.

GardenerError                    internal             1
├── UsageError                   usage                2
├── ConfigError                  config               3
├── NotFoundError                not-found            4
│   ├── ProjectNotFound          project-not-found    4
│   ├── PathNotFound             path-not-found       4
│   ├── ConversationNotFound     conversation-not-found 4
│   ├── BackupNotFound           backup-not-found     4
│   ├── RunbookNotFound          runbook-not-found    4
│   └── NoActiveProject          no-active-project    4
├── ConflictError                conflict             1
│   ├── ProjectExists            project-exists       1
│   └── NameTaken                name-taken           1
├── InvalidPath                  invalid-path         2
├── PermissionProblem            permission           1
├── DiskFull                     disk-full            1
├── ServiceFailed                service              1
├── UpgradeFailed                upgrade              1
├── AlertFailed                  alert-failed         1
├── ModelError                   model                5
│   ├── ModelNotFound            model-not-found      5
│   ├── ModelDamaged             model-damaged        5
│   ├── ModelTooLarge            model-too-large      5
│   ├── AdapterUnfit             adapter-unfit        5
│   └── EmbedderUnavailable      embedder-unavailable 5
├── BackendError                 backend              6
│   ├── BackendUnavailable       backend-unavailable  6
│   ├── BackendTimeout           backend-timeout      6
│   ├── BackendBusy              backend-busy         6
│   ├── BackendRefused           backend-refused      6
│   ├── StorageUnreachable       storage-unreachable  6
│   └── AppUnreachable           app-unreachable      6
├── LockedError                  locked               7
│   └── AppAlreadyRunning        app-running          7
├── IntegrityError               integrity            8
│   ├── StateDamaged             state-damaged        8
│   ├── IndexDamaged             index-damaged        8
│   ├── BackupDamaged            backup-damaged       8
│   └── SchemaTooNew             schema-too-new       8
└── Interrupted                  interrupted          130

Each class has a stable `code` (for programs), an `exit_code` (documented in `gardener help exit-codes`) and each
instance says what happened, to which file or project, and which command helps (`next_step`).
"""

from __future__ import annotations

EXIT_CODES: dict[int, str] = {
    0: "ok",
    1: "failed: the message says what and what to do",
    2: "usage: a wrong word, option or path on the command line",
    3: "config: a configuration file or value is wrong",
    4: "not found: no such project, path, conversation or setting",
    5: "model: a model or embedder is missing, damaged or does not fit",
    6: "network or backend: a server does not answer or answers wrongly",
    7: "locked: another Gardener process holds what this one needs",
    8: "integrity: stored data is damaged or from a newer version",
    130: "interrupted by Ctrl-C; the message says what remains",
}


class GardenerError(Exception):
    """What happened, to what, and the next command to type."""

    code = "internal"
    exit_code = 1

    def __init__(self, message: str, *, next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step

    def __str__(self) -> str:
        return self.message

    def as_json(self) -> dict[str, object]:
        """The error as `--json` commands print it."""
        return {
            "error": {
                "code": self.code,
                "message": self.message,
                "next_step": self.next_step,
                "exit_code": self.exit_code,
            }
        }


class UsageError(GardenerError):
    code = "usage"
    exit_code = 2


class ConfigError(GardenerError):
    code = "config"
    exit_code = 3


class NotFoundError(GardenerError):
    code = "not-found"
    exit_code = 4


class ProjectNotFound(NotFoundError):
    code = "project-not-found"


class PathNotFound(NotFoundError):
    code = "path-not-found"


class ConversationNotFound(NotFoundError):
    code = "conversation-not-found"


class BackupNotFound(NotFoundError):
    code = "backup-not-found"


class RunbookNotFound(NotFoundError):
    code = "runbook-not-found"


class NoActiveProject(NotFoundError):
    code = "no-active-project"

    def __init__(self, message: str = "No project is active.", *, next_step: str = "gardener add PATH") -> None:
        super().__init__(message, next_step=next_step)


class ConflictError(GardenerError):
    code = "conflict"


class ProjectExists(ConflictError):
    code = "project-exists"


class NameTaken(ConflictError):
    code = "name-taken"


class InvalidPath(GardenerError):
    code = "invalid-path"
    exit_code = 2


class PermissionProblem(GardenerError):
    code = "permission"


class ServiceFailed(GardenerError):
    """launchd or systemd refused or did not answer."""

    code = "service"


class UpgradeFailed(GardenerError):
    """Another version could not be had, did not hold on a copy, or did not hold live; the one before is in force."""

    code = "upgrade"


class DiskFull(GardenerError):
    code = "disk-full"


class AlertFailed(GardenerError):
    """An alert could not be brought to where it should go."""

    code = "alert-failed"


class ModelError(GardenerError):
    code = "model"
    exit_code = 5


class ModelNotFound(ModelError):
    code = "model-not-found"


class ModelDamaged(ModelError):
    code = "model-damaged"


class ModelTooLarge(ModelError):
    """Refused before it is loaded, with what it needs, what there is, and what would be left."""

    code = "model-too-large"


class AdapterUnfit(ModelError):
    """An adapter that is damaged, missing, or was made for another base model."""

    code = "adapter-unfit"


class EmbedderUnavailable(ModelError):
    code = "embedder-unavailable"


class BackendError(GardenerError):
    code = "backend"
    exit_code = 6


class BackendUnavailable(BackendError):
    code = "backend-unavailable"


class BackendTimeout(BackendError):
    """No first word, or silence in the middle, or too long altogether."""

    code = "backend-timeout"


class BackendBusy(BackendError):
    """A rate limit, or a queue that is full."""

    code = "backend-busy"


class BackendRefused(BackendError):
    """The server understood the request and will not do it: a wrong key, a wrong field, too long a prompt."""

    code = "backend-refused"


class StorageUnreachable(BackendError):
    code = "storage-unreachable"


class AppUnreachable(BackendError):
    code = "app-unreachable"


class LockedError(GardenerError):
    code = "locked"
    exit_code = 7


class AppAlreadyRunning(LockedError):
    code = "app-running"


class IntegrityError(GardenerError):
    code = "integrity"
    exit_code = 8


class StateDamaged(IntegrityError):
    code = "state-damaged"


class IndexDamaged(IntegrityError):
    code = "index-damaged"


class BackupDamaged(IntegrityError):
    """A backup or an archive that does not hold what its manifest says, or that is no backup at all."""

    code = "backup-damaged"


class SchemaTooNew(IntegrityError):
    code = "schema-too-new"


class Interrupted(GardenerError):
    code = "interrupted"
    exit_code = 130
