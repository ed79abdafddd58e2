"""Runs a backend's stream to its end, whatever that end is, and stands in for a backend that fails.

A failure before the first word is replaced by another model's answer if there is one, else by one quoted from the
index; one in the middle keeps the words, marks them incomplete and adds the quoted answer. Text and degradation say
either.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace

from gardener.chat.remembered import RememberedAnswer
from gardener.errors import AdapterUnfit, GardenerError
from gardener.models.base import ChatBackend, ChatRequest, estimate_tokens
from gardener.models.inert import prose
from gardener.models.problems import Failure, failure_of
from gardener.models.registry import Choice
from gardener.types import DegradationLevel, Done, Finish, ProblemKind, TextDelta, ThinkingDelta, Usage

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
    finish: Finish = "stop"
    problem: ProblemKind = ""
    generates: bool = True
    """Whether a language model writes `text`."""
    own_characters: int = 0
    """So many at the beginning of `text` are ours."""
    model_characters: int = 0
    """Where the model's own text ends, when something of ours follows it; else 0."""
    first_token_ms: float | None = None
    warnings: list[str] = field(default_factory=list)
    remembered: RememberedAnswer | None = None
    """What `text` repeats, when no model could answer."""
    adapter_problem: str = ""
    """Why the backend did not take the project's adapter; "" when it did."""
    next_step: str = ""
    """The command that helps against `reason`."""

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def run(
        self,
        choice: Choice,
        last_resort: ChatBackend,
        request: ChatRequest,
        cancel: threading.Event,
        instead: Callable[[Failure], tuple[Choice, ChatRequest] | None] = lambda failure: None,
        recall: Callable[[], RememberedAnswer | None] = lambda: None,
    ) -> Iterator[TextDelta | ThinkingDelta]:
        """Streams `choice`'s answer; when it fails, the last resort's after a sentence that says so.

        A model that fails before its first word is replaced by what `instead` gives, as long as it gives one, and then
        by what `recall` remembers. The last resort is only asked when that is nothing, also when it was chosen.
        """
        if choice.backend is last_resort and (kept := recall()) is not None:
            yield self.repeat(kept, choice.reason)
            return
        failure = yield from self._stream_adapted(choice, request, cancel)
        while failure:
            self.problem = failure.kind
            log.warning("chat backend failed: %s", failure.message, extra={"backend": choice.backend.name})
            if cancel.is_set() or last_resort is choice.backend:
                self.complete, self.error, self.finish = False, failure.message, "error"
                return
            if self.spoken.strip() or (other := instead(failure)) is None:
                if not self.spoken.strip() and (kept := recall()) is not None:
                    yield self.repeat(kept, f"{choice.backend.name}: {failure.message}")
                    return
                yield from self._quoted(choice, last_resort, request, cancel, failure)
                return
            failed, (choice, request) = f"{choice.backend.name}: {failure.message}", other
            self.backend, self.model, self.generates = choice.backend.name, choice.model_name, True
            if choice.degradation == "full":  # what the search lacks stays as it is
                self.warnings.append(f"{prose(failed, 300)} So {named(choice)} answers.")
            else:
                self.degradation, self.reason, self.next_step = choice.degradation, failed, failure.next_step
                yield self._aside(f"*The model failed ({prose(failed, 300)}). {named(choice)} answers instead.*\n\n")
            failure = yield from self._stream_adapted(choice, request, cancel)

    @property
    def spoken(self) -> str:
        """What the model wrote, without our own sentences."""
        return self.text[self.own_characters :]

    def _aside(self, sentence: str) -> TextDelta:
        """A sentence of ours before the model's first word."""
        self.pieces.append(sentence)
        self.own_characters = len(self.text)
        return TextDelta(sentence)

    def repeat(self, kept: RememberedAnswer, why: str) -> TextDelta:
        """Has `kept` for the answer, introduced as what it is."""
        self.remembered, self.complete, self.finish = kept, True, "stop"
        self.backend, self.model, self.generates = kept.backend, kept.model, True
        self.degradation, self.reason = "small or cached", f"An earlier answer is repeated. {why}"
        return self._aside(kept.introduction(why) + kept.text)

    def _stream_adapted(
        self, choice: Choice, request: ChatRequest, cancel: threading.Event
    ) -> Generator[TextDelta | ThinkingDelta, None, Failure | None]:
        """Without the adapter when it does not fit: closer to what was wanted than no model at all."""
        self.adapter_problem = ""
        failure = yield from self._stream(choice.backend, request, cancel)
        if not self.adapter_problem or request.adapter is None or self.spoken:
            return failure
        said = f"The adapter is not used: {self.adapter_problem}"
        self.warnings.append(said)
        if self.degradation == "full":
            self.degradation, self.reason = "no enhancement", said
        return (yield from self._stream(choice.backend, replace(request, adapter=None), cancel))

    def _quoted(
        self,
        choice: Choice,
        last_resort: ChatBackend,
        request: ChatRequest,
        cancel: threading.Event,
        failure: Failure,
    ) -> Iterator[TextDelta | ThinkingDelta]:
        """The last resort's answer, after what the model said and the sentence that says why it ends there."""
        partial = self.spoken.strip()
        self.degradation, self.reason = "search only", f"{choice.backend.name}: {failure.message}"
        self.next_step = failure.next_step
        said = prose(f"{choice.backend.name}: {failure.message}", 300)
        if partial:
            self.complete, self.error, self.finish = False, failure.message, "error"
            self.model_characters = len(self.text)
            sentence = f"{closing_fence(self.text)}\n\n---\n\n*The model's answer breaks off here ({said}).*"
        else:
            self.backend, self.model, self.generates = last_resort.name, "", False
            sentence = f"*The model failed ({said}).*"
        sentence = f"{sentence} {failure.advice()}\n\n"
        self.pieces.append(sentence)
        yield TextDelta(sentence)
        used, problem = self.usage, self.problem
        quoted = replace(request, model="", max_tokens=QUOTED_ANSWER_TOKENS, stop=())
        second = yield from self._stream(last_resort, quoted, cancel)
        self.problem = problem
        if partial:
            self.usage, self.finish = used, "error"  # the model's, as far as it told
        if second:
            self.complete, self.error, self.finish = False, f"{failure.message}; {second.message}", "error"

    def _stream(
        self, backend: ChatBackend, request: ChatRequest, cancel: threading.Event
    ) -> Generator[TextDelta | ThinkingDelta, None, Failure | None]:
        """Passes the backend's text on; returns why it failed, None if not; closes the stream in any case."""
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
            return failure_of(error)
        except GardenerError as error:
            return failure_of(error)
        except Exception as error:
            # A backend of a third party may raise anything; the answer must still end as promised.
            log.exception("chat backend raised", extra={"backend": backend.name})
            return failure_of(error)
        finally:
            close = getattr(stream, "close", None)
            if close is not None:
                close()
        if done is not None:
            self.usage = done.usage
        elif not cancel.is_set():
            return Failure("the stream ended without an end", "network")
        self.finish = done.finish if done is not None else "cancelled"
        if self.finish == "cancelled":
            self.complete, self.problem = False, "cancelled"
            self.warnings.append("Stopped before the end.")
        elif self.finish == "length":
            self.complete = False
            self.warnings.append(f"Cut at {request.max_tokens:,} tokens, the most that an answer may have.")
        elif done is not None and self.finish == "error":
            return Failure(done.error or "the model failed", done.problem or "unknown")
        return None

    def counted(self, prompt_tokens: int) -> Usage:
        """The backend's own count; an estimate where a stream broke before it told one."""
        if self.usage.prompt_tokens or self.usage.completion_tokens or not self.spoken:
            return self.usage
        return replace(
            self.usage,
            prompt_tokens=prompt_tokens,
            completion_tokens=estimate_tokens(self.text[self.own_characters : self.model_characters or None]).tokens,
            estimated=True,
        )


def named(choice: Choice) -> str:
    """Backend and model, for a sentence."""
    return prose(f"{choice.backend.name} {choice.model_name}".strip(), 120)


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
