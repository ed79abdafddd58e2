"""Runs a backend's stream to its end, whatever that end is, and stands in for a backend that fails.

A failure before the first word is replaced by an answer quoted from the index; one in the middle keeps the
words, marks them incomplete and adds the quoted answer. Text and degradation say either.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace

from gardener.errors import AdapterUnfit, GardenerError
from gardener.models.base import ChatBackend, ChatRequest
from gardener.models.inert import prose
from gardener.models.registry import Choice
from gardener.types import DegradationLevel, Done, TextDelta, ThinkingDelta, Usage

log = logging.getLogger("gardener.chat")

QUOTED_ANSWER_TOKENS = 8192
"""Room for a quoted answer, which bounds itself by lines."""
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})(.*)$", re.MULTILINE)


@dataclass(slots=True)
class Generation:
    """What one answer has come to so far."""

    backend: str
    model: str
    degradation: DegradationLevel
    reason: str
    started: float
    """time.perf_counter() at the question."""
    pieces: list[str] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    complete: bool = True
    error: str = ""
    first_token_ms: float | None = None
    warnings: list[str] = field(default_factory=list)
    adapter_problem: str = ""
    """Why the backend did not take the project's adapter; "" when it did."""

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def run(
        self, choice: Choice, last_resort: ChatBackend, request: ChatRequest, cancel: threading.Event
    ) -> Iterator[TextDelta | ThinkingDelta]:
        """Streams `choice`'s answer; when it fails, the last resort's after a sentence that says so."""
        failure = yield from self._stream(choice.backend, request, cancel)
        if self.adapter_problem and not self.text:
            # The base without the adapter is closer to what was wanted than no model at all.
            said = f"The adapter is not used: {self.adapter_problem}"
            self.warnings.append(said)
            if self.degradation == "full":
                self.degradation, self.reason = "no enhancement", said
            failure = yield from self._stream(choice.backend, replace(request, adapter=None), cancel)
        if not failure:
            return
        log.warning("chat backend failed: %s", failure, extra={"backend": choice.backend.name})
        if cancel.is_set() or last_resort is choice.backend:
            self.complete, self.error = False, failure
            return
        partial = self.text
        self.degradation, self.reason = "search only", f"{choice.backend.name}: {failure}"
        said = prose(f"{choice.backend.name}: {failure}", 300)
        if partial.strip():
            self.complete, self.error = False, failure
            sentence = f"{closing_fence(partial)}\n\n---\n\n*The model's answer breaks off here ({said}).*\n\n"
        else:
            self.backend, self.model = last_resort.name, ""
            sentence = f"*The model failed ({said}).*\n\n"
        self.pieces.append(sentence)
        yield TextDelta(sentence)
        used = self.usage
        quoted = replace(request, model="", max_tokens=QUOTED_ANSWER_TOKENS, stop=())
        second = yield from self._stream(last_resort, quoted, cancel)
        if partial.strip():
            self.usage = used  # the model's, as far as it told
        if second:
            self.complete, self.error = False, f"{failure}; {second}"

    def _stream(
        self, backend: ChatBackend, request: ChatRequest, cancel: threading.Event
    ) -> Generator[TextDelta | ThinkingDelta, None, str]:
        """Passes the backend's text on; returns why it failed, "" if not; closes the stream in any case."""
        stream: Iterator[object] | None = None
        done: Done | None = None
        try:
            stream = backend.stream(request, cancel)
            for event in stream:
                if isinstance(event, Done):
                    done = event
                    break
                if cancel.is_set():
                    break
                if isinstance(event, TextDelta | ThinkingDelta):
                    if self.first_token_ms is None:
                        self.first_token_ms = (time.perf_counter() - self.started) * 1000
                    if isinstance(event, TextDelta):
                        self.pieces.append(event.text)
                    yield event
        except AdapterUnfit as error:
            self.adapter_problem = error.message
            return error.message
        except GardenerError as error:
            return error.message
        except Exception as error:
            # A backend of a third party may raise anything; the answer must still end as promised.
            log.exception("chat backend raised", extra={"backend": backend.name})
            return f"{type(error).__name__}: {error}"
        finally:
            close = getattr(stream, "close", None)
            if close is not None:
                close()
        if done is not None:
            self.usage = done.usage
        elif not cancel.is_set():
            return "the stream ended without an end"
        if done is None or done.finish == "cancelled":
            self.complete = False
            self.warnings.append("Stopped before the end.")
        elif done.finish == "length":
            self.complete = False
            self.warnings.append(f"Cut at {request.max_tokens:,} tokens, the most that an answer may have.")
        elif done.finish == "error":
            return done.error or "the model failed"
        return ""


def closing_fence(text: str) -> str:
    """What closes the code fence that `text` leaves open, as text cut in the middle may; else ""."""
    opened = ""
    for match in _FENCE.finditer(text):
        mark, rest = match.groups()
        if not opened:
            opened = "" if mark[0] == "`" and "`" in rest else mark
        elif mark[0] == opened[0] and len(mark) >= len(opened) and not rest.strip():
            opened = ""
    return f"\n{opened}" if opened else ""
