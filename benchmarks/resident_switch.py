"""Rows 10 and 11: a switch inside the app on one resident MLX base, and the first token after it.

Row 10 switches between two projects, each with an adapter of its own, a thousand times, as the app does it: the pointer
flips in state.db, then the backend swaps the adapter. It is held against loading the same model with mlx-lm. Row 11
asks for the first token with the project's prefix restored from the disk, as after a restart, against reading it cold.
The model is small (about 70 million parameters, made here with random weights), but all of it is real.
"""

from __future__ import annotations

import shutil
import statistics
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measure import WORK, Row, report, seconds, shown

SWITCHES = 1_000
ROUNDS = 5
PREFIX_TOKENS = 2_000
HIDDEN, LAYERS = 1024, 8


def main() -> int:
    status = _row_10(_model(HIDDEN, LAYERS))
    return _row_11(_model(512, 4)) or status  # a smaller one, as reading 2,000 tokens on a processor takes a minute


def _model(hidden: int, layers: int) -> Path:
    folder = WORK / f"mlx-{hidden}-{layers}"
    if not (folder / "model.safetensors").exists():
        from tests.tiny_mlx import make_tiny_model

        make_tiny_model(folder, hidden=hidden, layers=layers)
    return folder


# ---- row 10 ------------------------------------------------------------------------------------------


def _row_10(folder: Path) -> int:
    import psutil

    from gardener.app import Gardener

    home = WORK / "homes" / "resident"
    shutil.rmtree(home, ignore_errors=True)
    with Gardener(str(home), {"mlx.model": str(folder), "models.backend": "mlx"}) as gardener:
        names = [_project(gardener, WORK / "resident" / name, name, folder) for name in ("left", "right")]
        never = threading.Event()

        def switch(name: str) -> None:
            context = gardener.switch(name)
            done = gardener.prepare(context, may_load=False, cancel=never)
            if done.state != "ready" or not done.adapter_swapped:
                raise RuntimeError(f"the switch to {name} was not one: {done}")

        gardener.prepare(gardener.context(names[0]), may_load=True)
        for warm in range(6):
            switch(names[(warm + 1) % 2])
        before = gardener.models.resident()["mlx"]
        memory = psutil.Process().memory_info().rss
        took = [seconds(partial(switch, names[(number + 1) % 2])) for number in range(SWITCHES)]
        after = gardener.models.resident()["mlx"]
        grown = psutil.Process().memory_info().rss - memory
    loads = [_load(folder) for _ in range(ROUNDS)]
    counted = {key: after.counters[key] - before.counters.get(key, 0) for key in after.counters}
    if before.identity != after.identity:
        raise RuntimeError("the weights are not the ones from before")
    p95 = statistics.quantiles(took, n=20)[18]
    rows = [
        Row("switch and adapter, p95 / full model load", f"{p95 * 1000:.2f} ms", shown(loads, "ms"),
            p95 / statistics.median(loads), 0.1),
        Row("base loads; none", str(counted["base_loads"]), "0", float(counted["base_loads"]), 0),
        Row("bytes of weights read; none", str(counted["weight_bytes_read"]), "0",
            float(counted["weight_bytes_read"]), 0),
        Row("memory after 1,000 switches / weights", f"{grown / 1e6:+.1f} MB", f"{after.weight_bytes / 1e6:.0f} MB",
            max(0.0, grown / after.weight_bytes), 0.1),
    ]  # fmt: skip
    details = {"counters": counted, "median_ms": statistics.median(took) * 1000, "adapter_bytes": _adapter_bytes(home)}
    print(f"\ncounters over {SWITCHES:,} switches: {counted}; identity unchanged: {after.identity}")
    return report("resident_switch", "Row 10. 1,000 switches on one resident base, two adapters", rows, details)


def _project(gardener: Any, root: Path, name: str, folder: Path) -> str:
    from gardener.models.adapters import AdapterStore
    from gardener.models.model_folder import read_model_folder
    from tests.tiny_adapters import write_random_adapter

    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    (root / "main.py").write_text(f"def {name}():\n    return {name!r}\n")
    context = gardener.registry.add(str(root), name)
    gardener.update_index(context)
    store = AdapterStore(context.home)
    write_random_adapter(Path(store.stage("own")), folder, seed=len(name))
    store.publish("own", read_model_folder(str(folder)).identity, {})
    gardener.registry.configure(name, adapter="own", backend="mlx")
    return name


def _adapter_bytes(home: Path) -> int:
    return max(path.stat().st_size for path in home.glob("projects/*/adapters/*/adapters.safetensors"))


def _load(folder: Path) -> float:
    """Loading the model with mlx-lm in this warm process, weights in memory at the end."""
    import mlx.core as mx
    from mlx_lm import load

    def work() -> None:
        model = load(str(folder))[0]
        mx.eval(model.parameters())

    return seconds(work)


# ---- row 11 ------------------------------------------------------------------------------------------


def _row_11(folder: Path) -> int:
    from gardener.models.base import ChatRequest, Preparation, StreamLimits
    from gardener.models.mlx.backend import MlxBackend
    from gardener.types import Done, Message, TextDelta

    store = WORK / "homes" / "prefixes"
    shutil.rmtree(store, ignore_errors=True)
    words = "the map of the project names def load and def store in order and more of them "
    system = Message("system", (words * 400)[: PREFIX_TOKENS * 3])

    def backend(disk: int) -> MlxBackend:
        return MlxBackend(
            str(folder), models_directory=str(WORK), prefix_directory=lambda scope: str(store / scope),
            context_tokens=8192, kv_bits=0, cache_bytes=2_000_000_000, prefix_disk_bytes=disk,
            limits=StreamLimits(first_token_s=600, idle_s=600, total_s=1200), admit=lambda folder, kv_bytes: None,
        )  # fmt: skip

    def first_token(made: MlxBackend, prepare: bool) -> tuple[float, str, int]:
        """From the request (and the restore before it) to the first token; the greedy text; tokens not read again."""
        never = threading.Event()
        question = Message("user", "Where is load?")
        request = ChatRequest((system, question), question.content, max_tokens=24, temperature=0.0, scope="abc")
        begun = time.perf_counter()
        if prepare:
            done = made.prepare(Preparation("abc", (system,)), may_load=False, cancel=never)
            if done.prefix != "restored":
                raise RuntimeError(f"nothing was restored: {done}")
        first, text, cached = 0.0, "", 0
        for event in made.stream(request, never):
            if isinstance(event, TextDelta):
                first = first or time.perf_counter() - begun
                text += event.text
            elif isinstance(event, Done):
                if event.error:
                    raise RuntimeError(event.error)
                cached = event.usage.cached_tokens
        return first, text, cached

    def loaded(disk: int) -> MlxBackend:
        made = backend(disk)
        made.prepare(Preparation("other", (Message("system", "x"),)), may_load=True, cancel=threading.Event())
        return made

    writer = backend(2_000_000_000)
    read = writer.prepare(Preparation("abc", (system,)), may_load=True, cancel=threading.Event())
    writer.close()
    warm_s: list[float] = []
    cold_s: list[float] = []
    texts: set[str] = set()
    for _ in range(ROUNDS):
        for prepare, times in ((True, warm_s), (False, cold_s)):
            made = loaded(2_000_000_000 if prepare else 0)
            took, text, cached = first_token(made, prepare)
            made.close()
            if prepare and cached < read.prefix_tokens:
                raise RuntimeError(f"only {cached} of {read.prefix_tokens} tokens came from the disk")
            times.append(took)
            texts.add(text)
    if len(texts) != 1:
        raise RuntimeError(f"greedy output differs with the prefix restored: {texts}")
    ratio = statistics.median(a / b for a, b in zip(warm_s, cold_s, strict=True))
    rows = [Row("first token, prefix restored / read cold", shown(warm_s, "ms"), shown(cold_s, "ms"), ratio, 0.05)]
    title = f"Row 11. First token after a switch, prefix of {read.prefix_tokens:,} tokens, greedy output the same"
    return report("warm_prefix", title, rows, {"prefix_tokens": read.prefix_tokens})


if __name__ == "__main__":
    raise SystemExit(main())
