"""What the benchmarks share: timing whole processes in turn, ratios from one run, a table and a JSON file."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

TOP = Path(__file__).resolve().parent.parent
WORK = TOP / ".bench"
"""Corpora, peers' environments and homes; ignored by git."""
RESULTS = TOP / "benchmarks" / "results"


class Row(NamedTuple):
    """One row of the table: what was compared, both medians, the ratio, and the goal it is held against."""

    what: str
    ours: str
    peer: str
    ratio: float
    goal: float

    @property
    def met(self) -> bool:
        return self.ratio <= self.goal


def run(command: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    """Runs a command to its end and returns its stdout. Raises RuntimeError with its stderr when it fails."""
    done = subprocess.run(
        list(command), env=dict(env) if env is not None else None, cwd=cwd, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def seconds(action: Callable[[], object]) -> float:
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def in_turn(
    ours: Callable[[], float], peer: Callable[[], float], rounds: int, *, warmup: int = 1
) -> tuple[list[float], list[float]]:
    """Measures both, A B A B, so that a machine whose speed drifts treats both alike."""
    for _ in range(warmup):
        ours()
        peer()
    first: list[float] = []
    second: list[float] = []
    for _ in range(rounds):
        first.append(ours())
        second.append(peer())
    return first, second


def ratio(first: Sequence[float], second: Sequence[float]) -> float:
    """The median of the ratios pair by pair."""
    return statistics.median(a / b for a, b in zip(first, second, strict=True))


def shown(values: Sequence[float], unit: str = "s") -> str:
    """Median, and the range, of times in seconds."""
    scale = 1000 if unit == "ms" else 1
    middle, low, high = (value * scale for value in (statistics.median(values), min(values), max(values)))
    return f"{middle:.3g} {unit} ({low:.3g}-{high:.3g})"


def report(name: str, title: str, rows: Sequence[Row], details: Mapping[str, object]) -> int:
    """Prints the table, writes benchmarks/results/local/NAME.json. Returns 0 when every goal is met, else 1."""
    widths = [max(len(str(cell)) for cell in column) for column in zip(*_cells(rows), strict=True)]
    print(f"\n{title}\n")
    for cells in _cells(rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())
    folder = RESULTS / "local"
    folder.mkdir(parents=True, exist_ok=True)
    data = {
        "benchmark": name,
        "title": title,
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {"cores": os.cpu_count(), "system": platform.platform(), "python": sys.version.split()[0]},
        "rows": [{**row._asdict(), "met": row.met} for row in rows],
        "details": dict(details),
    }
    (folder / f"{name}.json").write_text(json.dumps(data, indent=2) + "\n")
    return 0 if all(row.met for row in rows) else 1


def _cells(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    head = ("what", "ours", "peer or limit", "ratio", "goal", "")
    return [
        head,
        *(
            (row.what, row.ours, row.peer, f"{row.ratio:.3f}", f"<= {row.goal:g}", "met" if row.met else "MISSED")
            for row in rows
        ),
    ]


def gardener(home: Path) -> tuple[list[str], dict[str, str]]:
    """The installed command, and an environment in which it uses `home`."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GARDENER_")}
    return [str(Path(sys.executable).parent / "gardener")], environment | {"GARDENER_HOME": str(home)}


def compile_bytecode() -> None:
    """Python compiles at the first import; no run should pay for that."""
    folders = ["gardener", "ui", str(Path(sys.prefix) / "lib")]
    subprocess.run(
        [sys.executable, "-m", "compileall", "-q", *folders], cwd=TOP, capture_output=True, check=False,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": ""},
    )  # fmt: skip
