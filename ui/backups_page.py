"""The page "Backups": which there are, whether they were proved, and making and proving one."""

from __future__ import annotations

from collections.abc import Iterator
from time import time
from typing import TYPE_CHECKING

from gardener.backup_service import BackupService
from gardener.errors import UsageError
from gardener.server import long_work
from gardener.sizes import counted
from ui.job_view import jobs_html
from ui.markup import ago, badge, button, count, empty, facts, notice, section, size, table, text
from ui.pages import Fields, Shown

if TYPE_CHECKING:
    from gardener.backup.store import Entry
    from gardener.server.edge import Edge

NEWS_SECONDS = 10.0


class BackupsPage:
    path = "backups"
    name = "Backups"
    lead = "Projects, conversations, settings, adapters and indexes. Models and shared vectors are left out."

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._gardener = edge.gardener

    def open(self, query: Fields) -> Shown:
        return Shown("", "", self._main())

    def refresh(self, worked: bool) -> Shown:
        return Shown(self._last_result(), None, self._main())

    def live(self) -> str:
        return jobs_html(self._gardener, [job for job in self._edge.jobs.find(kind="backup") if not job.over])

    def act(self, what: str, fields: Fields) -> Iterator[Shown]:
        match what:
            case "create":
                long_work.make_backup(self._edge)
                said = "A backup is being made. You can leave this page."
            case "prove":
                long_work.prove_backup(self._edge, fields["backup"])
                said = (
                    f"{fields['backup']} is read byte by byte, restored into a scratch folder and asked. You can leave."
                )
            case _:
                raise UsageError(f"This page cannot do {what!r}.", next_step="gardener backup --help")
        yield Shown(notice(said), None, self._main())

    # ---- parts ---------------------------------------------------------------------------------------

    def _last_result(self) -> str | None:
        """What the newest job came to, if it has just ended: short ones end before anybody sees them run."""
        over = [job for job in self._edge.jobs.find(kind="backup") if job.over and time() - job.finished < NEWS_SECONDS]
        said = over[0].last if over else None
        if not said:
            return None
        if said.get("event") == "error":
            error = said["error"]
            return notice(str(error["message"]), str(error["next_step"]), bad=True)
        if said.get("ok") is False:
            problems = "; ".join(str(problem) for problem in said["problems"][:3])
            return notice(f"{said['id']} is damaged: {problems}", "gardener backup create", bad=True)
        return notice(f"{said['id']} can be restored from." if "ok" in said else f"{said['id']} was made.")

    def _main(self) -> str:
        service, settings = BackupService(self._gardener), self._gardener.settings
        entries = service.store.entries()
        hours, days = settings.integer("backup.every_hours"), settings.integer("backup.drill_days")
        second = service.second
        drill = f"every {counted(days, 'day')}: restored, queried, compared" if days else "only when you ask"
        about = facts(
            [
                ("Folder", f"<code>{text(service.store.folder)}</code>"),
                ("Made", f"every {hours} h while the app runs" if hours else "only when you ask"),
                ("Drill", drill),
                ("Second folder", f"<code>{text(second.folder)}</code>" if second else "none set"),
            ]
        )
        make = f'<div class="line">{button("Back up now", "create", look="primary")}</div>'
        if not entries:
            listed = empty("No backup yet", "<p>The first one is made with the button above, or by the schedule.</p>")
        else:
            rows = [_row(entry) for entry in entries]
            headings = ("Backup", "Of", "Made", "Size", "Files", "Proof", "")
            listed = table(headings, rows, caption="Backups, newest first", numeric=(3, 4))
        restore = (
            "<p>Restoring replaces what is here, so it is done in a terminal, with the app stopped: "
            "<code>gardener stop</code>, <code>gardener backup restore ID</code>; <code>--undo</code> goes back.</p>"
        )
        return make + about + section("What there is", listed) + section("Restore", restore)


def _row(entry: Entry) -> list[str]:
    found = entry.manifest
    if found is None:
        return [text(entry.id), badge("cannot be read", "bad") + f" {text(entry.problem)}", "", "", "", "", ""]
    of = "everything" if found.kind == "home" else f"project {found.projects[0].name}"
    of = f"{of}, imported" if found.imported else of
    prove = button("Prove", "prove", backup=entry.id, name=f"Prove {entry.id}")
    return [
        f"<code>{text(entry.id)}</code>",
        text(f"{of}, {found.note}" if found.note else of),
        ago(found.created_at),
        text(size(found.total_bytes)),
        count(len(found.files)),
        _proof(entry),
        prove,
    ]


def _proof(entry: Entry) -> str:
    if entry.proof is None:
        return '<span class="quiet">not proved yet</span>'
    if not entry.proof["ok"]:
        problems = entry.proof.get("problems") or ["damaged"]
        return badge("damaged", "bad") + f" {text(problems[0])}"
    return badge("proved", "good") + f" {text(entry.proof['depth'])}, {ago(float(entry.proof['at']))}"
