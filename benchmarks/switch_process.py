"""Row 8: `gardener switch` as a whole process against `python -c pass` with the same interpreter."""

from __future__ import annotations

import shutil
import sys

from benchmarks.measure import WORK, Row, gardener, in_turn, ratio, report, run, seconds, shown

ROUNDS = 30


def main() -> int:
    home = WORK / "homes" / "switch"
    shutil.rmtree(home, ignore_errors=True)
    command, environment = gardener(home)
    names = ("first", "second")
    for name in names:
        folder = WORK / "trees" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "hello.py").write_text(f"def {name}():\n    return '{name}'\n")
        run([*command, "add", str(folder), "--no-vectors"], env=environment)
    turn = iter(range(10**6))

    def ours() -> float:
        return seconds(lambda: run([*command, "switch", names[next(turn) % 2]], env=environment))

    def bare() -> float:
        return seconds(lambda: run([sys.executable, "-c", "pass"], env=environment))

    first, second = in_turn(ours, bare, ROUNDS, warmup=5)
    row = Row("gardener switch / python -c pass", shown(first, "ms"), shown(second, "ms"), ratio(first, second), 4)
    return report("switch_process", "Row 8. A switch as a process", [row], {})


if __name__ == "__main__":
    raise SystemExit(main())
