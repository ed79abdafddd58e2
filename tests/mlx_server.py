"""A real `mlx_lm.server` process with a tiny real model, on a free port of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.ports import free_port
from tests.tiny_mlx import make_tiny_model

START_SECONDS = 240.0
END_TOKEN = 256


@contextmanager
def mlx_server(folder: Path) -> Iterator[str]:
    """Its address. `folder` is for the model, the log and an empty cache: nothing is downloaded."""
    model = make_model_that_stops(folder / "tiny")
    cache = folder / "hub"
    cache.mkdir()
    port = free_port()
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(cache), "HF_HUB_CACHE": str(cache)}
    command = [sys.executable, "-m", "mlx_lm", "server", "--model", str(model), "--host", "127.0.0.1"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, "--port", str(port)], env=environment, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(url, process, folder / "log")
        yield url
    finally:
        process.kill()
        process.wait()


def make_model_that_stops(folder: Path) -> Path:
    """Random weights as always, but for the token that ends an answer: it is likelier, so that greedy answers end."""
    import mlx.core as mx

    make_tiny_model(folder, seed=26)
    file = str(folder / "model.safetensors")
    weights = mx.load(file)
    weights["lm_head.weight"][END_TOKEN] = weights["lm_head.weight"][END_TOKEN] * 2
    mx.save_safetensors(file, weights, {"format": "mlx"})
    return folder


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text()[-2000:]
        try:
            opener.open(f"{url}/health", timeout=60.0).close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(log.read_text()[-2000:])
