from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from gardener.memory import give_back


def test_arrow_gives_what_it_frees_to_the_system() -> None:
    code = (
        "from gardener.memory import be_frugal; be_frugal(); be_frugal()\n"
        "import pyarrow; print(pyarrow.default_memory_pool().backend_name)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1]
    )
    assert done.stdout.split() == ["system"]


def test_giving_back_can_be_asked_for_at_any_time() -> None:
    give_back()
    import pyarrow as pa

    kept = pa.array(range(1000))
    give_back()
    assert kept[999].as_py() == 999
