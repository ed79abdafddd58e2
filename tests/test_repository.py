"""What is true of the repository itself. The predecessor's .gitignore swallowed its whole models package."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.skipif(not (TOP / ".git").exists(), reason="this is not a git checkout")


def git(*arguments: str) -> list[str]:
    done = subprocess.run(["git", *arguments], cwd=TOP, capture_output=True, text=True, check=False)
    return [line for line in done.stdout.splitlines() if line]


def test_no_ignore_rule_swallows_source() -> None:
    ignored = git("ls-files", "--others", "--ignored", "--exclude-standard", "*.py")
    swallowed = [path for path in ignored if path.split("/")[0] in ("gardener", "ui", "tests", "scripts", "benchmarks")]
    assert swallowed == []
    for folder in ("gardener/models", "gardener/projects", "gardener/health", "gardener/index", "ui"):
        assert git("check-ignore", f"{folder}/new_module.py") == [], folder


def test_the_top_level_is_as_the_user_fixed_it() -> None:
    for path in (
        "pyproject.toml",
        "gardener",
        "gardener/models",
        "gardener/projects",
        "gardener/health",
        "ui",
        "tests",
    ):
        assert (TOP / path).exists(), path


def test_pins_are_names_and_versions_only() -> None:
    for line in (TOP / "constraints.txt").read_text().splitlines():
        assert line.startswith("#") or re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.!-]*", line), line


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    pinned = {
        line.split("==")[0].lower().replace("_", "-") for line in (TOP / "constraints.txt").read_text().splitlines()
    }
    for requirement in project["dependencies"] + project["optional-dependencies"]["test"]:
        name = re.split(r"[\s\[<>=!;]", requirement, maxsplit=1)[0].lower().replace("_", "-")
        assert name in pinned, name


def test_heavy_libraries_are_imported_inside_functions() -> None:
    heavy = {"lancedb", "gradio", "torch", "onnxruntime", "numpy", "pyarrow", "sentence_transformers", "tree_sitter",
             "tree_sitter_language_pack", "detect_secrets", "httpx", "tokenizers", "onnx", "pandas"}  # fmt: skip
    offenders = []
    for path in sorted((TOP / "gardener").rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            offenders += [f"{path.relative_to(TOP)}: {name}" for name in names if name.split(".")[0] in heavy]
    # The first is only ever run as a process of its own; the others are nothing but classes of httpx's transports, and
    # are themselves imported inside functions.
    whole = ("onnx_export", "bounded_http", "bounded_transport")
    assert [offender for offender in offenders if not any(name in offender for name in whole)] == []


def test_no_machine_paths_or_registry_names_are_committed() -> None:
    tracked = git("ls-files")
    for path in tracked:
        try:
            text = (TOP / path).read_text()
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue
        for line in text.splitlines():
            assert not re.search(r"(?<![\w.])/(?:work|farm)/(?:ma[i]n|sha[r]ed)", line), f"{path}: {line}"


def test_modules_stay_readable() -> None:
    modules = [path for package in ("gardener", "ui") for path in (TOP / package).rglob("*.py")]
    lengths = {str(path.relative_to(TOP)): len(path.read_text().splitlines()) for path in modules}
    assert {path: count for path, count in lengths.items() if count > 500} == {}
