"""Changing which models are here and which answers: `gardener models pull`, `rm` and `use`."""

from __future__ import annotations

import os

from gardener.cli.console import Console, known_size, one_line, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    import threading

    from gardener.app import Gardener
    from gardener.errors import GardenerError
    from gardener.machine_models import Found, Where
    from gardener.models.catalog import Build, Runtime
    from gardener.models.ollama_models import PullProgress


def pull(args: argparse.Namespace, gardener: Gardener, console: Console) -> int:
    from gardener.machine_models import Machine, refuse_too_large, unknown_model
    from gardener.models.catalog import find

    known = find(args.name)
    if known is None:
        if args.runtime == "mlx" or ("/" in args.name and ":" not in args.name):
            raise unknown_model(args.name, gardener)
        return _pull_ollama(args.name, gardener, console)  # Ollama's library has more than the catalogue
    model, own = known
    machine = Machine(gardener, runtime=args.runtime)
    runtime: Runtime = args.runtime or own or machine.runtime
    build, fit = model.build(runtime), machine.fit(model, runtime)
    assert build is not None and fit is not None  # every entry has a build for every runtime
    refuse_too_large(model.title, fit, "It was not downloaded.", "gardener models recommend")
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

    from gardener.machine_models import ollama_url
    from gardener.models import ollama_models

    url = ollama_url(gardener)
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
        ollama_models.pull(url, name, shown, cancel)
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


def _nobody(console: Console, command: str, otherwise: str) -> int:
    """A question was answered with no. Raises UsageError when there was nobody to answer it."""
    from gardener.errors import UsageError

    if not console.interactive:
        raise UsageError(f"{otherwise} There is nobody to ask.", next_step=command)
    console.note(otherwise)
    return 0


def remove(args: argparse.Namespace, gardener: Gardener, console: Console) -> int:
    from gardener.errors import ModelError
    from gardener.machine_models import find_here, ollama_url
    from gardener.models.local_models import remove_model

    found = find_here(args.name, gardener, "gardener models list")
    if found.runtime == "openai":
        raise ModelError(
            f"{one_line(found.name)} runs at the server {one_line(gardener.settings.text('openai.url'))}, "
            "which has it in its own way. Nothing was deleted.",
            next_step="gardener config get openai.url",
        )
    users = [context.name for context in gardener.registry.list() if context.model == found.name]
    if gardener.settings.text(f"{found.runtime}.model") == found.name:
        users.insert(0, f"the setting {found.runtime}.model")
    if users:
        console.note(f"Used by {', '.join(one_line(user) for user in users)}.")
    if not args.yes and not console.confirm(f"Delete {one_line(found.name)} ({known_size(found.size)}) from the disk?"):
        return _nobody(console, f"gardener models rm {args.name} --yes", "Nothing was deleted.")
    if found.local is not None:
        freed = remove_model(found.local, gardener.paths.models)
    else:
        from gardener.models import ollama_models

        ollama_models.delete(ollama_url(gardener), found.name)
        freed = found.size
    if console.as_json:
        console.json({"runtime": found.runtime, "name": found.name, "freed_bytes": freed})
    console.line_unless_json(
        f"{one_line(found.name)} is deleted" + (f"; {size(freed)} are free again." if freed else ".")
    )
    if users:
        console.note("Choose another for those: gardener models use NAME")
    return 0


def use(args: argparse.Namespace, gardener: Gardener, console: Console) -> int:
    from gardener.machine_models import use_model

    if args.name == "default" and args.project:
        context = gardener.registry.configure(args.project, backend="auto", model="")
        if console.as_json:
            console.json({"runtime": None, "name": None, "project": context.name})
        console.line_unless_json(f"{one_line(context.name)} answers with what every project uses.")
        return 0
    found = use_model(gardener, args.name, args.project or "")
    where = (
        f"project {gardener.registry.get(args.project).name}"
        if args.project
        else "every project that has not chosen another"
    )
    load = _to_load(gardener, found)
    if console.as_json:
        console.json(
            {"runtime": found.runtime, "name": found.name, "project": args.project or None, "to_load_bytes": load}
        )
    console.line_unless_json(f"{one_line(found.name)} ({found.runtime}) answers for {where}.")
    if found.runtime == "openai":
        console.note("The server is asked for it from the next answer on.")
    elif load is None:
        console.note("The next answer has to load it; how large it is, is not known.")
    else:
        console.note(f"The next answer has to load {size(load)}." if load else "It is in memory already.")
    if not args.project:
        _note_order(gardener, found.runtime, console)
    return 0


def _to_load(gardener: Gardener, found: Found) -> int | None:
    """Bytes that the next answer has to load: 0 when that model is in memory or a server's, None when not known."""
    from gardener.machine_models import loaded_in_ollama
    from gardener.resident_note import held_models

    if found.runtime == "openai":
        return 0
    if found.runtime == "ollama":
        loaded = {model.name for model in loaded_in_ollama(gardener)[0]}
        return 0 if found.name in loaded else found.size or None
    resident = held_models(gardener.paths).get("mlx", ("", 0))[0]
    here = found.local.path if found.local is not None else found.name
    return 0 if resident and resident in (found.name, here, os.path.basename(here)) else found.size


def _note_order(gardener: Gardener, runtime: Where, console: Console) -> None:
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
        console.note("The running app applies this when it is started again: gardener stop && gardener ui")
