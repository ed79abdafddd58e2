"""/api/conversations: what was asked and answered in a project; thumbs on single messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.responses import JSONResponse, PlainTextResponse, Response

from gardener.server.bodies import Body, Empty, Name
from gardener.server.events import JsonObject

if TYPE_CHECKING:
    from gardener.server.edge import Edge

LARGEST_ID = 2**63 - 1
"""SQLite's."""
Conversation = Annotated[str, Path(min_length=3, max_length=100, description="The id, or how it begins")]
MessageId = Annotated[int, Path(ge=1, le=LARGEST_ID)]
Project = Annotated[str | None, Query(min_length=1, max_length=1_000, description="Default: the active one")]


class TitleBody(Body):
    title: Name


class BranchBody(Body):
    before: int = Field(ge=1, le=LARGEST_ID, description="The new conversation has the messages before this one")


class FeedbackBody(Body):
    feedback: int = Field(ge=-1, le=1, description="1 thumbs up, -1 thumbs down, 0 none")
    reason: str = Field("", max_length=2_000)


def router(edge: Edge) -> APIRouter:
    routes = APIRouter(prefix="/api")
    gardener = edge.gardener

    @routes.get("/conversations", summary="Conversations of a project, the last used first")
    def conversations(
        project: Project = None,
        limit: int = Query(50, ge=1, le=1_000),
        offset: int = Query(0, ge=0, le=LARGEST_ID),
        deleted: bool = Query(False, description="Those that were deleted, instead"),
    ) -> JsonObject:
        context = gardener.context(project)
        found = gardener.history.list(context.id, limit=limit, offset=offset, deleted=deleted)
        return {"project": context.name, "conversations": [one.as_json() for one in found]}

    @routes.get("/conversations/search", summary="Messages that have all these words")
    def search(
        q: str = Query(min_length=1, max_length=1_000), project: Project = None, limit: int = Query(20, ge=1, le=200)
    ) -> JsonObject:
        context = gardener.context(project)
        return {
            "project": context.name,
            "hits": [hit.as_json() for hit in gardener.history.search(context.id, q, limit)],
        }

    @routes.get("/conversations/{conversation}", summary="The last messages of one; page back with `before`")
    def show(
        conversation: Conversation,
        project: Project = None,
        limit: int = Query(200, ge=1, le=2_000),
        before: int | None = Query(None, ge=1, le=LARGEST_ID, description="Only messages before this one"),
    ) -> JsonObject:
        context = gardener.context(project)
        about = gardener.history.find(context.id, conversation)
        messages = gardener.history.show(context.id, about.id, limit=limit + 1, before=before)
        shown = messages[-limit:]
        return {
            "project": context.name,
            "conversation": about.as_json(),
            "messages": [message.as_json() for message in shown],
            "earlier": len(messages) > limit,
        }

    @routes.get(
        "/conversations/{conversation}/export",
        summary="One conversation in full",
        response_class=Response,
        responses={200: {"content": {"application/json": {}, "text/markdown": {}}}},
    )
    def export(
        conversation: Conversation, project: Project = None, format: Literal["json", "markdown"] = "markdown"
    ) -> Response:
        context = gardener.context(project)
        if format == "json":
            return JSONResponse(gardener.history.export_json(context.id, conversation))
        return PlainTextResponse(gardener.history.export_markdown(context.id, conversation), media_type="text/markdown")

    @routes.post("/conversations/{conversation}/rename", summary="Give it another title")
    def rename(conversation: Conversation, body: TitleBody, project: Project = None) -> JsonObject:
        context = gardener.context(project)
        found = gardener.history.find(context.id, conversation)
        gardener.history.retitle(context.id, found.id, body.title)
        return {"conversation": gardener.history.find(context.id, found.id).as_json()}

    @routes.post("/conversations/{conversation}/delete", summary="Hide it; can be undone for 30 days")
    def delete(conversation: Conversation, body: Empty | None = None, project: Project = None) -> JsonObject:
        return {"deleted": gardener.history.delete(gardener.context(project).id, conversation).as_json()}

    @routes.post("/conversations/{conversation}/restore", summary="Bring a deleted one back")
    def restore(conversation: Conversation, body: Empty | None = None, project: Project = None) -> JsonObject:
        return {"restored": gardener.history.restore(gardener.context(project).id, conversation).as_json()}

    @routes.post("/conversations/{conversation}/branch", status_code=201, summary="Go on from an earlier message")
    def branch_(conversation: Conversation, body: BranchBody, project: Project = None) -> JsonObject:
        from gardener.projects.branches import branch

        context = gardener.context(project)
        return {"conversation": branch(gardener.state, context.id, conversation, body.before).as_json()}

    @routes.post("/messages/{message}/feedback", summary="Thumbs up or down, and why")
    def feedback(message: MessageId, body: FeedbackBody, project: Project = None) -> JsonObject:
        context = gardener.context(project)
        gardener.history.rate(context.id, message, body.feedback, body.reason)
        return {"message": gardener.history.message(context.id, message).as_json()}

    return routes
