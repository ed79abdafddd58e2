"""`gardener backup`: make, list, prove, restore, thin out, export and import backups."""

from __future__ import annotations

from gardener.cli.console import Console, size
from gardener.cli.target import add_project_option, open_gardener
from gardener.errors import BackupDamaged, Interrupted, UsageError
from gardener.projects.names import shell_word
from gardener.sizes import counted

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from gardener.backup.store import Entry
    from gardener.backup_service import BackupService, RestoredPart, Trial

_ACTIONS = ("create", "list", "show", "verify", "restore", "prune", "drill", "copy", "export", "import")
_WITH_ID = ("show", "verify", "restore", "drill", "copy")
_WITH_FILE = ("export", "import")


def configure_backup(parser: argparse.ArgumentParser) -> None:
    parser.epilog = """A backup holds projects, settings, conversations, adapters, evaluations and indexes. Models,
shared vectors and logs are left out, and so are tokens of the running app and keys in the keyring.

examples:
  gardener backup create                     what has not changed takes no room twice
  gardener backup list
  gardener backup verify                     the newest, byte by byte; --depth restore also opens and queries it
  gardener backup restore                    the newest good one; the state from before is kept
  gardener backup restore 12                 the one with that number
  gardener backup restore --undo             back to the state from before
  gardener backup restore --confirm          delete the state from before
  gardener backup restore --project shop     that project alone; what it replaces is saved first
  gardener backup restore --conversation 1f2e3d4c
  gardener backup export shop.tar.gz --project shop        one file, for another machine
  gardener backup export all.age --encrypt                 the key goes into the keyring, and is shown once
  gardener backup import shop.tar.gz --root ~/code/shop    where its code lies there
  gardener backup drill                      restores one into a scratch folder, queries and compares it
  gardener backup copy                       to the folder of the setting backup.second_folder
  gardener backup prune --dry-run            what the settings backup.keep_… would delete
"""
    parser.add_argument("action", choices=_ACTIONS, metavar="ACTION", help=", ".join(_ACTIONS))
    parser.add_argument("target", nargs="?", default="", metavar="ID|FILE", help="a backup's id or number; a file")
    parser.add_argument("--id", default="", metavar="ID", help="export: this backup instead of the newest good one")
    parser.add_argument("--encrypt", action="store_true", help="export: only the holder of a key can read it (age)")
    parser.add_argument("--key-file", default="", metavar="FILE", help="export, import: the key, if not in the keyring")
    parser.add_argument("--conversation", default="", metavar="ID", help="restore: that conversation alone")
    parser.add_argument(
        "--root", default="", metavar="DIR", help="restore and import of a project: where its code lies"
    )
    parser.add_argument(
        "--depth", choices=("present", "hashes", "restore"), default="hashes",
        help="verify: the files are there; are what was written (default); a restored copy opens and answers",
    )  # fmt: skip
    parser.add_argument("--undo", action="store_true", help="restore: back to the state from before the last restore")
    parser.add_argument("--confirm", action="store_true", help="restore: delete the state from before")
    parser.add_argument("--dry-run", action="store_true", help="prune: only tell")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    add_project_option(parser)
    parser.set_defaults(run=backup)


def backup(args: argparse.Namespace, console: Console) -> int:
    if args.action in _WITH_FILE and not args.target:
        raise UsageError(f"`backup {args.action}` needs a file.", next_step="gardener backup --help")
    if args.target and args.action not in (*_WITH_ID, *_WITH_FILE):
        raise UsageError(f"`backup {args.action}` takes no id.", next_step="gardener backup --help")
    from gardener.backup_service import BackupService

    with open_gardener(console) as gardener:
        return _RUN[args.action](BackupService(gardener), console, args)


def _create(service: BackupService, console: Console, args: argparse.Namespace) -> int:
    from gardener.backup import second

    made = service.create(args.project or "")
    place = service.second
    copied = place is not None and second.is_present(place.folder)
    if not console.as_json:
        found = made.manifest
        console.line(
            f"{found.id}  {size(found.total_bytes)} in {counted(len(found.files), 'file')}, {size(made.written)} new"
        )
        console.line(made.path)
    for reason in made.manifest.left_out:
        if reason.startswith("index of"):
            console.note(f"Left out: {reason}")
    if place and copied:
        service.copy(made.manifest.id)
    if console.as_json:
        console.json({**made.as_json(), "copied_to": place.folder if place and copied else None})
    if place and copied:
        console.note(f"Copied to {place.folder}.")
    elif place:
        console.note(
            f"Not copied to backup.second_folder: {place.folder} is not there. Connect its disk, or make the folder, "
            "then: gardener backup copy"
        )
    return 0


def _list(service: BackupService, console: Console, args: argparse.Namespace) -> int:
    entries = service.store.entries()
    if console.as_json:
        console.json({"folder": service.store.folder, "backups": [entry.as_json() for entry in entries]})
        return 0
    if not entries:
        console.line(f"There are no backups in {service.store.folder}.")
        console.note("Next: gardener backup create")
        return 0
    console.table([_row(entry) for entry in entries], ["id", "of", "size", "files", "proof"])
    return 0


def _row(entry: Entry) -> dict[str, str]:
    found = entry.manifest
    if found is None:
        return {"id": entry.id, "of": "?", "size": "", "files": "", "proof": entry.problem}
    of = "everything" if found.kind == "home" else f"project {found.projects[0].name}"
    if found.note:
        of = f"{of}, {found.note}"
    if found.imported:
        of = f"{of}, imported"
    return {
        "id": entry.id, "of": of, "size": size(found.total_bytes), "files": f"{len(found.files):,}",
        "proof": _proof(entry),
    }  # fmt: skip


def _proof(entry: Entry) -> str:
    import time

    if entry.proof is None:
        return "not proved yet"
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.proof["at"]))
    if not entry.proof["ok"]:
        return f"DAMAGED, seen {when}"
    return f"{entry.proof['depth']}, {when}"


def _show(service: BackupService, console: Console, args: argparse.Namespace) -> int:
    entry = service.store.find(args.target)
    if entry.manifest is None:
        raise BackupDamaged(entry.problem, next_step="gardener backup list")
    if console.as_json:
        console.json({**entry.as_json(), "manifest": entry.manifest.as_json()})
        return 0
    found = entry.manifest
    came = "; imported" if found.imported else ""
    console.line(f"{found.id}  made by Gardener {found.gardener}, schema {found.state_schema}{came}")
    console.line(f"  folder  {entry.path}")
    console.line(f"  size    {size(found.total_bytes)} in {counted(len(found.files), 'file')}")
    console.line(f"  proof   {_proof(entry)}")
    for project in found.projects:
        index = project.index_problem or counted(project.chunks, "chunk")
        where = " (in the trash)" if project.removed else ""
        console.line(
            f"  project {project.name}{where}: {counted(project.conversations, 'conversation')}; index: {index}"
        )
    for reason in found.left_out:
        console.line(f"  without {reason}")
    return 0


def _verify(service: BackupService, console: Console, args: argparse.Namespace) -> int:
    entry, problems, tried = service.verify(args.target, args.depth)
    if console.as_json:
        console.json({
            "id": entry.id, "path": entry.path, "depth": args.depth, "ok": not problems, "problems": problems,
            "trial": tried.as_json() if tried else None,
        })  # fmt: skip
    if problems:
        raise BackupDamaged(
            f"Backup {entry.id} is damaged: {'; '.join(problems[:5])}"
            + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
            + ".",
            next_step="gardener backup create",
        )
    console.line_unless_json(f"{entry.id} is whole ({_depth_words(args.depth)}).")
    if tried:
        console.line_unless_json(_tried(tried))
    return 0


def _depth_words(depth: str) -> str:
    return {
        "present": "every file is there", "hashes": "every byte is what was written",
        "restore": "restored to a scratch folder, opened and queried",
    }[depth]  # fmt: skip


def _tried(tried: Trial) -> str:
    answered = sum(1 for probe in tried.probes if probe.hits)
    return (
        f"{counted(tried.projects, 'project')}, {counted(tried.conversations, 'conversation')} with "
        f"{counted(tried.messages, 'message')}, "
        f"{counted(tried.chunks, 'chunk')}; {answered} of {counted(len(tried.probes), 'query', 'queries')} answered."
    )


def _restore(service: BackupService, console: Console, args: argparse.Namespace) -> int:
    if sum(map(bool, (args.undo, args.confirm, args.project or args.conversation or args.target))) > 1:
        raise UsageError(
            "--undo, --confirm and what to restore exclude each other.", next_step="gardener backup --help"
        )
    if args.project or args.conversation:
        return _restore_part(service, console, args)
    if args.confirm:
        removed = service.confirm()
        if console.as_json:
            console.json({"removed": removed})
        console.line_unless_json(
            f"Deleted: {counted(len(removed), 'kept state')}." if removed else "No state from before a restore is kept."
        )
        return 0
    if args.undo:
        back, kept = service.undo()
        if console.as_json:
            console.json({"restored": back, "kept": kept})
        console.line_unless_json(f"The state from before is back. What it replaced is kept in {kept}.")
        return 0
    entry = service.store.find(args.target, imported=True)
    named = f"{entry.id}, which was imported" if entry.imported else entry.id
    if not (args.yes or console.confirm(f"Replace everything in {service.paths.home} by backup {named}?")):
        if console.interactive:
            raise Interrupted("Nothing was changed.", next_step="gardener backup list")
        raise UsageError(
            f"Restoring replaces everything in {service.paths.home}. Say --yes.",
            next_step=f"gardener backup restore {entry.id} --yes",
        )
    found = entry.manifest
    done = service.restore(entry.id)
    if console.as_json:
        console.json(done.as_json())
        return 0
    console.line(f"{done.id} is in place. {_tried(done.trial)}")
    for project in found.projects if found else ():
        if project.index_problem and not project.removed:
            again = f"gardener index --project {shell_word(project.name)}"
            console.note(f"The backup has no index of {project.name}; it is made again by: {again}")
    console.note(f"The state from before is kept in {done.old}.")
    console.note("If all is well: gardener backup restore --confirm. If not: gardener backup restore --undo")
    return 0


def _restore_part(service: BackupService, console: Console, args: argparse.Namespace) -> int:
    if args.conversation:
        done = service.restore_conversation(args.conversation, args.target)
    else:
        done = service.restore_project(args.project, args.target, args.root)
    if console.as_json:
        console.json(done.as_json())
        return 0
    _say_restored(console, done)
    return 0


def _say_restored(console: Console, done: RestoredPart) -> None:
    if done.trial is None:
        console.line(f"The conversation is as in {done.id}, in project {done.project}.")
    else:
        console.line(f"{done.project} is as in {done.id}; conversations added: {done.conversations:,}.")
    if done.saved:
        console.note(f"What was there before is backup {done.saved}.")


def _drill(service: BackupService, console: Console, args: argparse.Namespace) -> int:
    done = service.drill(args.target)
    if console.as_json:
        console.json(done.as_json())
    if done.problems:
        raise BackupDamaged(
            f"Backup {done.id} would not bring everything back: {'; '.join(done.problems[:5])}.",
            next_step="gardener backup create",
        )
    if done.trial and not console.as_json:
        console.line(f"{done.id} brings everything back. {_tried(done.trial)}")
        for one in done.compared:
            since = ", which was updated since" if one.changed else ""
            console.line(
                f"  {one.project}: {one.shared:.0%} of the places found are those of the live index{since}"
                if not one.problem
                else f"  {one.project}: the live index could not be asked: {one.problem}"
            )
    return 0


def _copy(service: BackupService, console: Console, args: argparse.Namespace) -> int:
    entry, written = service.copy(args.target)
    folder = service.second.folder if service.second else ""
    if console.as_json:
        console.json({"id": entry.id, "folder": folder, "written_bytes": written})
    console.line_unless_json(f"{entry.id} is in {folder}; {size(written)} were new there.")
    return 0


def _export(service: BackupService, console: Console, args: argparse.Namespace) -> int:
    key = None
    if args.encrypt or args.key_file:
        from gardener.backup.encryption import key_for_writing

        key = key_for_writing(args.key_file)
        if key.new:  # whatever --quiet says: without it the archive is lost with this machine
            place = args.key_file or "the system's keyring"
            console.stderr.write(f"Recovery key, also in {place}. Write it down and keep it apart:\n  {key.secret}\n")
    entry, count = service.export(args.target, args.id, args.project or "", key=key)
    if console.as_json:
        console.json({"id": entry.id, "file": args.target, "bytes": count})
        return 0
    console.line(f"{args.target}  {size(count)}, backup {entry.id}")
    console.note(f"On the other machine: gardener backup import {args.target}")
    return 0


def _import(service: BackupService, console: Console, args: argparse.Namespace) -> int:
    import os

    entry, done = service.import_archive(args.target, args.root, args.key_file)
    if console.as_json:
        console.json({**entry.as_json(), "restored": done.as_json() if done else None})
        return 0
    console.line(f"{args.target} is backup {entry.id} here.")
    if done is None:
        console.note(f"Next: gardener backup restore {entry.id}")
        return 0
    _say_restored(console, done)
    root = next((project.root for project in entry.manifest.projects), "") if entry.manifest else ""
    if not args.root and not os.path.isdir(root):
        console.note(f"Its code was in {root}, which is not here. Where it is: gardener move {done.project} PATH")
    return 0


def _prune(service: BackupService, console: Console, args: argparse.Namespace) -> int:
    gone = service.prune(dry_run=args.dry_run)
    if console.as_json:
        console.json({"deleted": [entry.id for entry in gone], "dry_run": args.dry_run})
        return 0
    for entry in gone:
        console.line(entry.id)
    word = "would be deleted" if args.dry_run else "were deleted"
    console.note(f"{len(gone)} backups {word}." if gone else "Nothing to delete: the policy keeps every backup.")
    return 0


_RUN: dict[str, Callable[[BackupService, Console, argparse.Namespace], int]] = {
    "create": _create, "list": _list, "show": _show, "verify": _verify, "restore": _restore, "prune": _prune,
    "drill": _drill, "copy": _copy, "export": _export, "import": _import,
}  # fmt: skip
