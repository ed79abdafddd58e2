"""Programs that we are measured against, each in an environment of its own below .bench."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.measure import WORK

SEMBLE = ("semble==0.7.0", "wordllama==0.4.0.post1", "safetensors", "numpy")

_MAKE_MODEL = """
import os, shutil, sys, wordllama, numpy
from safetensors.numpy import load_file, save_file
package, target = os.path.dirname(wordllama.__file__), sys.argv[1]
tensors = load_file(os.path.join(package, "weights", "l2_supercat_256.safetensors"))
save_file({"embeddings": next(iter(tensors.values())).astype(numpy.float32)}, os.path.join(target, "model.safetensors"))
tokenizer = os.path.join(package, "tokenizers", "l2_supercat_tokenizer_config.json")
shutil.copy(tokenizer, os.path.join(target, "tokenizer.json"))
"""


def semble() -> tuple[list[str], dict[str, str]]:
    """The command and environment of semble with wordllama's static vectors as its model2vec folder, 2 workers."""
    folder = WORK / "semble"
    python = folder / "bin" / "python"
    model = folder / "model"
    if not (model / "config.json").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *SEMBLE], check=True)
        model.mkdir(exist_ok=True)
        subprocess.run([str(python), "-c", _MAKE_MODEL, str(model)], check=True)
        config = {"model_type": "model2vec", "normalize": True, "architectures": ["StaticModel"], "hidden_dim": 256}
        (model / "config.json").write_text(json.dumps(config))
        subprocess.run(
            [str(python), "-m", "compileall", "-q", str(folder / "lib")], check=False, capture_output=True,
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": ""},
        )  # fmt: skip
    environment = os.environ | {
        "SEMBLE_MODEL_NAME": str(model),
        "SEMBLE_INDEX_WORKERS": "2",
        "HF_HUB_OFFLINE": "1",
    }
    return [str(folder / "bin" / "semble")], environment


def semble_cache(name: str) -> Path:
    return WORK / "caches" / name
