"""Upgrades and rollbacks of one home's installation, from the first look to the proof on the live app.

An upgrade prepares, tries, stops, flips and proves (see gardener/upgrade/journal.py for the phases). Until the flip
nothing live has changed, and a failure or a kill only undoes; after it a failed proof puts the version before back, and
the state too if the new version migrated it. A kill after the flip is finished by the next `gardener upgrade`, which
proves what is there and keeps it or rolls it back.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gardener.audit import record
from gardener.backup import snapshot
from gardener.backup.restore import undo
from gardener.backup.store import Entry, Store
from gardener.errors import ConflictError, GardenerError, LockedError, UpgradeFailed
from gardener.paths import Paths, ensure_directory, translate_os_error
from gardener.upgrade import journal as journals
from gardener.upgrade import prepare, trial
from gardener.upgrade.commands import Commands, gardener
from gardener.upgrade.journal import Journal, Phase
from gardener.upgrade.older_state import schema_of
from gardener.upgrade.program import Program, Source, Version, running_program
from gardener.upgrade.result import Control, RolledBack, Upgraded
from gardener.upgrade.trial import Patience, Question

if TYPE_CHECKING:
    from gardener.health.check import Check

_log = logging.getLogger("gardener.upgrade")

KEPT_LOGS = 5
RESTORE_SECONDS = 3_600.0
LOCKED_SECONDS = 60.0
"""How long an automatic rollback waits for somebody who writes into the home."""
_STEP: dict[Phase, str] = {
    "preparing": "Making the new version beside the old one …",
    "trying": "Trying it on a copy of the data …",
    "stopping": "Ending the app and saving its state …",
    "flipping": "Putting it in force …",
    "proving": "Proving it on the live data …",
    "restoring": "Restoring backup {backup}, and carrying over into it what was made since, conversations too …",
    "returning": "Putting version {old} back in force …",
}
_DATA_STAYS = "The data stays as it is, with what was made since, conversations too …"


class UpgradeService:
    """One home, one program folder. Every method that changes something holds the program's lock."""

    def __init__(
        self,
        paths: Paths,
        program: Program,
        control: Control,
        store: Store,
        *,
        tell: Callable[[str], None] = lambda text: None,
        keep: int = 3,
        remote_index: bool = False,
        install: prepare.Install | None = None,
        patience: Patience = Patience(),  # noqa: B008 - immutable
    ) -> None:
        """`tell` gets a sentence at each step. `install` stands in for pip in tests."""
        self.paths = paths
        self.program = program
        self._control = control
        self._store = store
        self._tell = tell
        self._keep = keep
        self._remote = remote_index
        self._install = install
        self._patience = patience

    # ---- looking ---------------------------------------------------------------------------------------

    def look(self, given: str = "", to: str = "") -> dict[str, object]:
        """The version in force, the one that could be had, the one before, and what is unfinished. Changes nothing.

        "available" is None when it is not recorded where versions come from.
        """
        installation, wanted = self.program.read(), None
        if given or installation.source.kind:
            with _scratch(self.program) as scratch:
                source = prepare.source_of(given, installation.source)
                wanted = prepare.look(source, to, Commands(self._log_path()), scratch)
        unfinished = self.unfinished()
        return {
            "current": self.program.current(),
            "available": wanted.version if wanted else None,
            "previous": installation.previous,
            "source": (wanted.source if wanted else installation.source)._asdict(),
            "installed": [one.version for one in installation.versions],
            "unfinished": None if unfinished is None else unfinished._asdict(),
        }

    # ---- upgrading -------------------------------------------------------------------------------------

    def upgrade(self, given: str = "", to: str = "", *, allow_index: bool = False) -> Upgraded:
        """Puts another version in force, or says that there is none. Raises UpgradeFailed when it did not hold."""
        with self.program.lock("gardener upgrade"):
            recovered = self._recover()
            installation, old = self.program.read(), self.program.current()
            if isinstance(recovered, RolledBack):  # nobody who went back wants to go forward by finishing that
                return Upgraded(old, old, 0, 0.0, "", [], recovered.url, recovered.log, changed=False)
            commands = Commands(self._log_path())
            with _scratch(self.program) as scratch:
                wanted = prepare.look(prepare.source_of(given, installation.source), to, commands, scratch)
                if not given and not to and prepare.order_of(wanted.version) < prepare.order_of(old):
                    raise ConflictError(
                        f"{wanted.source.value} has version {wanted.version}, which is older than {old}.",
                        next_step="gardener rollback",
                    )
                made = False
                if wanted.source.kind != "index" or wanted.version != old:
                    wanted = prepare.fetch(wanted, commands, scratch, allow_index=allow_index)
                    wanted, made = prepare.choose_folder(self.program, wanted)
                if (wanted.name or wanted.version) == old:
                    return Upgraded(old, old, 0, 0.0, "", [], "", commands.log, changed=False)
                now = Journal(
                    "upgrade", "preparing", old, wanted.name, self.paths.home, commands.log,
                    schema=schema_of(self.paths.state_db), made=made,
                )  # fmt: skip
                return self._upgrade(now, wanted, commands, scratch, allow_index=allow_index)

    def _upgrade(
        self, now: Journal, wanted: prepare.Wanted, commands: Commands, scratch: str, *, allow_index: bool
    ) -> Upgraded:
        try:
            now = self._step(now, "preparing")
            if now.made:
                install = self._install or prepare.installer(self.program, commands, scratch, allow_index=allow_index)
                prepare.make_environment(self.program, wanted, commands, install)
            now = self._step(now, "trying")
            self._control.say_upgrading(True)
            expected, questions = self._try(now, commands)
            how = self._control.how_it_runs()
            now = self._step(now._replace(app=how), "stopping")
            begun = time.monotonic()
            self._control.stop()
            _log.debug("stopped")
            saved = self._save()
            now = self._step(now._replace(backup=saved.id if saved else ""), "flipping")
        except BaseException as error:
            self._undo(now)
            if isinstance(error, GardenerError):
                raise self._failed(now, error) from error
            raise
        self.program.flip(now.new)
        now = self._step(now, "proving")
        try:
            url = self._prove(now, expected, commands)
        except GardenerError as error:
            self._return(now._replace(problem=_sentence(error)), commands)
            raise self._failed(now, error) from error
        down = time.monotonic() - begun if now.app and now.app["app"] else 0.0
        pruned = self._keep_it(now, wanted.source)
        return Upgraded(now.old, now.new, questions, down, now.backup, pruned, url, now.log)

    def _try(self, now: Journal, commands: Commands) -> tuple[tuple[Question, ...], int]:
        entry = self._save()
        scratch = self._trial_home()
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            trial.copy_home(self.paths, entry, scratch)
            expected = trial.reference(self.program.python(now.old), scratch, entry, commands, self._patience)
            problems, questions = trial.try_version(
                self.program.python(now.new), scratch, expected, commands, self._patience
            )
        except OSError as error:
            raise translate_os_error(error, scratch) from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        if problems:
            raise UpgradeFailed("; ".join(problems[:5]))
        return expected.questions, questions

    def _save(self) -> Entry | None:
        """A backup of the home; None when it holds nothing yet."""
        if not os.path.exists(self.paths.state_db):
            return None
        made = snapshot.create(self.paths, self._store, remote_index=self._remote)
        return self._store.find(made.manifest.id)

    def _prove(self, now: Journal, questions: tuple[Question, ...], commands: Commands) -> str:
        """The live app is ready and answers. Returns its address, "" when none ran before."""
        runs = bool(now.app and now.app["app"])
        url = self._control.start(now.app if runs else None)
        found = trial.ask(self.program.current_python, self.paths.home, questions, commands, self._patience, live=True)
        # The disk may have changed since the copy was made, so that not every place need be the same.
        if questions and not any(one.paths for one in found):
            raise UpgradeFailed("The live app finds nothing for any question that was answered before.")
        if runs:
            return url
        self._control.stop()
        if now.app:
            self._control.start(now.app)  # its services, which ran without the app
        return ""

    def _keep_it(self, now: Journal, source: Source | None) -> list[str]:
        installation = self.program.read()
        entry = Version(now.new, time.time(), "ready", now.backup, now.schema)
        if source is not None:
            installation = installation._replace(source=source)
        if installation.find(now.old) is None:
            installation = installation.with_version(Version(now.old, 0.0, "ready"))
        self.program.write(installation.with_version(entry)._replace(previous=now.old))
        record(self.paths.logs, "program.upgraded", version=now.new, before=now.old, backup=now.backup)
        self._control.say_upgrading(False)
        journals.remove(self.program)
        return self.program.prune(self._keep)

    # ---- undoing ---------------------------------------------------------------------------------------

    def _undo(self, now: Journal) -> None:
        """Before the flip: the app runs again as it did, and nothing else has changed."""
        self._control.say_upgrading(False)
        if now.app is not None and now.phase in ("stopping", "flipping"):
            self._control.start(now.app)
        self._forget_new(now)
        record(self.paths.logs, "program.upgrade_undone", version=now.new, in_force=now.old, phase=now.phase)
        journals.remove(self.program)

    def _forget_new(self, now: Journal) -> None:
        if now.made:
            shutil.rmtree(self.program.environment(now.new), ignore_errors=True)
        scratch = self._trial_home()
        trial.end_left_over(scratch)
        shutil.rmtree(scratch, ignore_errors=True)

    def _return(self, now: Journal, commands: Commands) -> None:
        """After the flip: the version before comes back, and the state if this version cannot read it any more."""
        self._tell(f"{now.new} did not hold: {now.problem}")
        restores = bool(now.backup) and schema_of(self.paths.state_db) > now.schema
        now = self._step(now, "restoring", "" if restores else _DATA_STAYS)
        self._control.stop(force=True)
        if restores:
            self._restore_by(now.old, now.backup, commands)
        now = self._step(now, "returning")
        self.program.flip(now.old)
        if now.app:
            self._control.start(now.app)
        self._control.say_upgrading(False)
        self._forget_new(now)
        record(self.paths.logs, "program.upgrade_undone", version=now.new, in_force=now.old, reason=now.problem)
        journals.remove(self.program)

    def _restore_by(self, version: str, backup: str, commands: Commands) -> dict[str, Any]:
        """Has the version that will be in force restore a backup: only it knows how its state is to be."""
        until = time.monotonic() + LOCKED_SECONDS
        while True:
            said = commands.run(
                gardener(
                    self.program.python(version), "rollback", "--state-from", backup, "--json", "--home",
                    self.paths.home,
                ),
                seconds=RESTORE_SECONDS, folder=self.paths.home,
            )  # fmt: skip
            if said.code == 0:
                found: dict[str, Any] = json.loads(said.out)
                return found
            if said.code != LockedError.exit_code or time.monotonic() > until:
                raise UpgradeFailed(
                    f"Version {version} could not restore backup {backup}: {said.text}",
                    next_step="gardener upgrade",
                )
            time.sleep(1.0)  # until whoever writes into the home has finished

    def _failed(self, now: Journal, error: GardenerError) -> UpgradeFailed:
        what = "Rolling back to" if now.kind == "rollback" else "Upgrading to"
        return UpgradeFailed(
            f"{what} {now.new} failed: {_sentence(error)} Version {self.program.current()} is in force, with its data. "
            f"The log is {now.log}.",
            next_step=error.next_step or "gardener doctor",
        )

    # ---- after a kill ----------------------------------------------------------------------------------

    def unfinished(self) -> Journal | None:
        """What a kill has interrupted; the next upgrade or rollback finishes or undoes it first."""
        return journals.interrupted(self.program)

    def _recover(self) -> Upgraded | RolledBack | None:
        """Finishes or undoes what a kill has interrupted; None when nothing was. Call it under the lock."""
        now = journals.read(self.program)
        if now is None:
            return None
        if now.home != self.paths.home:
            raise ConflictError(
                f"An upgrade of the data in {now.home} is unfinished; that comes first.",
                next_step=f'gardener upgrade --home "{now.home}"',
            )
        commands = Commands(now.log)
        commands.note(f"going on after an interruption in the phase {now.phase}")
        if now.kind == "rollback":
            back = self._roll_forward(now, commands)
            self._tell(f"The unfinished rollback to {now.new} was finished.")
            return back
        at_new = self.program.current() == now.new
        undone = Upgraded(now.old, now.old, 0, 0.0, now.backup, [], "", now.log, changed=False)
        if not now.flipped or (now.phase == "flipping" and not at_new):
            self._undo(now)
            self._tell(f"An unfinished upgrade to {now.new} was undone; {now.old} is in force.")
            return undone
        if now.phase in ("flipping", "proving"):
            try:
                url = self._prove(now, (), commands)
                pruned = self._keep_it(now, None)
                self._tell(f"An unfinished upgrade to {now.new} was finished.")
                return Upgraded(now.old, now.new, 0, 0.0, now.backup, pruned, url, now.log)
            except GardenerError as error:
                now = now._replace(problem=_sentence(error))
        self._return(now, commands)
        self._tell(f"An unfinished upgrade to {now.new} was rolled back; {now.old} is in force.")
        return undone

    # ---- rolling back ----------------------------------------------------------------------------------

    def plan_rollback(self) -> tuple[str, str, str]:
        """The version in force, the one before, and the backup that has to be restored for it ("" for none).

        Raises ConflictError when there is nothing to go back to.
        """
        installation, current = self.program.read(), self.program.current()
        previous = installation.previous
        if not previous or previous == current or not os.path.exists(self.program.python(previous)):
            raise ConflictError(f"There is no version before {current} here.", next_step="gardener upgrade --check")
        taken_over = installation.find(current)
        schema = taken_over.schema if taken_over else 0
        if not schema or schema_of(self.paths.state_db) <= schema:
            return current, previous, ""
        entries = self._store.entries()
        fitting = [one for one in entries if one.protects and one.manifest and one.manifest.state_schema == schema]
        exact = [one for one in fitting if taken_over and one.id == taken_over.backup]
        if not fitting:
            raise ConflictError(
                f"Version {previous} cannot read the data as it is now (schema {schema_of(self.paths.state_db)}; it "
                f"knows {schema}), and no good backup from before the upgrade is left.",
                next_step="gardener backup list",
            )
        return current, previous, (exact or fitting)[0].id

    def roll_back(self) -> RolledBack:
        """Puts the version before back in force, with the state that it can read. Raises UpgradeFailed."""
        with self.program.lock("gardener rollback"):
            recovered = self._recover()
            if isinstance(recovered, RolledBack):
                return recovered
            if recovered is not None and not recovered.changed:  # the upgrade that was to be undone has not happened
                return RolledBack(recovered.new, recovered.new, "", "", {}, [], "", recovered.log)
            current, previous, backup = self.plan_rollback()
            commands = Commands(self._log_path())
            now = Journal(
                "rollback", "stopping", current, previous, self.paths.home, commands.log, backup,
                schema_of(self.paths.state_db), self._control.how_it_runs(),
            )  # fmt: skip
            self._control.say_upgrading(True)
            now = self._step(now, "stopping")
            return self._roll_forward(now, commands)

    def _roll_forward(self, now: Journal, commands: Commands) -> RolledBack:
        restored: dict[str, Any] = {}
        self._control.stop()
        try:
            if now.phase == "stopping":
                self._save()  # the newer state once more, besides the folder in which it is kept
            restores = bool(now.backup) and schema_of(self.paths.state_db) >= now.schema
            now = self._step(now, "restoring", "" if restores else _DATA_STAYS)
            if restores:
                restored = self._restore_by(now.new, now.backup, commands)
            now = self._step(now, "flipping")
            self.program.flip(now.new)
            now = self._step(now, "proving")
            url = self._prove(now, (), commands)
        except GardenerError as error:
            self._control.stop(force=True)
            if restored:
                undo(self.paths)
            self.program.flip(now.old)
            if now.app:
                self._control.start(now.app)
            self._control.say_upgrading(False)
            record(self.paths.logs, "program.rollback_undone", version=now.new, in_force=now.old, reason=error.message)
            journals.remove(self.program)
            raise self._failed(now, error) from error
        self.program.write(self.program.read()._replace(previous=now.old))
        restored_from = now.backup if restored else ""
        record(self.paths.logs, "program.rolled_back", version=now.new, before=now.old, restored=restored_from)
        self._control.say_upgrading(False)
        journals.remove(self.program)
        return RolledBack(
            now.old, now.new, now.backup, str(restored.get("kept") or ""), dict(restored.get("carried") or {}),
            list(restored.get("left") or []), url, now.log,
        )  # fmt: skip

    # ---- small things ----------------------------------------------------------------------------------

    def _trial_home(self) -> str:
        """On the disk of the home, and not part of any backup."""
        return os.path.join(ensure_directory(self.paths.run), "upgrade-trial")

    def _step(self, now: Journal, phase: Phase, say: str = "") -> Journal:
        self._tell(say or _STEP[phase].format(backup=now.backup, old=now.old))
        return journals.write(self.program, now._replace(phase=phase))

    def _log_path(self) -> str:
        folder = ensure_directory(self.paths.logs)
        old = sorted(name for name in os.listdir(folder) if name.startswith("upgrade-"))
        for name in old[: max(0, len(old) - KEPT_LOGS + 1)]:
            os.unlink(os.path.join(folder, name))
        return os.path.join(folder, f"upgrade-{time.strftime('%Y%m%d-%H%M%S')}.log")


def upgrade_checks() -> list[Check]:
    """For the doctor: an upgrade that was interrupted. Nothing to say outside of a program folder."""
    from gardener.health.check import Check, Finding, fine

    program = running_program()
    if program is None:
        return []

    def unfinished() -> Finding:
        now = journals.interrupted(program)
        if now is None:
            return fine(f"version {program.current()}; before it {program.read().previous or 'none'}")
        return Finding("upgrade-unfinished", "warning", unfinished_sentence(now), "gardener upgrade")

    return [Check("upgrade", unfinished)]


def unfinished_sentence(now: Journal) -> str:
    """What was interrupted, and how far it had come."""
    what = "A rollback" if now.kind == "rollback" else "An upgrade"
    return f"{what} from {now.old} to {now.new} was interrupted ({now.phase})."


class _scratch:  # noqa: N801 - reads as the statement that it is
    """An empty folder in the program folder; what a kill has left in it goes first. Call it under the lock."""

    def __init__(self, program: Program) -> None:
        self._folder = os.path.join(program.folder, "upgrade-scratch")

    def __enter__(self) -> str:
        shutil.rmtree(self._folder, ignore_errors=True)
        return ensure_directory(self._folder)

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def _sentence(error: GardenerError) -> str:
    text = " ".join(error.message.split())[:1_000]
    return text if text.endswith(".") else f"{text}."
