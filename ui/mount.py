"""Mounts the pages on the server's application, with everything of Gradio's that talks to others turned
off.
"""

from __future__ import annotations

import json
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

_JOIN = "/gradio_api/queue/join"
_TAKEN_PATHS = (
    _JOIN,
    "/gradio_api/queue/data",
    "/gradio_api/cancel",
    "/gradio_api/reset",
    "/gradio_api/startup-events",
    "/gradio_api/app_id",
    "/gradio_api/info",
)
_TAKEN_PREFIXES = ("/assets/", "/static/")
_TAKEN_PAGES = frozenset({"/", "/config", "/config/", "/theme.css", "/favicon.ico", "/robots.txt"})
"""The pages themselves are added to them, see OnlyPages."""
EVENTS_AT_ONCE = 256
"""As many as the guard lets in: every page that is looked at keeps one open for its running work."""
SESSIONS_KEPT = 300
"""Pages whose state Gradio holds, a quarter of a megabyte each; it makes one with every load and ends none itself."""


_STAY = """addEventListener("beforeunload", (event) => event.stopImmediatePropagation());"""
"""Gradio closes its streams when the browser asks to leave, also for a link into an editor, which leaves nothing: what
the page was following is lost; and it logs each as an error. When a page really goes, the browser closes them itself.
Listeners of the window run in the order of their making: this one must be there before Gradio's own script is."""


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
    demo.max_threads, demo.state_session_capacity = EVENTS_AT_ONCE, SESSIONS_KEPT
    demo.queue(max_size=64, api_open=False, default_concurrency_limit=None)
    with warnings.catch_warnings():
        # It is off anyway, and several pages make Gradio say so.
        warnings.filterwarnings("ignore", message="SSR mode is not supported with multi-page apps")
        _mount(gr, app, demo, edge, pages)
    # It would hold one of the six connections that a browser has for all tabs together, only to tell when a tab closes.
    demo.config["connect_heartbeat"] = False
    route: Any = app.router.routes[-1]
    route.app = OnlyPages(route.app, [page.path for page in pages])
    return app


def _mount(gr: Any, app: FastAPI, demo: Any, edge: Edge, pages: Sequence[Page]) -> None:
    from ui.theme import head, static_text, theme

    _run_first(f"<style>{static_text('theme.css')}</style><script>{_STAY}{static_text('theme.js')}</script>")
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


def _run_first(first: str) -> None:
    """Puts `first` at the head of Gradio's page; what is given as `head` is only run by Gradio's script."""
    from gradio.routes import templates
    from jinja2 import ChoiceLoader, DictLoader

    environment, name = templates.env, "frontend/index.html"
    assert environment.loader is not None
    source = environment.loader.get_source(environment, name)[0]
    if first not in source:
        changed = source.replace("<head>", f"<head>{{% raw %}}{first}{{% endraw %}}", 1)
        environment.loader = ChoiceLoader([DictLoader({name: changed}), environment.loader])


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
        # After every event it makes a table of the last so many, for a page that is off.
        "GRADIO_ANALYTICS_MAX_EVENTS": "1",
        "GRADIO_ANALYTICS_CACHE_FREQUENCY": str(10**12),
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
        if scope["type"] == "http" and path == _JOIN and scope["method"] == "POST":
            await self._join(scope, receive, send)
            return
        if scope["type"] == "lifespan" or (scope["type"] == "http" and known):
            await self.app(scope, receive, send)
            return
        from gardener.server.passage import send_refusal
        from gardener.server.refusal import Refusal

        await send_refusal(send, Refusal(404, "not-found", "There is no such page."), page=False)

    async def _join(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An event of a page, looked at before Gradio takes a path in it for an upload and copies that file."""
        body = b""
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return  # the client has gone
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        if not is_event(body, len(self.get_blocks().fns)):
            from gardener.server.passage import send_refusal
            from gardener.server.refusal import Refusal

            await send_refusal(send, Refusal(400, "bad-event", "No page sends such an event."), page=False)
            return
        whole = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> Any:
            return whole.pop() if whole else await receive()

        await self.app(scope, again, send)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.app, name)


def is_event(body: bytes, events: int) -> bool:
    """Whether `body` is an event as our pages send them: one of `events`, with plain values and no file."""
    try:
        event = json.loads(body)
        number, values, name = event["fn_index"], event["data"], event["session_hash"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
    if type(number) is not int or not 0 <= number < events or type(values) is not list or type(name) is not str:
        return False
    return not any(isinstance(value, (dict, list)) for value in values) and not _names_a_file(event)


def _names_a_file(value: object) -> bool:
    # With a list of what is still to be seen: nesting must not use up the stack.
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            if "path" in one:
                return True
            left.extend(one.values())
        elif isinstance(one, list):
            left.extend(one)
    return False
