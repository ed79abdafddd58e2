"""Mounts the pages on the server's application, with everything of Gradio's that talks to others turned
off.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Query

from gardener import paths

if TYPE_CHECKING:
    from fastapi import FastAPI

    from gardener.server.edge import Edge
    from gardener.server.passage import App, Receive, Scope, Send
    from ui.pages import Page

_TAKEN_PATHS = (
    "/gradio_api/queue/join",
    "/gradio_api/queue/data",
    "/gradio_api/cancel",
    "/gradio_api/reset",
    "/gradio_api/startup-events",
    "/gradio_api/app_id",
    "/gradio_api/info",
)
_TAKEN_PREFIXES = ("/assets/", "/static/", "/gradio_api/heartbeat/")
_TAKEN_PAGES = frozenset({"/", "/config", "/config/", "/theme.css", "/favicon.ico", "/robots.txt"})
"""The pages themselves are added to them, see OnlyPages."""


def mount(app: FastAPI, edge: Edge) -> FastAPI:
    """Adds the pages at "/" and returns the application."""
    scrub_environment(edge.gardener.paths.run)
    import gradio as gr

    from ui.ask import build
    from ui.pages import add_routes, all_pages

    pages = all_pages(edge)

    @app.get("/manifest.json", include_in_schema=False)
    def manifest() -> dict[str, str]:
        # Browsers ask for it without the cookie; the guard leaves it open, so it says nothing.
        return {"name": "Gardener", "display": "browser"}

    @app.get("/pages/folders", include_in_schema=False)
    def folders(typed: Annotated[str, Query(max_length=4_096)] = "") -> dict[str, list[str]]:
        from gardener.preview import folders_like

        return {"options": folders_like(typed)}

    demo = build(edge)
    add_routes(demo, pages, edge)
    demo.queue(max_size=64, api_open=False, default_concurrency_limit=None)
    with warnings.catch_warnings():
        # It is off anyway, and several pages make Gradio say so.
        warnings.filterwarnings("ignore", message="SSR mode is not supported with multi-page apps")
        _mount(gr, app, demo, edge, pages)
    route: Any = app.router.routes[-1]
    route.app = OnlyPages(route.app, [page.path for page in pages])
    return app


def _mount(gr: Any, app: FastAPI, demo: Any, edge: Edge, pages: Sequence[Page]) -> None:
    from ui.theme import head, static_text, theme

    gr.mount_gradio_app(
        app,
        demo,
        path="/",
        server_name=edge.launch.host,
        server_port=edge.launch.port,
        footer_links=[],
        run_history=False,
        allowed_paths=[],
        show_error=False,
        max_file_size=1,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=theme(),
        css=static_text("page.css"),
        head=head([(page.path, page.name) for page in pages]),
    )


def scrub_environment(run_directory: str) -> None:
    """Before Gradio is imported: no analytics, no sharing, no foreign paths, and a private temporary folder.

    Gradio reads many variables, some at import; whatever the user's shell holds for other programs must not
    open this one.
    """
    assert "gradio" not in sys.modules or "GRADIO_ANALYTICS_ENABLED" in os.environ, "gradio was imported too early"
    for name in [name for name in os.environ if name.startswith("GRADIO_")]:
        del os.environ[name]
    temporary = paths.ensure_directory(os.path.join(run_directory, "gradio"))
    os.environ |= {
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_RUN_HISTORY": "False",
        "GRADIO_TEMP_DIR": temporary,
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "1",
    }


class OnlyPages:
    """Lets through what the pages use of Gradio and answers 404 to the rest.

    Its application also brings uploads, file and proxy routes, monitoring and an editor; no page of ours
    needs them.
    """

    def __init__(self, app: App, pages: Iterable[str] = ()) -> None:
        self.app = app
        self._pages = _TAKEN_PAGES | {f"/{path}" for path in pages}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        known = path in self._pages or path in _TAKEN_PATHS or path.startswith(_TAKEN_PREFIXES)
        if scope["type"] == "lifespan" or (scope["type"] == "http" and known):
            await self.app(scope, receive, send)
            return
        from gardener.server.passage import send_refusal
        from gardener.server.refusal import Refusal

        await send_refusal(send, Refusal(404, "not-found", "There is no such page."), page=False)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.app, name)
