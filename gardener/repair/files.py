"""Repairs of what lies in the home: modes, settings, folders of no project, backups, room on the disk."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from gardener.paths import translate_os_error
from gardener.projects.names import shell_word
from gardener.repair.plan import NotHere, Plan
from gardener.sizes import counted, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gardener.app import Gardener
    from gardener.health.check import Finding
    from gardener.repair.plan import Aside

_MODES = "The modes as they are, in modes.json."


def modes(gardener: Gardener, finding: Finding) -> Plan | NotHere:
    home = gardener.paths.home
    found = list(_open_to_others(home))
    return Plan(
        f"Take away what others may do with {counted(len(found), 'file or folder', 'files and folders')} in {home}.",
        _MODES,
        lambda _, aside: _close(found, aside),
    )


def tokens(gardener: Gardener, finding: Finding) -> Plan | NotHere:
    run = gardener.paths.run
    found = [path for path in _open_to_others(run) if path.endswith(".json")]

    def close(_: Gardener, aside: Aside) -> list[str]:
        return [
            *_close(found, aside),
            "who has read a token can still use it: see `gardener token list`, end each with "
            "`gardener token revoke NAME`; the app's own is new after `gardener stop` and `gardener ui`",
        ]

    return Plan(f"Close {counted(len(found), 'file')} with tokens in {run} to others.", _MODES, close)


def _open_to_others(top: str) -> Iterator[str]:
    """Files and folders that others may read, write or enter, the folders before what is in them; no links."""
    places = [top]
    for parent, folders, names in os.walk(top):
        places += [os.path.join(parent, name) for name in (*folders, *names)]
    for path in places:
        try:
            mode = os.lstat(path).st_mode
        except FileNotFoundError:
            continue
        if not stat.S_ISLNK(mode) and mode & 0o077:
            yield path


def _close(paths: list[str], aside: Aside) -> list[str]:
    before = {path: os.lstat(path).st_mode & 0o7777 for path in paths if os.path.exists(path)}
    aside.note("modes.json", {path: f"{mode:04o}" for path, mode in before.items()})
    for path, mode in before.items():
        try:
            os.chmod(path, mode & ~0o077)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise translate_os_error(error, path) from error
    return [f"{counted(len(before), 'file or folder', 'files and folders')} closed to others"]


# ---- settings ----------------------------------------------------------------------------------------


def settings(gardener: Gardener, finding: Finding) -> Plan | NotHere:
    """Takes out of the user's file what is wrong in it; a file of which nothing can be used is put aside."""
    from gardener.settings import Sources, load_good_parts
    from gardener.settings_edit import unset_value
    from gardener.settings_file import VERSION_KEY

    path = gardener.paths.config
    _, problems = load_good_parts(Sources(gardener.paths))
    own = [problem for problem in problems if problem.path == path]
    if not own:
        return NotHere("It is not set in your file, but in the environment or by a project.", finding.fix)
    if any(problem.key in ("", VERSION_KEY) for problem in own):

        def put_aside(_: Gardener, aside: Aside) -> list[str]:
            aside.copy(path)
            os.unlink(path)
            return ["the file is put aside; every setting has its default"]

        why = str(own[0]).removeprefix(path).lstrip(":, ")
        return Plan(
            f"Put {path} aside, as nothing of it can be used ({why}); all settings get their defaults.",
            "The whole file.",
            put_aside,
        )
    keys = list(dict.fromkeys(problem.key for problem in own))

    def take_out(gardener: Gardener, aside: Aside) -> list[str]:
        aside.copy(path)
        for key in keys:
            unset_value(gardener.paths, path, key)
        return [f"{key} is out of the file" for key in keys]

    return Plan(f"Take {', '.join(keys)} out of {path}; what is right in it stays.", "The whole file.", take_out)


def issues(gardener: Gardener, finding: Finding) -> Plan | NotHere:
    from gardener.health.database import asides

    found = asides(gardener.paths.health_db)

    def put_away(_: Gardener, aside: Aside) -> list[str]:
        return [f"{os.path.basename(path)} is in {aside.move(path)}" for path in found]

    return Plan(
        f"Put away {counted(len(found), 'file')} with issues from before. The new list goes on; nothing is read back.",
        "Nothing is deleted: they are moved.",
        put_away,
    )


# ---- folders and room --------------------------------------------------------------------------------


def orphans(gardener: Gardener, finding: Finding) -> Plan | NotHere:
    from gardener.disk import bytes_of, orphans, remove_orphan

    found = orphans(gardener)

    def remove(_: Gardener, aside: Aside) -> list[str]:
        done = []
        for folder in found:
            done += remove_orphan(folder)
            if os.path.exists(folder):
                done.append(f"the rest of {folder} is in {aside.move(folder)}")
        return done

    total = sum(bytes_of(folder) for folder in found)
    return Plan(
        f"Remove the indexes of {counted(len(found), 'folder')} of no project ({size(total)}).",
        "What else is in them, such as adapters, is moved, not deleted.",
        remove,
    )


def disk(gardener: Gardener, finding: Finding) -> Plan | NotHere:
    from gardener.disk import clean, disk_use

    freeable = sum(item.bytes for item in disk_use(gardener).freeable if item.how == "gardener disk --clean")
    if not freeable:
        return NotHere("Of what Gardener keeps there is nothing that nobody needs.", "gardener disk")

    def free(gardener: Gardener, _: Aside) -> list[str]:
        report = clean(gardener)
        return [*(f"removed: {what}" for what in report.done), f"{size(report.freed)} freed"]

    return Plan(f"Remove what nobody needs, about {size(freeable)}.", "Nothing: all of it can be made again.", free)


# ---- backups -----------------------------------------------------------------------------------------


def make_backup(gardener: Gardener, finding: Finding) -> Plan | NotHere:
    return Plan("Make a backup of everything.", "Nothing: it only adds.", lambda home, _: [_new_backup(home)])


def _new_backup(gardener: Gardener) -> str:
    from gardener.backup_service import BackupService

    made = BackupService(gardener).create()
    return f"backup {made.manifest.id} is made"


def prove_backup(gardener: Gardener, finding: Finding) -> Plan | NotHere:
    def prove(gardener: Gardener, _: Aside) -> list[str]:
        from gardener.backup_service import BackupService

        entry, problems, _tried = BackupService(gardener).verify(depth="restore")
        if problems:
            return [f"backup {entry.id} is damaged: {problems[0]}"]
        return [f"backup {entry.id} was restored to a scratch folder, opened and queried"]

    return Plan(
        "Restore the newest backup into a scratch folder, open and query it.",
        "Nothing: the live data is not touched.",
        prove,
    )


def damaged_backup(gardener: Gardener, finding: Finding) -> Plan | NotHere:
    from gardener.backup_service import BackupService

    store = BackupService(gardener).store
    bad = [entry for entry in store.entries() if not entry.good and finding.subject in ("", entry.id)]
    place = os.path.join(store.folder, "damaged")

    def put_aside(gardener: Gardener, _: Aside) -> list[str]:
        from gardener.paths import ensure_directory

        service = BackupService(gardener)
        done = [_new_backup(gardener)]
        newest, problems, _tried = service.verify()
        if problems:
            return [*done, f"but it is damaged, too, so nothing was moved: {problems[0]}"]
        with store.lock("gardener repair"):
            for entry in bad:
                if entry.id != newest.id and os.path.isdir(entry.path):
                    os.rename(entry.path, os.path.join(ensure_directory(place), entry.id))
                    done.append(f"the damaged backup is in {os.path.join(place, entry.id)}")
        return done

    return Plan(
        f"Make a new backup, compare its every byte, then move {counted(len(bad), 'damaged backup')} to {place}.",
        f"Nothing is deleted. When you no longer want it: rm -r {shell_word(place)}",
        put_aside,
    )
