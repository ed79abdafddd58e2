"""Repairs of indexes and vectors. All of it is made from the project's files, so nothing has to be copied."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gardener.repair.plan import NOTHING_UNIQUE, NotHere, Plan

if TYPE_CHECKING:
    from gardener.app import Gardener
    from gardener.health.check import Finding
    from gardener.index.index_report import IndexReport
    from gardener.repair.plan import Aside

_LOCK_WAIT_S = 10.0
_EMBED_WAIT_S = 600.0


def update(gardener: Gardener, finding: Finding) -> Plan | NotHere:
    return Plan(
        f"Bring the index of {finding.subject} up to date with its folder.",
        NOTHING_UNIQUE,
        lambda home, _: [_updated(home, finding.subject)],
    )


def _updated(gardener: Gardener, name: str, *, rebuild: bool = False) -> str:
    report = gardener.update_index(gardener.context(name), rebuild=rebuild, lock_timeout_s=_LOCK_WAIT_S)
    return _counts(name, report)


def _counts(name: str, report: IndexReport) -> str:
    return f"{name}: {report.files:,} files, {report.chunks:,} chunks in the index"


def mend(gardener: Gardener, finding: Finding) -> Plan | NotHere:
    """Makes the damaged tables again; all of it when it is the manifest that is damaged or tells another count."""
    name = finding.subject

    def repair(gardener: Gardener, aside: Aside) -> list[str]:
        from gardener.upkeep import repair_index

        context = gardener.context(name)
        if "--rebuild" in finding.fix:
            return [*_manifest_aside(gardener, name, aside), _updated(gardener, name, rebuild=True)]
        verdict = gardener.index(context).indexer.hashes.verify(context)
        done = [f"damaged: {damage.path} ({damage.what})" for damage in verdict.damaged]
        return [*done, *repair_index(gardener, context, verdict), _updated(gardener, name)]

    if "--rebuild" in finding.fix:
        return Plan(
            f"Build the index of {name} anew; until it is whole, the old one serves what can be read of it.",
            "The index's manifest, if it cannot be read.",
            repair,
        )
    return Plan(
        f"Compare every file of {name}'s index with its hash, and make again what is damaged.", NOTHING_UNIQUE, repair
    )


def _manifest_aside(gardener: Gardener, name: str, aside: Aside) -> list[str]:
    """A manifest that cannot be read would keep a new one from being written."""
    import os

    from gardener.disk import alone
    from gardener.errors import IndexDamaged
    from gardener.index.facts import summary
    from gardener.paths import index_directory

    context = gardener.context(name)
    folder = index_directory(context.home)
    try:
        summary(folder)
        return []
    except IndexDamaged:
        pass
    with alone(context):
        for end in ("", "-wal", "-shm"):
            path = os.path.join(folder, "manifest.db" + end)
            if os.path.exists(path):
                aside.move(path)
    return ["the manifest that could not be read is put aside"]


def compact(gardener: Gardener, finding: Finding) -> Plan | NotHere:
    def rewrite(gardener: Gardener, _: Aside) -> list[str]:
        from gardener.disk import alone, compact

        context = gardener.context(finding.subject)
        with alone(context):
            indexer = gardener.index(context).indexer
            indexer.table.refresh()
            compact(indexer)
        return [f"{finding.subject}: its small pieces and old versions are gone"]

    return Plan(f"Rewrite the index of {finding.subject} in one piece, without old versions.", NOTHING_UNIQUE, rewrite)


def vectors(gardener: Gardener, finding: Finding) -> Plan | NotHere:
    def drop(gardener: Gardener, _: Aside) -> list[str]:
        from gardener.upkeep import repair_store

        return [
            *(repair_store(gardener) or ["no vector was damaged any more"]),
            "those that a project needs are made again: gardener index --wait",
        ]

    return Plan(
        "Compare every shared vector with its checksum, and drop those that are damaged.",
        "A store that cannot be read at all is put aside; single vectors are made from your files.",
        drop,
    )


def other_embedder(gardener: Gardener, finding: Finding) -> Plan | NotHere:
    def embed(gardener: Gardener, _: Aside) -> list[str]:
        report = gardener.embed(gardener.context(finding.subject), lock_timeout_s=_EMBED_WAIT_S, asked_for=True)
        return [f"{report.embedded:,} vectors made, {report.reused:,} reused, {report.remaining:,} missing"]

    return Plan(
        f"Make the vectors of {finding.subject} with the embedder that is set.",
        "Nothing: the old vectors serve until the new ones are all there.",
        embed,
    )
