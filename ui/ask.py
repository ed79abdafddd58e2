"""The page "Ask": choose a project, ask, read the answer and the lines that it stands on. Layout and events only;
what happens is in ui.ask_handlers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import gradio as gr

from ui.ask_handlers import LONGEST_QUESTION, NOTHING, Handlers, Updates
from ui.desk import Tab
from ui.presence import Presence
from ui.source import citations_html

if TYPE_CHECKING:
    from gardener.server.edge import Edge

Handler = Callable[..., AsyncIterator[Updates]]
BEACON_JS = """
window.gardener = window.gardener || {};
window.gardener.tell = (name, data) => trigger(name, data);
window.gardener.follow = () => trigger('follow', {});
window.gardener.rest = () => trigger('rest', {});
document.dispatchEvent(new Event("gardener-page"));
/* The events that ask.js sends: 'moved' 'cite' 'act', and stream.js: 'follow' 'rest' */
"""


def build(edge: Edge) -> Any:
    """The Blocks of the page."""
    handlers = Handlers(edge)
    with gr.Blocks(title="Ask — Gardener", analytics_enabled=False, fill_height=True, fill_width=True) as demo:
        parts = _layout(handlers)
        tab, beacon = parts["tab"], gr.HTML("", js_on_load=BEACON_JS, elem_id="beacon")
        outputs = list(parts.values())
        ui_event: dict[str, Any] = {
            "show_progress": "hidden",
            "concurrency_limit": None,
            "api_visibility": "private",
            # A handler that follows an answer goes on for long; by default the next event would be dropped meanwhile.
            "trigger_mode": "multiple",
        }

        def to_parts(handler: Handler) -> Callable[..., AsyncIterator[Any]]:
            return keyed(handler, parts)

        presence = Presence(edge.closing)

        async def follow(request: gr.Request) -> AsyncIterator[Any]:
            async for _ in presence.stay(str(request.session_hash)):
                yield gr.skip()

        async def rest(request: gr.Request) -> None:
            presence.rest(str(request.session_hash))

        demo.load(to_parts(handlers.load), tab, outputs, **ui_event)
        beacon.moved(to_parts(handlers.moved), tab, outputs, **ui_event)
        beacon.cite(to_parts(handlers.cite), tab, outputs, **ui_event)
        done = beacon.act(to_parts(handlers.act), tab, outputs, **ui_event)
        done.then(None, parts["parcel"], None, js="(parcel) => window.gardener.take(parcel)", **ui_event)
        beacon.follow(follow, None, parts["parcel"], **ui_event)
        beacon.rest(rest, None, None, **ui_event)
        asked = [parts["question"], tab]
        gr.on([parts["question"].submit, parts["send"].click], to_parts(handlers.ask), asked, outputs, **ui_event)
        parts["halt"].click(handlers.stop, tab, None, **ui_event)
        parts["project"].input(handlers.choose, parts["project"], None, **ui_event)
        parts["project"].focus(handlers.chooser, None, parts["project"], **ui_event)
        searched = [parts["find"], tab]
        parts["find"].change(to_parts(handlers.find), searched, outputs, **ui_event | {"trigger_mode": "always_last"})
    return demo


def keyed(handler: Handler, parts: dict[str, Any]) -> Callable[..., AsyncIterator[Any]]:
    """The handler with its updates keyed by component, as Gradio wants them; the last one changes nothing.

    Gradio sends the last one once more when a handler ends, and by then the page may show something else.
    """

    @wraps(handler)  # keeps the signature, from which Gradio knows who wants the request or the event
    async def handle(*values: Any) -> AsyncIterator[Any]:
        updates = NOTHING
        async for updates in handler(*values):
            yield {parts[name]: update for name, update in updates.items()}
        if "parcel" not in updates:  # which the browser takes at the end, and a second time is none
            yield {parts[name]: update for name, update in NOTHING.items()}

    return handle


def _layout(handlers: Handlers) -> dict[str, Any]:
    """The components that handlers update, by name."""
    parts: dict[str, Any] = {"tab": gr.State(Tab()), "parcel": gr.JSON(visible=False)}
    with gr.Row(elem_id="top"):
        _html('<h1 class="brand">Gardener</h1>', "brand")
        parts["project"] = gr.Dropdown(
            label="Project", show_label=False, container=False, elem_id="project", interactive=True, min_width=140
        )
        _html('<div id="index-chip" role="status"></div>', "index-line")
        _html(
            '<div class="acts"><button type="button" id="list-toggle" aria-expanded="false">Conversations</button>'
            '<button type="button" id="anew" data-act="new" data-argument="">New conversation</button>'
            '<button type="button" id="sources-toggle" aria-expanded="true">Sources</button></div>',
            "top-acts",
        )
    with gr.Row(elem_id="desk"):
        with gr.Column(scale=1, min_width=0, elem_id="past"):
            parts["find"] = gr.Textbox(
                label="Search conversations",
                show_label=False,
                container=False,
                placeholder="Search conversations",
                max_length=200,
                elem_id="find",
            )
            parts["listing"] = _html("", "listing")
        with gr.Column(scale=3, min_width=320, elem_id="talk"):
            parts["head"] = _html("", "head")
            parts["earlier"] = _html("", "earlier")
            parts["chat"] = _chatbot(handlers.welcome)
            _html('<div id="model-line" role="status"></div>', "models-now")
            parts["notice"] = _html("", "notice")
            with gr.Row(elem_id="asking"):
                parts["question"] = gr.Textbox(
                    label="Your question",
                    show_label=False,
                    container=False,
                    placeholder="Ask about this project",
                    lines=1,
                    max_lines=8,
                    autofocus=True,
                    max_length=LONGEST_QUESTION,
                    elem_id="question",
                    scale=8,
                )
                parts["send"] = gr.Button("Ask", variant="primary", elem_id="send", scale=0, min_width=84)
                parts["halt"] = gr.Button("Stop", variant="stop", elem_id="stop", scale=0, min_width=84, visible=False)
            _html('<button type="button" id="model-choice" aria-haspopup="dialog" hidden></button>', "model-row")
        with gr.Column(scale=2, min_width=320, elem_id="reading"):
            _html("<h2>Sources</h2>", "reading-head")
            parts["sources"] = _html(citations_html([], 0), "sources")
            parts["source"] = _html("", "source")
    parts["key"] = _html('<span id="page-key" data-key=""></span>', "key-holder")
    return parts


def _html(content: str, elem_id: str) -> Any:
    return gr.HTML(content, elem_id=elem_id, padding=False, apply_default_css=False)


def _chatbot(welcome: Callable[[], str]) -> Any:
    return gr.Chatbot(
        label="Conversation",
        show_label=False,
        elem_id="chat",
        height="100%",
        layout="bubble",
        buttons=[],
        sanitize_html=True,
        render_markdown=True,
        line_breaks=False,
        latex_delimiters=[],
        allow_tags=False,
        allow_file_downloads=False,
        feedback_options=None,
        placeholder=welcome(),
    )
