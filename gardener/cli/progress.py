"""Progress of long work as one line on the terminal: what, how far, how fast, how much longer."""

from __future__ import annotations

from gardener.cli.console import Console, duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from gardener.index.embed import EmbedProgress
    from gardener.index.index_report import IndexProgress

_PHASES = {"compare": "Comparing with the disk", "read": "Reading", "write": "Writing", "done": "Done"}


def show_index_progress(console: Console) -> Callable[[IndexProgress], None]:
    def show(progress: IndexProgress) -> None:
        text = _PHASES.get(progress.phase, progress.phase)
        if progress.phase == "read":
            text += f" {progress.done:,} of {progress.total:,} files" + _speed(progress.rate, progress.eta_s, "files")
        console.progress(text)

    return show


def show_embed_progress(console: Console) -> Callable[[EmbedProgress], None]:
    def show(progress: EmbedProgress) -> None:
        if progress.paused:
            console.progress(f"Vectors {progress.done:,} of {progress.total:,}, paused: {progress.paused}")
            return
        console.progress(
            f"Vectors {progress.done:,} of {progress.total:,}" + _speed(progress.rate, progress.eta_s, "chunks")
        )

    return show


def _speed(rate: float | None, eta_s: float | None, unit: str) -> str:
    if not rate:
        return ""
    return f", {rate:,.0f} {unit}/s" + (f", {duration(eta_s)} left" if eta_s and eta_s > 1 else "")
