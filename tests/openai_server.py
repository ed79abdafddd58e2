"""A stand-in for servers that speak OpenAI's API, with the ways in which they differ; the same faults as Ollama's.

Answers from a real one are tested against mlx_lm.server; this one is for what a real one does rarely.
https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.ollama_server import Fault, Handler, Model, OllamaServer, serving, tokens

CHAT = "/v1/chat/completions"


@dataclass
class OpenAIServer(OllamaServer):
    fault_path: str = CHAT
    form: Literal["plain", "crlf", "lines", "comments", "tight"] = "plain"
    """Of the server-sent events: as usual, with CRLF, data over several lines, with comments and ids, without the empty
    line after each."""
    refuses: tuple[str, ...] = ()
    """Fields that are an error here."""
    thoughts_in: Literal["reasoning_content", "reasoning", "tags"] = "reasoning_content"
    ends_with: str = "[DONE]"
    finish: str = "stop"
    windows: dict[str, dict[str, int]] = field(default_factory=dict)
    """What the list says about a model's window."""
    listed: bool = True


class OpenAIHandler(Handler):
    state: OpenAIServer

    def routes(self, body: dict[str, Any], fault: Fault | None) -> dict[tuple[str, str], Callable[[], None]]:
        routes: dict[tuple[str, str], Callable[[], None]] = {("POST", CHAT): lambda: self.complete(body, fault)}
        if self.state.listed:
            routes["GET", "/v1/models"] = self.list
        return routes

    def list(self) -> None:
        data = [
            {"id": name, "object": "model", "owned_by": "me", **self.state.windows.get(name, {})}
            for name in self.state.models
        ]
        self.whole(200, {"object": "list", "data": data})

    def begin(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.state.streaming.set()

    def line(self, value: object) -> None:
        text = value if isinstance(value, str) else json.dumps(value)
        form = self.state.form
        if text.startswith('{"object":"error"'):
            self.raw(text + "\n")  # as it is, outside of any event
            return
        if form == "crlf":
            self.raw(f"data: {text}\r\n\r\n")
        elif form == "tight":
            self.raw(f"data:{text}\n")
        elif form == "lines":
            self.raw("".join(f"data: {part}\n" for part in json.dumps(value, indent=1).split("\n")) + "\n")
        elif form == "comments":
            self.raw(f": keep-alive\n\nid: 7\nevent: message\ndata: {text}\n\n")
        else:
            self.raw(f"data: {text}\n\n")

    def piece(self, content: str, thinking: str = "") -> dict[str, Any]:
        delta: dict[str, Any] = {"content": content} if content else {}
        if thinking:
            delta[self.state.thoughts_in] = thinking
        return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}

    def complete(self, body: dict[str, Any], fault: Fault | None) -> None:
        state = self.state
        for name in state.refuses:
            if name in body:
                said = f"Unsupported parameter: '{name}' is not supported with this model."
                self.whole(400, {"error": {"message": said, "type": "invalid_request_error", "param": name}})
                return
        if state.listed and body["model"] not in state.models:
            self.whole(404, {"error": {"message": f"The model `{body['model']}` does not exist.", "code": 404}})
            return
        options = {
            "stop": body.get("stop"),
            "num_predict": body.get("max_tokens", body.get("max_completion_tokens", -1)),
        }
        schema = body.get("response_format", {}).get("json_schema", {}).get("schema")
        pieces, reason = self.written({"format": schema}, options)
        thoughts = tokens(state.thought) if state.thought else []
        if thoughts and state.thoughts_in == "tags":
            pieces, thoughts = ["<thi", "nk>", *thoughts, "</thin", "k>\n\n", *pieces], []
        self.begin()
        self.line({"choices": [{"index": 0, "delta": {"role": "assistant"}, "finish_reason": None}]})
        for thought in thoughts:
            self.line(self.piece("", thought))
        for at, piece in enumerate(pieces):
            if fault is not None and at == fault.after:
                self.late(fault)
                return
            self.line(self.piece(piece))
            self.listen(0.0)
        reason = state.finish if reason == "stop" else reason
        self.line({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
        if body.get("stream_options", {}).get("include_usage"):
            counts = {
                "prompt_tokens": 21,
                "completion_tokens": len(pieces),
                "prompt_tokens_details": {"cached_tokens": 9},
            }
            self.line({"choices": [], "usage": counts})
        if state.ends_with:
            self.raw(f"data: {state.ends_with}\n\n")
        self.end()


@contextmanager
def openai_server(*names: str) -> Iterator[OpenAIServer]:
    state = OpenAIServer(thought="")
    state.add(*(Model(name) for name in names or ("served",)))
    with serving(state, OpenAIHandler):
        yield state
