"""The page "Models": what answers now, what is here, what fits this machine, downloads, and a project's adapters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gardener.errors import UsageError
from gardener.machine_models import (
    Found,
    Machine,
    adapter_names,
    best_of,
    fit_of,
    in_ollama,
    mlx_folders,
    ollama_is_here,
    recommended,
    served,
    use_model,
)
from gardener.models.adapters import AdapterStore
from gardener.models.download import command
from gardener.project_adapters import remove_adapter, use_adapter
from ui.job_view import job_html
from ui.markup import badge, button, count, empty, facts, notice, section, size, table, text
from ui.pages import Fields, Shown

if TYPE_CHECKING:
    from gardener.models.catalog import CatalogModel
    from gardener.models.fit import Fit
    from gardener.server.edge import Edge
    from gardener.server.jobs import Job
    from gardener.types import ProjectContext

LABELS = {"fits well": "good", "fits": "good", "tight": "warn", "too large": "bad"}


class ModelsPage:
    path = "models"
    name = "Models"
    lead = "What answers, what fits this machine, and what is in memory. Without a model, answers quote the code."

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._gardener = edge.gardener
        self._told = ""
        """The download whose end was said."""

    def open(self, query: Fields) -> Shown:
        return Shown("", self._pull_form(), self._main())

    def refresh(self, worked: bool) -> Shown:
        return Shown(notice=self._ended(worked), main=self._main())

    def live(self) -> str:
        return "".join(job_html(job) for job in self._edge.jobs.find(kind="pull") if not job.over)

    def act(self, what: str, fields: Fields) -> Iterator[Shown]:
        registry = self._gardener.registry
        said: str | None
        match what:
            case "use":
                project = fields.get("project", "")
                found = use_model(self._gardener, fields["model"], project)
                if project:
                    said = notice(
                        f"{found.name} ({found.runtime}) answers for {registry.get(project).name} from now on."
                    )
                else:
                    said = notice(
                        f"{found.name} ({found.runtime}) answers for every project that has not chosen another, "
                        "once Gardener is started again.",
                        "gardener stop, then gardener ui",
                    )
            case "automatic":
                context = registry.configure(fields["project"], backend="auto", model="")
                said = notice(f"{context.name} takes whatever answers first again.")
            case "quote":
                context = registry.configure(fields["project"], backend="extractive", model="")
                said = notice(f"{context.name} answers without a model: by quoting the code that was found.")
            case "pull":
                name = fields.get("model", "").strip()
                if not name:
                    raise UsageError("No model was named.", next_step="a name such as qwen2.5-coder:7b")
                self._refuse_too_large(name)
                # Before it begins: what comes of it, said by `refresh`, must not be covered by this.
                yield Shown(notice(f"Ollama is asked for {name}. You can leave this page; the download goes on."))
                self._edge.pull_model(name)
                said = None
            case "cancel":
                self._edge.jobs.cancel(fields["job"])
                said = notice("Asked it to stop. Ollama keeps what has come and goes on from there next time.")
            case "adapter":
                context = use_adapter(
                    self._gardener, registry.get(fields["project"]), fields["adapter"],
                    even_if_worse=fields.get("worse", "") == "yes",
                )  # fmt: skip
                said = notice(f"{context.name} uses the adapter {fields['adapter']} from its next answer on.")
            case "adapteroff":
                context = registry.configure(fields["project"], adapter="")
                said = notice(f"{context.name} uses the base model alone; its adapters are kept.")
            case "adaptergone":
                remove_adapter(registry.get(fields["project"]), fields["adapter"])
                said = notice(f"The adapter {fields['adapter']} is gone for good.")
            case _:
                raise UsageError(f"This page cannot do {what!r}.", next_step="gardener help models")
        yield Shown(said, main=self._main())

    def _refuse_too_large(self, name: str) -> None:
        """At once, on the page, what the job would say a moment later."""
        from gardener.machine_models import refuse_too_large
        from gardener.models.catalog import find

        known = find(name)
        if known is None or not ollama_is_here(self._gardener):
            return
        fit = Machine(self._gardener).fit(known[0], "ollama")
        if fit is not None:
            refuse_too_large(known[0].title, fit, "It was not downloaded.", "gardener models recommend")

    def _ended(self, seen: bool) -> str | None:
        """What came of the newest download, if it was `seen` at work or nobody was told yet; else None."""
        job: Job | None = next(iter(self._edge.jobs.find(kind="pull")), None)
        if job is None or not job.over or (job.id == self._told and not seen):
            return None
        self._told = job.id
        error: dict[str, Any] | None = (job.last or {}).get("error")
        if error is not None:
            return notice(f"{job.about}: {error['message']}", str(error["next_step"]), bad=True)
        if job.state == "cancelled":
            return notice(f"The download of {job.about} was stopped.")
        return notice(f"{job.about} is here.")

    # ---- parts ---------------------------------------------------------------------------------------

    def _main(self) -> str:
        machine = Machine(self._gardener)
        active = self._gardener.registry.active()
        return (
            self._now(active)
            + self._here(machine, active)
            + self._catalogue(machine)
            + (self._adapters(active) if active else "")
        )

    def _now(self, active: ProjectContext | None) -> str:
        status = self._gardener.status()
        resident = self._edge.resident_json()
        memory = resident["memory"]
        rows: list[tuple[str, str]] = []
        if active is not None:
            level = str(status["level"])
            model = f"{status['backend']} {status['model'] or ''}".strip()
            why = (
                f' <span class="quiet">{text(str(status["level_reason"]).replace("`", ""))}</span>'
                if status["level_reason"]
                else ""
            )
            rows.append((f"Answers for {active.name}", f"{text(model)} {badge(level, _level(level))}{why}"))
        rows.append(
            (
                "Memory for models",
                f"{size(memory['held_bytes'])} held of {size(memory['budget_bytes'])}; "
                f"{size(memory['available_bytes'])} free on the machine"
                + (f" {badge(memory['pressure'], 'warn')}" if memory["pressure"] != "normal" else ""),
            )
        )
        if memory["did"]:
            rows.append(("Last given back", text(memory["did"])))
        names = adapter_names(self._gardener)
        loaded = [(name, state) for name, state in resident["backends"].items() if state["model"]]
        for name, state in loaded:
            counters = ", ".join(
                f"{text(key.replace('_', ' '))} {count(value)}" for key, value in state["counters"].items()
            )
            adapter = f", adapter {text(names.get(state['adapter'], state['adapter']))}" if state["adapter"] else ""
            rows.append(
                (
                    f"In memory: {name}",
                    f"{text(state['model'])}, {size(state['weight_bytes'])} of weights, "
                    f"{size(state['cache_bytes'])} of prompt caches{adapter}"
                    f'<br><span class="quiet">{counters}</span>',
                )
            )
        if not loaded:
            rows.append(("In memory", '<span class="quiet">no language model</span>'))
        buttons = ""
        if active is not None:
            parts = []
            if active.backend not in ("", "auto") or active.model:
                parts.append(button("Choose automatically", "automatic", project=active.id))
            if active.backend != "extractive":
                parts.append(button("Answer without a model", "quote", project=active.id))
            buttons = f'<div class="line">{"".join(parts)}</div>'
        return section("Now", f'<div class="card">{facts(rows)}{buttons}</div>')

    def _here(self, machine: Machine, active: ProjectContext | None) -> str:
        ollama, ollama_problem = in_ollama(self._gardener)
        offered, offered_problem = served(self._gardener)
        here = ollama_is_here(self._gardener)
        found = [Found("mlx", model.name, model.bytes, model) for model in mlx_folders(self._gardener)]
        found += [Found("ollama", model.name, model.size) for model in ollama]
        rows = []
        for each in found:
            fit = fit_of(each, machine, here=here or each.runtime == "mlx")
            problem = each.local.problem if each.local is not None else ""
            rows.append(
                [
                    f"<code>{text(each.name)}</code>{_used(self._gardener, each, active)}",
                    text(each.runtime),
                    size(each.size) if each.size else "unknown",
                    text(problem) if problem else _fit(fit),
                    self._use_buttons(each.name, active),
                ]
            )
        rows += [
            [
                f"<code>{text(name)}</code>{_used(self._gardener, Found('openai', name, 0), active)}",
                "openai",
                "—",
                '<span class="quiet">runs elsewhere</span>',
                self._use_buttons(name, active),
            ]
            for name in offered
        ]
        listed = (
            table(["Model", "Runtime", "On disk", "Fit", "Use it"], rows, caption="Models that are here", numeric=(2,))
            if rows
            else empty(
                "No model is here", "<p>Pull one below, or go on without: answers then quote what was found.</p>"
            )
        )
        problems = "".join(
            f'<p class="warn">{text(name)}: {text(problem)} {text(advice)}</p>'
            for name, problem, advice in (
                ("Ollama", ollama_problem, "Start it and open this page again, or go on without it."),
                ("The OpenAI-compatible server", offered_problem, "Its settings begin with openai."),
            )
            if problem
        )
        return section("Here", listed + problems)

    def _use_buttons(self, name: str, active: ProjectContext | None) -> str:
        everywhere = button("everywhere", "use", model=name, name=f"Use {name} for every project")
        if active is None:
            return everywhere
        label = f"for {active.name}"
        return button(label, "use", model=name, project=active.id, name=f"Use {name} for {active.name}") + everywhere

    def _catalogue(self, machine: Machine) -> str:
        found = recommended(machine)
        best = best_of(found)
        here = ollama_is_here(self._gardener)
        rows = [self._catalogue_row(machine, model, fit, best, here) for model, fit in found]
        listed = table(
            ["Model", "Fit", "Needs", "Has", "Leaves", "Window", "Licence", "Get it"],
            rows, caption=f"The catalogue, for {machine.runtime}", numeric=(2, 3, 4, 5),
        )  # fmt: skip
        tokens = machine.context(machine.runtime)
        return section(
            "Fits this machine",
            listed,
            note=f"{machine.sentence()} Needs: weights, keys and values of {tokens:,} tokens, working memory; "
            "~ is an estimate.",
            name="catalogue",
        )

    def _catalogue_row(
        self, machine: Machine, model: CatalogModel, fit: Fit, best: CatalogModel | None, here: bool
    ) -> list[str]:
        build = model.build(machine.runtime)
        assert build is not None  # `recommended` gives only what has one
        mark = badge("recommended", "good") if model is best else ""
        if machine.runtime == "ollama":
            get = button("Pull", "pull", model=model.id, name=f"Pull {model.id}")
            if fit.label == "too large" and here:  # as `pull` would refuse it
                over = f"needs {size(fit.needs.total)}, {size(-fit.leaves)} more than there is"
                get = (
                    f'<button type="button" class="act" disabled aria-label="Pull {text(model.id)}">Pull</button>'
                    f'<br><span class="quiet">{over}</span>'
                )
        else:
            get = f"<code>{text(command(build, self._gardener.paths.models))}</code>"
        left = size(fit.leaves) if fit.leaves >= 0 else f"−{size(-fit.leaves)}"
        return [
            f'<strong>{text(model.id)}</strong> {mark}<br><span class="quiet">{text(model.purpose)}</span>',
            badge(fit.label, LABELS[fit.label]),
            f"{'~' if build.estimated else ''}{size(fit.needs.total)}",
            size(fit.has),
            left,
            f"{model.context // 1024}k",
            text(model.licence),
            get,
        ]

    def _adapters(self, context: ProjectContext) -> str:
        from gardener.training.evaluate import is_worse

        found = AdapterStore(context.home).list()
        if not found:
            return section(
                "Adapters",
                '<p class="quiet">None is trained for this project: '
                "<code>gardener train</code> makes one from its code.</p>",
            )
        rows = []
        for entry in found:
            name, problem = str(entry["name"]), str(entry["problem"])
            on = name == context.adapter
            worse = not problem and is_worse(entry)
            state = badge(problem, "bad") if problem else badge("worse than the base", "warn") if worse else "whole"
            rows.append(
                [
                    f"<code>{text(name)}</code> {badge('in use', 'good') if on else ''}",
                    text(entry.get("base_name") or entry.get("base") or ""),
                    state,
                    _adapter_buttons(context, name, on=on, fit=not problem, worse=worse),
                ]
            )
        return section(
            f"Adapters of {context.name}", table(["Adapter", "Base", "State", "Use it"], rows, caption="Adapters")
        )

    def _pull_form(self) -> str:
        return (
            '<form data-do="pull" class="line card"><label for="model">Pull into Ollama</label>'
            '<input type="text" id="model" name="model" placeholder="qwen2.5-coder:7b" autocomplete="off"'
            ' spellcheck="false">'
            '<button type="submit" class="act primary">Pull</button>'
            '<span class="quiet">Ollama downloads it from its library: '
            "the one thing here that leaves this machine.</span></form>"
        )


def _adapter_buttons(context: ProjectContext, name: str, *, on: bool, fit: bool, worse: bool) -> str:
    chosen = {"project": context.id, "adapter": name}
    if on:
        return button("Turn off", "adapteroff", project=context.id, name=f"Turn off {name}")
    use = button("Use", "adapter", name=f"Use {name}", **chosen) if fit else ""
    if worse:
        doubt = f"{name} did worse than its base on files that it had not seen. Use it all the same?"
        use = button("Use anyway", "adapter", name=f"Use {name} anyway", confirm=doubt, worse="yes", **chosen)
    return use + button(
        "Delete for good", "adaptergone", look="danger", name=f"Delete {name} for good",
        confirm=f"Delete the adapter {name} of {context.name} for good?", **chosen,
    )  # fmt: skip


def _level(level: str) -> str:
    return "good" if level == "full" else "warn"


def _fit(fit: Fit | None) -> str:
    if fit is None:
        return '<span class="quiet">not known</span>'
    return f"{badge(fit.label, LABELS[fit.label])} needs {size(fit.needs.total)} of {size(fit.has)}"


def _used(gardener: Any, found: Found, active: ProjectContext | None) -> str:
    marks = []
    if active is not None and active.model == found.name and active.backend == found.runtime:
        marks.append(badge(active.name, "good"))
    if gardener.settings.text(f"{found.runtime}.model") == found.name:
        marks.append(badge("everywhere", "good"))
    return " " + " ".join(marks) if marks else ""
