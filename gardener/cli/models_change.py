"""Changing which models are here and which answers: `gardener models pull`, `rm` and `use`."""

from __future__ import annotations

import os

from gardener.cli.console import Console, one_line, size
from gardener.cli.models_local import in_ollama, loaded_in_ollama, mlx_folders, unknown_model

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    import threading

    from gardener.app import Gardener
    from gardener.cli.ollama_link import PullProgress
    from gardener.errors import GardenerError
    from gardener.models.catalog import Build, Runtime
    from gardener.models.local_models import LocalModel


def pull(args: argparse.Namespace, gardener: Gardener, console: Console) -> int:
    from gardener.cli.models import Machine
    from gardener.errors import ModelTooLarge
    from gardener.models.catalog import find

    known = find(args.name)
    if known is None:
        if args.runtime == "mlx" or ("/" in args.name and ":" not in args.name):
            raise unknown_model(args.name, gardener)
        return _pull_ollama(args.name, gardener, console)  # Ollama's library has more than the catalogue
    model, own = known
    machine = Machine(gardener, args)
    runtime: Runtime = args.runtime or own or machine.runtime
    build, fit = model.build(runtime), machine.fit(model, runtime)
    assert build is not None and fit is not None  # every entry has a build for every runtime
    if fit.label == "too large":
        raise ModelTooLarge(
            f"{model.title} does not fit: it needs {size(fit.needs.total)} and there are {size(fit.has)}. "
            "It was not downloaded.",
            next_step="gardener models recommend",
        )
    if fit.label == "tight":
        console.note(f"It is tight: it leaves {size(fit.leaves)} of {size(fit.has)}.")
    if runtime == "ollama":
        return _pull_ollama(build.name, gardener, console)
    return _pull_mlx(args, build, gardener, console)


def _pull_mlx(args: argparse.Namespace, build: Build, gardener: Gardener, console: Console) -> int:
    from gardener.models.download import check_disk, command, download, folder_name

    folder = gardener.paths.models
    check_disk(build, folder)
    about = f"about {size(build.bytes)}" if build.estimated else size(build.bytes)
    console.note(f"{build.name} is {about}. By hand: {command(build, folder)}")
    if not args.yes and not console.confirm(f"Download it from huggingface.co into {folder}?"):
        return _nobody(console, f"gardener models pull {args.name} --runtime mlx --yes", "Nothing was downloaded.")
    path = download(build, folder)
    if console.as_json:
        console.json({"runtime": "mlx", "name": folder_name(build), "path": path})
    console.line_unless_json(path)
    console.note(f"Answer with it: gardener models use {folder_name(build)}")
    return 0


def _pull_ollama(name: str, gardener: Gardener, console: Console) -> int:
    import threading

    url = _ollama_url(gardener)
    from gardener.cli.ollama_link import ollama_models

    cancel = threading.Event()

    def shown(progress: PullProgress) -> None:
        if progress.total_bytes:
            share = 100 * progress.done_bytes // progress.total_bytes
            console.progress(
                f"{progress.status}: {share} % of {size(progress.total_bytes)} ({size(progress.done_bytes)})"
            )
        else:
            console.progress(progress.status)

    try:
        ollama_models().pull(url, name, shown, cancel)
    except KeyboardInterrupt:
        raise _interrupted(cancel, name) from None
    if console.as_json:
        console.json({"runtime": "ollama", "name": name})
    console.line_unless_json(f"{one_line(name)} is here.")
    console.note(f"Answer with it: gardener models use {name}")
    return 0


def _interrupted(cancel: threading.Event, name: str) -> GardenerError:
    from gardener.errors import Interrupted

    cancel.set()
    return Interrupted(
        f"Interrupted. Ollama keeps what has come of {name}, and goes on from there.",
        next_step=f"gardener models pull {name}",
    )


def _ollama_url(gardener: Gardener) -> str:
    from gardener.errors import ConfigError

    url = gardener.settings.text("ollama.url")
    if not url:
        raise ConfigError(
            "No Ollama server is configured: ollama.url is empty.",
            next_step="gardener config set ollama.url http://127.0.0.1:11434",
        )
    return url


def _nobody(console: Console, command: str, otherwise: str) -> int:
    """A question was answered with no. Raises UsageError when there was nobody to answer it."""
    from gardener.errors import UsageError

    if not console.interactive:
        raise UsageError(f"{otherwise} There is nobody to ask.", next_step=command)
    console.note(otherwise)
    return 0


class Found:
    """One model that is here, and which runtime has it."""

    def __init__(self, runtime: Runtime, name: str, size: int, local: LocalModel | None = None) -> None:
        self.runtime = runtime
        self.name = name
        self.size = size
        self.local = local


def _here(name: str, gardener: Gardener, next_step: str = "") -> Found:
    """The model that a person means, by any of its names. Raises ModelNotFound, also for one that is not here yet,
    with `next_step` as the command to try where getting a model is not what was wanted.
    """
    from gardener.errors import ModelNotFound
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
    if known is not None:
        asked = f" Ollama could not be asked: {problem}" if problem and gardener.settings.text("ollama.url") else ""
        raise ModelNotFound(
            f"{known[0].title} is not here.{asked}", next_step=next_step or f"gardener models pull {name}"
        )
    raise unknown_model(name, gardener, next_step)


def remove(args: argparse.Namespace, gardener: Gardener, console: Console) -> int:
    from gardener.models.local_models import remove_model

    found = _here(args.name, gardener, "gardener models list")
    users = [context.name for context in gardener.registry.list() if context.model == found.name]
    if gardener.settings.text(f"{found.runtime}.model") == found.name:
        users.insert(0, f"the setting {found.runtime}.model")
    if users:
        console.note(f"Used by {', '.join(one_line(user) for user in users)}.")
    if not args.yes and not console.confirm(f"Delete {found.name} ({size(found.size)}) from the disk?"):
        return _nobody(console, f"gardener models rm {args.name} --yes", "Nothing was deleted.")
    if found.local is not None:
        freed = remove_model(found.local, gardener.paths.models)
    else:
        from gardener.cli.ollama_link import ollama_models

        ollama_models().delete(_ollama_url(gardener), found.name)
        freed = found.size
    if console.as_json:
        console.json({"runtime": found.runtime, "name": found.name, "freed_bytes": freed})
    console.line_unless_json(f"{one_line(found.name)} is deleted; {size(freed)} are free again.")
    if users:
        console.note("Choose another for those: gardener models use NAME")
    return 0


def use(args: argparse.Namespace, gardener: Gardener, console: Console) -> int:
    from gardener.cli.models import Machine
    from gardener.errors import ModelDamaged, ModelError, ModelTooLarge
    from gardener.models.fit import fit_folder
    from gardener.settings_edit import set_value

    if args.name == "default" and args.project:
        context = gardener.registry.configure(args.project, backend="auto", model="")
        if console.as_json:
            console.json({"runtime": None, "name": None, "project": context.name})
        console.line_unless_json(f"{one_line(context.name)} answers with what every project uses.")
        return 0
    found = _here(args.name, gardener)
    if found.runtime == "ollama" and not _writes(gardener, found.name):
        raise ModelError(
            f"{found.name} only makes vectors and cannot answer. Nothing was changed.",
            next_step="gardener models recommend",
        )
    if found.local is not None:
        if found.local.folder is None:
            raise ModelDamaged(found.local.problem, next_step="gardener models list")
        machine = Machine(gardener, args)
        fit = fit_folder(
            found.local.folder, machine.hardware,
            has=machine.has, context=machine.context("mlx"), kv_bits=machine.kv_bits("mlx"),
        )  # fmt: skip
        if fit.label == "too large":
            raise ModelTooLarge(
                f"{found.name} does not fit: it needs {size(fit.needs.total)} and there are {size(fit.has)}. "
                "Nothing was changed.",
                next_step=f"gardener models check {args.name}",
            )
    if args.project:
        context = gardener.registry.configure(args.project, backend=found.runtime, model=found.name)
        where = f"project {context.name}"
    else:
        set_value(gardener.paths, gardener.paths.config, f"{found.runtime}.model", found.name)
        where = "every project that has not chosen another"
    load = _to_load(gardener, found)
    if console.as_json:
        console.json(
            {"runtime": found.runtime, "name": found.name, "project": args.project or None, "to_load_bytes": load}
        )
    console.line_unless_json(f"{one_line(found.name)} ({found.runtime}) answers for {where}.")
    console.note(f"The next answer has to load {size(load)}." if load else "It is in memory already.")
    if not args.project:
        _note_order(gardener, found.runtime, console)
    return 0


def _writes(gardener: Gardener, name: str) -> bool:
    from gardener.cli.ollama_link import ollama_models

    return ollama_models().writes(_ollama_url(gardener), name)


def _to_load(gardener: Gardener, found: Found) -> int:
    """Bytes that the next answer has to load; 0 when that model is in memory."""
    from gardener.resident_note import held_models

    if found.runtime == "ollama":
        loaded = {row["model"] for row in loaded_in_ollama(gardener, {})}
        return 0 if found.name in loaded else found.size
    resident = held_models(gardener.paths).get("mlx", ("", 0))[0]
    here = found.local.path if found.local is not None else found.name
    return 0 if resident and resident in (found.name, here, os.path.basename(here)) else found.size


def _note_order(gardener: Gardener, runtime: Runtime, console: Console) -> None:
    """Says when another backend would be asked first, and that a running app has to start again."""
    from gardener.server.client import find_app

    settings = gardener.settings
    backend = settings.text("models.backend")
    if backend not in ("auto", runtime):
        console.note(f"models.backend is {backend}, so that is asked: gardener config set models.backend {runtime}")
    elif backend == "auto":
        for name in settings.texts("models.order"):
            if name == runtime:
                break
            if name in ("mlx", "openai") and settings.text(f"{name}.model" if name == "mlx" else "openai.url"):
                console.note(f"{name} is asked first: gardener config set models.backend {runtime}")
                break
    if find_app(gardener.paths) is not None:
        console.note("The running app applies this when it is started again: gardener stop, gardener ui")
