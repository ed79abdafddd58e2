"""Listing the files of a folder without git: outside a checkout, or where git is missing or refuses."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from gardener.index.git_listing import checkout_of
from gardener.index.ignore_rules import IgnoreRules, RulesTooLarge, excluded, read_rules

if TYPE_CHECKING:
    from gardener.index.walk import Walk

RULES_FILE = ".gitignore"


class _Pending(NamedTuple):
    path: str
    """Relative to the walk's root, without "/" at its end."""
    rules: tuple[IgnoreRules, ...]


def list_folder(walk: Walk, prefix: str) -> None:
    """Reports the files of the tree at `prefix` ("" or "folder/") to the walk.

    Honours nested .gitignore files and .git/info/exclude. Links are not followed, so there are no cycles; the
    stack is a list, so depth is bounded by the disk only. A repository inside is queued for itself.
    """
    top = prefix.rstrip("/")
    stack = [_Pending(top, _inherited_rules(walk, prefix))]
    while stack:
        folder = stack.pop()
        inside = folder.path + "/" if folder.path else ""
        try:
            with os.scandir(walk.base + inside) as entries:
                listed = list(entries)
        except OSError as error:
            if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
                walk.skip(inside or "./", "unreadable", error.strerror or str(error))
            continue
        names = {entry.name for entry in listed}
        if ".git" in names and folder.path != top:
            walk.add_tree(inside)
            continue
        rules = folder.rules
        if RULES_FILE in names:
            rules = _extended(walk, rules, f"{walk.base}{inside}{RULES_FILE}", inside)
        for entry in listed:
            if entry.name == ".git":
                continue
            path = inside + entry.name
            try:
                is_folder = entry.is_dir(follow_symlinks=False)
                if rules and excluded(rules, path, is_folder):
                    if walk.explain:
                        walk.skip_ignored(path + "/" if is_folder else path)
                elif not is_folder:
                    walk.add_entry(path, entry.name, entry.stat(follow_symlinks=False))
                elif walk.enter(path):
                    stack.append(_Pending(path, rules))
            except OSError as error:
                if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
                    walk.skip(path, "unreadable", error.strerror or str(error))


def _inherited_rules(walk: Walk, prefix: str) -> tuple[IgnoreRules, ...]:
    """The rules from outside the tree that apply to it: the repository's, and those of the folders above.

    None when they exclude the whole tree: then it is no part of that repository, but a project of its own.
    """
    folder = (walk.base + prefix).rstrip("/") or "/"
    checkout = checkout_of(folder) if prefix == "" else folder
    if checkout is None:
        return ()
    above = os.path.relpath(folder, checkout).split(os.sep) if folder != checkout else []
    files = [os.path.join(checkout, ".git", "info", "exclude")]
    files += [os.path.join(checkout, *above[:depth], RULES_FILE) for depth in range(len(above))]
    from_checkout: tuple[IgnoreRules, ...] = ()
    rules: tuple[IgnoreRules, ...] = ()
    for depth, file in enumerate(files, start=-1):
        # The same file twice: for paths from the checkout's top, and for paths from the walk's root.
        steps = above[: max(0, depth)]
        from_checkout = _extended(walk, from_checkout, file, "".join(step + "/" for step in steps))
        rules = _extended(walk, rules, file, prefix, "/".join(above[max(0, depth) :]))
        if depth >= 0 and excluded(from_checkout, "/".join(above[: depth + 1]), True):
            return ()
    return rules


def _extended(
    walk: Walk, rules: tuple[IgnoreRules, ...], file: str, base: str, below: str = ""
) -> tuple[IgnoreRules, ...]:
    try:
        own = read_rules(file, base, below=below, in_force=sum(above.count for above in rules))
    except RulesTooLarge:
        walk.notes.append(f"{file} has too many rules; they are not applied.")
        return rules
    return (*rules, own) if own is not None else rules
