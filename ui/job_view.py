"""Running work as people read it: what, how far, how fast, how long still, and a way to stop it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ui.markup import badge, bar, button, count, seconds, text

if TYPE_CHECKING:
    from gardener.app import Gardener
    from gardener.server.jobs import Job

WORDS = {
    "index": "Indexing",
    "embed": "Making vectors for",
    "answer": "Answering",
    "pull": "Downloading",
    "backup": "Backup of",
}
UNSTOPPABLE = {"backup"}
"""Short work that would leave nothing behind if it were stopped half way."""
UNITS = {"index": "files/s", "embed": "chunks/s", "pull": "MB/s"}


def jobs_html(gardener: Gardener, jobs: Sequence[Job]) -> str:
    """One line for each job that is not over; "" when there is none."""
    return "".join(job_html(job) for job in jobs)


def job_html(job: Job) -> str:
    said = job.last or {}
    done, total = float(said.get("done") or 0), float(said.get("total") or 0)
    title = f"{WORDS.get(job.kind, job.kind)} {job.about}"
    rest = []
    if job.state == "queued":
        rest.append("waiting for its turn")
    elif said.get("event") == "progress":
        rest.append(text(said.get("phase") or ""))
        scale = 1e6 if job.kind == "pull" else 1
        unit = " MB" if job.kind == "pull" else ""
        if total:
            rest.append(f"{count(done / scale)} of {count(total / scale)}{unit}")
        if said.get("rate"):
            rate = float(said["rate"]) / scale
            rest.append(
                f"{rate:,.1f} {UNITS.get(job.kind, '/s')}"
                if rate < 10
                else f"{count(rate)} {UNITS.get(job.kind, '/s')}"
            )
        if said.get("eta_s") is not None:
            rest.append(f"{seconds(float(said['eta_s']))} left")
        if said.get("paused"):
            rest.append(badge(f"paused: {said['paused']}", "warn"))
    if job.cancel.is_set():
        rest.append("stopping")
    can_stop = job.kind not in UNSTOPPABLE and not job.cancel.is_set()
    stop = button("Cancel", "cancel", job=job.id, name=f"Cancel: {title}") if can_stop else ""
    return (
        f'<div class="job" data-job="{text(job.kind)}"><div class="what"><strong>{text(title)}</strong>'
        f'<span class="quiet">{" · ".join(part for part in rest if part)}</span></div>'
        f"{bar(done, total, title)}{stop}</div>"
    )
