"""`gardener upgrade` and `gardener rollback`: another version in force, tried on a copy of the data first."""

from __future__ import annotations

from gardener.cli.console import Console, duration
from gardener.errors import Interrupted, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gardener.upgrade_service import UpgradeService


def configure_upgrade(parser: argparse.ArgumentParser) -> None:
    parser.epilog = """examples:
  gardener upgrade --check               which version is in force, and which could be had
  gardener upgrade                       from where this installation came: that folder, wheel or package
  gardener upgrade --from ~/src/gardener         a checkout; or a wheel, or a requirement for pip
  gardener upgrade --from gardener-0.2.0-py3-none-any.whl
  gardener upgrade --to 0.2.0
  gardener rollback                      back to the version before

The new version is made beside the old one and tried on a restored backup; only what starts and answers as before takes
its place. Otherwise, and when the live app does not answer afterwards, the old one goes on. An installation from a
folder or wheel asks no package index, unless you say --index.
"""
    parser.add_argument("--check", action="store_true", help="only say which version could be had")
    parser.add_argument("--to", default="", metavar="VERSION", help="this version")
    parser.add_argument("--from", dest="source", default="", metavar="WHERE", help="a folder, a wheel, a requirement")
    parser.add_argument("--index", action="store_true", help="let pip ask its package index for what is missing")
    parser.set_defaults(run=upgrade)


def configure_rollback(parser: argparse.ArgumentParser) -> None:
    import argparse as library

    parser.epilog = """examples:
  gardener rollback                      to the version before the last upgrade; asks first
  gardener rollback --yes

The data stays as it is while the older version can read it. When it cannot, the backup from before the upgrade is
restored and what was made since, conversations too, is carried over; what cannot be is named, and the newer state is
kept aside.
"""
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--state-from", default="", metavar="ID", help=library.SUPPRESS)
    parser.set_defaults(run=rollback)


def upgrade(args: argparse.Namespace, console: Console) -> int:
    from gardener.health.ledger import running_monitor

    service = _service(console)
    if args.check:
        found = service.look(args.source, args.to)
        if console.as_json:
            console.json(found)
            return 0
        console.line(f"in force   {found['current']}")
        console.line(f"available  {found['available'] or 'unknown: where this came from is not recorded (--from)'}")
        console.line(f"before     {found['previous'] or 'none'}")
        if found["unfinished"]:
            console.note("An upgrade is unfinished. Finish or undo it: gardener upgrade")
        elif found["available"] not in (None, found["current"]):
            console.note("Next: gardener upgrade")
        return 0
    monitor = running_monitor(service.paths)
    done = service.upgrade(args.source, args.to, allow_index=args.index)
    if done.changed:
        _note_old_monitor(service, monitor, console)
    if console.as_json:
        console.json(done.as_json())
        return 0
    if not done.changed:
        console.line(f"Version {done.new} is in force already.")
        return 0
    console.line(f"Version {done.new} is in force; it was {done.old}.")
    console.note(f"On a copy it answered {done.questions} questions as {done.old} did. Backup: {done.backup or 'none'}")
    if done.url:
        console.note(f"The app is back at {done.url} after {duration(done.down_s)}.")
    for version in done.pruned:
        console.note(f"Version {version} was deleted.")
    console.note("If it is not what you want: gardener rollback")
    return 0


def rollback(args: argparse.Namespace, console: Console) -> int:
    if args.state_from:
        return _restore_state(args.state_from, console)
    from gardener.health.ledger import running_monitor

    service = _service(console)
    backup, previous = "", "the version before"
    if (unfinished := service.unfinished()) is not None:
        console.note(f"The {unfinished.kind} to {unfinished.new} was interrupted; that is settled first.")
    else:
        current, previous, backup = service.plan_rollback()
        console.note(f"Version {previous} would take the place of {current}.")
    if backup:
        console.note(
            f"It cannot read the data as it is now: backup {backup} is restored, what was made since is carried over "
            "as far as it can be (conversations, projects, settings), and the state as it is now is kept."
        )
    elif unfinished is None:
        console.note("It can read the data as it is now, so nothing of it changes: conversations made since stay.")
    if not (args.yes or console.confirm(f"Go back to {previous}?")):
        if console.interactive:
            raise Interrupted("Nothing was changed.", next_step="gardener status")
        raise UsageError(
            f"Going back to {previous} ends the app for a moment. Say --yes.", next_step="gardener rollback --yes"
        )
    monitor = running_monitor(service.paths)
    done = service.roll_back()
    _note_old_monitor(service, monitor, console)
    if console.as_json:
        console.json(done.as_json())
        return 0
    console.line(f"Version {done.new} is in force" + (f"; it was {done.old}." if done.old != done.new else "."))
    if done.restored:
        carried = ", ".join(f"{count} of {table}" for table, count in done.carried.items()) or "nothing"
        console.note(f"Backup {done.restored} was restored. Carried over: {carried}.")
        for what in done.left:
            console.note(f"Not carried over: {what}.")
        console.note(f"The state of {done.old} is kept in {done.kept}.")
    if done.url:
        console.note(f"The app is back at {done.url}.")
    return 0


def _note_old_monitor(service: UpgradeService, before: int, console: Console) -> None:
    """Services are started anew with the version; a monitor that somebody started by hand is not ours to end."""
    from gardener.health.ledger import restart_monitor, running_monitor

    if before and running_monitor(service.paths) == before:
        again = restart_monitor(before, service=False)
        console.note(f"The monitor, process {before}, still runs the version from before. Restart it: {again}")


def _restore_state(backup: str, console: Console) -> int:
    """For `gardener rollback` of a newer version: only the version that will read the state can say how it is to be."""
    from gardener.backup_service import BackupService
    from gardener.cli.target import open_gardener
    from gardener.upgrade.older_state import restore_older

    with open_gardener(console) as gardener:
        store = BackupService(gardener).store
        done, carried = restore_older(gardener.paths, store, backup)
    console.json({**done.as_json(), "carried": carried.rows, "files": carried.files, "left": carried.left})
    return 0


def _service(console: Console) -> UpgradeService:
    from gardener.backup_service import BackupService
    from gardener.cli.target import open_gardener
    from gardener.server.control import AppControl
    from gardener.upgrade.program import this_program
    from gardener.upgrade_service import UpgradeService

    program = this_program()
    with open_gardener(console) as gardener:
        paths, settings = gardener.paths, gardener.settings
        return UpgradeService(
            paths,
            program,
            AppControl(paths, program.current_python),
            BackupService(gardener).store,
            tell=console.note,
            keep=settings.integer("upgrade.keep_versions"),
            remote_index=bool(settings.text("index.storage")),
        )
