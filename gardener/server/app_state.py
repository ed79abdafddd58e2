"""What health checks want to know of the app: asked over HTTP by other processes, read off by the app itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gardener.errors import GardenerError
from gardener.health.app import AppState
from gardener.paths import Paths
from gardener.server.client import AppClient
from gardener.server.runfile import read_app
from gardener.service.manager import is_installed

if TYPE_CHECKING:
    from gardener.server.edge import Edge

ASK_S = 2.0
"""Longest silence of the app before it counts as one that does not answer."""


def ask_app(paths: Paths) -> AppState:
    """Asks /readyz and /api/watch of the app of this home, if one runs."""
    expected = is_installed(paths, "app")
    app = read_app(paths)
    if app is None:
        return AppState(expected)
    client = AppClient(app, timeout_s=ASK_S)
    try:
        _, ready = client.look("/readyz")
        watched = client.request("GET", "/api/watch")["projects"]
    except GardenerError:
        return AppState(expected, app.url, app.version, answers=False)
    failed = next((check for check in ready.get("checks", ()) if not check["ok"]), None)
    return AppState(
        expected,
        app.url,
        app.version,
        unready=str(failed["detail"]) if failed else "",
        next_step=str(failed["next_step"]) if failed else "",
        watching={item["project"]: f"{item['mode']} {item['detail']}".strip() for item in watched},
    )


def own_state(edge: Edge) -> AppState:
    """The same of the app that asks itself."""
    from gardener import __version__
    from gardener.server.probes import readiness

    failed = next((check for check in readiness(edge) if not check["ok"]), None)
    watching = {context.name: str(edge.watching.state(context.id)) for context in edge.gardener.projects_by_use()}
    return AppState(
        is_installed(edge.gardener.paths, "app"),
        edge.launch.url,
        __version__,
        unready=str(failed["detail"]) if failed else "",
        next_step=str(failed["next_step"]) if failed else "",
        watching=watching,
    )
