"""Which files of a project may be indexed: by metadata only, no file's content is read.

In a git checkout git lists the files (git_listing.py), which honours every kind of ignore file; a folder
outside git, or one that git refuses, is walked here (folder_listing.py). Both hand over names; this module
decides about each of them, in the same way.

Reasons of a `Skipped`: "symlink", "not-regular" (FIFO, socket, device), "too-large", "data" (large CSV, SVG),
"vendored", "generated", "minified", "version-control", "lock-file", "binary-extension", "secret-file",
"gardener-ignored" (.gardenerignore), "excluded" (the setting), "ignored" (git's rules; if explain=True),
"unreadable", "unencodable-name", "submodule-missing", "rules-too-large" (an ignore file, not applied).
"""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from gardener.errors import PathNotFound, PermissionProblem
from gardener.index.file_names import folder_reason, is_build_output, name_verdict
from gardener.index.ignore_rules import IgnoreRules, RulesTooLarge, excluded, read_rules
from gardener.index.safe_read import FileEntry, SkippedFile, TreeReader, read_file

__all__ = ["FileEntry", "Skipped", "SkippedFile", "TreeReader", "Walk", "WalkResult", "read_file", "walk"]

RULES_FILE = ".gardenerignore"


class Skipped(NamedTuple):
    """A file or folder (`path` ends with "/") that is left out, and why."""

    path: str
    """Relative to the root; bytes that are not UTF-8 are shown as escapes."""
    reason: str
    """A stable code, see the module's documentation."""
    detail: str
    """For people."""


class WalkResult(NamedTuple):
    files: list[FileEntry]
    """Sorted by path."""
    skipped: list[Skipped]
    """Sorted by path. A folder stands for everything in it."""
    ignored_listed: bool
    """Whether `skipped` also names what git's ignore rules left out."""
    listed_by: str = "folder"
    """"git" or "folder": who listed the root itself."""
    notes: tuple[str, ...] = ()
    """What the user should know about the listing, such as why git could not be asked."""
    folders: tuple[str, ...] = ()
    """Folders that were looked into ("" is the root), where new files may turn up. Empty ones are not known to git."""


class _Folder(NamedTuple):
    """What was decided about a folder, for the files in it."""

    skipped_as: str
    """Path of the outermost skipped folder, with "/"; "" when files in it are considered."""
    only_tracked: str
    """Path of the build output folder, with "/", whose untracked files are skipped; "" when there is none."""
    rules: tuple[IgnoreRules, ...]


def walk(
    root: str,
    *,
    max_file_bytes: int,
    exclude: tuple[str, ...] = (),
    include_vendored: bool = False,
    explain: bool = False,
) -> WalkResult:
    """Lists the candidate files of the folder `root`, which may lie inside a git checkout.

    `exclude` are gitignore patterns relative to the root. `include_vendored` keeps folders of other people's code
    (vendor, node_modules and the like). `explain` adds what git's ignore rules left out,
    with folders collapsed; it costs a second look at the tree. Raises PathNotFound when the root is not a
    folder, and PermissionProblem when it cannot be listed; whatever cannot be below it is a `Skipped`.
    """
    from gardener.index.folder_listing import list_folder
    from gardener.index.git_listing import GitListing

    root = os.path.realpath(root)
    try:
        with os.scandir(root):
            pass
    except (FileNotFoundError, NotADirectoryError) as error:
        raise PathNotFound(f"{root} is not a folder.", next_step=f'ls -ld "{root}"') from error
    except OSError as error:
        raise PermissionProblem(
            f"{root} cannot be listed: {error.strerror or error}.", next_step=f'ls -ld "{root}"'
        ) from error
    state = Walk(root, max_file_bytes, exclude, explain, include_vendored)
    git = GitListing(state)
    listed_by = ""
    # Repositories inside (submodules, clones) are listed by themselves, after the one that holds them.
    while state.nested:
        prefix = state.nested.pop()
        by_git = git.list_tree(prefix)
        if not by_git:
            list_folder(state, prefix)
        listed_by = listed_by or ("git" if by_git else "folder")
    return state.result(listed_by)


class Walk:
    """One walk in progress: what was found so far, and what was decided about each folder."""

    def __init__(
        self,
        root: str,
        max_file_bytes: int,
        exclude: tuple[str, ...],
        explain: bool,
        include_vendored: bool = False,
    ) -> None:
        self.root = root
        self.include_vendored = include_vendored
        self.base = root.rstrip("/") + "/"
        self.max_file_bytes = max_file_bytes
        self.explain = explain
        self.nested: list[str] = [""]
        """Prefixes ("" or "folder/") of trees still to be listed."""
        self.notes: list[str] = []
        self._seen_trees: set[str] = {""}
        self._files: dict[str, FileEntry] = {}
        self._skipped: dict[str, Skipped] = {}
        self._collapsed: dict[str, int] = {}
        self._folders: dict[str, _Folder] = {}
        self._exclude = IgnoreRules(exclude) if exclude else None
        top = self._own_rules("", ())
        self._folders[""] = _Folder("", "", top)

    # ---- what the listings report --------------------------------------------------------------------

    def add_names(self, prefix: str, names: list[str], tracked: bool) -> None:
        """Considers names that git listed, relative to `prefix`. A name that ends in "/" is a repository."""
        base, folders, lstat = self.base, self._folders, os.lstat
        try:
            "\0".join(names).encode()
            encodable = True
        except UnicodeEncodeError:
            encodable = False
        for name in names:
            path = prefix + name
            if not encodable and not _is_encodable(path):
                self._skip_unencodable(path)
                continue
            parent, _, file = path.rpartition("/")
            if not file:
                self.add_tree(path)
                continue
            folder = folders.get(parent) or self._folder(parent)
            if folder.skipped_as:
                if folder.skipped_as in self._collapsed:
                    self._collapsed[folder.skipped_as] += 1
                continue
            try:
                status = lstat(base + path)
            except OSError as error:
                self._unreadable(path, error)
                continue
            if status.st_mode & _TYPE_BITS == _FOLDER:  # a folder in the index is a submodule
                self.add_tree(path + "/")
            else:
                self._consider(path, file, folder, status, tracked)

    def add_entry(self, path: str, name: str, status: os.stat_result) -> None:
        """Considers a file that the walk of a folder found; its folder has been entered."""
        if _is_encodable(path):
            self._consider(path, name, self._folders[path.rpartition("/")[0]], status, False)
        else:
            self._skip_unencodable(path)

    def add_tree(self, path: str) -> None:
        """Queues a repository inside the project; `path` ends with "/"."""
        if path in self._seen_trees:
            return
        self._seen_trees.add(path)
        if self.enter(path[:-1]):
            if os.path.lexists(f"{self.base}{path}.git"):
                self.nested.append(path)
            else:
                self.skip(path, "submodule-missing", "not checked out: git submodule update --init")

    def enter(self, path: str) -> bool:
        """Whether the folder `path` (no "/" at its end) is to be looked into; if not, it is reported here."""
        if not _is_encodable(path):
            self._skip_unencodable(path + "/")
            return False
        folder = self._folder(path)
        # Nothing is tracked as far as this caller knows, so an output folder is not entered either.
        if folder.only_tracked and not folder.skipped_as:
            self.skip(folder.only_tracked, "generated", "build output")
        return not folder.skipped_as and not folder.only_tracked

    def skip(self, path: str, reason: str, detail: str) -> None:
        if not _is_encodable(path):
            path = _shown(path)
        self._skipped.setdefault(path, Skipped(path, reason, detail))

    def skip_ignored(self, path: str) -> None:
        self.skip(path, "ignored", "left out by git's ignore rules")

    def result(self, listed_by: str) -> WalkResult:
        for path, count in self._collapsed.items():
            found = self._skipped[path]
            if count:
                noun = "file" if count == 1 else "files"
                self._skipped[path] = found._replace(detail=f"{found.detail}; {count:,} {noun}")
        return WalkResult(
            [self._files[path] for path in sorted(self._files)],
            [self._skipped[path] for path in sorted(self._skipped)],
            self.explain,
            listed_by,
            tuple(self.notes),
            tuple(path for path, folder in self._folders.items() if not folder.skipped_as),
        )

    # ---- deciding ------------------------------------------------------------------------------------

    def _consider(self, path: str, name: str, folder: _Folder, status: os.stat_result, tracked: bool) -> None:
        mode = status.st_mode & _TYPE_BITS
        if mode != _REGULAR:
            self.skip(path, *_NOT_A_FILE.get(mode, ("not-regular", "not a regular file")))
            return
        if folder.only_tracked and not tracked:
            self._skip_output(folder.only_tracked)
            return
        reason, data_limit = name_verdict(name)
        size = status.st_size
        if reason is not None:
            self.skip(path, reason, _DETAILS[reason])
        elif folder.rules and excluded(folder.rules, path, False):
            self.skip(path, "gardener-ignored", f"left out by {RULES_FILE}")
        elif self._exclude is not None and self._exclude.decide(path, False):
            self.skip(path, "excluded", "left out by the setting index.exclude")
        elif size > self.max_file_bytes:
            self.skip(path, "too-large", f"{size:,} bytes; the limit is {self.max_file_bytes:,}")
        elif 0 <= data_limit < size:
            self.skip(path, "data", f"{size:,} bytes; the limit for this format is {data_limit:,}")
        else:
            self._files[path] = FileEntry(path, size, status.st_mtime_ns)

    def _skip_output(self, output: str) -> None:
        if output not in self._skipped:
            self.skip(output, "generated", "build output that is not tracked")
            self._collapsed[output] = 0
        if output in self._collapsed:
            self._collapsed[output] += 1

    def _folder(self, path: str) -> _Folder:
        """What is decided about a folder, after everything above it; remembered."""
        missing = []
        while (known := self._folders.get(path)) is None:
            missing.append(path)
            path = path.rpartition("/")[0]
        for path in reversed(missing):
            known = self._decide_folder(path, known)
            self._folders[path] = known
        return known

    def _decide_folder(self, path: str, parent: _Folder) -> _Folder:
        if parent.skipped_as:
            return parent
        above, _, name = path.rpartition("/")
        shown = path + "/"
        try:
            mode = os.lstat(self.base + path).st_mode
        except OSError as error:
            self._unreadable(shown, error)
            return _Folder(shown, "", ())
        if not stat.S_ISDIR(mode):
            # The index says that files lie below it, the disk says that it is something else.
            if stat.S_ISLNK(mode):
                self.skip(path, "symlink", "symbolic links are not followed")
            return _Folder(shown, "", ())
        reason = folder_reason(self.base + above, name)
        if reason is not None and not (reason == "vendored" and self.include_vendored):
            return self._skip_folder(shown, reason, _FOLDER_DETAILS[reason])
        if parent.rules and excluded(parent.rules, path, True):
            return self._skip_folder(shown, "gardener-ignored", f"left out by {RULES_FILE}")
        if self._exclude is not None and self._exclude.decide(path, True):
            return self._skip_folder(shown, "excluded", "left out by the setting index.exclude")
        only_tracked = parent.only_tracked
        if not only_tracked and is_build_output(self.base + above, name):
            only_tracked = shown
        return _Folder("", only_tracked, self._own_rules(shown, parent.rules))

    def _own_rules(self, prefix: str, rules: tuple[IgnoreRules, ...]) -> tuple[IgnoreRules, ...]:
        file = f"{self.base}{prefix}{RULES_FILE}"
        if not os.access(file, os.F_OK):
            return rules
        try:
            own = read_rules(file, prefix, in_force=sum(above.count for above in rules))
        except RulesTooLarge:
            self.skip(prefix + RULES_FILE, "rules-too-large", "too many rules; they are not applied")
            return rules
        return (*rules, own) if own is not None else rules

    def _skip_folder(self, shown: str, reason: str, detail: str) -> _Folder:
        self.skip(shown, reason, detail)
        self._collapsed[shown] = 0
        return _Folder(shown, "", ())

    def _skip_unencodable(self, path: str) -> None:
        self.skip(path, "unencodable-name", "the name is not valid UTF-8")

    def _unreadable(self, path: str, error: OSError) -> None:
        # What is in git's index and not on the disk was deleted or is outside the sparse checkout.
        if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
            self.skip(path, "unreadable", error.strerror or str(error))


_TYPE_BITS = 0o170000
_REGULAR = stat.S_IFREG
_FOLDER = stat.S_IFDIR
_NOT_A_FILE = {
    stat.S_IFLNK: ("symlink", "symbolic links are not followed"),
    stat.S_IFIFO: ("not-regular", "a FIFO"),
    stat.S_IFSOCK: ("not-regular", "a socket"),
    stat.S_IFBLK: ("not-regular", "a device"),
    stat.S_IFCHR: ("not-regular", "a device"),
}
_DETAILS = {
    "secret-file": "files of this name usually hold credentials",
    "lock-file": "written by a package manager",
    "binary-extension": "a binary format",
    "generated": "written by a program",
    "minified": "minified",
}
_FOLDER_DETAILS = {
    "vendored": "other people's code",
    "generated": "a cache or build output",
    "version-control": "a version control system's own data",
}


def _is_encodable(path: str) -> bool:
    if path.isascii():
        return True
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(path: str) -> str:
    return path.encode("utf-8", "backslashreplace").decode()
