"""Every on-disk location, and the modes it is created with: folders 0700, files 0600, whatever the umask.

`GARDENER_HOME` wins; else the platform's user data folder (XDG_DATA_HOME or ~/.local/share on Linux,
~/Library/Application Support on macOS). platformdirs would say the same and costs 10 ms at every start, which is
as much as the interpreter itself; tests/test_paths.py holds the two equal.
"""

from __future__ import annotations

import errno
import os
import sys

from gardener.errors import ConfigError, DiskFull, PermissionProblem

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600


def default_home() -> str:
    """Absolute path of Gardener's data folder. Raises ConfigError when GARDENER_HOME is not absolute."""
    configured = os.environ.get("GARDENER_HOME", "")
    if configured:
        expanded = os.path.expanduser(configured)
        if not os.path.isabs(expanded):
            raise ConfigError(
                f"GARDENER_HOME must be an absolute path, not {configured!r}.",
                next_step=f'export GARDENER_HOME="{os.path.abspath(expanded)}"',
            )
        return os.path.normpath(expanded)
    return usual_home()


def usual_home() -> str:
    """The platform's place, whatever GARDENER_HOME says."""
    if sys.platform == "darwin":
        return os.path.expanduser("~/Library/Application Support/gardener")
    data = os.environ.get("XDG_DATA_HOME", "").strip() or os.path.expanduser("~/.local/share")
    return os.path.join(data, "gardener")


class Paths:
    """Where everything lives under one home. Nothing is created until `ensure` or `create_private` is called."""

    __slots__ = ("home",)

    def __init__(self, home: str | None = None) -> None:
        self.home = default_home() if home is None else os.path.abspath(home)

    @property
    def config(self) -> str:
        return os.path.join(self.home, "config.toml")

    @property
    def state_db(self) -> str:
        return os.path.join(self.home, "state.db")

    @property
    def samples_db(self) -> str:
        return os.path.join(self.home, "samples.db")

    @property
    def health_db(self) -> str:
        return os.path.join(self.home, "health.db")

    @property
    def projects(self) -> str:
        return os.path.join(self.home, "projects")

    @property
    def trash(self) -> str:
        return os.path.join(self.home, "trash")

    @property
    def embeddings(self) -> str:
        return os.path.join(self.home, "embeddings")

    @property
    def models(self) -> str:
        return os.path.join(self.home, "models")

    @property
    def backups(self) -> str:
        return os.path.join(self.home, "backups")

    @property
    def logs(self) -> str:
        return os.path.join(self.home, "logs")

    @property
    def run(self) -> str:
        return os.path.join(self.home, "run")

    def project_home(self, project_id: str) -> str:
        return os.path.join(self.projects, project_id)

    def ensure(self) -> Paths:
        """Creates the home folder itself. Raises PermissionProblem or DiskFull naming the folder."""
        ensure_directory(self.home)
        return self


def index_directory(project_home: str) -> str:
    return os.path.join(project_home, "index")


def prompt_cache_directory(project_home: str) -> str:
    return os.path.join(project_home, "prompt-cache")


def model_path(name: str, models_directory: str) -> str:
    """The folder of the MLX model that a setting or a project names: given by its path, or below the models folder.

    A name leads to no other place than that: a repository's own settings could hold it.
    """
    path = os.path.expanduser(name)
    if os.path.isabs(path):
        return os.path.normpath(path)
    return os.path.join(models_directory, os.path.basename(os.path.normpath(name)) if name else "")


def project_lock(project_home: str) -> str:
    return os.path.join(project_home, "lock")


def embed_lock(project_home: str) -> str:
    return os.path.join(project_home, "embed.lock")


def ensure_directory(path: str) -> str:
    """Creates a folder (and its parents) with mode 0700 and returns it; tightens an existing one's mode."""
    try:
        # os.makedirs gives its mode to the last folder only, so every missing one is made here.
        missing = []
        folder = path
        while not os.path.isdir(folder):
            missing.append(folder)
            folder = os.path.dirname(folder)
        for folder in reversed(missing):
            try:
                os.mkdir(folder, DIRECTORY_MODE)
            except FileExistsError as error:
                if not os.path.isdir(folder):
                    raise PermissionProblem(
                        f"{folder} is a file, and Gardener needs a folder there. Move it, or choose another data "
                        "folder with --home DIR.",
                        next_step=f'ls -l "{folder}"',
                    ) from error
        if os.stat(path).st_mode & 0o777 != DIRECTORY_MODE:
            os.chmod(path, DIRECTORY_MODE)
    except OSError as error:
        raise translate_os_error(error, path) from error
    return path


def open_private(path: str, flags: int) -> int:
    """An opener for `open(..., opener=open_private)`: a new file gets mode 0600 whatever the umask is."""
    descriptor = os.open(path, flags | os.O_CLOEXEC, FILE_MODE)
    if flags & os.O_CREAT:
        os.fchmod(descriptor, FILE_MODE)
    return descriptor


def create_private(path: str) -> None:
    """An empty file with mode 0600, unless there is one; that one only gets the mode. For databases of SQLite.

    An existing file is never opened: closing a second descriptor would drop the POSIX locks that SQLite holds on it
    for other connections of this process, and another process then deletes the write-ahead log under them
    (https://www.sqlite.org/howtocorrupt.html, section 2.2). Raises OSError.
    """
    try:
        os.close(open_private(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW))
    except FileExistsError:
        if os.stat(path).st_mode & 0o777 != FILE_MODE:
            os.chmod(path, FILE_MODE)


def write_private(path: str, data: bytes) -> None:
    """Replaces a file durably: temporary name, fsync, rename, fsync of the folder. Mode 0600.

    Raises DiskFull or PermissionProblem; the old content is whole in that case.
    """
    temporary = f"{path}.{os.urandom(6).hex()}.tmp"
    try:
        # "x" and O_NOFOLLOW: this may be inside a repository, which could have planted a link under the name.
        with open(temporary, "xb", opener=lambda name, flags: open_private(name, flags | os.O_NOFOLLOW)) as handle:
            handle.write(data)
            handle.flush()
            sync_file(handle.fileno())
        os.replace(temporary, path)
        sync_directory(os.path.dirname(path))
    except OSError as error:
        if os.path.lexists(temporary):
            os.unlink(temporary)
        raise translate_os_error(error, path) from error


def sync_file(descriptor: int) -> None:
    """fsync that is durable on macOS too, where only F_FULLFSYNC reaches the platter (fcntl(2))."""
    if sys.platform == "darwin":
        import fcntl

        try:
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
        except OSError:
            pass  # some file systems (SMB, exFAT) refuse F_FULLFSYNC; plain fsync is what they have
    os.fsync(descriptor)


def sync_directory(path: str) -> None:
    descriptor = os.open(path or ".", os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def translate_os_error(error: OSError, path: str) -> DiskFull | PermissionProblem:
    """Turns an OSError about `path` into the error that the user sees."""
    name = error.filename or path
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(
            f"The disk is full: {name} could not be written. Nothing that was stored before is lost.",
            next_step=f'df -h "{os.path.dirname(str(name))}"',
        )
    return PermissionProblem(
        f"{name}: {error.strerror or error}.",
        next_step=f'ls -ld "{os.path.dirname(str(name))}"',
    )
