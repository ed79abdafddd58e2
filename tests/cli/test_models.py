"""`gardener models`, on a budget that the settings give, with a real tiny model on the disk."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
import threading
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Gardener
from tests.openai_server import openai_server


@pytest.fixture(scope="session")
def tiny_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.tiny_mlx import make_tiny_model

    return make_tiny_model(tmp_path_factory.mktemp("source") / "tiny-model")


@pytest.fixture(autouse=True)
def twenty_gigabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    from gardener.models import hardware

    monkeypatch.setenv("GARDENER_MODELS_MEMORY_MB", "20000")
    monkeypatch.setenv("GARDENER_OLLAMA_URL", "")
    monkeypatch.setenv("GARDENER_INDEX_BACKGROUND_EMBEDDING", "false")
    machine = hardware.Hardware("linux", "Test CPU", 4, 32 * 10**9, 31 * 10**9, "", None, "", 200.0)
    monkeypatch.setattr(hardware, "read_hardware", lambda **_: machine)


@pytest.fixture
def tiny(home: Path, tiny_source: Path) -> Path:
    """The tiny model, below this home's models folder."""
    target = home / "models" / "tiny-model"
    shutil.copytree(tiny_source, target)
    for folder in (home, home / "models"):
        folder.chmod(0o700)
    return target


def test_recommend(gardener: Gardener) -> None:
    said = gardener("models", "recommend")
    assert said.code == 0
    assert "20.0 GB for models (by models.memory_mb)" in said.err
    lines = said.out.splitlines()
    assert lines[0].split() == ["MODEL", "FIT", "NEEDS", "LEAVES", "SPEED", "WINDOW", "LICENCE", "FOR"]
    row = next(line for line in lines if line.startswith("qwen2.5-coder-7b"))
    assert "fits well" in row and "tok/s" in row
    labels = ["too large" in line for line in lines[1:]]
    assert labels == sorted(labels)  # what fits comes first


def test_recommend_for_programs_and_a_longer_window(gardener: Gardener) -> None:
    short = gardener("models", "recommend", "--json", "--runtime", "mlx").json
    long = gardener("models", "recommend", "--json", "--runtime", "mlx", "--context", "32768").json
    assert short["recommended"] == "devstral-small-2"
    assert short["budget_bytes"] == 20_000_000_000

    def needs(found: dict[str, list[dict[str, dict[str, int]]]], name: str) -> int:
        return next(model["fit"]["needs_bytes"] for model in found["models"] if model["id"] == name)  # type: ignore[comparison-overlap]

    assert needs(long, "qwen2.5-coder-7b") - needs(short, "qwen2.5-coder-7b") == 3 * 8_192 * 57_344


def test_a_wrong_number_of_tokens(gardener: Gardener) -> None:
    said = gardener("models", "recommend", "--context", "many")
    assert (said.code, "a number of tokens" in said.err) == (2, True)


def test_check_says_needs_has_and_leaves(gardener: Gardener) -> None:
    said = gardener("models", "check", "qwen2.5-coder:14b")
    assert said.code == 0
    assert "(ollama), Apache-2.0" in said.out
    for word in ("fit      fits well", "needs    11.5 GB", "has      20.0 GB", "leaves   8.5 GB", "speed    about"):
        assert word in said.out


def test_check_of_what_is_too_large_has_its_exit_code(gardener: Gardener) -> None:
    said = gardener("models", "check", "llama-3.3-70b")
    assert said.code == 5
    assert "too large" in said.out and "leaves   -" in said.out


def test_check_of_a_folder(gardener: Gardener, tiny: Path, tiny_source: Path) -> None:
    for name in ("tiny-model", str(tiny_source)):
        found = gardener("models", "check", name, "--context", "99999", "--json").json
        assert found["fit"]["context_tokens"] == 8_192  # the model's own end
        assert found["fit"]["label"] == "fits well"
    said = gardener("models", "check", "tiny-model", "--context", "99999")
    assert "window ends at 8,192 tokens" in said.err


@pytest.mark.parametrize("command", ["check", "use", "rm"])
def test_a_wrong_name_offers_the_nearest(gardener: Gardener, tiny: Path, command: str) -> None:
    said = gardener("models", command, "tiny-modle")
    assert said.code == 5
    assert "Did you mean tiny-model?" in said.err
    assert "qwen2.5-coder-7b" in gardener("models", command, "qwen2.5-codr-7b").err


def test_list_shows_what_is_whole_and_what_is_not(gardener: Gardener, home: Path, tiny: Path) -> None:
    shutil.copytree(tiny, home / "models" / "broken-model")
    os.truncate(home / "models" / "broken-model" / "model.safetensors", 1_000)
    shutil.copytree(tiny, home / "models" / "other.partial")
    (home / "models" / "an-embedder").mkdir()
    (home / "models" / "an-embedder" / "model.onnx").write_bytes(b"x")
    gardener("models", "use", "tiny-model")
    rows = {row["name"]: row for row in gardener("models", "--json").json["models"]}
    assert set(rows) == {"broken-model", "other.partial", "tiny-model"}
    assert rows["tiny-model"]["used"] and not rows["broken-model"]["used"]
    assert "cut off" in rows["broken-model"]["problem"]
    assert "not finished" in rows["other.partial"]["problem"]
    assert gardener("models", "list").out.splitlines()[-1].startswith("*  mlx")


def test_an_empty_list_says_what_to_do(gardener: Gardener) -> None:
    said = gardener("models")
    assert (said.code, said.out) == (0, "There is no model here.\n")
    assert "gardener models recommend" in said.err


def test_use_for_all_and_for_one_project(gardener: Gardener, tiny: Path, tmp_path: Path) -> None:
    said = gardener("models", "use", "tiny-model")
    assert said.code == 0
    assert gardener("config", "get", "mlx.model").out == "tiny-model\n"
    assert f"has to load {(tiny / 'model.safetensors').stat().st_size / 1000:.0f} kB" in said.err
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "a.py").write_text("x = 1\n")
    assert gardener("add", str(tmp_path / "shop")).code == 0
    assert gardener("models", "use", str(tiny), "--project", "shop").code == 0
    project = gardener("show", "shop", "--json").json["project"]
    assert (project["backend"], project["model"]) == ("mlx", "tiny-model")
    said = gardener("models", "rm", "tiny-model")
    assert "the setting mlx.model, shop" in said.err


def test_use_refuses_what_is_not_here_damaged_or_too_large(
    gardener: Gardener, home: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = gardener("models", "use", "qwen2.5-coder-7b")
    assert said.code == 5 and "is not here." in said.err and "gardener models pull qwen2.5-coder-7b" in said.err
    (tiny / "config.json").unlink()
    said = gardener("models", "use", "tiny-model")
    assert said.code == 5
    assert gardener("config", "get", "mlx.model").out == "\n"


def test_use_refuses_what_is_too_large(gardener: Gardener, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GARDENER_MODELS_MEMORY_MB", "100")
    said = gardener("models", "use", "tiny-model")
    assert said.code == 5 and "does not fit" in said.err
    assert gardener("config", "get", "mlx.model").out == "\n"


def test_rm_asks_and_stays_inside(gardener: Gardener, home: Path, tiny: Path, tiny_source: Path) -> None:
    said = gardener("models", "rm", "tiny-model")
    assert said.code == 2 and "nobody to ask" in said.err and tiny.is_dir()
    said = gardener("models", "rm", str(tiny_source), "--yes")
    assert said.code == 5 and "deletes only what is there" in said.err and tiny_source.is_dir()
    (home / "models" / "linked").symlink_to(tiny_source)
    said = gardener("models", "rm", "linked", "--yes")
    assert said.code == 5 and (tiny_source / "config.json").is_file()
    said = gardener("models", "rm", "tiny-model", "--yes")
    assert said.code == 0 and not tiny.exists()


def test_pull_refuses_before_it_downloads(gardener: Gardener, monkeypatch: pytest.MonkeyPatch) -> None:
    said = gardener("models", "pull", "llama-3.3-70b", "--yes")
    assert said.code == 5 and "It was not downloaded" in said.err
    said = gardener("models", "pull", "mlx-community/no-such-model")
    assert said.code == 5
    said = gardener("models", "pull", "qwen2.5-coder-7b", "--runtime", "mlx")
    assert said.code == 2 and "hf download mlx-community/Qwen2.5-Coder-7B-Instruct-4bit" in said.err
    said = gardener("models", "pull", "qwen2.5-coder-7b", "--runtime", "ollama")
    assert said.code == 3 and "ollama.url is empty" in said.err
    monkeypatch.setattr("gardener.models.download.free_disk", lambda folder: 3_000_000_000)
    said = gardener("models", "pull", "qwen2.5-coder-7b", "--runtime", "mlx", "--yes")
    assert said.code == 1 and "3.0 GB are free" in said.err


def test_pull_without_a_network_is_an_error_and_leaves_nothing_that_looks_whole(gardener: Gardener, home: Path) -> None:
    said = gardener("models", "pull", "phi-4", "--runtime", "mlx", "--yes")  # HF_HUB_OFFLINE is set for every test
    assert said.code == 6
    assert "was not downloaded" in said.err
    assert not (home / "models" / "phi-4-4bit").exists()


FAKE_HF = """
import os, shutil, sys
assert sys.argv[1:3] == ["download", "mlx-community/phi-4-4bit"]
assert "*.py" not in sys.argv
target = sys.argv[sys.argv.index("--local-dir") + 1]
shutil.copytree(os.environ["FAKE_HF_SOURCE"], target, dirs_exist_ok=True)
sys.exit(int(os.environ["FAKE_HF_STATUS"]))
"""


@pytest.fixture
def fake_hf(tmp_path: Path, tiny_source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands in for huggingface_hub's command in the child process: it copies the tiny model."""
    package = tmp_path / "fake" / "huggingface_hub" / "cli"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").touch()
    (package / "hf.py").write_text(FAKE_HF)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fake"))
    monkeypatch.setenv("FAKE_HF_SOURCE", str(tiny_source))
    monkeypatch.setenv("FAKE_HF_STATUS", "0")


def test_an_interrupted_pull_goes_on(
    gardener: Gardener, home: Path, fake_hf: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_HF_STATUS", "1")
    assert gardener("models", "pull", "phi-4", "--runtime", "mlx", "--yes").code == 6
    assert "not finished" in gardener("models").out
    monkeypatch.setenv("FAKE_HF_STATUS", "0")
    said = gardener("models", "pull", "phi-4", "--runtime", "mlx", "--yes")
    assert said.code == 0 and said.out == f"{home}/models/phi-4-4bit\n"
    assert gardener("models", "use", "phi-4").code == 0
    assert gardener("models", "pull", "phi-4", "--runtime", "mlx", "--yes").code == 5  # it is there already


def test_a_pull_that_brings_a_broken_model_is_no_success(
    gardener: Gardener, home: Path, tiny_source: Path, tmp_path: Path, fake_hf: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tiny_source, broken)
    os.truncate(broken / "model.safetensors", 500)
    monkeypatch.setenv("FAKE_HF_SOURCE", str(broken))
    said = gardener("models", "pull", "phi-4", "--runtime", "mlx", "--yes")
    assert said.code == 5 and "cut off" in said.err
    assert not (home / "models" / "phi-4-4bit").exists()


def test_ps_without_anything(gardener: Gardener) -> None:
    assert gardener("models", "ps").out == "No model is in memory.\n"
    assert gardener("models", "ps", "--json").json == {"resident": [], "problems": {}}


def test_ps_shows_what_another_process_holds(gardener: Gardener, home: Path) -> None:
    import json

    (home / "run").mkdir(parents=True)
    for folder in (home, home / "run"):
        folder.chmod(0o700)
    content = {"pid": os.getpid(), "held": {"mlx": ["big\x1b[2J", 4_000_000_000], "odd": "x"}, "defaults": {}}
    (home / "run" / "resident.json").write_text(json.dumps(content))
    said = gardener("models", "ps")
    assert "4.0 GB" in said.out and "\x1b" not in said.out


def test_what_a_configured_server_offers_is_listed_and_used(
    gardener: Gardener, monkeypatch: pytest.MonkeyPatch
) -> None:
    with openai_server("first-8b", "second-8b") as server:
        monkeypatch.setenv("GARDENER_OPENAI_URL", server.url)
        assert gardener("models", "use", "second-8b").code == 0
        assert gardener("config", "get", "openai.model").out == "second-8b\n"
        gardener("config", "set", "openai.model", "gone")
        said = gardener("models")  # what is wrong with the chosen one hides no other
        assert "first-8b" in said.out and "second-8b" in said.out and "no model 'gone'" in said.err
        assert "gardener models use first-8b" in gardener("models", "use", "first-8").err
        said = gardener("models", "check", "first-8b")
        assert said.code == 5 and "runs at the server" in said.err and "Did you mean" not in said.err
        assert "Nothing was deleted" in gardener("models", "rm", "first-8b", "--yes").err
        server.listed = False  # not every server has a list; it may have any name
        gardener("config", "unset", "openai.model")
        assert gardener("models", "use", "mine").code == 0


# ---- Ollama, by the interface of gardener.models.ollama_models ------------------------------------------------


@dataclasses.dataclass
class InOllama:
    name: str
    size: int
    quantization: str = "Q4_K_M"


@dataclasses.dataclass
class Progress:
    status: str
    done_bytes: int
    total_bytes: int


class Ollama(types.ModuleType):
    """Two models, one of them loaded; a pull brings a third."""

    def __init__(self) -> None:
        super().__init__("gardener.models.ollama_models")
        self.here = [InOllama("qwen2.5-coder:7b", 4_700_000_000), InOllama("mine:latest", 2_000_000_000)]
        self.interrupt = False
        self.cancelled: threading.Event | None = None

    def list_models(self, url: str) -> list[InOllama]:
        assert url == "http://127.0.0.1:11434"
        return self.here

    def loaded(self, url: str) -> list[InOllama]:
        return self.here[1:2]

    def writes(self, url: str, name: str) -> bool:
        return "embed" not in name

    def delete(self, url: str, name: str) -> None:
        self.here = [model for model in self.here if model.name != name]

    def pull(self, url: str, name: str, on_progress: Callable[[Progress], None], cancel: threading.Event) -> None:
        self.cancelled = cancel
        on_progress(Progress("pulling manifest", 0, 0))
        on_progress(Progress("pulling", 1, 2))
        if self.interrupt:
            raise KeyboardInterrupt
        self.here.append(InOllama(name, 2))


@pytest.fixture
def ollama(monkeypatch: pytest.MonkeyPatch) -> Ollama:
    module = Ollama()
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr("gardener.models.ollama_models", module, raising=False)
    monkeypatch.setenv("GARDENER_OLLAMA_URL", "http://127.0.0.1:11434")
    return module


def test_ollamas_models_are_listed_used_and_removed(gardener: Gardener, ollama: Ollama) -> None:
    rows = gardener("models", "--json").json["models"]
    assert [(row["runtime"], row["name"], row["bytes"]) for row in rows] == [
        ("ollama", "qwen2.5-coder:7b", 4_700_000_000),
        ("ollama", "mine:latest", 2_000_000_000),
    ]
    said = gardener("models", "use", "qwen2.5-coder-7b")  # by the catalogue's name
    assert said.code == 0 and "has to load 4.7 GB" in said.err
    assert gardener("config", "get", "ollama.model").out == "qwen2.5-coder:7b\n"
    assert "in memory already" in gardener("models", "use", "mine").err
    said = gardener("models", "check", "mine")
    assert said.code == 5 and "Its files are 2.0 GB" in said.err and "Did you mean" not in said.err
    assert gardener("models", "rm", "mine", "--yes").code == 0
    assert [model.name for model in ollama.here] == ["qwen2.5-coder:7b"]


def test_a_model_that_only_makes_vectors_is_not_chosen(gardener: Gardener, ollama: Ollama) -> None:
    ollama.here.append(InOllama("nomic-embed-text:latest", 2))
    said = gardener("models", "use", "nomic-embed-text")
    assert said.code == 5 and "only makes vectors" in said.err
    assert gardener("config", "get", "ollama.model").out == "\n"


def test_rm_says_what_still_names_the_model_and_where_to_look(gardener: Gardener, ollama: Ollama) -> None:
    gardener("models", "use", "mine")
    assert "gardener models use NAME" in gardener("models", "rm", "mine", "--yes").err
    assert "try: gardener models list" in gardener("models", "rm", "nothing-like-it").err


def test_ps_asks_ollama(gardener: Gardener, ollama: Ollama) -> None:
    (row,) = gardener("models", "ps", "--json").json["resident"]
    assert (row["where"], row["model"], row["weight_bytes"]) == ("ollama", "mine:latest", 2_000_000_000)


def test_pull_through_ollama(gardener: Gardener, ollama: Ollama) -> None:
    said = gardener("models", "pull", "qwen2.5-coder-14b", "--runtime", "ollama")
    assert said.code == 0 and said.out == "qwen2.5-coder:14b is here.\n"
    assert gardener("models", "pull", "somebody/else:1b").code == 0  # not in the catalogue: Ollama knows
    ollama.interrupt = True
    said = gardener("models", "pull", "qwen2.5-coder-14b", "--runtime", "ollama")
    assert said.code == 130 and "goes on from there" in said.err
    assert ollama.cancelled is not None and ollama.cancelled.is_set()


def test_an_ollama_that_does_not_answer_hides_nothing_else(
    gardener: Gardener, tiny: Path, ollama: Ollama, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gardener.errors import BackendUnavailable

    def down(url: str) -> list[InOllama]:
        raise BackendUnavailable("Ollama does not answer.")

    monkeypatch.setattr(ollama, "list_models", down)
    said = gardener("models")
    assert said.code == 0 and "tiny-model" in said.out and "ollama: Ollama does not answer." in said.err
    assert gardener("models", "--json").json["problems"] == {"ollama": "Ollama does not answer."}


def test_a_project_goes_back_to_what_every_project_uses(gardener: Gardener, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "a.py").write_text("x = 1\n")
    gardener("add", str(tmp_path / "shop"), "--no-vectors")
    assert gardener("models", "use", str(tiny), "--project", "shop").code == 0
    assert gardener("status", "--json").json["model"]
    done = gardener("models", "use", "default", "--project", "shop")
    assert done.code == 0 and "what every project uses" in done.out
    assert gardener("status", "--json").json["model"] == ""


def test_doctor_says_who_would_answer(gardener: Gardener, tiny: Path) -> None:
    assert "--  model: No language model is set up." in gardener("doctor").out
    gardener("config", "set", "mlx.model", str(tiny))
    gardener("config", "set", "models.fallback", "nobody:x")
    said = gardener("doctor")
    assert said.code == 1 and "There is no chat backend 'nobody'" in said.out
    gardener("config", "set", "models.fallback", "ollama:x")
    said = gardener("doctor")
    assert f"ok  model: mlx {tiny} is ready" in said.out and "!!  model fallback: ollama" in said.out
