"""The last warnings and errors of the logs, reduced to what Gardener itself says: no messages of others, no values."""

from __future__ import annotations

import json
import os
import re
import sys
from collections import Counter
from typing import Any

from gardener.diagnostics.phrases import Phrase, phrases, said_without_particulars
from gardener.telemetry import ERROR_LOG, MAIN_LOG

MOST_READ = 1_000_000
"""Bytes from the end of each log."""
MOST_RECORDS = 100
MOST_FRAMES = 12
_COMPONENTS = ("cli", "app", "monitor")
_LEVELS = ("warning", "error", "critical")
_TIME = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z")
_FRAME = re.compile(r'^  File "([^"\n]*)", line (\d{1,6}), in ', re.MULTILINE)
_RAISED = re.compile(r"^([A-Za-z_][\w.]*)(?::|$)", re.MULTILINE)


def log_part(folder: str) -> dict[str, Any]:
    """Counts of each level and the last warnings and errors, of the logs in `folder` as they are now."""
    counts: Counter[str] = Counter()
    kept = []
    for record in _records(os.path.join(folder, MAIN_LOG)):
        level = record.get("level")
        if level in (*_LEVELS, "info", "debug"):
            counts[level] += 1
        if level in _LEVELS:
            kept.append(record)
    known = phrases()
    loggers = {phrase.parts[0] for phrase in known if len(phrase.parts) == 1 and phrase.parts[0].startswith("gardener")}
    return {
        "levels": dict(sorted(counts.items())),
        "error_log_records": sum(1 for _ in _records(os.path.join(folder, ERROR_LOG))),
        "last": [_reduced(record, known, loggers) for record in kept[-MOST_RECORDS:]],
    }


def _records(path: str) -> list[dict[str, Any]]:
    """The records of the end of a log; lines that are none are left out."""
    try:
        with open(path, "rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - MOST_READ))
            lines = log.read(MOST_READ).splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            found.append(record)
    return found


def _reduced(record: dict[str, Any], known: tuple[Phrase, ...], loggers: set[str]) -> dict[str, object]:
    at, component, logger = record.get("time"), record.get("component"), record.get("logger")
    reduced: dict[str, object] = {
        "time": at if isinstance(at, str) and _TIME.fullmatch(at) else None,
        "level": record["level"],
        "component": component if component in _COMPONENTS else "other",
        "logger": logger if logger in loggers else "other",
        "event": said_without_particulars(str(record.get("event", "")), known),
    }
    exception = record.get("exception")
    if isinstance(exception, str):
        reduced["exception"] = _exception(exception)
    return reduced


def _exception(text: str) -> dict[str, object]:
    """The class of the last error, and which lines of ours it came through."""
    raised = [name for name in _RAISED.findall(text) if name != "Traceback"]
    return {"class": next((found for name in reversed(raised) if (found := _known_class(name))), "other"),
            "frames": _frames(text)[-MOST_FRAMES:]}  # fmt: skip


def _known_class(name: str) -> str:
    """The name, when a module that this process has loaded has an exception of that name; else ""."""
    module, _, short = name.rpartition(".")
    found = getattr(sys.modules.get(module or "builtins"), short, None)
    return name if isinstance(found, type) and issubclass(found, BaseException) else ""


def _frames(text: str) -> list[str]:
    """ "gardener/index/table.py:120"; frames of others are left out."""
    import gardener

    top = os.path.dirname(os.path.dirname(os.path.abspath(gardener.__file__)))
    frames = []
    for path, line in _FRAME.findall(text):
        parts = path.split("/")
        for package in ("gardener", "ui"):
            if package in parts:
                own = "/".join(parts[len(parts) - 1 - parts[::-1].index(package) :])
                if own.endswith(".py") and ".." not in own and os.path.isfile(os.path.join(top, own)):
                    frames.append(f"{own}:{line}")
                break
    return frames
