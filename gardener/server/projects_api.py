"""/api/projects: what is registered, and registering, renaming, moving, removing. A project is named by name or id."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Path, Query
from pydantic import Field

from gardener.errors import UsageError
from gardener.server import long_work
from gardener.server.bodies import Body, Empty, Name, ProjectBody
from gardener.server.events import JsonObject

if TYPE_CHECKING:
    from gardener.server.edge import Edge
    from gardener.types import ProjectContext

Folder = Annotated[str, Field(min_length=1, max_length=4_096)]
Project = Annotated[str, Path(min_length=1, max_length=1_000, description="Name or id")]


class PreviewBody(Body):
    """POST /api/projects/preview."""

    path: Folder
    exclude: list[Annotated[str, Field(min_length=1, max_length=500)]] = Field(
        default_factory=list, max_length=200, description="gitignore patterns, besides index.exclude"
    )
    include_vendored: bool | None = Field(None, description="Default: index.include_vendored")
    force: bool = Field(False, description="Look at the home folder or the root of the file system, too")


class AddBody(Body):
    """POST /api/projects. Look at /api/projects/preview first."""

    path: Folder
    name: Name | None = Field(None, description="Default: the folder's name")
    nested: bool = Field(False, description="Allow a folder inside another project, or around it")
    force: bool = Field(False, description="Allow the home folder or the root of the file system")
    switch: bool = Field(True, description="Make it the active project")
    vectors: bool = True


class RenameBody(Body):
    name: Name


class MoveBody(Body):
    path: Folder
    nested: bool = False
    force: bool = False


class TrustBody(Body):
    trusted: bool = Field(description="Whether the project's own .gardener.toml may set more than harmless settings")


class RestoreBody(Body):
    name: Name | None = Field(None, description="Restore it under another name")


class PurgeBody(Body):
    confirm: Name = Field(description="The project's name or id once more: this cannot be undone")


def router(edge: Edge) -> APIRouter:
    routes = APIRouter(prefix="/api")
    gardener = edge.gardener

    @routes.get("/projects", summary="Registered projects, what their indexes hold, and which one is active")
    def projects(removed: bool = Query(False, description="Those in the trash, too")) -> JsonObject:
        from gardener.project_list import project_entries

        active = gardener.registry.active()
        entries = project_entries(gardener, include_removed=removed)
        return {"projects": entries, "active": active.name if active else None}

    @routes.post("/projects/preview", status_code=202, summary="What indexing a folder would take in; follow the job")
    def preview(body: PreviewBody) -> JsonObject:
        from gardener.projects.roots import resolve_root

        root = resolve_root(absolute(body.path), gardener.paths.home, force=body.force)
        return long_work.preview_folder(edge, root, tuple(body.exclude), body.include_vendored).as_json()

    @routes.post("/projects", status_code=201, summary="Register a folder and start its index; follow the job")
    def add(body: AddBody) -> JsonObject:
        from gardener.project_list import add_project

        context = add_project(gardener, absolute(body.path), body.name, nested=body.nested, force=body.force)
        if body.switch:
            gardener.switch(context.id)
        active = gardener.registry.active()
        job = edge.update_index(context, vectors=body.vectors)
        return {
            "project": context.as_json(),
            "active": bool(active and active.id == context.id),
            "job": job.as_json(),
        }

    @routes.post("/switch", summary="Make a project the active one")
    def switch(body: ProjectBody) -> JsonObject:
        return {"active": project_json(gardener.switch(body.project))}

    @routes.get("/projects/{project}", summary="One project, and how fresh its index is")
    def one(project: Project) -> JsonObject:
        from gardener.project_list import project_entries

        context = gardener.context(project)
        entry = next(entry for entry in project_entries(gardener) if entry["id"] == context.id)
        fresh = edge.index_state(context).as_json() if entry["indexed"] else None
        return {"project": entry, "index": fresh, "watching": edge.watching.state(context.id).as_json()}

    @routes.post("/projects/{project}/rename", summary="Call it something else")
    def rename(project: Project, body: RenameBody) -> JsonObject:
        return {"project": gardener.registry.rename(project, body.name).as_json()}

    @routes.post("/projects/{project}/move", summary="Its folder is elsewhere now; index and history are kept")
    def move(project: Project, body: MoveBody) -> JsonObject:
        moved = gardener.registry.move(project, absolute(body.path), nested=body.nested, force=body.force)
        return {"project": moved.as_json()}

    @routes.post("/projects/{project}/trust", summary="Whether its own settings file may set more than is harmless")
    def trust(project: Project, body: TrustBody) -> JsonObject:
        return {"project": gardener.registry.configure(project, trusted=body.trusted).as_json()}

    @routes.post("/projects/{project}/remove", summary="Into the trash; the folder itself is never touched")
    def remove(project: Project, body: Empty | None = None) -> JsonObject:
        stop_work(edge, gardener.context(project))
        return {"removed": gardener.registry.remove(project).as_json(), "purged": False}

    @routes.post("/projects/{project}/restore", summary="Back from the trash")
    def restore(project: Project, body: RestoreBody | None = None) -> JsonObject:
        return {"project": gardener.registry.restore(project, new_name=body.name if body else None).as_json()}

    @routes.post("/projects/{project}/purge", summary="Delete all that is kept of it, for good")
    def purge(project: Project, body: PurgeBody) -> JsonObject:
        if body.confirm != project:
            raise UsageError(f"Nothing was deleted: `confirm` must say {project!r} once more.")
        report = gardener.purge(project)
        for job in edge.jobs.find(report.project_id):
            if not job.over:
                edge.jobs.cancel(job.id)  # and as it ends, gardener.server.departed drops it
        edge.jobs.forget(report.project_id)
        return {"removed": report.as_json(), "purged": True}

    return routes


def absolute(path: str) -> str:
    """The folder that is meant. Raises UsageError for a relative path: the app's folder means nothing to it."""
    full = os.path.expanduser(path)
    if not os.path.isabs(full):
        raise UsageError("`path` must be the folder's full path.", next_step="gardener add PATH")
    return full


def stop_work(edge: Edge, context: ProjectContext) -> None:
    """Cancels what is being done for a project that is about to go, its answers included: they are kept as far as
    they came."""
    for job in edge.jobs.find(context.id):
        if not job.over:
            edge.jobs.cancel(job.id)
    edge.gardener.forget_index(context)


def project_json(context: ProjectContext) -> JsonObject:
    return {"id": context.id, "name": context.name, "root": context.root, "trusted": context.trusted}
