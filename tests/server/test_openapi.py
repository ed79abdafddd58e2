"""Schemathesis speaks to the running app as its OpenAPI document says: no 500, and every answer as declared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from unittest import SkipTest

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gardener.server.refusal import STATUSES
from tests.serving import Served

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
UNAVAILABLE = {503, 507}
"""Statuses of the server's side that are right answers: nothing that could answer is there, or all is busy."""
ENDLESS = {"/api/jobs/{job_id}/events"}


# The app's threads share the process, and with it the random module that Hypothesis watches while it draws.
pytestmark = pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisDeprecationWarning")


@pytest.fixture(autouse=True)
def as_before() -> None:
    """Nothing is put back: the requests rename and remove what they find, and the app is this module's alone."""


@pytest.fixture(scope="module")
def schema(served: Served) -> Any:
    with served.http() as http:
        document = http.get("/api/openapi.json").json()
    loaded = schemathesis.openapi.from_dict(document)
    loaded.config.update(base_url=served.url)
    return loaded


@pytest.fixture(scope="module")
def known(served: Served) -> dict[str, str]:
    """Things that are there, so that more than "not found" is tried."""
    gardener = served.gardener
    context = gardener.context("lantern")
    conversation = gardener.history.start(context.id, "fuel")
    gardener.history.append(context.id, conversation.id, "user", "how long does it burn?")
    return {"project": context.id, "conversation": conversation.id, "key": "search.limit", "path": "src/engine.py"}


@pytest.fixture(scope="module")
def http(served: Served) -> Iterator[httpx.Client]:
    with served.http() as client:
        yield client


BOUNDED = settings(
    max_examples=3,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def test_every_route_keeps_to_its_document(schema: Any, served: Served, known: dict[str, str]) -> None:
    tried = 0

    def keeps_to_it(case: Any) -> None:
        _keeps_to_it(served, known, case)

    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path in ENDLESS:
            continue
        for right_or_wrong in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            with suppress(SkipTest, Unsatisfiable):  # nothing of this route can be wrong
                BOUNDED(given(case=operation.as_strategy(generation_mode=right_or_wrong))(keeps_to_it))()
        tried += 1
    assert tried > 60


def _keeps_to_it(served: Served, known: dict[str, str], case: Any) -> None:
    path = case.operation.path
    if path == "/v1/chat/completions" and isinstance(case.body, dict) and case.body.get("stream"):
        return
    if not path.endswith(("remove", "purge")):
        for part in (case.query, case.path_parameters):
            part.update({name: value for name, value in known.items() if name in (part or ())})
    response = case.call(headers={"Authorization": f"Bearer {served.app.token}"})
    checks = [check for check in CHECKS if check is not not_a_server_error or response.status_code not in UNAVAILABLE]
    case.validate_response(response, checks=checks)


def test_every_error_status_is_declared_and_has_one_form(served: Served, http: httpx.Client) -> None:
    document = http.get("/api/openapi.json").json()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            missing = {str(status) for status in STATUSES} - set(operation["responses"])
            assert not missing, f"{method} {path}"
            reference = operation["responses"]["404"]["content"]["application/json"]["schema"]["$ref"]
            assert reference.endswith("/ErrorAnswer")
