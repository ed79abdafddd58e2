"""`gardener doctor`: every check, each with the command that helps. Exit code 1 when something is wrong."""

from __future__ import annotations

from gardener.cli.console import Console, inert
from gardener.cli.target import open_gardener

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gardener.app import Gardener
    from gardener.models.registry import Choice

_MARKS = {"ok": "ok", "info": "--", "warning": "!!", "error": "XX"}


def configure_doctor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--deep", action="store_true", help="read every index file and vector and compare the hashes")
    parser.set_defaults(run=doctor)


def doctor(args: argparse.Namespace, console: Console) -> int:
    from gardener.backup_service import BackupService
    from gardener.cli.status import watch_states
    from gardener.disk import orphans
    from gardener.health.backups import backup_checks
    from gardener.health.builtin import builtin_checks
    from gardener.health.check import run_checks
    from gardener.health.indexes import index_checks
    from gardener.server.client import find_app

    with open_gardener(console) as gardener:

        def app_url() -> str | None:
            app = find_app(gardener.paths)
            return None if app is None else app.url

        def watching() -> dict[str, str]:
            app = find_app(gardener.paths)
            return {} if app is None else watch_states(app)

        findings = run_checks(
            builtin_checks(
                gardener.paths,
                lambda: gardener.state,
                lambda: list(gardener.registry.list()),
                lambda: gardener.embedding.problem(ask=True),
                app_url,
                watching,
                lambda: gardener.embedding.spec.text,
                lambda: _who_answers(gardener),
            )
            + index_checks(
                gardener.paths,
                lambda: list(gardener.registry.list()),
                lambda context: gardener.index(context).indexer,
                lambda: orphans(gardener),
                deep=args.deep,
            )
            + backup_checks(
                lambda: BackupService(gardener).store, lambda: gardener.settings.integer("backup.every_hours")
            )
        )
    worst = [finding for finding in findings if finding.severity == "error"]
    if console.as_json:
        console.json({"ok": not worst, "findings": [finding.as_json() for finding in findings]})
        return 1 if worst else 0
    for finding in findings:
        console.line(f"{_MARKS[finding.severity]}  {finding.id}: {inert(finding.detail)}")
        if finding.fix and finding.severity != "ok":
            console.line(f"    try: {inert(finding.fix)}")
    return 1 if worst else 0


def _who_answers(gardener: Gardener) -> list[Choice]:
    """For the settings of all projects: the chosen model, and the fallback if one is set."""
    found = [gardener.backends.choose(gardener.settings.text("models.backend"))]
    if spec := gardener.settings.text("models.fallback"):
        backend, _, model = spec.partition(":")
        found.append(gardener.backends.choose(backend, model))
    return found
