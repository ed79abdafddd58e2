"""Trends and forecasts in words, the same on the terminal and on the page."""

from __future__ import annotations

from collections.abc import Sequence

from gardener.health.forecast import CONFIDENCE, METHOD, MIN_DAYS, Capacity, DiskForecast
from gardener.sizes import size


def ceiling(unit: str) -> float:
    """The most that a value can be; 0 when it has no natural end."""
    return {"percent": 100.0, "ratio": 1.0}.get(unit, 0.0)


def shown(value: float | None, unit: str) -> str:
    """A value with its unit; "-" for what was not measured."""
    if value is None:
        return "-"
    match unit:
        case "bytes":
            return size(value)
        case "percent":
            return f"{value:.0f} %"
        case "ratio":
            return f"{100 * value:.0f} %"
        case "milliseconds":
            return f"{value:.0f} ms" if value < 10_000 else f"{value / 1000:.1f} s"
        case "tokens/s":
            return f"{value:.1f} /s"
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def signed_size(count: float) -> str:
    return ("-" if count < 0 else "+") + size(abs(count))


def disk_lines(found: DiskForecast) -> Sequence[str]:
    """The forecast in sentences, its method last."""
    if found.verdict == "too little history":
        return [f"Disk: no forecast; {found.days} of {MIN_DAYS} days of samples are there."]
    assert found.free is not None and found.slope is not None
    slope = f"{size(found.free)} free, {signed_size(found.slope.per_day)} a day over {found.days} days"
    if found.verdict == "full":
        late = found.late.isoformat() if found.late else "later than five years from now"
        said = f"Disk: full on about {found.on} ({CONFIDENCE} %: between {found.early} and {late}). {slope}."
    elif found.verdict == "no trend":
        said = f"Disk: no date; it is not filling as far as these days tell. {slope}."
    else:
        said = f"Disk: not full within five years. {slope}."
    return [said, f"  Method: {METHOD}."]


def capacity_lines(found: Capacity) -> Sequence[str]:
    """How many projects fit, its method last."""
    if found.more is None or found.per_project is None:
        return ["Projects: how many fit is not known before one is indexed."]
    lines = [f"Projects: about {found.more:,} more fit on the disk, at {size(found.per_project)} each."]
    if found.warm_that_fit is not None and found.per_warm_index is not None and found.memory_available is not None:
        fit = min(found.warm_that_fit, found.warm_at_once)
        lines.append(
            f"  Memory: {size(found.memory_available)} available, {size(found.per_warm_index)} for a warm index: "
            f"{fit} of the {found.warm_at_once} that are kept warm fit."
        )
    return [*lines, f"  Method: {found.method}."]
