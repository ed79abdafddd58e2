"""The chat backends of one home as the settings describe them, what is resident, and what a project needs of it.

Backends are declared here and made when first needed; nothing heavy is imported before. The resident model belongs
to the process that answers: the app while it runs, else the command.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from gardener.errors import AdapterUnfit, ConfigError, GardenerError, NotFoundError
from gardener.models.base import (
    AdapterRef,
    ChatBackend,
    Preparation,
    Prepared,
    Readiness,
    Resident,
    ResidentState,
    StreamLimits,
)
from gardener.models.mlx.installed import INSTALL_MLX
from gardener.models.registry import BackendRegistry
from gardener.paths import Paths, prompt_cache_directory
from gardener.resident_note import write_note

if TYPE_CHECKING:
    from gardener.chat.planning import Plan
    from gardener.models.model_folder import ModelFolder
    from gardener.settings import Settings
    from gardener.types import ProjectContext

log = logging.getLogger("gardener.models")

MEGABYTE = 1_000_000
SERVERS = ("ollama", "openai")


class ModelService:
    """Thread-safe."""

    def __init__(
        self,
        paths: Paths,
        settings: Settings,
        *,
        admit: Callable[[ModelFolder, int], None],
        may_generate: Callable[[], Readiness] = lambda: Readiness(True),
    ) -> None:
        """`admit(folder, kv_bytes)` raises ModelTooLarge when a model must not be loaded now; while `may_generate` says
        no, no language model answers."""
        self._paths = paths
        self._settings = settings
        self._admit = admit
        self._lock = threading.Lock()
        self.registry = BackendRegistry(
            settings.texts("models.order"), fallback=settings.text("models.fallback"), may_generate=may_generate
        )
        self._declare()
        self.registry.register_installed()

    def _declare(self) -> None:
        settings = self._settings
        # What nobody has set up is not tried by "auto", and its absence is not a failure to tell about.
        self.registry.register(
            "mlx", self._mlx, install_hint=INSTALL_MLX, automatic=bool(settings.text("mlx.model")),
        )  # fmt: skip
        self.registry.register(
            "ollama", self._ollama, automatic=bool(settings.text("ollama.url")),
            set_up=settings.is_set("ollama.url") or settings.is_set("ollama.model"),
        )  # fmt: skip
        self.registry.register("openai", self._openai, automatic=bool(settings.text("openai.url")))

    @property
    def limits(self) -> StreamLimits:
        """The deadlines of every generation."""
        settings = self._settings
        return StreamLimits(
            connect_s=settings.number("models.connect_s"),
            first_token_s=settings.number("models.first_token_s"),
            idle_s=settings.number("models.idle_s"),
            total_s=settings.number("models.total_s"),
        )

    def _mlx(self) -> ChatBackend:
        from gardener.models.mlx.backend import MlxBackend

        settings = self._settings
        return MlxBackend(
            settings.text("mlx.model"),
            models_directory=self._paths.models,
            prefix_directory=lambda scope: prompt_cache_directory(self._paths.project_home(scope)),
            context_tokens=settings.integer("mlx.context_tokens"),
            kv_bits=settings.integer("mlx.kv_bits"),
            cache_bytes=settings.integer("mlx.cache_mb") * MEGABYTE,
            prefix_disk_bytes=settings.integer("models.prefix_disk_mb") * MEGABYTE,
            limits=self.limits,
            admit=self._admit,
        )

    def _ollama(self) -> ChatBackend:
        from gardener.models.ollama import OllamaBackend

        settings = self._settings
        if not settings.text("ollama.url"):
            raise ConfigError(
                "No Ollama server is configured: ollama.url is empty.",
                next_step="gardener config set ollama.url http://127.0.0.1:11434",
            )
        return OllamaBackend(
            settings.text("ollama.url"),
            model=settings.text("ollama.model"),
            context_tokens=settings.integer("ollama.context_tokens"),
            keep_alive=settings.text("ollama.keep_alive"),
            limits=self.limits,
        )

    def _openai(self) -> ChatBackend:
        from gardener.models.openai_compatible import OpenAICompatibleBackend

        settings = self._settings
        if not settings.text("openai.url"):
            raise ConfigError(
                "No OpenAI-compatible server is configured: openai.url is empty.",
                next_step="gardener config set openai.url http://127.0.0.1:8080/v1",
            )
        return OpenAICompatibleBackend(
            settings.text("openai.url"),
            model=settings.text("openai.model"),
            key=self._openai_key,
            context_tokens=settings.integer("openai.context_tokens"),
            limits=self.limits,
            adapter_models=settings.flag("openai.adapter_models"),
        )

    def _openai_key(self) -> str:
        from gardener.models.server_key import server_key

        return server_key(
            self._settings.text("openai.key_variable"), self._settings.text("openai.key_keyring"), "openai"
        )

    def default_model(self, backend: str) -> str:
        """The model that a backend answers with when none is named, as the settings have it; "" when they do not."""
        return self._settings.text(f"{backend}.model") if backend in ("mlx", *SERVERS) else ""

    # ---- adapters and residence ----------------------------------------------------------------------

    def adapter(self, context: ProjectContext) -> AdapterRef | None:
        """The project's active adapter. Raises AdapterUnfit when it is missing or damaged."""
        if not context.adapter:
            return None
        from gardener.models.adapters import AdapterStore

        try:
            return AdapterStore(context.home).ref(context.adapter)
        except NotFoundError as error:
            raise AdapterUnfit(error.message, next_step=error.next_step) from error

    def prepare(self, context: ProjectContext, plan: Plan, *, may_load: bool, cancel: threading.Event) -> Prepared:
        """Readies the backend that would answer for a project: adapter on, prefix read or restored.

        A backend that keeps nothing in memory has nothing to prepare. Raises AdapterUnfit or ModelError; what was
        resident stays whole.
        """
        backend = plan.choice.backend
        if not isinstance(backend, Resident):
            return Prepared("nothing resident")
        wanted = Preparation(context.id, (plan.system.message,), plan.choice.model, plan.adapter)
        prepared = backend.prepare(wanted, may_load=may_load, cancel=cancel)
        self.note_resident()
        return prepared

    def resident(self) -> dict[str, ResidentState]:
        """What each backend that was made holds in memory, by its name."""
        states: dict[str, ResidentState] = {}
        for backend in self.registry.made():
            if isinstance(backend, Resident):
                try:
                    states[backend.name] = backend.resident()
                except GardenerError as error:
                    log.warning("resident state unknown: %s", error, extra={"backend": backend.name})
        return states

    def held_bytes(self, what: Literal["weights", "caches"]) -> int:
        """What backends hold in this process's memory; a server's models are its own."""
        states = [state for name, state in self.resident().items() if name not in SERVERS]
        return sum(state.weight_bytes if what == "weights" else state.cache_bytes for state in states)

    def release_caches(self) -> int:
        """Has every backend give its prompt caches back; returns bytes."""
        made = [backend for backend in self.registry.made() if isinstance(backend, Resident)]
        freed = sum(backend.release_caches() for backend in made)
        self.note_resident()
        return freed

    def note_resident(self) -> None:
        """Lets other processes know what is resident; see gardener.resident_note."""
        held = {name: (state.model, state.weight_bytes) for name, state in self.resident().items() if state.model}
        defaults = {"mlx": self._settings.text("mlx.model"), "ollama": self._settings.text("ollama.model")}
        with self._lock:
            write_note(self._paths, held, defaults)

    def close(self) -> None:
        """Frees every model. Calling it twice is allowed."""
        self.registry.close()
