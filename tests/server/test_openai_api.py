"""/v1 with OpenAI's own client: models, chat whole and streamed, embeddings, errors, leaving early."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection

import httpx
import openai
import pytest

from tests.chat_samples import ScriptedBackend
from tests.server.conftest import Gate
from tests.serving import Served

ASK = [{"role": "user", "content": "How is the lantern lit?"}]


@pytest.fixture
def client(served: Served) -> Iterator[openai.OpenAI]:
    with (
        httpx.Client(trust_env=False, timeout=120) as http,
        openai.OpenAI(
            base_url=f"{served.url}/v1", api_key=served.app.token, max_retries=0, timeout=120, http_client=http
        ) as made,
    ):
        yield made


def test_each_project_is_a_model(client: openai.OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert names[:3] == ["gardener/active", "gardener/compass", "gardener/lantern"] or set(names) >= {
        "gardener/active",
        "gardener/compass",
        "gardener/lantern",
    }
    assert client.models.retrieve("gardener/compass").id == "gardener/compass"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gardener/nothing")


def test_a_whole_answer_has_citations_usage_and_the_receipt(client: openai.OpenAI) -> None:
    done = client.chat.completions.create(model="gardener/lantern", messages=ASK, temperature=0.7)  # type: ignore[arg-type]
    message = done.choices[0].message
    assert message.content == "The lantern is lit by light_lantern [1]."
    assert done.choices[0].finish_reason == "stop"
    assert done.usage is not None and done.usage.total_tokens > 0
    assert message.annotations is not None
    cited = message.annotations[0].url_citation
    assert message.content[cited.start_index : cited.end_index] == "[1]"
    assert cited.title.startswith("src/engine.py:")
    extension = done.model_extra["gardener"]  # type: ignore[index]
    assert extension["citations"][0]["state"] == "current"
    assert extension["receipt"]["retrieved"]
    assert extension["ignored_options"] == []


def test_a_cited_place_can_be_fetched_by_its_url(client: openai.OpenAI, served: Served) -> None:
    done = client.chat.completions.create(model="gardener/lantern", messages=ASK)  # type: ignore[arg-type]
    assert done.choices[0].message.annotations is not None
    url = done.choices[0].message.annotations[0].url_citation.url
    with served.http() as http:
        assert any("light_lantern" in line for line in http.get(url).json()["lines"])


def test_a_streamed_answer_arrives_in_pieces(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="gardener/active",
            messages=ASK,  # type: ignore[arg-type]
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert [piece for piece in pieces if piece] == ["The lantern", " is lit", " by light_lantern", " [1]."]
    finishes = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
    assert finishes[-1] == "stop" and finishes.count("stop") == 1
    assert chunks[-1].usage is not None and not chunks[-1].choices
    assert chunks[-2].model_extra["gardener"]["citations"]  # type: ignore[index]
    assert len({chunk.id for chunk in chunks}) == 1


def test_earlier_messages_are_the_history_and_nothing_is_kept(
    client: openai.OpenAI, model: ScriptedBackend, served: Served
) -> None:
    context = served.gardener.context()
    kept = len(served.gardener.history.list(context.id))
    messages = [
        {"role": "system", "content": "Answer in one line."},
        {"role": "user", "content": "Who wrote the lantern?"},
        {"role": "assistant", "content": "Nobody knows."},
        {"role": "user", "content": [{"type": "text", "text": "And how is it lit?"}]},
    ]
    client.chat.completions.create(model="gardener/lantern", messages=messages)  # type: ignore[arg-type]
    request = model.requests[-1]
    assert request.question == "And how is it lit?"
    assert any("Nobody knows." in message.content for message in request.messages)
    assert len(served.gardener.history.list(context.id)) == kept


@pytest.mark.parametrize(
    ("changes", "status", "says"),
    [
        ({"model": "gardener/nothing"}, 404, "nothing"),
        ({"messages": [{"role": "system", "content": "x"}]}, 400, "last user message"),
        ({"messages": [{"role": "user", "content": "  "}]}, 400, "last user message"),
        ({"messages": []}, 422, "messages"),
        ({"n": 2}, 400, "n:"),
        ({"tool_choice": "required"}, 400, "tool_choice"),
        ({"response_format": {"type": "json_object"}}, 400, "response_format"),
    ],
)
def test_errors_have_openais_form(client: openai.OpenAI, changes: dict[str, object], status: int, says: str) -> None:
    body = {"model": "gardener/lantern", "messages": ASK, **changes}
    with pytest.raises(openai.APIStatusError) as caught:
        client.post("/chat/completions", body=body, cast_to=httpx.Response)
    assert caught.value.status_code == status
    error = caught.value.response.json()["error"]
    assert says in error["message"]
    assert error["type"] and error["code"]


def test_leaving_in_the_middle_of_a_stream_ends_the_work(
    client: openai.OpenAI, served: Served, gate: Gate, model: ScriptedBackend
) -> None:
    closed = model.streams_closed
    gate.open.clear()
    gate.waiting.clear()
    stream = client.chat.completions.create(model="gardener/lantern", messages=ASK, stream=True)  # type: ignore[call-overload]
    assert next(iter(stream)).choices[0].delta.role == "assistant"
    assert gate.waiting.wait(120)
    job = served.edge.jobs.find(kind="answer")[0]
    stream.close()
    assert job.cancel.wait(120)
    gate.open.set()
    list(job.tail())
    assert job.state == "cancelled"
    assert model.streams_closed == closed + 1


def test_leaving_while_waiting_for_the_whole_ends_the_work(served: Served, gate: Gate) -> None:
    gate.open.clear()
    gate.waiting.clear()
    headers = {"Authorization": f"Bearer {served.app.token}", "Content-Type": "application/json"}
    with closing(HTTPConnection(served.app.host, served.app.port, timeout=120)) as leaving:
        body = json.dumps({"model": "gardener/active", "messages": ASK})
        leaving.request("POST", "/v1/chat/completions", body, headers)
        assert gate.waiting.wait(120)
    job = served.edge.jobs.find(kind="answer")[0]
    assert job.cancel.wait(120)
    gate.open.set()
    list(job.tail())
    assert job.state == "cancelled"


def test_an_error_after_the_stream_began_is_an_event(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    from gardener.errors import IndexDamaged

    def broken(*_: object, **__: object) -> Iterator[object]:
        raise IndexDamaged("The index of 'lantern' is damaged.", next_step="gardener index --rebuild")
        yield

    monkeypatch.setattr(served.gardener, "ask", broken)
    body = {"model": "gardener/active", "messages": ASK, "stream": True}
    with served.http() as http:
        lines = http.post("/v1/chat/completions", json=body).text.split("\n\n")
        events = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
        assert events[-1]["error"]["code"] == "index_damaged"
        assert "data: [DONE]" in lines
        whole = http.post("/v1/chat/completions", json=body | {"stream": False})
    assert whole.status_code >= 500
    assert whole.json()["error"]["code"] == "index_damaged"


def test_embeddings_are_normalised_and_the_same_in_both_encodings(client: openai.OpenAI) -> None:
    texts = ["def light_lantern(fuel)", "a compass points north"]
    made = client.embeddings.create(model="any", input=texts, encoding_format="float")
    assert [entry.index for entry in made.data] == [0, 1]
    assert all(math.isclose(sum(x * x for x in entry.embedding), 1.0, rel_tol=1e-3) for entry in made.data)
    packed = client.embeddings.create(model="any", input=texts)  # the client asks for base64 by itself
    assert packed.data[1].embedding == pytest.approx(made.data[1].embedding, abs=1e-6)
    with pytest.raises(openai.BadRequestError):
        client.embeddings.create(model="any", input=[""])
    with pytest.raises(openai.BadRequestError):
        client.embeddings.create(model="any", input="x", dimensions=7)


def test_a_wrong_key_is_an_authentication_error(served: Served) -> None:
    with (
        httpx.Client(trust_env=False, timeout=120) as http,
        openai.OpenAI(base_url=f"{served.url}/v1", api_key="wrong", max_retries=0, http_client=http) as stranger,
        pytest.raises((openai.AuthenticationError, openai.RateLimitError)),
    ):
        stranger.models.list()
