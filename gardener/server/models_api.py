"""/api/models, /api/adapters, /api/embedder: what answers, what fits, what is in memory, and changing it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from gardener.server import long_work
from gardener.server.bodies import Body, Name
from gardener.server.events import JsonObject

if TYPE_CHECKING:
    from gardener.server.edge import Edge

ModelName = Annotated[str, Field(min_length=1, max_length=4_096)]
Project = Annotated[str | None, Query(min_length=1, max_length=1_000, description="Default: the active one")]
Runtime = Literal["mlx", "ollama"]
Context = Annotated[int | None, Query(ge=1, le=10_000_000, description="Tokens; default: the runtime's setting")]


class PullBody(Body):
    name: ModelName = Field(description="A name of the catalogue, or of Ollama's library")


class UseModelBody(Body):
    name: ModelName
    project: Name | None = Field(None, description="Only for this project; default: all that have not chosen another")


class ChooseModelBody(Body):
    backend: Name = Field(description="As /api/models/choices gives it: auto, extractive, mlx, ollama, openai, …")
    model: Annotated[str, Field(max_length=4_096)] = Field("", description="Empty: the backend's own")
    project: Name | None = None


class AdapterBody(Body):
    name: Annotated[str, Field(min_length=1, max_length=200)]
    project: Name | None = None


class UseAdapterBody(AdapterBody):
    even_if_worse: bool = Field(False, description="Although it did worse than its base on held-out files")


class OptionalProjectBody(Body):
    project: Name | None = None


class TrainBody(Body):
    """POST /api/train; null is the default of `gardener train`."""

    project: Name | None = None
    name: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    model: str = Field("", max_length=4_096)
    steps: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    rank: Annotated[int, Field(ge=1, le=256)] | None = None
    batch: Annotated[int, Field(ge=1, le=256)] | None = None
    tokens: Annotated[int, Field(ge=32, le=131_072)] | None = None
    learning_rate: Annotated[float, Field(gt=0, le=1)] | None = None
    resume: bool = False
    again: bool = False


class EmbedderBody(Body):
    """POST /api/embedder/use."""

    spec: Annotated[str, Field(min_length=1, max_length=4_096)] = Field(
        description="packaged, folder:PATH, ollama:MODEL or openai:MODEL"
    )
    url: str = Field("", max_length=2_000)
    key_variable: str = Field("", max_length=200)
    query_prefix: str = Field("", max_length=1_000)
    text_prefix: str = Field("", max_length=1_000)
    sends_code_to: str = Field(
        "", max_length=2_000, description="Must repeat `url` when that is another machine: code will be sent there"
    )


def router(edge: Edge) -> APIRouter:
    routes = APIRouter(prefix="/api")
    gardener = edge.gardener

    @routes.get("/models", summary="The models that are here, and which is used")
    def models() -> JsonObject:
        from gardener.model_listing import models_here

        rows, problems = models_here(gardener)
        return {"models": rows, "problems": problems}

    @routes.get("/models/resident", summary="Models in memory, their counters, and how ready the active project is")
    def resident() -> JsonObject:
        return edge.resident_json()

    @routes.get("/models/recommend", summary="The catalogue, with what fits this machine")
    def recommend(runtime: Runtime | None = None, context: Context = None) -> JsonObject:
        from gardener.machine_models import Machine
        from gardener.model_listing import recommendation_json

        return recommendation_json(Machine(gardener, runtime=runtime, context=context))

    @routes.get("/models/check", summary="What one model needs, what there is, what would be left")
    def check(
        name: str = Query(min_length=1, max_length=4_096), runtime: Runtime | None = None, context: Context = None
    ) -> JsonObject:
        from gardener.machine_models import Machine
        from gardener.model_listing import check_model

        machine = Machine(gardener, runtime=runtime, context=context)
        checked = check_model(gardener, machine, name, runtime)
        return {**checked.entry, "hardware": machine.hardware.as_json()}

    @routes.post("/models/pull", status_code=202, summary="Have Ollama download a model; follow the job")
    def pull(body: PullBody) -> JsonObject:
        return edge.pull_model(body.name).as_json()

    @routes.post("/models/use", summary="Answer with this model; refused with the numbers when it does not fit")
    def use(body: UseModelBody) -> JsonObject:
        from gardener.machine_models import use_model

        found = use_model(gardener, body.name, body.project or "")
        return {"runtime": found.runtime, "name": found.name, "project": body.project}

    @routes.get("/models/choices", summary="What may answer for a project, and which of it was chosen")
    def choices_(project: Project = None) -> JsonObject:
        from gardener.model_choice import choices

        return choices(gardener, gardener.context(project))

    @routes.post("/models/choose", summary="What answers for a project from its next question on; loads nothing")
    def choose_(body: ChooseModelBody) -> JsonObject:
        from gardener.model_choice import choose

        context = choose(gardener, gardener.context(body.project), body.backend, body.model)
        return {"project": context.name, "backend": context.backend, "model": context.model}

    @routes.get("/adapters", summary="A project's adapters, the one in use, and trainings that were stopped")
    def adapters(project: Project = None) -> JsonObject:
        from gardener.project_adapters import adapters_json

        return adapters_json(gardener.context(project))

    @routes.post("/adapters/use", summary="Answer with this adapter from the next answer on")
    def use_adapter_(body: UseAdapterBody) -> JsonObject:
        from gardener.project_adapters import use_adapter

        context = use_adapter(gardener, gardener.context(body.project), body.name, even_if_worse=body.even_if_worse)
        return {"project": context.name, "active": context.adapter}

    @routes.post("/adapters/off", summary="Answer with the base model alone")
    def off(body: OptionalProjectBody | None = None) -> JsonObject:
        from gardener.project_adapters import adapter_off

        context = gardener.context(body.project if body else None)
        return {"project": context.name, "active": "", "was": adapter_off(gardener, context)}

    @routes.post("/adapters/remove", summary="Delete an adapter for good")
    def remove(body: AdapterBody) -> JsonObject:
        from gardener.project_adapters import remove_adapter

        context = gardener.context(body.project)
        remove_adapter(context, body.name)
        return {"project": context.name, "removed": body.name}

    @routes.post("/train", status_code=202, summary="Train an adapter for a project; follow the job")
    def train(body: TrainBody) -> JsonObject:
        from gardener.project_training import DEFAULT_NAME, TrainingRequest

        fields = body.model_dump(exclude={"project", "name"})
        request = TrainingRequest(name=body.name or DEFAULT_NAME, **fields)
        return long_work.train(edge, gardener.context(body.project), request).as_json()

    @routes.get("/embedder", summary="What makes the vectors, and whose vectors each project is searched with")
    def embedder() -> JsonObject:
        from gardener.embedder_change import embedder_json

        return embedder_json(gardener)

    @routes.post("/embedder/use", summary="Try another embedder and change to it")
    def use_embedder(body: EmbedderBody) -> JsonObject:
        from gardener.embedder_change import choose_embedder, try_embedder
        from gardener.errors import UsageError
        from gardener.models.embedder_spec import parse_spec

        spec = parse_spec(
            body.spec, url=body.url, key_variable=body.key_variable,
            query_prefix=body.query_prefix, text_prefix=body.text_prefix,
        )  # fmt: skip
        if spec.leaves_the_machine and body.sends_code_to != spec.url:
            raise UsageError(
                f"Code and questions would be sent to {spec.url}. Nothing was changed; say it in `sends_code_to`."
            )
        tried = try_embedder(gardener, spec)
        choose_embedder(gardener, spec)
        edge.embed_next()
        return tried.as_json()

    @routes.post("/embedder/cancel", summary="Back to the embedder that the projects are still searched with")
    def cancel() -> JsonObject:
        from gardener.embedder_change import choose_embedder, former_embedder

        known = former_embedder(gardener)
        choose_embedder(gardener, known.spec)
        edge.embed_next()
        return {"embedder": known.spec.text, "fingerprint": known.fingerprint, "dimensions": known.dimensions}

    return routes
