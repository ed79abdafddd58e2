"""The page "Projects": every project with its figures, adding one, switching, indexing, removing and its undo."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gardener.disk import project_bytes
from gardener.errors import IndexDamaged, UsageError
from gardener.index.facts import summary
from gardener.paths import index_directory
from gardener.projects import checkout
from gardener.sizes import counted
from ui import first_run
from ui.job_view import jobs_html
from ui.markup import ago, badge, button, count, empty, exact, notice, size, table, text
from ui.pages import Fields, Shown

if TYPE_CHECKING:
    from gardener.projects.records import ProjectRecord
    from gardener.server.edge import Edge
    from gardener.server.jobs import Job
    from gardener.types import ProjectContext


class ProjectsPage:
    path = "projects"
    name = "Projects"
    lead = "Folders that Gardener has indexed. One is active: questions go to it."

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._gardener = edge.gardener
        self._asked: list[Job] = []
        """Work that a button of this page began and whose end nobody was told yet."""

    def open(self, query: Fields) -> Shown:
        first = not self._gardener.registry.list(include_removed=True)
        return Shown("", first_run.folder_form(query.get("add", ""), first=first), self._main())

    def refresh(self, worked: bool) -> Shown:
        return Shown(notice=self._ended(), main=self._main())

    def _ended(self) -> str | None:
        """What came of the work that was asked for here; None while there is nothing to say."""
        over = [job for job in self._asked if job.over]
        if not over:
            return None
        self._asked = [job for job in self._asked if job not in over]
        job = over[-1]
        error: dict[str, Any] | None = (job.last or {}).get("error")
        if error is not None:
            return notice(f"{job.about}: {error['message']}", str(error["next_step"]), bad=True)
        if job.state == "cancelled":
            return notice(f"The indexing of {job.about} was stopped; what is finished is kept.")
        report = job.last or {}
        changes = ", ".join(
            f"{count(report[what])} {what}" for what in ("added", "changed", "removed") if report.get(what)
        )
        files = counted(report.get("files", 0), "file")
        return notice(f"The index of {job.about} is up to date: {files}, {changes or 'nothing had changed'}.")

    def live(self) -> str:
        jobs = [job for kind in ("index", "embed") for job in self._edge.jobs.find(kind=kind) if not job.over]
        return jobs_html(self._gardener, jobs)

    def act(self, what: str, fields: Fields) -> Iterator[Shown]:
        registry = self._gardener.registry
        match what:
            case "preview":
                yield from first_run.previewed(self._edge, fields)
                return
            case "again":
                yield Shown("", first_run.folder_form())
                return
            case "add":
                context = first_run.added(self._edge, fields)
                said = notice(f"{context.name} is being indexed; you can leave this page.", more_html=_next())
                yield Shown(said, first_run.folder_form(), self._main())
                return
            case "switch":
                context = self._gardener.switch(fields["project"])
                said = notice(f"{context.name} is the active project now.", more_html=' <a href="/">Ask about it</a>')
            case "update" | "rebuild":
                context = registry.get(fields["project"])
                self._asked.append(self._edge.update_index(context, rebuild=what == "rebuild"))
                said = ""
            case "cancel":
                self._edge.jobs.cancel(fields["job"])
                said = notice("Asked it to stop; what is finished is kept.")
            case "rename":
                before = registry.get(fields["project"])
                context = registry.rename(before.id, fields.get("name", ""))
                said = notice(f"{before.name} is called {context.name} now.")
            case "remove":
                context = registry.get(fields["project"])
                self._stop_work(context)
                registry.remove(context.id)
                undo = button("Undo", "restore", look="link", project=context.id)
                folder = "is as it was" if os.path.isdir(context.root) else "was gone before"
                said = notice(f"{context.name} is in the trash; its folder {folder}.", more_html=undo)
            case "restore":
                context = registry.restore(fields["project"])
                said = notice(f"{context.name} is back.")
            case "purge":
                report = self._gardener.purge(fields["project"])
                self._edge.jobs.forget(report.project_id)
                said = notice(
                    f"{report.name} is gone for good: {size(report.bytes)} were freed. Backups from before still hold "
                    "it, and logs, issues and alerts may still name it, until they are thinned out."
                )
            case _:
                raise UsageError(f"This page cannot do {what!r}.", next_step="gardener help")
        yield Shown(said, main=self._main())

    def _stop_work(self, context: ProjectContext) -> None:
        for job in self._edge.jobs.find(context.id):
            if not job.over:
                self._edge.jobs.cancel(job.id)

    def _main(self) -> str:
        records = self._gardener.registry.records(include_removed=True)
        here = sorted(
            (record for record in records if record.removed_at is None),
            key=lambda record: (not record.active, -record.last_used_at),
        )
        removed = [record for record in records if record.removed_at is not None]
        if not here and not removed:
            return empty(
                "No project yet",
                "<p>Type a folder above. Gardener shows what it would index before it does anything.</p>",
            )
        cards = "".join(self._card(record) for record in here)
        return f'<ul class="cards">{cards}</ul>{self._trash(removed)}'

    def _card(self, record: ProjectRecord) -> str:
        context = record.context
        try:
            facts, problem = summary(index_directory(context.home)), ""
        except IndexDamaged as error:
            facts, problem = {}, error.message
        contents = int(facts.get("contents", "0"))
        vectors = int(facts.get("vectors", "0"))
        indexed = bool(facts.get("table_version"))
        figures = [
            ("Files", count(int(facts.get("files", "0"))) if indexed else "—"),
            ("Chunks", count(int(facts.get("chunks", "0"))) if indexed else "—"),
            ("Vectors", f"{100 * vectors // contents} %" if contents else "—"),
            ("On disk", size(int(str(project_bytes(context.home)["bytes"])))),
            ("Retrieval", _score(context)),
            ("Last used", ago(record.last_used_at)),
        ]
        numbers = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in figures)
        mark = badge("active", "good") if record.active else ""
        state = self._state(record, facts, indexed, problem)
        adapter = f"<p class='quiet'>Adapter: {text(context.adapter)}</p>" if context.adapter else ""
        return (
            f'<li class="card{" active" if record.active else ""}"><div class="title">'
            f"<h2>{text(context.name)}</h2>{mark}</div>"
            f'<p class="path quiet">{text(context.root)}</p><p class="state">{state}</p>'
            f'<dl class="figures">{numbers}</dl>{adapter}<div class="line">{self._buttons(record, indexed)}</div></li>'
        )

    def _state(self, record: ProjectRecord, facts: dict[str, str], indexed: bool, problem: str) -> str:
        context = record.context
        if record.state == "missing":
            return f"{badge('folder is gone', 'bad')} <code>gardener move {text(context.name)} NEW_PATH</code>"
        if problem:
            return f"{badge('index damaged', 'bad')} {text(problem)}"
        if not indexed:
            return badge("not indexed", "warn")
        updated = f"indexed {ago(float(facts.get('updated_at', '0')))}"
        watched = text(str(self._edge.watching.state(context.id)))
        if facts.get("head") and facts["head"] != (checkout.head_commit(context.root) or ""):
            return f"{badge('another commit is checked out', 'warn')} {updated} · {watched}"
        return f"{badge('searchable', 'good')} {updated} · {watched}"

    def _buttons(self, record: ProjectRecord, indexed: bool) -> str:
        context = record.context
        who = {"project": context.id}
        parts = []
        if not record.active and record.state == "ok":
            parts.append(button("Switch to it", "switch", look="primary", name=f"Switch to {context.name}", **who))
        if record.state == "ok":
            label = "Update index" if indexed else "Index"
            parts.append(button(label, "update", name=f"{label}: {context.name}", **who))
        rename = (
            f'<form data-do="rename" class="line"><input type="hidden" name="project" value="{exact(context.id)}">'
            f'<label for="name-{text(context.id)}">New name</label><input type="text" id="name-{text(context.id)}" '
            f'name="name" required value="{exact(context.name)}">'
            f'<button type="submit" class="act">Rename</button></form>'
        )
        rebuild = button(
            "Rebuild index", "rebuild", name=f"Rebuild the index of {context.name}",
            confirm=f"Build the index of {context.name} from nothing? The old one serves until the new one is ready.",
            **who,
        ) if record.state == "ok" else ""  # fmt: skip
        remove = button(
            "Remove", "remove", look="danger", name=f"Remove {context.name}",
            confirm=f"Move {context.name} to the trash? Its folder stays as it is, and it can be restored.", **who,
        )  # fmt: skip
        more = (
            f"<details class='more'><summary>More</summary>{rename}<div class='line'>{rebuild}{remove}</div></details>"
        )
        return "".join(parts) + more

    def _trash(self, removed: list[ProjectRecord]) -> str:
        if not removed:
            return ""
        rows = [
            [
                text(record.context.name),
                f'<span class="path">{text(record.context.root)}</span>',
                ago(record.removed_at or 0),
                button("Restore", "restore", project=record.context.id, name=f"Restore {record.context.name}")
                + button(
                    "Delete for good", "purge", look="danger", project=record.context.id,
                    name=f"Delete {record.context.name} for good",
                    confirm=f"Delete the index, vectors and all conversations of {record.context.name} for good?",
                ),
            ]
            for record in removed
        ]  # fmt: skip
        listed = table(["Project", "Folder", "Removed", "What to do"], rows, caption="Projects in the trash")
        return f"<section><h2>Trash</h2>{listed}</section>"


def _score(context: ProjectContext) -> str:
    """The last measured retrieval score, which nobody can guess: an evaluation takes minutes."""
    from gardener.evaluation import record

    measured = record.read(context.home)
    if not measured:
        return '<span class="quiet" title="gardener eval">not measured</span>'
    newest = measured[-1]
    kinds = newest["kinds"]
    kind = "all" if "all" in kinds else next(iter(kinds))
    value, low, high = kinds[kind]["mrr"]
    span = f"95 % interval {low:.2f} to {high:.2f}, {kinds[kind]['questions']} questions"
    return f'<span title="{text(span)}">MRR {value:.2f}</span>'


def _next() -> str:
    return ' <a href="/" data-focus="">Ask about it</a> <a href="/models">See which models fit</a>'
