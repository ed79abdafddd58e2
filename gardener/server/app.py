"""The one web application: guard, probes, /api, /v1, /mcp. The pages are mounted on it by ui.mount."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from gardener.errors import GardenerError
from gardener.server.document import complete_document
from gardener.server.edge import Edge
from gardener.server.guard import Guard
from gardener.server.passage import DEFAULT_LIMITS, Limits
from gardener.server.refusal import Refusal, refusal_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from fastapi import FastAPI
    from starlette.responses import Response

log = logging.getLogger("gardener.server")


def create_app(edge: Edge, *, limits: Limits = DEFAULT_LIMITS) -> FastAPI:
    """The application of one launch. Its lifespan ends the jobs: partial answers are saved as incomplete."""
    from fastapi import FastAPI
    from starlette.routing import Route

    from gardener import __version__
    from gardener.server import (
        conversations_api,
        health_api,
        json_api,
        models_api,
        openai_api,
        probes,
        projects_api,
        system_api,
    )
    from gardener.server.mcp_endpoint import McpEndpoint

    mcp = McpEndpoint(edge)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with mcp.running():
            yield
            await asyncio.to_thread(edge.jobs.close)

    app = FastAPI(
        title="Gardener",
        version=__version__,
        summary="Every project on this machine has its own assistant.",
        lifespan=lifespan,
        openapi_url="/api/openapi.json",
        docs_url=None,  # FastAPI's own pages load their scripts from another host
        redoc_url=None,
    )
    app.state.edge = edge
    app.include_router(probes.router(edge), tags=["probes"])
    for part in (json_api, projects_api, conversations_api, models_api, system_api, health_api):
        app.include_router(part.router(edge), tags=["api"])
    app.include_router(openai_api.router(edge), tags=["openai"])
    app.router.routes += [Route(path, mcp, include_in_schema=False) for path in ("/mcp", "/mcp/")]
    answer_errors(app)
    complete_document(app)
    app.add_middleware(
        Guard,
        access=edge.access,
        port=edge.launch.port,
        extra_hosts=edge.launch.extra_hosts,
        limits=limits,
        metrics=edge.metrics,
        refusals=edge.refusals,
        closing=edge.closing,
    )
    return app


def answer_errors(app: FastAPI) -> None:
    """Every error of /api and /v1 leaves in the one form of gardener.server.refusal."""
    from fastapi.exceptions import RequestValidationError
    from starlette.exceptions import HTTPException
    from starlette.requests import Request
    from starlette.responses import JSONResponse

    def answer(request: Request, refusal: Refusal) -> Response:
        headers = {"Retry-After": "5"} if refusal.status == 503 else None
        shown = refusal.for_openai() if request.url.path.startswith("/v1/") else refusal
        return JSONResponse(shown.as_json(), shown.status, headers)

    @app.exception_handler(GardenerError)
    async def known(request: Request, error: GardenerError) -> Response:
        return answer(request, refusal_of(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return answer(request, validation_refusal(error.errors()))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        codes = {400: "bad-request", 404: "not-found", 405: "method"}
        code = codes.get(error.status_code, "http")
        return answer(request, Refusal(error.status_code, code, str(error.detail)))


def validation_refusal(problems: Sequence[dict[str, object]]) -> Refusal:
    """What is wrong with a body, field by field, without repeating what was sent."""
    described: list[str] = []
    first: str | None = None
    for problem in problems:
        place = problem["loc"]
        field = ".".join(str(part) for part in place[1:]) if isinstance(place, tuple | list) else str(place)
        first = first or field or None
        text = (
            "unknown field"
            if problem["type"] == "extra_forbidden"
            else str(problem["msg"]).removeprefix("Value error, ")
        )
        described.append(f"{field or 'body'}: {text}")
    return Refusal(422, "invalid-request", "; ".join(described[:8]) + ".", param=first, exit_code=2)
