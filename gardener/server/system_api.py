"""/api for what belongs to no project: settings, health, disk, usage, evaluations, tokens."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from gardener.errors import ConfigError
from gardener.server import long_work
from gardener.server.bodies import Body, Empty, Name
from gardener.server.events import JsonObject

if TYPE_CHECKING:
    from gardener.server.edge import Edge
    from gardener.settings import Settings, Sources
    from gardener.settings_file import Problem

Project = Annotated[str | None, Query(min_length=1, max_length=1_000)]
Item = Annotated[str, Field(max_length=10_000)]


class SettingBody(Body):
    """POST /api/settings/set. With `project` in that project's own .gardener.toml."""

    key: Name
    value: bool | int | float | Item | Annotated[list[Item], Field(max_length=1_000)]
    project: Name | None = None


class UnsetBody(Body):
    key: Name
    project: Name | None = None


class HealthBody(Body):
    deep: bool = Field(True, description="Read every index file and vector and compare the hashes")


class EvaluateBody(Body):
    """POST /api/evaluate: the project's own questions."""

    project: Name | None = None
    kind: Literal["documentation", "commit"] | None = None
    part: Literal["development", "held-out", "all"] = "development"
    limit: int = Field(150, ge=1, le=10_000)
    words_only: bool = False
    gate: bool = Field(False, description="A worse result is not what the next one is held to")


class RevokeBody(Body):
    name: Name = Field(description="Name or id")


def router(edge: Edge) -> APIRouter:
    routes = APIRouter(prefix="/api")
    gardener = edge.gardener

    @routes.get("/settings", summary="Every setting, its value in force and where that comes from")
    def settings(project: Project = None) -> JsonObject:
        loaded, problems = _load(_sources(edge, project))
        return {
            "settings": [_entry(loaded, key) for key, _, _ in loaded.items()],
            "warnings": list(loaded.warnings),
            "problems": [problem.as_json() for problem in problems],
        }

    @routes.get("/settings/{key}", summary="One setting")
    def setting(key: str, project: Project = None) -> JsonObject:
        return _entry(_load(_sources(edge, project))[0], key)

    @routes.post("/settings/set", summary="Write a value into your settings file, or into a project's")
    def set_(body: SettingBody) -> JsonObject:
        from gardener.settings_edit import file_for, set_value
        from gardener.settings_kind import InvalidValue
        from gardener.settings_schema import find_setting

        found = find_setting(body.key)
        try:
            value = found.check(body.value)
        except InvalidValue as error:
            raise ConfigError(f"{found.key} {error}.", next_step=f"gardener config get {found.key}") from error
        sources = _sources(edge, body.project)
        set_value(gardener.paths, file_for(sources, found), found.key, value)
        return _entry(_load(sources)[0], found.key)

    @routes.post("/settings/unset", summary="Remove a value, so that the default is in force again")
    def unset(body: UnsetBody) -> JsonObject:
        from gardener.settings_edit import file_for, unset_value
        from gardener.settings_schema import find_setting

        found = find_setting(body.key)
        sources = _sources(edge, body.project)
        was_there, _ = unset_value(gardener.paths, file_for(sources, found), found.key)
        return {**_entry(_load(sources)[0], found.key), "was_set": was_there}

    @routes.get("/health", summary="Every check of `gardener doctor`, each with the command that helps")
    def health() -> JsonObject:
        return long_work.findings(edge)

    @routes.post("/health", status_code=202, summary="The same as a job, by default with every hash compared")
    def check_health(body: HealthBody | None = None) -> JsonObject:
        return long_work.check_health(edge, deep=body.deep if body else True).as_json()

    @routes.get("/disk", summary="What takes how much room, and what can go")
    def disk() -> JsonObject:
        from gardener.disk import disk_use

        return disk_use(gardener).as_json()

    @routes.post("/disk/clean", status_code=202, summary="Remove what nobody needs; follow the job")
    def clean(body: Empty | None = None) -> JsonObject:
        return long_work.clean_disk(edge).as_json()

    @routes.get("/backups", summary="Backups, newest first, and when each was last proved")
    def backups() -> JsonObject:
        from gardener.backup_service import BackupService

        store = BackupService(gardener).store
        return {"folder": store.folder, "backups": [entry.as_json() for entry in store.entries()]}

    @routes.post("/backups", status_code=202, summary="Make a backup of everything; follow the job")
    def make_backup(body: Empty | None = None) -> JsonObject:
        return long_work.make_backup(edge).as_json()

    @routes.post("/backups/{backup}/prove", status_code=202, summary="Compare, restore and query it; follow the job")
    def prove_backup(backup: str, body: Empty | None = None) -> JsonObject:
        return long_work.prove_backup(edge, backup).as_json()

    @routes.get("/usage", summary="What answers took, and how much of the day's budget is left")
    def usage(
        days: int = Query(30, ge=1, le=400),
        by: Literal["project", "model", "day"] = "project",
        project: Project = None,
    ) -> JsonObject:
        from gardener.usage import day_limits
        from gardener.usage_report import usage_report

        chosen = gardener.context(project) if project else None
        since = day_limits(time.time(), -(days - 1))[0]
        lines = usage_report(gardener.state, since, by, project_id=chosen.id if chosen else "")
        return {
            "since": since,
            "by": by,
            "project": chosen.name if chosen else None,
            "lines": [line.as_json() for line in lines],
            "today": gardener.usage.today().as_json(),
        }

    @routes.get("/evaluations", summary="What was measured before, oldest first")
    def evaluations(project: Project = None) -> JsonObject:
        from gardener.evaluation.record import read

        context = gardener.context(project)
        entries = [{name: of for name, of in entry.items() if name != "by_question"} for entry in read(context.home)]
        return {"project": context.name, "evaluations": entries}

    @routes.post("/evaluate", status_code=202, summary="Measure search on the project's own questions; follow the job")
    def evaluate(body: EvaluateBody) -> JsonObject:
        from gardener.project_evaluation import EvaluationRequest

        request = EvaluationRequest(
            kinds=(body.kind,) if body.kind else ("documentation", "commit"),
            part=body.part,
            limit=body.limit,
            vectors=not body.words_only,
            gate=body.gate,
        )
        return long_work.evaluate(edge, gardener.context(body.project), request).as_json()

    @routes.get("/tokens", summary="Client tokens by name; what they are cannot be read again")
    def tokens() -> JsonObject:
        return {"tokens": [{"id": one.id, "name": one.name, "created": one.created} for one in edge.access.clients()]}

    @routes.post("/tokens/revoke", summary="End a client token. New ones are made in a terminal only")
    def revoke(body: RevokeBody) -> JsonObject:
        edge.access.revoke(body.name)
        return {"revoked": body.name}

    return routes


def _sources(edge: Edge, project: str | None) -> Sources:
    """Where settings come from: this app's flags and environment, with a project's file if one is named."""
    from gardener.settings import Sources

    of = edge.gardener.settings.sources
    context = edge.gardener.registry.get(project) if project else None
    root, trusted = (context.root, context.trusted) if context else (None, False)
    return Sources(of.paths, root, trusted, of.environment, of.flags)


def _load(sources: Sources) -> tuple[Settings, list[Problem]]:
    from gardener.settings import load_good_parts

    return load_good_parts(sources)


def _entry(settings: Settings, key: str) -> JsonObject:
    from gardener.settings_schema import find_setting

    found = find_setting(key)
    return {**settings.entry(key), "description": found.description, "live": found.live}
