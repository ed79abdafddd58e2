"""Every health check of one home folder: `gardener doctor` and the page "Health" run the same ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gardener.app import Gardener
    from gardener.health.check import Check
    from gardener.models.registry import Choice


def all_checks(
    gardener: Gardener,
    app_url: Callable[[], str | None],
    watching: Callable[[], Mapping[str, str]],
    *,
    deep: bool = False,
) -> list[Check]:
    """`deep` reads every index file and vector and compares the hashes; see builtin_checks for the callables."""
    from gardener.backup_service import BackupService
    from gardener.disk import orphans
    from gardener.health.backups import backup_checks
    from gardener.health.builtin import builtin_checks
    from gardener.health.indexes import index_checks
    from gardener.upgrade_service import upgrade_checks

    checks = builtin_checks(
        gardener.paths,
        lambda: gardener.state,
        lambda: list(gardener.registry.list()),
        lambda: gardener.embedding.problem(ask=True),
        app_url,
        watching,
        lambda: gardener.embedding.spec.text,
        lambda: _who_answers(gardener),
    ) + index_checks(
        gardener.paths,
        lambda: list(gardener.registry.list()),
        lambda context: gardener.index(context).indexer,
        lambda: orphans(gardener),
        deep=deep,
    )
    checks += upgrade_checks()
    return checks + backup_checks(
        lambda: BackupService(gardener).store,
        lambda: gardener.settings.integer("backup.every_hours"),
    )


def _who_answers(gardener: Gardener) -> list[Choice]:
    """For the settings of all projects: the chosen model, and the fallback if one is set."""
    found = [gardener.backends.choose(gardener.settings.text("models.backend"))]
    if spec := gardener.settings.text("models.fallback"):
        backend, _, model = spec.partition(":")
        found.append(gardener.backends.choose(backend, model))
    return found
