"""/v1: the API that editors and chat clients already speak. Each project is a model, `gardener/<name>`.

Form: https://platform.openai.com/docs/api-reference (models, chat, embeddings). The last user message is the
question, the messages before it are the history. Citations stand in the text as [n], as `annotations`, and
whole in `gardener`.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
import struct
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from gardener.errors import ModelNotFound, NotFoundError, UsageError
from gardener.models.base import Sampling
from gardener.models.embeddings import NAME as EMBEDDER_NAME
from gardener.server.bodies import ChatCompletionBody, ChatMessage, EmbeddingsBody
from gardener.server.events import JsonObject
from gardener.server.refusal import Refusal, kind_of, status_of
from gardener.server.sse import SSE_COMMENT, sse_data, sse_response, with_keep_alive
from gardener.types import ChatRole, Message, ProjectContext

if TYPE_CHECKING:
    from gardener.server.edge import Edge
    from gardener.server.jobs import Job

PREFIX = "gardener/"
ACTIVE = PREFIX + "active"
MAX_INPUTS = 2_048
"""Texts in one embeddings request, as OpenAI limits it."""
MAX_STOPS = 4
DONE = b"data: [DONE]\n\n"
CANCELLED = Refusal(499, "cancelled", "The answer was stopped before it was complete.")


def router(edge: Edge) -> APIRouter:
    routes = APIRouter(prefix="/v1")

    @routes.get("/models", summary="Each project is a model; gardener/active follows the switch")
    def models() -> JsonObject:
        names = [ACTIVE, *(PREFIX + context.name for context in edge.gardener.registry.list())]
        return {
            "object": "list",
            "data": [model_json(name, edge) for name in (*names, PREFIX + EMBEDDER_NAME)],
        }

    @routes.get("/models/{model:path}", summary="One model")
    def model(model: str) -> JsonObject:
        if model != PREFIX + EMBEDDER_NAME:
            project_of(edge, model)
        return model_json(model, edge)

    @routes.post("/chat/completions", summary="An answer with citations, streamed or whole")
    async def chat(body: ChatCompletionBody, request: Request) -> Response:
        refuse_unsupported(body)
        question, history = conversation(body.messages)
        context = await asyncio.to_thread(project_of, edge, body.model)
        job = edge.ask(context, question, None, history, sampling=sampling_of(body))
        reply = Reply(body, context, job)
        if body.stream:
            return sse_response(streamed(edge, reply))
        return await whole(edge, reply, request)

    @routes.post("/embeddings", summary="Vectors of the embedder in use")
    def embeddings(body: EmbeddingsBody) -> JSONResponse:
        return JSONResponse(embed(edge, body))

    return routes


def model_json(name: str, edge: Edge) -> JsonObject:
    return {"id": name, "object": "model", "created": int(edge.launch.started), "owned_by": "gardener"}


def project_of(edge: Edge, model: str) -> ProjectContext:
    """The project that a model name means. Raises ModelNotFound, or NoActiveProject for gardener/active."""
    if model == ACTIVE:
        return edge.gardener.context()
    try:
        return edge.gardener.context(model.removeprefix(PREFIX))
    except NotFoundError as error:
        raise ModelNotFound(f"There is no model {model!r}. {error.message}", next_step=error.next_step) from error


def sampling_of(body: ChatCompletionBody) -> Sampling:
    """What the client asks of the generation. Raises UsageError for more stop strings than OpenAI takes."""
    stop = (body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ())
    if len(stop) > MAX_STOPS:
        raise UsageError(f"stop: at most {MAX_STOPS} strings.")
    return Sampling(body.max_completion_tokens or body.max_tokens, body.temperature, body.seed, stop)


def ignored_options(body: ChatCompletionBody, backend: str) -> list[str]:
    """Options that did nothing: unknown ones, and those of the generation that the backend which answered has not."""
    sampled = {"temperature", "max_tokens", "max_completion_tokens", "seed", "stop"}
    without = sampled if backend == "extractive" else {"seed"} if backend == "mlx" else set()
    given = {name for name in sampled if getattr(body, name) is not None}
    return sorted((set(body.model_extra or {}) - {"user", "metadata", "store"}) | (given & without))


def refuse_unsupported(body: ChatCompletionBody) -> None:
    """Options that change what an answer is must not be ignored. Raises UsageError."""
    if body.n not in (None, 1):
        raise UsageError("n: one answer per request is supported.")
    if body.tool_choice not in (None, "none", "auto"):
        raise UsageError("tool_choice: this model calls no tools.")
    if body.response_format is not None and body.response_format.get("type") != "text":
        raise UsageError('response_format: only {"type": "text"} is supported.')


def conversation(messages: list[ChatMessage]) -> tuple[str, tuple[Message, ...]]:
    """The question (the last user message) and what was said before it. Raises UsageError."""
    last = max((index for index, message in enumerate(messages) if message.role == "user"), default=-1)
    question = messages[last].text().strip() if last >= 0 else ""
    if not question:
        raise UsageError("messages: the last user message must have text; it is the question.")
    roles: dict[str, ChatRole] = {
        "system": "system",
        "developer": "system",
        "user": "user",
        "assistant": "assistant",
    }
    earlier = (
        Message(roles[message.role], message.text())
        for message in messages[:last]
        if message.role in roles and message.text().strip()
    )
    return question, tuple(earlier)


class Reply:
    """Builds the objects of one completion out of a job's events."""

    def __init__(self, body: ChatCompletionBody, context: ProjectContext, job: Job) -> None:
        self.id = "chatcmpl-" + secrets.token_hex(12)
        self.created = int(time.time())
        self.body = body
        self.context = context
        self.job = job

    def chunk(self, delta: JsonObject, finish: str | None = None, **more: object) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return sse_data({**self._head("chat.completion.chunk"), "choices": [choice], **more})

    def usage_chunk(self, answer: JsonObject) -> bytes:
        return sse_data({**self._head("chat.completion.chunk"), "choices": [], "usage": usage_of(answer)})

    def completion(self, answer: JsonObject) -> JsonObject:
        message = {
            "role": "assistant",
            "content": answer["answer"],
            "annotations": cited_places(answer, self.context),
        }
        choice = {"index": 0, "message": message, "finish_reason": finish_of(answer), "logprobs": None}
        head = self._head("chat.completion")
        return {**head, "choices": [choice], "usage": usage_of(answer), "gardener": self.extension(answer)}

    def extension(self, answer: JsonObject) -> JsonObject:
        """The whole answer as `gardener ask --json` prints it, and which request options had no effect."""
        return {
            **{name: value for name, value in answer.items() if name != "event"},
            "ignored_options": ignored_options(self.body, str(answer.get("backend", ""))),
        }

    def _head(self, kind: str) -> JsonObject:
        return {"id": self.id, "object": kind, "created": self.created, "model": PREFIX + self.context.name}


def usage_of(answer: JsonObject) -> JsonObject:
    usage = answer["usage"]
    return {name: usage[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")}


def finish_of(answer: JsonObject) -> str:
    return "stop" if answer["complete"] else "length"


def cited_places(answer: JsonObject, context: ProjectContext) -> list[JsonObject]:
    """One url_citation per [n] that stands in the text; indexes count characters, the end is exclusive."""
    from urllib.parse import urlencode

    found: list[JsonObject] = []
    for citation in answer["citations"]:
        marker = f"[{citation['n']}]"
        lines = {"start": citation["start_line"], "end": citation["end_line"]}
        url = "/api/source?" + urlencode({"project": context.name, "path": citation["path"], **lines})
        title = f"{citation['path']}:{citation['start_line']}-{citation['end_line']}"
        at = answer["answer"].find(marker)
        while at >= 0:
            place = {"start_index": at, "end_index": at + len(marker), "url": url, "title": title}
            found.append({"type": "url_citation", "url_citation": place})
            at = answer["answer"].find(marker, at + 1)
    return found


async def streamed(edge: Edge, reply: Reply) -> AsyncIterator[bytes]:
    """The completion as chunks. The job is cancelled when the client has gone: nobody else can read it."""
    job = reply.job
    try:
        yield reply.chunk({"role": "assistant", "content": ""})
        async for batch in with_keep_alive(job.follow()):
            if batch is None:
                yield SSE_COMMENT
                continue
            for event in batch:
                for piece in chunks_of(event, reply):
                    yield piece
        yield DONE
    finally:
        if not job.over:
            edge.jobs.cancel(job.id)


def chunks_of(event: JsonObject, reply: Reply) -> list[bytes]:
    match event["event"]:
        case "text":
            return [reply.chunk({"content": event["text"]})]
        case "thinking":
            return [reply.chunk({"reasoning_content": event["text"]})]
        case "answer":
            notes = cited_places(event, reply.context)
            last = reply.chunk({"annotations": notes}, finish_of(event), gardener=reply.extension(event))
            options = reply.body.stream_options
            return [last, reply.usage_chunk(event)] if options and options.include_usage else [last]
        case "error":
            return [sse_data({"error": openai_error(event)})]
    return []


def openai_error(event: JsonObject) -> JsonObject:
    error = event["error"]
    kind = kind_of(status_of(error["code"]))
    return {"message": error["message"], "type": kind, "code": error["code"].replace("-", "_"), "param": None}


async def whole(edge: Edge, reply: Reply, request: Request) -> Response:
    """The completion in one piece; the job is cancelled when the client goes away before it is done."""
    gone = asyncio.ensure_future(disconnected(request))
    ended = asyncio.ensure_future(finished(reply.job))
    try:
        await asyncio.wait({gone, ended}, return_when=asyncio.FIRST_COMPLETED)
        last = ended.result() if ended.done() else None
    finally:
        gone.cancel()
        ended.cancel()
        if not reply.job.over:
            edge.jobs.cancel(reply.job.id)
    if last is None or last["event"] not in ("answer", "error"):
        return JSONResponse(CANCELLED.as_json(), CANCELLED.status)
    if last["event"] == "error":
        status = status_of(last["error"]["code"])
        headers = {"Retry-After": "5"} if status == 503 else None
        return JSONResponse({"error": openai_error(last)}, status, headers)
    return JSONResponse(reply.completion(last))


async def disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def finished(job: Job) -> JsonObject | None:
    last = None
    async for batch in job.follow():
        last = batch[-1]
    return last


def embed(edge: Edge, body: EmbeddingsBody) -> JsonObject:
    """OpenAI's embeddings object; vectors are L2-normalised. Raises UsageError or EmbedderUnavailable."""
    texts = [body.input] if isinstance(body.input, str) else body.input
    if not texts or len(texts) > MAX_INPUTS or not all(texts):
        raise UsageError(f"input: 1 to {MAX_INPUTS} texts that are not empty.")
    embedder = edge.gardener.embedder()
    if body.dimensions not in (None, embedder.dimensions):
        raise UsageError(f"dimensions: {embedder.name} has {embedder.dimensions}.")
    data: list[JsonObject] = []
    for index, vector in enumerate(embedder.embed(texts)):
        values = [float(value) for value in vector]
        packed = base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
        coded: object = packed if body.encoding_format == "base64" else values
        data.append({"object": "embedding", "index": index, "embedding": coded})
    tokens = sum(len(text) // 4 + 1 for text in texts)  # the form asks for a count; four characters are about a token
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": PREFIX + embedder.name, "usage": usage}
