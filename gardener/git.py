"""Running git inside a repository that may be hostile: commands that only read, and none of its programs.

A repository's .git/config can name programs (core.fsmonitor, hooks, pager, core.sshCommand, gpg.program,
credential helpers, a shell command as the URL of a partial clone's remote) and can point the work tree or
the ignore file at any place on the disk. Each of these is overridden on the command line, which git ranks
above every config file. The user's own ~/.gitconfig still counts: safe.directory keeps its meaning.
"""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
import time
from contextlib import suppress
from functools import lru_cache

from gardener.errors import GardenerError

READ_ONLY_COMMANDS = frozenset(
    {
        "cat-file",
        "check-ignore",
        "config",
        "diff-tree",
        "for-each-ref",
        "log",
        "ls-files",
        "ls-tree",
        "merge-base",
        "rev-list",
        "rev-parse",
        "show",
        "version",
    }
)
"""None of these compares contents of files on the disk, which would start a repository's clean filters."""

_DIFFING_COMMANDS = frozenset({"diff-tree", "log", "show"})
_REFUSED_OPTIONS = frozenset({"--ext-diff", "--textconv", "--filters", "--paginate", "--show-signature"})

_OVERRIDES = (
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "core.hooksPath=/dev/null",
    "core.pager=cat",
    "core.editor=false",
    "core.askPass=false",
    "core.sshCommand=false",
    "core.gitProxy=false",
    "core.alternateRefsCommand=false",
    "core.attributesFile=/dev/null",
    "credential.helper=",
    "diff.external=",
    "gpg.program=false",
    "gpg.openpgp.program=false",
    "gpg.x509.program=false",
    "gpg.ssh.program=false",
    "gpg.ssh.defaultKeyCommand=false",
    "log.showSignature=false",
    "submodule.recurse=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "protocol.allow=never",
    # A folder that merely looks like a bare repository must not be taken for one (since git 2.38).
    "safe.bareRepository=explicit",
)

_INHERITED = re.compile(
    r"GIT_(?:CONFIG_(?:GLOBAL|SYSTEM|NOSYSTEM|COUNT|KEY_\d+|VALUE_\d+)|EXEC_PATH|DISCOVERY_ACROSS_FILESYSTEM)\Z"
)

DEFAULT_TIMEOUT_S = 20.0
MAX_OUTPUT_BYTES = 512 * 1024 * 1024
_MAX_ERROR_BYTES = 64 * 1024


class GitFailed(GardenerError):
    """git is not installed, refused, took too long or said too much. `reason` is git's own first line."""

    code = "git"

    def __init__(self, root: str, reason: str, *, exit_status: int | None = None, timed_out: bool = False) -> None:
        super().__init__(f"git could not read {root}: {reason}", next_step=f'git -C "{root}" status')
        self.reason = reason
        self.exit_status = exit_status
        """git's exit status; None when it did not run to its end."""
        self.timed_out = timed_out


def git_environment(*, ceiling: str | None = None) -> dict[str, str]:
    """The environment for git: nothing inherited that redirects it, no prompt, no lock, no network.

    `ceiling` is the folder above which git must not look for a repository.
    """
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("GIT_") or _INHERITED.match(name)
    }
    environment.update(
        LC_ALL="C",
        GIT_OPTIONAL_LOCKS="0",
        GIT_TERMINAL_PROMPT="0",
        GIT_PAGER="cat",
        GIT_ASKPASS="false",
        SSH_ASKPASS="false",
        GIT_NO_LAZY_FETCH="1",
        # Ranks above protocol.*.allow; no transport has this name, so even a partial clone fetches nothing.
        GIT_ALLOW_PROTOCOL="none",
        GIT_LITERAL_PATHSPECS="1",
        GIT_ADVICE="0",
    )
    if ceiling is not None:
        environment["GIT_CEILING_DIRECTORIES"] = ceiling
    return environment


@lru_cache(maxsize=8)
def _git_on_path(search_path: str) -> str | None:
    # shutil.which would also accept "." or "", and with it a program named git inside the repository.
    for folder in search_path.split(os.pathsep):
        candidate = os.path.join(folder, "git")
        if os.path.isabs(folder) and os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return candidate
    return None


def git_program() -> str | None:
    """Absolute path of git, from the absolute folders of PATH only; None when there is none."""
    return _git_on_path(os.environ.get("PATH", os.defpath))


def git_command(
    root: str,
    *arguments: str,
    work_tree: str | None = None,
    git_directory: str | None = None,
    settings: tuple[str, ...] = (),
) -> list[str]:
    """The full argument list for one read-only git command in `root`, with every override in place.

    `settings` are further KEY=VALUE overrides. Raises GitFailed when git is not installed, and ValueError for
    a command or an option that could run a program of the repository's choice.
    """
    command = arguments[0] if arguments else ""
    if command not in READ_ONLY_COMMANDS or _REFUSED_OPTIONS.intersection(arguments):
        raise ValueError(f"not a read-only git command: {' '.join(arguments)}")
    program = git_program()
    if program is None:
        raise GitFailed(root, "git is not installed")
    line = [program, "--no-pager", "-C", root]
    for override in (*_OVERRIDES, *settings):
        line += ("-c", override)
    if work_tree is not None:
        line.append(f"--work-tree={work_tree}")
    if git_directory is not None:
        line.append(f"--git-dir={git_directory}")
    line.append(command)
    if command in _DIFFING_COMMANDS:
        line += ("--no-ext-diff", "--no-textconv")
    line += arguments[1:]
    return line


def safe_git(
    root: str,
    *arguments: str,
    work_tree: str | None = None,
    git_directory: str | None = None,
    settings: tuple[str, ...] = (),
    accept: tuple[int, ...] = (0,),
    warnings: list[str] | None = None,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    max_output_bytes: int = MAX_OUTPUT_BYTES,
) -> bytes:
    """Runs one read-only git command in `root` and returns its standard output.

    `work_tree` fixes the work tree against a core.worktree in the repository, and keeps git from looking for
    a repository above it. `accept` are the exit statuses that are not a failure. What git writes to standard
    error is appended to `warnings`, by line. Raises GitFailed when git is missing, exits otherwise, needs
    more than `timeout_s` seconds (a FIFO posing as .gitignore blocks it for ever) or writes more than
    `max_output_bytes`.
    """
    command = git_command(root, *arguments, work_tree=work_tree, git_directory=git_directory, settings=settings)
    ceiling = os.path.dirname(work_tree) if work_tree is not None else None
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=git_environment(ceiling=ceiling),
            start_new_session=True,
        )
    except OSError as error:
        raise GitFailed(root, f"{command[0]}: {error.strerror or error}") from error
    try:
        output, errors = _drain(process, root, time.monotonic() + timeout_s, max_output_bytes)
    finally:
        _end(process)
    lines = errors.decode("utf-8", "replace").splitlines()
    if process.returncode not in accept:
        reason = next((line for line in lines if line.startswith("fatal:")), lines[0] if lines else "")
        raise GitFailed(
            root,
            reason.removeprefix("fatal: ") or f"it ended with status {process.returncode}",
            exit_status=process.returncode,
        )
    if warnings is not None:
        warnings.extend(lines)
    return output


def _drain(process: subprocess.Popen[bytes], root: str, deadline: float, max_output_bytes: int) -> tuple[bytes, bytes]:
    """Reads both pipes to their end within the deadline and the limit, then waits for the process."""
    assert process.stdout is not None and process.stderr is not None
    output: list[bytes] = []
    errors: list[bytes] = []
    size = error_size = 0
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        selector.register(process.stderr, selectors.EVENT_READ)
        while selector.get_map():
            remaining = deadline - time.monotonic()
            ready = selector.select(remaining) if remaining > 0 else []
            if not ready:
                raise GitFailed(root, "it took too long", timed_out=True)
            for key, _ in ready:
                data = os.read(key.fd, 1 << 18)
                if not data:
                    selector.unregister(key.fileobj)
                elif key.fileobj is process.stdout:
                    size += len(data)
                    if size > max_output_bytes:
                        raise GitFailed(root, f"it wrote more than {max_output_bytes} bytes")
                    output.append(data)
                elif error_size < _MAX_ERROR_BYTES:
                    error_size += len(data)
                    errors.append(data)
    try:
        process.wait(max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired as error:
        raise GitFailed(root, "it took too long", timed_out=True) from error
    return b"".join(output), b"".join(errors)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Leaves no process and no descriptor behind, whatever happened; git's children go with it."""
    if process.poll() is None:
        with suppress(ProcessLookupError):  # it may end between the two calls
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def user_excludes_file() -> str:
    """Path of the user's own ignore file (core.excludesFile of the user or the system, else git's default).

    Asked outside every repository, because a repository could name any file of the disk here.
    """
    try:
        # A git directory that does not exist: only the system's and the user's config are read.
        answer = safe_git(
            os.sep, "config", "--path", "--get", "core.excludesFile", git_directory=os.devnull, accept=(0, 1)
        )
    except GitFailed:
        answer = b""
    configured = os.fsdecode(answer.rstrip(b"\n"))
    if configured:
        return configured
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return os.path.join(base, "git", "ignore")
