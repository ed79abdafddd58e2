"""/api for issues: what is open, and what somebody does about their alerts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Path, Query
from pydantic import Field

from gardener.health.issues import acknowledge, snooze
from gardener.server.bodies import Body, Empty
from gardener.server.events import JsonObject

if TYPE_CHECKING:
    from gardener.server.edge import Edge

Number = Annotated[int, Path(ge=1, le=2**53)]
_YEAR_S = 366 * 86_400


class SnoozeBody(Body):
    seconds: int = Field(ge=60, le=_YEAR_S, description="How long nothing is told about it")


class MaintenanceBody(Body):
    seconds: int = Field(ge=60, le=_YEAR_S, description="How long no alerts are sent, from now")
    reason: str = Field("", max_length=200)


def router(edge: Edge) -> APIRouter:
    routes = APIRouter(prefix="/api")
    database = edge.health.database

    @routes.get("/issues", summary="What the monitor has found and is open; also when it last looked")
    def issues(days: int = Query(0, ge=0, le=90, description="Also what was over in so many days")) -> JsonObject:
        return edge.health.as_json(days)

    @routes.post("/issues/{issue}/acknowledge", summary="Say nothing more about it until it is worse, or over")
    def acknowledge_issue(issue: Number, body: Empty | None = None) -> JsonObject:
        changed = database.change(issue, lambda found: acknowledge(found, time.time()))
        edge.health.forget()
        return changed.as_json()

    @routes.post("/issues/{issue}/snooze", summary="Say it again later, if it is still there")
    def snooze_issue(issue: Number, body: SnoozeBody) -> JsonObject:
        now = time.time()
        changed = database.change(issue, lambda found: snooze(found, now, now + body.seconds))
        edge.health.forget()
        return changed.as_json()

    @routes.get("/alerts", summary="What was told, newest first, and where it could not be delivered")
    def alerts(limit: int = Query(200, ge=1, le=1_000)) -> JsonObject:
        return {"alerts": [alert.as_json() for alert in database.alerts(limit)]}

    @routes.post("/maintenance", summary="Send no alerts for a while; issues are recorded all the same")
    def maintenance(body: MaintenanceBody) -> JsonObject:
        now = time.time()
        return database.add_window(now, now + body.seconds, body.reason).as_json()

    @routes.post("/maintenance/end", summary="Send alerts again")
    def end_maintenance(body: Empty | None = None) -> JsonObject:
        return {"ended": database.end_windows(time.time())}

    return routes
