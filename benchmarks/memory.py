"""Row 14: resident memory of the app after it has indexed Django with every vector, idle; and the peak meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time

import psutil

from benchmarks.corpus import DJANGO, sdist
from benchmarks.measure import WORK, Row, gardener, report, run

IDLE_LIMIT, PEAK_LIMIT = 500e6, 1.5e9
TIMEOUT_S = 1800


def main() -> int:
    source = sdist(DJANGO)
    home = WORK / "homes" / "memory"
    shutil.rmtree(home, ignore_errors=True)
    command, environment = gardener(home)
    app = subprocess.Popen(
        [*command, "serve", "--port", "0", "--json"], env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert app.stdout is not None
        json.loads(app.stdout.readline())
        process = psutil.Process(app.pid)
        run([*command, "add", str(source), "--name", "django"], env=environment)  # the app does the work
        peak = 0
        deadline = time.monotonic() + TIMEOUT_S
        status: dict[str, object] = {}
        while time.monotonic() < deadline:
            family = [process, *process.children(recursive=True)]
            peak = max(peak, sum(_resident(member) for member in family))
            status = json.loads(run([*command, "status", "--json"], env=environment))
            if status["vectors"] and status["vectors"] == status["contents"]:
                break
            time.sleep(2)
        else:
            raise RuntimeError(f"not every vector was made within {TIMEOUT_S} s: this run does not count")
        run([*command, "search", "resolve a url path to a view", "--json"], env=environment)
        time.sleep(5)
        idle = _resident(process)
    finally:
        app.terminate()
        app.wait(30)
    rows = [
        Row("app, idle after Django", f"{idle / 1e6:.0f} MB", "500 MB", idle / IDLE_LIMIT, 1),
        Row("app and workers, peak", f"{peak / 1e6:.0f} MB", "1,500 MB", peak / PEAK_LIMIT, 1),
    ]
    return report("memory", "Row 14. Resident memory", rows, {"status": status, "home": os.fspath(home)})


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


if __name__ == "__main__":
    raise SystemExit(main())
