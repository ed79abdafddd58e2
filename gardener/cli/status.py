"""`gardener status`: where one is, at a glance."""

from __future__ import annotations

from gardener.cli.console import Console, inert
from gardener.cli.target import open_gardener

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gardener.paths import Paths
    from gardener.server.runfile import RunningApp


def configure_status(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=status)


def watch_states(app: RunningApp) -> dict[str, str]:
    """How the app keeps each project fresh, by name; nothing when it does not answer within two seconds."""
    from gardener.errors import GardenerError
    from gardener.server.client import AppClient

    try:
        found = AppClient(app, timeout_s=2.0).request("GET", "/api/watch")["projects"]
    except GardenerError:
        return {}  # `fresh unknown` says so
    return {item["project"]: _how_fresh(item["mode"], item["detail"]) for item in found}


def _how_fresh(mode: str, detail: str) -> str:
    """ "watching 4 folders"; of one that is not watched only what happens instead."""
    return detail if mode == "off" and detail else f"{mode} {detail}".strip()


def resident_model(app: RunningApp) -> dict[str, object]:
    """What the app holds in memory; {} when it does not answer within two seconds."""
    from gardener.errors import GardenerError
    from gardener.server.client import AppClient

    try:
        return AppClient(app, timeout_s=2.0).request("GET", "/api/models/resident")
    except GardenerError:
        return {}


def _model_line(resident: dict[str, object]) -> str:
    """One line for what is in memory and what it took to keep it there."""
    from gardener.cli.console import inert

    parts = []
    backends = resident.get("backends")
    for name, state in backends.items() if isinstance(backends, dict) else ():
        if not state["model"]:
            continue
        counters = state["counters"]
        said = f"{name} {inert(state['model'])}, {state['weight_bytes'] / 1e9:.1f} GB"
        said += f", loaded {counters.get('base_loads', 0)}x, adapters swapped {counters.get('adapter_swaps', 0)}x"
        said += f", prefixes restored {counters.get('prefixes_restored', 0)}x"
        parts.append(said + (f", reloaded unasked {counters['reloads']}x" if counters.get("reloads") else ""))
    return "; ".join(parts)


def _note_unfinished_upgrade(console: Console) -> None:
    from gardener.upgrade.program import running_program

    if (program := running_program()) is None:
        return
    from gardener.upgrade.journal import interrupted

    if (now := interrupted(program)) is not None:
        console.note(f"The {now.kind} from {now.old} to {now.new} was interrupted: gardener upgrade")


def _note_outdated_monitor(paths: Paths, console: Console) -> None:
    from gardener.errors import GardenerError
    from gardener.health.ledger import last_round, outdated_monitor, running_monitor

    if pid := running_monitor(paths):
        from gardener.cli.health import note_outdated_monitor
        from gardener.health.database import HealthDatabase

        try:
            other = outdated_monitor(pid, last_round(HealthDatabase(paths.health_db)))
        except GardenerError:
            return  # `gardener health` says what is wrong with that file
        note_outdated_monitor(paths, pid, other, console)


def status(args: argparse.Namespace, console: Console) -> int:
    from gardener.server.client import find_app

    with open_gardener(console) as gardener:
        report = gardener.status()
        app = find_app(gardener.paths)
    report["watching"] = watch_states(app).get(str(report["project"]), "") if app else ""
    report["app"] = None if app is None else {"pid": app.pid, "url": app.url, "version": app.version}
    report["resident"] = resident_model(app) if app else {}
    _note_unfinished_upgrade(console)
    _note_outdated_monitor(gardener.paths, console)
    if console.as_json:
        console.json(report)
        return 0
    if report["project"] is None:
        console.line("No project is active.")
        console.note(
            "Register one: gardener add PATH" if not report["projects"] else "Choose one: gardener switch NAME"
        )
        return 0
    head = str(report["head"] or "")[:10]
    console.line(console.bold(str(report["project"])) + f"  {report['root']}")
    if not report["exists"]:
        console.line("  folder   gone")
        console.note(f'Where is it now? gardener move "{report["project"]}" NEW_PATH')
    if head:
        at = (
            ""
            if report["indexed_head"] == report["head"]
            else f", indexed at {str(report['indexed_head'] or 'never')[:10]}"
        )
        console.line(f"  git      {report['branch'] or '(detached)'} at {head}{at}")
    console.line(f"  index    {report['files']:,} files, {report['chunks']:,} chunks")
    if report["exists"] and not report["files"]:
        console.note("           try: gardener index; which files are left out, and why: gardener show --skipped")
    if app is not None:
        console.line(f"  fresh    {report['watching'] or 'unknown: the app does not answer'}")
    maker = report["vectors_by"]
    making = f", being made by process {maker['pid']}" if isinstance(maker, dict) else ""
    making += f", paused: {report['vectors_paused']}" if report["vectors_paused"] else ""
    made = f"{report['vectors']:,} of {report['contents']:,} distinct chunks" if report["contents"] else "none yet"
    console.line(f"  vectors  {made}{making}")
    embedder = report["embedder"]
    if isinstance(embedder, dict) and (embedder["searched_with"] or embedder["problem"]):
        until = f", until then searched with {embedder['searched_with']}" if embedder["searched_with"] else ""
        console.line(f"  embedder {inert(embedder['name'] + until)}")
        if embedder["problem"]:
            console.note(f"The embedder cannot be used: {inert(embedder['problem'])}")
    if line := _model_line(report["resident"] if isinstance(report["resident"], dict) else {}):
        console.line(f"  model    {line}")
    console.line(f"  level    {report['level']}" + (f": {report['level_reason']}" if report["level_reason"] else ""))
    if (step := str(report["level_next_step"])) and step not in str(report["level_reason"]):
        console.note(f"           try: {inert(step)}")
    console.line(f"  app      {app.url + f' (process {app.pid})' if app else 'not running: gardener ui'}")
    return 0
