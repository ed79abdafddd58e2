"""The page "Ask": choose a project, ask, read the answer and the lines that it stands on. Layout and
events only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from gardener.errors import GardenerError
from gardener.server.json_api import page_key
from ui.desk import Desk
from ui.live import frames
from ui.source import citations_html, source_html
from ui.transcript import Transcript

if TYPE_CHECKING:
    from gardener.server.edge import Edge
    from gardener.server.jobs import Job
    from gardener.types import ProjectContext

BEACON_JS = """
window.gardener = window.gardener || {};
window.gardener.tell = (name, data) => trigger(name, data);
/* The events that page.js sends: 'moved' 'cite' */
"""
EXAMPLES = ("What does this project do?", "Where does the program start?", "How are errors handled?")


def build(edge: Edge) -> Any:
    """The Blocks of the page."""
    desk = Desk(edge)
    gardener = edge.gardener

    def chooser() -> Any:
        active = gardener.registry.active()
        names = [context.name for context in gardener.registry.list()]
        return gr.update(choices=names, value=active.name if active else None)

    def shown(page: dict[str, Any], job: Job | None) -> list[Any]:
        """What every handler that rebuilds the page gives to REBUILT."""
        transcript: Transcript = page["transcript"]
        citations = transcript.turns[-1] if transcript.turns and job is None else []
        return [
            page,
            f'<span id="page-key" data-key="{escape(page["key"], quote=True)}"></span>',
            gr.update(value=transcript.messages, placeholder=welcome(edge)),
            citations_html(citations, len(transcript.turns) - 1),
            "",
            *buttons(job),
        ]

    def buttons(job: Job | None) -> list[Any]:
        active = gardener.registry.active()
        return [
            gr.update(visible=job is None, interactive=active is not None),
            gr.update(visible=job is not None),
        ]

    def rebuild() -> tuple[dict[str, Any], Job | None]:
        active = gardener.registry.active()
        job = desk.running(active) if active else None
        transcript = desk.transcript(active, job) if active else Transcript()
        page = {
            "key": page_key(edge),
            "project": active,
            "transcript": transcript,
            "job": job.id if job else "",
        }
        return page, job

    async def restore() -> AsyncIterator[list[Any]]:
        """Shows the active project's open conversation and goes on with its running answer."""
        page, job = rebuild()
        yield [*shown(page, job), chooser()]
        if job is not None:
            async for step in follow(page, job):
                yield [*step, gr.skip()]

    async def follow(page: dict[str, Any], job: Job) -> AsyncIterator[list[Any]]:
        skip = gr.skip()
        async for frame in frames(job, page["transcript"], lambda: desk.shows(job)):
            if frame.over:
                page["job"] = ""
                yield shown(page, None)
            else:
                yield [skip, skip, frame.messages, skip, skip, *[skip, skip]]
        if not desk.shows(job):
            # Gradio sends the last update once more when a handler ends; it must not be of the project that
            # was left.
            yield [skip] * 7

    async def ask(question: str, page: dict[str, Any]) -> AsyncIterator[list[Any]]:
        context: ProjectContext | None = page.get("project")
        skip = gr.skip()
        if context is None or not question.strip() or page["job"]:
            yield [skip] * 8
            return
        transcript: Transcript = page["transcript"]
        transcript.add_question(question)
        try:
            job = desk.ask(context, question)
        except GardenerError as error:
            transcript.add_problem(error.message, error.next_step)
            yield [*shown(page, None), ""]
            return
        page["job"] = job.id
        yield [*shown(page, job), ""]
        async for step in follow(page, job):
            yield [*step, skip]

    def stop() -> None:
        active = gardener.registry.active()
        job = desk.running(active) if active else None
        if job is not None:
            edge.jobs.cancel(job.id)

    def choose(name: str | None) -> None:
        active = gardener.registry.active()
        if name and (active is None or active.name != name):
            gardener.switch(name)  # page.js sees the new key and asks for the rebuilt page

    def begin_anew(page: dict[str, Any]) -> list[Any]:
        if page["project"] is not None:
            desk.open(page["project"], "")
        page |= {"transcript": Transcript(), "job": ""}
        return shown(page, None)

    def cite(page: dict[str, Any], event: gr.EventData) -> list[Any]:
        """A citation was chosen, in the text or in the panel."""
        transcript: Transcript = page["transcript"]
        turn, n = int(event.turn), int(event.n)
        citations = transcript.turns[turn] if 0 <= turn < len(transcript.turns) else []
        chosen = next((citation for citation in citations if int(citation["n"]) == n), None)
        if chosen is None or page["project"] is None:
            return [gr.skip(), gr.skip()]
        return [citations_html(citations, turn, n), source_html(gardener, page["project"], chosen)]

    with gr.Blocks(title="Ask — Gardener", analytics_enabled=False, fill_height=True, fill_width=True) as demo:
        page_state = gr.State({"key": "", "project": None, "transcript": Transcript(), "job": ""})
        beacon = gr.HTML("", js_on_load=BEACON_JS, elem_id="beacon")
        with gr.Row(elem_id="top"):
            gr.HTML('<h1 class="brand">Gardener</h1>', elem_id="brand", padding=False, apply_default_css=False)
            project = gr.Dropdown(
                label="Project",
                show_label=False,
                container=False,
                elem_id="project",
                interactive=True,
                min_width=140,
            )
            gr.HTML(
                '<div id="index-chip" role="status"></div>',
                elem_id="index-line",
                padding=False,
                apply_default_css=False,
            )
            anew = gr.Button("New conversation", size="sm", elem_id="anew", min_width=120)
        with gr.Row(elem_id="desk"):
            with gr.Column(scale=3, min_width=320, elem_id="talk"):
                chat = gr.Chatbot(
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
                    placeholder=welcome(edge),
                )
                with gr.Row(elem_id="asking"):
                    question = gr.Textbox(
                        label="Your question",
                        show_label=False,
                        container=False,
                        placeholder="Ask about this project",
                        lines=1,
                        max_lines=8,
                        autofocus=True,
                        max_length=20_000,
                        elem_id="question",
                        scale=8,
                    )
                    send = gr.Button("Ask", variant="primary", elem_id="send", scale=0, min_width=84)
                    halt = gr.Button("Stop", variant="stop", elem_id="stop", scale=0, min_width=84, visible=False)
            with gr.Column(scale=2, min_width=320, elem_id="reading"):
                gr.HTML("<h2>Sources</h2>", padding=False, apply_default_css=False)
                sources = gr.HTML(citations_html([], 0), elem_id="sources", padding=False, apply_default_css=False)
                source = gr.HTML("", elem_id="source", padding=False, apply_default_css=False)
        key = gr.HTML('<span id="page-key" data-key=""></span>', elem_id="key-holder", padding=False)

        rebuilt = [page_state, key, chat, sources, source, send, halt]
        ui_event = {"show_progress": "hidden", "concurrency_limit": None, "api_visibility": "private"}
        demo.load(restore, None, [*rebuilt, project], **ui_event)
        beacon.moved(restore, None, [*rebuilt, project], **ui_event)
        beacon.cite(cite, page_state, [sources, source], **ui_event)
        gr.on([question.submit, send.click], ask, [question, page_state], [*rebuilt, question], **ui_event)
        halt.click(stop, None, None, **ui_event)
        project.input(choose, project, None, **ui_event)
        anew.click(begin_anew, page_state, rebuilt, **ui_event)
    return demo


def welcome(edge: Edge) -> str:
    """What an empty page says: what to do first."""
    active = edge.gardener.registry.active()
    if active is None:
        return "## No project yet\n\nIn a terminal:\n\n`gardener add PATH`\n\nThis page notices by itself."
    name = active.name.replace("`", "")
    if not edge.gardener.status().get("updated_at"):
        return f'## `{name}` has no index yet\n\nIn a terminal:\n\n`gardener index --project "{name}"`'
    examples = "\n\n".join(f"[{example}](#ask)" for example in EXAMPLES)
    keys = "`/` jumps to the question, `Ctrl+P` to the projects, `Esc` stops an answer."
    return f"## Ask about `{name}`\n\n{examples}\n\n{keys}"
