"""/api over real HTTP: the contracts that the command line and the pages rely on."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from gardener.errors import AppUnreachable, BackendUnavailable, UsageError
from gardener.server.client import AppError
from tests.chat_samples import ScriptedBackend
from tests.server.conftest import Gate
from tests.serving import Served


def error_of(answer: httpx.Response) -> dict[str, object]:
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "code", "param", "next_step", "exit_code"}
    return dict(error)


def test_search_answers_in_the_form_of_the_command_line(served: Served) -> None:
    found = served.command_line().request("POST", "/api/search", {"query": "light the lantern", "limit": 3})
    assert (found["project"], found["query"]) == ("lantern", "light the lantern")
    assert found["index"]["fresh"] is True
    best = found["hits"][0]
    assert best["path"] == "src/engine.py"
    assert {"start_line", "end_line", "symbol", "kind", "language", "score", "text", "sources"} <= set(best)


def test_search_stays_in_the_project_that_was_asked(served: Served) -> None:
    found = served.command_line().request("POST", "/api/search", {"query": "lantern", "project": "compass"})
    assert found["project"] == "compass"
    assert all("lantern" not in hit["text"] for hit in found["hits"])


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"query": "x", "limits": 3}, "limits"),
        ({"query": "x", "limit": 0}, "limit"),
        ({"query": "x", "limit": "many"}, "limit"),
        ({"query": ["x"]}, "query"),
    ],
)
def test_a_wrong_body_is_refused_by_field(served: Served, body: dict[str, object], field: str) -> None:
    with served.http() as client:
        answer = client.post("/api/search", json=body)
    assert answer.status_code == 422
    error = error_of(answer)
    assert error["param"] == field and field in str(error["message"])
    assert error["exit_code"] == 2


@pytest.mark.parametrize("body", [{"query": ""}, {}, {"query": "   "}])
def test_an_empty_query_is_a_usage_error(served: Served, body: dict[str, object]) -> None:
    with served.http() as client:
        answer = client.post("/api/search", json=body)
    assert answer.status_code == 400
    assert error_of(answer)["code"] == "usage"


def test_an_unknown_field_is_named_as_such(served: Served) -> None:
    with served.http() as client:
        assert "limits: unknown field" in client.post("/api/search", json={"query": "x", "limits": 1}).text


def test_what_is_not_json_is_refused(served: Served) -> None:
    with served.http() as client:
        for content in (b"", b"{", b"\xff\xfe", b"[1]"):
            answer = client.post("/api/search", content=content, headers={"Content-Type": "application/json"})
            assert answer.status_code == 422
            error_of(answer)


def test_errors_carry_their_code_and_next_step(served: Served) -> None:
    with pytest.raises(AppError, match="lanterm") as caught:
        served.command_line().request("POST", "/api/search", {"query": "x", "project": "lanterm"})
    assert (caught.value.code, caught.value.exit_code, caught.value.status) == ("project-not-found", 4, 404)
    assert caught.value.next_step
    with served.http() as client:
        assert error_of(client.get("/api/nowhere"))["code"] == "not-found"
        assert client.put("/api/search").status_code == 405


def test_switch_and_projects(served: Served) -> None:
    client = served.command_line()
    assert client.request("POST", "/api/switch", {"project": "compass"})["active"]["name"] == "compass"
    listed = client.request("GET", "/api/projects")
    assert listed["active"] == "compass"
    assert {project["name"] for project in listed["projects"]} == {"lantern", "compass"}
    assert served.gardener.context().name == "compass"


def test_the_pulse_tells_which_project_a_page_must_show(served: Served) -> None:
    client = served.command_line()
    before = client.request("GET", "/api/pulse")
    assert before["active"]["name"] == "lantern"
    served.gardener.switch("compass")  # as another process would: through state.db
    after = client.request("GET", "/api/pulse")
    assert after["active"]["name"] == "compass"
    assert after["page"] != before["page"]
    assert after["started"] == before["started"]


def test_an_answer_is_a_job_that_anyone_may_follow_from_anywhere(served: Served) -> None:
    client = served.command_line()
    job = client.request("POST", "/api/ask", {"question": "How is the lantern lit?"})
    events = list(client.stream("GET", f"/api/jobs/{job['job']}/events"))
    assert [event["event"] for event in events] == ["retrieved", "text", "text", "text", "text", "answer"]
    answer = events[-1]
    assert answer["answer"] == "The lantern is lit by light_lantern [1]."
    assert answer["citations"][0]["state"] == "current"
    assert (answer["backend"], answer["project"], answer["complete"]) == ("scripted", "lantern", True)
    late = list(client.stream("GET", f"/api/jobs/{job['job']}/events?offset=4"))
    assert late == events[4:]
    whole = client.request("GET", f"/api/jobs/{job['job']}")
    assert whole["state"] == "done" and whole["said"] == events
    stored = served.gardener.history.show(served.gardener.context().id, answer["conversation"])
    assert [message.role for message in stored] == ["user", "assistant"]


def test_null_keeps_nothing(served: Served) -> None:
    client = served.command_line()
    context = served.gardener.context()
    before = len(served.gardener.history.list(context.id))
    job = client.request("POST", "/api/ask", {"question": "Private?", "conversation": None})
    assert list(client.stream("GET", f"/api/jobs/{job['job']}/events"))[-1]["event"] == "answer"
    assert len(served.gardener.history.list(context.id)) == before


def test_cancel_keeps_the_partial_answer_as_incomplete(served: Served, gate: Gate) -> None:
    client = served.command_line()
    gate.open.clear()
    gate.waiting.clear()
    job = client.request("POST", "/api/ask", {"question": "How is the lantern lit?"})
    assert gate.waiting.wait(120)
    client.request("POST", f"/api/jobs/{job['job']}/cancel")
    gate.open.set()
    last = list(client.stream("GET", f"/api/jobs/{job['job']}/events"))[-1]
    assert last["complete"] is False
    assert client.request("GET", f"/api/jobs/{job['job']}")["state"] == "cancelled"
    stored = served.gardener.history.show(served.gardener.context().id, last["conversation"])
    assert stored[-1].role == "assistant" and not stored[-1].complete


def test_a_broken_answer_is_continued_as_a_job(served: Served, model: ScriptedBackend) -> None:
    client = served.command_line()

    def last(route: str, body: dict[str, object]) -> dict[str, Any]:
        job = client.request("POST", route, body)
        return list(client.stream("GET", f"/api/jobs/{job['job']}/events"))[-1]

    whole = tuple(model.script)
    try:
        model.script = (*whole[:2], BackendUnavailable("it broke the connection off"))
        first = last("/api/ask", {"question": "How is the lantern lit?"})
        assert not first["complete"] and first["problem"] == "network"
        model.script = whole[2:]
        second = last("/api/continue", {"conversation": first["conversation"]})
    finally:
        model.script = whole
    assert (second["answer"], second["complete"]) == ("".join(whole), True)
    assert second["conversation"] == first["conversation"]
    with pytest.raises(UsageError, match="is complete"):
        last("/api/continue", {"conversation": first["conversation"]})
    with served.http() as http:
        figures = http.get("/metrics").text
    assert 'gardener_problems_total{kind="network"} 1.0' in figures
    assert 'gardener_tokens_total{kind="cached"} 0.0' in figures
    assert "gardener_budget_used_ratio 0.0" in figures


def test_a_running_answer_finishes_against_its_own_project(served: Served, gate: Gate) -> None:
    client = served.command_line()
    gate.open.clear()
    gate.waiting.clear()
    job = client.request("POST", "/api/ask", {"question": "How is the lantern lit?"})
    assert gate.waiting.wait(120)
    client.request("POST", "/api/switch", {"project": "compass"})
    gate.open.set()
    last = list(client.stream("GET", f"/api/jobs/{job['job']}/events"))[-1]
    assert last["project"] == "lantern" and last["citations"][0]["path"] == "src/engine.py"


def test_an_error_ends_the_stream_of_a_job(served: Served) -> None:
    client = served.command_line()
    job = client.request("POST", "/api/ask", {"question": "why?", "conversation": "ffffffff"})
    events = list(client.stream("GET", f"/api/jobs/{job['job']}/events"))
    assert events[-1]["event"] == "error"
    assert events[-1]["error"]["code"] == "conversation-not-found"


def test_an_index_update_reports_and_is_joined_rather_than_doubled(served: Served) -> None:
    client = served.command_line()
    job = client.request("POST", "/api/index", {"project": "compass"})
    events = list(client.stream("GET", f"/api/jobs/{job['job']}/events"))
    assert events[-1]["event"] == "report"
    assert events[-1]["files"] == 2


def test_source_shows_lines_and_never_leaves_the_root(served: Served) -> None:
    client = served.command_line()
    view = client.request("GET", "/api/source?path=src/engine.py&start=4&end=5")
    assert view["lines"][0] == "def light_lantern(fuel: int) -> int:"
    assert (view["start_line"], len(view["lines"]), view["exists"]) == (4, 2, True)
    with served.http() as http:
        for path in ("../home/config.toml", "/etc/passwd", "src/../../home", "a\0b"):
            assert http.get("/api/source", params={"path": path}).status_code == 400
    assert client.request("GET", "/api/source?path=gone.py")["exists"] is False


def test_a_link_from_the_command_line_opens_the_browser_once(served: Served) -> None:
    url = served.command_line().request("POST", "/api/link")["url"]
    with served.stranger() as browser:
        assert browser.get(url).status_code == 303
        assert browser.get("/api/status").json()["project"] == "lantern"


def test_the_api_documents_itself(served: Served) -> None:
    described = served.command_line().request("GET", "/api/openapi.json")
    assert described["components"]["schemas"]["SearchBody"]["additionalProperties"] is False
    assert "/v1/chat/completions" in described["paths"]
    with served.http() as client:
        assert client.get("/docs").status_code == 404


def test_a_stream_that_is_cut_is_an_error_not_an_end(served: Served, gate: Gate) -> None:
    client = served.command_line()
    gate.open.clear()
    gate.waiting.clear()
    job = client.request("POST", "/api/ask", {"question": "How?", "conversation": None})
    stream = client.stream("GET", f"/api/jobs/{job['job']}/events")
    assert next(stream)["event"] == "retrieved"
    silent = type(client)(served.app, timeout_s=0.1)
    with pytest.raises(AppUnreachable):
        list(silent.stream("GET", f"/api/jobs/{job['job']}/events?offset=1"))
    gate.open.set()
    assert [event["event"] for event in stream][-1] == "answer"
