"""What all tests share: an environment of their own, and real code to work on."""

from __future__ import annotations

import fcntl
import json as json_package
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

# No test asserts a time, and none tries something else in every run: `pytest --hypothesis-profile explore` does.
_slow = [hypothesis.HealthCheck.too_slow]
hypothesis.settings.register_profile(
    "gardener", deadline=None, print_blob=True, derandomize=True, suppress_health_check=_slow
)
hypothesis.settings.register_profile(
    "explore", deadline=None, print_blob=True, derandomize=False, suppress_health_check=_slow
)
hypothesis.settings.load_profile("gardener")
os.environ["GARDENER_OLLAMA_URL"] = ""  # the developer's own may be running; for fixtures of modules and sessions
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job; what tests start would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
REQUIRE_ALL = bool(os.environ.get("GARDENER_REQUIRE_ALL"))


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the developer's own home, settings, colours or proxies."""
    for name in list(os.environ):
        if name.startswith("GARDENER_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("GARDENER_HOME", str(tmp_path / "gardener-home"))
    monkeypatch.setenv("GARDENER_HEALTH_DESKTOP", "false")  # no notification on the desk of whoever runs the tests
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("GARDENER_OLLAMA_URL", "")  # the developer's own may be running
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    monkeypatch.setattr("gardener.audit._process", ["cli"])  # the monitor's command says for good who it is


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "gardener-home"


def made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that one of the processes that run tests fills, while the others wait for it."""
    top = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        top = top.parent
    folder = top / f"once-{name}"
    with (top / f"once-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            making = top / f"making-{name}"
            shutil.rmtree(making, ignore_errors=True)
            making.mkdir()
            make(making)
            making.rename(folder)
    return folder


@pytest.fixture(scope="session")
def exported_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packaged embedder, exported once for all tests that need it."""
    from gardener.models.embeddings import load_embedder

    return made_once(tmp_path_factory, "models", lambda folder: load_embedder(str(folder)).close())


def home_with(exported_models: Path, base: Path, name: str = "home") -> Path:
    """A home below `base` that has the exported embedder already: to export it takes seconds, and cannot be stopped."""
    home = base / name
    shutil.copytree(exported_models, home / "models", dirs_exist_ok=True)
    for folder in (home, home / "models"):
        folder.chmod(0o700)
    return home


@pytest.fixture
def embedder(home: Path, exported_models: Path) -> None:
    """This test's home has the exported embedder already."""
    home_with(exported_models, home.parent, home.name)


@pytest.fixture(scope="session")
def json_vectors(exported_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shared store with every vector of `json_project`, made once for all tests that need one."""
    from gardener.app import Gardener

    def make(place: Path) -> None:
        root = _json_project(place / "json-project")
        with Gardener(str(home_with(exported_models, place))) as gardener:
            context = gardener.registry.add(str(root), "json")
            gardener.update_index(context)
            assert gardener.embed(context).remaining == 0

    return made_once(tmp_path_factory, "vectors", make) / "home" / "embeddings"


@pytest.fixture
def json_embeddings(home: Path, embedder: None, json_vectors: Path) -> None:
    """This test's home has every vector of `json_project` in its shared store, so that embedding it only copies."""
    shutil.copytree(json_vectors, home / "embeddings")


def _json_project(root: Path) -> Path:
    source = Path(json_package.__file__).parent
    shutil.copytree(source, root / "json", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "README.md").write_text(
        "# json\n\nEncode and decode JSON documents.\n\n## Command line\n\nRun json.tool.\n"
    )
    return root


@pytest.fixture
def json_project(tmp_path: Path) -> Path:
    """The standard library's json package as a project: real code that nobody here wrote."""
    return _json_project(tmp_path / "json-project")


def git(root: Path, *arguments: str) -> str:
    """Runs git in a repository with an identity of its own."""
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "init.defaultBranch=main"]
    done = subprocess.run([*command, *arguments], cwd=root, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def git_project(json_project: Path) -> Path:
    """The same with one commit."""
    git(json_project, "init", "-q")
    git(json_project, "add", "-A")
    git(json_project, "commit", "-q", "-m", "json as it is")
    return json_project


LONG = ("browser", "install", "upgrade", "docs", "e2e", "faults", "service", "training", "evaluation")
"""Folders whose files take longest. They go first: a long file that begins last leaves the other processes idle."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONG.index(item.path.parent.name) if item.path.parent.name in LONG else len(LONG))


_skipped: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        _skipped.append(report.nodeid)


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> Iterator[None]:
    """Under GARDENER_REQUIRE_ALL a skipped test is a failure: CI must not go green by leaving things out."""
    if REQUIRE_ALL and _skipped and exitstatus == 0:
        session.exitstatus = 1
    yield


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if REQUIRE_ALL and _skipped:
        terminalreporter.section("GARDENER_REQUIRE_ALL: skipped tests are failures")
        for nodeid in _skipped:
            terminalreporter.line(nodeid)
