"""From what the user typed to a project's root folder, and how two roots relate."""

from __future__ import annotations

import errno
import os
import stat

from gardener.errors import GardenerError, InvalidPath, PathNotFound, PermissionProblem, UsageError
from gardener.projects.names import shell_word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    Relation = Literal["same", "inside", "around", ""]


def resolve_root(path: str, gardener_home: str, *, force: bool = False) -> str:
    """The absolute, resolved path of the folder that `path` names.

    `force` allows the root of the file system and the user's whole home folder, which are refused otherwise
    because they are nearly always a mistake. Raises PathNotFound, InvalidPath or PermissionProblem.
    """
    if not path.strip():
        raise UsageError("The path of a project is empty.", next_step="gardener add PATH")
    if "\0" in path:
        raise InvalidPath(f"{path!r} contains a NUL character, so no folder is called that.")
    if path.startswith("~") and not os.path.lexists(path):
        path = os.path.expanduser(path)
    root = os.path.realpath(path)
    try:
        root.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidPath(
            f"The name of {root!r} is not valid UTF-8, so it cannot be shown or stored. Rename the folder.",
            next_step="gardener add PATH",
        ) from error
    _require_readable_folder(path, root)
    if not force:
        _refuse_too_wide(root)
    if relation(root, gardener_home) in ("same", "inside"):
        raise InvalidPath(
            f"{root} is inside Gardener's own data folder ({gardener_home}), which cannot be a project.",
            next_step="gardener add PATH",
        )
    return root


def relation(root: str, other: str) -> Relation:
    """How `root` lies to `other`: the same folder, inside it, around it, or "" for neither.

    Compared by device and inode, so that another spelling (a symbolic link, another case on a file system
    that ignores case, a bind mount) does not hide it. A folder that does not exist is compared by its path.
    """
    mine, theirs = _identity(root), _identity(other)
    if root == other or (mine is not None and mine == theirs):
        return "same"
    if _is_below(root, other, theirs):
        return "inside"
    if _is_below(other, root, mine):
        return "around"
    return ""


def _is_below(path: str, ancestor: str, identity: tuple[int, int] | None) -> bool:
    folder = os.path.dirname(path)
    while True:
        if folder == ancestor or (identity is not None and _identity(folder) == identity):
            return True
        parent = os.path.dirname(folder)
        if parent == folder:
            return False
        folder = parent


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None  # missing, or not ours to see: compared by path
    return (found.st_dev, found.st_ino)


def _require_readable_folder(path: str, root: str) -> None:
    try:
        mode = os.stat(root).st_mode
        if stat.S_ISDIR(mode):
            # Listing is the proof: access(2) answers for the real user, and not for macOS's privacy grants.
            with os.scandir(root) as entries:
                next(entries, None)
            if os.access(root, os.X_OK):
                return
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), root)
    except OSError as error:
        raise _path_problem(error, path, root) from error
    raise InvalidPath(
        f"{root} is {_kind(mode)}, not a folder.",
        next_step=f"gardener add {shell_word(os.path.dirname(root))}",
    )


def _path_problem(error: OSError, path: str, root: str) -> GardenerError:
    if error.errno == errno.ENOENT:
        existing = os.path.dirname(root)
        while not os.path.isdir(existing):
            existing = os.path.dirname(existing)
        return PathNotFound(f"There is no folder {root}.", next_step=f"ls {shell_word(existing)}")
    if error.errno in (errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG):
        return InvalidPath(f"{path} is not a folder: {error.strerror}.", next_step="gardener add PATH")
    return PermissionProblem(f"{root} cannot be read: {error.strerror}.", next_step=f"ls -ld {shell_word(root)}")


def _refuse_too_wide(root: str) -> None:
    home = os.path.realpath(os.path.expanduser("~"))
    if root == "/":
        what = "the whole file system"
    elif relation(root, home) in ("same", "around"):
        what = "your whole home folder" if relation(root, home) == "same" else "a folder around your home folder"
    else:
        return
    raise InvalidPath(
        f"{root} is {what}, which is hardly one project. Name the folder of the project itself.",
        next_step=f"gardener add {shell_word(root)} --force",
    )


def _kind(mode: int) -> str:
    if stat.S_ISREG(mode):
        return "a file"
    return "a device" if stat.S_ISBLK(mode) or stat.S_ISCHR(mode) else "a special file"
