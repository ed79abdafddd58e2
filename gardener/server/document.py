"""The OpenAPI document: FastAPI's, with the one error form, every status that an error can have, and the credential."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gardener.server.bodies import ErrorAnswer
from gardener.server.passage import OPEN_PATHS
from gardener.server.refusal import STATUSES

if TYPE_CHECKING:
    from fastapi import FastAPI

_SCHEMAS = "#/components/schemas/"


def complete_document(app: FastAPI) -> None:
    """Has the app describe its errors as they are; FastAPI by itself declares only 422, in a form we do not use."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(plain())
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _completed(document: dict[str, Any]) -> dict[str, Any]:
    parts = document.setdefault("components", {})
    schemas = parts.setdefault("schemas", {})
    form = ErrorAnswer.model_json_schema(ref_template=_SCHEMAS + "{model}")
    schemas.update(form.pop("$defs", {}))
    schemas["ErrorAnswer"] = form
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    content = {"application/json": {"schema": {"$ref": _SCHEMAS + "ErrorAnswer"}}}
    errors = {str(status): {"description": what, "content": content} for status, what in STATUSES.items()}
    parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"token": []}]
    for path, operations in document["paths"].items():
        for operation in operations.values():
            own = operation["responses"]
            operation["responses"] = {**{code: of for code, of in own.items() if code[0] in "123"}, **errors}
            if path in OPEN_PATHS:
                operation["security"] = []
                operation["responses"]["503"] = own.get("503", errors["503"])
    return document
