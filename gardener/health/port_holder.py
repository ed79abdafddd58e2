"""Who listens at a port of this machine."""

from __future__ import annotations

from typing import Any


def holder_of(port: int) -> str:
    """ "process 12 (nginx)", or "another program" when this user may not know which; a system says it of one's own
    processes only, unless one is root."""
    import psutil

    for pid in _listeners(port):
        try:
            process = psutil.Process(pid)
            name = "".join(letter for letter in process.name() if letter.isprintable())[:60]
            ours = any(word.rpartition("/")[2] in ("gardener", "gardener.cli.main") for word in process.cmdline()[:4])
        except psutil.Error:
            continue
        return f"the Gardener of another data folder, process {pid}" if ours else f"process {pid} ({name})"
    return "another program"


def _listeners(port: int) -> list[int]:
    import psutil

    def listens(connection: Any) -> bool:
        return bool(connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port)

    try:
        return [one.pid for one in psutil.net_connections("tcp") if one.pid and listens(one)]
    except (psutil.Error, OSError, RuntimeError):
        pass  # macOS tells all of them to root only
    found = []
    for process in psutil.process_iter():
        try:
            if any(listens(one) for one in process.net_connections("tcp")):
                found.append(process.pid)
        except (psutil.Error, OSError, RuntimeError):
            continue
    return found
