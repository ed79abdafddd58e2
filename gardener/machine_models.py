"""The models of this machine: which fit, which are here, which answers. The command line and the pages use it alike."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from gardener.errors import (
    ConfigError,
    GardenerError,
    ModelDamaged,
    ModelError,
    ModelNotFound,
    ModelTooLarge,
)
from gardener.models.inert import one_line
from gardener.sizes import size

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from gardener.app import Gardener
    from gardener.models.catalog import CatalogModel, Runtime
    from gardener.models.fit import Fit
    from gardener.models.hardware import Hardware
    from gardener.models.local_models import LocalModel
    from gardener.models.ollama_models import LoadedModel, OllamaModel, PullProgress

Where = Literal["mlx", "ollama", "openai"]
"""What has a model that is here: files on the disk, Ollama, or the OpenAI-compatible server."""


class Machine:
    """The hardware and the part of it that models may take, by the settings."""

    def __init__(self, gardener: Gardener, *, runtime: Runtime | None = None, context: int | None = None) -> None:
        """`runtime` defaults to this machine's, `context` (tokens) to the runtime's setting."""
        from gardener.models.fit import budget_bytes
        from gardener.models.hardware import read_hardware

        settings = gardener.settings
        self.hardware: Hardware = read_hardware(ask_metal=True)
        configured = settings.integer("models.memory_mb") * 1_000_000
        self.configured = configured > 0
        self.has = budget_bytes(self.hardware, configured)
        self.runtime: Runtime = runtime or ("mlx" if self.hardware.system == "darwin" else "ollama")
        self._contexts = {"mlx": "mlx.context_tokens", "ollama": "ollama.context_tokens"}
        self._asked = context
        self._settings = settings

    def context(self, runtime: Runtime) -> int:
        return self._asked or self._settings.integer(self._contexts[runtime])

    def kv_bits(self, runtime: Runtime) -> int:
        return self._settings.integer("mlx.kv_bits") if runtime == "mlx" else 0

    def fit(self, model: CatalogModel, runtime: Runtime) -> Fit | None:
        from gardener.models.fit import fit_model

        return fit_model(
            model, runtime, self.hardware,
            has=self.has, context=self.context(runtime), kv_bits=self.kv_bits(runtime),
        )  # fmt: skip

    def sentence(self) -> str:
        """What there is, and how it was found."""
        hardware = self.hardware
        memory = f"{size(hardware.memory_bytes)} of memory"
        if hardware.limited_by:
            memory += f" (by its {hardware.limited_by})"
        if self.configured:
            why = "by models.memory_mb"
        elif hardware.gpu_bytes is not None:
            why = {"Metal": "Metal's working set", "rule": "about what macOS gives the GPU"}.get(
                hardware.gpu_source, hardware.gpu_source
            )
        else:
            why = "the rest is left for everything else"
        speed = f", {hardware.bandwidth_gbs:.0f} GB/s" if hardware.bandwidth_gbs else ""
        chip = one_line(hardware.chip, LONGEST_NAME) or hardware.system
        sentence = f"{chip}, {hardware.cores} cores, {memory}{speed}: {size(self.has)} for models ({why})."
        if hardware.available_bytes < self.has:
            sentence += f" Only {size(hardware.available_bytes)} are available right now."
        return sentence


def recommended(machine: Machine) -> list[tuple[CatalogModel, Fit]]:
    """The catalogue for the machine's runtime: what fits first, the largest of it first, because it answers best."""
    from gardener.models.catalog import catalogue

    found = [(model, fit) for model in catalogue() if (fit := machine.fit(model, machine.runtime)) is not None]
    found.sort(key=lambda pair: pair[1].label == "too large")  # the catalogue has the largest first
    return found


def best_of(found: Sequence[tuple[CatalogModel, Fit]]) -> CatalogModel | None:
    """The largest model for code that fits with room to spare, else any such model; None when none does."""
    fitting = [model for model, fit in found if fit.label in ("fits well", "fits")]
    return next((model for model in fitting if "code" in model.purpose), fitting[0] if fitting else None)


def refuse_too_large(title: str, fit: Fit, consequence: str, next_step: str) -> None:
    """Raises ModelTooLarge, with the numbers, for what does not fit. `consequence` says what was not done."""
    if fit.label == "too large":
        raise ModelTooLarge(
            f"{title} does not fit: it needs {size(fit.needs.total)} and there are {size(fit.has)}. {consequence}",
            next_step=next_step,
        )


def mlx_folders(gardener: Gardener) -> tuple[LocalModel, ...]:
    """MLX models on the disk: in the models folder, and those that a setting or a project names."""
    from gardener.models.local_models import local_models

    settings = gardener.settings
    configured = [settings.text("mlx.model")]
    configured += [context.model for context in gardener.registry.list() if context.backend == "mlx"]
    return local_models(gardener.paths.models, [name for name in configured if name])


LONGEST_NAME = 300
"""Characters: of a model's name that a server lists. Those of Ollama and of Hugging Face are far shorter."""


def is_name(listed: str) -> bool:
    """Whether what a server lists can be a model's name: what is endless, empty or hides something in it is none."""
    return 0 < len(listed) <= LONGEST_NAME and listed.isprintable()


def in_ollama(gardener: Gardener) -> tuple[list[OllamaModel], str]:
    """Ollama's models, or why they are not known."""
    from gardener.models import ollama_models

    url = gardener.settings.text("ollama.url")
    if not url:
        return [], "ollama.url is empty"
    try:
        return [model for model in ollama_models.list_models(url) if is_name(model.name)], ""
    except GardenerError as error:
        return [], error.message


def loaded_in_ollama(gardener: Gardener) -> tuple[list[LoadedModel], str]:
    """The models that Ollama holds in memory, or why they are not known."""
    from gardener.models import ollama_models

    url = gardener.settings.text("ollama.url")
    if not url:
        return [], ""
    try:
        return ollama_models.loaded(url), ""
    except GardenerError as error:
        return [], error.message


def served(gardener: Gardener) -> tuple[Sequence[str], str]:
    """The models of the OpenAI-compatible server, and what is wrong with it; nothing when none is configured."""
    if not gardener.settings.text("openai.url"):
        return (), ""
    try:
        backend = gardener.backends.get("openai")
        names = [name for name in backend.models() if is_name(name)]
        state = backend.readiness()  # it may have models, and not the one that is chosen
        return names, "" if state.ok else state.reason
    except GardenerError as error:
        return (), error.message


def ollama_url(gardener: Gardener) -> str:
    """Raises ConfigError when no Ollama server is configured."""
    url = gardener.settings.text("ollama.url")
    if not url:
        raise ConfigError(
            "No Ollama server is configured: ollama.url is empty.",
            next_step="gardener config set ollama.url http://127.0.0.1:11434",
        )
    return url


def pull_into_ollama(
    gardener: Gardener, name: str, on_progress: Callable[[PullProgress], None], cancel: threading.Event
) -> str:
    """Has Ollama download a model, by a name of the catalogue or of its own library; returns its name there.

    Raises ModelTooLarge with the numbers before anything is asked of Ollama, ConfigError, or BackendError.
    """
    from gardener.models import ollama_models
    from gardener.models.catalog import find

    known = find(name)
    if known is not None:
        if ollama_is_here(gardener) and (fit := Machine(gardener).fit(known[0], "ollama")) is not None:
            refuse_too_large(known[0].title, fit, "It was not downloaded.", "gardener models recommend")
        build = known[0].build("ollama")
        name = build.name if build is not None else name
    ollama_models.pull(ollama_url(gardener), name, on_progress, cancel)
    return name


def unknown_model(name: str, gardener: Gardener, next_step: str = "", verb: str = "check") -> ModelNotFound:
    """No such model, with the names that are nearest to it. `verb` is what was to be done with it, of
    `gardener models`; `next_step` stands instead of doing that with the nearest."""
    from gardener.models.catalog import nearest
    from gardener.projects.names import shell_word

    offered, problem = served(gardener)
    here = [
        *(model.name for model in mlx_folders(gardener)),
        *(model.name for model in in_ollama(gardener)[0]),
        *offered,
    ]
    near = [each for each in nearest(name, tuple(here)) if each.lower() != name.lower()]
    near.sort(key=lambda each: each not in here)
    server = gardener.settings.text("openai.url")
    said = f"There is no model {one_line(name, LONGEST_NAME)}, neither in the catalogue nor here"
    said += f", nor at the server {one_line(server, LONGEST_NAME)}." if server else "."
    if problem and not offered:
        said += f" {problem}"
    if near:
        said += f" Did you mean {' or '.join(near)}?"
        way = f"gardener models {verb if near[0] in here else 'check'} {shell_word(near[0])}"
    else:
        way = "gardener models list" if here else "gardener models recommend"
    return ModelNotFound(said, next_step=next_step or way)


class Found:
    """One model that is here, and which runtime has it. `size` in bytes, 0 when that is not known."""

    def __init__(self, runtime: Where, name: str, size: int, local: LocalModel | None = None) -> None:
        self.runtime = runtime
        self.name = name
        self.size = size
        self.local = local


def find_here(name: str, gardener: Gardener, next_step: str = "", verb: str = "check") -> Found:
    """The model that a person means, by any of its names. Raises ModelNotFound, also for one that is not here yet,
    with `next_step` as the command to try where getting a model is not what was wanted; `verb` as in unknown_model.
    """
    from gardener.models.catalog import find, names_of
    from gardener.models.local_models import local_models

    known = find(name)
    wanted = {name.lower(), *(each.lower() for each in names_of(known[0]))} if known else {name.lower()}
    path = os.path.expanduser(name)
    folders = mlx_folders(gardener)
    if os.sep in name and os.path.isdir(path):
        folders = local_models(gardener.paths.models, [os.path.abspath(path)])
        wanted.add(os.path.abspath(path).lower())
    for model in folders:
        if model.name.lower() in wanted or model.path.lower() in wanted:
            return Found("mlx", model.name, model.bytes, model)
    ollama, problem = in_ollama(gardener)
    for each in ollama:
        if each.name.lower() in wanted or each.name.lower().removesuffix(":latest") in wanted:
            return Found("ollama", each.name, each.size)
    offered, _ = served(gardener)
    if name in offered:
        return Found("openai", name, 0)
    for served_name in offered:
        if served_name.lower() in wanted:
            return Found("openai", served_name, 0)
    if known is not None:
        asked = f" Ollama could not be asked: {problem}" if problem and gardener.settings.text("ollama.url") else ""
        raise ModelNotFound(
            f"{known[0].title} is not here.{asked}", next_step=next_step or f"gardener models pull {name}"
        )
    raise unknown_model(name, gardener, next_step, verb)


def fit_of(found: Found, machine: Machine, *, here: bool = True) -> Fit | None:
    """How a model fits; None when it cannot be told: it runs on another machine (not `here`), or is in no catalogue."""
    from gardener.models.catalog import find
    from gardener.models.fit import fit_folder

    if found.local is not None:
        return (
            fit_folder(
                found.local.folder, machine.hardware,
                has=machine.has, context=machine.context("mlx"), kv_bits=machine.kv_bits("mlx"),
            )
            if found.local.folder is not None
            else None
        )  # fmt: skip
    known = find(found.name) if here and found.runtime == "ollama" else None
    return machine.fit(known[0], "ollama") if known is not None else None


def adapter_names(gardener: Gardener) -> dict[str, str]:
    """Every project's adapters by fingerprint, as "NAME of PROJECT"."""
    from gardener.models.adapters import AdapterStore

    return {
        str(entry.get("fingerprint")): f"{entry['name']} of {context.name}"
        for context in gardener.registry.list()
        for entry in AdapterStore(context.home).list()
    }


def ollama_is_here(gardener: Gardener) -> bool:
    """Whether Ollama runs on this machine, so that its models take this machine's memory."""
    from gardener.models.server_address import is_local

    return is_local(gardener.settings.text("ollama.url"))


def use_model(gardener: Gardener, name: str, project: str = "") -> Found:
    """Has a model that is here answer: for one project, or for all that have not chosen another.

    Raises ModelNotFound, ModelDamaged, or ModelTooLarge with the numbers; nothing was changed then.
    """
    from gardener.models.catalog import find

    try:
        found = find_here(name, gardener, verb="use")
    except ModelNotFound:
        # A server need not list what it has; then any name may be one of its.
        if find(name) or not gardener.settings.text("openai.url") or not is_name(name):
            raise
        if not gardener.backends.get("openai").readiness(name).ok:
            raise
        found = Found("openai", name, 0)
    use_found(gardener, found, project, name)
    return found


def use_found(gardener: Gardener, found: Found, project: str = "", called: str = "") -> None:
    """As `use_model`, of a model that was found already, under the name that it was `called` by."""
    from gardener.models import ollama_models
    from gardener.settings_edit import set_value

    if found.runtime == "ollama" and not ollama_models.writes(ollama_url(gardener), found.name):
        raise ModelError(
            f"{found.name} only makes vectors and cannot answer. Nothing was changed.",
            next_step="gardener models recommend",
        )
    if found.local is not None and found.local.folder is None:
        raise ModelDamaged(found.local.problem, next_step="gardener models list")
    fit = fit_of(found, Machine(gardener), here=ollama_is_here(gardener))
    if fit is not None:
        refuse_too_large(found.name, fit, "Nothing was changed.", f"gardener models check {called or found.name}")
    if project:
        gardener.registry.configure(project, backend=found.runtime, model=found.name)
    else:
        set_value(gardener.paths, gardener.paths.config, f"{found.runtime}.model", found.name)
