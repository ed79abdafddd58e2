"""Chat backends by name, made when first asked for, and the choice of the one that answers.

A backend of one's own takes a class that meets `base.ChatBackend` and one entry point:

    [project.entry-points."gardener.chat_backends"]
    parrot = "parrot_backend:Parrot"

The entry point's object is called without arguments when the backend is first needed.
"""

from __future__ import annotations

import difflib
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gardener.errors import BackendUnavailable, ConfigError, GardenerError
from gardener.models.base import ChatBackend, Readiness
from gardener.models.extractive import EXTRACTIVE, ExtractiveBackend
from gardener.types import DegradationLevel

AUTO = "auto"
ENTRY_POINTS = "gardener.chat_backends"
BackendFactory = Callable[[], ChatBackend]
log = logging.getLogger("gardener.models")


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A backend that was preferred and could not be used."""

    name: str
    reason: str
    next_step: str = ""
    code: str = ""
    """Of the error, where there was one."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The backend that answers, and how far that is from what was wanted."""

    backend: ChatBackend
    model: str
    """Name within the backend; empty means its default."""
    degradation: DegradationLevel
    """"full" when the wanted language model answers, "small or cached" when the fallback does, else "search only"."""
    reason: str = ""
    """Why it is not "full", with each better backend's own reason."""
    next_step: str = ""
    passed_over: tuple[PassedOver, ...] = ()

    @property
    def model_name(self) -> str:
        """The model, or the backend's own where none was chosen: what answers and usage say. It may be asked for."""
        if self.model or not self.backend.capabilities.generates:
            return self.model
        try:
            return next(iter(self.backend.models()), "")
        except GardenerError:
            return ""


@dataclass(frozen=True, slots=True)
class _Registration:
    factory: BackendFactory
    install_hint: str
    automatic: bool
    """Whether "auto" tries it."""
    set_up: bool
    """Whether somebody has; "auto" says nothing of what nobody has set up and is not there."""


class BackendRegistry:
    """Knows backends by name; makes each at most once. Safe to use from several threads."""

    def __init__(
        self,
        order: Sequence[str] = (),
        *,
        fallback: str = "",
        may_generate: Callable[[], Readiness] = lambda: Readiness(True),
    ) -> None:
        """`order`: the names that "auto" tries first, best first, when `choose` is not given another order.

        `fallback` names what stands in for a model that cannot answer, as BACKEND or BACKEND:MODEL. While
        `may_generate` says no, no language model is chosen; it must neither raise nor take long. The extractive
        backend is registered from the start: it is always there and always last.
        """
        self._order = tuple(order)
        self._fallback = fallback
        self._may_generate = may_generate
        self._registered: dict[str, _Registration] = {}
        self._made: dict[str, ChatBackend] = {}
        self._lock = threading.RLock()
        self.register(EXTRACTIVE, ExtractiveBackend)

    def register(
        self,
        name: str,
        factory: BackendFactory,
        *,
        install_hint: str = "",
        automatic: bool = True,
        set_up: bool = True,
    ) -> None:
        """Declares a backend. `install_hint` is the command that installs what its factory imports; "auto" passes
        one by that is not `automatic`. One that nobody has `set_up` is used when it is there, and its absence is no
        failure to tell about.

        Raises ConfigError for a name that is taken or reserved.
        """
        with self._lock:
            if name == AUTO or name in self._registered:
                raise ConfigError(
                    f"The chat backend name {name!r} is already taken.",
                    next_step="gardener config show --origin",
                )
            self._registered[name] = _Registration(factory, install_hint, automatic, set_up)

    def register_installed(self) -> None:
        """Declares what installed packages offer; a name that is taken is left out and logged."""
        from importlib.metadata import entry_points

        for entry in entry_points(group=ENTRY_POINTS):
            try:
                self.register(entry.name, lambda entry=entry: entry.load()())  # type: ignore[misc]
            except ConfigError as error:
                log.warning("chat backend left out: %s", error, extra={"backend": entry.name})

    def names(self, order: Sequence[str] = ()) -> tuple[str, ...]:
        """All names in the order in which "auto" tries them: those of `order`, then as registered."""
        with self._lock:
            known = [name for name in self._registered if name != EXTRACTIVE]
        ordered = [name for name in dict.fromkeys(order or self._order) if name in known]
        return (*ordered, *(name for name in known if name not in ordered), EXTRACTIVE)

    def _automatic(self, order: Sequence[str]) -> tuple[str, ...]:
        names = self.names(order)[:-1]
        with self._lock:
            return tuple(name for name in names if self._registered[name].automatic)

    def made(self) -> tuple[ChatBackend, ...]:
        """Those that have been asked for."""
        with self._lock:
            return tuple(self._made.values())

    def get(self, name: str) -> ChatBackend:
        """The backend of that name, made now if it was not. Raises ConfigError or BackendUnavailable."""
        with self._lock:
            if name in self._made:
                return self._made[name]
            registration = self._registered.get(name)
            if registration is None:
                raise self._unknown(name)
            try:
                backend = registration.factory()
            except GardenerError:
                raise
            except ImportError as error:
                log.info("backend not installed: %s", error, extra={"backend": name})
                raise BackendUnavailable(
                    f"The chat backend {name!r} needs {error.name or error}, which is not installed.",
                    next_step=registration.install_hint,
                ) from error
            except Exception as error:
                raise BackendUnavailable(
                    f"The chat backend {name!r} could not be started: {type(error).__name__}: {error}",
                    next_step=registration.install_hint,
                ) from error
            self._made[name] = backend
            return backend

    def choose(self, name: str = AUTO, model: str = "", order: Sequence[str] = ()) -> Choice:
        """The backend to answer with: `name`, or for "auto" the first ready one in `order`, then as
        registered.

        When a wanted backend is not ready the fallback stands in, else the extractive one, and the choice says why.
        Raises ConfigError for a name that is not registered.
        """
        name = name or AUTO
        with self._lock:
            for wanted in (name, *(order or self._order)):
                if wanted != AUTO and wanted not in self._registered:
                    raise self._unknown(wanted)
        allowed = self._may_generate()
        passed_over: list[PassedOver] = []
        candidates = (name,) if name != AUTO else self._automatic(order)
        for candidate in candidates:
            # A model's name belongs to the backend that was named with it.
            candidate_model = model if candidate == name or name == AUTO else ""
            try:
                backend = self.get(candidate)
                if backend.capabilities.generates and not allowed.ok:
                    return Choice(self.last_resort(), "", "search only", allowed.reason, allowed.next_step)
                readiness = backend.readiness(candidate_model)
            except GardenerError as error:
                passed_over.append(PassedOver(candidate, error.message, error.next_step, error.code))
                continue
            if not readiness.ok:
                if name != AUTO or not readiness.absent or self._registered[candidate].set_up:
                    passed_over.append(PassedOver(candidate, readiness.reason, readiness.next_step, readiness.code))
                continue
            if backend.capabilities.generates:
                return Choice(backend, candidate_model, "full", passed_over=tuple(passed_over))
            return self._search_only(backend, passed_over, chosen=True)
        return self.fallback(passed_over) or self._search_only(self.get(EXTRACTIVE), passed_over, chosen=False)

    def fallback(self, passed_over: list[PassedOver], failed: Choice | None = None) -> Choice | None:
        """What stands in for models that cannot answer, or for the one that has `failed`; None when nothing does.

        Why it does not is added to `passed_over`.
        """
        if not self._fallback:
            return None
        reason = " ".join(f"{item.name}: {item.reason}" for item in passed_over) or "No other model is set up."
        return self.named(self._fallback, "small or cached", reason, passed_over, failed)

    def named(
        self,
        spec: str,
        degradation: DegradationLevel,
        reason: str,
        passed_over: list[PassedOver],
        other_than: Choice | None = None,
    ) -> Choice | None:
        """The model that BACKEND or BACKEND:MODEL means, if it is ready, generates, and is another than `other_than`;
        why it is not is added to `passed_over`."""
        name, _, model = spec.partition(":")
        if other_than is not None and (other_than.backend.name, other_than.model) == (name, model):
            return None
        try:
            backend = self.get(name)
            if not backend.capabilities.generates:
                return None
            allowed = self._may_generate()
            readiness = backend.readiness(model) if allowed.ok else allowed
        except GardenerError as error:
            readiness = Readiness(False, error.message, error.next_step, code=error.code)
        if not readiness.ok:
            passed_over.append(PassedOver(spec, readiness.reason, readiness.next_step, readiness.code))
            return None
        return Choice(backend, model, degradation, reason, passed_over=tuple(passed_over))

    def last_resort(self) -> ChatBackend:
        """The extractive backend."""
        return self.get(EXTRACTIVE)

    def close(self) -> None:
        """Closes every backend that was made."""
        with self._lock:
            made = list(self._made.values())
            self._made.clear()
        for backend in made:
            backend.close()

    def _search_only(self, backend: ChatBackend, passed_over: Sequence[PassedOver], chosen: bool) -> Choice:
        if passed_over:
            reason = " ".join(f"{item.name}: {item.reason}" for item in passed_over)
            next_step = next((item.next_step for item in passed_over if item.next_step), "")
        else:
            reason = f"The {backend.name} backend is configured." if chosen else "No language model is set up."
            next_step = "" if chosen else "gardener models recommend"
        return Choice(backend, "", "search only", reason, next_step, tuple(passed_over))

    def _unknown(self, name: str) -> ConfigError:
        near = difflib.get_close_matches(name, [AUTO, *self._registered], n=1)
        hint = f" Did you mean {near[0]!r}?" if near else f" Known: {', '.join((AUTO, *self.names()))}."
        return ConfigError(f"There is no chat backend {name!r}.{hint}", next_step="gardener config show --origin")
